//! DCBX on one port: what LLDP knows of the peer in, our TLVs and what is operational out [Q 38].
//!
//! It is a function of what is configured, what the peer says now, and three memories: the peer it fell back to CEE for,
//! what a peer decided last, and the sequence number of CEE. There are no timers: LLDP's are all it needs.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ether::MacAddr;
use lldp::{OrgKey, OrgTlv};
use serde::Serialize;

use crate::{
    config::Config,
    ieee::{Application, EtsTable},
    oper::{Because, Feature},
    peer::Heard,
    priority::PrioritySet,
    said,
    select::{Dialect, Evidence, Selection},
    stats::Stats,
    weigh,
};

/// What a port wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Say this in the organizational TLV `key`, or nothing any more.
    LocalTlv {
        /// Which TLV.
        key: OrgKey,
        /// The octets after its subtype.
        info: Option<Bytes>,
    },
    /// Something operational changed.
    Operational(Box<Status>),
}

/// Who the peer is to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// No neighbour.
    #[default]
    Absent,
    /// More than one neighbour: nobody to agree with [Q 38].
    Several,
    /// A neighbour without DCBX.
    Silent,
    /// A neighbour that speaks DCBX, but no dialect we do.
    OtherDialect,
    /// A neighbour that speaks our dialect.
    Present,
}

/// What is operational on a port, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The dialect spoken.
    pub dialect: Dialect,
    /// Why that one.
    pub evidence: Evidence,
    /// Who the peer is.
    pub peer: Peer,
    /// Sharing of the link.
    pub ets: Feature<EtsTable>,
    /// Flow control.
    pub pfc: Feature<PrioritySet>,
    /// Priorities of applications.
    pub applications: Feature<Vec<Application>>,
    /// What of the peer's TLVs cannot be used, a line each.
    pub faults: Vec<String>,
}

/// What a device is to do; nothing of a feature that is not ours to apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Settings {
    /// Sharing of the link.
    pub ets: Option<EtsTable>,
    /// Flow control.
    pub pfc: Option<PrioritySet>,
    /// Priorities of applications.
    pub applications: Option<Vec<Application>>,
}

impl Status {
    /// What is to be applied.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            ets: self.ets.to_apply().copied(),
            pfc: self.pfc.to_apply().copied(),
            applications: self.applications.to_apply().cloned(),
        }
    }
}

/// Sequence numbers of CEE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handshake {
    /// Of our state.
    pub sequence: u32,
    /// Of the peer's state, as it has come to us; 0 before it has.
    pub peer_sequence: u32,
    /// Whether the peer has ours.
    pub acknowledged: bool,
}

/// DCBX on one port. Drain [`Dcbx::poll_output`] after every other call.
#[derive(Clone, Debug)]
pub struct Dcbx {
    pub(crate) config: Config,
    pub(crate) mac: MacAddr,
    pub(crate) selection: Selection,
    pub(crate) presence: Presence,
    pub(crate) held: Held,
    status: Status,
    handshake: Handshake,
    /// The features of CEE said under the present sequence number.
    numbered: Option<Bytes>,
    said: BTreeMap<OrgKey, Bytes>,
    stats: Stats,
    outputs: VecDeque<Output>,
}

/// What LLDP has of the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Nobody,
    Several,
    One(MacAddr, Box<Heard>),
}

/// What a peer decided last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    pub(crate) ets: Option<EtsTable>,
    pub(crate) pfc: Option<PrioritySet>,
    pub(crate) applications: Option<Vec<Application>>,
    /// Whether there was a peer of our dialect.
    pub(crate) met: bool,
}

impl Dcbx {
    /// A port of address `mac` whose link is down and whose `config` obeys [`Config::check`].
    #[must_use]
    pub fn new(config: Config, mac: MacAddr) -> Self {
        let selection = Selection::new(config.dialect);
        let (presence, held) = (Presence::Nobody, Held::default());
        let status = weigh::status(&config, mac, &selection, &presence, &held);
        let mut dcbx = Self {
            config,
            mac,
            selection,
            presence,
            held,
            outputs: VecDeque::from([Output::Operational(Box::new(status.clone()))]),
            status,
            handshake: Handshake { sequence: 0, peer_sequence: 0, acknowledged: false },
            numbered: None,
            said: BTreeMap::new(),
            stats: Stats::default(),
        };
        dcbx.run();
        dcbx
    }

    /// Other settings. What a peer decided counts on as long as the feature is willing.
    pub fn reconfigure(&mut self, config: Config) {
        if self.config.dialect != config.dialect {
            self.selection = Selection::new(config.dialect);
            if let Presence::One(mac, heard) = &self.presence {
                self.selection.hear(*mac, heard);
            }
        }
        self.config = config;
        self.run();
    }

