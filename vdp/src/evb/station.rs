//! The EVB station's side of the negotiation [Q 40, D.2.12], one per uplink relay port.

use serde::{Deserialize, Serialize};

use super::{
    Absence, Mode, Output, Peer, ReflectiveRelay, RelayReason, RelayState, Status,
    negotiation::{Negotiation, Stats},
    tlv::{EvbTlv, RelayStatus, StationStatus},
};
use crate::timing::Timing;

/// What the administrator decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StationConfig {
    /// The numbers proposed.
    pub proposal: Timing,
    /// Whether filters may name groups, if the bridge agrees.
    pub gid_capable: bool,
    /// Whether only our own proposal counts.
    #[doc(alias = "evbUrpLldpManual")]
    pub manual: bool,
}

/// The station's negotiator. Drain [`Station::poll_output`] after [`Station::new`] and every other call.
#[derive(Debug)]
pub struct Station {
    gid_capable: bool,
    request: bool,
    negotiation: Negotiation,
}

impl Station {
    /// A negotiator that has heard no bridge and asks for no reflective relay.
    #[must_use]
    pub fn new(config: StationConfig) -> Self {
        let negotiation = Negotiation::new(config.proposal, config.manual, Mode::Bridge);
        let mut station = Self { gid_capable: config.gid_capable, request: false, negotiation };
        station.refresh();
        station
    }

    /// Other settings; what the peer said stays.
    pub fn reconfigure(&mut self, config: StationConfig) {
        self.gid_capable = config.gid_capable;
        self.negotiation.propose(config.proposal, config.manual);
        self.refresh();
    }

    /// Whether a VEPA hangs on the port and needs its frames reflected.
    #[doc(alias = "adminReflectiveRelayRequest")]
    pub fn set_reflective_request(&mut self, request: bool) {
        self.request = request;
        self.refresh();
    }

    /// Takes the octets after the subtype of the EVB TLV of the only neighbour.
    pub fn handle_remote(&mut self, info: &[u8]) {
        self.negotiation.handle_remote(info);
        self.refresh();
    }

    /// There is no EVB TLV to take, or none any more.
    pub fn handle_absence(&mut self, why: Absence) {
        self.negotiation.handle_absence(why);
        self.refresh();
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.negotiation.poll_output()
    }

    /// What the negotiation has come to.
    #[must_use]
    pub fn status(&self) -> Status {
        let groups = self.gid_capable && self.negotiation.remote().is_some_and(|tlv| tlv.bridge.group);
        self.negotiation.status(self.reflective_relay(), groups)
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        self.negotiation.stats()
    }

    fn refresh(&mut self) {
        let status = self.status();
        let relay = match status.reflective_relay.state {
            RelayState::Unknown => RelayStatus::Unknown,
            RelayState::Off => RelayStatus::False,
            RelayState::On => RelayStatus::True,
        };
        let station = StationStatus { group: self.gid_capable, request: self.request, relay };
        let echo = self.negotiation.remote().map(|tlv| tlv.bridge).unwrap_or_default();
        let tlv = self.negotiation.local_tlv(Mode::Station, echo, station, &status);
        self.negotiation.say(&tlv, status);
    }

    fn reflective_relay(&self) -> ReflectiveRelay {
        use RelayReason as Why;
        use RelayState::{Off, On, Unknown};
        let (state, reason) = match (self.negotiation.peer(), self.negotiation.remote()) {
            (Peer::Malformed, _) => (Unknown, Why::MalformedPeerTlv),
            (Peer::Draft, _) => (Unknown, Why::DraftPeer),
            (Peer::Several, _) => (Unknown, Why::SeveralNeighbors),
            (Peer::WrongRole(_), _) => (Unknown, Why::WrongRole),
            (Peer::Absent | Peer::Present, None) => (Unknown, Why::NoPeerTlv),
            (Peer::Absent | Peer::Present, Some(EvbTlv { bridge, .. })) => {
                match (bridge.control, self.request, bridge.capable) {
                    (true, true, _) => (On, Why::Agreed),
                    (true, false, _) => (On, Why::Unrequested),
                    (false, false, _) => (Off, Why::NotRequested),
                    (false, true, false) => (Off, Why::NotCapable),
                    (false, true, true) => (Off, Why::NotGranted),
                }
            }
        };
        ReflectiveRelay::new(state, reason)
    }
}
