//! What waits for a port that sends less than it is given: which frame goes first, and which is lost [Q 8.6.6, 8.6.8, 37].
//!
//! A port with a [`Schedule`] keeps the copies that find no room, or that exceed its rate, in a queue for each priority.
//! Priorities belong to traffic classes. The strict class with the highest number goes first; what strict classes leave
//! is shared by the others in proportion to their shares, in octets, and a class that has nothing to send leaves its
//! share to those that have. Within a class the oldest frame goes first, so that no flow is reordered.
//!
//! When the memory of a port is full, the newest frame of the priority with most octets waiting is lost. Frames of lossless
//! priorities are lost only when they alone take three quarters of it: the rest is for others, or these would not get
//! their share. A frame that has waited a second is lost too, whatever its
//! priority: no bridge may keep one much longer [Q 6.5.6].
//!
//! The threads of a worker share a port's schedule: one at a time sends by it. Frames that wait are copied, at the cost of
//! an allocation each; those that find room at once are not, unless the port has a rate.

use std::{
    collections::VecDeque,
    ops::Add,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ether::{Instant, Pcp, PrioritySet};
use serde::Serialize;

use crate::{
    batch::{Batch, Sent, TxCopy, TxQueue},
    port::Port,
};

/// What a port is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bits of frames per second, from destination address to payload, at least 1; `None`: as fast as the kernel takes
    /// them.
    pub rate: Option<u64>,
    /// The traffic class of each priority, that of priority 0 first; 0 to 7.
    pub classes: [u8; 8],
    /// The share of each traffic class in what strict classes leave, in per cent; `None`: the class is strict. A class
    /// with a share of 0 sends when all others have nothing to send.
    pub shares: [Option<u8>; 8],
    /// Priorities whose frames are kept at the cost of others, as long as they take less than three quarters of the memory.
    pub lossless: PrioritySet,
}

/// Counters of one priority of a port with a [`Schedule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PriorityCounters {
    /// Frames handed to the kernel.
    pub frames: u64,
    /// Their octets.
    pub octets: u64,
    /// Frames lost for want of room.
    pub overflowed: u64,
    /// Frames lost because they have waited too long.
    pub expired: u64,
    /// Frames that wait now.
    pub waiting: u64,
}

impl Add for PriorityCounters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            octets: self.octets + other.octets,
            overflowed: self.overflowed + other.overflowed,
            expired: self.expired + other.expired,
            waiting: self.waiting + other.waiting,
        }
    }
}

/// The queues of one port.
#[derive(Debug, Default)]
pub struct Schedule {
    state: Mutex<State>,
}

