use ether::time::Duration;
use proptest::prelude::*;

use super::*;
use crate::{
    basic::{ChassisId, PortId, PortSubtype},
    org::Oui,
    txtimer::TimingParams,
};

const EVB: OrgKey = OrgKey { oui: Oui::IEEE_802_1, subtype: 0x0d };
const SRC: MacAddr = MacAddr(2, 0, 0, 0, 0xb, 1);

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn info(last: u8) -> LocalInfo {
    let port = PortId::new(PortSubtype::InterfaceName, &b"eth0"[..]).unwrap();
    LocalInfo::new(ChassisId::mac(MacAddr(2, 0, 0, 0, 0, last)), port)
}

fn msap(last: u8) -> Msap {
    info(last).msap()
}

/// What the neighbour `last` sends.
fn said(last: u8, ttl: u16, name: &str) -> Bytes {
    let name = Some(crate::basic::Text::truncated(name));
    Lldpdu { system_name: name, ..Lldpdu::new(msap(last), ttl) }.emit(MAX_LEN).octets
}

fn new_agent() -> Agent {
    Agent::new(AgentConfig::new(Scope::NearestCustomer), info(1))
}

/// An agent whose link came up at zero and that has sent its first LLDPDU.
fn running() -> Agent {
    let mut agent = new_agent();
    agent.handle_link(at(0), true);
    assert_eq!(sent(&mut agent), [121]);
    agent
}

fn outputs(agent: &mut Agent) -> Vec<Output> {
    core::iter::from_fn(|| agent.poll_output()).collect()
}

/// The TTLs of what was sent; there is no other output.
fn sent(agent: &mut Agent) -> Vec<u16> {
    let ttl = |output| match output {
        Output::Transmit(octets) => Lldpdu::parse(&octets).unwrap().pdu.ttl,
        Output::Neighbor(event) => panic!("{event:?}"),
    };
    outputs(agent).into_iter().map(ttl).collect()
}

/// What became of neighbours; what was sent is dropped.
fn events(agent: &mut Agent) -> Vec<NeighborEvent> {
    let event = |output| match output {
        Output::Transmit(_) => None,
        Output::Neighbor(event) => Some(event),
    };
    outputs(agent).into_iter().filter_map(event).collect()
}

/// Wakes the agent when it asks for it, until `end`; when it sent something.
fn run_until(agent: &mut Agent, end: Instant) -> Vec<Instant> {
    let mut times = Vec::new();
    while let Some(now) = agent.poll_timeout().filter(|at| *at <= end) {
        agent.handle_timeout(now);
        assert!(agent.poll_timeout().is_none_or(|next| next > now), "busy at {now}");
        times.extend(outputs(agent).iter().filter(|o| matches!(o, Output::Transmit(_))).map(|_| now));
    }
    times
}

fn appeared(last: u8) -> NeighborEvent {
    NeighborEvent::Appeared { msap: msap(last) }
}

fn gone(last: u8, cause: GoneCause) -> NeighborEvent {
    NeighborEvent::Gone { msap: msap(last), cause }
}

#[test]
fn nothing_happens_while_the_link_is_down() {
    let mut agent = new_agent();
    assert_eq!((agent.poll_timeout(), agent.poll_output()), (None, None));
    agent.set_org_tlv(at(1), EVB, Some(Bytes::from_static(&[1]))).unwrap();
    agent.handle_pdu(at(2), SRC, &said(9, 120, "x"));
    agent.set_admin_status(at(3), AdminStatus::Disabled);
    agent.set_admin_status(at(4), AdminStatus::RxTx);
    assert_eq!((agent.poll_timeout(), agent.poll_output()), (None, None));
    assert_eq!((agent.counters().frames_refused_total, agent.counters().frames_in_total), (1, 0));
}

