//! Control frames of extended ports: one socket for all behind a cascade port, for a socket each would have the kernel ask
//! thousands of filters about every frame.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use carrier::{ControlSocket, Listen};
use ether::{DownTag, EtherType, Framing, MacAddr, Pcid, Pcp, UpTag};
use hairpin::PortId;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    control::{ECP, ECP_DRAFT, HearingRow, Watched, receive, watched},
    hearing::Method,
};
use crate::input::Link;

/// The sockets of cascade ports for what is behind them.
#[derive(Default)]
pub(super) struct Extended {
    cascades: HashMap<PortId, Cascade>,
    ends: HashMap<PortId, (PortId, Pcid)>,
}

/// What an extended port is behind.
pub(super) struct Line<'a> {
    pub(super) cascade: PortId,
    pub(super) interface: &'a str,
    pub(super) framing: Framing,
    /// Frames may have their port in place of the ingress identifier.
    pub(super) ingress_form: bool,
    /// Where LLDP is listened to.
    pub(super) groups: &'a [MacAddr],
    /// Of the cascade port.
    pub(super) link: &'a Link,
}

/// The socket of one cascade port.
struct Cascade {
    ifindex: u32,
    framing: Framing,
    ingress_form: bool,
    groups: BTreeSet<MacAddr>,
    socket: Watched,
    reader: JoinHandle<()>,
    ports: Ports,
}

/// The extended ports by channel, as the reader looks them up.
type Ports = Arc<Mutex<HashMap<Pcid, PortId>>>;

impl Extended {
    /// Opens or keeps the socket of a cascade port for the extended ports `ends`; closes it where there are none or there
    /// is no interface.
    pub(super) fn follow(
        &mut self,
        line: &Line<'_>,
        ends: Vec<(PortId, Pcid)>,
        frames: &mpsc::Sender<(PortId, Vec<u8>)>,
    ) -> anyhow::Result<()> {
        self.ends.retain(|_, (cascade, _)| *cascade != line.cascade);
        let Link::Present { ifindex, .. } = *line.link else {
            drop(self.cascades.remove(&line.cascade));
            return Ok(());
        };
        if ends.is_empty() {
            drop(self.cascades.remove(&line.cascade));
            return Ok(());
        }
        self.ends.extend(ends.iter().map(|(port, pcid)| (*port, (line.cascade, *pcid))));
        let groups: BTreeSet<MacAddr> = line.groups.iter().copied().collect();
        let stays =
            self.cascades.get(&line.cascade).filter(|open| open.serves(line) && open.groups == groups);
        let known = ends.into_iter().map(|(port, pcid)| (pcid, port)).collect();
        if let Some(open) = stays {
            *open.ports.lock().unwrap_or_else(PoisonError::into_inner) = known;
            return Ok(());
        }
        let list: Vec<MacAddr> = groups.iter().copied().collect();
        let lldp = Listen { ethertype: EtherType::LLDP, groups: &list, tagged: false };
        let wanted = [lldp, ECP, ECP_DRAFT];
        let socket = ControlSocket::open_extended(line.interface, line.framing, &wanted)?;
        let socket: Watched = Arc::new(watched(socket)?);
        let ports = Arc::new(Mutex::new(known));
        let reader = tokio::spawn(read(
            (line.framing, line.ingress_form),
            Arc::clone(&socket),
            Arc::clone(&ports),
            frames.clone(),
        ));
        let Line { framing, ingress_form, .. } = *line;
        let open = Cascade { ifindex, framing, ingress_form, groups, socket, reader, ports };
        self.cascades.insert(line.cascade, open);
        Ok(())
    }

    /// Takes up one more extended port where the cascade port's socket can stay as it is; else, all that are to be there
    /// when another one is opened.
    pub(super) fn with(&mut self, line: &Line<'_>, (port, pcid): (PortId, Pcid)) -> Vec<(PortId, Pcid)> {
        if let Some(before) = self.ends.insert(port, (line.cascade, pcid))
            && before != (line.cascade, pcid)
        {
            self.forget(before);
        }
        match self.cascades.get(&line.cascade).filter(|open| open.serves(line)) {
            Some(open) => {
                open.ports.lock().unwrap_or_else(PoisonError::into_inner).insert(pcid, port);
                Vec::new()
            }
            None => {
                let here = self.ends.iter().filter(|(_, (cascade, _))| *cascade == line.cascade);
                here.map(|(port, (_, pcid))| (*port, *pcid)).collect()
            }
        }
    }

    /// Forgets an extended port, or what is behind a cascade port.
    pub(super) fn release(&mut self, port: PortId) {
        drop(self.cascades.remove(&port));
        if let Some(end) = self.ends.remove(&port) {
            self.forget(end);
        }
    }

