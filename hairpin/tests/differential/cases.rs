//! Cases made of a number: few enough ports, addresses and VLANs that they meet often.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use ether::{EtherType, MacAddr, Pcp, PrioritySet, Tag, Vid};
use hairpin::{
    EdgeMode, Frame, Limits, PortConfig, PortId, RelayKind, Role, Storm, VsiEntry, VsiFilter, VsiKey,
    policy::{
        AclRule, Action, CaptureId, GroupFilter, Mirror, MirrorTo, PcpRule, Policy, PortRange, Protocol, Rate,
    },
};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};

use crate::packets::{PACKETS, Packet};

pub(crate) const PORTS: u16 = 6;
pub(crate) const LIMITS: Limits = Limits {
    ports: PORTS,
    fdb_entries: 2048,
    fdb_ageing: 20,
    downlink_addresses: 3,
    hash_seed: 99,
    flap_moves: 2,
    flap_window: 5,
    flap_hold: 8,
    snooping: true,
    groups: 4096,
};
const VIDS: [u16; 4] = [1, 10, 20, 4094];

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Frame {
        ingress: PortId,
        frame: Head,
        packet: usize,
    },
    /// Microseconds.
    Wait(u64),
    SetPort(PortConfig),
    RemovePort(PortId),
    Open(VsiKey, VsiEntry),
    Close(VsiKey),
    Mode(EdgeMode),
    Sweep,
}

/// A frame without its payload.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    dst: MacAddr,
    src: MacAddr,
    tag: Option<Tag>,
    len: u32,
}

impl Head {
    pub(crate) fn with<'a>(&self, packet: &'a Packet) -> Frame<'a> {
        let Self { dst, src, tag, len } = *self;
        Frame { dst, src, tag, ethertype: packet.ethertype, len, payload: &packet.octets }
    }
}

/// The case of this number: a relay with ports and VSIs, then `frames` frames with edits and time between them.
pub(crate) fn case(seed: u64, frames: usize) -> (RelayKind, Vec<Step>) {
    let mut dice = Dice(SmallRng::seed_from_u64(seed));
    let kind = if dice.odds(1, 2) { RelayKind::Bridge } else { RelayKind::Edge(dice.mode()) };
    let mut steps: Vec<Step> = (0..PORTS).map(|n| Step::SetPort(dice.port(kind, PortId(n)))).collect();
    steps.extend((0..6).map(|n| Step::Open(VsiKey(n), dice.vsi())));
    for _ in 0..frames {
        if dice.odds(1, 30) {
            steps.push(dice.edit(kind));
        }
        if dice.odds(1, 4) {
            steps.push(Step::Wait(dice.wait()));
        }
        steps.push(dice.frame());
    }
    (kind, steps)
}

struct Dice(SmallRng);

impl Dice {
    fn below(&mut self, n: u16) -> u16 {
        self.0.random_range(0..n)
    }

