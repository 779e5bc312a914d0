//! What a port extender and a controlling bridge drop, each for its own reason, and what they do to priorities.

use std::collections::BTreeSet;

use ether::{ChannelTag, DownTag, ECid, EtherType, Instant, MacAddr, Pcid, Pcp, Tag, UpTag, mac};
use hairpin::{
    Control, Copy, DropReason, Extension, Frame, Outcome, Parameters, PortConfig, PortId, Relay, RelayKind,
    Role, Verdict,
};

use crate::{
    tree::{PORTS, limits},
    vid,
};

/// Upstream, a second one, two extended ports, a cascade port, an extended port without a channel.
const UP: PortId = PortId(0);
const SPARE: PortId = PortId(1);
const ONE: PortId = PortId(2);
const TWO: PortId = PortId(3);
const CASCADE: PortId = PortId(4);
const NEW: PortId = PortId(5);

fn pcp(n: u8) -> Pcp {
    Pcp::new(n).unwrap()
}

fn pcid(n: u32) -> Pcid {
    Pcid::new(n).unwrap()
}

fn ecid(n: u32) -> ECid {
    ECid::new(n).unwrap()
}

struct Extender {
    relay: Relay,
    control: Control,
}

impl Extender {
    fn new() -> Self {
        let mut control = Control::new(RelayKind::Extender, &limits());
        let mut port = |id, role, n: Option<u32>| {
            let extension = n.map(|n| Extension::End(Parameters::new(pcid(n)).into()));
            control.set_port(PortConfig { extension, ..PortConfig::new(id, role) }).unwrap();
        };
        port(UP, Role::Upstream, None);
        port(SPARE, Role::Upstream, None);
        port(ONE, Role::Extended, Some(101));
        port(TWO, Role::Extended, Some(102));
        port(CASCADE, Role::Cascade, Some(200));
        port(NEW, Role::Extended, None);
        control.set_upstream(Some(UP));
        control.set_channel(ecid(201), BTreeSet::from([CASCADE]));
        control.set_channel(ecid(0x10_0005), BTreeSet::from([ONE, TWO, CASCADE]));
        Self { relay: Relay::new(limits()), control }
    }

    fn parameters(&mut self, port: PortId, change: impl FnOnce(&mut Parameters, &mut PortConfig)) {
        let mut config = self.control.port(port).unwrap().clone();
        let Some(Extension::End(mut parameters)) = config.extension.take() else { panic!("{port}") };
        change(&mut parameters, &mut config);
        self.control.set_port(PortConfig { extension: Some(Extension::End(parameters)), ..config }).unwrap();
    }

    fn send(&mut self, port: PortId, tag: Option<ChannelTag>, frame: &Frame<'_>) -> (Outcome, Vec<Copy>) {
        self.relay.publish(self.control.snapshot());
        let (snapshot, mut verdict) = (self.relay.load(), Verdict::new(PORTS));
        match tag {
            Some(tag) => self.relay.process_tagged(&snapshot, Instant::ZERO, port, tag, frame, &mut verdict),
            None => self.relay.process(&snapshot, Instant::ZERO, port, frame, &mut verdict),
        }
        (verdict.outcome(), verdict.copies().to_vec())
    }

    fn dropped(&mut self, port: PortId, tag: Option<ChannelTag>, frame: &Frame<'_>, reason: DropReason) {
        assert_eq!(self.send(port, tag, frame).0, Outcome::Drop(reason), "{port} {tag:?}");
    }
}

fn frame(dst: MacAddr, tag: Option<Tag>) -> Frame<'static> {
    Frame { dst, src: MacAddr(2, 0, 0, 0, 0, 1), tag, ethertype: EtherType::IPV4, len: 60, payload: &[] }
}

fn up(n: u32) -> Option<ChannelTag> {
    Some(ChannelTag::Up(UpTag { source: pcid(n), pcp: pcp(5), dei: true }))
}

fn down(n: u32, source: Option<u32>) -> Option<ChannelTag> {
    Some(ChannelTag::Down(DownTag { to: ecid(n), source: source.map(pcid), pcp: pcp(5), dei: false }))
}

