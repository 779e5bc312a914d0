//! The EVB bridge's side of the negotiation [Q 40, D.2.12], one per station-facing bridge port.

use serde::{Deserialize, Serialize};

use super::{
    Absence, Mode, Output, Peer, ReflectiveRelay, RelayReason, RelayState, Status,
    negotiation::{Negotiation, Stats},
    tlv::BridgeStatus,
};
use crate::timing::Timing;

/// What the administrator decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BridgeConfig {
    /// Whether reflective relay is possible and allowed on the port.
    #[doc(alias = "reflectiveRelayCapable")]
    pub reflective_capable: bool,
    /// Whether filters may name groups, if the station agrees.
    pub gid_capable: bool,
    /// The numbers proposed.
    pub proposal: Timing,
    /// Whether only our own proposal counts.
    #[doc(alias = "evbSbpLldpManual")]
    pub manual: bool,
}

/// The bridge's negotiator. Drain [`Bridge::poll_output`] after [`Bridge::new`] and every other call.
///
/// Reflective relay is switched in the data path first and told to the station second, both ways: the station is never
/// told that frames are reflected before they are, and never that they are not while they still are.
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    /// What the data path was asked for last.
    asked: bool,
    /// Whether it has answered since.
    answered: bool,
    /// The station was not heard since a restart before which it asked for reflective relay.
    presumed: bool,
    /// What the station is told: operReflectiveRelayControl.
    control: bool,
    negotiation: Negotiation,
}

impl Bridge {
    /// A negotiator that has heard no station; the data path is taken not to reflect.
    #[must_use]
    pub fn new(config: BridgeConfig) -> Self {
        let negotiation = Negotiation::new(config.proposal, config.manual, Mode::Station);
        let mut bridge =
            Self { config, asked: false, answered: true, presumed: false, control: false, negotiation };
        bridge.refresh();
        bridge
    }

    /// Other settings while it runs; what the peer said stays.
    pub fn reconfigure(&mut self, config: BridgeConfig) {
        self.config = config;
        self.negotiation.propose(config.proposal, config.manual);
        self.follow();
    }

    /// The station asked for reflective relay before a restart: it is taken to do so until it is heard, or found to be
    /// absent.
    pub fn presume_reflective(&mut self) {
        self.presumed = true;
        self.follow();
    }

    /// Takes the octets after the subtype of the EVB TLV of the only neighbour.
    pub fn handle_remote(&mut self, info: &[u8]) {
        self.presumed = false;
        self.negotiation.handle_remote(info);
        self.follow();
    }

    /// There is no EVB TLV to take, or none any more.
    pub fn handle_absence(&mut self, why: Absence) {
        self.presumed = false;
        self.negotiation.handle_absence(why);
        self.follow();
    }

    /// The data path answers [`Output::SwitchReflective`]: whether it reflects now.
    pub fn reflective_applied(&mut self, on: bool) {
        self.answered = true;
        // An answer to an order withdrawn since does not switch on.
        self.control = on && (self.wanted() || self.control);
        self.refresh();
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.negotiation.poll_output()
    }

    /// What the negotiation has come to.
    #[must_use]
    pub fn status(&self) -> Status {
        let groups =
            self.config.gid_capable && self.negotiation.remote().is_some_and(|tlv| tlv.station.group);
        self.negotiation.status(self.reflective_relay(), groups)
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        self.negotiation.stats()
    }

    /// The station asks for reflective relay or does so no more.
    fn follow(&mut self) {
        let wanted = self.wanted();
        if wanted != self.asked {
            self.asked = wanted;
            self.answered = false;
            self.negotiation.push(Output::SwitchReflective(wanted));
        }
        self.refresh();
    }

    fn wanted(&self) -> bool {
        self.config.reflective_capable && (self.requested() || self.presumed)
    }

    fn requested(&self) -> bool {
        self.negotiation.remote().is_some_and(|tlv| tlv.station.request)
    }

    fn refresh(&mut self) {
        let status = self.status();
        let bridge = BridgeStatus {
            group: self.config.gid_capable,
            capable: self.config.reflective_capable,
            control: self.control,
        };
        let echo = self.negotiation.remote().map(|tlv| tlv.station).unwrap_or_default();
        let tlv = self.negotiation.local_tlv(Mode::Bridge, bridge, echo, &status);
        self.negotiation.say(&tlv, status);
    }

    fn reflective_relay(&self) -> ReflectiveRelay {
        use RelayReason as Why;
        let state = if self.control { RelayState::On } else { RelayState::Off };
        let reason = match self.negotiation.peer() {
            _ if self.control != self.asked && !self.answered => Why::Switching,
            Peer::Absent if self.presumed => Why::Presumed,
            Peer::Absent => Why::NoPeerTlv,
            Peer::Malformed => Why::MalformedPeerTlv,
            Peer::Draft => Why::DraftPeer,
            Peer::Several => Why::SeveralNeighbors,
            Peer::WrongRole(_) => Why::WrongRole,
            Peer::Present if self.control != self.asked => Why::DataPathFailed,
            Peer::Present if self.control => Why::Agreed,
            Peer::Present if !self.requested() => Why::NotRequested,
            Peer::Present => Why::NotCapable,
        };
        ReflectiveRelay::new(state, reason)
    }
}
