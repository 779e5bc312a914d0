//! Both ends together.

mod net;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use ether::{ECid, Instant, MacAddr, Pcid, Vid, time::Duration};
use proptest::prelude::*;

use net::*;

use crate::{
    CascadePriority, CodeBook, Controlling, Extender, Marker, Name, Names, Offer, PortParameters,
    SessionState, Why,
    controlling::{self, At},
    csp::{Completion, Message, Pdu, PortItem, Tlv, session::Peer},
    extender::{self, Local, PortInfo},
};

#[test]
fn ports_have_names() {
    let mut net = Net::new(&[None, Some(0)], 0);
    net.ports(0, [1, CASCADE]);
    net.ports(1, [2]);
    net.run(SOON);
    let names = |port| Names { extender: name("rack"), port: name(port) };
    assert_eq!(net.names[&net.pcid(0, 1)], names("tap1"));
    assert_eq!(net.names[&net.pcid(1, 2)], names("tap2"));
    net.agree();
}

#[test]
fn counters_come_from_where_they_are_counted() {
    let mut net = Net::new(&[None, Some(0)], 0);
    net.ports(0, (1..40).chain([CASCADE]));
    net.ports(1, [1]);
    net.run(SOON);
    let far = |net: &Net, index, local| net.bridge.counters(net.pcid(index, local));
    assert_eq!(far(&net, 0, 1), None, "nobody has been asked yet");
    net.loss = 10;
    net.run(Duration::from_secs(11));
    for local in (1..40).chain([CASCADE]) {
        assert_eq!(far(&net, 0, local).map(|(_, values)| values), Some(counters(0, local)), "{local}");
    }
    let (first, values) = far(&net, 1, 1).unwrap();
    assert_eq!(values, counters(1, 1));
    net.run(Duration::from_secs(11));
    assert!(far(&net, 1, 1).unwrap().0 > first, "again and again");
    let answers = net.extenders[0].engine.stats().tx_responses;
    net.bridge.configure(
        net.now,
        controlling::Settings { ecp: settings(0).ecp, tiers: 4, statistics: Duration::ZERO },
    );
    net.run(Duration::from_secs(60));
    assert_eq!(net.extenders[0].engine.stats().tx_responses, answers, "nobody wants to know");
}

#[test]
fn a_bridge_that_remembers_goes_on_at_once() {
    let mut net = Net::new(&[None, Some(0)], 30);
    net.ports(0, [1, 2, CASCADE]);
    net.ports(1, [1, 2]);
    net.run(SOON);
    net.agree();
    let before: Vec<_> = (0..2).map(|index| net.extenders[index].ports.clone()).collect();
    let held: Vec<controlling::Held> =
        net.bridge.ports().filter_map(|port| net.bridge.held(port.pcid)).collect();
    assert_eq!(held.len(), 5);
    let text = serde_json::to_string(&held).unwrap();
    assert_eq!(serde_json::from_str::<Vec<controlling::Held>>(&text).unwrap(), held);
    let mut held = held;
    held.sort_by_key(|held| held.behind.is_some());
    let ghost = controlling::Held {
        pcid: Pcid::new(77).unwrap(),
        local: 500,
        names: Names::default(),
        ..held[0].clone()
    };
    net.made.clear();
    net.bridge = Controlling::new(
        Some(Arc::new(CodeBook::p0())),
        controlling::Settings { ecp: settings(0).ecp, tiers: 4, statistics: Duration::ZERO },
        0x4711,
    );
    for held in held.iter().chain([&ghost]) {
        let open = PortParameters { admin_up: true, blocked: false, ..PortParameters::new(held.pcid) };
        assert!(net.bridge.resume(net.now, held.clone(), open.clone()));
        assert!(!net.bridge.resume(net.now, held.clone(), open), "once");
    }
    net.drain();
    assert!(net.made.len() == 6 && net.made.values().all(|up| *up), "before anybody has spoken");
    net.run(SOON);
    for (index, before) in before.iter().enumerate() {
        assert_eq!(net.extenders[index].ports, *before, "identifiers and parameters stay");
    }
    assert_eq!(net.bridge.ports().filter(|port| port.presumed).count(), 1);
    net.run(controlling::PRESUMED);
    assert!(!net.made.contains_key(&ghost.pcid), "nobody spoke of it");
    net.agree();
}