fn ports(copies: &[Copy]) -> Vec<PortId> {
    copies.iter().map(|copy| copy.port).collect()
}

const HOST: MacAddr = MacAddr(2, 0, 0, 0, 0, 9);

#[test]
fn what_an_extender_drops() {
    let mut pe = Extender::new();
    let plain = frame(HOST, None);
    let tagged = |ethertype| Frame { ethertype, ..plain };
    for port in [ONE, CASCADE] {
        pe.dropped(port, None, &tagged(EtherType::E_TAG), DropReason::ChannelTagged);
        pe.dropped(port, None, &tagged(EtherType::VN_TAG), DropReason::ChannelTagged);
    }
    pe.dropped(NEW, None, &plain, DropReason::NoChannel);
    pe.dropped(ONE, None, &frame(MacAddr(1, 0x80, 0xc2, 0, 0, 1), None), DropReason::Reserved);
    pe.dropped(CASCADE, up(202), &plain, DropReason::ChannelUnknown);
    pe.dropped(CASCADE, up(101), &plain, DropReason::ChannelUnknown);
    pe.dropped(CASCADE, down(201, None), &plain, DropReason::ChannelTagged);
    pe.dropped(UP, up(101), &plain, DropReason::ChannelTagged);
    pe.dropped(UP, None, &plain, DropReason::ChannelMissing);
    pe.dropped(UP, down(300, None), &plain, DropReason::ChannelUnknown);
    pe.dropped(SPARE, down(101, None), &plain, DropReason::NoUpstream);
    pe.parameters(ONE, |parameters, _| parameters.blocked = true);
    pe.dropped(ONE, None, &plain, DropReason::Blocked);
    pe.dropped(UP, down(101, None), &plain, DropReason::Blocked);
    pe.control.set_upstream(None);
    pe.dropped(TWO, None, &plain, DropReason::NoUpstream);
    let count = |port| pe.relay.stats().port(port).unwrap();
    assert!([UP, SPARE, ONE, TWO, CASCADE, NEW].into_iter().all(|port| count(port).adds_up()));
}

#[test]
fn control_frames_of_an_extender() {
    let mut pe = Extender::new();
    let lldp = Frame { ethertype: EtherType::LLDP, ..frame(mac::NEAREST_BRIDGE, None) };
    let csp = Frame { ethertype: EtherType::ECP, ..frame(HOST, None) };
    for frame in [&lldp, &csp] {
        assert!(matches!(pe.send(UP, None, frame).0, Outcome::Punt(_)));
        // Of stations, and of a port extender that nobody knows yet: the bridge hears them.
        assert_eq!(ports(&pe.send(ONE, None, frame).1), [UP]);
        let (_, copies) = pe.send(CASCADE, None, frame);
        assert_eq!(copies[0].via.unwrap().tag.as_slice(), [0x89, 0x3f, 0, 0, 0, 200, 0, 0]);
        // And what it answers gets out without a tag.
        let (_, copies) = pe.send(UP, down(200, None), frame);
        assert_eq!((ports(&copies), copies[0].via), (vec![CASCADE], None));
    }
}

#[test]
fn down_by_a_channel_of_several() {
    let mut pe = Extender::new();
    let broadcast = frame(MacAddr::broadcast(), Some(Tag::c(vid(7))));
    assert_eq!(ports(&pe.send(UP, down(0x10_0005, None), &broadcast).1), [ONE, TWO, CASCADE]);
    // Its sender does not get it; where it is further down, that is for the next one to see to.
    let (_, copies) = pe.send(UP, down(0x10_0005, Some(101)), &broadcast);
    assert_eq!(ports(&copies), [TWO, CASCADE]);
    let tag = copies[1].via.unwrap().tag;
    assert_eq!(tag.as_slice(), [0x89, 0x3f, 0xa0, 0x65, 0x10, 0x05, 0, 0]);
    // Naming a source counts for nothing where there is one member.
    assert_eq!(ports(&pe.send(UP, down(101, Some(101)), &broadcast).1), [ONE]);
    assert_eq!(ports(&pe.send(UP, down(201, None), &broadcast).1), [CASCADE]);
    assert_eq!(ports(&pe.send(CASCADE, up(201), &broadcast).1), [UP]);
}

