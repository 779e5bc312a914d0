//! The prover, state by event, and what the table cannot show.

use super::*;

const T0: Instant = Instant::from_secs(1000);
const INTERVAL: Duration = Duration::from_secs(30);
const SOURCE: fn() -> Source = || Source { mac: MacAddr::new(2, 0, 0, 0, 0, 1), vid: Vid::new(100).unwrap() };
const OTHER: fn() -> Source = || Source { mac: MacAddr::new(2, 0, 0, 0, 0, 2), vid: Vid::new(200).unwrap() };

fn frames(probe: &mut Probe) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| probe.poll_transmit()).collect()
}

/// Hands a frame back as a bridge does; whether it was awaited.
fn back(probe: &mut Probe, now: Instant, frame: &[u8]) -> bool {
    probe.handle_frame(now, &FrameView::parse(frame).unwrap())
}

/// As the kernel hands it to a socket of one EtherType: without its tag.
fn untagged(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.drain(TAG_AT..TAG_AT + Tag::LEN);
    frame
}

fn timeout(probe: &mut Probe) -> Instant {
    let at = probe.poll_timeout().unwrap();
    probe.handle_timeout(at);
    at
}

fn state(probe: &Probe) -> &'static str {
    match probe.state {
        State::Idle => "Idle",
        State::Waiting => "Waiting",
        State::Round { .. } => "Round",
        State::Failed { lost: false, .. } => "Failed",
        State::Failed { lost: true, .. } => "Lost",
        State::Proven { .. } => "Proven",
        State::Check { .. } => "Check",
    }
}

/// A prover in state `name`, and the frame it sent last.
fn in_state(name: &str) -> (Probe, Vec<u8>) {
    let mut probe = Probe::new(Some(INTERVAL), 1);
    let mut last = Vec::new();
    let steps = match name {
        "Idle" => 0,
        "Waiting" => 1,
        "Round" => 2,
        "Failed" => 3,
        "Proven" => 4,
        "Check" => 5,
        "Lost" => 6,
        other => panic!("{other}"),
    };
    if steps >= 1 {
        probe.set_reflecting(T0, true);
    }
    if steps >= 2 {
        probe.set_source(T0, Some(SOURCE()));
        last = frames(&mut probe).pop().unwrap();
    }
    if steps == 3 {
        (0..ROUND).for_each(|_| _ = timeout(&mut probe));
        last = frames(&mut probe).pop().unwrap();
    }
    if steps >= 4 {
        assert!(back(&mut probe, T0, &last));
    }
    if steps >= 5 {
        timeout(&mut probe);
        last = frames(&mut probe).pop().unwrap();
    }
    if steps == 6 {
        (0..LOST_IN_A_ROW).for_each(|_| _ = timeout(&mut probe));
        last = frames(&mut probe).pop().unwrap();
    }
    assert_eq!(state(&probe), name);
    (probe, last)
}

const STATES: [&str; 7] = ["Idle", "Waiting", "Round", "Failed", "Lost", "Proven", "Check"];

type Action = fn(&mut Probe, &[u8]);
/// An event, and for each state the state after and how many frames are sent.
type Row = (&'static str, Action, [(&'static str, usize); 7]);

