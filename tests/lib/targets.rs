//! What may be done with any octets whatever: every decoder read and written, every engine driven by a script.
//!
//! Each target takes octets and asserts. The suite `decoders` runs them on mutated seeds, `fuzz/` under libFuzzer.
//!
//! Of what is read, what is written reads as the same again, and takes no more octets. Of engines, see `script.rs`.

mod channels;
mod daemon;
mod engines;
mod extension;
mod relay;
mod script;
mod tree;

use std::fmt::{Debug, Display};

use bytes::Bytes;
use cdcp::CdcpTlv;
use dcbx::{cee, ieee};
use ether::{DownTag, FrameView, Framing, Instant, UpTag, frame};
use lldp::{Lldpdu, tlv};
use vdp::{
    Command, FilterInfo,
    draft::{EvbDraft, Receiver},
    evb::tlv::{EvbTlv, Mode},
    tlv::{Association, Item, Vdpdu, Verdict},
};

/// What is done with octets.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const ALL: &[(&str, Target)] = &[
    ("ether_frame", ether_frame),
    ("channel_tag", channel_tag),
    ("lldp_tlv", lldp_tlv),
    ("lldp_pdu", lldp_pdu),
    ("evb_tlv", |octets| same_again(octets, EvbTlv::parse, EvbTlv::to_bytes)),
    ("cdcp_tlv", |octets| same_again(octets, CdcpTlv::parse, CdcpTlv::to_bytes)),
    ("port_extension_tlv", |octets| {
        same_again(octets, pe::PortExtensionTlv::parse, pe::PortExtensionTlv::to_bytes);
    }),
    ("marker", |octets| same_again(octets, pe::Marker::parse, pe::Marker::to_bytes)),
    ("csp_pdu", extension::csp_pdu),
    ("code_book", extension::code_book),
    ("ets_configuration", |octets| {
        same_again(octets, ieee::EtsConfiguration::parse, ieee::EtsConfiguration::to_bytes);
    }),
    ("ets_recommendation", |octets| {
        same_again(octets, ieee::EtsRecommendation::parse, ieee::EtsRecommendation::to_bytes);
    }),
    ("pfc", |octets| same_again(octets, ieee::Pfc::parse, ieee::Pfc::to_bytes)),
    ("application_priority", |octets| {
        same_again(octets, ieee::ApplicationPriority::parse, ieee::ApplicationPriority::to_bytes);
    }),
    ("cee", |octets| same_again(octets, cee::CeeTlv::parse, |tlv| tlv.to_bytes().unwrap())),
    ("cin", |octets| same_again(octets, cee::CinTlv::parse, |tlv| tlv.to_bytes().unwrap())),
    ("ecp_header", ecp_header),
    ("vdpdu", vdpdu),
    ("draft", draft),
    ("decode", decode),
    ("capture", capture),
    ("manager_answer", manager_answer),
    ("control_call", control_call),
    ("libvirt", libvirt),
    ("guest_xml", guest_xml),
    ("lldp_agent", engines::lldp_agent),
    ("ecp_link", engines::ecp_link),
    ("vdp_station", engines::vdp_station),
    ("vdp_bridge", engines::vdp_bridge),
    ("pe_controlling", extension::controlling),
    ("pe_extender", extension::extender),
    ("core_station", daemon::core_station),
    ("core_bridge", daemon::core_bridge),
    ("core_channels", tree::core_channels),
    ("core_cascade", tree::core_cascade),
    ("core_extender", tree::core_extender),
    ("relay", relay::relay),
    ("relay_channels", channels::channels),
];

/// Runs the target `name`.
///
/// # Panics
/// When there is none of that name, and when the octets show a fault.
pub fn run(name: &str, octets: &[u8]) {
    let (_, target) = ALL.iter().find(|(known, _)| *known == name).expect("a target of that name");
    target(octets);
}

/// A frame in words: one line, faults within it, fields that print both ways.
fn decode(octets: &[u8]) {
    let decoded = evbd::decode::decode(octets);
    assert!(!decoded.line.is_empty() && !decoded.line.contains('\n'), "{}", decoded.line);
    assert!(decoded.faults.iter().all(|fault| fault.offset <= octets.len()));
    assert!(!decoded.fields.indented(4).is_empty());
    serde_json::to_string(&decoded).unwrap();
}

/// A capture gives no more than it has.
fn capture(octets: &[u8]) {
    let Ok(capture) = evbd::decode::Capture::new(octets) else { return };
    let frames = capture.filter_map(Result::ok);
    assert!(frames.map(|record| record.frame.len()).sum::<usize>() <= octets.len());
}

