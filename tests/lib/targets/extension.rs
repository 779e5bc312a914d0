//! Port extension: its PDUs, code books, and each of its two ends driven by a script whose peer says anything.

use std::{collections::BTreeMap, sync::Arc};

use ecp::{Header, Operation, Seq, Subtype};
use ether::{ECid, Instant, MacAddr, Pcid, Vid};
use pe::{
    CascadePriority, CodeBook, Controlling, Extender, Marker, Offer, PortParameters, SessionState,
    controlling::{self, At},
    csp::{Completion, Message, Pdu, PortItem, Tlv, session::Peer},
    extender,
};

use super::{
    in_words,
    script::{Script, ahead, drained, due},
};

const START: Instant = Instant::from_secs(1);
const PEER: MacAddr = MacAddr(2, 0, 0, 0, 0x0c, 1);

pub(super) fn csp_pdu(octets: &[u8]) {
    let book = CodeBook::p0();
    let pdu = match Pdu::parse(&book, octets) {
        Ok(pdu) => pdu,
        Err(fault) => return in_words(&fault),
    };
    in_words(&pdu);
    let again = Pdu::parse(&book, &pdu.to_bytes(&book)).unwrap();
    assert_eq!(again, Pdu { malformed: false, ..pdu });
}

/// A book that is accepted is no other than what its vectors say.
pub(super) fn code_book(octets: &[u8]) {
    let Some(book) = std::str::from_utf8(octets).ok().and_then(|text| toml::from_str::<CodeBook>(text).ok())
    else {
        return;
    };
    match book.check() {
        Ok(()) => {
            assert!(!book.vectors.is_empty());
            let pdu = Pdu::request(Message::Create, ECid::new(7), vec![]);
            assert_eq!(Pdu::parse(&book, &pdu.to_bytes(&book)), Ok(pdu));
        }
        Err(fault) => in_words(&fault),
    }
}

/// What the peer of either end says.
pub(super) struct Voice {
    book: CodeBook,
    sequence: u16,
    transaction: u32,
    /// The request it heard last.
    heard: Option<Pdu>,
}

impl Voice {
    pub(super) fn new() -> Self {
        Self { book: CodeBook::p0(), sequence: 0, transaction: 0, heard: None }
    }

    /// A peer as LLDP may have it: its marker is none, ours, or another's.
    pub(super) fn marker(&self, kind: u8) -> Option<Marker> {
        let marker = Marker::new(&self.book, kind & 2 != 0, u16::from(kind >> 3), 0);
        match kind & 5 {
            0 => None,
            4 => Some(Marker { digest: 0, ..marker }),
            _ => Some(marker),
        }
    }

    fn ecpdu(&mut self, operation: Operation, sequence: Option<Seq>, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = sequence.unwrap_or(Seq(self.sequence));
        let mut ecpdu = Vec::new();
        Header { operation, subtype: Subtype::PeCsp, sequence }.put(&mut ecpdu);
        ecpdu.extend_from_slice(payload);
        ecpdu
    }

    /// A request: message, identifier, ports.
    pub(super) fn request(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let message = match script.octet() {
            known @ 0..7 => Message::KNOWN[usize::from(known)],
            other => Message::Unknown(other & 0x7f),
        };
        let ecid = u32::from(script.octet()) << 16 | u32::from(script.octet());
        let mut body = Vec::new();
        let count = script.octet() & 7;
        let items = (0..count).map(|_| PortItem { flag: false, id: u32::from(script.octet()) });
        let mut items: Vec<PortItem> = items.collect();
        if let (Message::SetParameters | Message::Status, Some(pcid)) =
            (message, items.first().and_then(|item| Pcid::new(item.id)))
        {
            let open = PortParameters { admin_up: true, blocked: false, ..PortParameters::new(pcid) };
            body.push(Tlv::Parameters(open));
            body.push(Tlv::Status(pe::csp::PortStatus { pcid, up: true, speed: 0 }));
        }
        items.iter_mut().filter(|item| item.id & 0x80 != 0).for_each(|item| item.flag = true);
        body.push(Tlv::Ports(items));
        self.transaction += 1;
        let pdu = Pdu { transaction: self.transaction, ..Pdu::request(message, ECid::new(ecid), body) };
        let payload = pdu.to_bytes(&self.book);
        self.ecpdu(Operation::Request, None, &payload)
    }