#[rustfmt::skip]
const TABLE: [Row; 7] = [
    ("reflecting", |p, _| p.set_reflecting(T0, true), [
        ("Waiting", 0), ("Waiting", 0), ("Round", 0), ("Failed", 0), ("Lost", 0), ("Proven", 0), ("Check", 0),
    ]),
    ("not reflecting", |p, _| p.set_reflecting(T0, false), [
        ("Idle", 0), ("Idle", 0), ("Idle", 0), ("Idle", 0), ("Idle", 0), ("Idle", 0), ("Idle", 0),
    ]),
    ("a source", |p, _| p.set_source(T0, Some(SOURCE())), [
        ("Idle", 0), ("Round", 1), ("Round", 0), ("Failed", 0), ("Lost", 0), ("Proven", 0), ("Check", 0),
    ]),
    ("another source", |p, _| p.set_source(T0, Some(OTHER())), [
        ("Idle", 0), ("Round", 1), ("Round", 0), ("Failed", 0), ("Lost", 0), ("Proven", 0), ("Check", 0),
    ]),
    ("no source", |p, _| p.set_source(T0, None), [
        ("Idle", 0), ("Waiting", 0), ("Waiting", 0), ("Failed", 0), ("Lost", 0), ("Proven", 0), ("Proven", 0),
    ]),
    ("the probe comes back", |p, last| if !last.is_empty() { back(p, T0, last); }, [
        ("Idle", 0), ("Waiting", 0), ("Proven", 0), ("Proven", 0), ("Proven", 0), ("Proven", 0), ("Proven", 0),
    ]),
    ("time", |p, _| if p.poll_timeout().is_some() { timeout(p); }, [
        ("Idle", 0), ("Waiting", 0), ("Round", 1), ("Round", 1), ("Round", 1), ("Check", 1), ("Check", 1),
    ]),
];

#[test]
fn every_state_by_every_event() {
    for (event, action, row) in TABLE {
        for (before, (after, sent)) in STATES.into_iter().zip(row) {
            let (mut probe, last) = in_state(before);
            action(&mut probe, &last);
            assert_eq!((state(&probe), frames(&mut probe).len()), (after, sent), "{event} in {before}");
        }
    }
}

#[test]
fn what_is_known_in_each_state() {
    let known = STATES.map(|name| in_state(name).0.proof());
    use Proof::{Failed, Idle, Lost, Probing, Proven, Waiting};
    assert_eq!(known, [Idle, Waiting, Probing, Failed, Lost, Proven, Proven]);
    // A further round does not make a failure undecided again.
    for (name, proof) in [("Failed", Failed), ("Lost", Lost)] {
        let (mut probe, _) = in_state(name);
        timeout(&mut probe);
        assert_eq!((state(&probe), probe.proof()), ("Round", proof));
        (0..ROUND).for_each(|_| _ = timeout(&mut probe));
        assert_eq!(probe.proof(), proof);
    }
}

#[test]
fn the_frame() {
    let (_, frame) = in_state("Round");
    let view = FrameView::parse(&frame).unwrap();
    let Source { mac, vid } = SOURCE();
    assert_eq!((view.dst, view.src, view.tag), (mac::PROBE_GROUP, mac, Some(Tag::c(vid))));
    assert_eq!(
        (view.ethertype, &view.payload[..10], frame.len()),
        (EtherType(0x88b5), &b"evbd probe"[..], 64)
    );
}

#[test]
fn a_round_takes_two_seconds_and_then_rests_ever_longer() {
    let (mut probe, _) = in_state("Round");
    let sent: Vec<_> = (1..ROUND).map(|_| (timeout(&mut probe) - T0).as_millis()).collect();
    assert_eq!(sent, [60, 180, 420, 900]);
    assert_eq!((timeout(&mut probe) - T0).as_millis(), 1860);
    assert_eq!((state(&probe), probe.stats().sent, probe.stats().lost), ("Failed", 5, 5));
    let rests: Vec<_> = (0..6)
        .map(|_| {
            let again = timeout(&mut probe);
            let end = (0..ROUND).map(|_| timeout(&mut probe)).last().unwrap();
            assert_eq!((end - again).as_millis(), 1860);
            (probe.poll_timeout().unwrap() - end).as_secs()
        })
        .collect();
    assert_eq!(rests, [4, 8, 16, 30, 30, 30]);
    let (lost, _) = in_state("Lost");
    assert_eq!((lost.poll_timeout().unwrap() - T0).as_secs(), 30 + 3 + 1);
}

