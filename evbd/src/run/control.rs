//! Control sockets of the ports that speak, read by a task each.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use carrier::{ControlSocket, LeakBlock, Listen};
use ether::{EtherType, Framing, MacAddr, Pcid, Vid, mac};
use hairpin::PortId;
use serde::Serialize;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    extended::{Extended, Line},
    hearing::{self, Hearing, Leak, Method},
};
use crate::{input::Link, kernel::links::Seen, port::PortKind};

/// The control sockets of all ports.
pub(crate) struct ControlSockets {
    frames: mpsc::Sender<(PortId, Vec<u8>)>,
    ports: HashMap<PortId, Result<Open, String>>,
    extended: Extended,
}

/// How a port hears, for the operator.
#[derive(Default, Serialize)]
pub(crate) struct HearingRow {
    /// The method; none where no control frame is heard.
    pub(super) hearing: Option<Method>,
    /// Why this method, or why none.
    pub(super) hearing_because: Option<String>,
    /// What becomes of LLDP and ECP the bridge would forward: `"blocked"` or `"not blocked (why)"`; none where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leak: Option<String>,
    /// Frames blocked, by direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) leak_blocked: Option<carrier::Blocked>,
}

pub(super) type Watched = Arc<AsyncFd<ControlSocket>>;

/// The sockets of one port.
struct Open {
    ifindex: u32,
    /// The S-VLAN of an S-channel.
    svid: Option<Vid>,
    hearing: Hearing,
    /// Where LLDP is listened to.
    groups: Vec<MacAddr>,
    sockets: Vec<Watched>,
    readers: Vec<JoinHandle<()>>,
    block: Option<Result<LeakBlock, String>>,
}

/// What a speaking port listens to beside LLDP. Only
/// probes, which come back to a station's uplink, have a VLAN, their VSI's.
pub(super) const ECP: Listen<'_> =
    Listen { ethertype: EtherType::ECP, groups: &[mac::NEAREST_CUSTOMER_BRIDGE], tagged: false };
/// ECP of draft 0.2.
pub(super) const ECP_DRAFT: Listen<'_> =
    Listen { ethertype: EtherType::OUI_EXTENDED, groups: &[mac::NEAREST_BRIDGE], tagged: false };
const PROBES: Listen<'_> = Listen { ethertype: EtherType::PROBE, groups: &[mac::PROBE_GROUP], tagged: true };

impl ControlSockets {
    pub(super) fn new(frames: mpsc::Sender<(PortId, Vec<u8>)>) -> Self {
        Self { frames, ports: HashMap::new(), extended: Extended::default() }
    }

    /// Opens, keeps or closes the sockets of a port as its interface comes, changes its master, or goes.
    /// `groups` are those its LLDP agents listen to.
    pub(super) fn follow(
        &mut self,
        port: PortId,
        kind: PortKind,
        interface: &str,
        svid: Option<Vid>,
        groups: Vec<MacAddr>,
        seen: &Seen,
    ) {
        let Link::Present { ifindex, .. } = seen.link else {
            if let Some(Ok(open)) = self.ports.remove(&port) {
                open.close();
            }
            return;
        };
        let hearing = match svid {
            Some(svid) => Hearing::of_channel(svid),
            None => hearing::choose(seen.master.as_ref()),
        };
        let entry = self.ports.entry(port);
        if let Entry::Occupied(mut entry) = entry {
            if let Ok(open) = entry.get_mut()
                && open.serves(ifindex, svid, hearing.method, &groups)
            {
                return open.adapt(interface, hearing);
            }
            if let Ok(open) = entry.remove() {
                open.close();
            }
        }
        tracing::info!(port = interface, method = ?hearing.method, because = hearing.because, "hearing");
        let mut open =
            Open { ifindex, svid, hearing, groups, sockets: Vec::new(), readers: Vec::new(), block: None };
        let opened = open.open(port, kind, interface, &self.frames);
        let open = opened.map(|()| open).map_err(|error| format!("{error:#}"));
        if let Err(error) = &open {
            tracing::error!(port = interface, %error, "no control protocols on this port");
        }
        self.ports.insert(port, open);
    }

