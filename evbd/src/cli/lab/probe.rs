//! Traffic ends that run inside a VM's namespace: a pinger, a TCP source and a TCP sink.

use std::{
    collections::{BTreeMap, HashSet},
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, bail};
use carrier::{Batch, Options, PacketPort};
use clap::Subcommand;
use ether::{EtherType, MacAddr, Tag, Vid, frame, mac};
use pnet::{
    datalink::{self, Channel},
    packet::{
        Packet,
        icmp::{
            IcmpCode, IcmpPacket, IcmpTypes, checksum, echo_reply::EchoReplyPacket,
            echo_request::MutableEchoRequestPacket,
        },
        ip::IpNextHeaderProtocols,
    },
    transport::{TransportChannelType, TransportProtocol, icmp_packet_iter, transport_channel},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// A traffic end; each prints one line of JSON when it is done.
#[derive(Subcommand)]
pub enum Probe {
    /// Send echo requests one after the other.
    Ping {
        /// Whom to ping.
        target: Ipv4Addr,
        /// How often.
        #[arg(long)]
        count: u16,
        /// How long to wait for each answer.
        #[arg(long, default_value_t = 1000)]
        timeout_ms: u64,
    },
    /// Send echo requests at a steady pace, whether answered or not.
    Stream {
        /// Whom to ping.
        target: Ipv4Addr,
        /// For how long.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=60))]
        seconds: u16,
    },
    /// Receive one TCP stream and check every octet.
    Sink {
        /// Where to listen; prints `ready` when it does.
        listen: SocketAddrV4,
    },
    /// Send a TCP stream.
    Source {
        /// Where the sink listens.
        target: SocketAddrV4,
        /// For how long.
        #[arg(long)]
        seconds: u16,
        /// No faster than this.
        #[arg(long)]
        mbit_s: Option<u32>,
    },
    /// Count datagrams.
    Count {
        /// Where to listen; prints `ready` when it does.
        listen: SocketAddrV4,
        /// For how long after the first one; left out: until a second has passed without any.
        #[arg(long)]
        seconds: Option<u16>,
    },
    /// Send datagrams at a steady pace.
    Flood {
        /// Where to.
        target: SocketAddrV4,
        /// For how long.
        #[arg(long)]
        seconds: u16,
        /// How fast.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        mbit_s: u32,
    },
    /// Send datagrams to everybody, or to a group.
    Shout {
        /// Whose address they come from.
        from: Ipv4Addr,
        /// Where to.
        target: SocketAddrV4,
        /// How many.
        #[arg(long)]
        count: u16,
    },
    /// Look at frames, both ways, until standard input ends, and tell which tags they had.
    Tags {
        /// Of which interface.
        interface: String,
        /// Where to keep them, as pcap.
        #[arg(long)]
        file: PathBuf,
    },
    /// Send frames no sane peer would send.
    Noise {
        /// Out of which interface.
        interface: String,
        /// How many.
        #[arg(long)]
        frames: u64,
        /// Which ones.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// Sends `frames` frames that a peer out of its mind might send: noise, and control frames with octets changed.
fn noise(interface: &str, frames: u64, seed: u64) -> anyhow::Result<u64> {
    let found = datalink::interfaces().into_iter().find(|i| i.name == interface);
    let found = found.with_context(|| format!("no interface {interface}"))?;
    let Channel::Ethernet(mut out, _) = datalink::channel(&found, datalink::Config::default())? else {
        bail!("{interface} is no Ethernet interface");
    };
    let mut random = StdRng::seed_from_u64(seed);
    let source = found.mac.unwrap_or_default();
    let mut sent = 0;
    for _ in 0..frames {
        let mut payload = vec![0; random.random_range(0..200)];
        random.fill(payload.as_mut_slice());
        let (to, ethertype) = match random.random_range(0..4) {
            0 => (mac::NEAREST_CUSTOMER_BRIDGE, EtherType::LLDP),
            1 => (mac::NEAREST_CUSTOMER_BRIDGE, EtherType::ECP),
            2 => (mac::NEAREST_BRIDGE, EtherType::LLDP),
            _ => (MacAddr::from(random.random::<[u8; 6]>()), EtherType(random.random())),
        };
        // Half of the control frames begin as good ones do, so that what follows the header is read.
        let good: &[u8] = match ethertype {
            EtherType::LLDP => &[2, 7, 4, 2, 0, 0, 0, 10, 1, 4, 5, 5, b'e', b't', b'h', b'9', 6, 2, 0, 9],
            EtherType::ECP => &[0x10, 0x01],
            _ => &[],
        };
        if random.random() {
            payload.splice(..0, good.iter().copied());
        }
        let from = if random.random() { source } else { MacAddr::from(random.random::<[u8; 6]>()) };
        let frame = frame::build(to, from, ethertype, &payload);
        // A full queue is no failure: the next frame is as good.
        sent += u64::from(out.send_to(&frame, None).is_some_and(|done| done.is_ok()));
    }
    Ok(sent)
}

/// Frames on a wire with the same tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) svid: Option<u16>,
    /// Whether there was a C-tag.
    pub(super) tagged: bool,
    pub(super) frames: u64,
}

/// Looks at the frames of an interface until standard input ends; writes them to `file`.
fn tags(interface: &str, file: &Path) -> anyhow::Result<Vec<Seen>> {
    let options = Options { outgoing: true, promiscuous: false, ..Options::default() };
    let mut port = PacketPort::open(interface, &options)?;
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    std::thread::spawn(move || {
        // Whatever ends it ends the look.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        end.store(true, Relaxed);
    });
    let mut pcap = std::io::BufWriter::new(std::fs::File::create(file)?);
    pcap.write_all(&PCAP)?;
    let (mut batch, mut seen) = (Batch::new(), BTreeMap::<(Option<u16>, bool), u64>::new());
    loop {
        let last = ended.load(Relaxed);
        while port.receive(&mut batch)? > 0 {
            for frame in batch.frames().flatten() {
                let service = frame.tag.filter(|tag| tag.tpid == EtherType::S_VLAN);
                let tagged = if service.is_some() {
                    frame.ethertype() == EtherType::C_VLAN
                } else {
                    frame.tag.is_some()
                };
                *seen.entry((service.and_then(|tag| tag.vid).map(Vid::get), tagged)).or_default() += 1;
                let tag = frame.tag.map(Tag::to_bytes);
                let octets =
                    [&frame.addresses[..], tag.as_ref().map_or(&[], |tag| &tag[..]), frame.rest].concat();
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                let len = u32::try_from(octets.len())?;
                for word in [u32::try_from(since.as_secs())?, since.subsec_micros(), len, len] {
                    pcap.write_all(&word.to_be_bytes())?;
                }
                pcap.write_all(&octets)?;
            }
        }
        if last {
            pcap.flush()?;
            let seen = seen.into_iter().map(|((svid, tagged), frames)| Seen { svid, tagged, frames });
            return Ok(seen.collect());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The head of a pcap file of Ethernet frames, 256 KiB at most, with microseconds.
const PCAP: [u8; 24] = [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1];

/// What a pinger saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PingResult {
    pub(super) sent: u16,
    pub(super) answered: u16,
    /// Of the answered; microseconds.
    pub(super) rtt_min_us: u64,
    pub(super) rtt_median_us: u64,
    pub(super) rtt_max_us: u64,
}

/// What a sink saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TcpResult {
    pub(super) octets: u64,
    pub(super) seconds: f64,
    pub(super) intact: bool,
}

/// What a flood sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FloodResult {
    pub(super) datagrams: u64,
}

/// What a counter saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct CountResult {
    pub(super) datagrams: u64,
    pub(super) octets: u64,
}

impl Probe {
    /// Plays the end.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Tags { interface, file } => print(&tags(interface, file)?),
            Self::Ping { target, count, timeout_ms } => {
                print(&ping(*target, *count, Duration::from_millis(*timeout_ms))?)
            }
            Self::Sink { listen } => print(&sink(*listen)?),
            Self::Stream { target, seconds } => print(&stream(*target, *seconds)?),
            Self::Source { target, seconds, mbit_s } => {
                source(*target, Duration::from_secs(u64::from(*seconds)), *mbit_s)
            }
            Self::Count { listen, seconds } => print(&count(*listen, *seconds)?),
            Self::Flood { target, seconds, mbit_s } => print(&flood(*target, *seconds, *mbit_s)?),
            Self::Shout { from, target, count } => print(&shout(*from, *target, *count)?),
            Self::Noise { interface, frames, seed } => print(&noise(interface, *frames, *seed)?),
        }
    }
}