#[test]
fn three_single_losses_in_a_row_and_not_two() {
    let (mut probe, _) = in_state("Proven");
    timeout(&mut probe);
    let at = timeout(&mut probe);
    timeout(&mut probe);
    let third = frames(&mut probe).pop().unwrap();
    assert!(back(&mut probe, at + Duration::from_micros(1_000_250), &third));
    assert_eq!(probe.proof(), Proof::Proven);
    let stats = *probe.stats();
    assert_eq!((stats.sent, stats.returned, stats.lost, stats.late), (4, 2, 2, 0));
    assert_eq!(stats.round_trip_us, Some(250));
    // The count starts anew.
    timeout(&mut probe);
    (0..LOST_IN_A_ROW - 1).for_each(|_| _ = timeout(&mut probe));
    assert_eq!(probe.proof(), Proof::Proven);
    timeout(&mut probe);
    assert_eq!(probe.proof(), Proof::Lost);
}

#[test]
fn late_is_better_than_never() {
    let (mut probe, first) = in_state("Round");
    timeout(&mut probe);
    let second = frames(&mut probe).pop().unwrap();
    assert!(back(&mut probe, T0 + Duration::from_millis(70), &first));
    assert_eq!((probe.proof(), probe.stats().late, probe.stats().returned), (Proof::Proven, 1, 0));
    assert!(back(&mut probe, T0 + Duration::from_millis(70), &second));
    assert_eq!((probe.stats().late, probe.stats().returned), (1, 1));
}

#[test]
fn only_a_frame_just_sent_counts() {
    let (mut probe, frame) = in_state("Round");
    let with = |change: fn(&mut Vec<u8>)| {
        let mut frame = frame.clone();
        change(&mut frame);
        frame
    };
    for forged in [
        with(|f| f[0] = 0xff),
        with(|f| f[11] = 9),
        with(|f| f[15] = 101),
        with(|f| f[18] = b'E'),
        with(|f| f[28] ^= 1),
        with(|f| f[43] ^= 1),
        with(|f| f.truncate(43)),
    ] {
        assert!(!back(&mut probe, T0, &forged), "{forged:02x?}");
    }
    assert_eq!(state(&probe), "Round");
    assert!(back(&mut probe, T0, &untagged(&frame)), "with or without its tag");
    assert!(!back(&mut probe, T0, &frame), "once");
    // The next prover, the next nonce.
    let (_, again) = in_state("Round");
    assert_eq!(frame, again, "the same seed");
    let mut other = Probe::new(None, 2);
    other.set_reflecting(T0, true);
    other.set_source(T0, Some(SOURCE()));
    assert_ne!(frames(&mut other), [frame]);
}

#[test]
fn what_was_sent_before_a_withdrawal_proves_nothing_after_it() {
    let (mut probe, frame) = in_state("Round");
    probe.set_reflecting(T0, false);
    probe.set_reflecting(T0, true);
    assert!(!back(&mut probe, T0, &frame));
    assert_eq!(probe.proof(), Proof::Probing);
}

#[test]
fn once_is_enough_without_an_interval() {
    let mut probe = Probe::new(None, 1);
    probe.set_source(T0, Some(SOURCE()));
    probe.set_reflecting(T0, true);
    let frame = frames(&mut probe).pop().unwrap();
    assert!(back(&mut probe, T0, &frame));
    assert_eq!((probe.proof(), probe.poll_timeout()), (Proof::Proven, None));
}

#[test]
fn a_proof_outlives_the_gates_and_is_asked_for_when_one_opens() {
    let (mut probe, _) = in_state("Proven");
    probe.set_source(T0, None);
    timeout(&mut probe);
    assert_eq!((state(&probe), frames(&mut probe).len()), ("Proven", 0));
    probe.set_source(T0, Some(OTHER()));
    timeout(&mut probe);
    let frame = frames(&mut probe).pop().unwrap();
    assert_eq!(FrameView::parse(&frame).unwrap().src, OTHER().mac);
}
