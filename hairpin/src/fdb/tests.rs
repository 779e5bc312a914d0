use std::{collections::BTreeMap, thread};

use proptest::prelude::*;

use super::*;

fn at(secs: u32) -> Instant {
    Instant::from_secs(secs.into())
}

const UNBOUNDED: u32 = u32::MAX;
const A: PortId = PortId(0);
const B: PortId = PortId(1);

fn table(ports: u16, fdb_entries: u32) -> Fdb {
    Fdb::new(&Limits { ports, fdb_entries, hash_seed: 0x1234_5678_9abc_def0, ..Limits::default() })
}

/// The `n`th of many addresses, in one of four VLANs.
fn key(n: u16) -> Key {
    let [high, low] = n.to_be_bytes();
    Key::new(MacAddr(2, 0, 0, 0, high, low), Vid::new(n % 4 + 1).unwrap())
}

/// What the table holds of each port, counted one by one, equals what it says it holds.
fn assert_census(fdb: &Fdb, ports: u16) {
    let mut census = BTreeMap::<PortId, u32>::new();
    for entry in fdb.entries(at(0)) {
        *census.entry(entry.port).or_default() += 1;
    }
    for port in (0..ports).map(PortId) {
        assert_eq!(fdb.held(port), census.get(&port).copied().unwrap_or(0), "port {port}");
    }
}

#[test]
fn sizes() {
    assert_eq!(table(1024, 65_536).capacity(), 65_536);
    assert_eq!(table(1024, 1).capacity(), 1024);
    assert_eq!(table(1024, 1025).capacity(), 2048);
    assert_eq!(table(u16::MAX, 0).capacity(), 65_536);
    assert_eq!((table(0, 0).capacity(), table(1, 8).capacity(), table(9, 8).capacity()), (8, 8, 16));
}

#[test]
fn extreme_keys_and_ports_survive_packing() {
    for (ports, entries) in [(u16::MAX, 0), (1024, 0), (2, 8), (1, 1 << 17)] {
        let fdb = table(ports, entries);
        let port = PortId(ports - 1);
        for (mac, vid) in [(MacAddr(0, 0, 0, 0, 0, 1), 1), (MacAddr(0xfe, 255, 255, 255, 255, 255), 4094)] {
            let (vid, mac) = (Vid::new(vid).unwrap(), mac);
            assert_eq!(fdb.learn(Key::new(mac, vid), port, 7, UNBOUNDED), Learnt::New);
            assert_eq!(fdb.lookup(Key::new(mac, vid), 7), Some(port));
            let entry = FdbEntry { mac, vid, port, age: 3, origin: Origin::Learned, moves: 0 };
            assert!(fdb.entries(at(10)).any(|found| found == entry), "{entry:?}");
        }
        assert_eq!(fdb.len(), 2);
    }
}

#[test]
fn learn_refresh_move() {
    let fdb = table(2, 64);
    assert!(fdb.is_empty());
    assert_eq!(fdb.lookup(key(1), 0), None);
    assert_eq!(fdb.learn(key(1), A, 0, UNBOUNDED), Learnt::New);
    assert_eq!(fdb.learn(key(1), A, 5, UNBOUNDED), Learnt::Known);
    assert_eq!(fdb.entries(at(6)).next().map(|entry| entry.age), Some(1));
    assert_eq!(fdb.learn(key(1), B, 6, UNBOUNDED), Learnt::Moved(A));
    assert_eq!((fdb.lookup(key(1), 6), fdb.len(), fdb.held(A), fdb.held(B)), (Some(B), 1, 0, 1));
    let other_vlan = Key::new(key(1).parts().0, Vid::new(99).unwrap());
    assert_eq!(fdb.lookup(other_vlan, 6), None);
}

#[test]
fn ages_to_the_second() {
    let fdb = table(2, 64);
    fdb.learn(key(1), A, 100, UNBOUNDED);
    assert_eq!(fdb.lookup(key(1), 99), Some(A), "another worker's clock may be behind");
    assert_eq!(fdb.lookup(key(1), 399), Some(A));
    assert_eq!(fdb.lookup(key(1), 400), None);
    assert_eq!((fdb.entries(at(399)).count(), fdb.entries(at(400)).count(), fdb.len()), (1, 0, 1));
    assert_eq!(
        (fdb.sweep(at(399), |_| true), fdb.sweep(at(400), |_| true), fdb.len(), fdb.held(A)),
        (0, 1, 0, 0)
    );
    fdb.learn(key(1), A, 500, UNBOUNDED);
    assert_eq!(fdb.learn(key(1), B, 900, UNBOUNDED), Learnt::New, "no move: the old entry had aged");
}

