//! LLDP agents, ECP links and the two ends of VDP, each driven by a script.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
};

use bytes::Bytes;
use ecp::{Header, Limits, Link, Operation, Params, Seq, Subtype};
use ether::{Instant, MacAddr, Pcp, Vid, time::Duration};
use lldp::{
    AdminStatus, Agent, AgentConfig, ChassisId, Lldpdu, LocalInfo, NeighborEvent, OrgKey, Oui, PortId, Scope,
};
use vdp::{
    Bridge, Command, ErrorCode, FilterEntry, FilterInfo, GroupId, Hints, ManagerId, Station, Timing, TypeId,
    TypeVersion, VsiId,
    bridge::{self, Answer, BridgeConfig, Query},
    station::{self, StationConfig, StationEvent, VsiRequest, VsiState, VsiView},
    timing::{Exponent, Retries},
    tlv::{Association, Item, Status, Vdpdu, Verdict},
};

use super::script::{Script, ahead, drained, due};

const START: Instant = Instant::from_secs(1);

pub(super) fn lldp_agent(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let config = AgentConfig { max_neighbors: 4, ..AgentConfig::new(Scope::NearestCustomer) };
    let name = |mac| LocalInfo::new(ChassisId::mac(mac), PortId::mac(mac));
    let mut agent = Agent::new(config, name(MacAddr(2, 0, 0, 0, 0x0a, 1)));
    let (mut now, mut up, mut known) = (START, false, BTreeSet::new());
    while let Some(step) = script.step(8) {
        match step {
            0 => agent.handle_pdu(now, script.mac(), script.string()),
            1 => {
                up = script.flag();
                agent.handle_link(now, up);
            }
            2 => now += script.wait(),
            3 => {
                now = due(now, agent.poll_timeout());
                agent.handle_timeout(now);
                ahead(now, agent.poll_timeout());
            }
            4 => {
                use AdminStatus::{Disabled, RxOnly, RxTx, TxOnly};
                agent
                    .set_admin_status(now, [RxTx, TxOnly, RxOnly, Disabled][usize::from(script.octet() & 3)]);
            }
            5 => {
                let key = OrgKey { oui: Oui::IEEE_802_1, subtype: script.octet() & 7 };
                let info = script.flag().then(|| Bytes::copy_from_slice(script.string()));
                let fits = info.as_ref().is_none_or(|info| info.len() <= lldp::OrgTlv::MAX);
                assert_eq!(agent.set_org_tlv(now, key, info).is_ok(), fits);
            }
            6 => agent.set_local(now, name(script.mac())),
            _ => agent.handle_timeout(now),
        }
        neighbors(&mut agent, &mut known);
        let speaks = up && matches!(agent.config().admin_status, AdminStatus::RxTx | AdminStatus::TxOnly);
        assert!(!speaks || agent.poll_timeout().is_some(), "fell silent");
    }
    // Everybody falls silent: nobody is remembered longer than a TTL can tell.
    now += Duration::from_secs(70_000);
    agent.handle_timeout(now);
    neighbors(&mut agent, &mut known);
    assert_eq!((known.len(), agent.neighbors().count()), (0, 0));
}

/// Drains the agent; who came and went in its events is whom it knows.
fn neighbors(agent: &mut Agent, known: &mut BTreeSet<lldp::Msap>) {
    for output in drained(|| agent.poll_output()) {
        match output {
            lldp::Output::Transmit(pdu) => {
                assert!(pdu.len() <= lldp::pdu::MAX_LEN);
                assert_eq!(Lldpdu::parse(&pdu).unwrap().faults, []);
            }
            lldp::Output::Neighbor(NeighborEvent::Appeared { msap }) => assert!(known.insert(msap)),
            lldp::Output::Neighbor(NeighborEvent::Changed { msap }) => assert!(known.contains(&msap)),
            lldp::Output::Neighbor(NeighborEvent::Gone { msap, .. }) => assert!(known.remove(&msap)),
            lldp::Output::Neighbor(NeighborEvent::TooMany { .. } | NeighborEvent::TooManyOver) => {}
        }
    }
    assert!(agent.neighbors().map(lldp::Neighbor::msap).eq(&*known) && known.len() <= 4);
    serde_json::to_string(&agent.neighbors().collect::<Vec<_>>()).unwrap();
}