    /// Nothing is at the end of this channel any more.
    fn forget(&mut self, (cascade, pcid): (PortId, Pcid)) {
        let Some(open) = self.cascades.get(&cascade) else { return };
        let none_left = {
            let mut ports = open.ports.lock().unwrap_or_else(PoisonError::into_inner);
            ports.remove(&pcid);
            ports.is_empty()
        };
        if none_left {
            self.cascades.remove(&cascade);
        }
    }

    /// Sends a frame, if `port` is an extended one. What the kernel does not take is lost, as on a wire.
    pub(super) fn send(&self, port: PortId, frame: &[u8]) -> bool {
        let Some((cascade, pcid)) = self.ends.get(&port) else { return false };
        let Some(open) = self.cascades.get(cascade) else { return true };
        let tag = DownTag { to: (*pcid).into(), source: None, pcp: Pcp::from_low_bits(7), dei: false };
        if let (Some(tag), Some((addresses, rest))) =
            (tag.octets(open.framing), frame.split_at_checked(ADDRESSES))
        {
            let tagged = [addresses, tag.as_slice(), rest].concat();
            if let Err(error) = open.socket.get_ref().send(&tagged) {
                tracing::debug!(port = port.0, %error, "control frame not sent");
            }
        }
        true
    }

    /// How an extended port hears.
    pub(super) fn hearing(&self, port: PortId) -> HearingRow {
        let open = self.ends.get(&port).filter(|(cascade, _)| self.cascades.contains_key(cascade));
        HearingRow {
            hearing: open.map(|_| Method::Tap),
            hearing_because: open.map(|(_, pcid)| format!("E-channel {pcid}")),
            ..HearingRow::default()
        }
    }
}

impl Cascade {
    /// Whether its socket hears what one for `line` would.
    fn serves(&self, line: &Line<'_>) -> bool {
        matches!(*line.link, Link::Present { ifindex, .. } if ifindex == self.ifindex)
            && (self.framing, self.ingress_form) == (line.framing, line.ingress_form)
            && line.groups.iter().all(|group| self.groups.contains(group))
            && self.socket.get_ref().is_bound()
    }
}

impl Drop for Cascade {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Reads frames until the interface fails or the daemon ends.
async fn read(form: (Framing, bool), socket: Watched, ports: Ports, frames: mpsc::Sender<(PortId, Vec<u8>)>) {
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|fd| receive(fd.get_ref(), true)) {
            Ok(Ok(frame)) => {
                let of = |pcid| ports.lock().unwrap_or_else(PoisonError::into_inner).get(&pcid).copied();
                let Some((port, frame)) = frame.and_then(|frame| untagged(form, &frame, of)) else {
                    continue;
                };
                if frames.send((port, frame)).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "control socket of extended ports");
                if error.kind() != std::io::ErrorKind::NetworkDown {
                    return;
                }
            }
            Err(_would_block) => {}
        }
    }
}

/// The frame without its tag, and the extended port it came in on.
fn untagged(
    (framing, ingress_form): (Framing, bool),
    frame: &[u8],
    port: impl Fn(Pcid) -> Option<PortId>,
) -> Option<(PortId, Vec<u8>)> {
    let (addresses, rest) = frame.split_at_checked(ADDRESSES)?;
    let parse = if ingress_form { UpTag::parse_either } else { UpTag::parse };
    let tag = parse(framing, rest).ok()?;
    Some((port(tag.source)?, [addresses, rest.get(framing.overhead()..)?].concat()))
}

const ADDRESSES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_says_which_port() {
        let frame = [&[1; 12][..], &[0x89, 0x3f, 0xe0, 0, 0, 7, 0, 0], &[0x88, 0xcc, 9]].concat();
        let of = |pcid: Pcid| (pcid.get() == 7).then_some(PortId(3));
        let plain = [&[1; 12][..], &[0x88, 0xcc, 9]].concat();
        let other = [&[1; 12][..], &[0x89, 0x3f, 0xe0, 7, 0, 0, 0, 0], &[0x88, 0xcc, 9]].concat();
        assert_eq!(untagged((Framing::Etag, false), &other, of), None);
        assert_eq!(untagged((Framing::Etag, true), &other, of), Some((PortId(3), plain.clone())));
        assert_eq!(untagged((Framing::Etag, false), &frame, of), Some((PortId(3), plain)));
        assert_eq!(untagged((Framing::Etag, false), &frame, |_| None), None);
        assert_eq!(untagged((Framing::Vntag, false), &frame, of), None);
        (0..20).for_each(|len| assert_eq!(untagged((Framing::Etag, false), &frame[..len], of), None));
    }
}
