//! What moves the frames of a port, and why that.

use std::{collections::HashMap, sync::Arc};

use carrier::{
    ChannelFilter, ChannelTags, FastPath, OpenError, Options, PacketPort, Step, WorkerError, WorkerHandle,
    XdpMode, XdpOptions, XdpPort,
};
use ether::Vid;
use hairpin::PortId;
use serde::Serialize;

use crate::config::Choice;

/// What moves the frames of a port.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Carried {
    carrier: Name,
    /// Why it is that one.
    carrier_because: String,
    /// The kernel forwards what is settled.
    fast_path: bool,
    /// Why it does not.
    fast_path_because: Option<String>,
    /// Why super-frames are cut before they get the tag of an E-channel; none where they keep whole, or get none.
    cut_because: Option<String>,
}

impl Carried {
    pub(super) fn by_kernel(because: &str) -> Self {
        Self {
            carrier: Name::Kernel,
            carrier_because: because.to_owned(),
            fast_path: false,
            fast_path_because: None,
            cut_because: None,
        }
    }

    const fn xdp(carrier_because: String) -> Self {
        Self {
            carrier: Name::Xdp,
            carrier_because,
            fast_path: false,
            fast_path_because: None,
            cut_because: None,
        }
    }

    /// Whether the kernel forwards its frames where that is settled.
    pub(crate) const fn is_fast(&self) -> bool {
        self.fast_path
    }

    pub(super) const fn by_xdp(&self) -> bool {
        matches!(self.carrier, Name::Xdp)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Packet,
    Xdp,
    Kernel,
}

/// A port to be given to the worker.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) port: PortId,
    pub(super) interface: &'a str,
    pub(super) ifindex: u32,
    pub(super) choice: Choice,
    /// Probes of reflective relay come back by it.
    pub(super) probed: bool,
    /// It is of port extension: a cascade or upstream port, or a port extender's.
    pub(super) extends: bool,
    /// Nothing that comes is for this host: it is a port extender's, and not towards its bridge.
    pub(super) everything: bool,
    /// The tags of E-channels that frames come in with.
    pub(super) tags: Option<ChannelTags>,
    /// Slots of a receive ring.
    pub(super) ring: u32,
    /// The S-VLAN of an S-channel.
    pub(super) svid: Option<Vid>,
    /// Where there may be S-channels: the S-VLANs of those that have ports of their own.
    pub(super) channels: Option<&'a [Vid]>,
}

/// Opens ports for a worker, by the carrier that is asked for or that fits.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    /// Interfaces by number that have shown to be no better off by AF_XDP. Network cards start anew where a program is
    /// attached or taken off: that is not to be tried again and again.
    packet: HashMap<u32, String>,
}

impl Carriers {
    /// Gives the port to `worker`, and makes it part of `fast`, or it is said why not.
    ///
    /// # Errors
    /// Neither carrier can move its frames, or not the one that is asked for.
    pub(super) fn serve(
        &mut self,
        worker: &WorkerHandle,
        fast: &Result<Arc<FastPath>, String>,
        wanted: &Wanted<'_>,
    ) -> anyhow::Result<(Carried, Vec<ChannelFilter>)> {
        let because = match wanted.choice {
            Choice::Auto if wanted.extends => "port extension".to_owned(),
            // AF_XDP takes all frames of the interface away from the packet sockets of channels.
            Choice::Xdp if wanted.svid.is_some() || wanted.channels.is_some() => {
                anyhow::bail!(
                    "{}: S-channels need `carrier` = \"packet\" or \"auto\", for AF_XDP takes their frames away",
                    wanted.interface
                )
            }
            Choice::Auto if wanted.svid.is_some() || wanted.channels.is_some() => {
                "there are S-channels".to_owned()
            }
            Choice::Packet => "asked for".to_owned(),
            Choice::Xdp => {
                let mode = xdp(worker, wanted, false).map_err(Failed::into_error)?;
                return Ok((Carried::xdp(asked_for(mode).to_owned()), Vec::new()));
            }
            Choice::Auto => match self.packet.get(&wanted.ifindex) {
                Some(reason) => reason.clone(),
                None => match xdp(worker, wanted, true) {
                    Ok(_) => return Ok((Carried::xdp("zero copy".to_owned()), Vec::new())),
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
        let channels = wanted.svid.is_some() || wanted.channels.is_some();
        let (sockets, slow) = match fast {
            Ok(fast) if !channels => {
                let (sockets, error) =
                    PacketPort::open_fast_group(wanted.interface, &options, worker.threads(), fast)?;
                (sockets, error.map(|error| error.reason()))
            }
            fast => {
                let slow = fast.as_ref().err().cloned().unwrap_or_else(|| "there are S-channels".to_owned());
                (PacketPort::open_group(wanted.interface, &options, worker.threads())?, Some(slow))
            }
        };
        let mut filters = Vec::new();
        for socket in sockets.iter().filter(|_| wanted.channels.is_some()) {
            let filter = socket.channel_filter()?;
            filter.refuse(wanted.channels.unwrap_or_default().iter().copied())?;
            filters.push(filter);
        }
        let super_frames = sockets.first().and_then(PacketPort::super_frames);
        let cut_because = super_frames.and_then(Result::err).map(str::to_owned);
        worker.add_port(wanted.port, sockets)?;
        let carried = Carried {
            carrier: Name::Packet,
            carrier_because: because,
            fast_path: slow.is_none(),
            fast_path_because: slow,
            cut_because,
        };
        Ok((carried, filters))
    }
}

/// Whether a port that was refused for this stays so while its interface is what it is.
pub(super) fn lasts(error: &anyhow::Error) -> bool {
    let refusal = match error.downcast_ref::<WorkerError>() {
        Some(WorkerError::Join(error)) => Some(error),
        _ => error.downcast_ref::<OpenError>(),
    };
    refusal.is_some_and(|error| matches!(error.step, Step::Divert | Step::Program | Step::Memory))
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
    let xdp = XdpOptions {
        keep_probes: wanted.probed,
        zero_copy_only,
        tags: wanted.tags,
        everything: wanted.everything,
    };
    let (count, first) = (worker.threads(), wanted.port.index());
    let group = XdpPort::open_group(wanted.interface, xdp, &options(wanted), count, first);
    let (mode, ports) = group.map_err(Failed::Open)?;
    worker.add_port(wanted.port, ports).map_err(Failed::Join)?;
    Ok(mode)
}

fn options(wanted: &Wanted<'_>) -> Options {
    Options { ring: wanted.ring, svid: wanted.svid, tags: wanted.tags, ..Options::default() }
}

const fn asked_for(mode: XdpMode) -> &'static str {
    match mode {
        XdpMode::Generic => "asked for; its driver has no XDP, frames come later and cost more",
        XdpMode::Native | XdpMode::ZeroCopy => "asked for",
    }
}
