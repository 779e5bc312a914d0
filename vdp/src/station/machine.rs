//! The machine of one VSI at the station [Q 41.5.3].
//!
//! ```text
//! Held ──ready──▶ Processing ──success──▶ WaitSystemCmd ◀──success── KeepAlive
//!   ▲                 │    ◀──command────────  │ ──reinitKeepAlive──▶   │
//!   │                 │ refused, time-out      │ De-Associate           │ refused, time-out
//!   └──not ready── END ◀──────────────────────┴────────────────────────┘   Deassociate ──answer, time-out──▶ END
//!                   └──still wanted──▶ BackOff ──time──▶ Processing
//! ```

mod answer;
mod end;

use std::{borrow::Cow, collections::VecDeque};

use ether::Instant;

use self::answer::deassociated;
use super::types::{Cause, Held, Output, StationConfig, StationEvent, VsiRequest, VsiState, VsiView};
use crate::{
    error::ErrorCode,
    filter::FilterInfo,
    history::History,
    outbox::Message,
    stats::StationStats,
    timing::Timing,
    tlv::{Association, Command, Hints, Item, Verdict},
    vsi::{ManagerId, VsiId},
};

/// What the machines of all VSIs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: StationConfig,
    pub(super) timing: Timing,
    pub(super) ready: bool,
    pub(super) groups: bool,
    /// The bridge is to be told of a De-Associate before other values are asked for: it is an lldpad, whose table is
    /// keyed by them, and which never answers a modification.
    pub(super) replace: bool,
    pub(super) outputs: VecDeque<Output>,
    pub(super) history: History,
    pub(super) stats: StationStats,
}

#[derive(Debug)]
pub(super) struct Vsi {
    id: VsiId,
    state: State,
    /// What the hypervisor asked for last, unless that was a De-Associate.
    wanted: Option<VsiRequest>,
    /// What came while a command was outstanding: at most a De-Associate and the latest other command after it.
    pending: VecDeque<VsiRequest>,
    /// operCmd and vsiState.
    oper: Option<Confirmed>,
    last_error: Option<Cause>,
    failures: u32,
    /// What the view shows while nothing is confirmed.
    shown: VsiRequest,
}

#[derive(Debug)]
struct Confirmed {
    /// As the hypervisor asked for it.
    asked: VsiRequest,
    /// As the bridge returned it.
    current: VsiRequest,
}

#[derive(Debug)]
enum State {
    /// INIT with a command that waits for the bridge to be there.
    Held,
    /// STATION_PROCESSING: `sent` awaits its answer; `asked` is the same before known VIDs were filled in.
    Processing { asked: VsiRequest, sent: VsiRequest, deadline: Instant },
    /// WAIT_SYSTEM_CMD; `resumed` if the bridge has not been asked since a restart.
    WaitSystemCmd { keep_alive: Instant, resumed: bool },
    /// TRANSMIT_KEEPALIVE.
    KeepAlive { deadline: Instant },
    /// TRANSMIT_DEASSOC, also for a De-Associate by command; `cause` is what END will give as reason.
    Deassociate { cause: Cause, deadline: Instant },
    /// After END, the hypervisor still wanting the VSI.
    BackOff { until: Instant },
    /// END.
    End,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The hypervisor wants something.
    Command(VsiRequest),
    /// The bridge answers.
    Answer(ManagerId, Association, Verdict),
    /// The bridge de-associates unasked.
    Withdrawn(ManagerId, Association),
    /// The bridge is there now.
    Ready,
    /// The bridge is lost, and the VSI with it.
    PeerLost,
    /// Time has passed.
    Timeout,
}

impl Vsi {
    /// In INIT, about to be given its first command.
    pub(super) fn new(request: VsiRequest) -> Self {
        Self {
            id: request.id,
            state: State::Held,
            wanted: None,
            pending: VecDeque::new(),
            oper: None,
            last_error: None,
            failures: 0,
            shown: request,
        }
    }

