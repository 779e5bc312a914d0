//! The bridge's end of VDP on one port [Q 41.5.2]: the machines of all its VSIs.
//!
//! A VSI is named by (port, VSIID format, VSIID); manager, type, version and filter are its attributes, and a command
//! with other attributes modifies it. lldpad, which names it by all of them, sends a De-Associate in between.

mod machine;
mod types;

use std::collections::{BTreeMap, VecDeque};

use ether::Instant;

pub use types::{Answer, BridgeConfig, BridgeEvent, Cause, Held, Output, Query, VsiState, VsiView};

use self::machine::{Event, Request, Shared, Vsi};
use crate::{
    history::History,
    schedule::Schedule,
    stats::BridgeStats,
    timing::Timing,
    tlv::{Association, BadTlv, Command, Item, Status},
    vsi::{ManagerId, VsiId},
};

/// The bridge's end of VDP on one port. Drain [`Bridge::poll_output`] after every other call, in order: what stops
/// frames comes before the answer that says so, and what lets them pass before the answer that promises it.
#[derive(Debug)]
pub struct Bridge {
    vsis: BTreeMap<VsiId, Vsi>,
    schedule: Schedule,
    shared: Shared,
}

impl Bridge {
    /// A bridge without VSIs that has not yet heard of a station, groups not agreed on.
    #[must_use]
    pub fn new(config: BridgeConfig, timing: Timing) -> Self {
        let shared = Shared {
            config,
            timing,
            groups: false,
            ready: false,
            next_serial: 0,
            outputs: VecDeque::new(),
            history: History::default(),
            stats: BridgeStats::default(),
        };
        Self { vsis: BTreeMap::new(), schedule: Schedule::default(), shared }
    }

    /// Another number of VSIs held at most; those held already stay.
    pub const fn set_max_vsis(&mut self, max_vsis: usize) {
        self.shared.config.max_vsis = max_vsis;
    }

    /// Other numbers in operation, from the next arming of each timer.
    pub fn set_timing(&mut self, timing: Timing) {
        self.shared.timing = timing;
    }

    /// Whether the station is there: EVB agreed and the link up. While it is not, what it commands is counted and
    /// ignored; what is held stays until nothing is heard of it for toutKeepAlive (UNSURE-8).
    pub fn set_ready(&mut self, ready: bool) {
        self.shared.ready = ready;
    }

    /// Holds a VSI as it was held before a restart: its frames pass at once, and the station has toutKeepAlive to be
    /// heard. Nothing happens if the VSI is here, or the table is full: then it is [`Output::Released`].
    pub fn resume(&mut self, now: Instant, held: Held) {
        let id = held.id;
        if self.vsis.contains_key(&id) {
            return;
        }
        if self.vsis.len() >= self.shared.config.max_vsis || held.command == Command::DeAssociate {
            self.shared.stats.table_full += 1;
            return self.shared.outputs.push_back(Output::Released(id));
        }
        let vsi = Vsi::resumed(now, held, &mut self.shared);
        self.schedule.set(id, vsi.deadline());
        self.vsis.insert(id, vsi);
    }

    /// The type of a VSI has changed: asks the VSI type database again, and withdraws the VSI with
    /// [`Cause::TypeWithdrawn`] unless the answer is what it has. Nothing happens if it is not here.
    pub fn requery(&mut self, now: Instant, id: &VsiId) {
        self.step(now, *id, Event::Recheck);
    }

    /// What must survive a restart, in the order of the identifiers.
    pub fn held(&self) -> impl Iterator<Item = &Held> {
        self.vsis.values().filter_map(Vsi::held)
    }

    /// Whether filters may name groups: both sides are capable. VSIs that name one already are not touched.
    pub fn set_group_capable(&mut self, groups: bool) {
        self.shared.groups = groups;
    }

    /// Takes a VDPDU delivered by ECP, padding allowed. What cannot be used is counted, and answered where possible.
    pub fn handle_pdu(&mut self, now: Instant, payload: &[u8]) {
        if !self.shared.ready {
            self.shared.stats.pdus_unagreed += 1;
            return;
        }
        let Some(pdu) = self.shared.stats.rx.parse(payload) else { return };
        for item in pdu.items {
            match item {
                Item::Association(association) => self.handle_association(now, pdu.manager, association),
                Item::Malformed(bad) => self.handle_malformed(now, pdu.manager, bad),
                Item::Organizational { .. } | Item::Unknown { .. } => {}
            }
        }
    }