#[test]
fn another_code_book_closes_sessions() {
    let mut net = Net::new(&[None], 0);
    net.ports(0, [1]);
    net.run(SOON);
    net.agree();
    let mut other = CodeBook::p0();
    other.name = "same numbers".to_owned();
    net.bridge.set_book(net.now, Arc::new(other.clone()));
    net.drain();
    assert_eq!(net.made.len(), 1, "the same numbers by another name");
    other.messages.insert(Message::Create, 66);
    net.bridge.set_book(net.now, Arc::new(other));
    net.drain();
    let state = net.bridge.sessions().next().unwrap().1.state();
    assert_eq!(state, SessionState::Idle { because: Why::NoBook });
    assert!(net.made.is_empty());
    net.bridge.set_book(net.now, Arc::new(CodeBook::p0()));
    net.run(SOON * 20);
    net.agree();
    assert_eq!(net.made.len(), 1);
}

#[test]
fn two_tiers_and_a_flood() {
    let mut net = Net::new(&[None, Some(0)], 0);
    net.ports(0, [1, 2, CASCADE]);
    net.ports(1, [1, 2]);
    net.run(SOON);
    net.agree();
    assert_eq!(net.made.len(), 5);
    assert!(net.made.values().all(|up| *up));
    let members: Vec<Pcid> = [(0, 1), (0, 2), (1, 1), (1, 2)].map(|(pe, local)| net.pcid(pe, local)).to_vec();
    net.flood(100, members.clone());
    net.run(SOON);
    net.agree();
    let (ecid, told) = net.floods[&vid(100)].clone();
    assert!(ecid.is_group() && BTreeSet::from_iter(told) == BTreeSet::from_iter(members.clone()));
    assert_eq!(net.extenders[0].channels[&ecid], [1, 2, CASCADE], "the nested ones by the cascade port");
    assert_eq!(net.extenders[1].channels[&ecid], [1, 2]);
    for member in &members[2..] {
        assert_eq!(net.extenders[0].channels[&ECid::from(*member)], [CASCADE]);
    }
    // Two members: the bridge sends to each.
    net.flood(100, members[..2].iter().copied());
    net.run(SOON);
    net.agree();
    assert!(net.floods.is_empty() && !net.extenders[0].channels.contains_key(&ecid));
}

#[test]
fn a_port_goes_and_comes() {
    let mut net = Net::new(&[None, Some(0)], 0);
    net.ports(0, [1, CASCADE]);
    net.ports(1, [1, 2]);
    net.run(SOON);
    let before = net.pcid(0, 1);
    net.port(0, 1, Some(PortInfo { name: None, cascade: false, up: false }));
    net.run(SOON);
    assert!(!net.made[&before]);
    net.port(0, 1, None);
    net.run(SOON);
    net.agree();
    assert!(!net.made.contains_key(&before));
    // The way to the second port extender goes, and with it that one's ports.
    net.port(0, CASCADE, None);
    net.run(SOON);
    net.agree();
    assert!(net.made.is_empty(), "{:?}", net.made);
    net.ports(0, [1, CASCADE]);
    net.run(Duration::from_secs(60));
    net.agree();
    assert_eq!(net.made.len(), 4);
}

#[test]
fn held_ports_get_back_what_they_had() {
    let mut net = Net::new(&[None, Some(0)], 30);
    net.ports(0, [3, 1, CASCADE]);
    net.ports(1, [1]);
    net.run(SOON);
    let had: Vec<_> = net.extenders.iter().map(|pe| (pe.ports.clone(), pe.channels.clone())).collect();
    // The bridge restarts.
    let book = Arc::new(CodeBook::p0());
    net.bridge = Controlling::new(
        Some(book),
        controlling::Settings { ecp: settings(0).ecp, tiers: 4, statistics: Duration::from_secs(10) },
        0x4711,
    );
    net.made.clear();
    for pe in &mut net.extenders {
        pe.life += 1;
        pe.engine.set_offer(net.now, UP, None);
    }
    let held: Vec<_> = net.extenders.iter().map(|pe| (pe.ports.clone(), pe.channels.clone())).collect();
    assert_eq!(held, had);
    net.run(SOON);
    net.agree();
    let again: Vec<_> = net.extenders.iter().map(|pe| (pe.ports.clone(), pe.channels.clone())).collect();
    assert_eq!(again, had);
    // Held, but not for ever.
    net.extenders[1].engine.set_offer(net.now, UP, None);
    net.extenders[1].engine.handle_timeout(net.now + Duration::from_secs(30));
    assert!(net.extenders[1].engine.ports().all(|port| port.pcid.is_none()));
}

