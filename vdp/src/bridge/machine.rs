//! The machine of one VSI at the bridge [Q 41.5.2].
//!
//! ```text
//!          rxCmd                 accepted
//! (none) ───────▶ BridgeProcess ─────────▶ WaitStationCmd ──toutKeepAlive, withdrawn──▶ De-Associate, gone
//!                  │    ▲   └── refused, KEEP ──▶ │  │ └──rxCmd = operCmd: answered as before
//!        refused   │    └────────── rxCmd ≠ operCmd ┘
//!                  ▼
//!                gone
//! ```

use std::collections::VecDeque;

use ether::Instant;

use super::types::{Answer, BridgeConfig, BridgeEvent, Cause, Held, Output, Query, VsiState, VsiView};
use crate::{
    error::ErrorCode,
    history::History,
    outbox::Message,
    stats::BridgeStats,
    timing::Timing,
    tlv::{Association, BadTlv, Command, Hints, Item, Status, Verdict},
    vsi::{ManagerId, VsiId},
};

/// What the machines of all VSIs share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: BridgeConfig,
    pub(super) timing: Timing,
    pub(super) groups: bool,
    /// The peer is the other end of an EVB link.
    pub(super) ready: bool,
    pub(super) next_serial: u64,
    pub(super) outputs: VecDeque<Output>,
    pub(super) history: History,
    pub(super) stats: BridgeStats,
}

/// A command of the first three types: what is held once it is granted.
pub(super) type Request = Held;

#[derive(Debug)]
pub(super) struct Vsi {
    id: VsiId,
    state: State,
    /// operCmd, with what was granted.
    oper: Option<Request>,
    /// Serial of the query that asks whether what is held is still permitted.
    recheck: Option<u64>,
    last_error: Option<String>,
}

#[derive(Debug)]
enum State {
    /// BRIDGE_PROCESS: the query `serial` is out on `request`; `next` came meanwhile.
    BridgeProcess { request: Request, serial: u64, next: Option<Request>, deadline: Instant },
    /// WAIT_STATION_CMD.
    WaitStationCmd { deadline: Instant },
    /// RELEASE_ALL is done, or nothing was ever held.
    Released,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The station commands one of the first three.
    Command(Request),
    /// The station de-associates.
    Deassociate(ManagerId, Association),
    /// The station sent something that cannot be carried out.
    Malformed(ManagerId, BadTlv),
    /// The type database answers the query of this serial.
    Answer(u64, Answer),
    /// bridgeExit, for this reason.
    Withdraw(Cause),
    /// Ask the type database whether what is held is still permitted.
    Recheck,
    /// Time has passed.
    Timeout,
}

/// A refusal in the making.
struct Refusal {
    error: ErrorCode,
    hard: bool,
    keep: bool,
    words: String,
}

impl Refusal {
    fn new(error: ErrorCode, words: &str) -> Self {
        Self { error, hard: false, keep: true, words: words.to_owned() }
    }

    fn malformed(bad: &BadTlv) -> Self {
        Self::new(bad.error.code(), &bad.error.to_string())
    }

    /// The verdict when nothing is kept.
    const fn final_verdict(&self) -> Verdict {
        Verdict { keep: false, hard: self.hard, error: self.error }
    }
}

impl Vsi {
    /// In INIT, about to be given its first event.
    pub(super) const fn new(id: VsiId) -> Self {
        Self { id, state: State::Released, oper: None, recheck: None, last_error: None }
    }

    /// As it was before a restart, the station having been heard just now.
    pub(super) fn resumed(now: Instant, held: Held, shared: &mut Shared) -> Self {
        let (id, command, filter) = (held.id, held.command, held.filter.clone());
        shared.history.record(now, id, "resumed after a restart");
        if command == Command::Associate {
            shared.outputs.push_back(held.install());
        }
        shared.event(BridgeEvent::Resumed { id, command, filter });
        let mut vsi = Self { oper: Some(held), ..Self::new(id) };
        vsi.wait_station_cmd(now, shared);
        vsi
    }

