//! A TCP stream of which every octet is checked.

use std::{
    io::{Read, Write},
    net::{SocketAddrV4, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// What a sink saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct TcpResult {
    pub(in super::super) octets: u64,
    pub(in super::super) seconds: f64,
    pub(in super::super) intact: bool,
}

/// Takes one stream.
pub(super) fn sink(listen: SocketAddrV4) -> anyhow::Result<TcpResult> {
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

/// Sends a stream for `length`, no faster than so many Mbit/s.
pub(super) fn source(target: SocketAddrV4, length: Duration, mbit_s: Option<u32>) -> anyhow::Result<()> {
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

/// What a source sends over and over.
fn pattern() -> Vec<u8> {
    (0..BLOCK).map(|i| (i % 251).to_le_bytes()[0]).collect()
}

/// Octets written at once.
const BLOCK: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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