pub(super) fn ecp_link(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let limits = Limits { queue: 4, ..Limits::default() };
    let mut link = Link::new(Subtype::Vdp, Params::default(), script.number(), START).with_limits(limits);
    let (mut now, mut ledger) = (START, Ledger::default());
    while let Some(step) = script.step(8) {
        match step {
            0 => link.handle_pdu(now, script.string()),
            1 => {
                let payload = Bytes::copy_from_slice(script.string());
                match link.send(now, payload.clone()) {
                    Ok(()) => ledger.given += 1,
                    Err(full) => assert!(full.0 == payload && link.status().queued == limits.queue),
                }
            }
            2 => now += script.wait(),
            3 => {
                now = due(now, link.poll_timeout());
                link.handle_timeout(now);
                ahead(now, link.poll_timeout());
            }
            4 => link.reset(now, script.number()),
            5 => {
                let sequence = link.status().outstanding.unwrap_or(Seq(script.number()));
                let mut pdu = Vec::new();
                Header { operation: Operation::Ack, subtype: Subtype::Vdp, sequence }.put(&mut pdu);
                link.handle_pdu(now, &pdu);
            }
            6 => link.set_params(Params {
                max_retries: script.octet() & 7,
                ack_timer_exponent: script.octet() & 31,
            }),
            _ => link.forget_peer(),
        }
        ledger.settle(&mut link);
    }
    // Nobody acknowledges: all that is left is given up, R + 1 transmissions and a gap each.
    for _ in 0..(limits.queue + 1) * 9 {
        now = due(now, link.poll_timeout());
        link.handle_timeout(now);
        ahead(now, link.poll_timeout());
        ledger.settle(&mut link);
    }
    assert_eq!((link.poll_timeout(), ledger.given), (None, ledger.ended));
}

/// What a link was given, and of how much of it the end was told.
#[derive(Default)]
struct Ledger {
    given: usize,
    ended: usize,
}

impl Ledger {
    fn settle(&mut self, link: &mut Link) {
        for output in drained(|| link.poll_output()) {
            match output {
                ecp::Output::Transmit(pdu) => {
                    let (header, _) = Header::parse(&pdu).unwrap();
                    assert!(header.subtype == Subtype::Vdp);
                    assert!(header.operation == Operation::Ack || header.sequence != Seq(0));
                }
                ecp::Output::Deliver(_) => {}
                ecp::Output::Acknowledged { .. } | ecp::Output::Failed { .. } => self.ended += 1,
            }
        }
        let status = link.status();
        let pending = status.queued + usize::from(status.outstanding.is_some());
        assert_eq!(self.given, self.ended + pending, "{status:?}");
        assert!(pending == 0 || link.poll_timeout().is_some(), "nothing moves {status:?}");
    }
}

pub(super) fn vdp_station(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let config = StationConfig { max_vsis: 3, ..StationConfig::default() };
    let mut station = Station::new(config, Timing::default());
    let (mut now, mut ready, mut gates) = (START, false, Gates::default());
    while let Some(step) = script.step(11) {
        match step {
            0 => station.handle_pdu(now, script.string()),
            1 => drop(station.command(now, request(script))),
            2 => now += script.wait(),
            3 => {
                now = due(now, station.poll_timeout());
                station.handle_timeout(now);
                ahead(now, station.poll_timeout());
            }
            4 => {
                ready = script.flag();
                station.set_ready(now, ready);
            }
            5 => {
                let answer = answer(&gates.sent, script.octet());
                station.handle_pdu(now, &answer);
            }
            6 => station.set_timing(timing(script)),
            7 => station.ecp_failed(now, &gates.sent.clone()),
            8 => {
                ready = false;
                station.set_ready(now, ready);
                station.release_all(now);
            }
            9 => {
                // kill -9: what is left is what was remembered.
                station = Station::new(config, Timing::default());
                ready = false;
                gates.open.clear();
                gates.wanted.values().for_each(|held| station.resume(now, held.clone()).unwrap());
            }
            _ => {
                let request =
                    Association { status: Status::Request(Hints::default()), ..association(script) };
                station.handle_pdu(now, &pdu(ManagerId::legacy(1), request));
            }
        }
        gates.follow_station(&mut station, ready);
    }
    serde_json::to_string(&station.vsis().collect::<Vec<_>>()).unwrap();
    // A De-Associate always ends, whatever the bridge says or does not say.
    let ids: Vec<VsiId> = station.vsis().map(|vsi| vsi.id).collect();
    for id in ids {
        let request = VsiRequest { command: Command::DeAssociate, id, ..request(&mut Script::new(&[])) };
        station.command(now, request).unwrap();
        gates.follow_station(&mut station, ready);
    }
    for _ in 0..16 {
        now = due(now, station.poll_timeout());
        station.handle_timeout(now);
        ahead(now, station.poll_timeout());
        gates.follow_station(&mut station, ready);
    }
    assert_eq!((station.vsis().count(), station.poll_timeout(), gates.open.len()), (0, None, 0));
}

