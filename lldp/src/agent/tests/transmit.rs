//! What the agent sends, and when.

use super::*;

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
