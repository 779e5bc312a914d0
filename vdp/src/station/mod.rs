//! The station's end of VDP on one port [Q 41.5.3]: the machines of all its VSIs.
//!
//! Beyond the standard: a command given while another is outstanding waits for it, the latest one winning; a VSI that
//! is lost for any other reason than the hypervisor's own De-Associate is asked for again, with growing delays.

mod machine;
mod types;

use std::collections::{BTreeMap, VecDeque};

use ether::Instant;

pub use types::{
    Cause, CommandError, Held, Output, StationConfig, StationEvent, VsiRequest, VsiState, VsiView,
};

use self::machine::{Event, Shared, Vsi};
use crate::{
    history::History,
    schedule::Schedule,
    stats::StationStats,
    timing::Timing,
    tlv::{Association, Command, Item, Status, Vdpdu},
    vsi::{ManagerId, VsiId},
};

/// The station's end of VDP on one port. Drain [`Station::poll_output`] after every other call.
#[derive(Debug)]
pub struct Station {
    vsis: BTreeMap<VsiId, Vsi>,
    schedule: Schedule,
    shared: Shared,
}

impl Station {
    /// A station without VSIs that has not yet heard of a bridge.
    #[must_use]
    pub fn new(config: StationConfig, timing: Timing) -> Self {
        let shared = Shared {
            config,
            timing,
            ready: false,
            groups: false,
            replace: false,
            outputs: VecDeque::new(),
            history: History::default(),
            stats: StationStats::default(),
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

    /// Whether the bridge is there: EVB agreed and the link up. When it comes, everything that waits is sent at once.
    /// When it goes, new commands wait; confirmed VSIs stay until their keep-alive is not answered (UNSURE-8).
    pub fn set_ready(&mut self, now: Instant, ready: bool) {
        let comes = ready && !self.shared.ready;
        self.shared.ready = ready;
        if comes {
            self.wake(now);
        }
    }

    /// Whether filters may name groups: both sides are capable. What waits for that is sent at once; VSIs that name one
    /// already are not touched.
    pub fn set_group_capable(&mut self, now: Instant, groups: bool) {
        let comes = groups && !self.shared.groups;
        self.shared.groups = groups;
        if comes && self.shared.ready {
            self.wake(now);
        }
    }

    /// The bridge is lost, and by policy no VSI outlives it: all end at once, without a word to the bridge, and those
    /// still wanted are asked for again when it is back. The other policy is to do nothing (UNSURE-8).
    pub fn release_all(&mut self, now: Instant) {
        self.shared.ready = false;
        let ids: Vec<_> = self.vsis.keys().copied().collect();
        for id in ids {
            self.step(now, id, Event::PeerLost);
        }
    }

    /// What the hypervisor wants. A De-Associate always ends in [`StationEvent::Gone`], also of a VSI not known here:
    /// the bridge may hold it from before a restart.
    ///
    /// # Errors
    /// When there are too many VSIs, or an associated one is to be merely pre-associated.
    pub fn command(&mut self, now: Instant, request: VsiRequest) -> Result<(), CommandError> {
        let id = request.id;
        match self.vsis.get(&id) {
            Some(vsi)
                if matches!(request.command, Command::PreAssociate | Command::PreAssociateRr)
                    && vsi.is_associating() =>
            {
                return Err(CommandError::Downgrade);
            }
            Some(_) => {}
            None if self.vsis.len() >= self.shared.config.max_vsis => {
                return Err(CommandError::Full(self.vsis.len()));
            }
            None => {
                self.vsis.insert(id, Vsi::new(request.clone()));
            }
        }
        self.shared.history.record(now, id, format!("{} wanted", request.command.words()));
        self.step(now, id, Event::Command(request));
        Ok(())
    }

    /// Has a VSI as it was before a restart: what was confirmed counts as confirmed, so its gate opens at once, and is
    /// asserted again as soon as the bridge is there; what was not is commanded again.
    ///
    /// # Errors
    /// As [`Station::command`]; the VSI is [`Output::Released`] then.
    pub fn resume(&mut self, now: Instant, held: Held) -> Result<(), CommandError> {
        let id = held.request.id;
        if self.vsis.contains_key(&id) {
            return Ok(());
        }
        if self.vsis.len() >= self.shared.config.max_vsis {
            self.shared.outputs.push_back(Output::Released(id));
            return Err(CommandError::Full(self.vsis.len()));
        }
        let Some((command, filter)) = held.confirmed else { return self.command(now, held.request) };
        let vsi = Vsi::resumed(now, held.request, command, filter, &mut self.shared);
        self.schedule.set(id, vsi.deadline());
        self.vsis.insert(id, vsi);
        Ok(())
    }

    /// What must survive a restart, in the order of the identifiers.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        self.vsis.values().filter_map(Vsi::held)
    }

    /// Takes a VDPDU delivered by ECP, padding allowed. What cannot be used is counted.
    pub fn handle_pdu(&mut self, now: Instant, payload: &[u8]) {
        let Some(pdu) = self.shared.stats.rx.parse(payload) else { return };
        self.shared.replace = !Vdpdu::has_end(payload);
        for item in pdu.items {
            match item {
                Item::Association(association) => self.handle_association(now, pdu.manager, association),
                Item::Malformed(bad) => {
                    if let Some(id) = bad.id {
                        self.shared.history.note(
                            now,
                            id,
                            format!("ignored what the bridge sent: {}", bad.error),
                        );
                    }
                }
                Item::Organizational { .. } | Item::Unknown { .. } => {}
            }
        }
    }

    /// ECP gave up on `payload`, which this station sent. A keep-alive is sent again while its answer may still come:
    /// the bridge may be restarting. Else it is only noted, respWaitDelay covers it.
    pub fn ecp_failed(&mut self, now: Instant, payload: &[u8]) {
        self.shared.stats.ecp_failures += 1;
        for item in Vdpdu::parse(payload).into_iter().flat_map(|pdu| pdu.items) {
            if let Item::Association(Association { id, command, .. }) = item {
                let line = format!("ECP gave up on the {}: the bridge does not acknowledge", command.words());
                self.shared.history.note(now, id, line);
                if let Some(vsi) = self.vsis.get(&id) {
                    vsi.repeat_keep_alive(&mut self.shared);
                }
            }
        }
    }

    /// Lets time pass; harmless when called early or late.
    pub fn handle_timeout(&mut self, now: Instant) {
        for id in self.schedule.due(now) {
            self.step(now, id, Event::Timeout);
        }
    }

    /// When [`Station::handle_timeout`] has something to do.
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
        self.vsis.values().map(|vsi| vsi.view(&self.shared.history))
    }