pub(super) fn vdp_bridge(octets: &[u8]) {
    let script = &mut Script::new(octets);
    let mut bridge = Bridge::new(BridgeConfig { max_vsis: 3 }, Timing::default());
    bridge.set_ready(true);
    let (mut now, mut gates) = (START, Gates::default());
    while let Some(step) = script.step(12) {
        match step {
            0 => bridge.handle_pdu(now, script.string()),
            1 => bridge.handle_pdu(now, &pdu(ManagerId::legacy(1), association(script))),
            2 => now += script.wait(),
            3 => {
                now = due(now, bridge.poll_timeout());
                bridge.handle_timeout(now);
                ahead(now, bridge.poll_timeout());
            }
            4 => {
                let which = usize::from(script.octet()) % gates.queries.len().max(1);
                if let Some(query) = gates.queries.get(which) {
                    bridge.answer(now, &query.id, query.serial, decision(query, script));
                }
            }
            5 => bridge.withdraw(now, &id(script.octet()), bridge::Cause::Administrator),
            6 => bridge.set_timing(timing(script)),
            7 => bridge.release_all(now, bridge::Cause::PortReleased),
            8 => bridge.set_ready(script.flag()),
            9 => bridge.requery(now, &id(script.octet())),
            10 => {
                // kill -9: what is left is what was remembered.
                bridge = Bridge::new(BridgeConfig { max_vsis: 3 }, Timing::default());
                bridge.set_ready(script.flag());
                gates.open.clear();
                gates.queries.clear();
                gates.held.values().for_each(|held| bridge.resume(now, held.clone()));
            }
            _ => bridge.set_group_capable(script.flag()),
        }
        gates.follow_bridge(&mut bridge);
    }
    serde_json::to_string(&bridge.vsis().collect::<Vec<_>>()).unwrap();
    // The station and the type database fall silent: nothing is kept.
    for _ in 0..16 {
        now = due(now, bridge.poll_timeout());
        bridge.handle_timeout(now);
        ahead(now, bridge.poll_timeout());
        gates.follow_bridge(&mut bridge);
    }
    assert_eq!((bridge.vsis().count(), bridge.poll_timeout(), gates.open.len()), (0, None, 0));
}

/// Whose frames pass, as the outputs of one end of VDP have it, and what else its outputs leave.
#[derive(Default)]
struct Gates {
    open: BTreeMap<VsiId, FilterInfo>,
    /// What would survive a restart of the bridge.
    held: BTreeMap<VsiId, bridge::Held>,
    /// The same of the station.
    wanted: BTreeMap<VsiId, station::Held>,
    /// The VDPDU sent last.
    sent: Bytes,
    queries: Vec<Query>,
}

