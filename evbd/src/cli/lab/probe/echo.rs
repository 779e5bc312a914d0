//! Echo requests: one after the other, and at a steady pace.

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use pnet::{
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
use serde::{Deserialize, Serialize};

/// What a pinger saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct PingResult {
    pub(in super::super) sent: u16,
    pub(in super::super) answered: u16,
    /// Of the answered; microseconds.
    pub(in super::super) rtt_min_us: u64,
    pub(in super::super) rtt_median_us: u64,
    pub(in super::super) rtt_max_us: u64,
}

/// Sends echo requests, each when the one before is answered or `timeout` has passed.
pub(super) fn ping(target: Ipv4Addr, count: u16, timeout: Duration) -> anyhow::Result<PingResult> {
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

/// What a stream of pings saw. Times are microseconds since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in super::super) struct StreamResult {
    pub(in super::super) sent: u32,
    pub(in super::super) lost: u32,
    pub(in super::super) gaps: Vec<Gap>,
}

/// Requests in a row that were not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Gap {
    pub(in super::super) lost: u32,
    /// When the last request before it was sent that was answered.
    pub(in super::super) from_us: u64,
    /// When the first request after it was sent that was answered; none if none was.
    pub(in super::super) to_us: Option<u64>,
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
pub(super) fn stream(target: Ipv4Addr, seconds: u16) -> anyhow::Result<StreamResult> {
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

pub(in super::super) fn micros_since_1970() -> u64 {
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
}
