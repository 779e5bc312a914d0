//! A port of the relay on AF_XDP sockets, one for each receive queue of its interface.
//!
//! All such ports of a thread share one memory: a frame that one received and another sends is not copied, the chunk it
//! lies in goes from ring to ring. Copies are made only for the second receiver of a flooded frame and the ones after
//! it, and between ports of different kinds.
//!
//! **What a port cannot be told beside a frame.** An unfinished checksum is finished (`crate::checksum`) where the
//! other end of the interface is on this host; a tag the kernel keeps beside the frame is put into it by the program
//! that diverts the frames; a super-frame cannot come, because the kernel does not make any while a program is
//! attached at the driver. Interfaces where one of this does not hold are refused.
//!
//! Where several threads relay they divide the queues of each interface. One without a queue of it sends by a packet
//! socket: a queue takes frames from one memory only.
//!
//! The program hangs on a descriptor: when the last [`XdpPort`] of its interface is dropped, or the process dies, it is
//! gone.

mod btf;
mod facts;
mod moving;
mod program;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use ether::MacAddr;

use crate::{
    batch::Batch,
    error::{OpenError, PortError, Step},
    filter,
    frame::ChannelTags,
    packet::{Options, PacketPort},
    port::Port,
    socket::{Bound, EVERY_PROTOCOL, Opening, at},
    stats::PortStats,
    sys::{
        bpf,
        xsk::{self, Xsk},
    },
    xdp::{facts::Facts, program::Made},
};

/// How to open an [`XdpPort`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpOptions {
    /// Leave probes of reflective relay to the control socket, as an uplink must.
    pub keep_probes: bool,
    /// Refuse the interface where its driver does not read and write the memory itself.
    pub zero_copy_only: bool,
    /// The tags of E-channels that frames come in with: the port is a cascade or upstream port. What comes up by one and
    /// is meant for the daemon is left to the kernel; what comes down by one is not.
    pub tags: Option<ChannelTags>,
    /// Leave nothing to the kernel: on a port extender's ports towards stations, and towards other port extenders.
    pub everything: bool,
}

/// How frames get from the interface to the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum XdpMode {
    /// The driver writes them where they are read.
    ZeroCopy,
    /// The driver runs the program, the kernel copies.
    Native,
    /// The kernel runs the program on behalf of the driver, and copies.
    Generic,
}

/// AF_XDP sockets that take every frame of one interface, but for those meant for the host's own packet sockets.
///
/// The rest of the host does not see the frames this port takes. When the interface goes down or away the port has
/// failed for good: open a new one when it is back.
#[derive(Debug)]
pub struct XdpPort {
    /// Asks for promiscuous mode, and hears when the interface goes down. Receives nothing.
    watch: Bound,
    mode: XdpMode,
    options: XdpOptions,
    /// Frames may come with unfinished checksums.
    unfinished: bool,
    /// Octets of the longest frame, without tag.
    longest: usize,
    /// Sockets that wait to be given memory, with their queues.
    waiting: Vec<(u32, OwnedFd)>,
    queues: Vec<Xsk>,
    /// Room for what one batch brings.
    arrived: Vec<xsk::Place>,
    program: Arc<Attached>,
    counters: PortStats,
}

impl XdpPort {
    /// Opens the interface called `interface` in the network namespace of the calling thread. It moves frames once a
    /// worker has it.
    ///
    /// # Errors
    /// No such interface, interface down, a capability is missing, the kernel or the driver has no XDP, another XDP
    /// program is there, or frames of this interface would lose their tag, checksum or end: the text says which, and
    /// the remedy.
    pub fn open(interface: &str, options: XdpOptions) -> Result<Self, OpenError> {
        let mut opening = Diverted::open(interface, options)?;
        let queues = 0..opening.facts.queues;
        opening.port(queues)
    }

    /// Opens `interface` for `count` threads, which divide its queues among them; `first` is the number of the thread the
    /// first queue is for. Those left without send by a packet socket with `packet`. How frames get there is as known
    /// before a worker has them: zero copy shows then.
    ///
    /// # Errors
    /// As [`XdpPort::open`].
    pub fn open_group(
        interface: &str,
        options: XdpOptions,
        packet: &Options,
        count: usize,
        first: usize,
    ) -> Result<(XdpMode, Vec<Port>), OpenError> {
        let mut opening = Diverted::open(interface, options)?;
        let threads = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let first = u32::try_from(first).unwrap_or(0) % threads;
        let mine =
            |thread| (0..opening.facts.queues).filter(move |queue| (queue + first) % threads == thread);
        let shares: Vec<Vec<u32>> = (0..threads).map(|thread| mine(thread).collect()).collect();
        let ports = shares.into_iter().map(|queues| match queues.is_empty() {
            true => PacketPort::open_sender(interface, packet).map(Port::from),
            false => opening.port(queues).map(Port::from),
        });
        let ports = ports.collect::<Result<_, _>>()?;
        Ok((opening.mode, ports))
    }