fn ether_frame(octets: &[u8]) {
    let Ok(view) = FrameView::parse(octets) else { return };
    let tag = view.tag.map(ether::Tag::to_bytes);
    let mut again = frame::build(view.dst, view.src, view.ethertype, view.payload);
    again.truncate(frame::HEADER + view.payload.len());
    again.splice(12..12, tag.into_iter().flatten());
    assert_eq!(again, octets);
}

/// Tags of E-channels, both ways and in both framings.
fn channel_tag(octets: &[u8]) {
    for framing in [Framing::Etag, Framing::Vntag] {
        if let Ok(tag) = UpTag::parse(framing, octets) {
            let again = tag.octets(framing).unwrap();
            assert_eq!(UpTag::parse(framing, again.as_slice()), Ok(tag));
        }
        if let Ok(tag) = DownTag::parse(framing, octets) {
            let again = tag.octets(framing).unwrap();
            assert_eq!(DownTag::parse(framing, again.as_slice()), Ok(tag));
        }
    }
}

fn lldp_tlv(octets: &[u8]) {
    let (mut again, mut cut) = (Vec::new(), false);
    for tlv in tlv::Tlvs::new(octets) {
        assert!(!cut, "a TLV after an error");
        let Ok(tlv) = tlv else {
            cut = true;
            continue;
        };
        assert_eq!(tlv.offset, again.len());
        tlv::put(&mut again, tlv.kind, tlv.value).unwrap();
    }
    assert!(octets.starts_with(&again) && (cut || again.len() == octets.len()));
}

fn lldp_pdu(octets: &[u8]) {
    let Ok(received) = Lldpdu::parse(octets) else { return };
    let pdu = received.pdu;
    in_words(&pdu);
    serde_json::to_string(&pdu).unwrap();
    received.faults.iter().for_each(in_words);
    let whole = pdu.emit(usize::MAX);
    assert!(whole.omitted == 0 && whole.octets.len() <= octets.len() + tlv::HEADER);
    assert_eq!(
        Lldpdu::parse(&whole.octets).map(|again| (again.pdu, again.faults)),
        Ok((pdu.clone(), vec![]))
    );
    let least = Lldpdu::new(pdu.msap.clone(), pdu.ttl).emit(0).octets.len();
    for max in [0, 64, 300, lldp::pdu::MAX_LEN] {
        let emitted = pdu.emit(max);
        assert!(emitted.octets.len() <= max.max(least));
        let again = Lldpdu::parse(&emitted.octets).unwrap();
        assert_eq!((again.pdu.msap, again.pdu.ttl, again.faults), (pdu.msap.clone(), pdu.ttl, vec![]));
    }
}

/// The value of an organizational TLV: what is read is written, no longer than it was, and reads as the same.
fn same_again<T, E>(octets: &[u8], parse: fn(&[u8]) -> Result<T, E>, write: impl Fn(&T) -> Bytes)
where
    T: Debug + Display + PartialEq,
    E: Debug + Display + PartialEq,
{
    let octets = &octets[..octets.len().min(lldp::OrgTlv::MAX)];
    let tlv = match parse(octets) {
        Ok(tlv) => tlv,
        Err(fault) => return in_words(&fault),
    };
    in_words(&tlv);
    let again = write(&tlv);
    assert!(again.len() <= octets.len(), "{} octets became {}", octets.len(), again.len());
    assert_eq!(parse(&again), Ok(tlv));
}

fn ecp_header(octets: &[u8]) {
    let Ok((header, rest)) = ecp::Header::parse(octets) else {
        assert!(ecp::peek_subtype(octets).is_err());
        return;
    };
    assert_eq!(ecp::peek_subtype(octets), Ok(header.subtype));
    let mut again = Vec::new();
    header.put(&mut again);
    again.extend_from_slice(rest);
    assert_eq!(ecp::Header::parse(&again), Ok((header, rest)));
    assert_eq!(again, octets);
}

/// What a VSI manager says, and a file of profiles.
fn manager_answer(octets: &[u8]) {
    if let Ok(answer) = evbd::vsidb::Answer::read(vdp::ManagerId::default(), octets) {
        assert!(answer.profiles.iter().all(|profile| profile.check().is_ok()));
        let written = serde_json::to_vec(&answer).unwrap();
        assert_eq!(evbd::vsidb::Answer::read(vdp::ManagerId::default(), &written), Ok(answer));
    }
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = evbd::Config::parse_profiles("file", text);
    }
}

/// What a client of the control socket says after its handshake: there is an answer or none, and the next one is heard.
fn control_call(octets: &[u8]) {
    evbd::api::hear(octets).unwrap();
}