    /// What must survive a restart.
    pub(super) const fn held(&self) -> Option<&Held> {
        self.oper.as_ref()
    }

    pub(super) fn handle(&mut self, now: Instant, event: Event, shared: &mut Shared) {
        match (&mut self.state, event) {
            (State::Released | State::WaitStationCmd { .. }, Event::Command(request)) => {
                self.command(now, request, shared);
            }
            (State::BridgeProcess { request, next, .. }, Event::Command(new)) => {
                let repeated = new.is_like(request) && new.filter == request.filter;
                shared.stats.repeated += u64::from(repeated);
                *next = (!repeated).then_some(new);
            }

            (
                State::Released | State::WaitStationCmd { .. } | State::BridgeProcess { .. },
                Event::Deassociate(manager, mut association),
            ) => {
                // Frames stop first, the answer follows.
                self.release(now, Cause::Station, shared);
                association.status = Status::Response(Verdict::SUCCESS);
                shared.transmit(manager, Some(self.id), &Item::Association(association));
                shared.stats.succeeded += 1;
            }

            (
                State::Released | State::WaitStationCmd { .. } | State::BridgeProcess { .. },
                Event::Malformed(manager, bad),
            ) => self.malformed(now, manager, &bad, shared),

            (State::BridgeProcess { request, serial, next, .. }, Event::Answer(of, answer))
                if *serial == of =>
            {
                let (request, next) = (request.clone(), next.take());
                self.decide(now, request, answer, shared);
                self.go_on(now, next, shared);
            }
            (State::WaitStationCmd { .. }, Event::Answer(of, answer)) if self.recheck == Some(of) => {
                self.rechecked(now, answer, shared);
            }
            (
                State::Released | State::WaitStationCmd { .. } | State::BridgeProcess { .. },
                Event::Answer(..),
            ) => shared.stats.stale_answers += 1,

            (State::WaitStationCmd { .. }, Event::Recheck) => {
                if let Some(oper) = &self.oper {
                    let query = oper.query(shared.serial());
                    self.recheck = Some(query.serial);
                    shared.outputs.push_back(Output::Query(query));
                }
            }
            // What is being decided is decided by the database as it is now.
            (State::BridgeProcess { .. } | State::Released, Event::Recheck) => {}

            (State::BridgeProcess { .. } | State::WaitStationCmd { .. }, Event::Withdraw(cause)) => {
                self.withdraw(now, cause, shared);
            }
            (State::Released, Event::Withdraw(_)) => {}

            (State::BridgeProcess { request, next, .. }, Event::Timeout) => {
                let (request, next) = (request.clone(), next.take());
                shared.stats.resource_timeouts += 1;
                // UNSURE-7: an association that stands is kept, nothing else is.
                let refusal = Refusal::new(
                    ErrorCode::ManagerUnreachable,
                    "the VSI type database did not answer within resourceWaitDelay",
                );
                self.refuse(now, request, refusal, shared);
                self.go_on(now, next, shared);
            }
            (State::WaitStationCmd { .. }, Event::Timeout) => {
                shared.stats.keep_alive_timeouts += 1;
                self.withdraw(now, Cause::KeepAliveExpired, shared);
            }
            (State::Released, Event::Timeout) => {}
        }
    }