#[test]
fn a_full_bucket_loses_its_oldest() {
    let fdb = table(2, 8);
    assert_eq!(fdb.capacity(), WAYS);
    for n in 0..8 {
        assert_eq!(fdb.learn(key(n), A, u32::from(n % 200), UNBOUNDED), Learnt::New);
    }
    fdb.learn(key(0), A, 20, UNBOUNDED);
    assert_eq!(fdb.learn(key(100), B, 21, UNBOUNDED), Learnt::New);
    assert_eq!(fdb.lookup(key(1), 21), None, "the one silent longest");
    assert!([0, 2, 3, 4, 5, 6, 7, 100].into_iter().all(|n| fdb.lookup(key(n), 21).is_some()));
    assert_eq!((fdb.len(), fdb.held(A), fdb.held(B)), (8, 7, 1));
}

#[test]
fn a_port_has_no_more_than_its_bound() {
    let fdb = table(2, 1024);
    assert_eq!(
        (0..3).map(|n| fdb.learn(key(n), A, 0, 2)).collect::<Vec<_>>(),
        [Learnt::New, Learnt::New, Learnt::Full]
    );
    assert_eq!(fdb.learn(key(1), A, 1, 2), Learnt::Known);
    fdb.learn(key(9), B, 1, 2);
    assert_eq!(fdb.learn(key(9), A, 1, 2), Learnt::Full);
    assert_eq!(fdb.lookup(key(9), 1), Some(B), "it stays where it was");
    assert_eq!(fdb.learn(key(1), B, 2, 2), Learnt::Moved(A));
    assert_eq!(fdb.learn(key(9), A, 2, 2), Learnt::Moved(B));
    assert_eq!(fdb.learn(key(2), PortId(2), 2, 2), Learnt::Full, "no such port");
}

/// Port A floods the table with addresses; B has a few, and keeps them whoever comes.
#[test]
fn who_floods_the_table_loses_his_own() {
    let fdb = table(2, 64);
    for n in 0..5 {
        assert_eq!(fdb.learn(key(n), B, 0, UNBOUNDED), Learnt::New);
    }
    for n in 100..1100 {
        assert_ne!(fdb.learn(key(n), A, u32::from(n % 200), UNBOUNDED), Learnt::Full);
    }
    assert!((0..5).all(|n| fdb.lookup(key(n), 200) == Some(B)));
    assert_eq!((fdb.held(A), fdb.held(B)), (59, 5), "all that is left, and no more");
    let crowd = |fdb: &Fdb| (0..8).all(|n| fdb.learn(key(n), B, 0, UNBOUNDED) == Learnt::New);
    let full = table(2, 8);
    assert!(crowd(&full));
    assert_eq!(full.learn(key(50), A, 0, UNBOUNDED), Learnt::New, "A has less");
    assert_eq!((full.held(A), full.held(B)), (1, 7));
    assert_eq!(full.learn(key(51), B, 299, UNBOUNDED), Learnt::New, "the oldest of its own");
    assert_eq!(full.lookup(key(50), 299), Some(A));
}

#[test]
fn an_address_that_flaps_is_held() {
    let fdb = table(2, 8);
    let learn = |port, now| fdb.learn(key(1), port, now, UNBOUNDED);
    learn(A, 0);
    let moves: Vec<_> = [B, A, B, A, B].into_iter().zip(1..).map(|(port, now)| learn(port, now)).collect();
    assert_eq!(moves, [A, B, A, B, A].map(Learnt::Moved));
    assert_eq!(learn(A, 6), Learnt::Held(B));
    assert_eq!(fdb.preview(key(1), A, 6, UNBOUNDED), Learnt::Held(B));
    assert_eq!(
        (learn(A, 35), fdb.entries(at(35)).next().map(|entry| entry.moves)),
        (Learnt::Held(B), Some(6))
    );
    assert_eq!(learn(B, 35), Learnt::Known);
    assert_eq!(learn(A, 36), Learnt::Moved(B), "30 s after it was held first");
    assert_eq!(learn(B, 46), Learnt::Moved(A), "a new window");
    assert_eq!(fdb.entries(at(46)).next().map(|entry| entry.moves), Some(1));
    let never = Fdb::new(&Limits { flap_moves: 0, ..Limits::default() });
    for port in [A, B].into_iter().cycle().take(1000) {
        assert!(!matches!(never.learn(key(1), port, 0, 9), Learnt::Held(_)));
    }
}

