use std::array;

use super::*;
use crate::frame::ADDRESSES;

fn pcp(number: u8) -> Pcp {
    Pcp::new(number).unwrap()
}

fn at(micros: u64) -> Instant {
    Instant::from_micros(1_000_000_000 + micros)
}

/// Priority n in class n; `shares` of classes from 0 on, the others strict.
fn plan(shares: &[u8], lossless: u8) -> Plan {
    Plan {
        rate: None,
        classes: array::from_fn(|n| u8::try_from(n).unwrap()),
        shares: array::from_fn(|n| shares.get(n).copied()),
        lossless: PrioritySet(lossless),
    }
}

struct Queues {
    state: State,
    batch: Batch,
}

impl Queues {
    fn new(plan: Plan) -> Self {
        Self { state: State { plan, ..State::default() }, batch: Batch::new() }
    }

    /// A frame of `octets` comes; the frames lost.
    fn put(&mut self, now: Instant, priority: u8, octets: usize) -> u64 {
        self.batch.lend([vec![priority; octets - ADDRESSES]].into_iter());
        let lost = self.state.keep(now, TxCopy::blank(pcp(priority), 0), &self.batch);
        self.batch.take_back();
        lost
    }

    fn waiting(&self, priority: usize) -> usize {
        self.state.queues[priority].frames.len()
    }

    /// The priorities of what goes next, one by one.
    fn order(&mut self, count: usize) -> String {
        let next =
            |_| self.state.next(at(0)).map_or('-', |frame| char::from(b'0' + frame.copy.priority.get()));
        (0..count).map(next).collect()
    }
}

#[test]
fn strict_classes_first_then_shares_then_those_without() {
    let mut queues = Queues::new(plan(&[50, 50, 0], 0));
    for priority in [2, 0, 4, 1, 7, 0, 1, 4] {
        queues.put(at(0), priority, 100);
    }
    assert_eq!(queues.order(9), "74401012-");
    // Priorities of one class keep their order.
    queues.state.plan.classes = [3; 8];
    for priority in [2, 7, 0, 2, 7] {
        queues.put(at(0), priority, 100);
    }
    assert_eq!(queues.order(5), "27027");
}

/// Three classes of frames of very different sizes, never idle: their octets are as their shares.
#[test]
fn octets_are_as_shares() {
    let shares = [60, 30, 10];
    let mut queues = Queues::new(plan(&shares, 0));
    let mut sent = [0; 3];
    let sizes = [64_000, 1500, 60];
    for _ in 0..20_000 {
        for (priority, size) in (0..).zip(sizes) {
            if queues.waiting(usize::from(priority)) < 2 {
                queues.put(at(0), priority, size);
            }
        }
        let frame = queues.state.next(at(0)).unwrap();
        sent[usize::from(frame.copy.priority.get())] += frame.octets;
    }
    let sum: usize = sent.iter().sum();
    for (share, octets) in shares.into_iter().zip(sent) {
        let percent = octets as f64 * 100.0 / sum as f64;
        assert!((percent - f64::from(share)).abs() < 1.0, "{share} %: {percent:.1}");
    }
}

#[test]
fn an_idle_class_leaves_its_share_and_saves_none() {
    let mut queues = Queues::new(plan(&[50, 50], 0));
    for _ in 0..200 {
        queues.put(at(0), 0, 1000);
    }
    assert_eq!(queues.order(100), "0".repeat(100));
    for _ in 0..50 {
        queues.put(at(0), 1, 1000);
    }
    let both = queues.order(40);
    assert_eq!(both.matches('1').count(), 20, "{both}");
}

#[test]
fn a_rate_lets_so_many_octets_go() {
    let mut queues = Queues::new(Plan { rate: Some(8_000_000), ..Plan::default() });
    let mut octets = 0;
    for millis in 0..1000 {
        while queues.waiting(0) < 10 {
            queues.put(at(millis * 1000), 0, 500);
        }
        // Every fourth time somebody wakes up late.
        let late = if millis % 4 == 0 { 900 } else { 0 };
        while let Some(frame) = queues.state.next(at(millis * 1000 + late)) {
            octets += frame.octets;
        }
    }
    assert!((999_000..=1_006_000).contains(&octets), "{octets}");
    // After a pause only the credit is caught up on.
    let after = at(10_000_000);
    queues.state.expire(after);
    for _ in 0..100 {
        queues.put(after, 0, 500);
    }
    let burst = std::iter::from_fn(|| queues.state.next(after)).count();
    assert_eq!(burst, 11);
}

#[test]
fn when_full_the_longest_loses_and_the_lossless_last() {
    let mut queues = Queues::new(plan(&[70, 30], 1 << 3));
    let room = UNPACED / (1000 + OVERHEAD);
    let lost: u64 = (0..room + 10).map(|_| queues.put(at(0), 0, 1000)).sum();
    assert_eq!((lost, queues.waiting(0)), (10, room), "no other waits: its own newest");
    assert_eq!((queues.put(at(0), 1, 1000), queues.waiting(0), queues.waiting(1)), (1, room - 1, 1));
    // Two as long as each other: who comes loses.
    while queues.waiting(1) + 1 < queues.waiting(0) {
        queues.put(at(0), 1, 1000);
    }
    let before = queues.waiting(1);
    assert_eq!((queues.put(at(0), 1, 1000), queues.waiting(1)), (1, before));
    // The lossless one takes the place of both up to its three quarters, and only then loses.
    let most = UNPACED / 4 * 3 / (1000 + OVERHEAD);
    let lost: u64 = (0..most).map(|_| queues.put(at(0), 3, 1000)).sum();
    assert_eq!((queues.waiting(3), queues.waiting(0) + queues.waiting(1)), (most, room - most));
    assert_eq!((lost, queues.state.queues[3].counters.overflowed), (u64::try_from(most).unwrap(), 0));
    assert_eq!((queues.put(at(0), 3, 1000), queues.waiting(3)), (1, most));
    assert_eq!(queues.state.queues[3].counters.overflowed, 1);
}

#[test]
fn what_waits_too_long_is_lost() {
    let mut queues = Queues::new(plan(&[], 1));
    queues.put(at(0), 0, 100);
    queues.put(at(500_000), 0, 100);
    assert_eq!(queues.state.expire(at(1_000_000)), 0);
    assert_eq!((queues.state.expire(at(1_000_001)), queues.waiting(0)), (1, 1));
    assert_eq!((queues.state.queues[0].counters.expired, queues.state.octets), (1, 100 + OVERHEAD));
}

#[test]
fn what_is_put_back_goes_next_as_if_never_taken() {
    let rated = Plan { rate: Some(80_000_000), ..plan(&[50, 50], 0) };
    let mut queues = Queues::new(rated);
    for n in 0..6 {
        queues.put(at(0), n % 2, 100 + usize::from(n));
    }
    let first = queues.state.next(at(0)).unwrap();
    let (free_at, served) = (queues.state.free_at, queues.state.served);
    let taken: Vec<Kept> = (0..3).map(|_| queues.state.next(at(0)).unwrap()).collect();
    let order: Vec<u64> = taken.iter().map(|frame| frame.arrival).collect();
    taken.into_iter().rev().for_each(|frame| queues.state.put_back(frame));
    assert_eq!(first.arrival, 1);
    assert_eq!((queues.state.free_at, queues.state.served), (free_at, served));
    let again: Vec<u64> = (0..3).map(|_| queues.state.next(at(0)).unwrap().arrival).collect();
    assert_eq!(again, order);
    assert_eq!(queues.state.queues[0].counters.frames + queues.state.queues[1].counters.frames, 4);
}
