//! Datagrams: at a steady pace, to everybody, and counted.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What a flood sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct FloodResult {
    pub(in super::super) datagrams: u64,
}

/// What a counter saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in super::super) struct CountResult {
    pub(in super::super) datagrams: u64,
    pub(in super::super) octets: u64,
}

/// Sends datagrams at a steady pace.
pub(super) fn flood(target: SocketAddrV4, seconds: u16, mbit_s: u32) -> anyhow::Result<FloodResult> {
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

/// Counts those that arrive.
pub(super) fn count(listen: SocketAddrV4, seconds: Option<u16>) -> anyhow::Result<CountResult> {
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
pub(super) fn shout(from: Ipv4Addr, target: SocketAddrV4, count: u16) -> anyhow::Result<FloodResult> {
    let socket = UdpSocket::bind((from, 0)).with_context(|| format!("cannot send from {from}"))?;
    socket.set_broadcast(true)?;
    for number in 0..count {
        socket.send_to(&number.to_be_bytes(), target).with_context(|| format!("cannot send to {target}"))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(FloodResult { datagrams: count.into() })
}

/// Octets of a datagram.
const DATAGRAM: usize = 1200;
/// How long the first one may take.
const FIRST: Duration = Duration::from_secs(10);
