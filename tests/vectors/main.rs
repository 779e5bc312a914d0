//! Every vector of the specification and every frame captured from lldpad, read and written.
//!
//! A vector that no table names fails the suite. Where the octets written differ from the octets read, a comment of the
//! table says why.

#![cfg(test)]

mod file;
mod lldpad;
mod qbg;
mod words;

use std::collections::BTreeMap;

use bytes::Bytes;
use ecp::Header;
use ether::{EtherType, FrameView, MacAddr, frame, mac};
use lldp::{ChassisId, Lldpdu, Msap, OrgKey, PortId, tlv::TlvType};

#[test]
fn every_vector_of_the_specification() {
    let mut vectors = Unchecked(file::read(include_str!("qbg.txt")));
    qbg::check(&mut vectors);
    vectors.are_none();
}

#[test]
fn every_frame_of_lldpad() {
    let mut vectors = Unchecked(file::read(include_str!("lldpad.txt")));
    lldpad::check(&mut vectors);
    vectors.are_none();
}

/// The vectors of a file that no table has named yet.
struct Unchecked(BTreeMap<&'static str, Vec<u8>>);

impl Unchecked {
    /// The octets of the one vector whose label starts with the words of `name`.
    fn take(&mut self, name: &str) -> Vec<u8> {
        let starts = |label: &&str| label.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        let labels: Vec<_> = self.0.keys().copied().filter(starts).collect();
        assert_eq!(labels.len(), 1, "vectors left with the name {name}: {labels:?}");
        self.0.remove(labels[0]).unwrap()
    }

    fn are_none(self) {
        assert!(self.0.is_empty(), "vectors that nobody checks: {:?}", self.0.keys());
    }
}

const STATION: MacAddr = MacAddr(2, 0, 0, 0, 0x0a, 1);
const BRIDGE: MacAddr = MacAddr(2, 0, 0, 0, 0x0b, 1);
const NCB: MacAddr = mac::NEAREST_CUSTOMER_BRIDGE;

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

/// An ECPDU.
fn emitted(header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    header.put(&mut octets);
    octets.extend_from_slice(payload);
    octets
}

const fn kind(number: u8) -> TlvType {
    TlvType::from_low_bits(number)
}

fn same(name: &str, written: &[u8], expected: &[u8]) {
    assert!(written == expected, "{name}: written {written:02x?}\nexpected {expected:02x?}");
}