#[test]
fn the_first_lldpdu_is_whole() {
    let mut agent = new_agent();
    agent.set_org_tlv(at(0), EVB, Some(Bytes::from_static(&[0x00, 0x07, 0x6e, 0x94, 0x14]))).unwrap();
    agent.handle_link(at(0), true);
    let expected: &[u8] = &[
        0x02, 7, 4, 2, 0, 0, 0, 0, 1, 0x04, 5, 5, b'e', b't', b'h', b'0', 0x06, 2, 0, 121, 0xfe, 9, 0, 0x80,
        0xc2, 0x0d, 0x00, 0x07, 0x6e, 0x94, 0x14, 0, 0,
    ];
    assert_eq!(outputs(&mut agent), [Output::Transmit(Bytes::from_static(expected))]);
    assert_eq!(agent.local().org(EVB).unwrap().len(), 5);
}

#[test]
fn an_idle_agent_wakes_only_to_send() {
    let mut agent = running();
    let times = run_until(&mut agent, at(3600));
    assert_eq!(times, (1..=120).map(|n| at(30 * n)).collect::<Vec<_>>());
    assert_eq!(agent.counters().frames_out_total, 121);
}

#[test]
fn a_new_neighbour_is_greeted_four_times_a_second_apart() {
    let mut agent = running();
    agent.handle_pdu(ms(10_500), SRC, &said(9, 600, "x"));
    let first = outputs(&mut agent);
    assert_eq!(first[0], Output::Neighbor(appeared(9)));
    assert!(matches!(first[..], [_, Output::Transmit(_)]));
    let times = run_until(&mut agent, ms(80_000));
    assert_eq!(times, [ms(11_500), ms(12_500), ms(13_500), ms(43_500), ms(73_500)]);
}

#[test]
fn changes_are_sent_at_once_while_credit_lasts() {
    let mut agent = running();
    let change = |agent: &mut Agent, n: u8| {
        agent.set_org_tlv(ms(100), EVB, Some(vec![n].into())).unwrap();
        sent(agent).len()
    };
    // One credit of five went into the first LLDPDU.
    assert_eq!((1..=6).map(|n| change(&mut agent, n)).collect::<Vec<_>>(), [1, 1, 1, 1, 0, 0]);
    assert_eq!(agent.poll_timeout(), Some(at(1)));
    agent.handle_timeout(at(1));
    let Some(Output::Transmit(octets)) = agent.poll_output() else { panic!("nothing sent") };
    assert_eq!(Lldpdu::parse(&octets).unwrap().pdu.org(EVB).unwrap()[..], [6]);
    // The change was the last thing said: the interval counts from it.
    assert_eq!(agent.poll_timeout(), Some(ms(30_100)));
    assert_eq!(agent.counters().frames_out_total, 6);
}

#[test]
fn what_is_no_change_is_not_sent() {
    let mut agent = running();
    agent.set_org_tlv(at(1), EVB, None).unwrap();
    agent.set_local(at(1), info(1));
    assert!(sent(&mut agent).is_empty());
    agent.set_org_tlv(at(1), EVB, Some(Bytes::new())).unwrap();
    assert_eq!(sent(&mut agent), [121]);
    agent.set_org_tlv(at(2), EVB, Some(Bytes::new())).unwrap();
    assert!(sent(&mut agent).is_empty());
    let too_long = agent.set_org_tlv(at(3), EVB, Some(vec![0; 508].into()));
    assert_eq!((too_long, sent(&mut agent)), (Err(LocalError::OrgLength(508)), vec![]));
    assert_eq!(agent.local().org(EVB).unwrap().len(), 0);
    agent.set_org_tlv(at(4), EVB, None).unwrap();
    assert_eq!((sent(&mut agent), agent.local().org(EVB)), (vec![121], None));
}

#[test]
fn only_the_administrator_withdraws_what_we_said() {
    let mut agent = running();
    agent.handle_link(at(5), false);
    assert_eq!((sent(&mut agent), agent.poll_timeout()), (vec![], None));
    agent.handle_link(at(6), true);
    assert_eq!(sent(&mut agent), [121]);

    agent.set_admin_status(at(7), AdminStatus::RxOnly);
    assert_eq!((sent(&mut agent), agent.poll_timeout()), (vec![0], Some(at(9))));
    // Enabled again too early: the first LLDPDU waits for the end of the delay.
    agent.set_admin_status(at(8), AdminStatus::TxOnly);
    assert_eq!((sent(&mut agent), agent.poll_timeout()), (vec![], Some(at(9))));
    agent.handle_timeout(at(9));
    assert_eq!(sent(&mut agent), [121]);

    agent.set_admin_status(at(10), AdminStatus::Disabled);
    assert_eq!(sent(&mut agent), [0]);
    agent.handle_timeout(at(12));
    assert_eq!((sent(&mut agent), agent.poll_timeout()), (vec![], None));
    agent.set_admin_status(at(20), AdminStatus::Disabled);
    assert!(sent(&mut agent).is_empty());
    assert_eq!(agent.counters().frames_out_total, 5);
}