fn print<T: Serialize>(result: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

/// What a stream of pings saw. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct StreamResult {
    pub(super) sent: u32,
    pub(super) lost: u32,
    pub(super) gaps: Vec<Gap>,
}

/// Requests in a row that were not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Gap {
    pub(super) lost: u32,
    /// When the last request before it was sent that was answered.
    pub(super) from_us: u64,
    /// When the first request after it was sent that was answered; none if none was.
    pub(super) to_us: Option<u64>,
}

impl StreamResult {
    /// Of requests by their time and whether each was answered.
    fn new(requests: &[(u64, bool)]) -> Self {
        let mut result = Self { sent: u32::try_from(requests.len()).unwrap_or(u32::MAX), ..Self::default() };
        let mut last = requests.first().map_or(0, |(at, _)| *at);
        for run in requests.chunk_by(|(_, a), (_, b)| a == b) {
            let [(first, answered), ..] = run else { continue };
            if *answered {
                if let Some(gap) = result.gaps.last_mut() {
                    gap.to_us.get_or_insert(*first);
                }
                last = run.last().map_or(last, |(at, _)| *at);
            } else {
                let lost = u32::try_from(run.len()).unwrap_or(u32::MAX);
                result.lost += lost;
                result.gaps.push(Gap { lost, from_us: last, to_us: None });
            }
        }
        result
    }
}

