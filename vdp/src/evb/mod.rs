//! EVB negotiation [Q 40, D.2.12]: two LLDP agents agree on reflective relay, on groups and on the timers of VDP.
//!
//! [`Station`] and [`Bridge`] turn the neighbour's EVB TLV into our own and say what came of it. They have no timers:
//! every output follows from an input at once, and LLDP decides when a TLV is sent. The caller hands in the EVB TLV of
//! the *only* neighbour of the nearest customer bridge agent, or says why there is none to take (UNSURE-16).

mod bridge;
mod negotiation;
mod station;
pub mod tlv;

use bytes::Bytes;
use serde::Serialize;

pub use bridge::{Bridge, BridgeConfig};
pub use negotiation::Stats;
pub use station::{Station, StationConfig};
pub use tlv::Mode;

use crate::timing::{Exponent, Retries, Timing};

/// What a negotiator wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Our EVB TLV: the five octets after OUI and subtype. LLDP has a local change.
    LocalTlv(Bytes),
    /// Bridge only: switch reflective relay on the port and report with [`Bridge::reflective_applied`].
    SwitchReflective(bool),
    /// What the negotiation has come to has changed.
    Operational(Status),
}

/// What the negotiation has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The neighbour.
    pub peer: Peer,
    /// Whether frames may be reflected.
    pub reflective_relay: ReflectiveRelay,
    /// R in operation.
    pub retries: Setting<Retries>,
    /// RTE in operation.
    pub rte: Setting<Exponent>,
    /// RWD in operation.
    pub rwd: Setting<Exponent>,
    /// RKA in operation.
    pub rka: Setting<Exponent>,
    /// Whether filters may name groups: both sides are capable.
    pub groups: bool,
}

impl Status {
    /// Whether an EVB peer of the other role is there: ECP and VDP may run.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        self.peer == Peer::Present
    }

    /// The numbers in operation.
    #[must_use]
    pub const fn timing(&self) -> Timing {
        Timing { retries: self.retries.value, rte: self.rte.value, rwd: self.rwd.value, rka: self.rka.value }
    }
}

/// What is known of the neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// No EVB TLV.
    Absent,
    /// An EVB TLV too short to be read.
    Malformed,
    /// Only the EVB TLV of draft 0.2, which the configuration says not to speak.
    Draft,
    /// More than one neighbour, so that nobody is *the* other end.
    Several,
    /// An EVB TLV of this mode, which does not complement ours: no EVB.
    WrongRole(Mode),
    /// An EVB TLV of the other role.
    Present,
}

impl Peer {
    /// The same in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Absent => RelayReason::NoPeerTlv.words(),
            Self::Malformed => RelayReason::MalformedPeerTlv.words(),
            Self::Draft => RelayReason::DraftPeer.words(),
            Self::Several => RelayReason::SeveralNeighbors.words(),
            Self::WrongRole(_) => RelayReason::WrongRole.words(),
            Self::Present => "the neighbour plays the other EVB role",
        }
    }
}

/// Why there is no EVB TLV to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// No neighbour, or one that sends none.
    NoTlv,
    /// The neighbour sends only the EVB TLV of draft 0.2: OUI 00-1B-3F, subtype 0.
    Draft,
    /// There is more than one neighbour.
    Several,
}

/// The state of reflective relay, and why it is not another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReflectiveRelay {
    /// The state.
    pub state: RelayState,
    /// The reason.
    pub reason: RelayReason,
    /// The reason in words.
    pub words: &'static str,
}

impl ReflectiveRelay {
    const fn new(state: RelayState, reason: RelayReason) -> Self {
        Self { state, reason, words: reason.words() }
    }
}

/// Whether the bridge reflects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// The station has heard no bridge.
    Unknown,
    /// It does not.
    Off,
    /// It does.
    On,
}

/// Why reflective relay is in its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayReason {
    /// Asked for, possible, and on.
    Agreed,
    /// As before a restart; the station was not heard since.
    Presumed,
    /// The neighbour sends no EVB TLV.
    NoPeerTlv,
    /// The neighbour's EVB TLV cannot be read.
    MalformedPeerTlv,
    /// The neighbour speaks EVB of draft 0.2 only.
    DraftPeer,
    /// More than one neighbour is heard.
    SeveralNeighbors,
    /// The neighbour is of our own role, or supports no EVB.
    WrongRole,
    /// The station does not ask for it.
    NotRequested,
    /// The bridge cannot do it.
    NotCapable,
    /// The station asked, the bridge is capable, and has not switched it on, or not yet.
    NotGranted,
    /// The bridge has asked its data path and awaits the result.
    Switching,
    /// The data path of the bridge did not follow.
    DataPathFailed,
    /// The bridge has it on although the station does not ask for it.
    Unrequested,
}

impl RelayReason {
    /// The reason in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Agreed => "requested by the station, switched on by the bridge",
            Self::Presumed => "as before the restart: the station was not heard yet",
            Self::NoPeerTlv => "the neighbour sends no EVB TLV",
            Self::MalformedPeerTlv => "the neighbour's EVB TLV is malformed",
            Self::DraftPeer => {
                "the neighbour speaks EVB of draft 0.2, and the configuration says dialect = \"standard\""
            }
            Self::SeveralNeighbors => "more than one neighbour is heard, and an EVB link joins two ends",
            Self::WrongRole => "the neighbour does not play the other EVB role",
            Self::NotRequested => "the station does not request it",
            Self::NotCapable => "the bridge is not capable of it",
            Self::NotGranted => "requested, and the bridge is capable, but it has not switched it on",
            Self::Switching => "the data path is switching",
            Self::DataPathFailed => "the data path of the bridge did not switch",
            Self::Unrequested => "the bridge has it on without a request",
        }
    }
}

/// A number in operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setting<T> {
    /// The number.
    pub value: T,
    /// Whose proposal it is.
    pub origin: Origin,
}

/// Whose proposal is in operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Ours, also when the neighbour proposed the same.
    Local,
    /// The neighbour's, which is larger.
    Remote,
}

#[cfg(test)]
mod tests;