    fn odds(&mut self, of: u16, among: u16) -> bool {
        self.below(among) < of
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.below(u16::try_from(from.len()).unwrap()))]
    }

    fn maybe<T>(&mut self, of: u16, among: u16, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.odds(of, among).then(|| value(self))
    }

    fn octet(&mut self) -> u8 {
        self.0.next_u32().to_be_bytes()[0]
    }

    fn vid(&mut self) -> Vid {
        Vid::new(self.pick(&VIDS)).unwrap()
    }

    fn pcp(&mut self) -> Pcp {
        Pcp::from_low_bits(self.octet())
    }

    fn station(&mut self) -> MacAddr {
        MacAddr(2, 0, 0, 0, 0, self.octet() % 7 + 1)
    }

    /// Mostly nothing or little, sometimes long enough for tables to age.
    fn wait(&mut self) -> u64 {
        match self.below(100) {
            0..80 => u64::from(self.below(3000)),
            80..94 => 1_000_000 * u64::from(self.below(4)),
            94..97 => 11_000_000,
            97..99 => 20_000_000,
            _ => 1_000_000 * self.pick(&[130_u64, 250, 261]),
        }
    }

    fn frame(&mut self) -> Step {
        let packet = usize::from(self.below(u16::try_from(PACKETS.len()).unwrap()));
        let dst = match (PACKETS[packet].dst, self.below(16)) {
            (Some(dst), 0..13) => dst,
            (_, 0..8) => self.station(),
            (_, 8..10) => MacAddr::broadcast(),
            (_, 10) => MacAddr(0x33, 0x33, 0xff, 0, 0, self.octet() % 8),
            (_, 11) => MacAddr(0x33, 0x33, 0xff, 0, 0, 0x21 + self.octet() % 2),
            (_, 12) => MacAddr(1, 0, 0x5e, 1, 2, 7 + self.octet() % 3),
            (_, 13) => MacAddr(1, 0, 0x5e, 0, 0, 251),
            (_, 14) => MacAddr(1, 0x80, 0xc2, 0, 0, self.octet() % 20),
            _ => MacAddr(3, 0x65, 0x76, 0x62, 0x64, 1),
        };
        let src = match self.below(40) {
            0 => MacAddr::zero(),
            1 => MacAddr(3, 0, 0, 0, 0, 1),
            _ => self.station(),
        };
        let tag = self.maybe(1, 2, |dice| Tag {
            tpid: if dice.odds(1, 16) { EtherType::S_VLAN } else { EtherType::C_VLAN },
            pcp: dice.pcp(),
            dei: dice.odds(1, 2),
            vid: dice.maybe(4, 5, Self::vid),
        });
        let len = if self.odds(1, 20) { 60_000 } else { 60 + u32::from(self.below(1454)) };
        let ingress = PortId(self.below(PORTS));
        Step::Frame { ingress, frame: Head { dst, src, tag, len }, packet }
    }

    fn vids(&mut self) -> BTreeSet<Vid> {
        (0..self.below(4)).map(|_| self.vid()).collect()
    }

    /// A port as this kind of relay can have it: of an edge relay, port 0 is the uplink.
    fn port(&mut self, kind: RelayKind, id: PortId) -> PortConfig {
        let storm = |dice: &mut Self| dice.maybe(1, 4, |dice| dice.pick(&[1, 20, 1000]));
        let storm = Storm { broadcast: storm(self), multicast: storm(self), unknown: storm(self) };
        let (up, name) = (self.odds(9, 10), format!("eth{id}"));
        // What else was drawn decides: a throw of its own would make rare things rarer.
        let lossless = PrioritySet(storm.unknown.map_or(0, |_| 0x0f));
        let new = |role| PortConfig { name, up, storm, lossless, ..PortConfig::new(id, role) };
        match kind {
            RelayKind::Extender => unreachable!("no case has one"),
            RelayKind::Edge(_) if id.0 > 0 => new(Role::Downlink),
            RelayKind::Edge(_) => {
                let (pvid, untagged, tagged) = (self.maybe(1, 2, Self::vid), self.vids(), self.vids());
                PortConfig { pvid, untagged, tagged, ..new(Role::Uplink) }
            }
            RelayKind::Bridge => {
                let guard = self.odds(1, 2);
                PortConfig {
                    pvid: self.maybe(1, 2, Self::vid),
                    untagged: self.vids(),
                    tagged: self.vids(),
                    reflective: self.odds(1, 2),
                    guard,
                    takes_over: !guard && self.odds(1, 2),
                    ..new(Role::Bridge)
                }
            }
        }
    }

    /// Most VSIs are in one VLAN, some have several, and some filters name no address.
    fn vsi(&mut self) -> VsiEntry {
        let (one, several) = (self.vid(), self.odds(1, 4));
        let filters = (0..=self.below(3)).map(|_| VsiFilter {
            mac: self.maybe(7, 10, Self::station),
            vid: if several { self.vid() } else { one },
            pcp: self.maybe(1, 2, Self::pcp),
        });
        let filters = filters.collect();
        VsiEntry { port: PortId(self.below(PORTS)), filters, policy: Arc::new(self.policy()) }
    }

    fn policy(&mut self) -> Policy {
        if self.odds(1, 2) {
            return Policy { groups: self.groups(), ..Policy::default() };
        }
        let rate = |dice: &mut Self| Rate {
            bits_per_second: dice.pick(&[64_000, 1_000_000, 8_000_000]),
            burst_octets: dice.pick(&[1, 3000, 20_000]),
        };
        let to = |dice: &mut Self| match dice.below(8) {
            6.. => MirrorTo::Capture(CaptureId(dice.below(2))),
            port => MirrorTo::Port(format!("eth{port}")),
        };
        let mirror = |dice: &mut Self| {
            let ingress = dice.odds(2, 3);
            Mirror { to: to(dice), ingress, egress: !ingress || dice.odds(1, 2) }
        };
        Policy {
            pcp: if self.odds(1, 3) { PcpRule::Set(self.pcp()) } else { PcpRule::Trust },
            ingress: self.rules(),
            egress: self.rules(),
            ingress_rate: self.maybe(1, 4, rate),
            egress_rate: self.maybe(1, 4, rate),
            mirror: self.maybe(1, 3, mirror),
            max_macs: self.maybe(1, 4, |dice| dice.below(3).into()),
            groups: self.groups(),
        }
    }

    fn groups(&mut self) -> GroupFilter {
        if self.odds(1, 5) { GroupFilter::All } else { GroupFilter::Own }
    }

    fn rules(&mut self) -> Vec<AclRule> {
        (0..self.below(4)).map(|_| self.rule()).collect()
    }

    fn rule(&mut self) -> AclRule {
        let action = if self.odds(1, 2) { Action::Permit } else { Action::Deny };
        let mut rule = AclRule {
            action,
            name: None,
            ethertype: None,
            src_mac: self.maybe(1, 6, Self::station),
            dst_mac: self.maybe(1, 6, Self::station),
            vlan: self.maybe(1, 6, Self::vid),
            src: None,
            dst: None,
            protocol: None,
            src_port: None,
            dst_port: None,
        };
        let v4 = |dice: &mut Self| {
            let host = Ipv4Addr::new(10, 0, 0, dice.octet() % 4);
            let prefix = dice.pick(&[8, 31, 32]);
            Some(ipnet::Ipv4Net::new(host, prefix).unwrap().into())
        };
        match self.below(8) {
            0 => rule.ethertype = Some(self.pick(&[EtherType::ARP, EtherType::IPV4, EtherType::IPV6])),
            1 => rule.src = v4(self),
            2 => rule.dst = Some("2001:db8::/32".parse().unwrap()),
            3 => rule.protocol = Some(Protocol(self.pick(&[1, 2, 6, 17, 58]))),
            4 => rule.dst_port = PortRange::new(50, 60 + 10 * self.below(3)),
            5 => {
                rule.protocol = Some(Protocol::TCP);
                rule.src_port = PortRange::new(1024, 1024);
            }
            _ => {}
        }
        rule
    }

    fn mode(&mut self) -> EdgeMode {
        use EdgeMode::{Direct, Isolate, Passthru, Private, Veb, Vepa};
        self.pick(&[Veb, Veb, Veb, Vepa, Vepa, Vepa, Isolate, Private, Passthru, Direct])
    }

    fn edit(&mut self, kind: RelayKind) -> Step {
        match self.below(17) {
            0..4 => {
                let id = PortId(self.below(PORTS));
                Step::SetPort(self.port(kind, id))
            }
            4 => Step::RemovePort(PortId(self.below(PORTS))),
            5..11 => Step::Open(VsiKey(self.below(6).into()), self.vsi()),
            11..14 => Step::Close(VsiKey(self.below(6).into())),
            14..16 => Step::Mode(self.mode()),
            _ => Step::Sweep,
        }
    }
}