#[test]
fn each_loss_has_a_hold_of_its_own() {
    let mut net = Net::new(&[None], 30);
    net.ports(0, [1]);
    net.run(SOON);
    let lose = |net: &mut Net| {
        net.extenders[0].engine.set_offer(net.now, UP, None);
        assert!(net.extenders[0].engine.ports().all(|port| port.stale && port.open));
    };
    lose(&mut net);
    net.run(Duration::from_secs(28));
    assert!(net.extenders[0].engine.ports().all(|port| !port.stale), "a new session has confirmed it");
    lose(&mut net);
    let (now, ports) =
        (net.now, |net: &Net| net.extenders[0].engine.ports().filter(|port| port.open).count());
    net.extenders[0].engine.handle_timeout(now + Duration::from_secs(29));
    assert_eq!(ports(&net), 1, "it holds as long as the first time");
    net.extenders[0].engine.handle_timeout(now + Duration::from_secs(30));
    assert_eq!(ports(&net), 0);
}

#[test]
fn more_than_there_is_room_for() {
    let mut net = Net::new(&[None], 0);
    net.room = 10;
    net.ports(0, 0..20);
    net.run(SOON);
    net.agree();
    assert_eq!(net.made.len(), 10);
    assert_eq!(net.extenders[0].engine.ports().filter(|port| port.refused).count(), 10);
    assert_eq!(net.bridge.sessions().next().unwrap().1.stats().rx_request_errors, 10);
}

#[test]
fn five_tiers_are_one_too_many() {
    let mut net = Net::new(&[None, Some(0), Some(1), Some(2), Some(3)], 0);
    for index in 0..5 {
        net.ports(index, [1, CASCADE]);
    }
    net.run(Duration::from_secs(10));
    net.agree();
    assert_eq!(net.made.len(), 7, "the fourth has no cascade port");
    assert!(net.at(4).is_none());
}

#[test]
fn who_has_another_book_hears_nothing() {
    let mut bridge = Controlling::new(
        Some(Arc::new(CodeBook::p0())),
        controlling::Settings { ecp: ecp::Params::default(), tiers: 4, statistics: Duration::ZERO },
        1,
    );
    let now = Instant::from_secs(1);
    let marker = Marker { digest: 1, ..Marker::new(&CodeBook::p0(), true, 1, 0) };
    for marker in [None, Some(marker)] {
        bridge.set_peer(now, None, Some(Peer { address: mac(1), marker, chosen: true }));
        bridge.handle_ecpdu(now, None, mac(1), &[0x10, 2, 0, 1, 2, 10]);
        while let Some(output) = bridge.poll_output() {
            let idle = SessionState::Idle { because: Why::NoBook };
            assert_eq!(output, controlling::Output::Session(None, idle));
        }
        assert_eq!(bridge.poll_timeout(), None);
    }
    assert_eq!(bridge.sessions().next().unwrap().1.stats().rx_foreign, 2);
}

/// One end of a session that opens, then says `requests`; what it is answered.
fn converse(requests: Vec<Pdu>) -> (Controlling, Vec<Pdu>) {
    let book = CodeBook::p0();
    let mut bridge = Controlling::new(
        Some(Arc::new(book.clone())),
        controlling::Settings { ecp: ecp::Params::default(), tiers: 4, statistics: Duration::ZERO },
        1,
    );
    let now = Instant::from_secs(1);
    let peer = Peer { address: mac(1), marker: Some(Marker::new(&book, true, 1, 0)), chosen: true };
    bridge.set_peer(now, None, Some(peer));
    let (mut answers, mut sequence) = (Vec::new(), 100u16);
    let mut say = |bridge: &mut Controlling, pdu: &Pdu| {
        let mut ecpdu = Vec::new();
        sequence += 1;
        let (operation, subtype) = (ecp::Operation::Request, ecp::Subtype::PeCsp);
        ecp::Header { operation, subtype, sequence: ecp::Seq(sequence) }.put(&mut ecpdu);
        ecpdu.extend(pdu.to_bytes(&book));
        bridge.handle_ecpdu(now, None, mac(1), &ecpdu);
        let mut told = Vec::new();
        while let Some(output) = bridge.poll_output() {
            match output {
                controlling::Output::Transmit { ecpdu, .. } => {
                    let (header, payload) = ecp::Header::parse(&ecpdu).unwrap();
                    if header.operation == ecp::Operation::Request {
                        told.push(Pdu::parse(&book, payload).unwrap());
                        let mut ack = Vec::new();
                        ecp::Header { operation: ecp::Operation::Ack, ..header }.put(&mut ack);
                        bridge.handle_ecpdu(now, None, mac(1), &ack);
                    }
                }
                controlling::Output::Create { pcid, .. } => {
                    bridge.created(now, pcid, Some(PortParameters::new(pcid)));
                }
                _ => {}
            }
        }
        told
    };
    let open = Pdu { transaction: 1, ..Pdu::request(Message::Open, None, vec![]) };
    let opened = Pdu { answer: Some(Completion::Success), ..open.clone() };
    for pdu in [open, opened].iter().chain(&requests) {
        answers.extend(say(&mut bridge, pdu).into_iter().filter(|told| told.answer.is_some()));
    }
    (bridge, answers.split_off(1))
}

