//! Through the core: what is configured is what leaves it.

use ether::{FrameView, Instant, MacAddr};
use lldp::{Lldpdu, Scope};

use crate::{Config, Core, Effect, Input, Link, PortId, config::EVERY_TLV, describe::describe};

const MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 7);

fn link(mtu: u32) -> Input {
    Input::Link { port: PortId(0), link: Link::Present { up: true, mac: MAC, ifindex: 3, mtu } }
}

/// (destination, what is said) of the LLDPDUs sent.
fn sent(core: &mut Core) -> Vec<(MacAddr, Lldpdu)> {
    let mut said = Vec::new();
    while let Some(effect) = core.poll_effect() {
        if let Effect::Transmit { frame, .. } = effect {
            let view = FrameView::parse(&frame).unwrap();
            said.push((view.dst, Lldpdu::parse(view.payload).unwrap().pdu));
        }
    }
    said
}

fn core(keys: &str) -> Core {
    let text =
        format!("role = \"bridge\"\nname = \"br\"\n[[port]]\ninterface = \"l\"\nkind = \"lan\"\n{keys}");
    Core::new(Config::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e:?}")), 1, Instant::ZERO)
}

#[test]
fn what_is_configured_is_said() {
    let mut core = core(&format!("[lldp.tlvs]{EVERY_TLV}"));
    core.handle(Instant::ZERO, link(1500));
    let (to, pdu) = sent(&mut core).pop().unwrap();
    assert_eq!(to, Scope::NearestBridge.address());
    let text = |text: &Option<lldp::basic::Text>| text.as_ref().unwrap().to_string();
    assert_eq!((text(&pdu.port_description), text(&pdu.system_name)), ("to the rack".into(), "tor".into()));
    assert!(text(&pdu.system_description).starts_with("evbd "));
    let addresses: Vec<_> = pdu.management_addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["192.0.2.1", "2001:db8::1", "02:00:00:00:00:07", "02:00:00:00:00:01"]);
    assert_eq!(pdu.management_addresses[0].interface, 3);
    let said: Vec<_> = pdu.org.iter().map(describe).collect();
    assert_eq!(
        said,
        [
            "MAC/PHY: autonegotiation on, offers 6c01, runs 1000BASE-T full duplex",
            "power via MDI: PSE, on, pairs signal, class 4, type 2 PSE, priority critical, asks for 25.5 W, is given 13.0 W",
            "link aggregation (802.3): capable, not aggregated",
            "maximum frame size 1518",
            "EEE: transmit wake 17 µs, receive 18 µs, fallback 18 µs, heard 19 and 20 µs",
            "MED network device, knows capabilities, policy, inventory",
            "network policy for voice: VLAN 100 tagged, priority 5, DSCP 46",
            "network policy for streaming video: untagged, priority 0, DSCP 0",
            "hardware revision \"h1\"",
            "firmware revision \"f1\"",
            "software revision \"s1\"",
            "serial number \"n1\"",
            "manufacturer \"m1\"",
            "model \"o1\"",
            "asset ID \"a1\"",
            "port VLAN 100",
            "port and protocol VLAN 200: supported yes, enabled yes",
            "port and protocol VLAN none: supported yes, enabled no",
            "VLAN 100 is named \"web\"",
            "VLAN 101 is named \"db\"",
            "protocol 88cc",
            "protocol 4242030000",
            "VID usage digest deadbeef",
            "management VLAN 10",
            "link aggregation: capable, aggregated in port 7",
            "congestion notification: priorities 3, ready 3",
            "application VLANs: TCP port 3260 in VLAN 100, DSCP 46 in VLAN 5",
        ]
    );
    // A changed MTU is told at once.
    core.handle(Instant::from_secs(5), link(9000));
    let (_, pdu) = sent(&mut core).pop().unwrap();
    assert_eq!(describe(&pdu.org[3]), "maximum frame size 9018");
}

#[test]
fn by_default_only_the_basic_ones_are_said() {
    let mut core = core("");
    core.handle(Instant::ZERO, link(1500));
    let said = sent(&mut core);
    assert_eq!(said.len(), 1, "a LAN port has one agent that works");
    let pdu = &said[0].1;
    assert_eq!(pdu.system_name.as_ref().unwrap().to_string(), "br");
    assert_eq!(pdu.port_description.as_ref().unwrap().to_string(), "LAN port");
    assert!(pdu.org.is_empty() && pdu.management_addresses.is_empty() && pdu.capabilities.is_some());
}

#[test]
fn each_agent_has_its_own_destination_and_hears_there() {
    let keys = "[port.lldp.nearest_bridge]\ndestination = \"01:80:c2:00:00:21\"\n\
                [port.lldp.nearest_non_tpmr]\nadmin = \"rx_tx\"\ndestination = \"02:00:00:00:00:99\"\n";
    let mut core = core(keys);
    core.handle(Instant::ZERO, link(1500));
    let said = sent(&mut core);
    let to: Vec<_> = said.iter().map(|(to, _)| *to).collect();
    let (group, single) = (MacAddr(1, 0x80, 0xc2, 0, 0, 0x21), MacAddr(2, 0, 0, 0, 0, 0x99));
    assert_eq!(to, [group, single]);
    let pdu = said[0].1.emit(1500).octets;
    let peer = MacAddr(2, 0, 0, 0, 0, 8);
    let mut hear = |dst| {
        // Another chassis, or it would be taken for our own.
        let mut octets = pdu.to_vec();
        octets[8] = 0x55;
        let frame = ether::frame::build(dst, peer, ether::EtherType::LLDP, &octets);
        core.handle(Instant::from_secs(1), Input::Frame { port: PortId(0), frame });
        core.ports[0].agents.iter().map(|agent| agent.neighbors().count()).collect::<Vec<_>>()
    };
    assert_eq!(hear(Scope::NearestBridge.address()), [0, 0, 0]);
    assert_eq!(hear(group), [1, 0, 0]);
    assert_eq!(hear(MAC), [1, 1, 0], "who is sent to by address answers by address");
}
