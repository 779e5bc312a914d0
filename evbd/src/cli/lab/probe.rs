//! Traffic ends that run inside a VM's namespace: a pinger, a TCP source and a TCP sink.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Subcommand;
use ether::{EtherType, MacAddr, frame, mac};
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

impl Probe {
    /// Plays the end.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Ping { target, count, timeout_ms } => {
                print(&ping(*target, *count, Duration::from_millis(*timeout_ms))?)
            }
            Self::Sink { listen } => print(&sink(*listen)?),
            Self::Source { target, seconds } => source(*target, Duration::from_secs(u64::from(*seconds))),
            Self::Noise { interface, frames, seed } => print(&noise(interface, *frames, *seed)?),
        }
    }
}

fn print<T: Serialize>(result: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
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
        let mut request = MutableEchoRequestPacket::new(&mut buffer).context("echo request does not fit")?;
        request.set_icmp_type(IcmpTypes::EchoRequest);
        request.set_icmp_code(IcmpCode(0));
        request.set_identifier(identifier);
        request.set_sequence_number(sequence);
        request.set_checksum(0);
        let sum = checksum(&IcmpPacket::new(request.packet()).context("echo request does not fit")?);
        request.set_checksum(sum);
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

fn source(target: SocketAddrV4, length: Duration) -> anyhow::Result<()> {
    let connect = TcpStream::connect_timeout(&target.into(), Duration::from_secs(5));
    let mut stream = connect.with_context(|| format!("cannot connect to {target}"))?;
    let pattern = pattern();
    let end = Instant::now() + length;
    while Instant::now() < end {
        if let Err(error) = stream.write_all(&pattern) {
            bail!("the stream to {target} broke: {error}");
        }
    }
    Ok(())
}

/// What a source sends over and over.
fn pattern() -> Vec<u8> {
    (0..BLOCK).map(|i| (i % 251).to_le_bytes()[0]).collect()
}

/// Octets written at once.
const BLOCK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

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
