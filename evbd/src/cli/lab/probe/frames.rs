//! Whole frames: noise, and a look at a wire.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail};
use carrier::{Batch, Options, PacketPort};
use ether::{EtherType, MacAddr, Tag, Vid, frame, mac};
use pnet::datalink::{self, Channel};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// Frames on a wire with the same tags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Seen {
    pub(in super::super) svid: Option<u16>,
    /// Whether there was a C-tag.
    pub(in super::super) tagged: bool,
    pub(in super::super) frames: u64,
}

/// Looks at the frames of an interface until standard input ends; writes them to `file`.
pub(super) fn tags(interface: &str, file: &Path) -> anyhow::Result<Vec<Seen>> {
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

/// Sends `frames` frames that a peer out of its mind might send: noise, and control frames with octets changed.
pub(super) fn noise(interface: &str, frames: u64, seed: u64) -> anyhow::Result<u64> {
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

/// The head of a pcap file of Ethernet frames, 256 KiB at most, with microseconds.
const PCAP: [u8; 24] = [0xa1, 0xb2, 0xc3, 0xd4, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1];
