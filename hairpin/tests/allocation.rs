//! Once a worker is warm, no frame costs it an allocation: whatever its fate, and with every policy in force.

use std::{alloc::System, sync::Arc};

use ether::{ChannelTag, DownTag, EtherType, Instant, MacAddr, Pcid, Pcp, Tag, UpTag, Vid};
use hairpin::{
    Control, EdgeMode, Extension, Frame, Limits, Parameters, PortConfig, PortId, Relay, RelayKind, Role,
    Verdict, VsiEntry, VsiFilter, VsiKey, policy::Policy,
};
use serde_json::{from_value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// To port extenders, or to the controlling bridge.
const LINK: PortId = PortId(0);

/// The only test of this binary: others would allocate meanwhile.
#[test]
fn no_frame_allocates() {
    let pcid = |port: PortId| Pcid::new(u32::from(port.0) + 1).unwrap();
    let limits = Limits { ports: 8, fdb_entries: 64, ..Limits::DEFAULT };
    let vid = Vid::new(10).unwrap();
    let rules = json!([{ "action": "deny", "protocol": "tcp", "dst_port": 25 }]);
    let rate = json!({ "bits_per_second": 1_000_000, "burst_octets": 3000 });
    let text = json!({
        "pcp": { "set": 3 }, "ingress": rules, "egress": rules, "ingress_rate": rate, "egress_rate": rate,
        "mirror": { "to": { "capture": 1 } },
    });
    let policy: Arc<Policy> = Arc::new(from_value(text).unwrap());
    let packet = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 4, 0, 0, 25];
    let igmp =
        [0x45, 0, 0, 28, 0, 0, 0, 0, 1, 2, 0, 0, 192, 0, 2, 1, 224, 0, 0, 1, 0x16, 0, 0, 0, 239, 1, 2, 3];
    let edges = [RelayKind::Edge(EdgeMode::Veb), RelayKind::Edge(EdgeMode::Vepa)];
    for kind in edges.into_iter().chain([RelayKind::Bridge, RelayKind::Extender]) {
        let relay = Relay::new(limits);
        let mut control = Control::new(kind, &limits);
        for id in (0..limits.ports).map(PortId) {
            let port = match kind {
                RelayKind::Bridge if id == LINK => PortConfig::new(id, Role::Cascade),
                RelayKind::Bridge => {
                    let extension = (id.0 > 4).then(|| Extension::Behind { cascade: LINK, pcid: pcid(id) });
                    PortConfig { tagged: [vid].into(), reflective: true, extension, ..PortConfig::lan(id) }
                }
                RelayKind::Extender if id == LINK => PortConfig::new(id, Role::Upstream),
                RelayKind::Extender => {
                    let extension = Some(Extension::End(Parameters::new(pcid(id)).into()));
                    PortConfig { extension, ..PortConfig::new(id, Role::Extended) }
                }
                RelayKind::Edge(_) if id.0 == 0 => PortConfig::new(id, Role::Uplink),
                RelayKind::Edge(_) => PortConfig::new(id, Role::Downlink),
            };
            control.set_port(port).unwrap();
        }
        let group = ether::ECid::new(0x10_0001).unwrap();
        control.set_flood(LINK, vid, Some((group, [5, 6, 7].map(PortId).into())));
        control.set_channel(group, [5, 6, 7].map(PortId).into());
        control.set_upstream(Some(LINK));
        for n in 1..6 {
            if kind == RelayKind::Extender {
                break;
            }
            let mac = Some(MacAddr(2, 0, 0, 0, 0, n)).filter(|_| n < 5);
            let filters = vec![VsiFilter { mac, vid, pcp: None }];
            let entry = VsiEntry { port: PortId(n.into()), filters, policy: Arc::clone(&policy) };
            control.open_vsi(VsiKey(n.into()), entry).unwrap();
        }
        relay.publish(control.snapshot());
        let mut reader = relay.reader();
        let mut verdict = Verdict::new(limits.ports);
        let (mut copies, mut mirrors, mut extended) = (0, 0, 0);
        let before = Region::new(ALLOCATOR);
        for n in 0..20_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            let dst = match n % 7 {
                0 => MacAddr::broadcast(),
                1 => MacAddr(1, 0, 0x5e, 1, b, c),
                2 => MacAddr(1, 0x80, 0xc2, 0, 0, c),
                _ => MacAddr(2, 0, 0, 0, 0, b % 8),
            };
            let src = MacAddr(2, 0, 0, a, if n % 3 == 0 { b } else { 0 }, c % 8);
            let payload: &[u8] = if n % 2 == 0 { &packet } else { &igmp };
            let tag = Some(Tag::c(vid)).filter(|_| n % 5 > 0);
            let frame = Frame { dst, src, tag, ethertype: EtherType::IPV4, len: 60, payload };
            let ingress = PortId(u16::from(c) % 9);
            let (now, snapshot) = (Instant::from_micros(n.into()), reader.load());
            let (pcp, dei, source) = (Pcp::default(), false, pcid(PortId(5)));
            match kind {
                RelayKind::Bridge if n % 4 == 0 => {
                    let tag = ChannelTag::Up(UpTag { source, pcp, dei });
                    relay.process_tagged(snapshot, now, LINK, tag, &frame, &mut verdict);
                }
                RelayKind::Extender if n % 4 == 0 => {
                    let tag = ChannelTag::Down(DownTag { to: group, source: Some(source), pcp, dei });
                    relay.process_tagged(snapshot, now, LINK, tag, &frame, &mut verdict);
                }
                _ => relay.process(snapshot, now, ingress, &frame, &mut verdict),
            }
            extended += verdict.copies().iter().filter(|copy| copy.via.is_some()).count();
            copies += verdict.copies().len();
            mirrors += verdict.mirrors().len();
        }
        let change = before.change();
        assert_eq!((change.allocations, change.reallocations, change.deallocations), (0, 0, 0), "{kind:?}");
        let extends = matches!(kind, RelayKind::Bridge | RelayKind::Extender);
        assert!(copies > 100 && (mirrors > 100 || kind == RelayKind::Extender), "{copies} {mirrors}");
        assert!(extends == (extended > 100), "{extended}");
    }
}