    /// When [`Event::Timeout`] is due.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::BridgeProcess { deadline, .. } | State::WaitStationCmd { deadline } => Some(*deadline),
            State::Released => None,
        }
    }

    /// The VSI for display, unless it is to be forgotten.
    pub(super) fn view(&self, history: &History) -> Option<VsiView> {
        let (state, asked) = match &self.state {
            State::BridgeProcess { request, .. } => (VsiState::Processing, Some(request)),
            State::WaitStationCmd { .. } => (VsiState::Confirmed, None),
            State::Released => return None,
        };
        let shown = self.oper.as_ref().or(asked)?;
        Some(VsiView {
            id: self.id,
            state,
            confirmed: self.oper.as_ref().map(|oper| oper.command),
            manager: shown.manager,
            type_id: shown.type_id,
            version: shown.version,
            filter: shown.filter.clone(),
            last_error: self.last_error.clone(),
            next_timer: self.deadline(),
            history: history.of(&self.id).cloned().collect(),
        })
    }

    /// A command while no query is out.
    fn command(&mut self, now: Instant, request: Request, shared: &mut Shared) {
        if let Some(oper) = &self.oper
            && request.is_like(oper)
            && request.filter.covers(&oper.filter)
        {
            // PROCESS_KEEPALIVE
            shared.stats.keep_alives += 1;
            shared.respond(oper, oper.command, Verdict::SUCCESS);
            return self.wait_station_cmd(now, shared);
        }
        let refusal = if request.filter.format().has_group() && !shared.groups {
            Some(Refusal::new(ErrorCode::InvalidVidGroupOrMac, "groups were not agreed on"))
        } else if request.command != Command::Associate && self.is_associated() {
            // UNSURE-6: later editions permit it.
            Some(Refusal::new(ErrorCode::OtherFailure, "an associated VSI cannot be merely pre-associated"))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.refuse(now, request, refusal, shared);
        }
        let serial = shared.serial();
        self.recheck = None;
        shared.history.record(now, self.id, format!("{} received", request.command.words()));
        shared.outputs.push_back(Output::Query(request.query(serial)));
        let deadline = now + shared.timing.resource_wait_delay();
        self.state = State::BridgeProcess { request, serial, next: None, deadline };
    }

    /// The type database has answered.
    fn decide(&mut self, now: Instant, request: Request, answer: Answer, shared: &mut Shared) {
        let filter = match answer {
            Answer::Accept { filter } => filter,
            Answer::Refuse { error, hard, keep, words } => {
                let error = match ErrorCode::from(error & 0x0f) {
                    ErrorCode::Success => ErrorCode::OtherFailure,
                    error => error,
                };
                return self.refuse(now, request, Refusal { error, hard, keep, words }, shared);
            }
        };
        let wrong = if !request.filter.covers(&filter) {
            "the VSI type database answered with another filter than was asked for"
        } else if request.command == Command::Associate && !filter.is_resolved() {
            "the VSI type database named no VLAN"
        } else {
            return self.succeed(now, Request { filter, ..request }, shared);
        };
        self.refuse(now, request, Refusal::new(ErrorCode::InvalidVidGroupOrMac, wrong), shared);
    }

    /// The type database was asked about what is held: it stands, with the profile as it is now, or it ends. A station
    /// cannot be told other values of an association that stands, so these end it as well.
    fn rechecked(&mut self, now: Instant, answer: Answer, shared: &mut Shared) {
        self.recheck = None;
        let Some(oper) = &self.oper else { return };
        let line = match answer {
            Answer::Accept { filter } if filter == oper.filter => {
                shared.history.record(now, self.id, "its type has changed and still permits it");
                if oper.command == Command::Associate {
                    shared.outputs.push_back(oper.install());
                }
                return;
            }
            Answer::Accept { .. } => "its type has changed and assigns it other values".to_owned(),
            Answer::Refuse { words, .. } => format!("its type has changed: {words}"),
        };
        shared.history.record(now, self.id, line);
        self.withdraw(now, Cause::TypeWithdrawn, shared);
    }

    /// SUCCESS: the frames pass first, the answer follows.
    fn succeed(&mut self, now: Instant, granted: Request, shared: &mut Shared) {
        let (id, command, filter) = (self.id, granted.command, granted.filter.clone());
        shared.stats.succeeded += 1;
        self.last_error = None;
        if command == Command::Associate {
            shared.outputs.push_back(granted.install());
        }
        shared.respond(&granted, command, Verdict::SUCCESS);
        shared.history.record(now, id, format!("{} granted", command.words()));
        shared.event(match command {
            Command::Associate => BridgeEvent::Associated { id, filter },
            _ => BridgeEvent::PreAssociated { id, command, filter },
        });
        self.oper = Some(granted);
        self.wait_station_cmd(now, shared);
    }

    /// No room for a VSI that is not in the table.
    pub(super) fn refuse_overflow(&mut self, now: Instant, request: Request, shared: &mut Shared) {
        shared.stats.table_full += 1;
        let refusal = Refusal::new(ErrorCode::InsufficientResources, "the VSI table of the port is full");
        self.refuse(now, request, refusal, shared);
    }

    /// KEEP where an association stands and may, else DEASSOC: the type of the answer tells which (UNSURE-12).
    fn refuse(&mut self, now: Instant, request: Request, refusal: Refusal, shared: &mut Shared) {
        let (answer_type, verdict) = self.settle(now, request.command, &refusal, shared);
        shared.respond(&request, answer_type, verdict);
        if verdict.keep {
            self.wait_station_cmd(now, shared);
        }
        self.last_error = Some(shared.report_refusal(now, Some(self.id), request.command, verdict, &refusal));
    }

    fn malformed(&mut self, now: Instant, manager: ManagerId, bad: &BadTlv, shared: &mut Shared) {
        let Some(command) = bad.command else { return };
        let refusal = Refusal::malformed(bad);
        let (answer_type, verdict) = self.settle(now, command, &refusal, shared);
        shared.answer_malformed(manager, bad, answer_type, verdict);
        // A query that is out goes on.
        if matches!(self.state, State::WaitStationCmd { .. }) {
            self.wait_station_cmd(now, shared);
        }
        self.last_error = Some(shared.report_refusal(now, Some(self.id), command, verdict, &refusal));
    }

    /// What a refusal leaves standing: the type of the answer, the verdict, and the release that comes before it.
    fn settle(
        &mut self,
        now: Instant,
        command: Command,
        refusal: &Refusal,
        shared: &mut Shared,
    ) -> (Command, Verdict) {
        if refusal.keep && command != Command::DeAssociate && self.is_associated() {
            // UNSURE-9: KEEP and HARD are not combined.
            return (command, Verdict { keep: true, hard: false, error: refusal.error });
        }
        self.release(now, Cause::Refused, shared);
        (Command::DeAssociate, refusal.final_verdict())
    }

    /// DEASSOCIATED: frames stop first, the station is told second.
    fn withdraw(&mut self, now: Instant, cause: Cause, shared: &mut Shared) {
        let held = match &self.state {
            State::BridgeProcess { request, .. } => self.oper.as_ref().or(Some(request)).cloned(),
            State::WaitStationCmd { .. } | State::Released => self.oper.clone(),
        };
        self.release(now, cause, shared);
        if let Some(held) = held {
            shared.stats.withdrawn += 1;
            // UNSURE-11: no acknowledge bit, filter included.
            let status = Status::Request(Hints::default());
            shared.transmit(held.manager, Some(held.id), &held.item(Command::DeAssociate, status));
        }
    }

    /// RELEASE_ALL.
    fn release(&mut self, now: Instant, cause: Cause, shared: &mut Shared) {
        if !matches!(self.state, State::Released) {
            shared.history.record(now, self.id, cause.to_string());
        }
        self.state = State::Released;
        let (id, Some(oper)) = (self.id, self.oper.take()) else { return };
        if oper.command == Command::Associate {
            shared.outputs.push_back(Output::Remove { id, filter: oper.filter, cause });
        }
        shared.event(BridgeEvent::Deassociated { id, cause, words: cause.to_string() });
    }

    fn wait_station_cmd(&mut self, now: Instant, shared: &Shared) {
        self.state = State::WaitStationCmd { deadline: now + shared.timing.tout_keep_alive() };
    }

    fn go_on(&mut self, now: Instant, next: Option<Request>, shared: &mut Shared) {
        if let Some(request) = next {
            self.command(now, request, shared);
        }
    }

    fn is_associated(&self) -> bool {
        self.oper.as_ref().is_some_and(|oper| oper.command == Command::Associate)
    }
}

