//! Ports that send less than they are given: shares of a rate, and what a full queue of the kernel leaves behind.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod lab;

use std::{
    fs::File,
    io::{Read, Write},
    sync::{Arc, mpsc::sync_channel},
    thread,
    time::{Duration, Instant},
};

use carrier::{Event, Plan, Schedule, Worker, WorkerHandle, WorkerOptions};
use ether::{PrioritySet, Vid};
use hairpin::{Control, Limits, PortConfig, PortId, Relay, RelayKind};
use lab::{Ns, readable, until};

/// Taps 0 and 1 of hosts that send, tap 2 of the host they send to, joined by a worker of two threads.
struct Joined {
    _ns: Ns,
    worker: WorkerHandle,
    taps: [File; 3],
    _events: std::sync::mpsc::Receiver<Event>,
}

impl Joined {
    fn new(schedule: &Arc<Schedule>) -> Self {
        let ns = Ns::new();
        let limits = Limits::default();
        let mut control = Control::new(RelayKind::Bridge, &limits);
        let names = ["t0", "t1", "t2"];
        let taps = names.map(|name| ns.tap(name));
        for id in [0, 1, 2].map(PortId) {
            let tagged = [Vid::new(10).unwrap()].into();
            control.set_port(PortConfig { tagged, ..PortConfig::lan(id) }).unwrap();
        }
        let relay = Arc::new(Relay::new(limits));
        relay.publish(control.snapshot());
        let (sender, events) = sync_channel(1);
        let options = WorkerOptions { threads: 2, ..WorkerOptions::default() };
        let worker = Worker::spawn(&relay, &sender, &options).unwrap();
        for (id, name) in (0..).map(PortId).zip(names) {
            worker.add_port(id, ns.ports(name, 2)).unwrap();
        }
        worker.schedule(PortId(2), schedule).unwrap();
        assert!(worker.schedule(PortId(7), schedule).is_err());
        let joined = Self { _ns: ns, worker, taps, _events: events };
        // The two who send need no answer, but who gets it has to be known.
        let [_, _, sink] = &joined.taps;
        let mut sink = sink;
        sink.write_all(&frame(2, 0, 0, 60)).unwrap();
        joined
    }
}

/// A frame of `octets` octets from host `from` to the third, or its announcement, with a tag of `priority`.
fn frame(from: u8, priority: u8, number: u32, octets: usize) -> Vec<u8> {
    let to = if from == 2 { [0xff; 6] } else { [2, 0, 0, 0, 0, 2] };
    let head = [&to[..], &[2, 0, 0, 0, 0, from, 0x81, 0, priority << 5, 10, 0x88, 0xb5]].concat();
    let mut frame = [&head[..], &number.to_be_bytes()].concat();
    frame.resize(octets, from);
    frame
}

/// Reads until `end`; octets and the numbers of the frames that came, by priority. Numbers must rise.
fn drain(mut sink: &File, end: Instant) -> [(u64, Vec<u32>); 8] {
    let mut seen: [(u64, Vec<u32>); 8] = Default::default();
    let mut buffer = [0; 2048];
    while Instant::now() < end {
        if !readable(sink, Duration::from_millis(20)) {
            continue;
        }
        let n = sink.read(&mut buffer).unwrap();
        if n < 22 || buffer[12..14] != [0x81, 0] || buffer[16..18] != [0x88, 0xb5] {
            continue;
        }
        let (octets, numbers) = &mut seen[usize::from(buffer[14] >> 5)];
        let number = u32::from_be_bytes(buffer[18..22].try_into().unwrap());
        assert!(numbers.last().is_none_or(|last| *last < number), "order of a priority");
        numbers.push(number);
        *octets += u64::try_from(n).unwrap();
    }
    seen
}

#[test]
fn two_classes_share_a_saturated_port_as_they_should() {
    let plan = Plan {
        rate: Some(40_000_000),
        classes: [0, 0, 0, 1, 1, 1, 1, 1],
        shares: [Some(30), Some(70), None, None, None, None, None, None],
        lossless: PrioritySet::EMPTY,
    };
    let schedule = Arc::new(Schedule::new(plan));
    let joined = Joined::new(&schedule);
    let [one, two, sink] = &joined.taps;
    until("the address is known", || joined.worker.stats().unwrap()[2].1.rx_frames > 0);
    let length = Duration::from_secs(3);
    let end = Instant::now() + length;
    let send = |mut tap: &File, from, priority, octets| {
        let mut number = 0;
        while Instant::now() < end {
            // 60 Mbit/s each, in bursts.
            for _ in 0..60_000_000 / 8 / 500 / octets {
                tap.write_all(&frame(from, priority, number, octets)).unwrap();
                number += 1;
            }
            thread::sleep(Duration::from_millis(2));
        }
    };
    let seen = thread::scope(|scope| {
        scope.spawn(|| send(one, 0, 0, 300));
        scope.spawn(|| send(two, 1, 3, 1400));
        drain(sink, end)
    });
    let (low, high) = (seen[0].0 as f64, seen[3].0 as f64);
    let share = 100.0 * high / (low + high);
    assert!((share - 70.0).abs() < 5.0, "class 1 got {share:.1} %");
    let rate = (low + high) * 8.0 / length.as_secs_f64();
    assert!((0.8..1.1).contains(&(rate / 40e6)), "{rate:.0} bit/s of 40,000,000");
    let counters = schedule.counters();
    assert!(counters[0].overflowed > 0 && counters[3].overflowed > 0, "{counters:?}");
    println!("class 1 has {share:.1} % of {rate:.0} bit/s; {:?} {:?}", counters[0], counters[3]);
}

/// A tap whose reader is slow: what does not fit into the kernel's queue waits here, and nothing is lost.
#[test]
fn what_the_kernel_does_not_take_waits() {
    let schedule = Arc::new(Schedule::new(Plan::default()));
    let joined = Joined::new(&schedule);
    let [mut one, _, sink] = joined.taps.each_ref();
    until("the address is known", || joined.worker.stats().unwrap()[2].1.rx_frames > 0);
    let count = 2000;
    for number in 0..count {
        one.write_all(&frame(0, 5, number, 200)).unwrap();
        if number % 50 == 49 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    until("frames wait", || schedule.counters()[5].waiting > 0);
    let seen = drain(sink, Instant::now() + Duration::from_millis(700));
    assert_eq!(seen[5].1, (0..count).collect::<Vec<_>>());
    let counters = schedule.counters()[5];
    assert_eq!((counters.frames, counters.waiting), (u64::from(count), 0), "{counters:?}");
}