impl Gates {
    fn follow_station(&mut self, station: &mut Station, ready: bool) {
        for output in drained(|| station.poll_output()) {
            match output {
                station::Output::Transmit(tlv) => self.transmitted(tlv.to_pdu()),
                station::Output::Held(held) => drop(self.wanted.insert(held.request.id, held)),
                station::Output::Released(id) => drop(self.wanted.remove(&id)),
                station::Output::Event(event) => {
                    serde_json::to_string(&event).unwrap();
                    match event {
                        StationEvent::Associated { id, filter } => {
                            assert!(filter.is_resolved());
                            self.open.insert(id, filter);
                        }
                        StationEvent::Gone { id, .. } => drop(self.open.remove(&id)),
                        StationEvent::PreAssociated { id, .. } => assert!(!self.open.contains_key(&id)),
                        StationEvent::Kept { id, .. } => assert!(self.open.contains_key(&id)),
                        StationEvent::Refused { .. } => {}
                    }
                }
            }
        }
        let confirmed = station.vsis().filter(|vsi| vsi.confirmed == Some(Command::Associate));
        assert!(confirmed.map(|vsi| (vsi.id, vsi.filter)).eq(self.open.clone()));
        assert!(station.held().eq(self.wanted.values().cloned()));
        assert!(station.vsis().count() <= 3);
        // Every VSI moves by itself, but one that waits for the bridge.
        let moves =
            |vsi: VsiView| if vsi.state == VsiState::Held { !ready } else { vsi.next_timer.is_some() };
        assert!(station.vsis().all(moves), "stuck: {:?}", station.vsis().collect::<Vec<_>>());
    }

    fn follow_bridge(&mut self, bridge: &mut Bridge) {
        for output in drained(|| bridge.poll_output()) {
            match output {
                bridge::Output::Transmit(tlv) => {
                    let pdu = tlv.to_pdu();
                    // What is promised passes already, what is denied passes no longer.
                    for item in Vdpdu::parse(&pdu).unwrap().items {
                        let Item::Association(Association { command, status, id, .. }) = item else {
                            continue;
                        };
                        match (command, status) {
                            (Command::Associate, Status::Response(Verdict::SUCCESS)) => {
                                assert!(self.open.contains_key(&id) && self.held.contains_key(&id));
                            }
                            (Command::DeAssociate, _) => {
                                assert!(!self.open.contains_key(&id) && !self.held.contains_key(&id));
                            }
                            _ => {}
                        }
                    }
                    self.transmitted(pdu);
                }
                bridge::Output::Query(query) => {
                    assert_ne!(query.command, Command::DeAssociate);
                    self.queries.insert(0, query);
                    self.queries.truncate(8);
                }
                bridge::Output::Install { id, filter, .. } => {
                    assert!(filter.is_resolved());
                    self.open.insert(id, filter);
                }
                bridge::Output::Remove { id, filter, .. } => assert_eq!(self.open.remove(&id), Some(filter)),
                bridge::Output::Held(held) => drop(self.held.insert(held.id, held)),
                bridge::Output::Released(id) => drop(self.held.remove(&id)),
                bridge::Output::Event(event) => drop(serde_json::to_string(&event).unwrap()),
            }
        }
        let confirmed = bridge.vsis().filter(|vsi| vsi.confirmed == Some(Command::Associate));
        assert!(confirmed.map(|vsi| (vsi.id, vsi.filter)).eq(self.open.clone()));
        assert!(bridge.held().eq(self.held.values()));
        assert!(bridge.vsis().count() <= 3 && bridge.history().gone().count() <= vdp::History::GONE);
    }

    /// A VDPDU that can be read and fits an ECPDU in a frame of the shortest MTU.
    fn transmitted(&mut self, pdu: Bytes) {
        assert!(pdu.len() <= 1500 - Header::LEN);
        Vdpdu::parse(&pdu).unwrap();
        self.sent = pdu;
    }
}

/// One of four VSIs; the first is that of the specification's vectors.
fn id(number: u8) -> VsiId {
    match number & 3 {
        0 => "b2a7f3c1-0d4e-4b6a-9c55-112233445566".parse().unwrap(),
        n => VsiId::local([n; 16]),
    }
}

