//! What happens while flows go fast: nothing leaves out of order, and nothing by a decision that no longer holds.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use ether::Vid;
use hairpin::{PortConfig, PortId, VsiEntry, VsiFilter, VsiKey, policy::Policy};

use crate::{
    Switch, address, bridge,
    lab::{Ns, ping, udp, until},
};

/// Sends numbered datagrams from `from` to `to` until it is stopped.
struct Stream {
    /// The next number.
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    /// The numbers that arrived, in order.
    arrived: Arc<std::sync::Mutex<Vec<u64>>>,
    receiver: Option<thread::JoinHandle<()>>,
}

impl Stream {
    /// Datagrams from station `from` of number `number` to the one of number `to`; so long apart.
    fn start(from: (&Ns, u16), to: (&Ns, u16), pause: Duration) -> Self {
        let (sender, _) = udp(from.0, address(from.1));
        let (receiver, target) = udp(to.0, address(to.1));
        sender.connect(target).unwrap();
        receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let arrived = Arc::new(std::sync::Mutex::new(Vec::new()));
        let thread = {
            let (next, stop) = (Arc::clone(&next), Arc::clone(&stop));
            thread::spawn(move || send(&sender, &next, &stop, pause))
        };
        let receiver = {
            let (arrived, stop) = (Arc::clone(&arrived), Arc::clone(&stop));
            thread::spawn(move || {
                let mut octets = [0; 64];
                loop {
                    match receiver.recv(&mut octets) {
                        Ok(_) => {
                            arrived.lock().unwrap().push(u64::from_be_bytes(*octets.first_chunk().unwrap()))
                        }
                        Err(_) if stop.load(SeqCst) => return,
                        Err(_) => {}
                    }
                }
            })
        };
        Self { next, stop, thread: Some(thread), arrived, receiver: Some(receiver) }
    }

    /// The number of the next datagram: all before may be on their way.
    fn now(&self) -> u64 {
        self.next.load(SeqCst)
    }

    fn last(&self) -> Option<u64> {
        self.arrived.lock().unwrap().last().copied()
    }

    /// Stops; what arrived, in order.
    fn finish(mut self) -> Vec<u64> {
        self.stop.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.receiver.take().unwrap().join().unwrap();
        std::mem::take(&mut self.arrived.lock().unwrap())
    }
}

