//! Every vector of the specification and every frame captured from lldpad, read and written.
//!
//! A vector that no table names fails the suite. Where the octets written differ from the octets read, a comment of the
//! table says why.

#![cfg(test)]

mod file;
mod lldpad;
mod qbg;
mod words;

use bytes::Bytes;
use ether::{EtherType, FrameView, MacAddr, frame};
use lldp::{ChassisId, Lldpdu, Msap, OrgKey, PortId, tlv::TlvType};

use crate::file::Unchecked;

#[test]
fn every_vector_of_the_specification() {
    let mut vectors = Unchecked::read("qbg.txt", include_str!("qbg.txt"));
    qbg::check(&mut vectors);
    assert_eq!(vectors.into_rest().into_keys().collect::<Vec<_>>(), [""; 0], "vectors nobody checks");
}

#[test]
fn every_frame_of_lldpad() {
    let mut vectors = Unchecked::read("lldpad.txt", include_str!("lldpad.txt"));
    lldpad::check(&mut vectors);
    assert_eq!(vectors.into_rest().into_keys().collect::<Vec<_>>(), [""; 0], "vectors nobody checks");
}

const STATION: MacAddr = MacAddr(2, 0, 0, 0, 0x0a, 1);
const BRIDGE: MacAddr = MacAddr(2, 0, 0, 0, 0x0b, 1);

/// The payload of an untagged frame with this header.
fn payload<'a>(name: &str, octets: &'a [u8], dst: MacAddr, src: MacAddr, ethertype: EtherType) -> &'a [u8] {
    let view = FrameView::parse(octets).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!((view.dst, view.src, view.tag, view.ethertype), (dst, src, None, ethertype), "{name}");
    view.payload
}

/// Reads the LLDPDU of a whole frame, which must be written as it was, padding included.
fn lldpdu(name: &str, octets: &[u8], dst: MacAddr, src: MacAddr) -> Lldpdu {
    let payload = payload(name, octets, dst, src, EtherType::LLDP);
    let received = Lldpdu::parse(payload).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(received.faults, [], "{name}");
    let emitted = received.pdu.emit(lldp::pdu::MAX_LEN);
    assert_eq!(emitted.omitted, 0, "{name}");
    same(name, &frame::build(dst, src, EtherType::LLDP, &emitted.octets), octets);
    received.pdu
}

/// Reads `tlv` as the only optional one of an LLDPDU, which must be written as it was.
fn lldpdu_with(name: &str, tlv: &[u8]) -> Lldpdu {
    let msap = Msap { chassis: ChassisId::mac(STATION), port: PortId::mac(STATION) };
    let bare = Lldpdu::new(msap, 121).emit(lldp::pdu::MAX_LEN).octets;
    let octets = [&bare[..bare.len() - 2], tlv, &[0, 0]].concat();
    let received = Lldpdu::parse(&octets).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(received.faults, [], "{name}");
    same(name, &received.pdu.emit(lldp::pdu::MAX_LEN).octets, &octets);
    received.pdu
}

/// What the organizational TLV `tlv` says under 00-80-C2 and `subtype`.
fn ieee(name: &str, tlv: &[u8], subtype: u8) -> Bytes {
    org(name, &lldpdu_with(name, tlv), lldp::Oui::IEEE_802_1.0, subtype)
}

fn org(name: &str, pdu: &Lldpdu, oui: [u8; 3], subtype: u8) -> Bytes {
    let key = OrgKey { oui: lldp::Oui(oui), subtype };
    pdu.org(key).cloned().unwrap_or_else(|| panic!("{name}: no TLV {key}"))
}

const fn kind(number: u8) -> TlvType {
    TlvType::from_low_bits(number)
}

fn same(name: &str, written: &[u8], expected: &[u8]) {
    assert!(written == expected, "{name}: written {written:02x?}\nexpected {expected:02x?}");
}