/// Each request is answered, by one message whose length is its own, and no answer is answered.
fn libvirt(octets: &[u8]) {
    let mut guests = evbd::libvirt::Guests::new(8);
    guests.set_uplink(Some(3));
    let wants = |octets: &[u8]| {
        let whole = evbd::libvirt::wire::messages(octets).filter(|(header, _)| header.wants_answer()).count();
        let first = evbd::libvirt::wire::header(octets).is_some_and(|header| header.wants_answer());
        (whole, first)
    };
    let (whole, first) = wants(octets);
    let answers = evbd::libvirt::respond(&mut guests, Instant::ZERO, octets);
    let cut = evbd::libvirt::wire::messages(octets).next().is_none() && first;
    assert_eq!(answers.len(), whole + usize::from(cut));
    for answer in answers {
        let length = answer.first_chunk().map(|octets| u32::from_ne_bytes(*octets));
        assert_eq!(length, u32::try_from(answer.len()).ok());
        assert!(evbd::libvirt::respond(&mut guests, Instant::ZERO, &answer).is_empty());
    }
    assert!(guests.outcome(3).unwrap().len() <= 8);
}

/// What libvirt says of a VM: no more interfaces than are looked at, or words.
fn guest_xml(octets: &[u8]) {
    match evbd::guests::understand(&String::from_utf8_lossy(octets)) {
        Ok(interfaces) => assert!(interfaces <= 64),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// What a draft payload says in the words of the standard says the same when it is said back.
fn draft(octets: &[u8]) {
    for receiver in [Receiver::Bridge, Receiver::Station] {
        for pdu in vdp::draft::to_standard(octets, receiver) {
            Vdpdu::parse(&pdu).unwrap();
            let again = vdp::draft::from_standard(&pdu);
            assert_eq!(vdp::draft::to_standard(&again, receiver), [pdu]);
        }
    }
    let _ = vdp::draft::from_standard(octets);
    let _ = ecp::Dialect::Draft.parse(octets);
    match EvbDraft::parse(octets) {
        Ok(tlv) => {
            let _ = (tlv.to_standard(Mode::Bridge).to_string(), tlv.to_standard(Mode::Station).to_string());
            let again = EvbDraft::parse(&tlv.to_bytes()).unwrap();
            assert_eq!(
                (again.supported, again.configured, again.vsis, again.rte),
                (tlv.supported, tlv.configured, tlv.vsis, tlv.rte)
            );
        }
        Err(fault) => in_words(&fault),
    }
}

fn vdpdu(octets: &[u8]) {
    let pdu = match Vdpdu::parse(octets) {
        Ok(pdu) => pdu,
        Err(fault) => return in_words(&fault),
    };
    assert_eq!(pdu.manager.to_string().parse(), Ok(pdu.manager));
    let again = pdu.to_bytes().unwrap();
    assert!(again.len() <= octets.len() + tlv::HEADER);
    assert_eq!(Vdpdu::parse(&again).as_ref(), Ok(&pdu));
    let bare = |item: &Item| matches!(item, Item::Association(Association { filter: None, .. }));
    if !pdu.items.iter().any(bare) {
        // Bits without a meaning aside, nothing is left out.
        assert_eq!(shape(&again), shape(octets));
    }
    for item in pdu.items {
        match item {
            Item::Association(Association { id, filter, .. }) => {
                assert_eq!(id.to_string().parse(), Ok(id));
                let Some(filter) = filter else { continue };
                assert!(filter.covers(&filter) && filter.entries().len() <= filter.format().max_entries());
                assert_eq!(FilterInfo::new(filter.entries().to_vec()).as_ref(), Ok(&filter));
                let text = serde_json::to_string(&filter).unwrap();
                assert_eq!(serde_json::from_str::<FilterInfo>(&text).unwrap(), filter);
            }
            Item::Malformed(bad) => {
                in_words(&bad.error);
                let refused = Verdict { keep: false, hard: true, error: bad.error.code() };
                let items: Vec<_> = bad.answer(Command::DeAssociate, refused).into_iter().collect();
                let answer = Vdpdu { manager: pdu.manager, items }.to_bytes().unwrap();
                Vdpdu::parse(&answer).unwrap();
            }
            Item::Organizational { .. } | Item::Unknown { .. } => {}
        }
    }
}

/// Type and length of every TLV before the End TLV.
fn shape(pdu: &[u8]) -> Vec<(u8, usize)> {
    let tlvs = tlv::Tlvs::new(pdu).map_while(Result::ok).map(|tlv| (tlv.kind.get(), tlv.value.len()));
    tlvs.take_while(|(kind, _)| *kind != 0).collect()
}

fn in_words(value: &(impl Debug + Display)) {
    assert!(!value.to_string().is_empty() && !format!("{value:?}").is_empty());
}