impl Request {
    /// Reads a command with filter info; `None` for a De-Associate, which needs none.
    pub(super) fn new(manager: ManagerId, association: &Association, hints: Hints) -> Option<Self> {
        let Association { command, type_id, version, id, ref filter, .. } = *association;
        let filter = filter.clone().filter(|_| command != Command::DeAssociate)?;
        Some(Self { id, manager, type_id, version, filter, command, hints })
    }

    /// Whether command and type are those of `other`; hints do not count (UNSURE-20).
    fn is_like(&self, other: &Self) -> bool {
        self.command == other.command
            && (self.manager, self.type_id, self.version) == (other.manager, other.type_id, other.version)
    }

    fn item(&self, command: Command, status: Status) -> Item {
        let Self { type_id, version, id, .. } = *self;
        let filter = Some(self.filter.clone());
        Item::Association(Association { command, status, type_id, version, id, filter })
    }

    fn query(&self, serial: u64) -> Query {
        let Self { id, manager, type_id, version, filter, command, hints } = self.clone();
        Query { serial, id, manager, type_id, version, filter, command, hints }
    }

    fn install(&self) -> Output {
        let Self { id, manager, type_id, version, filter, hints, .. } = self.clone();
        Output::Install { id, manager, type_id, version, filter, hints }
    }
}