    /// The interface's name when it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.watch.interface
    }

    /// The interface's number.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.watch.ifindex
    }

    /// The interface's own address when it was opened.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.watch.mac
    }

    /// How it gets its frames. Zero copy is known once a worker has the port.
    #[must_use]
    pub const fn mode(&self) -> XdpMode {
        self.mode
    }

    /// The counters, with what the kernel dropped up to now.
    pub fn stats(&mut self) -> PortStats {
        let dropped = self.queues.iter().filter_map(|queue| queue.dropped().ok());
        let (overrun, truncated) = dropped.fold((0, 0), |sum, queue| (sum.0 + queue.0, sum.1 + queue.1));
        PortStats { rx_overrun: overrun, rx_truncated: truncated, ..self.counters }
    }

    pub(crate) fn error(&self, action: &'static str, source: io::Error) -> PortError {
        PortError { interface: self.watch.interface.clone(), action, source }
    }
}

/// A program attached to its interface until this is dropped.
#[derive(Debug)]
struct Attached {
    /// The table from which the program knows the sockets.
    table: OwnedFd,
    /// Keeps the program attached.
    link: OwnedFd,
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Fails only where the interface has gone before.
        let _ = bpf::detach(self.link.as_fd());
    }
}

/// An interface whose frames are diverted, to sockets to come.
struct Diverted {
    interface: String,
    options: XdpOptions,
    facts: Facts,
    mode: XdpMode,
    /// Of the first port.
    watch: Option<Bound>,
    program: Arc<Attached>,
}

impl Diverted {
    fn open(interface: &str, options: XdpOptions) -> Result<Self, OpenError> {
        let watch = watch(interface)?;
        let facts = Facts::read(&watch).map_err(at(interface, Step::Divert))?;
        facts.judge(options).map_err(|why| at(interface, Step::Divert)(io::Error::other(why)))?;
        let table = bpf::sockets(facts.queues).map_err(at(interface, Step::Program))?;
        let tag = facts.is_veth().then(|| btf::function(TAG_FUNCTION)).transpose();
        let tag = tag.map_err(|error| {
            let what = format!("this kernel does not tell VLAN tags of a veth's frames: {error}");
            at(interface, Step::Divert)(io::Error::other(what))
        })?;
        let made = Made { sockets: table.as_fd(), mac: watch.mac, options, tag };
        let attached = attach(&made, watch.ifindex, &facts, options);
        let (link, mode) = attached.map_err(at(interface, Step::Program))?;
        let program = Arc::new(Attached { table, link });
        Ok(Self { interface: interface.to_owned(), options, facts, mode, watch: Some(watch), program })
    }

    /// A port on these queues.
    fn port(&mut self, queues: impl IntoIterator<Item = u32>) -> Result<XdpPort, OpenError> {
        let socket = |queue| xsk::socket().map(|socket| (queue, socket));
        let waiting = queues.into_iter().map(socket).collect::<io::Result<_>>();
        Ok(XdpPort {
            watch: self.watch.take().map_or_else(|| watch(&self.interface), Ok)?,
            mode: self.mode,
            options: self.options,
            unfinished: self.facts.is_veth(),
            longest: self.facts.longest(),
            waiting: waiting.map_err(at(&self.interface, Step::Socket))?,
            queues: Vec::new(),
            arrived: Vec::with_capacity(Batch::FRAMES),
            program: Arc::clone(&self.program),
            counters: PortStats::default(),
        })
    }
}

/// A socket that hears when the interface goes down, and receives nothing.
fn watch(interface: &str) -> Result<Bound, OpenError> {
    let opening = Opening::by_name(interface)?;
    opening.packet(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", true)?;
    opening.filter(&[filter::REFUSE])?;
    let watch = opening.bind(EVERY_PROTOCOL)?;
    watch.check().map_err(at(interface, Step::Bind))?;
    Ok(watch)
}

/// Loads the program for what it is made for and attaches it: at the driver, and where that has no XDP behind it.
fn attach(
    made: &Made<'_>,
    ifindex: u32,
    facts: &Facts,
    options: XdpOptions,
) -> io::Result<(OwnedFd, XdpMode)> {
    let program = bpf::load_xdp(&made.program(), made.tag.map(|_| ifindex))?;
    match bpf::attach_xdp(program.as_fd(), ifindex, false) {
        Ok(link) => Ok((link, XdpMode::Native)),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) && facts.may_be_generic(options) => {
            Ok((bpf::attach_xdp(program.as_fd(), ifindex, true)?, XdpMode::Generic))
        }
        Err(error) => Err(error),
    }
}

/// The function by which a program asks for the tag the kernel keeps beside a frame; since Linux 6.8.
const TAG_FUNCTION: &str = "bpf_xdp_metadata_rx_vlan_tag";