fn send(sender: &UdpSocket, next: &AtomicU64, stop: &AtomicBool, pause: Duration) {
    while !stop.load(SeqCst) {
        let number = next.fetch_add(1, SeqCst);
        // A full queue is a lost datagram.
        let _ = sender.send(&number.to_be_bytes());
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}

fn in_order(numbers: &[u64]) {
    let wrong: Vec<_> = numbers.windows(2).filter(|pair| pair[0] >= pair[1]).take(5).collect();
    assert!(wrong.is_empty(), "out of order: {wrong:?}");
}

#[test]
fn flows_that_turn_fast_and_slow_stay_in_order() {
    for threads in [1, 2] {
        let (mut switch, stations) = bridge(threads, 4);
        for (from, to) in [(0, 1), (2, 3)] {
            ping(&stations[from], address(u16::try_from(to).unwrap()));
        }
        let pairs = [(0_u16, 1_u16), (2, 3)];
        let streams = pairs.map(|(from, to)| {
            let (a, b) = (&stations[usize::from(from)], &stations[usize::from(to)]);
            Stream::start((a, from), (b, to), Duration::ZERO)
        });
        for n in 0..30 {
            let fast = switch.fast_frames();
            until("flows go fast", || switch.fast_frames() > fast + 20 * (n % 5));
            switch.relay.publish(switch.control.snapshot());
        }
        let (fast, all) = (switch.fast_frames(), switch.counters(0).rx_frames + switch.counters(2).rx_frames);
        for stream in streams {
            let arrived = stream.finish();
            eprintln!("{threads} threads: {} arrived; {fast} of {all} fast", arrived.len());
            assert!(arrived.len() > 1000);
            in_order(&arrived);
        }
        assert!(fast > 30 * 20 && all > fast, "some went either way");
    }
}

/// Has a flow go fast, makes `change`, and asserts that nothing sent after that arrives; then undoes it.
fn nothing_after(
    name: &str,
    switch: &mut Switch,
    stream: &Stream,
    mut change: impl FnMut(&mut Switch),
    mut undo: impl FnMut(&mut Switch),
) {
    for _ in 0..20 {
        let before = stream.now();
        until(&format!("{name}: it arrives"), || stream.last() > Some(before));
        let fast = switch.fast_frames();
        until(&format!("{name}: it goes fast"), || switch.fast_frames() > fast + 5);
        change(switch);
        let next = stream.now();
        until(&format!("{name}: more is sent"), || stream.now() > next + 50);
        assert!(stream.last() < Some(next), "{name}: number {:?} came, {next} was sent after", stream.last());
        undo(switch);
    }
}

fn publish(switch: &mut Switch) {
    switch.relay.publish(switch.control.snapshot());
}

#[test]
fn not_one_frame_goes_by_an_old_decision() {
    let (mut switch, stations) = bridge(1, 3);
    ping(&stations[0], address(1));
    let stream = Stream::start((&stations[0], 0), (&stations[1], 1), Duration::from_micros(50));
    let lan = PortConfig::lan(PortId(1));

    let (other, back) = (PortConfig { untagged: [].into(), ..lan.clone() }, lan.clone());
    nothing_after(
        "VLAN",
        &mut switch,
        &stream,
        |switch| {
            switch.control.set_port(other.clone()).unwrap();
            publish(switch);
        },
        |switch| {
            switch.control.set_port(back.clone()).unwrap();
            publish(switch);
            ping(&stations[1], address(0));
        },
    );

    let entry = |policy: serde_json::Value| {
        let filters = vec![VsiFilter { mac: None, vid: Vid::DEFAULT, pcp: None }];
        let policy: Policy = serde_json::from_value(policy).unwrap();
        VsiEntry { port: PortId(0), filters, policy: Arc::new(policy) }
    };
    let (deny, permit) = (
        entry(serde_json::json!({ "ingress": [{ "action": "deny", "protocol": "udp" }] })),
        entry(serde_json::json!({})),
    );
    switch.control.open_vsi(VsiKey(1), permit.clone()).unwrap();
    publish(&mut switch);
    nothing_after(
        "access list",
        &mut switch,
        &stream,
        |switch| {
            switch.control.open_vsi(VsiKey(1), deny.clone()).unwrap();
            publish(switch);
        },
        |switch| {
            switch.control.open_vsi(VsiKey(1), permit.clone()).unwrap();
            publish(switch);
        },
    );

    // Its address speaks elsewhere: once that is known, nothing comes to where it was.
    let mac = stations[1].output("-br link show dev eth0");
    let mac = mac.split_whitespace().nth(2).expect("an address").to_owned();
    let there = |switch: &Switch, port: u16| {
        let entries = switch.relay.fdb_entries(carrier::clock::now());
        entries.iter().any(|entry| entry.mac.to_string() == mac && entry.port == PortId(port))
    };
    stations[2].ip("link set eth0 down");
    stations[2].ip(&format!("link set eth0 address {mac}"));
    stations[2].ip("link set eth0 up");
    let moves = |switch: &Switch| switch.relay.moves().last().map(|(number, _)| *number);
    let mut seen = 0;
    for attempt in 0..50 {
        let fast = switch.fast_frames();
        until("it goes fast again", || switch.fast_frames() > fast + 5);
        until("it has moved", || {
            let (socket, _) = udp(&stations[2], address(2));
            let _ = socket.send_to(&[0; 8], (address(0), 9));
            there(&switch, 2)
        });
        let (next, moved) = (stream.now(), moves(&switch));
        until("more is sent", || stream.now() > next + 50);
        let last = stream.last();
        if moves(&switch) == moved && there(&switch, 2) {
            // Those on their way when it was seen to have moved had been received before.
            assert!(last < Some(next), "{last:?} came, {next} was sent after");
            seen += 1;
        }
        until("it is back", || {
            ping(&stations[1], address(0));
            there(&switch, 1)
        });
        // The other station may have spoken, for it still hears what asks for it.
        if seen == 3 {
            break;
        }
        assert!(attempt < 49, "it moves by itself all the time");
    }

    let fast = switch.fast_frames();
    until("it goes fast again", || switch.fast_frames() > fast + 5);
    let sockets = switch.worker.remove_port(PortId(1)).unwrap();
    let next = stream.now();
    until("more is sent", || stream.now() > next + 50);
    assert!(stream.last() < Some(next), "removed");
    drop(sockets);
    in_order(&stream.finish());
}
