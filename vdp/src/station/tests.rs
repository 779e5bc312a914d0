//! The station's machine, state by event, and what the table cannot show.

use bytes::Bytes;
use ether::time::Duration;
use proptest::prelude::*;

use super::*;
use crate::{
    error::ErrorCode,
    filter::{
        FilterEntry,
        tests::{entry, filter},
    },
    tlv::{Hints, Verdict},
    vsi::{TypeId, TypeVersion},
};

mod changes;
mod restart;

const T0: Instant = Instant::from_secs(1000);
/// respWaitDelay and reinitKeepAlive of the defaults.
const RESP: Duration = Duration::from_micros(17_448_960);
const KEEP_ALIVE: Duration = Duration::from_micros(10_485_760);

fn id() -> VsiId {
    "b2a7f3c1-0d4e-4b6a-9c55-112233445566".parse().unwrap()
}

fn request(command: Command, entries: &[FilterEntry]) -> VsiRequest {
    VsiRequest {
        id: id(),
        manager: "labmgr".parse().unwrap(),
        type_id: TypeId::new(5).unwrap(),
        version: TypeVersion(1),
        filter: filter(entries),
        command,
        hints: Hints::default(),
    }
}

fn associate() -> VsiRequest {
    request(Command::Associate, &[entry(0, 0x33, 0, None)])
}

const GRANTED: fn() -> FilterEntry = || entry(0, 0x33, 100, None);

/// The bridge's PDU about our VSI.
fn pdu(command: Command, status: Status, entries: &[FilterEntry]) -> Vec<u8> {
    let request = request(command, entries);
    let association = Association { status, ..request.association() };
    Vdpdu { manager: request.manager, items: vec![Item::Association(association)] }
        .to_bytes()
        .unwrap()
        .to_vec()
}

fn answer(command: Command, keep: bool, hard: bool, error: u8) -> Vec<u8> {
    let status = Status::Response(Verdict { keep, hard, error: ErrorCode::from(error) });
    pdu(command, status, &[GRANTED()])
}

fn success(command: Command) -> Vec<u8> {
    answer(command, false, false, 0)
}

fn withdrawal() -> Vec<u8> {
    pdu(Command::DeAssociate, Status::Request(Hints::default()), &[GRANTED()])
}

fn everything(station: &mut Station) -> Vec<Output> {
    std::iter::from_fn(|| station.poll_output()).collect()
}

/// All outputs but those that are about memory.
fn drain(station: &mut Station) -> Vec<Output> {
    let mut outputs = everything(station);
    outputs.retain(|output| !matches!(output, Output::Held(_) | Output::Released(_)));
    outputs
}