    /// As it was before a restart: `command` confirmed with `filter`.
    pub(super) fn resumed(
        now: Instant,
        request: VsiRequest,
        command: Command,
        filter: FilterInfo,
        shared: &mut Shared,
    ) -> Self {
        let id = request.id;
        shared.history.record(now, id, "resumed after a restart");
        shared.event(match command {
            Command::Associate => StationEvent::Associated { id, filter: filter.clone() },
            _ => StationEvent::PreAssociated { id, command, filter: filter.clone() },
        });
        let asked = VsiRequest { command, ..request.clone() };
        let oper = Confirmed { current: VsiRequest { filter, ..asked.clone() }, asked };
        let pending = (request.command != command).then(|| request.clone());
        Self {
            state: State::WaitSystemCmd {
                keep_alive: now + shared.timing.reinit_keep_alive(),
                resumed: true,
            },
            wanted: Some(request.clone()),
            pending: pending.into_iter().collect(),
            oper: Some(oper),
            ..Self::new(request)
        }
    }

    /// What must survive a restart: nothing, once the hypervisor wants the VSI no more.
    pub(super) fn held(&self) -> Option<Held> {
        let request = self.wanted.clone()?;
        let confirmed = self.oper.as_ref().map(|oper| (oper.current.command, oper.current.filter.clone()));
        Some(Held { request, confirmed })
    }

    pub(super) fn handle(&mut self, now: Instant, event: Event, shared: &mut Shared) {
        match (&self.state, event) {
            // The bridge holds it from before the restart, and will hear us.
            (State::WaitSystemCmd { resumed: true, .. }, Event::Command(request)) if !shared.ready => {
                self.queue(request);
            }
            (
                State::Held | State::WaitSystemCmd { .. } | State::BackOff { .. } | State::End,
                Event::Command(request),
            ) => {
                self.pending.clear();
                self.submit(now, request, shared);
            }
            (
                State::Processing { .. } | State::KeepAlive { .. } | State::Deassociate { .. },
                Event::Command(request),
            ) => self.queue(request),

            (State::Processing { .. }, Event::Answer(manager, answer, verdict)) => {
                self.processing_answer(now, manager, &answer, verdict, shared);
            }
            (State::KeepAlive { .. }, Event::Answer(manager, answer, verdict)) => {
                self.keep_alive_answer(now, manager, &answer, verdict, shared);
            }
            (State::WaitSystemCmd { .. }, Event::Answer(manager, answer, verdict)) => {
                // A bridge may set the acknowledge bit in a De-Associate of its own (UNSURE-11).
                if answer.command == Command::DeAssociate && self.is_ours(manager, &answer) {
                    self.finish(now, deassociated(verdict), None, shared);
                } else {
                    shared.stats.stale += 1;
                }
            }
            // Only the answer to the De-Associate ends it, not a late one to an earlier keep-alive.
            (State::Deassociate { cause, .. }, Event::Answer(_, answer, _)) => {
                let cause = *cause;
                if answer.command == Command::DeAssociate {
                    self.finish(now, cause, None, shared);
                } else {
                    shared.stats.stale += 1;
                }
            }
            (State::Held | State::BackOff { .. } | State::End, Event::Answer(..)) => {
                shared.stats.stale += 1;
            }

            (
                State::Processing { .. } | State::WaitSystemCmd { .. } | State::KeepAlive { .. },
                Event::Withdrawn(manager, answer),
            ) => {
                if self.is_ours(manager, &answer) {
                    self.finish(now, Cause::PeerDeassociated, None, shared);
                } else {
                    // lldpad de-associates once more, 16 s after it has answered a De-Associate.
                    shared.stats.stale += 1;
                    shared.history.note(now, self.id, "ignored a De-Associate of something not confirmed");
                }
            }
            (State::Deassociate { cause, .. }, Event::Withdrawn(..)) => {
                let cause = *cause;
                self.finish(now, cause, None, shared);
            }
            (State::Held | State::BackOff { .. } | State::End, Event::Withdrawn(..)) => {
                shared.stats.stale += 1;
            }

            (State::Held | State::BackOff { .. }, Event::Ready) => self.retry(now, shared),
            (State::WaitSystemCmd { resumed: true, .. }, Event::Ready) if self.pending.is_empty() => {
                self.send_keep_alive(now, shared);
            }
            (State::WaitSystemCmd { .. }, Event::Ready) => self.take_pending(now, shared),
            (
                State::Processing { .. } | State::KeepAlive { .. } | State::Deassociate { .. } | State::End,
                Event::Ready,
            ) => {}

            (
                State::Processing { .. } | State::WaitSystemCmd { .. } | State::KeepAlive { .. },
                Event::PeerLost,
            ) => self.finish(now, Cause::PeerLost, None, shared),
            (State::Deassociate { cause, .. }, Event::PeerLost) => {
                let cause = *cause;
                self.finish(now, cause, None, shared);
            }
            (State::Held | State::BackOff { .. } | State::End, Event::PeerLost) => {}

            (State::Processing { sent, .. }, Event::Timeout) => {
                let command = sent.command;
                shared.stats.timeouts += 1;
                self.finish(now, Cause::Timeout, Some(command), shared);
            }
            (State::WaitSystemCmd { .. }, Event::Timeout) => self.send_keep_alive(now, shared),
            (State::KeepAlive { .. }, Event::Timeout) => {
                shared.stats.timeouts += 1;
                self.finish(now, Cause::Timeout, None, shared);
            }
            (State::Deassociate { cause, .. }, Event::Timeout) => {
                let cause = *cause;
                shared.stats.timeouts += 1;
                shared.history.record(now, self.id, "the De-Associate was not answered");
                self.finish(now, cause, None, shared);
            }
            (State::BackOff { .. }, Event::Timeout) => self.retry(now, shared),
            (State::Held | State::End, Event::Timeout) => {}
        }
    }