#[test]
fn flushes() {
    let fdb = table(4, 1024);
    for n in 0..40 {
        fdb.learn(key(n), PortId(n / 10), 0, UNBOUNDED);
    }
    assert_eq!((fdb.flush_port(PortId(1)), fdb.held(PortId(1)), fdb.len()), (10, 0, 30));
    let vid = Vid::new(2).unwrap();
    let expected = (0..40).filter(|n| n / 10 != 1 && n % 4 == 1).count();
    assert_eq!(fdb.flush_vid(vid), expected);
    assert!(fdb.entries(at(0)).all(|entry| entry.vid != vid && entry.port != PortId(1)));
    assert_eq!(fdb.len(), 30 - expected);
    assert_census(&fdb, 4);
}

#[test]
fn a_key_in_two_slots_is_healed() {
    let fdb = table(2, 8);
    fdb.learn(key(1), A, 0, UNBOUNDED);
    let twin = fdb.word(fdb.place(key(1)).unwrap().1, B);
    fdb.slots().last().unwrap().word.store(twin, Relaxed);
    assert!(fdb.reserve(B, UNBOUNDED));
    assert_eq!((fdb.len(), fdb.learn(key(1), A, 1, UNBOUNDED), fdb.len()), (2, Learnt::Known, 1));
    assert_eq!((fdb.lookup(key(1), 1), fdb.held(A), fdb.held(B)), (Some(A), 1, 0));
}

/// Eight times as many keys as slots, every key always on the same port, all workers at once: whoever finds a key must
/// find it on its port.
#[test]
fn threads_never_see_anothers_port() {
    const KEYS: u16 = 512;
    const PORTS: u16 = 64;
    let fdb = table(PORTS, 64);
    let home = |n: u16| PortId(n % PORTS);
    thread::scope(|scope| {
        for worker in 0..4_u16 {
            let fdb = &fdb;
            scope.spawn(move || {
                for round in 0..300 {
                    for i in 0..KEYS {
                        let n = (i * (2 * worker + 1) + worker) % KEYS;
                        fdb.learn(key(n), home(n), round, UNBOUNDED);
                        let probe = (n * 7 + 3) % KEYS;
                        if let Some(port) = fdb.lookup(key(probe), round) {
                            assert_eq!(port, home(probe));
                        }
                    }
                    if round % 50 == 49 {
                        fdb.flush_port(PortId(worker));
                        for entry in fdb.entries(at(round)) {
                            let n = u16::from_be_bytes([entry.mac.4, entry.mac.5]);
                            assert_eq!((entry.port, Key::new(entry.mac, entry.vid)), (home(n), key(n)));
                        }
                    }
                }
            });
        }
    });
    assert!(fdb.len() <= fdb.capacity());
    assert_census(&fdb, PORTS);
}

proptest! {
    #[test]
    fn scramble_is_a_bijection(n in 0..1_u64 << Key::BITS, seed: u64) {
        let scramble = Scramble { seed };
        prop_assert!(scramble.apply(n) >> Key::BITS == 0);
        prop_assert_eq!(scramble.undo(scramble.apply(n)), n);
        prop_assert_eq!(scramble.apply(scramble.undo(n)), n);
    }

    #[test]
    fn bounded_and_true(steps in proptest::collection::vec((0..200_u16, 0..9_u16, 0..3_u32), 0..600), seed: u64) {
        let fdb = Fdb::new(&Limits { ports: 9, fdb_entries: 32, hash_seed: seed, flap_moves: 0, ..Limits::default() });
        let mut last = BTreeMap::new();
        let mut now = 0;
        for (n, port, wait) in steps {
            now += wait;
            let learnt = fdb.learn(key(n), PortId(port), now, UNBOUNDED);
            prop_assert_ne!(learnt, Learnt::Full);
            if learnt == Learnt::Crowded {
                prop_assert_eq!(fdb.lookup(key(n), now), None);
                continue;
            }
            last.insert(n, PortId(port));
            prop_assert_eq!(fdb.lookup(key(n), now), Some(PortId(port)));
        }
        prop_assert!(fdb.len() <= 32);
        for (n, port) in last {
            prop_assert!(fdb.lookup(key(n), now).is_none_or(|found| found == port));
        }
        assert_census(&fdb, 9);
    }
}
