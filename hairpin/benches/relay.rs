//! What a frame costs: `cargo bench -p hairpin`. Figures are for [`FRAMES`] frames, or one where the name says so; beside
//! them are frames per second.

#![allow(clippy::unwrap_used, reason = "a bench stops where it cannot go on")]

use std::{hint::black_box, time::Duration};

use divan::{Bencher, counter::ItemsCount};
use ether::{EtherType, Instant, MacAddr, Tag, Vid, mac};
use hairpin::{
    Control, EdgeMode, Frame, Limits, PortConfig, PortId, Relay, RelayKind, Role, Snapshot, Verdict,
    VsiEntry, VsiFilter, VsiKey, policy::Policy,
};
use serde_json::{from_value, json};

fn main() {
    divan::main();
}

/// Frames of one measurement, so that different addresses are met.
const FRAMES: u32 = 1024;
const VLAN: Option<Vid> = Vid::new(10);

fn vid() -> Vid {
    VLAN.unwrap()
}

fn station(n: u32) -> MacAddr {
    mac::from_u64(0x0200_0000_0000 | u64::from(n))
}

/// A TCP segment to port 80.
const PACKET: [u8; 40] = [
    0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0,
    0x50, 0, 0, 0, 0, 0, 0, 0,
];

fn frame(src: u32, dst: u32, tagged: bool) -> Frame<'static> {
    let tag = tagged.then(|| Tag::c(vid()));
    Frame { dst: station(dst), src: station(src), tag, ethertype: EtherType::IPV4, len: 60, payload: &PACKET }
}

/// What profiles of the field say: eight rules both ways, two rates that are not reached.
fn full() -> Policy {
    let deny = |port: u16| json!({ "action": "deny", "protocol": "tcp", "dst_port": port });
    let rules: Vec<_> = (20..28).map(deny).collect();
    let rate = json!({ "bits_per_second": 100_000_000_000_u64, "burst_octets": 4_000_000_000_u32 });
    let text = json!({
        "ingress": rules, "egress": rules, "ingress_rate": rate, "egress_rate": rate, "pcp": { "set": 3 },
    });
    from_value(text).unwrap()
}

struct Lab {
    relay: Relay,
    control: Control,
    verdict: Verdict,
    now: Instant,
}

impl Lab {
    fn new(kind: RelayKind, fdb_entries: u32) -> Self {
        let limits = Limits { ports: 1200, fdb_entries, hash_seed: 7, ..Limits::DEFAULT };
        let (relay, control) = (Relay::new(limits), Control::new(kind, &limits));
        Self { relay, control, verdict: Verdict::new(limits.ports), now: Instant::from_secs(1) }
    }

    /// A LAN port, and a station-facing port with `vsis` VSIs of this policy.
    fn bridge(vsis: u32, policy: Policy) -> Self {
        let mut lab = Self::new(RelayKind::Bridge, 65_536);
        lab.control.set_port(PortConfig { tagged: [vid()].into(), ..PortConfig::lan(PortId(0)) }).unwrap();
        let station =
            PortConfig { guard: true, reflective: true, ..PortConfig::new(PortId(1), Role::Bridge) };
        lab.control.set_port(station).unwrap();
        lab.open(vsis, &policy, |_| PortId(1));
        lab
    }

    /// An uplink, and a downlink for each of `vsis` VSIs.
    fn edge(mode: EdgeMode, vsis: u32, policy: Policy) -> Self {
        let mut lab = Self::new(RelayKind::Edge(mode), 65_536);
        lab.control.set_port(PortConfig::new(PortId(0), Role::Uplink)).unwrap();
        let port = |n: u32| PortId(u16::try_from(n % 1000 + 1).unwrap());
        for n in 0..vsis.min(1000) {
            lab.control.set_port(PortConfig::new(port(n), Role::Downlink)).unwrap();
        }
        lab.open(vsis, &policy, port);
        lab
    }

    fn open(&mut self, vsis: u32, policy: &Policy, port: impl Fn(u32) -> PortId) {
        let policy = std::sync::Arc::new(policy.clone());
        for n in 0..vsis {
            let filters = vec![VsiFilter { mac: Some(station(n)), vid: vid(), pcp: None }];
            let entry = VsiEntry { port: port(n), filters, policy: policy.clone() };
            self.control.open_vsi(VsiKey(n), entry).unwrap();
        }
        self.relay.publish(self.control.snapshot());
    }

