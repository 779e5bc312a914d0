//! A relay with the ports and VMs of the stories, and a way to write down what it does.

use ether::{EtherType, Instant, MacAddr, Pcp, Tag, Vid};
use hairpin::{
    Control, EdgeMode, Frame, Limits, Outcome, PortConfig, PortCounters, PortId, Relay, RelayKind, Role,
    Verdict, VsiCounters, VsiEntry, VsiFilter, VsiKey, policy::Policy,
};

pub(crate) const UP: u16 = 0;
pub(crate) const BROADCAST: MacAddr = MacAddr(255, 255, 255, 255, 255, 255);
/// Solicited-node group of a neighbour solicitation.
pub(crate) const SOLICITED: MacAddr = MacAddr(0x33, 0x33, 0xff, 0, 0, 1);
pub(crate) const LIMITS: Limits = Limits {
    ports: 16,
    fdb_entries: 1024,
    fdb_ageing: 300,
    downlink_addresses: 2,
    hash_seed: 5,
    ..Limits::DEFAULT
};

/// VM `n`, or any other station beyond 100.
pub(crate) fn vm(n: u8) -> MacAddr {
    MacAddr(2, 0, 0, 0, 0, n)
}

pub(crate) fn vid(n: u16) -> Vid {
    Vid::new(n).unwrap()
}

pub(crate) fn pcp(n: u8) -> Pcp {
    Pcp::new(n).unwrap()
}

pub(crate) fn named(mac: MacAddr, vlan: u16) -> VsiFilter {
    VsiFilter { mac: Some(mac), vid: vid(vlan), pcp: None }
}

pub(crate) fn anyone(vlan: u16) -> VsiFilter {
    VsiFilter { mac: None, vid: vid(vlan), pcp: None }
}

pub(crate) fn untagged() -> Option<Tag> {
    None
}

pub(crate) fn c(vlan: u16) -> Option<Tag> {
    Some(Tag::c(vid(vlan)))
}

/// `tci` may have any priority and VID 0.
pub(crate) fn tci(tci: u16) -> Option<Tag> {
    Tag::from_tci(EtherType::C_VLAN, tci)
}

/// A relay under test.
pub(crate) struct Lab {
    pub(crate) relay: Relay,
    pub(crate) control: Control,
    pub(crate) verdict: Verdict,
    /// Seconds.
    pub(crate) now: u64,
}

impl Lab {
    pub(crate) fn new(kind: RelayKind) -> Self {
        let control = Control::new(kind, &LIMITS);
        Self { relay: Relay::new(LIMITS), control, verdict: Verdict::new(LIMITS.ports), now: 0 }
    }

    /// Uplink 0; VMs 1 and 2 in VLAN 10 on downlinks 1 and 2, VM 3 in VLAN 20 on 3, nobody yet on 4.
    pub(crate) fn edge(mode: EdgeMode) -> Self {
        let mut lab = Self::new(RelayKind::Edge(mode));
        lab.port(PortConfig::new(PortId(UP), Role::Uplink));
        for n in 1..5 {
            lab.port(PortConfig::new(PortId(n), Role::Downlink));
        }
        lab.open(1, 1, &[named(vm(1), 10)]);
        lab.open(2, 2, &[named(vm(2), 10)]);
        lab.open(3, 3, &[named(vm(3), 20)]);
        lab
    }

    /// LAN port 0, untagged in VLAN 1 and tagged in 10; station-facing ports 1 and 2 with VMs 1 and 2 in VLAN 10.
    pub(crate) fn bridge() -> Self {
        let mut lab = Self::new(RelayKind::Bridge);
        lab.port(PortConfig { tagged: [vid(10)].into(), ..PortConfig::lan(PortId(0)) });
        lab.port(PortConfig { reflective: true, guard: true, ..PortConfig::new(PortId(1), Role::Bridge) });
        lab.port(PortConfig { guard: true, ..PortConfig::new(PortId(2), Role::Bridge) });
        lab.open(1, 1, &[named(vm(1), 10)]);
        lab.open(2, 2, &[named(vm(2), 10)]);
        lab
    }