#[test]
fn a_new_identity_withdraws_the_old_one() {
    let mut agent = running();
    agent.set_local(at(1), info(2));
    let said: Vec<_> = outputs(&mut agent)
        .into_iter()
        .map(|output| match output {
            Output::Transmit(octets) => Lldpdu::parse(&octets).unwrap().pdu,
            Output::Neighbor(event) => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(said, [Lldpdu::new(msap(1), 0), Lldpdu::new(msap(2), 121)]);
    // Another description is no other identity.
    agent.set_local(at(2), LocalInfo { port_description: Some("uplink".into()), ..info(2) });
    assert_eq!(sent(&mut agent), [121]);
    // Nobody hears us while the link is down.
    agent.handle_link(at(3), false);
    agent.set_local(at(4), info(3));
    assert!(sent(&mut agent).is_empty());
}

#[test]
fn a_neighbour_comes_changes_and_leaves() {
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &said(9, 120, "x"));
    assert_eq!(events(&mut agent), [appeared(9)]);
    let neighbor = agent.neighbor(&msap(9)).unwrap();
    assert_eq!((neighbor.msap(), neighbor.src, neighbor.expires), (&msap(9), SRC, at(121)));
    assert_eq!(neighbor.raw(), &said(9, 120, "x"));

    // The same again, even with another TTL, only lives longer.
    agent.handle_pdu(at(2), SRC, &said(9, 120, "x"));
    agent.handle_pdu(at(3), SRC, &said(9, 60, "x"));
    assert_eq!(events(&mut agent), []);
    let neighbor = agent.neighbors().next().unwrap();
    assert_eq!((neighbor.first_seen, neighbor.last_seen, neighbor.last_changed), (at(1), at(3), at(1)));
    assert_eq!((neighbor.expires, neighbor.info.ttl), (at(63), 60));

    let changed = || vec![NeighborEvent::Changed { msap: msap(9) }];
    agent.handle_pdu(at(4), SRC, &said(9, 120, "y"));
    assert_eq!(events(&mut agent), changed());
    agent.handle_pdu(at(5), MacAddr(2, 0, 0, 0, 0xb, 2), &said(9, 120, "y"));
    assert_eq!(events(&mut agent), changed());
    let neighbor = agent.neighbors().next().unwrap();
    assert_eq!((neighbor.first_seen, neighbor.last_changed), (at(1), at(5)));

    agent.handle_pdu(at(6), SRC, &said(9, 0, ""));
    assert_eq!(events(&mut agent), [gone(9, GoneCause::Shutdown)]);
    agent.handle_pdu(at(7), SRC, &said(9, 0, ""));
    assert_eq!((events(&mut agent), agent.neighbors().count()), (vec![], 0));
    assert_eq!((agent.counters().frames_in_total, agent.counters().ageouts_total), (7, 0));
}

#[test]
fn neighbours_age_one_by_one() {
    let mut agent = new_agent();
    agent.set_admin_status(at(0), AdminStatus::RxOnly);
    agent.handle_link(at(0), true);
    agent.handle_pdu(at(0), SRC, &said(8, 10, "x"));
    agent.handle_pdu(at(0), SRC, &said(9, 20, "x"));
    assert_eq!(outputs(&mut agent), [Output::Neighbor(appeared(8)), Output::Neighbor(appeared(9))]);
    assert_eq!(agent.poll_timeout(), Some(at(10)));
    agent.handle_timeout(ms(9_999));
    assert_eq!(agent.poll_output(), None);
    agent.handle_timeout(at(10));
    assert_eq!(events(&mut agent), [gone(8, GoneCause::AgedOut)]);
    // Late for its end, in time to be heard: it stays.
    agent.handle_pdu(at(21), SRC, &said(9, 20, "x"));
    assert_eq!((events(&mut agent), agent.poll_timeout()), (vec![], Some(at(41))));
    agent.handle_timeout(at(50));
    assert_eq!((events(&mut agent), agent.poll_timeout()), (vec![gone(9, GoneCause::AgedOut)], None));
    assert_eq!(agent.counters().ageouts_total, 2);
}

#[test]
fn what_was_learnt_survives_a_link_that_is_down_but_not_its_return() {
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &said(8, 10, "x"));
    agent.handle_pdu(at(1), SRC, &said(9, 600, "x"));
    outputs(&mut agent);
    agent.handle_link(at(2), false);
    assert_eq!((agent.neighbors().count(), agent.poll_timeout()), (2, Some(at(11))));
    agent.handle_timeout(at(11));
    assert_eq!(events(&mut agent), [gone(8, GoneCause::AgedOut)]);
    agent.handle_pdu(at(12), SRC, &said(9, 0, ""));
    assert_eq!((agent.neighbors().count(), agent.counters().frames_refused_total), (1, 1));
    agent.handle_link(at(13), true);
    assert_eq!(events(&mut agent), [gone(9, GoneCause::PortUp)]);
    agent.handle_pdu(at(14), SRC, &said(9, 600, "x"));
    assert_eq!(events(&mut agent), [appeared(9)]);
}