    /// Processes the frames one after the other.
    fn measure(mut self, bencher: Bencher<'_, '_>, frames: &[(PortId, Frame<'_>)]) {
        let snapshot = self.relay.load().clone();
        bencher.counter(ItemsCount::new(frames.len())).bench_local(move || {
            self.now += Duration::from_micros(u64::from(FRAMES));
            for (port, frame) in frames {
                self.relay.process(&snapshot, self.now, *port, frame, &mut self.verdict);
            }
            black_box(self.verdict.copies().len())
        });
    }
}

fn frames(of: impl Fn(u32) -> (PortId, Frame<'static>)) -> Vec<(PortId, Frame<'static>)> {
    (0..FRAMES).map(of).collect()
}

/// From the LAN to stations learnt there: the address table and nothing else.
#[divan::bench(args = [1_000, 65_536, 1_000_000])]
fn learnt_unicast(bencher: Bencher<'_, '_>, entries: u32) {
    let mut lab = Lab::new(RelayKind::Bridge, entries * 3 / 2);
    for port in [PortId(0), PortId(1)] {
        lab.control.set_port(PortConfig { tagged: [vid()].into(), ..PortConfig::lan(port) }).unwrap();
    }
    lab.relay.publish(lab.control.snapshot());
    let snapshot = lab.relay.load().clone();
    for n in 0..entries {
        let port = PortId(u16::try_from(n % 2).unwrap());
        lab.relay.process(&snapshot, lab.now, port, &frame(n, 0, true), &mut lab.verdict);
    }
    let step = entries / FRAMES.min(entries) * 2;
    let between =
        |n: u32| (PortId(0), frame((n * step % entries) & !1, ((n * step * 7 + 1) % entries) | 1, true));
    lab.measure(bencher, &frames(between));
}

#[divan::bench(args = [1, 1_000, 10_000])]
fn vsi_to_lan(bencher: Bencher<'_, '_>, vsis: u32) {
    let lab = Lab::bridge(vsis, Policy::default());
    lab.measure(bencher, &frames(|n| (PortId(1), frame(n * 9 % vsis, 99_999, true))));
}

#[divan::bench(args = [1, 1_000, 10_000])]
fn vsi_to_vsi_reflected(bencher: Bencher<'_, '_>, vsis: u32) {
    let lab = Lab::bridge(vsis, Policy::default());
    lab.measure(bencher, &frames(|n| (PortId(1), frame(n * 9 % vsis, n * 7 % vsis, true))));
}

#[divan::bench(args = ["none", "rules", "rates", "priority", "all"])]
fn policy_of_1000_vsis_reflected(bencher: Bencher<'_, '_>, what: &str) {
    let (all, none) = (full(), Policy::default());
    let policy = match what {
        "none" => none,
        "rules" => Policy { ingress: all.ingress, egress: all.egress, ..none },
        "rates" => Policy { ingress_rate: all.ingress_rate, egress_rate: all.egress_rate, ..none },
        "priority" => Policy { pcp: all.pcp, ..none },
        _ => all,
    };
    let lab = Lab::bridge(1000, policy);
    lab.measure(bencher, &frames(|n| (PortId(1), frame(n * 9 % 1000, n * 7 % 1000, true))));
}

#[divan::bench(args = ["to the uplink", "from the uplink", "echo"])]
fn vepa_of_1000_vsis(bencher: Bencher<'_, '_>, what: &str) {
    let lab = Lab::edge(EdgeMode::Vepa, 1000, Policy::default());
    lab.measure(
        bencher,
        &frames(|n| {
            let vm = n * 9 % 1000;
            match what {
                "to the uplink" => (PortId(u16::try_from(vm + 1).unwrap()), frame(vm, n, false)),
                "from the uplink" => (PortId(0), frame(99_999, vm, true)),
                _ => (PortId(0), frame(vm, vm, true)),
            }
        }),
    );
}

#[divan::bench]
fn veb_vm_to_vm(bencher: Bencher<'_, '_>) {
    let lab = Lab::edge(EdgeMode::Veb, 1000, Policy::default());
    lab.measure(
        bencher,
        &frames(|n| (PortId(u16::try_from(n % 1000 + 1).unwrap()), frame(n % 1000, n * 7 % 1000, false))),
    );
}

/// A broadcast from the uplink: the figure is for a frame, of which this many copies leave.
#[divan::bench(args = [10, 100, 1_000])]
fn broadcast_to_vms(bencher: Bencher<'_, '_>, vms: u32) {
    let lab = Lab::edge(EdgeMode::Vepa, vms, Policy::default());
    let all = Frame { dst: MacAddr::broadcast(), ..frame(99_999, 0, true) };
    lab.measure(bencher, &[(PortId(0), all)]);
}

#[divan::bench]
fn dropped_by_the_guard(bencher: Bencher<'_, '_>) {
    let lab = Lab::bridge(1000, Policy::default());
    lab.measure(bencher, &frames(|n| (PortId(1), frame(50_000 + n, n, true))));
}

/// What control does for each change of a VSI.
mod control {
    use super::*;

    #[divan::bench(args = [100, 1_000, 10_000])]
    fn snapshot(bencher: Bencher<'_, '_>, vsis: u32) {
        let mut lab = Lab::bridge(vsis, full());
        bencher.bench_local(|| after_an_edit(&mut lab.control));
    }

    #[divan::bench(args = [100, 1_000, 10_000])]
    fn publish(bencher: Bencher<'_, '_>, vsis: u32) {
        let Lab { relay, mut control, .. } = Lab::bridge(vsis, full());
        bencher
            .with_inputs(|| after_an_edit(&mut control))
            .bench_local_values(|snapshot| relay.publish(snapshot));
    }

    #[divan::bench]
    fn snapshot_of_1000_ports_with_10000_vsis(bencher: Bencher<'_, '_>) {
        let mut lab = Lab::edge(EdgeMode::Vepa, 10_000, full());
        bencher.bench_local(|| after_an_edit(&mut lab.control));
    }

    /// One port is made anew.
    fn after_an_edit(control: &mut Control) -> Snapshot {
        let port = control.ports().last().cloned().unwrap();
        control.set_port(port).unwrap();
        control.snapshot()
    }

    #[divan::bench(args = [65_536, 1_000_000])]
    fn make_a_relay(fdb_entries: u32) -> Relay {
        Relay::new(Limits { fdb_entries, ..Limits::DEFAULT })
    }
}