/// Sends an echo request every millisecond, and for a second more waits for answers.
fn stream(target: Ipv4Addr, seconds: u16) -> anyhow::Result<StreamResult> {
    let icmp = TransportChannelType::Layer4(TransportProtocol::Ipv4(IpNextHeaderProtocols::Icmp));
    let (mut tx, mut rx) = transport_channel(1 << 20, icmp).context("cannot open an ICMP socket")?;
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let identifier = u16::from_be_bytes([high, low]);
    let count = seconds.saturating_mul(1000);
    let done = AtomicBool::new(false);
    let answered: Mutex<HashSet<u16>> = Mutex::default();
    let mut requests = Vec::with_capacity(count.into());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut answers = icmp_packet_iter(&mut rx);
            while !done.load(Relaxed) {
                let Ok(Some((packet, from))) = answers.next_with_timeout(Duration::from_millis(100)) else {
                    continue;
                };
                let Some(reply) = EchoReplyPacket::new(packet.packet()) else { continue };
                if reply.get_icmp_type() == IcmpTypes::EchoReply
                    && reply.get_identifier() == identifier
                    && from == target
                    && let Ok(mut answered) = answered.lock()
                {
                    answered.insert(reply.get_sequence_number());
                }
            }
        });
        let start = Instant::now();
        let sent = (0..count).try_for_each(|sequence| {
            let due = start + Duration::from_millis(sequence.into());
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut buffer = [0x5a; 64];
            let request = echo_request(&mut buffer, identifier, sequence)?;
            requests.push((micros_since_1970(), sequence));
            // What cannot be sent now is a request that is not answered.
            let _ = tx.send_to(request, target.into());
            anyhow::Ok(())
        });
        std::thread::sleep(Duration::from_secs(1));
        done.store(true, Relaxed);
        sent
    })?;
    let answered = answered.into_inner().unwrap_or_default();
    let requests: Vec<_> = requests.into_iter().map(|(at, n)| (at, answered.contains(&n))).collect();
    Ok(StreamResult::new(&requests))
}

