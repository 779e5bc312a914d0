//! Control sockets: one for LLDP and one for ECP on each port that speaks, read by a task each.

use std::{collections::HashMap, os::fd::AsRawFd, sync::Arc};

use carrier::ControlSocket;
use ether::{EtherType, MacAddr, mac};
use hairpin::PortId;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::JoinHandle,
};

use crate::input::Link;

/// The control sockets of all ports.
pub(super) struct ControlSockets {
    frames: mpsc::Sender<(PortId, Vec<u8>)>,
    open: HashMap<PortId, Open>,
}

/// The sockets of one port; dropping them ends their tasks.
struct Open {
    ifindex: u32,
    sender: Arc<AsyncFd<ControlSocket>>,
    readers: Vec<JoinHandle<()>>,
}

impl Drop for Open {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

/// Which frames a speaking port listens to.
const LISTEN: [(EtherType, &[MacAddr]); 2] = [
    (EtherType::LLDP, &[mac::NEAREST_BRIDGE, mac::NEAREST_NON_TPMR_BRIDGE, mac::NEAREST_CUSTOMER_BRIDGE]),
    (EtherType::ECP, &[mac::NEAREST_CUSTOMER_BRIDGE]),
];

impl ControlSockets {
    pub(super) fn new(frames: mpsc::Sender<(PortId, Vec<u8>)>) -> Self {
        Self { frames, open: HashMap::new() }
    }

    /// Opens, keeps or closes the sockets of a port as its interface comes, stays or goes.
    pub(super) fn follow(&mut self, port: PortId, interface: &str, link: &Link) {
        let Link::Present { ifindex, .. } = link else {
            self.open.remove(&port);
            return;
        };
        if self.open.get(&port).is_some_and(|open| open.ifindex == *ifindex) {
            return;
        }
        self.open.remove(&port);
        match self.open(port, interface, *ifindex) {
            Ok(open) => {
                self.open.insert(port, open);
            }
            Err(error) => tracing::error!(port = interface, %error, "no control protocols on this port"),
        }
    }

    /// Sends a frame. What the kernel does not take is lost, as on a wire; the engines repeat what matters.
    pub(super) fn send(&self, port: PortId, frame: &[u8]) {
        let Some(open) = self.open.get(&port) else { return };
        if let Err(error) = open.sender.get_ref().send(frame) {
            tracing::debug!(port = port.0, %error, "control frame not sent");
        }
    }

    fn open(&self, port: PortId, interface: &str, ifindex: u32) -> anyhow::Result<Open> {
        let mut sockets = Vec::new();
        for (ethertype, groups) in LISTEN {
            let socket = ControlSocket::open(interface, ethertype, groups)?;
            sockets.push(Arc::new(watched(socket)?));
        }
        let sender = sockets.first().cloned().ok_or_else(|| anyhow::anyhow!("no socket"))?;
        let readers =
            sockets.into_iter().map(|socket| tokio::spawn(read(port, socket, self.frames.clone()))).collect();
        Ok(Open { ifindex, sender, readers })
    }
}

/// Its replacement is `unsafe`, for types that could give their descriptor away; a [`ControlSocket`] owns its own from
/// `open` to `drop`.
#[allow(deprecated)]
fn watched(socket: ControlSocket) -> std::io::Result<AsyncFd<ControlSocket>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Reads frames until the interface fails or the daemon ends.
async fn read(port: PortId, socket: Arc<AsyncFd<ControlSocket>>, frames: mpsc::Sender<(PortId, Vec<u8>)>) {
    let mut buffer = vec![0; CONTROL_MTU];
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        match ready.try_io(|fd| fd.get_ref().recv(&mut buffer)) {
            Ok(Ok(received)) => {
                // A tagged frame belongs to an S-channel, and none is configured.
                if received.foreign || received.truncated {
                    tracing::debug!(port = port.0, ?received, "control frame ignored");
                    continue;
                }
                let Some(frame) = buffer.get(..received.len) else { continue };
                if frames.send((port, frame.to_vec())).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(port = port.0, fd = socket.get_ref().as_raw_fd(), %error, "control socket");
                if error.kind() != std::io::ErrorKind::NetworkDown {
                    return;
                }
            }
            Err(_would_block) => {}
        }
    }
}

/// LLDPDUs and ECPDUs fit an ordinary frame; longer ones are cut and fail their parser.
const CONTROL_MTU: usize = 9216;