#[test]
fn priorities_are_mapped_at_the_edge() {
    let mut pe = Extender::new();
    let tagged = |n| Tag { pcp: pcp(n), ..Tag::c(vid(7)) };
    let octets = |copies: &[Copy]| copies[0].via.unwrap().tag.as_slice()[2];
    pe.parameters(ONE, |parameters, config| {
        parameters.default_priority = pcp(2);
        parameters.decode[3] = (pcp(6), true);
        parameters.encode[5 * 2] = (pcp(1), true);
        config.untagged.insert(vid(8));
    });
    assert_eq!(octets(&pe.send(ONE, None, &frame(HOST, None)).1), 2 << 5);
    let (_, copies) = pe.send(ONE, None, &frame(HOST, Some(tagged(3))));
    // The tag itself stays what it is.
    assert_eq!((octets(&copies), copies[0].tag), (6 << 5 | 0x10, Some(tagged(3))));
    let (_, copies) = pe.send(UP, down(101, None), &frame(HOST, Some(tagged(5))));
    assert_eq!(copies[0].tag, Some(Tag { dei: true, ..tagged(1) }));
    let (_, copies) = pe.send(UP, down(101, None), &frame(HOST, Some(Tag::c(vid(8)))));
    assert_eq!(copies[0].tag, None);
    let service = Tag { tpid: EtherType::S_VLAN, ..tagged(5) };
    assert_eq!(pe.send(UP, down(101, None), &frame(HOST, Some(service))).1[0].tag, Some(service));
    pe.parameters(ONE, |parameters, _| parameters.use_dei = false);
    let (_, copies) = pe.send(UP, down(101, None), &frame(HOST, Some(tagged(5))));
    assert_eq!(copies[0].tag, Some(tagged(1)));
}

#[test]
fn what_a_bridge_drops_on_a_cascade_port() {
    let (relay, mut control) = (Relay::new(limits()), Control::new(RelayKind::Bridge, &limits()));
    control.set_port(PortConfig::new(UP, Role::Cascade)).unwrap();
    let behind = |n| Some(Extension::Behind { cascade: UP, pcid: pcid(n) });
    control.set_port(PortConfig { extension: behind(101), ..PortConfig::lan(ONE) }).unwrap();
    control.set_port(PortConfig::lan(TWO)).unwrap();
    assert!(control.set_port(PortConfig { extension: behind(101), ..PortConfig::lan(NEW) }).is_err());
    let elsewhere = Some(Extension::Behind { cascade: TWO, pcid: pcid(101) });
    assert!(control.set_port(PortConfig { extension: elsewhere, ..PortConfig::lan(NEW) }).is_err());
    relay.publish(control.snapshot());
    let mut verdict = Verdict::new(PORTS);
    let mut send = |tag: Option<ChannelTag>, frame: &Frame<'_>| {
        match tag {
            Some(tag) => relay.process_tagged(&relay.load(), Instant::ZERO, UP, tag, frame, &mut verdict),
            None => relay.process(&relay.load(), Instant::ZERO, UP, frame, &mut verdict),
        }
        verdict.outcome()
    };
    let plain = frame(HOST, None);
    let csp = Frame { ethertype: EtherType::ECP, ..plain };
    assert_eq!(send(None, &plain), Outcome::Drop(DropReason::ChannelMissing));
    assert_eq!(send(up(102), &plain), Outcome::Drop(DropReason::ChannelUnknown));
    assert_eq!(send(down(101, None), &plain), Outcome::Drop(DropReason::ChannelTag));
    assert!(matches!(send(None, &csp), Outcome::Punt(_)));
    assert!(matches!(send(up(101), &csp), Outcome::Punt(_)));
    assert_eq!(send(up(101), &plain), Outcome::Forward);
    // The priority of the E-channel counts where there is no tag that has one.
    assert_eq!((verdict.priority(), verdict.copies()[0].port), (pcp(5), TWO));
    let counters = |port| relay.stats().port(port).unwrap();
    assert_eq!((counters(UP).rx_frames, counters(ONE).rx_frames), (4, 2));
    assert!(counters(UP).adds_up() && counters(ONE).adds_up());
}
