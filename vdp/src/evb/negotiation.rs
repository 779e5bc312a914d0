//! What both roles have in common: the neighbour's TLV, the numbers in operation, telling only what changed.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use super::{
    Absence, Mode, Origin, Output, Peer, ReflectiveRelay, Setting, Status,
    tlv::{BridgeStatus, EvbTlv, ShortEvbTlv, StationStatus},
};
use crate::timing::Timing;

/// What a negotiator has counted, never reset while it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// EVB TLVs handed in.
    pub received: u64,
    /// Those too short to be read.
    pub malformed: u64,
    /// Those of a mode that does not complement ours.
    pub wrong_role: u64,
}

#[derive(Debug)]
pub(super) struct Negotiation {
    proposal: Timing,
    /// Only our own proposal counts.
    manual: bool,
    /// The role that complements ours.
    wanted: Mode,
    peer: Peer,
    remote: Option<EvbTlv>,
    stats: Stats,
    outputs: VecDeque<Output>,
    said_tlv: Option<Bytes>,
    said_status: Option<Status>,
}

impl Negotiation {
    pub(super) fn new(proposal: Timing, manual: bool, wanted: Mode) -> Self {
        Self {
            proposal,
            manual,
            wanted,
            peer: Peer::Absent,
            remote: None,
            stats: Stats::default(),
            outputs: VecDeque::new(),
            said_tlv: None,
            said_status: None,
        }
    }

    /// Other numbers to propose, and whether only they count.
    pub(super) const fn propose(&mut self, proposal: Timing, manual: bool) {
        self.proposal = proposal;
        self.manual = manual;
    }

    pub(super) fn handle_absence(&mut self, why: Absence) {
        self.remote = None;
        self.peer = match why {
            Absence::NoTlv => Peer::Absent,
            Absence::Draft => Peer::Draft,
            Absence::Several => Peer::Several,
        };
    }

    pub(super) fn handle_remote(&mut self, info: &[u8]) {
        (self.peer, self.remote) = match EvbTlv::parse(info) {
            Err(ShortEvbTlv(_)) => (Peer::Malformed, None),
            Ok(tlv) if tlv.mode != self.wanted => (Peer::WrongRole(tlv.mode), None),
            Ok(tlv) => (Peer::Present, Some(tlv)),
        };
        self.stats.received += 1;
        self.stats.malformed += u64::from(self.peer == Peer::Malformed);
        self.stats.wrong_role += u64::from(matches!(self.peer, Peer::WrongRole(_)));
    }

    /// The neighbour's TLV, if the neighbour plays the other role.
    pub(super) const fn remote(&self) -> Option<&EvbTlv> {
        self.remote.as_ref()
    }

    pub(super) const fn peer(&self) -> Peer {
        self.peer
    }

    pub(super) const fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Says what differs from what was said last.
    pub(super) fn say(&mut self, tlv: &EvbTlv, status: Status) {
        let tlv = tlv.to_bytes();
        if self.said_tlv.as_ref() != Some(&tlv) {
            self.said_tlv = Some(tlv.clone());
            self.outputs.push_back(Output::LocalTlv(tlv));
        }
        if self.said_status != Some(status) {
            self.said_status = Some(status);
            self.outputs.push_back(Output::Operational(status));
        }
    }

    /// What the negotiation has come to: of each number the larger proposal [Q 40, D.2.12], ours alone when managed by
    /// hand or without a neighbour.
    pub(super) fn status(&self, reflective_relay: ReflectiveRelay, groups: bool) -> Status {
        let (local, remote) = (self.proposal, self.remote.filter(|_| !self.manual));
        // A value with ROL set is our own coming back. Were it to count, neither side could ever lower it.
        let rwd = remote.filter(|tlv| !tlv.rwd_remote).map(|tlv| tlv.rwd);
        let rka = remote.filter(|tlv| !tlv.rka_remote).map(|tlv| tlv.rka);
        Status {
            peer: self.peer,
            reflective_relay,
            retries: larger(local.retries, remote.map(|tlv| tlv.retries)),
            rte: larger(local.rte, remote.map(|tlv| tlv.rte)),
            rwd: larger(local.rwd, rwd),
            rka: larger(local.rka, rka),
            groups,
        }
    }

    /// Our TLV. UNSURE-2: R and RTE are our proposals; RWD and RKA are the values in operation, with ROL where they are
    /// the neighbour's.
    pub(super) fn local_tlv(
        &self,
        mode: Mode,
        bridge: BridgeStatus,
        station: StationStatus,
        status: &Status,
    ) -> EvbTlv {
        EvbTlv {
            bridge,
            station,
            retries: self.proposal.retries,
            rte: self.proposal.rte,
            mode,
            rwd: status.rwd.value,
            rwd_remote: status.rwd.origin == Origin::Remote,
            rka: status.rka.value,
            rka_remote: status.rka.origin == Origin::Remote,
        }
    }
}

fn larger<T: Ord + Copy>(local: T, remote: Option<T>) -> Setting<T> {
    match remote {
        Some(remote) if remote > local => Setting { value: remote, origin: Origin::Remote },
        _ => Setting { value: local, origin: Origin::Local },
    }
}
