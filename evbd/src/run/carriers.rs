//! What moves the frames of a port, and why that.

use std::collections::HashMap;

use carrier::{OpenError, Options, PacketPort, WorkerError, WorkerHandle, XdpMode, XdpOptions, XdpPort};
use hairpin::PortId;
use serde::Serialize;

use crate::config::Choice;

/// What moves the frames of a port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Carried {
    carrier: Name,
    /// Why it is that one.
    carrier_because: String,
}

impl Carried {
    pub(super) const fn by_xdp(&self) -> bool {
        matches!(self.carrier, Name::Xdp)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Packet,
    Xdp,
}

/// A port to be given to the worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) port: PortId,
    pub(super) interface: &'a str,
    pub(super) ifindex: u32,
    pub(super) choice: Choice,
    /// Probes of reflective relay come back by it.
    pub(super) probed: bool,
    /// Slots of a receive ring.
    pub(super) ring: u32,
}

/// Opens ports for a worker, by the carrier that is asked for or that fits.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    /// Interfaces by number that have shown to be no better off by AF_XDP. Network cards start anew where a program is
    /// attached or taken off: that is not to be tried again and again.
    packet: HashMap<u32, String>,
}

impl Carriers {
    /// Gives the port to `worker`.
    ///
    /// # Errors
    /// Neither carrier can move its frames, or not the one that is asked for.
    pub(super) fn serve(&mut self, worker: &WorkerHandle, wanted: &Wanted<'_>) -> anyhow::Result<Carried> {
        let because = match wanted.choice {
            Choice::Packet => "asked for".to_owned(),
            Choice::Xdp => {
                let mode = xdp(worker, wanted, false).map_err(Failed::into_error)?;
                return Ok(Carried { carrier: Name::Xdp, carrier_because: asked_for(mode).to_owned() });
            }
            Choice::Auto => match self.packet.get(&wanted.ifindex) {
                Some(reason) => reason.clone(),
                None => match xdp(worker, wanted, true) {
                    Ok(_) => {
                        let because = "zero copy".to_owned();
                        return Ok(Carried { carrier: Name::Xdp, carrier_because: because });
                    }
                    Err(Failed::Open(error)) => error.reason(),
                    Err(Failed::Join(WorkerError::Join(error))) => {
                        let reason = error.reason();
                        self.packet.insert(wanted.ifindex, reason.clone());
                        reason
                    }
                    Err(Failed::Join(error)) => return Err(error.into()),
                },
            },
        };
        let options = options(wanted);
        worker
            .add_port(wanted.port, PacketPort::open_group(wanted.interface, &options, worker.threads())?)?;
        Ok(Carried { carrier: Name::Packet, carrier_because: because })
    }
}

/// Why a port is no xdp port.
enum Failed {
    Open(OpenError),
    Join(WorkerError),
}

impl Failed {
    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Open(error) => error.into(),
            Self::Join(error) => error.into(),
        }
    }
}

fn xdp(worker: &WorkerHandle, wanted: &Wanted<'_>, zero_copy_only: bool) -> Result<XdpMode, Failed> {
    let xdp = XdpOptions { keep_probes: wanted.probed, zero_copy_only };
    let (count, first) = (worker.threads(), wanted.port.index());
    let group = XdpPort::open_group(wanted.interface, xdp, &options(wanted), count, first);
    let (mode, ports) = group.map_err(Failed::Open)?;
    worker.add_port(wanted.port, ports).map_err(Failed::Join)?;
    Ok(mode)
}

fn options(wanted: &Wanted<'_>) -> Options {
    Options { ring: wanted.ring, ..Options::default() }
}

const fn asked_for(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Generic => "asked for; its driver has no XDP, frames come later and cost more",
        XdpMode::Native | XdpMode::ZeroCopy => "asked for",
    }
}