#[test]
fn an_agent_that_does_not_receive_knows_nobody() {
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &said(9, 600, "x"));
    outputs(&mut agent);
    agent.set_admin_status(at(2), AdminStatus::TxOnly);
    assert_eq!(events(&mut agent), [gone(9, GoneCause::AdminDisabled)]);
    agent.handle_pdu(at(3), SRC, &said(9, 600, "x"));
    assert_eq!((events(&mut agent), agent.counters().frames_refused_total), (vec![], 1));
    agent.set_admin_status(at(4), AdminStatus::RxTx);
    agent.handle_pdu(at(5), SRC, &said(9, 600, "x"));
    assert_eq!(events(&mut agent), [appeared(9)]);
}

#[test]
fn whoever_is_first_stays() {
    let config = AgentConfig { max_neighbors: 1, ..AgentConfig::new(Scope::NearestBridge) };
    let mut agent = Agent::new(AgentConfig { admin_status: AdminStatus::RxOnly, ..config }, info(1));
    agent.handle_link(at(0), true);
    agent.handle_pdu(at(0), SRC, &said(7, 600, "x"));
    agent.handle_pdu(at(1), SRC, &said(8, 30, "x"));
    agent.handle_pdu(at(2), SRC, &said(9, 20, "x"));
    assert_eq!(events(&mut agent), [appeared(7), NeighborEvent::TooMany { msap: msap(8) }]);
    assert_eq!((agent.too_many_until(), agent.neighbors().count()), (Some(at(31)), 1));
    assert_eq!(agent.counters().too_many_neighbors_total, 2);
    assert_eq!(agent.counters().frames_discarded_total, 2);
    // Who is known may still change.
    agent.handle_pdu(at(3), SRC, &said(7, 600, "y"));
    assert_eq!(events(&mut agent), [NeighborEvent::Changed { msap: msap(7) }]);
    assert_eq!(agent.poll_timeout(), Some(at(31)));
    agent.handle_timeout(at(31));
    assert_eq!((events(&mut agent), agent.too_many_until()), (vec![NeighborEvent::TooManyOver], None));
    // A port that comes up starts without the memory of it.
    agent.handle_pdu(at(32), SRC, &said(8, 30, "x"));
    agent.handle_link(at(33), false);
    agent.handle_link(at(34), true);
    assert_eq!(agent.too_many_until(), None);
}

#[test]
fn our_own_echo_is_not_a_neighbour() {
    let mut agent = new_agent();
    agent.handle_link(at(0), true);
    let Some(Output::Transmit(ours)) = agent.poll_output() else { panic!("nothing sent") };
    agent.handle_pdu(at(0), SRC, &ours);
    agent.handle_pdu(at(0), SRC, &said(1, 0, ""));
    assert_eq!((outputs(&mut agent), agent.neighbors().count()), (vec![], 0));
    assert_eq!((agent.counters().frames_own_total, agent.counters().frames_discarded_total), (2, 2));
}

