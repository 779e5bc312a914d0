//! A port of the relay on a packet socket.

use std::{
    ffi::c_int,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use ether::{Instant, MacAddr, Vid};

use crate::{
    clock,
    error::{OpenError, PortError, Step},
    fast::{FastPath, FastSocket},
    filter,
    frame::ChannelTags,
    socket::{Bound, EVERY_PROTOCOL, Opening, at},
    stats::PortStats,
    sys::{
        self,
        ring::{self, RxRing},
    },
    tagger::Tagger,
};

/// How to open a [`PacketPort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Octets of frames that may wait to be read; 1 to 2^30.
    pub receive_buffer: u32,
    /// Octets of frames that may be on their way out; 1 to 2^30.
    pub send_buffer: u32,
    /// Send past the interface's queueing discipline. What it would shape or sort is then not shaped or sorted.
    pub qdisc_bypass: bool,
    /// Take frames for every address. A port that relays needs it.
    pub promiscuous: bool,
    /// Slots of 2 KiB of a ring shared with the kernel, in which frames are read without being copied; a power of two, at
    /// least two. 0: no ring, every frame is copied, and [`Options::receive_buffer`] bounds what waits.
    pub ring: u32,
    /// Also take what the host itself sends by the interface: for looking on, never for relaying.
    pub outgoing: bool,
    /// Only take what has the S-tag of this S-VLAN, which is not seen further, and send with it: the port is the end of an
    /// S-channel.
    pub svid: Option<Vid>,
    /// The tags of E-channels that frames come in with: the port is a cascade or upstream port.
    pub tags: Option<ChannelTags>,
}

impl Options {
    /// Octets of a slot of [`Options::ring`].
    pub const SLOT: u32 = ring::SLOT;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            receive_buffer: 16 << 20,
            send_buffer: 16 << 20,
            qdisc_bypass: true,
            promiscuous: true,
            ring: 0,
            outgoing: false,
            svid: None,
            tags: None,
        }
    }
}

/// A socket that takes every frame of one interface, as the interface got it, and sends frames by it.
///
/// It does not take frames the host itself sends by the interface, unless [`Options::outgoing`] says so. Made in one
/// network namespace, it can be used from every other. When the interface goes down or away the port has failed for
/// good: open a new one when it is back.
#[derive(Debug)]
pub struct PacketPort {
    bound: Bound,
    pub(crate) ring: Option<RxRing>,
    /// The ring is in a batch.
    pub(crate) lent: bool,
    /// The interface's MTU and when it was read.
    mtu: Option<(usize, Instant)>,
    /// The S-VLAN of an S-channel.
    pub(crate) svid: Option<Vid>,
    pub(crate) tags: Option<ChannelTags>,
    /// Frames to take at once, by the size of the last ones.
    pub(crate) appetite: usize,
    /// Counters; those of the kernel are added by [`PacketPort::stats`].
    pub(crate) counters: PortStats,
    /// Frames that may wait to be taken, about.
    room: u32,
    /// Its part in the fast path; given up after the socket.
    pub(crate) fast: Option<FastSocket>,
    /// Has super-frames keep whole behind tags of E-channels, or why not.
    pub(crate) tagger: Option<Result<Tagger, String>>,
}

impl PacketPort {
    /// Opens the interface called `interface` in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No such interface, not an Ethernet interface, interface down, or a capability is missing.
    pub fn open(interface: &str, options: &Options) -> Result<Self, OpenError> {
        let opening = Opening::by_name(interface)?;
        if let Some(svid) = options.svid {
            opening.narrow(&filter::of_channel(svid))?;
        }
        Self::finish(opening, options)
    }

    /// Opens the interface of number `ifindex` in the network namespace of the calling thread.
    ///
    /// # Errors
    /// As [`PacketPort::open`].
    pub fn open_index(ifindex: u32, options: &Options) -> Result<Self, OpenError> {
        Self::finish(Opening::by_index(ifindex)?, options)
    }