/// The outputs in short.
fn said(station: &mut Station) -> String {
    let words = drain(station).into_iter().map(|output| match output {
        Output::Transmit(tlv) => match &Vdpdu::parse(&tlv.to_pdu()).unwrap().items[..] {
            [Item::Association(a)] => format!("tx {:?}", a.command),
            other => panic!("{other:?}"),
        },
        Output::Event(StationEvent::PreAssociated { .. }) => "PreAssociated".into(),
        Output::Event(StationEvent::Associated { .. }) => "Associated".into(),
        Output::Event(StationEvent::Refused { cause, retry_at, .. }) => {
            format!("Refused {cause:?} {}", if retry_at.is_some() { "retry" } else { "-" })
        }
        Output::Held(_) | Output::Released(_) => unreachable!(),
        Output::Event(StationEvent::Kept { error, .. }) => format!("Kept {error:?}"),
        Output::Event(StationEvent::Gone { cause, retry_at, .. }) => {
            format!("Gone {cause:?} {}", if retry_at.is_some() { "retry" } else { "-" })
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The only output, a TLV, as a PDU of its own.
fn sent(station: &mut Station) -> Bytes {
    let [Output::Transmit(tlv)] = &drain(station)[..] else { panic!() };
    tlv.to_pdu()
}

fn state(station: &Station) -> String {
    station.vsi(&id()).map_or("gone".into(), |view| format!("{:?}", view.state))
}

fn ready() -> Station {
    let mut station = Station::new(StationConfig::default(), Timing::default());
    station.set_ready(T0, true);
    station
}

fn associated() -> Station {
    let mut station = ready();
    station.command(T0, associate()).unwrap();
    station.handle_pdu(T0, &success(Command::Associate));
    assert_eq!(said(&mut station), "tx Associate, Associated");
    station
}

fn timeout(station: &mut Station) -> Instant {
    let at = station.poll_timeout().unwrap();
    station.handle_timeout(at);
    at
}

/// A station whose VSI is in state `name`; nothing is left to be said.
fn in_state(name: &str) -> Station {
    let mut station = match name {
        "Held" => {
            let mut station = Station::new(StationConfig::default(), Timing::default());
            station.command(T0, associate()).unwrap();
            station
        }
        "Processing" => {
            let mut station = ready();
            station.command(T0, associate()).unwrap();
            station
        }
        "Confirmed" => associated(),
        "KeepAlive" => {
            let mut station = associated();
            timeout(&mut station);
            station
        }
        "Deassociating" => {
            let mut station = associated();
            station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
            station
        }
        "BackOff" => {
            let mut station = ready();
            station.command(T0, associate()).unwrap();
            timeout(&mut station);
            station
        }
        other => panic!("{other}"),
    };
    drain(&mut station);
    assert_eq!(state(&station), name);
    station
}

const STATES: [&str; 6] = ["Held", "Processing", "Confirmed", "KeepAlive", "Deassociating", "BackOff"];

type Action = fn(&mut Station);
/// An event, and for each state what is said and the state after.
type Row = (&'static str, Action, [(&'static str, &'static str); 6]);

#[rustfmt::skip]
const TABLE: [Row; 16] = [
    ("Associate again", |s| s.command(T0, associate()).unwrap(), [
        ("", "Held"), ("", "Processing"), ("tx Associate", "Processing"), ("", "KeepAlive"), ("", "Deassociating"),
        ("tx Associate", "Processing"),
    ]),
    ("De-Associate", |s| s.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap(), [
        ("Gone Commanded -", "gone"), ("", "Processing"), ("tx DeAssociate", "Deassociating"), ("", "KeepAlive"),
        ("", "Deassociating"), ("tx DeAssociate", "Deassociating"),
    ]),
    ("success", |s| s.handle_pdu(T0, &success(Command::Associate)), [
        ("", "Held"), ("Associated", "Confirmed"), ("", "Confirmed"), ("", "Confirmed"), ("", "Deassociating"),
        ("", "BackOff"),
    ]),
    ("success with a null VID", |s| {
        let status = Status::Response(Verdict::SUCCESS);
        s.handle_pdu(T0, &pdu(Command::Associate, status, &[entry(0, 0x33, 0, None)]));
    }, [
        ("", "Held"), ("tx DeAssociate", "Deassociating"), ("", "Confirmed"), ("Gone Mismatch retry", "BackOff"),
        ("", "Deassociating"), ("", "BackOff"),
    ]),
    ("success with another MAC", |s| {
        let status = Status::Response(Verdict::SUCCESS);
        s.handle_pdu(T0, &pdu(Command::Associate, status, &[entry(0, 0x34, 100, None)]));
    }, [
        ("", "Held"), ("Refused Mismatch retry", "BackOff"), ("", "Confirmed"), ("Gone Mismatch retry", "BackOff"),
        ("", "Deassociating"), ("", "BackOff"),
    ]),
    ("success of another command", |s| s.handle_pdu(T0, &success(Command::PreAssociate)), [
        ("", "Held"), ("", "Processing"), ("", "Confirmed"), ("", "KeepAlive"), ("", "Deassociating"), ("", "BackOff"),
    ]),
    ("KEEP", |s| s.handle_pdu(T0, &answer(Command::Associate, true, false, 3)), [
        ("", "Held"), ("Refused Refused { error: ManagerUnreachable, hard: false } retry", "BackOff"),
        ("", "Confirmed"), ("tx DeAssociate", "Deassociating"), ("", "Deassociating"), ("", "BackOff"),
    ]),
    ("refusal of the same type", |s| s.handle_pdu(T0, &answer(Command::Associate, false, false, 2)), [
        ("", "Held"), ("Refused Refused { error: InsufficientResources, hard: false } retry", "BackOff"),
        ("", "Confirmed"), ("Gone Refused { error: InsufficientResources, hard: false } retry", "BackOff"),
        ("", "Deassociating"), ("", "BackOff"),
    ]),
    ("refusal as De-Associate", |s| s.handle_pdu(T0, &answer(Command::DeAssociate, false, true, 2)), [
        ("", "Held"), ("Refused Refused { error: InsufficientResources, hard: true } retry", "BackOff"),
        ("Gone Refused { error: InsufficientResources, hard: true } retry", "BackOff"),
        ("Gone Refused { error: InsufficientResources, hard: true } retry", "BackOff"),
        ("Gone Commanded -", "gone"), ("", "BackOff"),
    ]),
    ("De-Associate acknowledged", |s| s.handle_pdu(T0, &success(Command::DeAssociate)), [
        ("", "Held"), ("Refused PeerDeassociated retry", "BackOff"), ("Gone PeerDeassociated retry", "BackOff"),
        ("Gone PeerDeassociated retry", "BackOff"), ("Gone Commanded -", "gone"), ("", "BackOff"),
    ]),
    ("De-Associate unasked", |s| s.handle_pdu(T0, &withdrawal()), [
        ("", "Held"), ("", "Processing"), ("Gone PeerDeassociated retry", "BackOff"),
        ("Gone PeerDeassociated retry", "BackOff"), ("Gone Commanded -", "gone"), ("", "BackOff"),
    ]),
    ("time", |s| { timeout_if_any(s); }, [
        ("", "Held"), ("Refused Timeout retry", "BackOff"), ("tx Associate", "KeepAlive"),
        ("Gone Timeout retry", "BackOff"), ("Gone Commanded -", "gone"), ("tx Associate", "Processing"),
    ]),
    ("the bridge is lost", |s| s.set_ready(T0, false), [
        ("", "Held"), ("", "Processing"), ("", "Confirmed"), ("", "KeepAlive"), ("", "Deassociating"), ("", "BackOff"),
    ]),
    ("the bridge is lost, and all with it", |s| s.release_all(T0), [
        ("", "Held"), ("", "Held"), ("Gone PeerLost -", "Held"), ("Gone PeerLost -", "Held"), ("Gone Commanded -", "gone"),
        ("", "BackOff"),
    ]),
    ("the bridge is there", |s| { s.set_ready(T0, false); s.set_ready(T0, true); }, [
        ("tx Associate", "Processing"), ("", "Processing"), ("", "Confirmed"), ("", "KeepAlive"),
        ("", "Deassociating"), ("tx Associate", "Processing"),
    ]),
    ("time without a bridge", |s| { s.set_ready(T0, false); timeout_if_any(s); }, [
        ("", "Held"), ("Refused Timeout -", "Held"), ("tx Associate", "KeepAlive"), ("Gone Timeout -", "Held"),
        ("Gone Commanded -", "gone"), ("", "Held"),
    ]),
];

fn timeout_if_any(station: &mut Station) {
    if station.poll_timeout().is_some() {
        timeout(station);
    }
}

#[test]
fn every_state_by_every_event() {
    for (event, action, row) in TABLE {
        for (before, (outputs, after)) in STATES.into_iter().zip(row) {
            let mut station = in_state(before);
            action(&mut station);
            let got = (said(&mut station), state(&station));
            assert_eq!(got, (outputs.into(), after.into()), "{event} in {before}");
        }
    }
}

#[test]
fn what_was_released_is_asked_for_when_the_bridge_is_back() {
    for name in ["Held", "Processing", "Confirmed", "KeepAlive", "BackOff"] {
        let mut station = in_state(name);
        station.release_all(T0);
        drain(&mut station);
        station.set_ready(T0, true);
        assert_eq!((said(&mut station).as_str(), state(&station).as_str()), ("tx Associate", "Processing"));
    }
}

#[test]
fn timers() {
    let mut station = ready();
    station.command(T0, associate()).unwrap();
    assert_eq!(station.poll_timeout(), Some(T0 + RESP));
    let confirmed = T0 + Duration::from_millis(20);
    station.handle_pdu(confirmed, &success(Command::Associate));
    assert_eq!(station.poll_timeout(), Some(confirmed + KEEP_ALIVE));
    station.handle_timeout(confirmed + KEEP_ALIVE.saturating_sub(Duration::from_micros(1)));
    assert_eq!(
        (said(&mut station).as_str(), state(&station).as_str()),
        ("tx Associate, Associated", "Confirmed")
    );
}

#[test]
fn returned_values_are_used_from_then_on() {
    let mut station = ready();
    station.command(T0, associate()).unwrap();
    station.handle_pdu(T0, &success(Command::Associate));
    drain(&mut station);
    timeout(&mut station);
    let keep_alive = Vdpdu {
        manager: "labmgr".parse().unwrap(),
        items: vec![Item::Association(request(Command::Associate, &[GRANTED()]).association())],
    };
    assert_eq!(sent(&mut station), keep_alive.to_bytes().unwrap());
    assert_eq!(station.stats().keep_alives, 1);
    station.handle_pdu(T0, &success(Command::Associate));
    // So does the same command given again.
    station.command(T0, associate()).unwrap();
    assert_eq!(sent(&mut station), keep_alive.to_bytes().unwrap());
    station.handle_pdu(T0, &success(Command::Associate));
    drain(&mut station);
    // The De-Associate, too, names the VLAN, though the hypervisor does not know it.
    station.command(T0, request(Command::DeAssociate, &[entry(0, 0x33, 0, None)])).unwrap();
    let octets = sent(&mut station);
    assert!(
        matches!(&Vdpdu::parse(&octets).unwrap().items[0], Item::Association(a) if a.filter == Some(filter(&[GRANTED()])))
    );
    // V24: lldpad answers, and 16 s later de-associates once more, which is ignored.
    station.handle_pdu(T0, &success(Command::DeAssociate));
    station.handle_pdu(T0 + Duration::from_secs(16), &withdrawal());
    assert_eq!((said(&mut station).as_str(), station.stats().unknown_vsi), ("Gone Commanded -", 1));
    assert!(station.history().of(&id()).count() > 3);
    assert_eq!(station.history().gone().count(), 1);
}

#[test]
fn a_priority_may_be_adopted_late() {
    let mut station = associated();
    timeout(&mut station);
    let with_priority = [entry(0, 0x33, 100, Some(3))];
    station.handle_pdu(T0, &pdu(Command::Associate, Status::Response(Verdict::SUCCESS), &with_priority));
    assert_eq!(said(&mut station), "tx Associate, Associated");
    assert_eq!(station.vsi(&id()).unwrap().filter, filter(&with_priority));
}

#[test]
fn one_null_vid_becomes_a_set() {
    let mut station = ready();
    station.command(T0, request(Command::Associate, &[entry(0, 0, 0, None)])).unwrap();
    let set = [entry(0, 0, 10, None), entry(0, 0, 11, None)];
    station.handle_pdu(T0, &pdu(Command::Associate, Status::Response(Verdict::SUCCESS), &set));
    assert_eq!(said(&mut station), "tx Associate, Associated");
    assert_eq!(station.vsi(&id()).unwrap().filter, filter(&set));
}

#[test]
fn a_null_vid_confirmed_is_an_error_5() {
    let mut station = ready();
    station.command(T0, associate()).unwrap();
    let nothing_filled_in =
        pdu(Command::Associate, Status::Response(Verdict::SUCCESS), &[entry(0, 0x33, 0, None)]);
    station.handle_pdu(T0, &nothing_filled_in);
    station.handle_pdu(T0, &success(Command::DeAssociate));
    let outputs = drain(&mut station);
    assert!(!outputs.iter().any(|o| matches!(o, Output::Event(StationEvent::Associated { .. }))));
    let Some(Output::Event(StationEvent::Refused { error, command, hard, retry_at, .. })) = outputs.last()
    else {
        panic!("{outputs:?}")
    };
    assert_eq!((*error, *command), (Some(ErrorCode::InvalidVidGroupOrMac), Command::Associate));
    assert_eq!((*hard, *retry_at), (false, Some(T0 + Duration::from_secs(1))));
    // A Pre-Associate may leave the choice for later.
    let mut station = ready();
    station.command(T0, request(Command::PreAssociate, &[entry(0, 0x33, 0, None)])).unwrap();
    let status = Status::Response(Verdict::SUCCESS);
    station.handle_pdu(T0, &pdu(Command::PreAssociate, status, &[entry(0, 0x33, 0, None)]));
    assert_eq!(said(&mut station), "tx PreAssociate, PreAssociated");
}

#[test]
fn a_stray_de_associate_of_other_values_is_ignored() {
    let mut station = associated();
    let mut other = request(Command::DeAssociate, &[GRANTED()]);
    other.type_id = TypeId::new(6).unwrap();
    let items = vec![Item::Association(other.association())];
    let stray = Vdpdu { manager: other.manager, items }.to_bytes().unwrap();
    station.handle_pdu(T0, &stray);
    assert_eq!((said(&mut station).as_str(), station.stats().stale), ("", 1));
    let status = Status::Request(Hints::default());
    station.handle_pdu(T0, &pdu(Command::DeAssociate, status, &[entry(0, 0x33, 101, None)]));
    assert_eq!((said(&mut station).as_str(), station.stats().stale), ("", 2));
    // Without filter info it names the VSI only.
    let bare = Association { filter: None, ..request(Command::DeAssociate, &[GRANTED()]).association() };
    let items = vec![Item::Association(bare)];
    station.handle_pdu(T0, &Vdpdu { manager: other.manager, items }.to_bytes().unwrap());
    assert_eq!(said(&mut station), "Gone PeerDeassociated retry");
}

#[test]
fn what_is_not_for_us() {
    let mut station = associated();
    let received = *station.stats();
    station.handle_pdu(T0, &pdu(Command::Associate, Status::Request(Hints::default()), &[GRANTED()]));
    station.handle_pdu(T0, &[]);
    station.handle_pdu(T0, &[0x0a]);
    station.handle_pdu(T0, &[0x0a, 1, 0]);
    let mut two_managers = vec![0x0a, 0x10];
    two_managers.extend([0; 16]);
    two_managers.extend(two_managers.clone());
    station.handle_pdu(T0, &two_managers);
    let rx = station.stats().rx;
    assert_eq!((rx.pdus, rx.tlvs_wrong_direction), (received.rx.pdus + 5, 1));
    assert_eq!(
        (rx.pdus_without_manager, rx.pdus_cut, rx.pdus_manager_length, rx.pdus_second_manager),
        (1, 1, 1, 1)
    );
    assert_eq!((said(&mut station).as_str(), state(&station).as_str()), ("", "Confirmed"));
}

#[test]
fn ecp_failures_are_noted() {
    let mut station = ready();
    station.command(T0, associate()).unwrap();
    let octets = sent(&mut station);
    station.ecp_failed(T0, &octets);
    let last = station.vsi(&id()).unwrap().history.pop().unwrap();
    assert_eq!(last.what, "ECP gave up on the Associate: the bridge does not acknowledge");
    assert_eq!((station.stats().ecp_failures, state(&station).as_str()), (1, "Processing"));
}

#[test]
fn the_table_is_bounded() {
    let mut station = Station::new(StationConfig { max_vsis: 1, ..Default::default() }, Timing::default());
    station.command(T0, associate()).unwrap();
    let other = VsiRequest { id: VsiId::local([1; 16]), ..associate() };
    assert_eq!(station.command(T0, other.clone()), Err(CommandError::Full(1)));
    station.command(T0, associate()).unwrap();
    station.command(T0, request(Command::DeAssociate, &[GRANTED()])).unwrap();
    assert_eq!(station.command(T0, other), Ok(()));
    assert_eq!(station.vsis().count(), 1);
}

#[test]
fn several_tlvs_in_one_pdu() {
    let mut station = ready();
    let ids = [1u8, 2].map(|n| VsiId::local([n; 16]));
    let requests = ids.map(|id| VsiRequest { id, ..associate() });
    let items = requests.iter().map(|request| {
        station.command(T0, request.clone()).unwrap();
        let status = Status::Response(Verdict::SUCCESS);
        Item::Association(Association { status, filter: Some(filter(&[GRANTED()])), ..request.association() })
    });
    let answer = Vdpdu { manager: associate().manager, items: items.collect() };
    station.handle_pdu(T0, &answer.to_bytes().unwrap());
    assert_eq!(said(&mut station), "tx Associate, tx Associate, Associated, Associated");
}

#[test]
fn a_keep_alive_answered_with_another_command_is_no_answer() {
    let mut station = in_state("KeepAlive");
    station.handle_pdu(T0, &success(Command::PreAssociate));
    assert_eq!((said(&mut station), state(&station)), (String::new(), "KeepAlive".into()));
    assert_eq!(station.stats().stale, 1);
}

proptest! {
    /// Whatever comes in, the gate is told apart cleanly: it opens only by a resolved Associate and shuts only when open
    /// or by command, and nobody panics.
    #[test]
    fn any_sequence(steps in proptest::collection::vec((0usize..TABLE.len(), 0u64..20), 0..60)) {
        let mut station = ready();
        let (mut now, mut open) = (T0, false);
        let mut remembered: Option<Held> = None;
        station.command(now, associate()).unwrap();
        for (step, wait) in steps {
            now += Duration::from_secs(wait);
            station.handle_timeout(now);
            TABLE[step].1(&mut station);
            for output in everything(&mut station) {
                match output {
                    Output::Event(StationEvent::Associated { filter, .. }) => {
                        prop_assert!(filter.is_resolved());
                        open = true;
                    }
                    Output::Event(StationEvent::Gone { .. }) => open = false,
                    Output::Event(StationEvent::Kept { .. }) => prop_assert!(open),
                    Output::Held(held) => remembered = Some(held),
                    Output::Released(_) => remembered = None,
                    Output::Event(_) | Output::Transmit(_) => {}
                }
            }
            let confirmed = station.vsi(&id()).and_then(|view| view.confirmed);
            prop_assert_eq!(open, confirmed == Some(Command::Associate));
            prop_assert_eq!(&remembered, &station.held().next());
        }
    }
}
