//! What is measured: loads from one host to the other, by ordinary sockets in their namespaces.

use std::{
    io::{IoSlice, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use evb_tests::netns::{Netns, inside};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use serde_json::Value;

use crate::place::{NOBODY, ONE, Place, TWO};

/// One figure of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    /// Frames of 64 octets, one flow, thousands per second received.
    OneFlow,
    /// The same in 1,000 flows.
    ManyFlows,
    /// TCP on default offloads, Gbit/s.
    Tcp1,
    /// The same over four connections.
    Tcp4,
    /// Round trip, median, microseconds.
    RoundTrip,
    /// Round trip, 99th percentile, microseconds.
    RoundTrip99,
    /// Time of all processors per frame at 50,000 a second, nanoseconds.
    CpuPerFrame,
}

impl Measure {
    /// All but those another one brings along.
    pub(crate) const ALL: [Self; 6] =
        [Self::OneFlow, Self::ManyFlows, Self::Tcp1, Self::Tcp4, Self::RoundTrip, Self::CpuPerFrame];

    /// Heading of its column.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OneFlow => "kframes/s, 1 flow",
            Self::ManyFlows => "1,000 flows",
            Self::Tcp1 => "TCP Gbit/s",
            Self::Tcp4 => "4 streams",
            Self::RoundTrip => "RTT p50 µs",
            Self::RoundTrip99 => "p99 µs",
            Self::CpuPerFrame => "CPU ns/frame",
        }
    }

    /// Measures for `time`; the figures it got.
    pub(crate) fn run(self, place: &Place, time: Duration) -> Vec<(Self, f64)> {
        match self {
            Self::OneFlow => vec![(self, flood(place, 1, time) / 1e3)],
            Self::ManyFlows => vec![(self, flood(place, 1000, time) / 1e3)],
            Self::Tcp1 => vec![(self, tcp(place, 1, time) / 1e9)],
            Self::Tcp4 => vec![(self, tcp(place, 4, time) / 1e9)],
            Self::RoundTrip | Self::RoundTrip99 => {
                let (median, high) = round_trips(place, time);
                vec![(Self::RoundTrip, median), (Self::RoundTrip99, high)]
            }
            Self::CpuPerFrame => vec![(self, cpu_per_frame(place, time))],
        }
    }
}

/// Frames a second that arrive while as many as possible are sent.
fn flood(place: &Place, flows: u16, time: Duration) -> f64 {
    let before = received(&place.two);
    let begin = Instant::now();
    inside(&place.one, || send(flows, begin + time, None));
    let spent = begin.elapsed();
    let after = settled(&place.two);
    #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
    let frames = (after - before) as f64;
    frames / spent.as_secs_f64()
}

/// Sends 18 octets of UDP, a frame of 60, to an address nobody has until `end`, `rate` a second if given; how many.
pub(crate) fn send(flows: u16, end: Instant, rate: Option<u32>) -> u64 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let targets: Vec<SocketAddrAny> =
        (0..flows).map(|n| SocketAddrV4::new(NOBODY, FIRST_PORT + n).into()).collect();
    let payload = [0x5a; 18];
    let begin = Instant::now();
    let (mut sent, mut next) = (0, 0);
    while Instant::now() < end {
        if let Some(rate) = rate {
            let due = begin.elapsed().as_millis() * u128::from(rate) / 1000;
            if u128::from(sent) >= due {
                thread::sleep(Duration::from_micros(500));
                continue;
            }
        }
        let iov = [IoSlice::new(&payload)];
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            (0..BATCH).map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> = Vec::with_capacity(BATCH);
        for control in &mut controls {
            let target = targets.get(next % targets.len()).expect("a target");
            messages.push(MMsgHdr::new_with_addr(target, &iov, control));
            next += 1;
        }
        match sendmmsg(&socket, &mut messages, SendFlags::empty()) {
            Ok(count) => sent += u64::try_from(count).expect("a count"),
            // The queue of a candidate under load: that is what is measured.
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::AGAIN) => {}
            Err(error) => panic!("sending: {error}"),
        }
    }
    sent
}