    /// An answer to what was heard last.
    pub(super) fn answer(&mut self, kind: u8) -> Option<Vec<u8>> {
        let heard = self.heard.take()?;
        let ecid = if heard.message == Message::Create { Pcid::new(u32::from(kind >> 2) + 1) } else { None };
        let completion = if kind & 3 == 3 { Completion::NoResources } else { Completion::Success };
        let answer = Pdu { answer: Some(completion), ecid: ecid.map(ECid::from), ..heard };
        let payload = answer.to_bytes(&self.book);
        Some(self.ecpdu(Operation::Request, None, &payload))
    }

    /// Takes what was sent; its acknowledgement, if it wants one.
    pub(super) fn hear(&mut self, ecpdu: &[u8]) -> Option<Vec<u8>> {
        let (header, payload) = Header::parse(ecpdu).unwrap();
        if header.operation == Operation::Ack {
            return None;
        }
        let pdu = Pdu::parse(&self.book, payload).unwrap();
        assert!(!pdu.malformed && payload.len() <= 1496);
        if pdu.answer.is_none() {
            self.heard = Some(pdu);
        }
        Some(self.ecpdu(Operation::Ack, Some(header.sequence), &[]))
    }
}

pub(super) fn controlling(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let settings = controlling::Settings {
        ecp: ecp::Params::default(),
        tiers: 3,
        statistics: ether::time::Duration::from_secs(10),
    };
    let mut bridge = Controlling::new(Some(Arc::new(CodeBook::p0())), settings, 1);
    let (mut now, mut voice, mut made) = (START, Voice::new(), BTreeMap::new());
    let mut marker = None;
    while let Some(step) = script.step(7) {
        let ecpdu = match step {
            0 => Some(script.string().to_vec()),
            1 => {
                let kind = script.octet();
                marker = voice.marker(kind);
                let peer = Peer { address: PEER, marker: marker.clone(), chosen: kind & 2 != 0 };
                bridge.set_peer(now, None, (kind > 0).then_some(peer));
                None
            }
            2 => {
                now += script.wait();
                None
            }
            3 => {
                now = due(now, bridge.poll_timeout());
                bridge.handle_timeout(now);
                ahead(now, bridge.poll_timeout());
                None
            }
            4 => Some(voice.request(script)),
            5 => voice.answer(script.octet()),
            _ => {
                let most = usize::from(script.octet());
                let members = bridge.ports().map(|port| port.pcid).take(most).collect();
                bridge.set_flood(now, Vid::new(100).unwrap(), members);
                None
            }
        };
        if let Some(ecpdu) = ecpdu {
            bridge.handle_ecpdu(now, None, PEER, &ecpdu);
        }
        let mut acks = follow_bridge(&mut bridge, now, &mut voice, &mut made, marker.as_ref());
        while let Some(ack) = acks.pop() {
            bridge.handle_ecpdu(now, None, PEER, &ack);
            acks.extend(follow_bridge(&mut bridge, now, &mut voice, &mut made, marker.as_ref()));
        }
        let ports: Vec<Pcid> = bridge.ports().map(|port| port.pcid).collect();
        assert_eq!(ports, made.keys().copied().collect::<Vec<_>>());
    }
    // The peer is gone: nothing of it is left.
    bridge.set_peer(now, None, None);
    follow_bridge(&mut bridge, now, &mut voice, &mut made, None);
    assert_eq!((bridge.ports().count(), made.len(), bridge.floods().count()), (0, 0, 0));
}

/// Does what the bridge wants; acknowledgements of what it sent.
fn follow_bridge(
    bridge: &mut Controlling,
    now: Instant,
    voice: &mut Voice,
    made: &mut BTreeMap<Pcid, At>,
    marker: Option<&Marker>,
) -> Vec<Vec<u8>> {
    let mut acks = Vec::new();
    loop {
        let outputs = drained(|| bridge.poll_output());
        if outputs.is_empty() {
            // Members of a flood that are gone.
            let members = bridge.ports().map(|port| port.pcid).collect::<Vec<_>>();
            if members.is_empty() {
                bridge.set_flood(now, Vid::new(100).unwrap(), members.into_iter().collect());
                drained(|| bridge.poll_output());
            }
            return acks;
        }
        for output in outputs {
            match output {
                controlling::Output::Transmit { ecpdu, .. } => {
                    assert!(marker.is_some_and(|marker| marker.speaks(&voice.book)), "spoken to a stranger");
                    acks.extend(voice.hear(&ecpdu));
                }
                controlling::Output::Create { pcid, at, .. } => {
                    assert!(made.insert(pcid, at).is_none());
                    bridge.created(now, pcid, Some(PortParameters::new(pcid)));
                }
                controlling::Output::Gone(pcid) => drop(made.remove(&pcid).expect("it was made")),
                controlling::Output::Link(pcid, _) | controlling::Output::Named(pcid, _) => {
                    assert!(made.contains_key(&pcid));
                }
                controlling::Output::Flood(_, Some((ecid, members))) => {
                    assert!(ecid.is_group() && members.len() > 2);
                }
                controlling::Output::Flood(_, None) | controlling::Output::Session(..) => {}
            }
        }
    }
}