    /// Closes the sockets of a port that is there no more.
    pub(super) fn release(&mut self, port: PortId) {
        self.extended.release(port);
        if let Some(Ok(open)) = self.ports.remove(&port) {
            open.close();
        }
    }

    /// Takes up one extended port behind `cascade`, as [`ControlSockets::follow_extended`] takes up all.
    pub(super) fn follow_end(
        &mut self,
        cascade: PortId,
        interface: &str,
        form: (Framing, bool),
        end: (PortId, Pcid),
        groups: &[MacAddr],
        link: &Link,
    ) {
        let (framing, ingress_form) = form;
        let line = Line { cascade, interface, framing, ingress_form, groups, link };
        let ends = self.extended.with(&line, end);
        if !ends.is_empty() {
            self.follow_extended(cascade, interface, form, ends, groups, link);
        }
    }

    /// Takes up the extended ports behind `cascade`, whose interface has this link, with their E-channels. `groups` are
    /// those their LLDP agents listen to.
    pub(super) fn follow_extended(
        &mut self,
        cascade: PortId,
        interface: &str,
        (framing, ingress_form): (Framing, bool),
        ends: Vec<(PortId, Pcid)>,
        groups: &[MacAddr],
        link: &Link,
    ) {
        let line = Line { cascade, interface, framing, ingress_form, groups, link };
        if let Err(error) = self.extended.follow(&line, ends, &self.frames) {
            tracing::error!(
                port = interface,
                error = format!("{error:#}"),
                "no control protocols on its extended ports"
            );
        }
    }

    /// Sends a frame. What the kernel does not take is lost, as on a wire; the engines repeat what matters.
    pub(super) fn send(&self, port: PortId, frame: &[u8]) {
        if self.extended.send(port, frame) {
            return;
        }
        let Some(Ok(open)) = self.ports.get(&port) else { return };
        let Some(socket) = open.sockets.first() else { return };
        if let Err(error) = socket.get_ref().send(frame) {
            tracing::debug!(port = port.0, %error, "control frame not sent");
        }
    }

    /// How a port hears.
    pub(crate) fn hearing(&self, port: PortId) -> HearingRow {
        match self.ports.get(&port) {
            None => self.extended.hearing(port),
            Some(Err(error)) => HearingRow { hearing_because: Some(error.clone()), ..HearingRow::default() },
            Some(Ok(open)) => HearingRow {
                hearing: Some(open.hearing.method),
                hearing_because: Some(open.hearing.because.clone()),
                leak: match (&open.block, open.hearing.leak) {
                    (Some(Ok(_)), _) => Some("blocked".to_owned()),
                    (Some(Err(error)), _) => Some(format!("not blocked ({error})")),
                    (None, Leak::Wanted) => Some("not blocked (group_fwd_mask asks for it)".to_owned()),
                    (None, Leak::None | Leak::ToBlock) => None,
                },
                leak_blocked: open.block.as_ref().and_then(|b| b.as_ref().ok()).map(LeakBlock::blocked),
            },
        }
    }
}

impl Open {
    fn open(
        &mut self,
        port: PortId,
        kind: PortKind,
        interface: &str,
        frames: &mpsc::Sender<(PortId, Vec<u8>)>,
    ) -> anyhow::Result<()> {
        let lldp = Listen { ethertype: EtherType::LLDP, groups: &self.groups, tagged: false };
        let probes = (kind == PortKind::Uplink).then_some(PROBES);
        let wanted: Vec<_> = [lldp, ECP, ECP_DRAFT].into_iter().chain(probes).collect();
        let opened = match self.hearing.method {
            Method::Tap if let Some(svid) = self.svid => {
                vec![(ControlSocket::open_channel(interface, svid, &wanted)?, true)]
            }
            // The filter lets only through what is to be read.
            Method::Tap => vec![(ControlSocket::open_tap(interface, &wanted)?, true)],
            Method::EtherType => wanted
                .iter()
                .map(|listen| {
                    let socket = ControlSocket::open(interface, listen.ethertype, listen.groups)?;
                    Ok((socket, listen.tagged))
                })
                .collect::<anyhow::Result<_>>()?,
        };
        for (socket, foreign) in opened {
            let socket = Arc::new(watched(socket)?);
            self.readers.push(tokio::spawn(read(port, foreign, Arc::clone(&socket), frames.clone())));
            self.sockets.push(socket);
        }
        self.block(interface);
        Ok(())
    }