/// Bits a second over so many connections.
pub(crate) fn tcp(place: &Place, streams: usize, time: Duration) -> f64 {
    let listener = inside(&place.two, || TcpListener::bind((TWO, 0)).expect("a listener"));
    let port = listener.local_addr().expect("an address").port();
    let begin = Instant::now();
    let octets: usize = thread::scope(|scope| {
        let receivers = scope.spawn(move || {
            let streams: Vec<TcpStream> =
                (0..streams).map(|_| listener.accept().expect("a stream").0).collect();
            thread::scope(|scope| {
                let running: Vec<_> =
                    streams.into_iter().map(|stream| scope.spawn(|| swallow(stream))).collect();
                running.into_iter().map(|thread| thread.join().expect("it ends well")).sum()
            })
        });
        for _ in 0..streams {
            let stream = inside(&place.one, || TcpStream::connect((TWO, port)).expect("a connection"));
            scope.spawn(move || pour(stream, begin + time));
        }
        receivers.join().expect("it ends well")
    });
    #[expect(clippy::cast_precision_loss, reason = "a count of octets")]
    let bits = octets as f64 * 8.0;
    bits / begin.elapsed().as_secs_f64()
}

fn pour(mut stream: TcpStream, end: Instant) {
    let block = vec![0x5a; BLOCK];
    while Instant::now() < end {
        stream.write_all(&block).expect("the peer reads");
    }
}

fn swallow(mut stream: TcpStream) -> usize {
    let mut block = vec![0; BLOCK];
    let mut octets = 0;
    loop {
        match stream.read(&mut block).expect("the peer writes") {
            0 => return octets,
            some => octets += some,
        }
    }
}

/// Median and 99th percentile of a question's way there and back, in microseconds.
fn round_trips(place: &Place, time: Duration) -> (f64, f64) {
    let bind = |address| {
        let socket = UdpSocket::bind((address, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        socket
    };
    let (one, two) = (inside(&place.one, || bind(ONE)), inside(&place.two, || bind(TWO)));
    one.connect(two.local_addr().expect("an address")).expect("connected");
    two.connect(one.local_addr().expect("an address")).expect("connected");
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut octet = [0];
            while two.recv(&mut octet).is_ok() && octet == [1] {
                two.send(&octet).expect("sent");
            }
        });
        let end = Instant::now() + time;
        let mut times = Vec::new();
        while Instant::now() < end {
            let asked = Instant::now();
            one.send(&[1]).expect("sent");
            one.recv(&mut [0]).expect("an answer");
            times.push(asked.elapsed().as_secs_f64() * 1e6);
        }
        one.send(&[0]).expect("sent");
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
        (at(50), at(99))
    })
}

/// Nanoseconds all processors work for a frame at a moderate rate, sender and receiver included.
fn cpu_per_frame(place: &Place, time: Duration) -> f64 {
    let before = busy();
    let sent = inside(&place.one, || send(1, Instant::now() + time, Some(50_000)));
    settled(&place.two);
    #[expect(clippy::cast_precision_loss, reason = "a count of frames")]
    let sent = sent as f64;
    (busy() - before) * 1e9 / sent
}

/// Seconds all processors have worked.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc");
    let ticks = |place: &usize| stat.split_whitespace().nth(*place).and_then(|n| n.parse::<f64>().ok());
    // user, nice, system, irq, softirq; ticks of 10 ms.
    [1, 2, 3, 6, 7].iter().filter_map(ticks).sum::<f64>() / 100.0
}

/// Frames eth0 of `host` has received.
pub(crate) fn received(host: &Netns) -> u64 {
    counter(host, "rx", "packets")
}

/// One of the kernel's counters of eth0.
fn counter(host: &Netns, direction: &str, what: &str) -> u64 {
    let said = host.run("ip", &["-j", "-s", "link", "show", "dev", "eth0"]);
    let links: Value = serde_json::from_str(&said).expect("JSON");
    let counters = links.get(0).and_then(|link| link.get("stats64")).and_then(|stats| stats.get(direction));
    counters.and_then(|counters| counters.get(what)).and_then(Value::as_u64).expect("a counter")
}

/// [`received`], once nothing comes any more.
fn settled(host: &Netns) -> u64 {
    let mut last = received(host);
    loop {
        thread::sleep(Duration::from_millis(20));
        let now = received(host);
        if now <= last + 2 {
            return now;
        }
        last = now;
    }
}

const FIRST_PORT: u16 = 20_000;
const BATCH: usize = 64;
const BLOCK: usize = 128 * 1024;