    /// The VSI `id`, if it is here.
    #[must_use]
    pub fn vsi(&self, id: &VsiId) -> Option<VsiView> {
        self.vsis.get(id).map(|vsi| vsi.view(&self.shared.history))
    }

    /// What happened to the VSIs, those gone included.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.shared.history
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &StationStats {
        &self.shared.stats
    }

    fn handle_association(&mut self, now: Instant, manager: ManagerId, association: Association) {
        let id = association.id;
        let event = match association.status {
            Status::Response(verdict) => Event::Answer(manager, association, verdict),
            Status::Request(_) if association.command == Command::DeAssociate => {
                Event::Withdrawn(manager, association)
            }
            Status::Request(_) => {
                self.shared.stats.rx.tlvs_wrong_direction += 1;
                return;
            }
        };
        if self.vsis.contains_key(&id) {
            self.step(now, id, event);
        } else {
            self.shared.stats.unknown_vsi += 1;
        }
    }

    /// Whatever waits for the bridge is sent.
    fn wake(&mut self, now: Instant) {
        let ids: Vec<_> = self.vsis.keys().copied().collect();
        for id in ids {
            self.step(now, id, Event::Ready);
        }
    }

    fn step(&mut self, now: Instant, id: VsiId, event: Event) {
        let Some(vsi) = self.vsis.get_mut(&id) else { return };
        let (before, place) = (vsi.held(), self.shared.outputs.len());
        vsi.handle(now, event, &mut self.shared);
        let after = vsi.held();
        if after != before {
            self.shared.outputs.insert(place, after.map_or(Output::Released(id), Output::Held));
        }
        self.schedule.set(id, vsi.deadline());
        if vsi.has_ended() {
            self.vsis.remove(&id);
            self.shared.history.retire(id);
        }
    }
}

#[cfg(test)]
mod tests;
