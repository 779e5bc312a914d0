//! What workers and control share, under every interleaving of their steps that a bounded number of preemptions allows.
//!
//! Only with `--cfg loom`: `RUSTFLAGS="--cfg loom" cargo test -p hairpin --lib models`.

use std::sync::Arc;

use ether::{EtherType, Instant, MacAddr, Vid};
use loom::{model::Builder, thread};

use crate::{
    bucket::{Bucket, Fill},
    control::{Control, VsiEntry, VsiFilter, VsiKey},
    fdb::{Fdb, Key},
    policy::{Policy, Rate},
    port::{PortConfig, PortId},
    recent::{Record, Ring, WORDS},
    snapshot::RelayKind,
    switch::{Frame, Limits, Relay},
    verdict::{DropReason, Outcome, Verdict},
};

const ONE: PortId = PortId(1);
const TWO: PortId = PortId(2);
/// One bucket: all keys meet.
const SMALL: Limits = Limits { ports: 3, fdb_entries: 8, groups: 8, snooping: false, ..Limits::DEFAULT };

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

/// A thread with its share of `it`. Whoever is to be interrupted has to be one: the model's own thread is not.
fn with<T: Send + Sync + 'static, R: 'static>(
    it: &Arc<T>,
    work: impl FnOnce(&T) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let it = Arc::clone(it);
    thread::spawn(move || work(&it))
}

fn mac(last: u8) -> MacAddr {
    MacAddr(2, 0, 0, 0, 0, last)
}

fn key(last: u8) -> Key {
    Key::new(mac(last), Vid::DEFAULT)
}

/// A record whose words tell whether they belong together.
#[derive(Debug, PartialEq)]
struct Sample(u64);

impl Record for Sample {
    fn pack(&self) -> [u64; WORDS] {
        [self.0; WORDS]
    }

    fn unpack(words: [u64; WORDS]) -> Option<Self> {
        assert!(words.iter().all(|word| *word == words[0]), "a mixture: {words:?}");
        Some(Self(words[0]))
    }
}

#[test]
fn no_record_is_a_mixture_of_two() {
    explore(3, || {
        let ring = Arc::new(Ring::<1>::default());
        let writers: Vec<_> = (1..3).map(|n| with(&ring, move |ring| ring.push(&Sample(n)))).collect();
        let seen = with(&ring, |ring| ring.records::<Sample>()).join().unwrap();
        assert!(seen.len() <= 1, "{seen:?}");
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(ring.records::<Sample>().len(), 1, "whoever came first is not lost");
    });
}

#[test]
fn a_key_is_found_where_somebody_learnt_it_or_nowhere() {
    explore(2, || {
        let fdb = Arc::new(Fdb::new(&SMALL));
        let workers = [ONE, TWO].map(|port| with(&fdb, move |fdb| fdb.learn(key(7), port, 1, 8)));
        let seen = with(&fdb, |fdb| fdb.lookup(key(7), 1)).join().unwrap();
        assert!([None, Some(ONE), Some(TWO)].contains(&seen), "{seen:?}");
        for worker in workers {
            worker.join().unwrap();
        }
        // Both may have filled a slot; the next frame clears the second, and the count is right again.
        fdb.learn(key(7), ONE, 1, 8);
        assert_eq!((fdb.len(), fdb.held(ONE) + fdb.held(TWO)), (1, 1));
        assert_eq!(fdb.lookup(key(7), 1), Some(ONE));
    });
}

#[test]
fn keys_that_share_a_bucket_are_not_taken_for_one_another() {
    explore(2, || {
        let fdb = Arc::new(Fdb::new(&SMALL));
        let workers =
            [(ONE, 1), (TWO, 2)].map(|(port, last)| with(&fdb, move |fdb| fdb.learn(key(last), port, 1, 8)));
        let seen = with(&fdb, |fdb| fdb.lookup(key(1), 1)).join().unwrap();
        assert!([None, Some(ONE)].contains(&seen), "{seen:?}");
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!((fdb.lookup(key(1), 1), fdb.lookup(key(2), 1)), (Some(ONE), Some(TWO)));
        assert_eq!((fdb.held(ONE), fdb.held(TWO), fdb.len()), (1, 1, 2));
    });
}