    /// When [`Event::Timeout`] is due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Processing { deadline, .. }
            | State::KeepAlive { deadline }
            | State::Deassociate { deadline, .. } => Some(*deadline),
            State::WaitSystemCmd { keep_alive, .. } => Some(*keep_alive),
            State::BackOff { until } => Some(*until),
            State::Held | State::End => None,
        }
    }

    /// Whether the VSI is to be forgotten.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Whether the VSI is associated, or will be when what is outstanding succeeds.
    pub(super) fn is_associating(&self) -> bool {
        let outstanding = match &self.state {
            State::Processing { sent, .. } => Some(sent),
            State::WaitSystemCmd { .. } | State::KeepAlive { .. } => self.oper.as_ref().map(|o| &o.current),
            State::Held | State::Deassociate { .. } | State::BackOff { .. } | State::End => None,
        };
        self.pending.back().or(outstanding).is_some_and(|r| r.command == Command::Associate)
    }

    pub(super) fn view(&self, history: &History) -> VsiView {
        let shown = self.oper.as_ref().map_or(&self.shown, |oper| &oper.current);
        VsiView {
            id: self.id,
            state: match self.state {
                State::Held | State::End => VsiState::Held,
                State::Processing { .. } => VsiState::Processing,
                State::WaitSystemCmd { .. } => VsiState::Confirmed,
                State::KeepAlive { .. } => VsiState::KeepAlive,
                State::Deassociate { .. } => VsiState::Deassociating,
                State::BackOff { .. } => VsiState::BackOff,
            },
            confirmed: self.oper.as_ref().map(|oper| oper.current.command),
            wanted: self.wanted.as_ref().map(|wanted| wanted.command),
            manager: shown.manager,
            type_id: shown.type_id,
            version: shown.version,
            filter: shown.filter.clone(),
            last_error: self.last_error.map(|cause| cause.to_string()),
            failures: self.failures,
            next_timer: self.deadline(),
            history: history.of(&self.id).cloned().collect(),
        }
    }

    /// A command while nothing is outstanding.
    fn submit(&mut self, now: Instant, request: VsiRequest, shared: &mut Shared) {
        self.want(&request);
        self.failures = 0;
        if shared.ready {
            return self.start(now, request, shared);
        }
        match (&self.oper, request.command) {
            // UNSURE-8: what is confirmed outlives the EVB TLV, so the bridge is told, whether it hears or not.
            (Some(_), Command::DeAssociate) => self.start(now, request, shared),
            (None, Command::DeAssociate) => self.finish(now, Cause::Commanded, None, shared),
            (Some(_), _) => self.pending.push_back(request),
            (None, _) => {
                shared.history.record(now, self.id, "waits for the bridge");
                self.state = State::Held;
            }
        }
    }

    /// A command while another is outstanding.
    fn queue(&mut self, request: VsiRequest) {
        self.want(&request);
        if request.command == Command::DeAssociate {
            self.pending.clear();
        } else if self.pending.back().is_some_and(|last| last.command != Command::DeAssociate) {
            self.pending.pop_back();
        }
        self.pending.push_back(request);
    }

    fn want(&mut self, request: &VsiRequest) {
        self.wanted = (request.command != Command::DeAssociate).then(|| request.clone());
        self.shown = request.clone();
    }

    /// Back-off is over or the bridge is there.
    fn retry(&mut self, now: Instant, shared: &mut Shared) {
        match self.wanted.clone() {
            Some(wanted) if shared.ready => self.start(now, wanted, shared),
            _ => self.state = State::Held,
        }
    }

    /// Sends `request`, with the values the bridge returned earlier where they answer it.
    fn start(&mut self, now: Instant, request: VsiRequest, shared: &mut Shared) {
        let mut sent = request.clone();
        if request.filter.format().has_group() && !shared.groups && request.command != Command::DeAssociate {
            return self.refuse_groups(now, request.command, shared);
        }
        if let Some(Confirmed { current, .. }) = &self.oper {
            let same = current.same_type(sent.manager, sent.type_id, sent.version)
                && sent.filter.covers(&current.filter);
            if request.command == Command::DeAssociate {
                sent = current.with_command(Command::DeAssociate, request.hints);
            } else if same {
                sent.filter = current.filter.clone();
            } else if shared.replace {
                self.pending.push_front(request);
                return self.deassociate(now, Cause::Replaced, shared);
            }
        }
        self.transmit(now, &sent, shared);
        let deadline = now + shared.timing.resp_wait_delay();
        self.state = if sent.command == Command::DeAssociate {
            State::Deassociate { cause: Cause::Commanded, deadline }
        } else {
            State::Processing { asked: request, sent, deadline }
        };
    }

    /// Groups were not agreed on: what stands goes on standing, nothing else comes of it.
    fn refuse_groups(&mut self, now: Instant, command: Command, shared: &mut Shared) {
        if self.oper.is_some() {
            return self.keep(now, ErrorCode::InvalidVidGroupOrMac, shared);
        }
        self.finish(now, Cause::NoGroups, Some(command), shared);
    }

    fn wait_system_cmd(&mut self, now: Instant, shared: &mut Shared) {
        let keep_alive = now + shared.timing.reinit_keep_alive();
        self.state = State::WaitSystemCmd { keep_alive, resumed: false };
        self.take_pending(now, shared);
    }

    fn take_pending(&mut self, now: Instant, shared: &mut Shared) {
        if let Some(request) = self.pending.pop_front() {
            self.submit(now, request, shared);
        }
    }

    fn send_keep_alive(&mut self, now: Instant, shared: &mut Shared) {
        let Some(Confirmed { current, .. }) = &self.oper else { return };
        shared.transmit(current);
        shared.stats.keep_alives += 1;
        self.state = State::KeepAlive { deadline: now + shared.timing.resp_wait_delay() };
    }

    /// The keep-alive that is out was lost on the way.
    pub(super) fn repeat_keep_alive(&self, shared: &mut Shared) {
        if let (State::KeepAlive { .. }, Some(Confirmed { current, .. }), true) =
            (&self.state, &self.oper, shared.ready)
        {
            shared.transmit(current);
        }
    }

    /// TRANSMIT_DEASSOC of what is confirmed.
    fn deassociate(&mut self, now: Instant, cause: Cause, shared: &mut Shared) {
        if let Some(Confirmed { current, .. }) = &self.oper {
            let current = current.clone();
            self.deassociate_with(now, &current, cause, shared);
        }
    }

    fn deassociate_with(&mut self, now: Instant, what: &VsiRequest, cause: Cause, shared: &mut Shared) {
        shared.history.record(now, self.id, cause.to_string());
        self.transmit(now, &what.with_command(Command::DeAssociate, Hints::default()), shared);
        self.state = State::Deassociate { cause, deadline: now + shared.timing.resp_wait_delay() };
    }

    fn transmit(&self, now: Instant, request: &VsiRequest, shared: &mut Shared) {
        shared.history.record(now, self.id, Cow::Owned(format!("{} sent", request.command.words())));
        shared.transmit(request);
    }
}

impl Shared {
    fn event(&mut self, event: StationEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn transmit(&mut self, request: &VsiRequest) {
        let item = Item::Association(request.association());
        // Its filter fits into a TLV by its type: this does not fail.
        if let Some(message) = Message::new(request.manager, Some(request.id), &item) {
            self.stats.tx_tlvs += 1;
            self.outputs.push_back(Output::Transmit(message));
        }
    }
}