impl Schedule {
    /// Queues of a port that does as `plan`.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let schedule = Self::default();
        schedule.set(plan);
        schedule
    }

    /// Another plan; what waits is sent by it.
    pub fn set(&self, plan: Plan) {
        let mut state = self.lock();
        (state.plan, state.served, state.turn) = (plan, [0; 8], 0);
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.lock().plan
    }

    /// The counters of each priority, that of priority 0 first.
    #[must_use]
    pub fn counters(&self) -> [PriorityCounters; 8] {
        let state = self.lock();
        let of = |queue: &Queue| PriorityCounters { waiting: count(queue.frames.len()), ..queue.counters };
        state.queues.each_ref().map(of)
    }

    /// Sends what waits in `queue`, or keeps it until [`Schedule::drain`]. Returns also whether anything waits.
    pub(crate) fn offer(
        &self,
        now: Instant,
        port: &mut Port,
        queue: &mut TxQueue,
        batch: &mut Batch,
    ) -> (Sent, bool) {
        let mut state = self.lock();
        let mut sent = Sent::default();
        if state.octets == 0 && state.plan.rate.is_none() {
            for copy in &queue.copies {
                state.count(copy.priority, |counters| {
                    counters.frames += 1;
                    counters.octets += count(copy.octets(batch));
                });
            }
            sent = port.transmit_or_keep(queue, batch);
            for copy in &queue.copies {
                state.count(copy.priority, |counters| {
                    counters.frames -= 1;
                    counters.octets -= count(copy.octets(batch));
                });
            }
        }
        for copy in queue.copies.drain(..) {
            sent.dropped += state.keep(now, copy, batch);
        }
        (sent, state.octets > 0)
    }

    /// Sends what waits, as far as the rate and the kernel let it; `queue` is empty before and after, and the frames of
    /// `batch` are done with. Returns also whether anything is left.
    pub(crate) fn drain(
        &self,
        now: Instant,
        port: &mut Port,
        queue: &mut TxQueue,
        batch: &mut Batch,
    ) -> (Sent, bool) {
        let mut state = self.lock();
        let mut sum = Sent { dropped: state.expire(now), ..Sent::default() };
        loop {
            let mut taken: Vec<Kept> = Vec::with_capacity(Batch::FRAMES);
            while taken.len() < Batch::FRAMES
                && let Some(frame) = state.next(now)
            {
                taken.push(frame);
            }
            if taken.is_empty() {
                break;
            }
            batch.lend(taken.iter_mut().map(|frame| std::mem::take(&mut frame.rest)));
            queue.copies.extend((0..).zip(&taken).map(|(slot, frame)| frame.copy.of_row(slot)));
            let Sent { frames, octets, dropped, failure } = port.transmit_or_keep(queue, batch);
            (sum.frames, sum.octets, sum.dropped) =
                (sum.frames + frames, sum.octets + octets, sum.dropped + dropped);
            let stuck = !queue.is_empty();
            for (slot, (frame, rest)) in taken.into_iter().zip(batch.take_back()).enumerate().rev() {
                if queue.copies.pop_if(|copy| copy.slot == slot).is_some() {
                    state.put_back(Kept { rest, ..frame });
                }
            }
            if stuck || failure.is_some() {
                sum.failure = failure;
                break;
            }
        }
        (sum, state.octets > 0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    /// By priority.
    queues: [Queue; 8],
    /// Octets that wait, with [`OVERHEAD`] for each frame.
    octets: usize,
    /// How far each class has come: octets sent by its share.
    served: [u64; 8],
    /// How far the class served last had come: one that had nothing to send begins there.
    turn: u64,
    /// When the link is free, in ns.
    free_at: u64,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Kept>,
    octets: usize,
    counters: PriorityCounters,
}

/// A frame that waits.
#[derive(Debug)]
struct Kept {
    copy: TxCopy,
    rest: Vec<u8>,
    since: Instant,
    /// Its number among all frames of the port.
    arrival: u64,
    octets: usize,
}

impl Kept {
    const fn room(&self) -> usize {
        self.octets + OVERHEAD
    }
}

impl State {
    /// Keeps a copy at the end of its queue; returns how many frames that costs.
    fn keep(&mut self, now: Instant, copy: TxCopy, batch: &Batch) -> u64 {
        let octets = copy.octets(batch);
        self.arrivals += 1;
        let kept = |rest| Kept { copy, rest, since: now, arrival: self.arrivals, octets };
        let room = octets + OVERHEAD;
        let mut lost = 0;
        let capacity = self.capacity();
        if self.plan.lossless.contains(copy.priority) && self.lossless_octets() + room > capacity / 4 * 3 {
            self.count(copy.priority, |counters| counters.overflowed += 1);
            return 1;
        }
        while self.octets + room > capacity {
            lost += 1;
            let Some(victim) = self.victim(copy.priority, room) else {
                self.count(copy.priority, |counters| counters.overflowed += 1);
                return lost;
            };
            let Some(queue) = self.queues.get_mut(victim) else { return lost };
            queue.counters.overflowed += 1;
            if let Some(frame) = queue.frames.pop_back() {
                queue.octets -= frame.room();
                self.octets -= frame.room();
            }
        }
        let frame = kept(batch.rest(copy.slot).to_vec());
        if let Some(queue) = self.queue_of(copy.priority) {
            queue.octets += room;
            queue.frames.push_back(frame);
            self.octets += room;
        }
        lost
    }

    /// The priority that loses its newest frame for one of `priority` that takes `room`; none if that one is to be lost.
    fn victim(&self, priority: Pcp, room: usize) -> Option<usize> {
        let own = self.queues.get(usize::from(priority.get())).map_or(0, |queue| queue.octets);
        let lossless = self.plan.lossless;
        let others =
            Pcp::all().zip(&self.queues).enumerate().filter(|(_, (other, _))| !lossless.contains(*other));
        let (most, (_, Queue { octets, .. })) = others.max_by_key(|(_, (_, queue))| queue.octets)?;
        (*octets > 0 && (lossless.contains(priority) || *octets > own + room)).then_some(most)
    }

    /// Octets of lossless priorities that wait.
    fn lossless_octets(&self) -> usize {
        let queues =
            Pcp::all().zip(&self.queues).filter(|(priority, _)| self.plan.lossless.contains(*priority));
        queues.map(|(_, queue)| queue.octets).sum()
    }

    /// Takes out the frame that goes next, if the rate lets it.
    fn next(&mut self, now: Instant) -> Option<Kept> {
        if self.plan.rate.is_some() && self.free_at > nanos(now) {
            return None;
        }
        let rank = |(priority, queue): (usize, &Queue)| {
            let arrival = queue.frames.front()?.arrival;
            let class = usize::from(*self.plan.classes.get(priority)?);
            let (way, progress) = match self.plan.shares.get(class)? {
                None => (0, 7_u64.saturating_sub(count(class))),
                Some(0) => (2, 0),
                Some(_) => (1, self.served.get(class)?.max(&self.turn).to_owned()),
            };
            Some(((way, progress, arrival), priority))
        };
        let (_, priority) = self.queues.iter().enumerate().filter_map(rank).min()?;
        let queue = self.queues.get_mut(priority)?;
        let frame = queue.frames.pop_front()?;
        queue.octets -= frame.room();
        queue.counters.frames += 1;
        queue.counters.octets += count(frame.octets);
        self.octets -= frame.room();
        self.charge(now, priority, frame.octets);
        Some(frame)
    }

    /// Puts back what [`State::next`] took last.
    fn put_back(&mut self, frame: Kept) {
        let priority = usize::from(frame.copy.priority.get());
        self.free_at = self.free_at.saturating_sub(self.time(frame.octets));
        if let Some((class, cost)) = self.cost(priority, frame.octets)
            && let Some(served) = self.served.get_mut(class)
        {
            *served = served.saturating_sub(cost);
        }
        let Some(queue) = self.queues.get_mut(priority) else { return };
        queue.octets += frame.room();
        queue.counters.frames -= 1;
        queue.counters.octets -= count(frame.octets);
        self.octets += frame.room();
        queue.frames.push_front(frame);
    }

    /// Loses frames that have waited too long; returns how many.
    fn expire(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        for queue in &mut self.queues {
            while let Some(frame) =
                queue.frames.pop_front_if(|frame| now.saturating_since(frame.since) > LONGEST_WAIT)
            {
                queue.octets -= frame.room();
                self.octets -= frame.room();
                queue.counters.expired += 1;
                lost += 1;
            }
        }
        lost
    }

    fn charge(&mut self, now: Instant, priority: usize, octets: usize) {
        let time = self.time(octets);
        self.free_at = self.free_at.max(nanos(now).saturating_sub(CREDIT)) + time;
        if let Some((class, cost)) = self.cost(priority, octets)
            && let Some(served) = self.served.get_mut(class)
        {
            self.turn = self.turn.max(*served);
            *served = self.turn + cost;
        }
    }

    /// How far a frame brings its class, if that has a share.
    fn cost(&self, priority: usize, octets: usize) -> Option<(usize, u64)> {
        let class = usize::from(*self.plan.classes.get(priority)?);
        let share = (*self.plan.shares.get(class)?).filter(|share| *share > 0)?;
        Some((class, count(octets) * FINENESS / u64::from(share)))
    }

    /// What a frame takes of the rate, in ns.
    fn time(&self, octets: usize) -> u64 {
        self.plan.rate.map_or(0, |rate| count(octets).saturating_mul(8_000_000_000) / rate.max(1))
    }

    /// Octets that may wait.
    fn capacity(&self) -> usize {
        let of_rate = |rate: u64| usize::try_from(rate / 8 / BUFFERED).unwrap_or(usize::MAX);
        self.plan.rate.map_or(UNPACED, |rate| of_rate(rate).clamp(LEAST, MOST))
    }

    fn queue_of(&mut self, priority: Pcp) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(priority.get()))
    }

    fn count(&mut self, priority: Pcp, change: impl FnOnce(&mut PriorityCounters)) {
        if let Some(queue) = self.queue_of(priority) {
            change(&mut queue.counters);
        }
    }
}

fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1000)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// What a frame takes besides its octets.
const OVERHEAD: usize = 128;
/// The part of a second whose frames may wait at a port with a rate, within [`LEAST`] and [`MOST`].
const BUFFERED: u64 = 20;
const LEAST: usize = 512 << 10;
const MOST: usize = 16 << 20;
/// What may wait at a port without one.
const UNPACED: usize = 4 << 20;
/// How much a port with a rate may catch up on, in ns: threads wake up late.
const CREDIT: u64 = 5_000_000;
/// Half of what the standard lets a frame wait at most.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// What an octet counts at a share of 1 %.
const FINENESS: u64 = 3200;

#[cfg(test)]
mod tests;