    /// The port has another address.
    pub fn set_mac(&mut self, mac: MacAddr) {
        self.mac = mac;
        self.run();
    }

    /// The link went down: what the peer speaks when it is heard again counts anew.
    pub const fn handle_link_down(&mut self) {
        self.selection.rise();
    }

    /// The only neighbour, which speaks from `mac`, says `tlvs`; those of other protocols are passed over.
    pub fn handle_peer<'a>(&mut self, mac: MacAddr, tlvs: impl Iterator<Item = &'a OrgTlv>) {
        let heard = Box::new(Heard::read(tlvs, &mut self.stats));
        self.selection.hear(mac, &heard);
        self.presence = Presence::One(mac, heard);
        self.run();
    }

    /// There is no neighbour.
    pub fn handle_nobody(&mut self) {
        self.presence = Presence::Nobody;
        self.selection.reset();
        self.run();
    }

    /// There is more than one neighbour.
    pub fn handle_several(&mut self) {
        self.presence = Presence::Several;
        self.selection.reset();
        self.run();
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What is operational.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The sequence numbers, while CEE is spoken.
    #[must_use]
    pub fn handshake(&self) -> Option<Handshake> {
        (self.selection.dialect == Dialect::Cee && self.config.speaks()).then_some(self.handshake)
    }

    /// What has been counted.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The TLVs said now.
    pub fn said(&self) -> impl Iterator<Item = (OrgKey, &Bytes)> {
        self.said.iter().map(|(key, info)| (*key, info))
    }

    fn run(&mut self) {
        let status = weigh::status(&self.config, self.mac, &self.selection, &self.presence, &self.held);
        self.remember(&status);
        self.say(&status);
        if self.status != status {
            self.stats.changes += 1;
            self.status = status.clone();
            self.outputs.push_back(Output::Operational(Box::new(status)));
        }
    }

    /// Keeps what a peer has decided for the time it is gone.
    fn remember(&mut self, status: &Status) {
        keep(&mut self.held.ets, &status.ets);
        keep(&mut self.held.pfc, &status.pfc);
        keep(&mut self.held.applications, &status.applications);
        self.held.met |= status.peer == Peer::Present;
    }

    /// Says what has changed of our TLVs.
    fn say(&mut self, status: &Status) {
        let now = match status.dialect {
            Dialect::Ieee => said::ieee(&self.config, self.mac, &self.presence, status),
            Dialect::Cee => self.say_cee(status),
        };
        let gone = self.said.keys().filter(|key| !now.contains_key(key));
        self.outputs.extend(gone.map(|key| Output::LocalTlv { key: *key, info: None }));
        let new = now.iter().filter(|(key, info)| self.said.get(key) != Some(info));
        self.outputs.extend(new.map(|(key, info)| Output::LocalTlv { key: *key, info: Some(info.clone()) }));
        self.said = now;
    }

    /// CEE's TLV: features under a sequence number that counts their changes, and the peer's last number back.
    fn say_cee(&mut self, status: &Status) -> BTreeMap<OrgKey, Bytes> {
        let features = said::cee(&self.config, status);
        // Told apart by their octets without the control sub-TLV's numbers.
        let octets = features.to_bytes().ok();
        if self.numbered != octets {
            self.numbered = octets;
            self.handshake.sequence = self.handshake.sequence.wrapping_add(1);
        }
        let control = match &self.presence {
            Presence::One(_, heard) => heard.cee_tlv.as_ref().map(|tlv| tlv.control),
            Presence::Nobody | Presence::Several => None,
        };
        self.handshake.peer_sequence = control.map_or(0, |control| control.sequence);
        self.handshake.acknowledged =
            control.is_some_and(|control| control.acknowledged == self.handshake.sequence);
        said::cee_tlv(features, self.handshake, self.config.speaks())
    }
}

/// What the peer decides is remembered, what is decided otherwise ends that; without a peer it stays.
fn keep<T: Clone>(held: &mut Option<T>, feature: &Feature<T>) {
    match feature.because {
        Because::PeerDecides | Because::PeerHigher => held.clone_from(&feature.chosen),
        Because::Kept | Because::NoPeer | Because::Reset => {}
        Because::Off
        | Because::NotWilling
        | Because::Unsaid
        | Because::Disabled
        | Because::WeHigher
        | Because::Refused(_) => *held = None,
    }
}

#[cfg(test)]
mod tests;