pub(super) fn extender(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let hold = ether::time::Duration::from_secs(u64::from(script.octet() & 1) * 10);
    let settings = extender::Settings { name: None, ecp: ecp::Params::default(), hold };
    let mut extender = Extender::new(Some(Arc::new(CodeBook::p0())), settings, 1, START);
    let (mut now, mut voice, mut open) = (START, Voice::new(), BTreeMap::new());
    while let Some(step) = script.step(7) {
        let ecpdu = match step {
            0 => Some(script.string().to_vec()),
            1 => {
                let (port, up) = (script.octet() & 7, script.octet());
                let info = extender::PortInfo { name: None, cascade: port == 1, up: up & 1 == 1 };
                extender.set_port(now, u32::from(port), (up < 0x80).then_some(info));
                None
            }
            2 => {
                now += script.wait();
                None
            }
            3 => {
                now = due(now, extender.poll_timeout());
                extender.handle_timeout(now);
                ahead(now, extender.poll_timeout());
                None
            }
            4 => Some(voice.request(script)),
            5 => voice.answer(script.octet()),
            _ => {
                let (port, kind) = (script.octet() & 1, script.octet());
                let offer =
                    Offer { priority: CascadePriority(kind), csp_address: PEER, marker: voice.marker(kind) };
                extender.set_offer(now, 100 + u32::from(port), (kind > 0).then_some(offer));
                None
            }
        };
        if let (Some(ecpdu), Some(port)) = (ecpdu, extender.upstream()) {
            extender.handle_ecpdu(now, port, PEER, &ecpdu);
        }
        let mut acks = follow_extender(&mut extender, now, &mut voice, &mut open);
        while let (Some(ack), Some(port)) = (acks.pop(), extender.upstream()) {
            extender.handle_ecpdu(now, port, PEER, &ack);
            acks.extend(follow_extender(&mut extender, now, &mut voice, &mut open));
        }
        let passes: Vec<u32> = extender.ports().filter(|port| port.open).map(|port| port.local).collect();
        assert_eq!(
            passes,
            open.iter().filter(|(_, with)| with.is_open()).map(|(l, _)| *l).collect::<Vec<_>>()
        );
        let granted = extender.session().state() == SessionState::Open || !hold.is_zero();
        assert!(granted || open.is_empty(), "a port passes frames nobody granted");
    }
    extender.set_offer(now, 100, None);
    extender.set_offer(now, 101, None);
    follow_extender(&mut extender, now, &mut voice, &mut open);
    extender.handle_timeout(now + hold);
    follow_extender(&mut extender, now, &mut voice, &mut open);
    assert_eq!((open.len(), extender.channels().count(), extender.poll_timeout()), (0, 0, None));
}

fn follow_extender(
    extender: &mut Extender,
    now: Instant,
    voice: &mut Voice,
    open: &mut BTreeMap<u32, PortParameters>,
) -> Vec<Vec<u8>> {
    let mut acks = Vec::new();
    let mut questions = Vec::new();
    for output in drained(|| extender.poll_output()) {
        match output {
            extender::Output::Count { question, ports } => questions.push((question, ports)),
            extender::Output::Transmit { ecpdu, .. } => acks.extend(voice.hear(&ecpdu)),
            extender::Output::Port(local, Some(parameters)) => drop(open.insert(local, parameters)),
            extender::Output::Port(local, None) => drop(open.remove(&local)),
            extender::Output::Upstream(_) | extender::Output::Session(_) | extender::Output::Channel(..) => {}
        }
    }
    for (question, ports) in questions {
        extender.counted(now, question, ports.into_iter().map(|port| (port, [u64::MAX; 12])).collect());
        acks.extend(follow_extender(extender, now, voice, open));
    }
    acks
}