#[test]
fn what_is_not_granted_is_refused_and_counted() {
    let item = |flag, id| Tlv::Ports(vec![PortItem { flag, id }]);
    let ask = |message, ecid: u32, body| Pdu::request(message, ECid::new(ecid), body);
    let cases = [
        (ask(Message::Create, 0, vec![]), Completion::Malformed),
        (ask(Message::Create, 0, vec![item(false, 1), item(false, 2)]), Completion::Malformed),
        (ask(Message::Create, 0, vec![item(false, 7)]), Completion::Success),
        (ask(Message::Create, 0, vec![item(false, 7)]), Completion::Success),
        (ask(Message::Create, 0, vec![item(true, 7)]), Completion::Malformed),
        (ask(Message::Delete, 9, vec![item(false, 7)]), Completion::UnknownPort),
        (ask(Message::Delete, 0, vec![item(false, 7)]), Completion::Malformed),
        (ask(Message::Register, 0x10_0005, vec![item(false, 1)]), Completion::Unsupported),
        (ask(Message::SetParameters, 0, vec![]), Completion::Unsupported),
        (ask(Message::Unknown(99), 0, vec![]), Completion::Unsupported),
        (ask(Message::Delete, 1, vec![item(false, 7)]), Completion::Success),
        (ask(Message::Delete, 1, vec![item(false, 7)]), Completion::UnknownPort),
    ];
    let requests = (2..).zip(&cases).map(|(transaction, (pdu, _))| Pdu { transaction, ..pdu.clone() });
    let (bridge, answers) = converse(requests.collect());
    let said: Vec<_> = answers.iter().map(|answer| answer.answer.unwrap()).collect();
    assert_eq!(said, cases.iter().map(|(_, expected)| *expected).collect::<Vec<_>>());
    assert_eq!(answers[2].ecid, answers[3].ecid, "asked again, the same is answered");
    let (_, session) = bridge.sessions().next().unwrap();
    assert_eq!(session.stats().rx_request_errors, 9);
    assert_eq!(bridge.ports().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever ports do and however much is lost, in the end both sides agree.
    #[test]
    fn agreement(
        shape in proptest::collection::vec(any::<u8>(), 0..5),
        steps in proptest::collection::vec((any::<u8>(), 0u32..6, 0u8..4, 0u16..3000), 1..60),
        loss in 0u32..40,
        hold in 0u64..2,
    ) {
        let mut above = vec![None];
        // One cascade port each: a chain.
        above.extend(shape.iter().take(3).enumerate().map(|(index, _)| Some(index)));
        let mut net = Net::new(&above, hold * 20);
        net.loss = if loss < 8 { 0 } else { loss };
        for index in 0..above.len() {
            net.ports(index, [CASCADE]);
        }
        for (index, local, what, wait) in steps {
            let index = usize::from(index) % above.len();
            match what {
                0 => net.port(index, local, None),
                1 => {
                    net.extenders[index].life += 1;
                    let (now, pe) = (net.now, &mut net.extenders[index]);
                    pe.engine.set_offer(now, UP, None);
                    net.drain();
                }
                _ => net.port(index, local, Some(PortInfo { name: None, cascade: false, up: what == 2 })),
            }
            let members: Vec<Pcid> = net.made.keys().copied().collect();
            net.flood(7, members);
            net.run(Duration::from_millis(u64::from(wait)));
        }
        net.loss = 0;
        net.run(Duration::from_secs(100));
        let members: Vec<Pcid> = net.made.keys().copied().collect();
        net.flood(7, members.clone());
        net.run(Duration::from_secs(100));
        net.agree();
        prop_assert_eq!(net.floods.contains_key(&vid(7)), members.len() > 2);
    }
}