pub(super) fn micros_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn echo_request(
    buffer: &mut [u8],
    identifier: u16,
    sequence: u16,
) -> anyhow::Result<MutableEchoRequestPacket<'_>> {
    let mut request = MutableEchoRequestPacket::new(buffer).context("echo request does not fit")?;
    request.set_icmp_type(IcmpTypes::EchoRequest);
    request.set_icmp_code(IcmpCode(0));
    request.set_identifier(identifier);
    request.set_sequence_number(sequence);
    request.set_checksum(0);
    let sum = checksum(&IcmpPacket::new(request.packet()).context("echo request does not fit")?);
    request.set_checksum(sum);
    Ok(request)
}

fn ping(target: Ipv4Addr, count: u16, timeout: Duration) -> anyhow::Result<PingResult> {
    let icmp = TransportChannelType::Layer4(TransportProtocol::Ipv4(IpNextHeaderProtocols::Icmp));
    let (mut tx, mut rx) = transport_channel(4096, icmp).context("cannot open an ICMP socket")?;
    let mut answers = icmp_packet_iter(&mut rx);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let identifier = u16::from_be_bytes([high, low]);
    let mut rtts = Vec::with_capacity(usize::from(count));
    for sequence in 1..=count {
        let mut buffer = [0x5a; 64];
        let request = echo_request(&mut buffer, identifier, sequence)?;
        let sent = Instant::now();
        tx.send_to(request, target.into()).with_context(|| format!("cannot send to {target}"))?;
        while let Some(left) = timeout.checked_sub(sent.elapsed()).filter(|left| !left.is_zero()) {
            let Some((packet, from)) = answers.next_with_timeout(left)? else { break };
            let reply = EchoReplyPacket::new(packet.packet());
            let ours = reply.is_some_and(|r| {
                r.get_icmp_type() == IcmpTypes::EchoReply
                    && r.get_identifier() == identifier
                    && r.get_sequence_number() == sequence
            });
            if ours && from == target {
                rtts.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
                break;
            }
        }
    }
    rtts.sort_unstable();
    Ok(PingResult {
        sent: count,
        answered: u16::try_from(rtts.len()).unwrap_or(u16::MAX),
        rtt_min_us: rtts.first().copied().unwrap_or(0),
        rtt_median_us: rtts.get(rtts.len() / 2).copied().unwrap_or(0),
        rtt_max_us: rtts.last().copied().unwrap_or(0),
    })
}

fn sink(listen: SocketAddrV4) -> anyhow::Result<TcpResult> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    println!("ready");
    let (mut stream, _) = listener.accept()?;
    let pattern = pattern();
    let mut buffer = vec![0; BLOCK];
    let (mut octets, mut intact) = (0_u64, true);
    let mut started = None;
    let mut place = 0;
    loop {
        let read = stream.read(&mut buffer)?;
        let begun = *started.get_or_insert_with(Instant::now);
        if read == 0 {
            return Ok(TcpResult { octets, seconds: begun.elapsed().as_secs_f64(), intact });
        }
        octets += u64::try_from(read)?;
        let mut got = buffer.get(..read).unwrap_or_default();
        while !got.is_empty() {
            let due = pattern.get(place..).unwrap_or_default();
            let (now, later) = got.split_at(got.len().min(due.len()));
            intact &= due.starts_with(now);
            place = (place + now.len()) % pattern.len();
            got = later;
        }
    }
}

fn source(target: SocketAddrV4, length: Duration, mbit_s: Option<u32>) -> anyhow::Result<()> {
    let connect = TcpStream::connect_timeout(&target.into(), Duration::from_secs(5));
    let mut stream = connect.with_context(|| format!("cannot connect to {target}"))?;
    let pattern = pattern();
    let end = Instant::now() + length;
    // Octets times 8 over megabits a second: microseconds.
    let pace = mbit_s.map(|rate| Duration::from_micros(BLOCK as u64 * 8 / u64::from(rate.max(1))));
    while Instant::now() < end {
        std::thread::sleep(pace.unwrap_or_default());
        if let Err(error) = stream.write_all(&pattern) {
            bail!("the stream to {target} broke: {error}");
        }
    }
    Ok(())
}