    /// Whether these sockets are what a port with this interface, method and groups needs.
    fn serves(&self, ifindex: u32, svid: Option<Vid>, method: Method, groups: &[MacAddr]) -> bool {
        // An interface that was in another namespace meanwhile comes back with its number, its sockets do not.
        let bound = self.sockets.iter().all(|socket| socket.get_ref().is_bound());
        (self.ifindex, self.svid) == (ifindex, svid)
            && self.hearing.method == method
            && self.groups == groups
            && bound
    }

    /// Takes up what has changed beside the method.
    fn adapt(&mut self, interface: &str, hearing: Hearing) {
        if self.hearing != hearing {
            self.hearing = hearing;
            self.block(interface);
        }
    }

    /// Blocks a leak that is to be blocked, and no other.
    fn block(&mut self, interface: &str) {
        if self.hearing.leak != Leak::ToBlock {
            self.block = None;
        } else if !matches!(self.block, Some(Ok(_))) {
            let block = LeakBlock::install(interface).map_err(|error| error.to_string());
            if let Err(error) = &block {
                tracing::warn!(port = interface, %error, "the bridge forwards control frames");
            }
            self.block = Some(block);
        }
    }

    /// Ends the tasks and closes the sockets. The kernel takes milliseconds for each; nobody is kept waiting for it.
    fn close(self) {
        let Self { readers, sockets, block, .. } = self;
        // At once: what comes next may be heard only past it.
        drop(block);
        for reader in &readers {
            reader.abort();
        }
        tokio::spawn(async move {
            for reader in readers {
                // It says that it was cancelled; now it holds no socket any more.
                let _ = reader.await;
            }
            tokio::task::spawn_blocking(move || drop(sockets));
        });
    }
}

/// Its replacement is `unsafe`, for types that could give their descriptor away; a [`ControlSocket`] owns its own from
/// `open` to `drop`.
#[allow(deprecated)]
pub(super) fn watched(socket: ControlSocket) -> std::io::Result<AsyncFd<ControlSocket>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Reads frames until the interface fails or the daemon ends; `foreign` ones too, or not.
async fn read(port: PortId, foreign: bool, socket: Watched, frames: mpsc::Sender<(PortId, Vec<u8>)>) {
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|fd| receive(fd.get_ref(), foreign)) {
            Ok(Ok(Some(frame))) => {
                if frames.send((port, frame)).await.is_err() {
                    return;
                }
            }
            Ok(Ok(None)) => tracing::debug!(port = port.0, "control frame ignored: foreign or too long"),
            Ok(Err(error)) => {
                tracing::debug!(port = port.0, %error, "control socket");
                if error.kind() != std::io::ErrorKind::NetworkDown {
                    return;
                }
            }
            Err(_would_block) => {}
        }
    }
}

/// The next frame; `None` for one that is not for us. The buffer lives only for the call: a thousand ports that wait
/// have none.
pub(super) fn receive(socket: &ControlSocket, foreign: bool) -> std::io::Result<Option<Vec<u8>>> {
    let mut buffer = [0; CONTROL_MTU];
    let received = socket.recv(&mut buffer)?;
    if received.truncated || received.foreign && !foreign {
        return Ok(None);
    }
    Ok(buffer.get(..received.len).map(<[u8]>::to_vec))
}

/// LLDPDUs and ECPDUs fit an ordinary frame; longer ones are cut and fail their parser.
const CONTROL_MTU: usize = 9216;
