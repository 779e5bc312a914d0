//! The real relay beside a core, as the driver has it: on port extenders and bridges that have some, and on other bridges
//! whose frames a suite looks at.

use std::collections::{BTreeMap, BTreeSet};

use ether::{ChannelTag, DownTag, EtherType, FrameView, Framing, Instant, MacAddr, Pcid, Pcp, Tag, UpTag};
use evbd::{Core, Effect, Plane};
use hairpin::{Copy, Extension, Frame, Outcome, PortId, Role, Verdict, VsiEntry, VsiKey};

/// The relay of a bridge or a port extender.
pub(super) struct Forwarding {
    plane: Plane,
    verdict: Verdict,
    /// A bridge's extended ports, by cascade port and channel.
    ends: BTreeMap<(PortId, Pcid), PortId>,
}

/// A frame without the tag of its E-channel, and what it came in on.
pub(super) struct Arrival {
    /// The port the kernel hands it to if it is a control frame; none: it came by a channel that ends nowhere.
    pub(super) port: Option<PortId>,
    link: PortId,
    tag: Option<ChannelTag>,
    pub(super) frame: Vec<u8>,
}

impl Forwarding {
    /// The relay of `core`, its ports down.
    pub(super) fn new(core: &Core) -> Self {
        let plane = Plane::of(core).expect("ports of a configuration");
        let verdict = Verdict::new(plane.relay().limits().ports);
        Self { plane, verdict, ends: BTreeMap::new() }
    }

    /// Takes an effect that is about E-channels; gives others back.
    pub(super) fn take(&mut self, core: &Core, effect: Effect) -> Option<Effect> {
        match &effect {
            Effect::FollowPort(port) => self.follow(core, *port),
            Effect::FollowPorts => {
                let before = self.plane.control().ports().map(|port| port.id);
                let ports: BTreeSet<PortId> = before.chain(core.ports().map(|(port, _, _)| port)).collect();
                ports.into_iter().for_each(|port| self.follow(core, port));
            }
            Effect::FollowEnd(port) => self.plane.follow_end(core, *port),
            Effect::FollowExtended(cascade) => self.plane.follow_extended(core, *cascade),
            _ => {}
        }
        self.plane.extend(effect).expect("a port of the core")
    }

    fn follow(&mut self, core: &Core, port: PortId) {
        if let Some(Extension::Behind { cascade, pcid }) = self.extension(port) {
            self.ends.remove(&(cascade, pcid));
        }
        self.plane.follow_port(core, port).expect("a port of the core");
        if let Some(Extension::Behind { cascade, pcid }) = self.extension(port) {
            self.ends.insert((cascade, pcid), port);
        }
    }

    fn extension(&self, port: PortId) -> Option<Extension> {
        self.plane.control().port(port)?.extension.clone()
    }

    pub(super) fn open(&mut self, key: VsiKey, entry: VsiEntry) {
        self.plane.open_vsi(key, entry).expect("what the core opens can be opened");
    }

    pub(super) fn close(&mut self, key: VsiKey) {
        self.plane.close_vsi(key);
    }

    pub(super) fn reflect(&mut self, port: PortId, on: bool) {
        self.plane.set_reflective(port, on).expect("a port of the bridge");
    }

    pub(super) fn link(&mut self, port: PortId, up: bool) {
        self.plane.set_up(port, up);
    }

    /// Has the relay forward by what it was told.
    pub(super) fn commit(&mut self) {
        self.plane.commit();
    }

    /// What `port` sends, as it leaves by a cable: the frames of an extended port by its channel.
    pub(super) fn out(&self, port: PortId, frame: &[u8]) -> (PortId, Vec<u8>) {
        match self.extension(port) {
            Some(Extension::Behind { cascade, pcid }) => {
                let tag = DownTag { to: pcid.into(), source: None, pcp: Pcp::from_low_bits(7), dei: false };
                let tag = tag.octets(Framing::Etag).expect("an E-TAG names every port");
                (cascade, tagged(frame, tag.as_slice()))
            }
            _ => (port, frame.to_vec()),
        }
    }