#[test]
fn every_receive_error_has_its_counter() {
    let long_text = [vec![0x09, 0x00], vec![b'x'; 256]].concat();
    let long_oid = [vec![0x10, 141, 5, 1, 192, 0, 2, 1, 2, 0, 0, 0, 3, 129], vec![1; 129]].concat();
    let tlvs: [(&str, &[u8]); 7] = [
        ("text_length", &long_text),
        ("capabilities_length", &[0x0e, 1, 0]),
        ("management_address_length", &[0x10, 8, 1, 1, 2, 0, 0, 0, 3, 0]),
        ("management_address_oid", &long_oid),
        ("management_address_fields", &[0x10, 0]),
        ("org_length", &[0xfe, 1, 0]),
        ("end_length", &[0, 1, 0]),
    ];
    let pdus: [(&str, &[u8]); 3] =
        [("tlv_header_cut", &[0xfe]), ("tlv_overrun", &[0xfe, 9, 0]), ("duplicate", &[8, 0, 8, 0])];
    let head = [0x02, 2, 7, b'a', 0x04, 2, 7, b'b', 0x06, 2, 0, 120];
    let whole: [(&str, &[u8]); 3] = [
        ("mandatory", &[0, 0]),
        ("id_length", &[0x02, 1, 7]),
        ("ttl_length", &[0x02, 2, 7, b'a', 0x04, 2, 7, b'b', 0x06, 1, 0]),
    ];
    let with_head = |rest: &[u8]| [&head[..], rest].concat();
    let costs_tlv = tlvs.iter().map(|(name, rest)| (*name, with_head(rest), false));
    let costs_pdu = pdus.iter().map(|(name, rest)| (*name, with_head(rest), true));
    let costs_all = whole.iter().map(|(name, pdu)| (*name, pdu.to_vec(), true));
    for (name, pdu, discarded) in costs_tlv.chain(costs_pdu).chain(costs_all) {
        let mut agent = running();
        // Twice: a repeated LLDPDU is not read again, but counted.
        agent.handle_pdu(at(1), SRC, &pdu);
        agent.handle_pdu(at(2), SRC, &pdu);
        let counters = agent.counters();
        let errors = serde_json::to_value(&counters.errors).unwrap();
        for (other, count) in errors.as_object().unwrap() {
            assert_eq!(count, if other == name { 2 } else { 0 }, "{name}: {other}");
        }
        let lost = if discarded { (2, 2, 0) } else { (2, 0, 2) };
        assert_eq!(
            (counters.frames_in_errors_total, counters.frames_discarded_total, counters.tlvs_discarded_total),
            lost,
            "{name}"
        );
        assert_eq!(agent.neighbors().count(), usize::from(!discarded), "{name}");
    }
}

#[test]
fn reserved_types_and_want_of_room_are_counted() {
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &[0x02, 2, 7, b'a', 0x04, 2, 7, b'b', 0x06, 2, 0, 120, 0x12, 0, 0xfc, 0]);
    assert_eq!(agent.counters().tlvs_unrecognized_total, 2);
    // Two faults in one LLDPDU are one LLDPDU with errors.
    agent.handle_pdu(at(2), SRC, &[0x02, 2, 7, b'a', 0x04, 2, 7, b'b', 0x06, 2, 0, 120, 0x0e, 0, 0xfe, 0]);
    assert_eq!((agent.counters().tlvs_discarded_total, agent.counters().frames_in_errors_total), (2, 1));
    for subtype in 1..=3 {
        let key = OrgKey { subtype, ..EVB };
        agent.set_org_tlv(at(10), key, Some(vec![0; 507].into())).unwrap();
    }
    assert_eq!((agent.counters().lldpdu_length_errors_total, agent.counters().tlvs_omitted_total), (1, 1));
}