    /// Opens `count` sockets on `interface` that divide its frames among them: a flow stays with one of them, so that its
    /// order is kept if each is served by a thread of its own.
    ///
    /// # Errors
    /// As [`PacketPort::open`].
    pub fn open_group(interface: &str, options: &Options, count: usize) -> Result<Vec<Self>, OpenError> {
        if count < 2 {
            return Ok(Self::tagging(vec![Self::open(interface, options)?], options));
        }
        let group = Self::open_hushed(interface, options, count)?;
        for port in &group {
            match options.svid {
                Some(svid) => sys::attach_filter(port.as_fd(), &filter::of_channel(svid))
                    .map_err(at(interface, Step::Option("SO_ATTACH_FILTER")))?,
                None => sys::detach_filter(port.as_fd())
                    .map_err(at(interface, Step::Option("SO_DETACH_FILTER")))?,
            }
        }
        Ok(Self::tagging(group, options))
    }

    /// The same with what puts tags of E-channels on, where there are such and it can be.
    fn tagging(mut group: Vec<Self>, options: &Options) -> Vec<Self> {
        let (Some(tags), Some(first)) = (options.tags, group.first()) else { return group };
        match Tagger::install(first.interface(), options, tags.framing, group.len()) {
            Ok(taggers) => {
                group.iter_mut().zip(taggers).for_each(|(port, tagger)| port.tagger = Some(Ok(tagger)));
            }
            Err(reason) => group.iter_mut().for_each(|port| port.tagger = Some(Err(reason.clone()))),
        }
        group
    }

    /// The same, with the sockets part of `fast`; if that cannot be they are not, and it is said why.
    ///
    /// # Errors
    /// As [`PacketPort::open`].
    pub fn open_fast_group(
        interface: &str,
        options: &Options,
        count: usize,
        fast: &Arc<FastPath>,
    ) -> Result<(Vec<Self>, Option<OpenError>), OpenError> {
        let mut group = Self::open_hushed(interface, options, count.max(1))?;
        match fast.take_in(&mut group) {
            Ok(()) => Ok((Self::tagging(group, options), None)),
            Err(error) => Ok((Self::open_group(interface, options, count)?, Some(error))),
        }
    }

    /// A group of which no socket lets anything through. One outside the group gets every frame, so none may get any before
    /// all have joined.
    fn open_hushed(interface: &str, options: &Options, count: usize) -> Result<Vec<Self>, OpenError> {
        let mut group = Vec::with_capacity(count);
        for _ in 0..count {
            let opening = Opening::by_name(interface)?;
            opening.hush()?;
            group.push(Self::finish(opening, options)?);
        }
        let joining = || {
            let mut id = None;
            for port in group.iter().filter(|_| count > 1) {
                id = Some(sys::join_fanout(port.as_fd(), id)?);
            }
            Ok(())
        };
        joining().map_err(at(interface, Step::Option("PACKET_FANOUT")))?;
        Ok(group)
    }

    /// Opens `interface` to send by: it receives nothing.
    pub(crate) fn open_sender(interface: &str, options: &Options) -> Result<Self, OpenError> {
        let opening = Opening::by_name(interface)?;
        opening.filter(&[filter::REFUSE])?;
        Self::finish(opening, &Options { ring: 0, ..*options })
    }

    fn finish(opening: Opening, options: &Options) -> Result<Self, OpenError> {
        opening.packet(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR", true)?;
        opening.packet(libc::PACKET_AUXDATA, "PACKET_AUXDATA", true)?;
        opening.packet(libc::PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING", !options.outgoing)?;
        opening.packet(libc::PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", options.qdisc_bypass)?;
        let (receive, send) = (clamp(options.receive_buffer), clamp(options.send_buffer));
        opening
            .general(libc::SO_RCVBUFFORCE, "SO_RCVBUFFORCE", receive)
            .or_else(|_| opening.general(libc::SO_RCVBUF, "SO_RCVBUF", receive))?;
        opening
            .general(libc::SO_SNDBUFFORCE, "SO_SNDBUFFORCE", send)
            .or_else(|_| opening.general(libc::SO_SNDBUF, "SO_SNDBUF", send))?;
        let ring = opening.ring(options.ring)?;
        if options.promiscuous {
            opening.join(None)?;
        }
        let bound = opening.bind(EVERY_PROTOCOL)?;
        // Binding to an interface that is down succeeds and leaves an error behind.
        bound.check().map_err(at(&bound.interface, Step::Bind))?;
        let (svid, tags, counters) = (options.svid, options.tags, PortStats::default());
        let room = if ring.is_some() { options.ring } else { options.receive_buffer / OCTETS_WAITING };
        Ok(Self {
            bound,
            ring,
            lent: false,
            mtu: None,
            svid,
            tags,
            appetite: 1,
            counters,
            room,
            fast: None,
            tagger: None,
        })
    }

    /// Whether super-frames leave whole behind tags of E-channels, or why they are cut; `None`: there are no such tags.
    #[must_use]
    pub fn super_frames(&self) -> Option<Result<(), &str>> {
        let tagger = self.tagger.as_ref()?;
        Some(tagger.as_ref().map(drop).map_err(String::as_str))
    }

    /// What keeps the frames of S-channels away from the port, wherever that is by then. It keeps the socket open.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn channel_filter(&self) -> io::Result<ChannelFilter> {
        Ok(ChannelFilter(self.bound.socket.try_clone()?))
    }

    /// The interface's name when it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.bound.interface
    }

    /// The interface's number.
    #[must_use]
    pub const fn ifindex(&self) -> u32 {
        self.bound.ifindex
    }

    /// The interface's own address when it was opened.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.bound.mac
    }