impl Shared {
    fn serial(&mut self) -> u64 {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        serial
    }

    /// Answers what names no VSI of the table and cannot be carried out.
    pub(super) fn refuse_malformed(&mut self, now: Instant, manager: ManagerId, bad: &BadTlv) {
        let Some(command) = bad.command else { return };
        let refusal = Refusal::malformed(bad);
        let verdict = refusal.final_verdict();
        self.answer_malformed(manager, bad, Command::DeAssociate, verdict);
        self.report_refusal(now, bad.id, command, verdict, &refusal);
    }

    fn answer_malformed(&mut self, manager: ManagerId, bad: &BadTlv, answer_type: Command, verdict: Verdict) {
        if let Some(item) = bad.answer(answer_type, verdict) {
            self.transmit(manager, bad.id, &item);
        }
    }

    /// Counts, notes and tells a refusal; returns it in words.
    fn report_refusal(
        &mut self,
        now: Instant,
        id: Option<VsiId>,
        command: Command,
        verdict: Verdict,
        refusal: &Refusal,
    ) -> String {
        let Verdict { keep: kept, hard, error } = verdict;
        self.stats.failed += 1;
        self.stats.reverts += u64::from(kept);
        let words = format!("{error}: {}", refusal.words);
        if let Some(id) = id {
            self.history.record(now, id, format!("{} refused: {words}", command.words()));
        }
        self.event(BridgeEvent::Refused { id, command, error, words: words.clone(), hard, kept });
        words
    }

    fn respond(&mut self, request: &Request, answer_type: Command, verdict: Verdict) {
        let item = request.item(answer_type, Status::Response(verdict));
        self.transmit(request.manager, Some(request.id), &item);
    }

    fn event(&mut self, event: BridgeEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    fn transmit(&mut self, manager: ManagerId, id: Option<VsiId>, item: &Item) {
        // Received as a TLV, or with a filter that fits into one by its type: this does not fail.
        if let Some(message) = Message::new(manager, id, item) {
            self.stats.tx_tlvs += 1;
            self.outputs.push_back(Output::Transmit(message));
        }
    }
}
