//! The bridge's machine, state by event, and what the table cannot show.

use ether::time::Duration;
use proptest::prelude::*;

use super::*;
use crate::{
    error::ErrorCode,
    filter::{
        FilterEntry, FilterInfo,
        tests::{entry, filter},
    },
    tlv::{Command, Hints, Vdpdu, Verdict},
    vsi::{TypeId, TypeVersion},
};

mod restart;

const T0: Instant = Instant::from_secs(1000);
/// resourceWaitDelay and toutKeepAlive of the defaults.
const RESOURCES: Duration = Duration::from_micros(10_485_760);
const SILENCE: Duration = Duration::from_micros(17_448_960);

fn id() -> VsiId {
    "b2a7f3c1-0d4e-4b6a-9c55-112233445566".parse().unwrap()
}

fn manager() -> ManagerId {
    "labmgr".parse().unwrap()
}

fn association(command: Command, entries: &[FilterEntry]) -> Association {
    Association {
        command,
        status: Status::Request(Hints::default()),
        type_id: TypeId::new(5).unwrap(),
        version: TypeVersion(1),
        id: id(),
        filter: (!entries.is_empty()).then(|| filter(entries)),
    }
}

fn pdu_of(associations: Vec<Association>) -> Vec<u8> {
    let items = associations.into_iter().map(Item::Association).collect();
    Vdpdu { manager: manager(), items }.to_bytes().unwrap().to_vec()
}

fn send(bridge: &mut Bridge, command: Command, entries: &[FilterEntry]) {
    bridge.handle_pdu(T0, &pdu_of(vec![association(command, entries)]));
}

fn asked() -> FilterEntry {
    entry(0, 0x33, 0, None)
}

fn granted() -> FilterEntry {
    entry(0, 0x33, 100, None)
}

fn accept() -> Answer {
    Answer::Accept { filter: filter(&[granted()]) }
}

fn refuse(error: u8, hard: bool, keep: bool) -> Answer {
    Answer::Refuse { error, hard, keep, words: "policy".into() }
}

/// Answers the latest query.
fn decide(bridge: &mut Bridge, answer: Answer) {
    let serial = bridge.shared.next_serial.wrapping_sub(1);
    bridge.answer(T0, &id(), serial, answer);
}

fn everything(bridge: &mut Bridge) -> Vec<Output> {
    std::iter::from_fn(|| bridge.poll_output()).collect()
}

/// All outputs but those that are about memory.
fn drain(bridge: &mut Bridge) -> Vec<Output> {
    let mut outputs = everything(bridge);
    outputs.retain(|output| !matches!(output, Output::Held(_) | Output::Released(_)));
    outputs
}