    /// Whether the interface is still the one that was opened: false once it went away or to another namespace.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.bound.is_bound()
    }

    /// The counters, with what the kernel dropped up to now.
    pub fn stats(&mut self) -> PortStats {
        if let Ok(kernel) = sys::take_statistics(self.as_fd()) {
            let drops = u64::from(kernel.tp_drops);
            self.counters.rx_overrun += drops;
            if let Some(fast) = &mut self.fast {
                fast.dropped += drops;
                self.counters.rx_overrun += fast.take_refused();
            }
        }
        self.counters
    }

    /// All frames taken up to now have been sent, or whatever became of them.
    pub(crate) fn caught_up(&mut self, now: Instant) {
        if self.fast.as_mut().is_some_and(|fast| fast.done(now)) {
            self.stats();
            if let Some(fast) = &mut self.fast {
                fast.done(now);
            }
        }
    }

    /// Frames that may wait to be taken, about.
    pub(crate) const fn room(&self) -> u32 {
        self.room
    }

    /// The interface's MTU, not older than a second. That of no interface is endless: sending will tell.
    pub(crate) fn mtu(&mut self) -> usize {
        let now = clock::now();
        if self.mtu.is_none_or(|(_, at)| now.saturating_since(at) > MTU_AGE) {
            let read = sys::mtu(self.as_fd(), self.bound.ifindex).ok();
            self.mtu = Some((read.and_then(|mtu| usize::try_from(mtu).ok()).unwrap_or(usize::MAX), now));
        }
        self.mtu.map_or(usize::MAX, |(mtu, _)| mtu)
    }

    /// Whether frames may be waiting: what can be known without a system call.
    pub(crate) fn is_ready(&self) -> bool {
        self.ring.as_ref().is_none_or(RxRing::is_ready)
    }

    pub(crate) fn error(&self, action: &'static str, source: io::Error) -> PortError {
        PortError { interface: self.bound.interface.clone(), action, source }
    }
}

impl AsFd for PacketPort {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bound.socket.as_fd()
    }
}

/// What keeps frames of S-channels, which have ports of their own, away from the port of their interface.
#[derive(Debug)]
pub struct ChannelFilter(OwnedFd);

impl ChannelFilter {
    /// Keeps frames away that have the S-tag of one of `svids`, and no others.
    ///
    /// # Errors
    /// What the kernel said; what was kept away before still is.
    pub fn refuse(&self, svids: impl IntoIterator<Item = Vid>) -> io::Result<()> {
        sys::attach_filter(self.0.as_fd(), &filter::but_channels(svids))
    }
}

/// The number of the interface called `name` in the network namespace of the calling thread.
///
/// # Errors
/// When there is none.
pub fn ifindex(name: &str) -> Result<u32, OpenError> {
    sys::name_to_index(name).map_err(at(name, Step::Lookup))
}

fn clamp(octets: u32) -> c_int {
    c_int::try_from(octets).unwrap_or(c_int::MAX).clamp(1, 1 << 30)
}

/// What a frame that waits takes of a buffer, about.
const OCTETS_WAITING: u32 = 4096;
/// How long an MTU is believed.
const MTU_AGE: Duration = Duration::from_secs(1);
