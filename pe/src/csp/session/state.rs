//! Where a session stands, with whom, and what it has to tell.

use bytes::Bytes;
use ether::{Instant, MacAddr};
use serde::Serialize;

use crate::{
    csp::{Capability, Pdu},
    marker::Marker,
};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SessionState {
    /// Nobody is spoken to.
    Idle {
        /// Why.
        because: Why,
    },
    /// It failed and is opened again at `until`.
    Waiting {
        /// When.
        #[serde(skip)]
        until: Instant,
        /// Why it failed.
        because: Why,
    },
    /// Open was sent.
    Opening {
        /// The peer answered ours.
        answered: bool,
        /// Its own has come and was answered.
        heard: bool,
    },
    /// Requests pass.
    Open,
}

/// Why there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No neighbour shows a Port Extension TLV.
    NoPeer,
    /// It does not show that it has our code book.
    NoBook,
    /// It has not chosen this port.
    NotChosen,
    /// ECP gave up.
    Silence,
    /// An answer did not come.
    NoAnswer,
    /// It says that it has no session with us.
    PeerLost,
    /// It refuses to talk.
    Refused,
    /// It opens anew: it has restarted.
    Reopened,
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoPeer => "no neighbour shows a Port Extension TLV",
            Self::NoBook => "code book not installed: the peer does not show that it has ours",
            Self::NotChosen => "the port extender has not chosen this port",
            Self::Silence => "the peer does not acknowledge",
            Self::NoAnswer => "the peer does not answer",
            Self::PeerLost => "the peer has forgotten the session",
            Self::Refused => "the peer refuses to talk",
            Self::Reopened => "the peer has restarted",
        }
    }
}

/// The other end, as LLDP has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is reached.
    pub address: MacAddr,
    /// Its code book, if it shows one.
    pub marker: Option<Marker>,
    /// It is to be spoken to without being asked first.
    pub chosen: bool,
}

/// What a session wants done or has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this ECPDU to the peer.
    Transmit(MacAddr, Bytes),
    /// It is open; the peer can do this.
    Up(Option<Capability>),
    /// It was open, and is not: nothing the peer said counts any more.
    Down(Why),
    /// It is in another state.
    State,
    /// The peer asks; [`super::Session::answer`] it.
    Request(Pdu),
    /// The peer answers.
    Answer {
        /// What was asked.
        request: Pdu,
        /// What it says.
        answer: Pdu,
        /// Whether that is yes.
        granted: bool,
    },
}