fn flood(target: SocketAddrV4, seconds: u16, mbit_s: u32) -> anyhow::Result<FloodResult> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(target).with_context(|| format!("cannot send to {target}"))?;
    let (start, length) = (Instant::now(), Duration::from_secs(u64::from(seconds)));
    let mut datagrams = 0;
    loop {
        let passed = start.elapsed();
        if passed >= length {
            return Ok(FloodResult { datagrams });
        }
        let due = u64::try_from(passed.as_micros())? * u64::from(mbit_s) / 8 / DATAGRAM as u64;
        while datagrams < due {
            match socket.send(&[0x5a; DATAGRAM]) {
                // Who counts has seen enough.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                sent => {
                    sent.with_context(|| format!("cannot send to {target}"))?;
                }
            }
            datagrams += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn count(listen: SocketAddrV4, seconds: Option<u16>) -> anyhow::Result<CountResult> {
    let socket = UdpSocket::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    println!("ready");
    let mut result = CountResult::default();
    let mut buffer = [0; 2 * DATAGRAM];
    let mut end = None;
    socket.set_read_timeout(Some(FIRST))?;
    while end.is_none_or(|end| Instant::now() < end) {
        let octets = match socket.recv(&mut buffer) {
            Ok(octets) => octets,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        };
        if result.datagrams == 0 {
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            end = seconds.map(|seconds| Instant::now() + Duration::from_secs(u64::from(seconds)));
        }
        result.datagrams += 1;
        result.octets += u64::try_from(octets)?;
    }
    Ok(result)
}

/// Sends numbered datagrams, a millisecond apart.
fn shout(from: Ipv4Addr, target: SocketAddrV4, count: u16) -> anyhow::Result<FloodResult> {
    let socket = UdpSocket::bind((from, 0)).with_context(|| format!("cannot send from {from}"))?;
    socket.set_broadcast(true)?;
    for number in 0..count {
        socket.send_to(&number.to_be_bytes(), target).with_context(|| format!("cannot send to {target}"))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(FloodResult { datagrams: count.into() })
}

/// What a source sends over and over.
fn pattern() -> Vec<u8> {
    (0..BLOCK).map(|i| (i % 251).to_le_bytes()[0]).collect()
}

/// Octets of a datagram.
const DATAGRAM: usize = 1200;
/// How long the first one may take.
const FIRST: Duration = Duration::from_secs(10);
/// Octets written at once.
const BLOCK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_between_answers() {
        let of = |answers: &str| {
            let requests: Vec<_> = answers.bytes().zip(10..).map(|(b, at)| (at, b == b'+')).collect();
            let result = StreamResult::new(&requests);
            let gaps: Vec<_> = result.gaps.iter().map(|gap| (gap.lost, gap.from_us, gap.to_us)).collect();
            (result.sent, result.lost, gaps)
        };
        assert_eq!(of("+++"), (3, 0, vec![]));
        assert_eq!(of("++---+-+"), (8, 4, vec![(3, 11, Some(15)), (1, 15, Some(17))]));
        assert_eq!(of("+--"), (3, 2, vec![(2, 10, None)]));
        assert_eq!(of(""), (0, 0, vec![]));
    }

    #[test]
    fn a_sink_checks_every_octet() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let std::net::SocketAddr::V4(address) = free.local_addr().unwrap() else { panic!("not IPv4") };
        drop(free);
        for (damage, intact) in [(false, true), (true, false)] {
            let receiving = std::thread::spawn(move || sink(address).unwrap());
            let mut stream = loop {
                if let Ok(stream) = TcpStream::connect(address) {
                    break stream;
                }
            };
            let mut data = pattern().repeat(2);
            if damage {
                data[BLOCK + 7] ^= 1;
            }
            stream.write_all(&data).unwrap();
            drop(stream);
            let result = receiving.join().unwrap();
            assert_eq!((result.octets, result.intact), (2 * BLOCK as u64, intact));
        }
    }
}