/// The outputs in short; of a PDU the type and the status octet.
fn said(bridge: &mut Bridge) -> String {
    let words = drain(bridge).into_iter().map(|output| match output {
        Output::Transmit(tlv) => {
            let pdu = tlv.to_pdu();
            format!("tx {} {:02x}", pdu[18] >> 1, pdu[20])
        }
        Output::Query(query) => format!("query {:?}", query.command),
        Output::Install { .. } => "install".into(),
        Output::Held(_) | Output::Released(_) => unreachable!(),
        Output::Remove { .. } => "remove".into(),
        Output::Event(BridgeEvent::PreAssociated { .. }) => "PreAssociated".into(),
        Output::Event(BridgeEvent::Associated { .. }) => "Associated".into(),
        Output::Event(BridgeEvent::Resumed { .. }) => "Resumed".into(),
        Output::Event(BridgeEvent::Refused { kept, .. }) => {
            if kept { "Refused kept" } else { "Refused" }.into()
        }
        Output::Event(BridgeEvent::Deassociated { cause, .. }) => format!("Deassociated {cause:?}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn state(bridge: &Bridge) -> String {
    bridge.vsi(&id()).map_or("gone".into(), |view| format!("{:?} {:?}", view.state, view.confirmed))
}

fn bridge() -> Bridge {
    ready(Bridge::new(BridgeConfig::default(), Timing::default()))
}

fn ready(mut bridge: Bridge) -> Bridge {
    bridge.set_ready(true);
    bridge
}

fn timeout(bridge: &mut Bridge) {
    if let Some(at) = bridge.poll_timeout() {
        bridge.handle_timeout(at);
    }
}

/// A bridge whose VSI is in state `name`; nothing is left to be said.
fn in_state(name: &str) -> Bridge {
    let mut bridge = bridge();
    let confirm = |bridge: &mut Bridge, command| {
        send(bridge, command, &[asked()]);
        decide(bridge, accept());
    };
    match name {
        "none" => {}
        "first" => send(&mut bridge, Command::Associate, &[asked()]),
        "prepared" => confirm(&mut bridge, Command::PreAssociate),
        "associated" => confirm(&mut bridge, Command::Associate),
        "modified" => {
            confirm(&mut bridge, Command::Associate);
            send(&mut bridge, Command::Associate, &[entry(0, 0x34, 0, None)]);
        }
        other => panic!("{other}"),
    }
    drain(&mut bridge);
    bridge
}

const STATES: [&str; 5] = ["none", "first", "prepared", "associated", "modified"];

const FIRST: &str = "Processing None";
const PREPARED: &str = "Confirmed Some(PreAssociate)";
const ASSOCIATED: &str = "Confirmed Some(Associate)";
const MODIFIED: &str = "Processing Some(Associate)";

type Action = fn(&mut Bridge);
/// An event, and for each state what is said and the state after.
type Row = (&'static str, Action, [(&'static str, &'static str); 5]);

#[rustfmt::skip]
const TABLE: [Row; 14] = [
    ("Associate", |b| send(b, Command::Associate, &[asked()]), [
        ("query Associate", FIRST), ("", FIRST), ("query Associate", "Processing Some(PreAssociate)"),
        ("tx 3 40", ASSOCIATED), ("", MODIFIED),
    ]),
    ("Associate as granted", |b| send(b, Command::Associate, &[granted()]), [
        ("query Associate", FIRST), ("", FIRST), ("query Associate", "Processing Some(PreAssociate)"),
        ("tx 3 40", ASSOCIATED), ("", MODIFIED),
    ]),
    ("Pre-Associate", |b| send(b, Command::PreAssociate, &[asked()]), [
        ("query PreAssociate", FIRST), ("", FIRST), ("tx 1 40", PREPARED),
        ("tx 1 64, Refused kept", ASSOCIATED), ("", MODIFIED),
    ]),
    ("De-Associate", |b| send(b, Command::DeAssociate, &[granted()]), [
        ("tx 4 40", "gone"), ("tx 4 40", "gone"), ("Deassociated Station, tx 4 40", "gone"),
        ("remove, Deassociated Station, tx 4 40", "gone"), ("remove, Deassociated Station, tx 4 40", "gone"),
    ]),
    ("De-Associate without filter", |b| send(b, Command::DeAssociate, &[]), [
        ("tx 4 40", "gone"), ("tx 4 40", "gone"), ("Deassociated Station, tx 4 40", "gone"),
        ("remove, Deassociated Station, tx 4 40", "gone"), ("remove, Deassociated Station, tx 4 40", "gone"),
    ]),
    ("group not agreed on", |b| send(b, Command::Associate, &[entry(7, 0x33, 0, None)]), [
        ("tx 4 45, Refused", "gone"), ("", FIRST), ("Deassociated Refused, tx 4 45, Refused", "gone"),
        ("tx 3 65, Refused kept", ASSOCIATED), ("", MODIFIED),
    ]),
    ("malformed Associate", |b| {
        let mut pdu = pdu_of(vec![association(Command::Associate, &[granted()])]);
        pdu[44] = 2; // the number of entries
        b.handle_pdu(T0, &pdu);
    }, [
        ("tx 4 41, Refused", "gone"), ("tx 4 41, Refused", "gone"),
        ("Deassociated Refused, tx 4 41, Refused", "gone"),
        ("tx 3 61, Refused kept", ASSOCIATED), ("tx 3 61, Refused kept", MODIFIED),
    ]),
    ("malformed De-Associate", |b| {
        let mut pdu = pdu_of(vec![association(Command::DeAssociate, &[granted()])]);
        pdu[42] = 9; // the filter info format
        b.handle_pdu(T0, &pdu);
    }, [
        ("tx 4 41, Refused", "gone"), ("tx 4 41, Refused", "gone"),
        ("Deassociated Refused, tx 4 41, Refused", "gone"),
        ("remove, Deassociated Refused, tx 4 41, Refused", "gone"),
        ("remove, Deassociated Refused, tx 4 41, Refused", "gone"),
    ]),
    ("accepted", |b| decide(b, accept()), [
        ("", "gone"), ("install, tx 3 40, Associated", ASSOCIATED), ("", PREPARED), ("", ASSOCIATED),
        // The filter is not the one asked for.
        ("tx 3 65, Refused kept", ASSOCIATED),
    ]),
    ("refused", |b| decide(b, refuse(4, false, false)), [
        ("", "gone"), ("tx 4 44, Refused", "gone"), ("", PREPARED), ("", ASSOCIATED),
        ("remove, Deassociated Refused, tx 4 44, Refused", "gone"),
    ]),
    ("refused for good, or kept", |b| decide(b, refuse(2, true, true)), [
        ("", "gone"), ("tx 4 52, Refused", "gone"), ("", PREPARED), ("", ASSOCIATED),
        ("tx 3 62, Refused kept", ASSOCIATED),
    ]),
    ("withdrawn", |b| b.withdraw(T0, &id(), Cause::Administrator), [
        ("", "gone"), ("tx 4 00", "gone"), ("Deassociated Administrator, tx 4 00", "gone"),
        ("remove, Deassociated Administrator, tx 4 00", "gone"),
        ("remove, Deassociated Administrator, tx 4 00", "gone"),
    ]),
    ("port released", |b| b.release_all(T0, Cause::PortReleased), [
        ("", "gone"), ("tx 4 00", "gone"), ("Deassociated PortReleased, tx 4 00", "gone"),
        ("remove, Deassociated PortReleased, tx 4 00", "gone"),
        ("remove, Deassociated PortReleased, tx 4 00", "gone"),
    ]),
    ("time", timeout, [
        ("", "gone"), ("tx 4 43, Refused", "gone"), ("Deassociated KeepAliveExpired, tx 4 00", "gone"),
        ("remove, Deassociated KeepAliveExpired, tx 4 00", "gone"), ("tx 3 63, Refused kept", ASSOCIATED),
    ]),
];

#[test]
fn every_state_by_every_event() {
    for (event, action, row) in TABLE {
        for (before, (outputs, after)) in STATES.into_iter().zip(row) {
            let mut bridge = in_state(before);
            action(&mut bridge);
            let got = (said(&mut bridge), state(&bridge));
            assert_eq!(got, (outputs.into(), after.into()), "{event} in {before}");
        }
    }
}

#[test]
fn a_query_and_its_answer() {
    let mut bridge = bridge();
    let migrating = Hints { suspended: false, migrating: true };
    let request =
        Association { status: Status::Request(migrating), ..association(Command::Associate, &[asked()]) };
    bridge.handle_pdu(T0, &pdu_of(vec![request]));
    let Some(Output::Query(query)) = bridge.poll_output() else { panic!() };
    assert_eq!((query.id, query.manager, query.hints), (id(), manager(), migrating));
    assert_eq!((query.filter, bridge.poll_timeout()), (filter(&[asked()]), Some(T0 + RESOURCES)));
    bridge.answer(T0, &id(), query.serial, accept());
    let outputs = drain(&mut bridge);
    assert!(
        matches!(&outputs[0], Output::Install { filter: f, hints, .. } if *f == filter(&[granted()]) && *hints == migrating)
    );
    let mut response = association(Command::Associate, &[granted()]);
    response.status = Status::Response(Verdict::SUCCESS);
    let Output::Transmit(tlv) = &outputs[1] else { panic!() };
    assert_eq!(tlv.to_pdu(), pdu_of(vec![response]));
    assert_eq!(bridge.poll_timeout(), Some(T0 + SILENCE));
}

#[test]
fn keep_alives_put_off_the_end() {
    let mut bridge = in_state("associated");
    let later = T0 + Duration::from_secs(10);
    let keep_alive = Association {
        status: Status::Request(Hints { suspended: true, migrating: false }),
        ..association(Command::Associate, &[granted()])
    };
    bridge.handle_pdu(later, &pdu_of(vec![keep_alive]));
    assert_eq!((said(&mut bridge).as_str(), bridge.poll_timeout()), ("tx 3 40", Some(later + SILENCE)));
    assert_eq!(bridge.stats().keep_alives, 1);
    bridge.handle_timeout(later + SILENCE);
    assert_eq!(said(&mut bridge), "remove, Deassociated KeepAliveExpired, tx 4 00");
    let lines: Vec<_> = bridge.history().of(&id()).map(|line| line.what.to_string()).collect();
    assert_eq!(lines.last().unwrap(), "nothing heard of it within toutKeepAlive");
}

#[test]
fn a_repeated_request_is_answered_once() {
    let mut bridge = in_state("first");
    send(&mut bridge, Command::Associate, &[asked()]);
    send(&mut bridge, Command::Associate, &[asked()]);
    decide(&mut bridge, accept());
    assert_eq!(said(&mut bridge), "install, tx 3 40, Associated");
    assert_eq!(bridge.stats().repeated, 2);
}

#[test]
fn another_command_waits_for_the_query() {
    let mut bridge = in_state("first");
    send(&mut bridge, Command::Associate, &[entry(0, 0x34, 7, None)]);
    send(&mut bridge, Command::Associate, &[entry(0, 0x34, 8, None)]);
    decide(&mut bridge, accept());
    assert_eq!(said(&mut bridge), "install, tx 3 40, Associated, query Associate");
    decide(&mut bridge, Answer::Accept { filter: filter(&[entry(0, 0x34, 8, None)]) });
    assert_eq!(said(&mut bridge), "install, tx 3 40, Associated");
    // After a refusal it starts afresh.
    let mut bridge = in_state("first");
    send(&mut bridge, Command::PreAssociate, &[asked()]);
    decide(&mut bridge, refuse(4, false, false));
    assert_eq!(said(&mut bridge), "tx 4 44, Refused, query PreAssociate");
}

#[test]
fn answers_that_come_too_late() {
    let mut bridge = in_state("first");
    timeout(&mut bridge);
    send(&mut bridge, Command::Associate, &[asked()]);
    drain(&mut bridge);
    // The answer to the first query does not decide on the second.
    bridge.answer(T0, &id(), 0, accept());
    assert_eq!((said(&mut bridge).as_str(), state(&bridge).as_str()), ("", FIRST));
    send(&mut bridge, Command::DeAssociate, &[asked()]);
    bridge.answer(T0, &id(), 1, accept());
    assert_eq!((said(&mut bridge).as_str(), state(&bridge).as_str()), ("tx 4 40", "gone"));
    assert_eq!((bridge.stats().stale_answers, bridge.stats().resource_timeouts), (2, 1));
    assert_eq!(bridge.poll_timeout(), None);
}

#[test]
fn a_database_that_names_no_vlan() {
    let mut bridge = in_state("first");
    decide(&mut bridge, Answer::Accept { filter: filter(&[asked()]) });
    assert_eq!(said(&mut bridge), "tx 4 45, Refused");
    // For a Pre-Associate that is good enough.
    send(&mut bridge, Command::PreAssociateRr, &[asked()]);
    decide(&mut bridge, Answer::Accept { filter: filter(&[asked()]) });
    assert_eq!(said(&mut bridge), "query PreAssociateRr, tx 2 40, PreAssociated");
    // An error code that says success is none.
    send(&mut bridge, Command::Associate, &[asked()]);
    decide(&mut bridge, refuse(0, false, false));
    assert_eq!(said(&mut bridge), "query Associate, Deassociated Refused, tx 4 44, Refused");
}

#[test]
fn groups_once_agreed_on() {
    let mut bridge = bridge();
    bridge.set_group_capable(true);
    send(&mut bridge, Command::Associate, &[entry(7, 0x33, 0, None)]);
    decide(&mut bridge, Answer::Accept { filter: filter(&[entry(7, 0x33, 70, Some(2))]) });
    assert_eq!(said(&mut bridge), "query Associate, install, tx 3 40, Associated");
}

#[test]
fn the_table_is_bounded() {
    let mut bridge = ready(Bridge::new(BridgeConfig { max_vsis: 1 }, Timing::default()));
    send(&mut bridge, Command::Associate, &[asked()]);
    let other = |command| Association { id: VsiId::local([1; 16]), ..association(command, &[asked()]) };
    bridge.handle_pdu(T0, &pdu_of(vec![other(Command::Associate), other(Command::DeAssociate)]));
    assert_eq!(said(&mut bridge), "query Associate, tx 4 42, Refused, tx 4 40");
    assert_eq!((bridge.vsis().count(), bridge.stats().table_full), (1, 1));
    // Who is in the table is still served.
    decide(&mut bridge, accept());
    send(&mut bridge, Command::Associate, &[granted()]);
    assert_eq!(said(&mut bridge), "install, tx 3 40, Associated, tx 3 40");
    let lines = bridge.history().of(&VsiId::local([1; 16])).count();
    assert_eq!((lines, bridge.history().gone().count()), (1, 1));
}

#[test]
fn independent_tlvs_of_one_pdu() {
    let mut bridge = bridge();
    let ids = [1u8, 2, 3].map(|n| VsiId::local([n; 16]));
    let list = ids.map(|id| Association { id, ..association(Command::Associate, &[asked()]) });
    let mut pdu = pdu_of(list.to_vec());
    // Each association takes 35 octets; the second one gets an unknown VSIID format, which leaves it nameless.
    pdu[18 + 35 + 7] = 6;
    bridge.handle_pdu(T0, &pdu);
    assert_eq!(said(&mut bridge), "query Associate, tx 4 41, Refused, query Associate");
    assert_eq!(bridge.vsis().map(|view| view.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
}

#[test]
fn responses_are_not_for_us() {
    let mut bridge = in_state("associated");
    let mut response = association(Command::DeAssociate, &[granted()]);
    response.status = Status::Response(Verdict { keep: false, hard: false, error: ErrorCode::OtherFailure });
    let mut malformed = pdu_of(vec![response.clone()]);
    malformed[42] = 9;
    bridge.handle_pdu(T0, &pdu_of(vec![response]));
    bridge.handle_pdu(T0, &malformed);
    assert_eq!((said(&mut bridge).as_str(), state(&bridge).as_str()), ("", ASSOCIATED));
    assert_eq!(bridge.stats().rx.tlvs_wrong_direction, 2);
}

#[test]
fn another_type_is_a_modification() {
    let mut bridge = in_state("associated");
    let other = Association { version: TypeVersion(2), ..association(Command::Associate, &[granted()]) };
    bridge.handle_pdu(T0, &pdu_of(vec![other]));
    decide(&mut bridge, accept());
    assert_eq!(said(&mut bridge), "query Associate, install, tx 3 40, Associated");
    assert_eq!(bridge.vsi(&id()).unwrap().version, TypeVersion(2));
}

/// The PDUs lldpad sends as a station, V12 to V21, and what it makes of our answers: the same TLV with the
/// acknowledge bit.
#[test]
fn answers_as_lldpad_expects_them() {
    let mut bridge = bridge();
    bridge.set_group_capable(true);
    for filter_info in [
        "010001 0065",
        "020001 525400000004 0066",
        "030001 00000309 0067",
        "040001 00000378 525400000006 0068",
    ] {
        let digits: String = filter_info.chars().filter(|c| *c != ' ').collect();
        let octets = (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap());
        let info = [[0, 0, 0, 5, 1, 5].to_vec(), vec![0xa0; 16], octets.collect()].concat();
        let mut pdu = vec![0x0a, 16];
        pdu.extend(manager().0);
        pdu.extend([6, u8::try_from(info.len()).unwrap()]);
        pdu.extend(&info);
        bridge.handle_pdu(T0, &pdu);
        let Some(Output::Query(Query { id, serial, filter, .. })) = bridge.poll_output() else { panic!() };
        bridge.answer(T0, &id, serial, Answer::Accept { filter });
        pdu[20] = 0x40;
        pdu.extend([0, 0]);
        let answered = |output| matches!(output, Output::Transmit(tlv) if tlv.to_pdu() == pdu);
        assert!(drain(&mut bridge).into_iter().any(answered));
    }
}

#[test]
fn without_an_agreement_nothing_is_heard() {
    let mut bridge = in_state("associated");
    bridge.set_ready(false);
    send(&mut bridge, Command::DeAssociate, &[granted()]);
    assert_eq!((said(&mut bridge), state(&bridge)), (String::new(), "Confirmed Some(Associate)".into()));
    assert_eq!(bridge.stats().pdus_unagreed, 1);
}

proptest! {
    /// Whatever comes in: what is installed is what is associated, every Remove follows an Install, and nobody panics.
    #[test]
    fn any_sequence(steps in proptest::collection::vec((0usize..TABLE.len(), 0u64..20), 0..60)) {
        let (mut bridge, mut now) = (bridge(), T0);
        let mut installed: Option<FilterInfo> = None;
        let mut remembered: Option<Held> = None;
        for (step, wait) in steps {
            now += Duration::from_secs(wait);
            bridge.handle_timeout(now);
            TABLE[step].1(&mut bridge);
            for output in everything(&mut bridge) {
                match output {
                    Output::Install { filter, .. } => {
                        prop_assert!(filter.is_resolved());
                        installed = Some(filter);
                    }
                    Output::Remove { filter, .. } => prop_assert_eq!(installed.take(), Some(filter)),
                    Output::Held(held) => remembered = Some(held),
                    Output::Released(_) => remembered = None,
                    Output::Transmit(_) | Output::Query(_) | Output::Event(_) => {}
                }
            }
            let view = bridge.vsi(&id()).filter(|view| view.confirmed == Some(Command::Associate));
            prop_assert_eq!(&installed, &view.map(|view| view.filter));
            prop_assert_eq!(remembered.as_ref(), bridge.held().next());
        }
    }

    #[test]
    fn any_octets(payload in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut bridge = bridge();
        let mut framed = vec![0x0a, 16];
        framed.extend(manager().0);
        framed.extend(&payload);
        bridge.handle_pdu(T0, &payload);
        bridge.handle_pdu(T0, &framed);
    }
}
