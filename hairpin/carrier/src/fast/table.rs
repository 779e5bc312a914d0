//! The flows as this process keeps them, and how it writes them for the programs.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use ether::{Instant, Tag};
use hairpin::{Flow, Relay, Verdict};

use super::{
    FlowRow, FlowState, Owned, Stamp,
    layout::{self, flow, row},
    tci_of,
};

/// What is done to the frames of a flow, as the forwarder reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action(u64);

impl Action {
    /// Sends by interface `ifindex` what comes with tag control word `old`, with `new` in place of it. None if the
    /// forwarder cannot.
    pub(super) fn new(ifindex: u32, old: Option<u16>, new: Option<Tag>) -> Option<Self> {
        let new = tci_of(new)?;
        let pop = if old.is_some() && new != old { layout::POP } else { 0 };
        let push = if new.is_some() && new != old { layout::PUSH } else { 0 };
        let what = u64::from((pop | push).cast_unsigned());
        Some(Self(u64::from(ifindex) | u64::from(new.unwrap_or(0)) << 32 | what << 48))
    }
}

/// All flows, and the numbers that are free.
pub(super) struct Table {
    flows: HashMap<[u64; 2], Kept>,
    free: Vec<usize>,
    /// Numbers a program may just be looking at.
    resting: VecDeque<(Instant, Resting)>,
    rows: Vec<usize>,
    /// To ask the relay again with.
    verdict: Verdict,
}

enum Resting {
    Flow(usize),
    Row(usize),
}

struct Kept {
    number: usize,
    row: usize,
    flow: Flow,
    /// What was counted under its number before it was there: frames and octets.
    before: [u64; 2],
    /// What the relay has been told of.
    told: [u64; 2],
    /// When a frame was last known to have gone by it.
    used: Instant,
}

impl Table {
    pub(super) fn new(rows: usize, ports: u16) -> Self {
        Self {
            flows: HashMap::new(),
            free: (0..layout::FLOWS_MOST).rev().collect(),
            resting: VecDeque::new(),
            rows: (0..rows).rev().collect(),
            verdict: Verdict::new(ports),
        }
    }

    /// The number of a row that is nobody's.
    pub(super) fn take_row(&mut self, now: Instant) -> Option<usize> {
        self.rouse(now);
        self.rows.pop()
    }

    /// Lets go of the flows of a row, and of the row.
    pub(super) fn give_row_back(
        &mut self,
        tables: &Owned,
        relay: Option<&Relay>,
        now: Instant,
        number: usize,
    ) {
        self.remove(tables, relay, now, |_, kept| kept.row == number);
        self.resting.push_back((now, Resting::Row(number)));
    }

    /// Whether the flow is there as decided at `stamp`.
    pub(super) fn has(&self, tables: &Owned, key: [u64; 2], stamp: Stamp) -> bool {
        self.flows.get(&key).is_some_and(|kept| {
            let start = layout::flow(kept.number);
            tables.load(start, flow::GENERATION) == stamp.generation
                && tables.load(start, flow::SOURCE_EPOCH) == stamp.source
                && tables.load(start, flow::DESTINATION_EPOCH) == stamp.destination
        })
    }

    /// Enters a flow, or decides anew on one that is there; not if there is no room.
    pub(super) fn enter(
        &mut self,
        tables: &Owned,
        relay: &Relay,
        now: Instant,
        (key, row, stamp): ([u64; 2], usize, Stamp),
        flow: Flow,
        (Action(action), mtu): (Action, usize),
    ) {
        let (src, dst) = (layout::epoch(flow.src), layout::epoch(flow.dst));
        let (number, fresh) = match self.flows.get_mut(&key) {
            Some(kept) => {
                tables.store(layout::flow(kept.number), flow::GENERATION, 0);
                tell(tables, relay, now, kept);
                kept.flow = flow;
                (kept.number, false)
            }
            None => {
                self.rouse(now);
                let Some(number) = self.free.pop() else { return };
                let before = counted(tables, number);
                self.flows.insert(key, Kept { number, row, flow, before, told: before, used: now });
                (number, true)
            }
        };
        let start = layout::flow(number);
        let [first, second] = key;
        for (at, value) in [
            (flow::KEY, first),
            (flow::KEY + 8, second),
            (flow::FENCE, u64::MAX),
            (flow::DRAINS, 0),
            (flow::ACTION, action),
            (flow::LIMIT, u64::try_from(mtu).unwrap_or(u64::MAX)),
            (flow::SOURCE, src),
            (flow::DESTINATION, dst),
            (flow::SOURCE_EPOCH, stamp.source),
            (flow::DESTINATION_EPOCH, stamp.destination),
            (flow::GENERATION, stamp.generation),
        ] {
            tables.store(start, at, value);
        }
        let at = u64::try_from(start - layout::FLOWS).unwrap_or(0);
        if fresh && tables.index.insert(key, at).is_err() {
            // It is as large as the flows are many; whatever else it lacks, the flow goes on as it did.
            self.remove(tables, Some(relay), now, |of, _| *of == key);
        }
    }