#[test]
fn what_is_forgotten_while_it_is_learnt_is_counted_right() {
    explore(3, || {
        let fdb = Arc::new(Fdb::new(&SMALL));
        fdb.learn(key(7), ONE, 1, 8);
        let worker = with(&fdb, |fdb| fdb.learn(key(7), TWO, 1, 8));
        let control = with(&fdb, |fdb| fdb.flush_port(ONE));
        worker.join().unwrap();
        control.join().unwrap();
        assert_eq!(fdb.lookup(key(7), 1), Some(TWO), "what the worker learnt is there, whoever came first");
        assert_eq!((fdb.held(ONE), fdb.held(TWO), fdb.len()), (0, 1, 1));
    });
}

#[test]
fn two_workers_do_not_draw_one_bucket_twice() {
    explore(3, || {
        let fill = Fill::octets(Rate { bits_per_second: 8_000, burst_octets: 100 });
        let (bucket, now) = (Arc::new(Bucket::default()), Instant::from_micros(1_000_000));
        let workers = [(); 2].map(|()| with(&bucket, move |bucket| bucket.take(fill, now, 100)));
        let [one, two] = workers.map(|worker| worker.join().unwrap());
        assert!(one ^ two, "the burst is for one of them: {one} {two}");
    });
}

fn frame(src: MacAddr, dst: MacAddr) -> Frame<'static> {
    Frame { dst, src, tag: None, ethertype: EtherType::IPV4, len: 60, payload: &[] }
}

/// Where a frame that comes in at `ingress` goes by the snapshot in force.
fn relayed(relay: &Relay, ingress: PortId, frame: &Frame<'_>) -> (Outcome, Vec<PortId>) {
    let mut verdict = Verdict::new(SMALL.ports);
    relay.process(&relay.load(), Instant::from_micros(1_000_000), ingress, frame, &mut verdict);
    (verdict.outcome(), verdict.copies().iter().map(|copy| copy.port).collect())
}

/// A bridge whose ports 0, 1 and 2 are all there.
fn bridge() -> (Arc<Relay>, Control) {
    let mut control = Control::new(RelayKind::Bridge, &SMALL);
    (0..3).for_each(|id| control.set_port(PortConfig::lan(PortId(id))).unwrap());
    let relay = Arc::new(Relay::new(SMALL));
    relay.publish(control.snapshot());
    (relay, control)
}

#[test]
fn nothing_goes_to_a_port_that_left_whatever_a_worker_learns_meanwhile() {
    explore(2, || {
        let (relay, mut control) = bridge();
        let worker = with(&relay, |relay| relayed(relay, ONE, &frame(mac(1), mac(2))));
        let to_one = |relay: &Relay| relayed(relay, TWO, &frame(mac(2), mac(1))).1.contains(&ONE);
        let control = with(&relay, move |relay| {
            control.remove_port(ONE);
            relay.publish(control.snapshot());
            to_one(relay)
        });
        assert!(!control.join().unwrap(), "a frame left by a port that is gone");
        worker.join().unwrap();
        assert!(!to_one(&relay), "learnt by the old snapshot, used by the new");
        relay.sweep(Instant::from_micros(1_000_000));
        assert_eq!(relay.fdb().held(ONE), 0);
    });
}

#[test]
fn an_address_a_vsi_names_is_nobody_elses_from_the_moment_it_is_published() {
    explore(2, || {
        let (relay, mut control) = bridge();
        let worker = with(&relay, |relay| relayed(relay, ONE, &frame(mac(7), mac(2))));
        let towards = |relay: &Relay| relayed(relay, PortId(0), &frame(mac(3), mac(7))).1;
        let control = with(&relay, move |relay| {
            let filters = vec![VsiFilter { mac: Some(mac(7)), vid: Vid::DEFAULT, pcp: None }];
            let vsi = VsiEntry { port: TWO, filters, policy: Arc::new(Policy::default()) };
            control.open_vsi(VsiKey(1), vsi).unwrap();
            relay.publish(control.snapshot());
            towards(relay)
        });
        assert_eq!(control.join().unwrap(), [TWO]);
        worker.join().unwrap();
        assert_eq!(towards(&relay), [TWO]);
        let (outcome, _) = relayed(&relay, ONE, &frame(mac(7), mac(3)));
        assert!(matches!(outcome, Outcome::Drop(DropReason::StaticMoved)), "{outcome:?}");
    });
}