/// One of eight filters, in all formats, short and long.
fn filter(number: u8) -> FilterInfo {
    let mac = |low| Some(MacAddr(0x52, 0x54, 0, 0x11, 0x22, low));
    let group = NonZeroU32::new(0x12345).map(GroupId);
    let one = FilterEntry { mac: mac(0x33), vid: Vid::new(100), ..FilterEntry::default() };
    let entries = match number & 7 {
        0 => vec![one],
        1 => vec![FilterEntry { vid: None, ..one }],
        2 => vec![FilterEntry::default()],
        3 => [100, 101].map(|vid| FilterEntry { vid: Vid::new(vid), ..FilterEntry::default() }).to_vec(),
        4 => vec![FilterEntry { group, vid: None, ..one }],
        5 => vec![
            FilterEntry { priority: Pcp::new(3), mac: mac(0x34), ..one },
            FilterEntry { vid: None, ..one },
        ],
        6 => vec![FilterEntry { group, ..FilterEntry::default() }],
        _ => (1..=60).map(|low| FilterEntry { mac: mac(low), ..one }).collect(),
    };
    FilterInfo::new(entries).unwrap()
}

/// A command on one of four VSIs.
pub(super) fn request(script: &mut Script<'_>) -> VsiRequest {
    use Command::{Associate, DeAssociate, PreAssociate, PreAssociateRr};
    let (which, what, how) = (script.octet(), script.octet(), script.octet());
    VsiRequest {
        id: id(which),
        manager: ManagerId::legacy(1),
        type_id: TypeId::new(0xabcd).unwrap(),
        version: TypeVersion(2 + (how >> 7)),
        filter: filter(what),
        command: [Associate, DeAssociate, PreAssociate, PreAssociateRr][usize::from(how & 3)],
        hints: Hints { suspended: how & 0x20 != 0, migrating: how & 0x10 != 0 },
    }
}

/// The same as a bridge receives it.
pub(super) fn association(script: &mut Script<'_>) -> Association {
    let VsiRequest { id, type_id, version, filter, command, hints, .. } = request(script);
    let filter = Some(filter).filter(|_| command != Command::DeAssociate || script.flag());
    Association { command, status: Status::Request(hints), type_id, version, id, filter }
}

pub(super) fn pdu(manager: ManagerId, association: Association) -> Bytes {
    Vdpdu { manager, items: vec![Item::Association(association)] }.to_bytes().unwrap()
}

/// What a bridge may answer to the VDPDU `sent`: a status octet, whose top bit makes it a De-Associate and whose next
/// one fills in what was left open.
pub(super) fn answer(sent: &[u8], how: u8) -> Bytes {
    let Ok(mut pdu) = Vdpdu::parse(sent) else { return Bytes::new() };
    for item in &mut pdu.items {
        let Item::Association(association) = item else { continue };
        let (keep, hard) = (how & 0x20 != 0, how & 0x10 != 0);
        association.status = Status::Response(Verdict { keep, hard, error: ErrorCode::from(how & 0x0f) });
        if how & 0x80 != 0 {
            association.command = Command::DeAssociate;
        }
        if how & 0x40 != 0 {
            association.filter = association.filter.as_ref().map(filled);
        }
    }
    pdu.to_bytes().unwrap()
}

/// What the type database may say to `query`.
fn decision(query: &Query, script: &mut Script<'_>) -> Answer {
    let how = script.octet();
    match how & 3 {
        0 => Answer::Accept { filter: filled(&query.filter) },
        1 => Answer::Accept { filter: query.filter.clone() },
        2 => Answer::Accept { filter: filter(script.octet()) },
        _ => Answer::Refuse {
            error: script.octet(),
            hard: how & 4 != 0,
            keep: how & 8 != 0,
            words: "for a reason".to_owned(),
        },
    }
}

fn filled(filter: &FilterInfo) -> FilterInfo {
    let fill = |entry: &FilterEntry| FilterEntry {
        vid: entry.vid.or(Vid::new(100)),
        priority: entry.priority.or(Pcp::new(1)),
        ..*entry
    };
    FilterInfo::new(filter.entries().iter().map(fill).collect()).unwrap()
}

fn timing(script: &mut Script<'_>) -> Timing {
    let retries = Retries::new(script.octet() & 7).unwrap();
    let mut exponent = || Exponent::new(script.octet() & 31).unwrap();
    Timing { retries, rte: exponent(), rwd: exponent(), rka: exponent() }
}
