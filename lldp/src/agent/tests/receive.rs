//! What the agent learns from its neighbours.

use super::*;

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
