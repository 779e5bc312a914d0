//! What is operational of one feature, and why: the asymmetric and the symmetric machine [Q 38].
//!
//! | ours | the peer's | chosen |
//! |---|---|---|
//! | not willing | any | ours |
//! | willing | not willing | the peer's |
//! | willing | willing | that of the side with the higher address |
//! | willing | cannot be used here | ours |
//! | willing | gone | the peer's last, or ours, as configured |
//!
//! UNSURE-30: which of two willing sides decides on PFC is told both ways; the higher address is what lldpad does. ETS is
//! asymmetric: each side does what it is recommended. Of two willing ones only the side with the higher address
//! recommends anything, so both end with the same table.

use core::fmt;

use serde::{Serialize, Serializer};

use crate::config::{Mode, OnPeerLoss, Rule};

/// One feature as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature<T> {
    /// What it was told to do.
    pub mode: Mode,
    /// Ours.
    pub local: T,
    /// What the peer says it does; none where it says nothing that can be used.
    pub remote: Option<T>,
    /// What the peer would have us do, where that is another TLV than what it does.
    pub recommended: Option<T>,
    /// Whether the peer takes ours, where it tells.
    pub remote_willing: Option<bool>,
    /// What is operational; none when the feature is off.
    pub chosen: Option<T>,
    /// Whether both sides do the same, where that can be told.
    pub agreed: Option<bool>,
    /// Why that was chosen.
    pub because: Because,
}

/// Why something was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The feature is off.
    Off,
    /// We are not willing: ours.
    NotWilling,
    /// No peer with our dialect yet: ours, and it is not applied before there is one.
    NoPeer,
    /// The peer is gone, and what it decided stays.
    Kept,
    /// The peer is gone, and ours counts again.
    Reset,
    /// The peer says nothing of it: ours.
    Unsaid,
    /// The peer has it disabled: ours.
    Disabled,
    /// The peer decides.
    PeerDecides,
    /// Both are willing and its address is the higher: the peer's.
    PeerHigher,
    /// Both are willing and our address is the higher: ours.
    WeHigher,
    /// What the peer says breaks a rule here: ours.
    Refused(Rule),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::NotWilling => "we are not willing",
            Self::NoPeer => "willing, and no peer of our dialect was heard yet; nothing is applied before",
            Self::Kept => "the peer is gone, and what it decided is kept",
            Self::Reset => "the peer is gone, and ours counts again",
            Self::Unsaid => "willing, and the peer says nothing of it",
            Self::Disabled => "willing, and the peer has it disabled",
            Self::PeerDecides => "we are willing and the peer decides",
            Self::PeerHigher => "both are willing, and the peer's MAC address is the higher",
            Self::WeHigher => "both are willing, and our MAC address is the higher",
            Self::Refused(rule) => return write!(f, "willing, but the peer's cannot be used: {rule}"),
        })
    }
}

impl Serialize for Because {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

impl<T: Clone> Feature<T> {
    /// What is to be applied: nothing of a feature that is only said, or that waits for its peer.
    #[must_use]
    pub fn to_apply(&self) -> Option<&T> {
        let waits = self.because == Because::NoPeer;
        self.chosen.as_ref().filter(|_| self.mode.applies() && !waits)
    }
}

/// What is known of the peer's side of a feature.
pub(crate) enum Offer<T> {
    /// There is no peer: none yet, or not any more.
    Nobody,
    /// The peer does not speak of it, in our dialect.
    Unsaid,
    /// It has it disabled.
    Disabled,
    /// It breaks a rule here.
    Refused(Rule),
    /// This, if we are willing.
    Made(T),
}

/// What a decision is made of besides the offer.
pub(crate) struct Basis<'a, T> {
    pub(crate) mode: Mode,
    pub(crate) local: &'a T,
    /// Whether the peer is willing too, so that one of both must decide.
    pub(crate) both: bool,
    /// Our address is the higher.
    pub(crate) we_higher: bool,
    /// What a peer decided last.
    pub(crate) held: Option<&'a T>,
    /// Whether there was a peer before.
    pub(crate) met: bool,
    pub(crate) on_peer_loss: OnPeerLoss,
}

/// What is operational, and why.
pub(crate) fn decide<T: Clone>(basis: &Basis<'_, T>, offer: Offer<T>) -> (Option<T>, Because) {
    let local = || Some(basis.local.clone());
    match (basis.mode, offer) {
        (Mode::Off, _) => (None, Because::Off),
        (Mode::Advertise | Mode::Authoritative, _) => (local(), Because::NotWilling),
        (Mode::Willing, Offer::Nobody) => match (basis.held, basis.on_peer_loss, basis.met) {
            (Some(held), OnPeerLoss::Keep, _) => (Some(held.clone()), Because::Kept),
            (_, OnPeerLoss::Reset, true) => (local(), Because::Reset),
            _ => (local(), Because::NoPeer),
        },
        (Mode::Willing, Offer::Unsaid) => (local(), Because::Unsaid),
        (Mode::Willing, Offer::Disabled) => (local(), Because::Disabled),
        (Mode::Willing, Offer::Refused(_)) if basis.both && basis.we_higher => (local(), Because::WeHigher),
        (Mode::Willing, Offer::Refused(rule)) => (local(), Because::Refused(rule)),
        (Mode::Willing, Offer::Made(_)) if basis.both && basis.we_higher => (local(), Because::WeHigher),
        (Mode::Willing, Offer::Made(theirs)) if basis.both => (Some(theirs), Because::PeerHigher),
        (Mode::Willing, Offer::Made(theirs)) => (Some(theirs), Because::PeerDecides),
    }
}