    /// The VSI type database answers the [`Query`] with this `id` and `serial`. An answer that comes too late, or is
    /// overtaken by a De-Associate, is ignored and counted.
    pub fn answer(&mut self, now: Instant, id: &VsiId, serial: u64, answer: Answer) {
        self.step(now, *id, Event::Answer(serial, answer));
    }

    /// Removes a VSI and tells the station [Q 41.5.2, bridgeExit]; nothing happens if it is not here.
    pub fn withdraw(&mut self, now: Instant, id: &VsiId, cause: Cause) {
        self.step(now, *id, Event::Withdraw(cause));
    }

    /// Removes all VSIs and tells the station: the port goes away, or the station is lost and the policy is not to wait
    /// for its keep-alives to fail.
    pub fn release_all(&mut self, now: Instant, cause: Cause) {
        let ids: Vec<_> = self.vsis.keys().copied().collect();
        for id in ids {
            self.step(now, id, Event::Withdraw(cause));
        }
    }

    /// Lets time pass; harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        for id in self.schedule.due(now) {
            self.step(now, id, Event::Timeout);
        }
    }

    /// When [`Bridge::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// The next thing to do, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.shared.outputs.pop_front()
    }

    /// All VSIs, in the order of their identifiers.
    pub fn vsis(&self) -> impl Iterator<Item = VsiView> {
        self.vsis.values().filter_map(|vsi| vsi.view(&self.shared.history))
    }

    /// The VSI `id`, if it is here.
    #[must_use]
    pub fn vsi(&self, id: &VsiId) -> Option<VsiView> {
        self.vsis.get(id)?.view(&self.shared.history)
    }

    /// What happened to the VSIs, those gone included.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.shared.history
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &BridgeStats {
        &self.shared.stats
    }

    fn handle_association(&mut self, now: Instant, manager: ManagerId, association: Association) {
        let id = association.id;
        let Status::Request(hints) = association.status else {
            self.shared.stats.rx.tlvs_wrong_direction += 1;
            return;
        };
        let Some(request) = Request::new(manager, &association, hints) else {
            return self.step(now, id, Event::Deassociate(manager, association));
        };
        if self.vsis.contains_key(&id) || self.vsis.len() < self.shared.config.max_vsis {
            self.step(now, id, Event::Command(request));
        } else {
            Vsi::new(id).refuse_overflow(now, request, &mut self.shared);
            self.shared.history.retire(id);
        }
    }

    fn handle_malformed(&mut self, now: Instant, manager: ManagerId, bad: BadTlv) {
        if bad.is_response() {
            self.shared.stats.rx.tlvs_wrong_direction += 1;
            return;
        }
        match bad.id.filter(|id| self.vsis.contains_key(id)) {
            Some(id) => self.step(now, id, Event::Malformed(manager, bad)),
            None => {
                self.shared.refuse_malformed(now, manager, &bad);
                bad.id.into_iter().for_each(|id| self.shared.history.retire(id));
            }
        }
    }

    /// Runs the machine of `id`, which starts in INIT if it is not in the table and leaves the table in its end.
    fn step(&mut self, now: Instant, id: VsiId, event: Event) {
        let mut vsi = self.vsis.remove(&id).unwrap_or_else(|| Vsi::new(id));
        let (before, place) = (vsi.held().cloned(), self.shared.outputs.len());
        vsi.handle(now, event, &mut self.shared);
        if vsi.held() != before.as_ref() {
            let change = vsi.held().map_or(Output::Released(id), |held| Output::Held(held.clone()));
            self.shared.outputs.insert(place, change);
        }
        self.schedule.set(id, vsi.deadline());
        if vsi.deadline().is_some() {
            self.vsis.insert(id, vsi);
        } else {
            self.shared.history.retire(id);
        }
    }
}

#[cfg(test)]
mod tests;