    /// Brings the relay what has gone fast; lets go of what no longer holds or is silent.
    pub(super) fn settle(&mut self, tables: &Owned, relay: &Relay, now: Instant) {
        for kept in self.flows.values_mut() {
            tell(tables, relay, now, kept);
            if !relay.holds(now, &kept.flow, &mut self.verdict) {
                tables.store(layout::flow(kept.number), flow::GENERATION, 0);
            }
        }
        self.remove(tables, Some(relay), now, |_, kept| now.saturating_since(kept.used) > SILENT);
        self.rouse(now);
    }

    /// All flows.
    pub(super) fn rows(&self, tables: &Owned) -> Vec<FlowRow> {
        let generation = tables.load(0, layout::GENERATION);
        let state = |kept: &Kept| {
            let start = layout::flow(kept.number);
            let epoch = |at: i16, was: i16| {
                tables
                    .epoch(tables.load(start, at))
                    .map(|word| word.load(std::sync::atomic::Ordering::Acquire))
                    == Some(tables.load(start, was))
            };
            let holds = tables.load(start, flow::GENERATION) == generation
                && epoch(flow::SOURCE, flow::SOURCE_EPOCH)
                && epoch(flow::DESTINATION, flow::DESTINATION_EPOCH);
            let done = tables.load(layout::row(kept.row), row::DONE);
            match (holds, tables.load(start, flow::FENCE) <= done) {
                (false, _) => FlowState::Void,
                (true, false) => FlowState::Waits,
                (true, true) => FlowState::Fast,
            }
        };
        let row = |kept: &Kept| {
            let [frames, octets] = counted(tables, kept.number);
            let [frames, octets] = [frames - kept.before[0], octets - kept.before[1]];
            FlowRow { flow: kept.flow.clone(), state: state(kept), frames, octets }
        };
        self.flows.values().map(row).collect()
    }

    fn remove(
        &mut self,
        tables: &Owned,
        relay: Option<&Relay>,
        now: Instant,
        goes: impl Fn(&[u64; 2], &Kept) -> bool,
    ) {
        let resting = &mut self.resting;
        self.flows.retain(|key, kept| {
            let go = goes(key, kept);
            if go {
                tables.store(layout::flow(kept.number), flow::GENERATION, 0);
                // It is there but for a fault of entering it.
                let _ = tables.index.remove(*key);
                if let Some(relay) = relay {
                    tell(tables, relay, now, kept);
                }
                resting.push_back((now, Resting::Flow(kept.number)));
            }
            !go
        });
    }

    /// Has numbers be free that no program can be looking at any more.
    fn rouse(&mut self, now: Instant) {
        while self.resting.front().is_some_and(|(since, _)| now.saturating_since(*since) > REST) {
            match self.resting.pop_front() {
                Some((_, Resting::Flow(number))) => self.free.push(number),
                Some((_, Resting::Row(number))) => self.rows.push(number),
                None => return,
            }
        }
    }
}

/// Tells the relay of what has gone by the flow since it was told last.
fn tell(tables: &Owned, relay: &Relay, now: Instant, kept: &mut Kept) {
    let [frames, octets] = counted(tables, kept.number);
    let [frames_told, octets_told] = std::mem::replace(&mut kept.told, [frames, octets]);
    if frames != frames_told {
        kept.used = now;
    }
    relay.passed(now, &kept.flow, frames - frames_told, octets - octets_told);
}

/// Frames and octets counted under a number.
fn counted(tables: &Owned, number: usize) -> [u64; 2] {
    let start = layout::flow(number);
    [tables.load(start, flow::FRAMES), tables.load(start, flow::OCTETS)]
}

/// How long a flow may be silent.
const SILENT: Duration = Duration::from_secs(30);
/// How long no number is used anew that a program may have read: far longer than any runs.
const REST: Duration = Duration::from_secs(1);