    pub(crate) fn publish(&mut self) {
        self.relay.publish(self.control.snapshot());
    }

    pub(crate) fn port(&mut self, config: PortConfig) {
        self.control.set_port(config).unwrap();
        self.publish();
    }

    pub(crate) fn change(&mut self, port: u16, change: impl FnOnce(&mut PortConfig)) {
        let mut config = self.control.port(PortId(port)).unwrap().clone();
        change(&mut config);
        self.port(config);
    }

    pub(crate) fn open(&mut self, key: u32, port: u16, filters: &[VsiFilter]) {
        self.open_with(key, port, filters, Policy::default());
    }

    pub(crate) fn open_with(&mut self, key: u32, port: u16, filters: &[VsiFilter], policy: Policy) {
        let entry = VsiEntry { port: PortId(port), filters: filters.to_vec(), policy: policy.into() };
        self.control.open_vsi(VsiKey(key), entry).unwrap();
        self.publish();
    }

    pub(crate) fn close(&mut self, key: u32) {
        self.control.close_vsi(VsiKey(key)).unwrap();
        self.publish();
    }

    /// Sends a frame; the answer is the reason it was dropped, `punt`, or its copies: port, `:` VLAN `.` priority
    /// unless untagged, `*` if reflected.
    pub(crate) fn send(&mut self, port: u16, src: MacAddr, dst: MacAddr, tag: Option<Tag>) -> String {
        self.send_of(EtherType(0x0800), port, src, dst, tag)
    }

    /// [`Lab::send`] of another EtherType.
    pub(crate) fn send_of(
        &mut self,
        ethertype: EtherType,
        port: u16,
        src: MacAddr,
        dst: MacAddr,
        tag: Option<Tag>,
    ) -> String {
        self.send_frame(port, &Frame { dst, src, tag, ethertype, len: 100, payload: &[] })
    }

    /// [`Lab::send`] of a whole frame.
    pub(crate) fn send_frame(&mut self, port: u16, frame: &Frame<'_>) -> String {
        let now = Instant::from_secs(self.now);
        self.relay.process(&self.relay.load(), now, PortId(port), frame, &mut self.verdict);
        assert_eq!(self.verdict.copies().is_empty(), self.verdict.outcome() != Outcome::Forward);
        match self.verdict.outcome() {
            Outcome::Drop(reason) => return reason.name().to_owned(),
            Outcome::Punt(_) => return "punt".to_owned(),
            Outcome::Forward => {}
        }
        let mut copies = self.verdict.copies().to_vec();
        copies.sort_unstable_by_key(|copy| copy.port);
        let show = |copy: &hairpin::Copy| {
            let tag = copy.tag.map_or(String::new(), |tag| {
                assert_eq!(tag.tpid, EtherType::C_VLAN);
                format!(":{}.{}", tag.vid.unwrap(), tag.pcp)
            });
            format!("{}{tag}{}", copy.port, if copy.reflected { "*" } else { "" })
        };
        copies.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn vsi(&self, key: u32) -> VsiCounters {
        self.relay.vsi(VsiKey(key)).unwrap()
    }

    pub(crate) fn count(&self, port: u16) -> PortCounters {
        let counters = self.relay.stats().port(PortId(port)).unwrap();
        assert!(counters.adds_up(), "{counters:?}");
        counters
    }
}

/// Ingress, source, destination, tag, answer.
pub(crate) type Row = (u16, MacAddr, MacAddr, Option<Tag>, &'static str);

pub(crate) fn check(lab: &mut Lab, rows: &[Row]) {
    for (n, (port, src, dst, tag, answer)) in rows.iter().enumerate() {
        assert_eq!(lab.send(*port, *src, *dst, *tag), *answer, "row {n}: {src} > {dst} on {port}");
    }
}