#[test]
fn events_are_recorded_in_snake_case() {
    let json = serde_json::to_value(gone(9, GoneCause::AgedOut)).unwrap();
    assert_eq!((&json["what"], &json["cause"]), (&"gone".into(), &"aged_out".into()));
    assert_eq!(json["msap"]["chassis"]["id"], "02:00:00:00:00:09");
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &said(9, 120, "x"));
    let json = serde_json::to_value(agent.neighbors().next().unwrap()).unwrap();
    assert_eq!((&json["info"]["system_name"], &json["expires"]), (&"x".into(), &121_000_000.into()));
    let json = serde_json::to_value(agent.config()).unwrap();
    assert_eq!((&json["scope"], &json["admin_status"]), (&"nearest_customer".into(), &"rx_tx".into()));
    assert_eq!(json["timing"]["msg_tx_interval"], 30);
}

/// Two agents on one link that each answer what the other says agree within their credit, at once.
#[test]
fn two_agents_negotiate_without_waiting() {
    let mut ends = [new_agent(), Agent::new(AgentConfig::new(Scope::NearestCustomer), info(2))];
    for end in &mut ends {
        end.handle_link(at(0), true);
    }
    loop {
        let out: Vec<_> = ends.iter_mut().map(outputs).collect();
        if out.iter().all(Vec::is_empty) {
            break;
        }
        for (from, outputs) in out.into_iter().enumerate() {
            let to = &mut ends[1 - from];
            for output in outputs {
                if let Output::Transmit(octets) = output {
                    to.handle_pdu(at(0), SRC, &octets);
                }
            }
            // Count up to three in turns.
            let heard = |end: &Agent| end.neighbors().next().and_then(|n| n.org(EVB)).map_or(0, |v| v[0]);
            let next = (heard(to) + 1).min(3);
            to.set_org_tlv(at(0), EVB, Some(vec![next].into())).unwrap();
        }
    }
    for end in &ends {
        assert_eq!(end.neighbors().next().unwrap().org(EVB).unwrap()[..], [3]);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Link(bool),
    Admin(AdminStatus),
    Pdu(u8, u16, u8),
    Octets(Vec<u8>),
    Org(u8),
    Local(u8),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    use AdminStatus::*;
    prop_oneof![
        any::<bool>().prop_map(Step::Link),
        proptest::sample::select(vec![Disabled, TxOnly, RxOnly, RxTx]).prop_map(Step::Admin),
        (0u8..5, 0u16..40, 0u8..3).prop_map(|(who, ttl, what)| Step::Pdu(who, ttl, what)),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Octets),
        (0u8..3).prop_map(Step::Org),
        (0u8..3).prop_map(Step::Local),
        Just(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens when: nothing is left undone, memory stays bounded, and no second sees more LLDPDUs than credit.
    #[test]
    fn any_history(steps in proptest::collection::vec((step(), 0u64..3_000), 0..120)) {
        let params = TimingParams { msg_tx_interval: 3, tx_credit_max: 2, ..TimingParams::default() };
        let timing = Timing::try_from(params).unwrap();
        let config = AgentConfig { timing, max_neighbors: 2, ..AgentConfig::new(Scope::NearestBridge) };
        let mut agent = Agent::new(config, info(1));
        let mut now = at(0);
        let mut up_since = now;
        let mut infos = Vec::new();
        for (step, wait) in steps {
            now += Duration::from_millis(wait);
            match step {
                Step::Link(up) => {
                    agent.handle_link(now, up);
                    up_since = now;
                }
                Step::Admin(status) => {
                    agent.set_admin_status(now, status);
                    up_since = now;
                }
                Step::Pdu(who, ttl, what) => agent.handle_pdu(now, SRC, &said(who, ttl, &what.to_string())),
                Step::Octets(octets) => agent.handle_pdu(now, SRC, &octets),
                Step::Org(value) => agent.set_org_tlv(now, EVB, Some(vec![value].into())).unwrap(),
                Step::Local(last) => agent.set_local(now, info(last)),
                Step::Wait => agent.handle_timeout(now),
            }
            prop_assert!(agent.poll_timeout().is_none_or(|next| next > now));
            prop_assert!(agent.neighbors().count() <= 2);
            prop_assert!(agent.neighbors().all(|neighbor| neighbor.expires > now));
            for output in outputs(&mut agent) {
                if let Output::Transmit(octets) = output
                    && !Lldpdu::parse(&octets).unwrap().pdu.is_shutdown()
                {
                    infos.push(now);
                }
            }
            let window = now.saturating_since(up_since).min(Duration::from_secs(1));
            let recent = infos.iter().filter(|at| **at > up_since && now - **at < window).count();
            prop_assert!(recent <= 3, "{recent} LLDPDUs within a second");
        }
    }
}

fn described(contents: &[crate::Content]) -> LocalInfo {
    LocalInfo { described: contents.iter().map(|c| c.tlv().unwrap()).collect(), ..info(1) }
}

fn vlan_name(vid: u16) -> crate::Content {
    let (vid, name) = (ether::Vid::new(vid).unwrap(), crate::content::Label::truncated(&"n".repeat(32)));
    crate::Content::Dot1(crate::dot1::Dot1::VlanName(crate::dot1::VlanName { vid, name }))
}

#[test]
fn what_describes_comes_after_what_runs_a_protocol_and_finds_room_last() {
    let mut agent = running();
    agent.set_org_tlv(at(10), EVB, Some(Bytes::from_static(&[0; 5]))).unwrap();
    let names: Vec<_> = (1..=60).map(vlan_name).collect();
    agent.set_local(at(20), LocalInfo { system_name: Some("x".repeat(200)), ..described(&names) });
    let Some(Output::Transmit(octets)) = outputs(&mut agent).pop() else { panic!() };
    let pdu = Lldpdu::parse(&octets).unwrap().pdu;
    assert_eq!((pdu.org[0].key(), pdu.system_name.is_some()), (EVB, true));
    assert!((25..60).contains(&pdu.org.len()) && octets.len() <= MAX_LEN);
    assert_eq!(agent.counters().tlvs_omitted_total, 61 - u64::try_from(pdu.org.len()).unwrap());
    // Taken away together, and told once.
    agent.set_local(at(30), info(1));
    let Some(Output::Transmit(octets)) = outputs(&mut agent).pop() else { panic!() };
    assert_eq!(Lldpdu::parse(&octets).unwrap().pdu.org.len(), 1);
    agent.set_local(at(30), info(1));
    assert_eq!(outputs(&mut agent), []);
}

#[test]
fn other_timing_is_told_at_once_and_keeps_the_neighbours() {
    let mut agent = running();
    agent.handle_pdu(at(1), SRC, &said(9, 120, "x"));
    run_until(&mut agent, at(20));
    outputs(&mut agent);
    let params = TimingParams { msg_tx_interval: 10, ..TimingParams::default() };
    let timing = Timing::try_from(params).unwrap();
    let config = AgentConfig { timing, max_neighbors: 1, ..*agent.config() };
    agent.reconfigure(at(21), config);
    assert_eq!(sent(&mut agent), [41]);
    assert_eq!(run_until(&mut agent, at(45)), [at(31), at(41)]);
    outputs(&mut agent);
    agent.handle_pdu(at(45), SRC, &said(8, 120, "y"));
    assert_eq!(events(&mut agent), [NeighborEvent::TooMany { msap: msap(8) }]);
    // The same again changes nothing; disabled, it takes its leave.
    agent.reconfigure(at(46), config);
    assert_eq!(outputs(&mut agent), []);
    agent.reconfigure(at(47), AgentConfig { admin_status: AdminStatus::RxOnly, ..config });
    assert_eq!(sent(&mut agent), [0]);
    assert_eq!(agent.neighbors().count(), 1);
}

#[test]
fn contents_that_cannot_be_read_are_kept_and_counted() {
    let mut agent = running();
    let pvid = OrgKey { oui: Oui::IEEE_802_1, subtype: 1 };
    let odd = OrgTlv::new(pvid, &[1][..]).unwrap();
    let pdu = Lldpdu { org: vec![odd.clone()], ..Lldpdu::new(msap(9), 120) }.emit(MAX_LEN).octets;
    for n in 1..=2 {
        agent.handle_pdu(at(n), SRC, &pdu);
        assert_eq!(agent.counters().org_tlvs_unreadable_total, n);
    }
    assert_eq!(agent.neighbors().next().unwrap().info.org, [odd]);
    assert_eq!(agent.counters().frames_in_errors_total, 0);
}