    /// Takes the tag of an E-channel off what came in on `link`; what has a wrong one is counted.
    pub(super) fn arrival(&self, link: PortId, mut frame: Vec<u8>) -> Option<Arrival> {
        let plain = |frame| Some(Arrival { port: Some(link), link, tag: None, frame });
        let Some(config) = self.plane.control().port(link) else { return plain(frame) };
        let down = match config.role {
            Role::Cascade => false,
            Role::Upstream => true,
            _ => return plain(frame),
        };
        let rest = frame.get(ADDRESSES..).unwrap_or_default();
        if !rest.starts_with(&EtherType::E_TAG.0.to_be_bytes()) {
            return plain(frame);
        }
        let tag = if down {
            DownTag::parse(Framing::Etag, rest).map(ChannelTag::Down)
        } else {
            UpTag::parse(Framing::Etag, rest).map(ChannelTag::Up)
        };
        match tag {
            Ok(tag) => {
                frame.drain(ADDRESSES..ADDRESSES + Framing::Etag.overhead());
                let port = match tag {
                    ChannelTag::Up(up) => self.ends.get(&(link, up.source)).copied(),
                    ChannelTag::Down(_) => None,
                };
                Some(Arrival { port, link, tag: Some(tag), frame })
            }
            Err(error) => {
                let len = u32::try_from(frame.len()).expect("frames are short");
                self.plane.relay().reject(link, len, error.into());
                None
            }
        }
    }

    /// The frames that leave, and by which ports, when this one has come.
    pub(super) fn process(&mut self, now: Instant, arrival: &Arrival) -> Vec<(PortId, Vec<u8>)> {
        let Ok(view) = FrameView::parse(&arrival.frame) else { return Vec::new() };
        let len = u32::try_from(arrival.frame.len()).expect("frames are short");
        let frame = frame(&view, len);
        let (relay, verdict) = (self.plane.relay(), &mut self.verdict);
        let snapshot = relay.load();
        match arrival.tag {
            Some(tag) => relay.process_tagged(&snapshot, now, arrival.link, tag, &frame, verdict),
            None => relay.process(&snapshot, now, arrival.link, &frame, verdict),
        }
        if verdict.outcome() != Outcome::Forward {
            return Vec::new();
        }
        verdict
            .copies()
            .iter()
            .map(|copy| (copy.via.map_or(copy.port, |via| via.port), octets(&view, copy)))
            .collect()
    }

    /// Where a station behind `from` finds `to`: the ports its frames leave by.
    pub(super) fn reach(&self, now: Instant, from: PortId, to: MacAddr, tag: Option<Tag>) -> Vec<PortId> {
        let frame = Frame {
            dst: to,
            src: MacAddr::new(2, 0xff, 0, 0, 0, 1),
            tag,
            ethertype: EtherType(0x88b5),
            len: 60,
            payload: &[],
        };
        self.plane.relay().trace(now, from, &frame, false).copies.iter().map(|copy| copy.port).collect()
    }

    /// The relay.
    pub(super) const fn plane(&self) -> &Plane {
        &self.plane
    }
}

/// A frame as a relay looks at it.
pub(super) const fn frame<'a>(view: &FrameView<'a>, len: u32) -> Frame<'a> {
    let FrameView { dst, src, tag, ethertype, payload, .. } = *view;
    Frame { dst, src, tag, ethertype, len, payload }
}

/// A copy as it leaves.
pub(super) fn octets(view: &FrameView<'_>, copy: &Copy) -> Vec<u8> {
    let mut octets = [view.dst.octets(), view.src.octets()].concat();
    if let Some(via) = &copy.via {
        octets.extend(via.tag.as_slice());
    }
    if let Some(tag) = copy.tag {
        octets.extend(tag.to_bytes());
    }
    octets.extend(view.ethertype.0.to_be_bytes());
    octets.extend(view.payload);
    octets
}

fn tagged(frame: &[u8], tag: &[u8]) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(ADDRESSES);
    [addresses, tag, rest].concat()
}

const ADDRESSES: usize = 12;
