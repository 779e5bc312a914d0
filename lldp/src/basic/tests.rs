use super::*;
use crate::error::LocalError;

fn shown(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn identifiers_read_as_what_they_are() {
    let id = |subtype, id: &'static [u8]| ChassisId::new(subtype, id).unwrap().to_string();
    use ChassisSubtype::*;
    assert_eq!(ChassisId::mac(MacAddr(2, 0, 0, 0, 0xa, 1)).to_string(), "02:00:00:00:0a:01");
    assert_eq!(id(MacAddress, &[2, 0, 0]), "020000");
    assert_eq!(id(NetworkAddress, &[1, 192, 0, 2, 1]), "192.0.2.1");
    assert_eq!(id(NetworkAddress, &[2, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), "fe80::1");
    assert_eq!(id(NetworkAddress, &[6, 2, 0, 0, 0, 0xa, 1]), "02:00:00:00:0a:01");
    assert_eq!(id(NetworkAddress, &[1, 192, 0]), "c000");
    assert_eq!(id(NetworkAddress, &[9, 1, 2]), "0102");
    assert_eq!(id(InterfaceName, b"eth\n0\xff"), "eth\\u{a}0\u{fffd}");
    for subtype in [ChassisComponent, InterfaceAlias, PortComponent, Local, Unknown(200)] {
        assert_eq!(id(subtype, b"Slot 1/5"), "Slot 1/5");
        assert_eq!(id(subtype, &[0, 1, 0xfe]), "0001fe");
    }
    let port = PortId::new(PortSubtype::InterfaceName, &b"eth0"[..]).unwrap();
    assert_eq!(shown(&port), r#"{"subtype":"interface_name","id":"eth0"}"#);
}

#[test]
fn identifiers_differ_by_subtype_too() {
    let id = |subtype| ChassisId::new(subtype, &b"a"[..]).unwrap();
    assert_ne!(id(ChassisSubtype::Local), id(ChassisSubtype::InterfaceName));
    assert_ne!(id(ChassisSubtype::Unknown(9)), id(ChassisSubtype::Unknown(10)));
}

#[test]
fn identifiers_have_1_to_255_octets() {
    let new = |len| PortId::new(PortSubtype::Local, vec![b'x'; len]).map(|id| id.id().len());
    assert_eq!((new(1), new(255)), (Ok(1), Ok(255)));
    assert_eq!((new(0), new(256)), (Err(LocalError::IdLength(0)), Err(LocalError::IdLength(256))));
}

#[test]
fn text_is_cut_between_characters() {
    let long = "ä".repeat(200);
    assert_eq!(Text::truncated(&long).as_bytes().len(), 254);
    assert_eq!(Text::truncated("vm").as_bytes(), "vm");
}

#[test]
fn text_of_a_peer_cannot_steer_the_terminal() {
    let text = Text::parse(b"a\x1b[2J\x00\xe2\x80\xae\xff").unwrap();
    assert_eq!(text.to_string(), "a\\u{1b}[2J\\u{0}\\u{202e}\u{fffd}");
    assert_eq!(shown(&text), "\"a\\\\u{1b}[2J\\\\u{0}\\\\u{202e}\u{fffd}\"");
}

#[test]
fn capabilities_have_names() {
    let set = CapabilitySet(CapabilitySet::BRIDGE.0 | CapabilitySet::ROUTER.0 | 0x8000);
    assert_eq!(set.names().collect::<Vec<_>>(), ["bridge", "router", "bit15"]);
    assert_eq!(CapabilitySet(u16::MAX).names().count(), 16);
    // LLDP-T of the specification: can be bridge and router, is bridge.
    let read = Capabilities::parse(&[0x00, 0x14, 0x00, 0x04]).unwrap();
    assert_eq!(shown(&read), r#"{"supported":["bridge","router"],"enabled":["bridge"]}"#);
    assert_eq!(read.value(), [0x00, 0x14, 0x00, 0x04]);
}

#[test]
fn management_address_both_ways() {
    // LLDP-T of the specification.
    let v4 = [0x05, 0x01, 0xc0, 0x00, 0x02, 0x01, 0x02, 0x00, 0x00, 0x00, 0x03, 0x00];
    let ours = ManagementAddress::ip(Ipv4Addr::new(192, 0, 2, 1).into(), InterfaceNumbering::IfIndex, 3);
    assert_eq!(ManagementAddress::parse(&v4, 0), Ok(ours.clone()));
    assert_eq!(ours.value()[..], v4);
    assert_eq!(ours.to_string(), "192.0.2.1");
    assert_eq!(shown(&ours), r#"{"address":"192.0.2.1","numbering":2,"interface":3,"oid":""}"#);

    let mac = ManagementAddress::mac(MacAddr(2, 0, 0, 0, 0xa, 1), InterfaceNumbering::NotKnown, 0);
    assert_eq!(mac.value()[..], [7, 6, 2, 0, 0, 0, 0xa, 1, 1, 0, 0, 0, 0, 0]);
    let v6 = ManagementAddress::ip(Ipv6Addr::LOCALHOST.into(), InterfaceNumbering::SystemPort, 7);
    for address in [mac, v6] {
        assert_eq!(ManagementAddress::parse(&address.value(), 0), Ok(address));
    }
}

#[test]
fn longest_management_address() {
    let mut value = vec![32, 6];
    value.extend([1; 31]);
    value.extend([2, 0, 0, 0, 9, 128]);
    value.extend([3; 128]);
    assert_eq!(value.len(), 167);
    let read = ManagementAddress::parse(&value, 0).unwrap();
    assert_eq!((read.address().len(), read.oid().len()), (31, 128));
    assert_eq!(read.value(), value);
}

#[test]
fn management_address_cut_anywhere() {
    let whole = ManagementAddress::ip(Ipv4Addr::LOCALHOST.into(), InterfaceNumbering::IfIndex, 3).value();
    for len in 0..whole.len() {
        assert_eq!(
            ManagementAddress::parse(&whole[..len], 5),
            Err(PeerTlvFault::ManagementAddressFields { offset: 5, length: len })
        );
    }
}
