//! A day of traffic: VMs come and go, addresses come and age, listeners join and leave, storms blow. Whatever happens,
//! every frame has one fate, tables stay within their bounds, and nothing the relay holds grows from hour to hour.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test from its first line to its last")]

use std::{alloc::System, sync::Arc};

use ether::{EtherType, Instant, MacAddr, Tag, Vid};
use hairpin::{
    Control, EdgeMode, Frame, Limits, PortConfig, PortId, Relay, RelayKind, Role, Verdict, VsiEntry,
    VsiFilter, VsiKey, policy::Policy,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{from_value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const HOURS: u64 = 24;
const HOUR: u64 = 3600;
const VSIS: u32 = 200;
const LIMITS: Limits = Limits { ports: 16, fdb_entries: 512, groups: 128, ..Limits::DEFAULT };

/// The only test of this binary: others would allocate meanwhile.
#[test]
fn a_day_of_traffic() {
    for kind in [RelayKind::Bridge, RelayKind::Edge(EdgeMode::Veb), RelayKind::Edge(EdgeMode::Vepa)] {
        Day::begin(kind).pass();
    }
}

struct Day {
    kind: RelayKind,
    relay: Relay,
    control: Control,
    policy: Arc<Policy>,
    random: StdRng,
    verdict: Verdict,
    sent: [u64; LIMITS.ports as usize],
}

impl Day {
    fn begin(kind: RelayKind) -> Self {
        let mut control = Control::new(kind, &LIMITS);
        for id in (0..LIMITS.ports).map(PortId) {
            let port = match kind {
                RelayKind::Bridge => {
                    PortConfig { tagged: [vid()].into(), reflective: id.0 % 2 == 0, ..PortConfig::lan(id) }
                }
                RelayKind::Edge(_) if id.0 == 0 => PortConfig::new(id, Role::Uplink),
                RelayKind::Edge(_) | RelayKind::Extender => PortConfig::new(id, Role::Downlink),
            };
            control.set_port(port).unwrap();
        }
        let text = json!({
            "ingress": [{ "action": "deny", "protocol": "tcp", "dst_port": 25 }],
            "egress_rate": { "bits_per_second": 10_000, "burst_octets": 3000 },
        });
        let policy = Arc::new(from_value(text).unwrap());
        let (random, verdict) = (StdRng::seed_from_u64(24), Verdict::new(LIMITS.ports));
        Self { kind, relay: Relay::new(LIMITS), control, policy, random, verdict, sent: [0; 16] }
    }

    fn pass(mut self) {
        let held = Region::new(ALLOCATOR);
        let grown = |held: &Region<'_, System>| {
            let change = held.change();
            change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed()
        };
        let mut hours = Vec::new();
        for second in 0..HOURS * HOUR {
            if second % 60 == 0 {
                self.one_vm_comes_or_goes();
            }
            if second % 5 == 0 {
                self.relay.sweep(Instant::from_micros(second * 1_000_000));
            }
            for frame in 0..10 {
                self.frame(Instant::from_micros(second * 1_000_000 + frame * 1000));
            }
            if (second + 1) % HOUR == 0 {
                self.adds_up(second / HOUR);
                self.everybody_leaves();
                hours.push(grown(&held));
            }
        }
        // Room for the longest list so far is kept; that is bounded, and all that may be added.
        let (early, late) = (hours[..12].iter().max().unwrap(), hours[12..].iter().max().unwrap());
        assert!(*late <= *early + 512, "{:?}: octets held grow: {hours:?}", self.kind);
        let end = Instant::from_micros((HOURS * HOUR + u64::from(LIMITS.fdb_ageing) + 300) * 1_000_000);
        self.relay.sweep(end);
        assert!(self.relay.fdb().is_empty(), "all has aged");
    }

    fn one_vm_comes_or_goes(&mut self) {
        let n = self.random.random_range(1..VSIS);
        let key = VsiKey(n);
        if self.control.close_vsi(key).is_none() {
            let port = PortId(self.random.random_range(1..LIMITS.ports));
            let mac = (n % 8 > 0).then(|| MacAddr(2, 0, 0, 0, 1, n.to_be_bytes()[3]));
            let filters = vec![VsiFilter { mac, vid: vid(), pcp: None }];
            // A downlink has one VSI: where there is one already the VM has to wait.
            let _ = self.control.open_vsi(key, VsiEntry { port, filters, policy: Arc::clone(&self.policy) });
        }
        self.relay.publish(self.control.snapshot());
    }

    /// So that hours can be compared.
    fn everybody_leaves(&mut self) {
        (1..VSIS).for_each(|n| drop(self.control.close_vsi(VsiKey(n))));
        self.relay.publish(self.control.snapshot());
    }

    fn frame(&mut self, now: Instant) {
        let random = &mut self.random;
        let [a, b, c]: [u8; 3] = random.random();
        let dst = match a % 8 {
            0 => MacAddr::broadcast(),
            1 => MacAddr(1, 0, 0x5e, 1, 2, b % 32),
            2 => MacAddr(1, 0x80, 0xc2, 0, 0, b % 32),
            _ => MacAddr(2, 0, 0, 0, 1, b),
        };
        // A few talk all day, and now and then somebody is seen once.
        let src = if a < 240 { MacAddr(2, 0, 0, 0, 1, c) } else { MacAddr(2, 0, 7, a, b, c) };
        let igmp = [
            0x46,
            0,
            0,
            32,
            0,
            0,
            0,
            0,
            1,
            2,
            0,
            0,
            192,
            0,
            2,
            c,
            224,
            0,
            0,
            22,
            0x94,
            4,
            0,
            0,
            0x16,
            0,
            0,
            0,
            239,
            1,
            2,
            b % 32,
        ];
        let tcp = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, c, 192, 0, 2, b, 4, 0, 0, c];
        let payload: &[u8] = if a % 16 == 1 { &igmp } else { &tcp };
        let tag = Some(Tag::c(vid())).filter(|_| a % 5 > 0);
        let frame = Frame { dst, src, tag, ethertype: EtherType::IPV4, len: 64 + u32::from(b), payload };
        let ingress = PortId(random.random_range(0..LIMITS.ports));
        self.relay.process(&self.relay.load(), now, ingress, &frame, &mut self.verdict);
        self.sent[ingress.index()] += 1;
    }

    fn adds_up(&self, hour: u64) {
        for (port, sent) in (0..LIMITS.ports).map(PortId).zip(self.sent) {
            let counters = self.relay.stats().port(port).unwrap();
            assert_eq!(counters.rx_frames, sent, "{:?}, hour {hour}, port {port}", self.kind);
            assert!(counters.adds_up(), "{:?}, hour {hour}, port {port}: {counters:?}", self.kind);
        }
        assert!(self.relay.fdb().len() <= self.relay.fdb().capacity());
    }
}

fn vid() -> Vid {
    Vid::new(10).unwrap()
}
