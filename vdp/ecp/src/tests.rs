//! The machines of one [`Link`] under virtual time, state by event, and two links over a lossy wire.

use proptest::prelude::*;

use super::*;

const T0: Instant = Instant::from_secs(100);
const GAP: Duration = Duration::from_millis(3);

fn link(params: Params) -> Link {
    Link::new(Subtype::Vdp, params, 0x1224, T0)
}

fn drain(link: &mut Link) -> Vec<Output> {
    std::iter::from_fn(|| link.poll_output()).collect()
}

fn payload(n: u8) -> Bytes {
    Bytes::from(vec![n; 3])
}

fn transmit(octets: &[u8]) -> Output {
    Output::Transmit(Bytes::copy_from_slice(octets))
}

#[test]
fn request_ack_next() {
    let mut a = link(Params::default());
    a.send(T0, payload(1)).unwrap();
    a.send(T0, payload(2)).unwrap();
    assert_eq!(drain(&mut a), [transmit(&[0x10, 1, 0x12, 0x24, 1, 1, 1])]);
    // The acknowledgement may carry padding; the next request waits for the gap.
    let acked = T0 + Duration::from_millis(10);
    a.handle_pdu(acked, &[0x14, 1, 0x12, 0x24, 0, 0, 0, 0]);
    assert!(!a.is_idle(), "the second request waits for the gap");
    assert_eq!(drain(&mut a), [Output::Acknowledged { sequence: Seq(0x1224) }]);
    assert_eq!(a.poll_timeout(), Some(acked + GAP));
    a.handle_timeout(acked + Duration::from_micros(2999));
    assert_eq!(drain(&mut a), []);
    a.handle_timeout(acked + GAP);
    assert_eq!(drain(&mut a), [transmit(&[0x10, 1, 0x12, 0x25, 2, 2, 2])]);
}

#[test]
fn a_request_inside_the_gap_waits_and_one_after_it_does_not() {
    let mut a = link(Params::default());
    a.send(T0, payload(1)).unwrap();
    a.handle_pdu(T0, &[0x14, 1, 0x12, 0x24]);
    drain(&mut a);
    assert_eq!((a.poll_timeout(), a.is_idle()), (None, true));
    a.send(T0 + Duration::from_millis(1), payload(2)).unwrap();
    assert_eq!((drain(&mut a), a.poll_timeout()), (vec![], Some(T0 + GAP)));
    a.handle_timeout(T0 + GAP);
    a.handle_pdu(T0 + GAP, &[0x14, 1, 0x12, 0x25]);
    drain(&mut a);
    a.send(T0 + GAP * 5, payload(3)).unwrap();
    assert_eq!(drain(&mut a), [transmit(&[0x10, 1, 0x12, 0x26, 3, 3, 3])]);
}

#[test]
fn r_plus_one_equal_transmissions_then_failure() {
    for retries in 0..=7u8 {
        let mut a = link(Params { max_retries: retries, ack_timer_exponent: 8 });
        a.send(T0, payload(9)).unwrap();
        let first = drain(&mut a);
        for n in 1..=u64::from(retries) {
            let due = T0 + Duration::from_micros(2560 * n);
            assert_eq!(a.poll_timeout(), Some(due));
            a.handle_timeout(due);
            assert_eq!(drain(&mut a), first);
        }
        let end = a.poll_timeout().unwrap();
        assert_eq!(end, T0 + Duration::from_micros(2560 * (u64::from(retries) + 1)));
        a.handle_timeout(end);
        assert_eq!(drain(&mut a), [Output::Failed { sequence: Some(Seq(0x1224)), payload: payload(9) }]);
        let stats = a.stats();
        assert_eq!((stats.tx_frames, stats.tx_retries, stats.tx_failures), (1, u64::from(retries), 1));
        // The acknowledgement of the last transmission comes too late.
        a.handle_pdu(end, &[0x14, 1, 0x12, 0x24]);
        assert_eq!((drain(&mut a), a.stats().rx_bad_acks), (vec![], 1));
    }
}

#[test]
fn duplicates_are_acknowledged_not_delivered() {
    let mut b = link(Params::default());
    let request = [0x10, 1, 0, 1, 0xaa];
    let ack = transmit(&[0x14, 1, 0, 1]);
    b.handle_pdu(T0, &request);
    assert_eq!(drain(&mut b), [ack.clone(), Output::Deliver(Bytes::from_static(&[0xaa]))]);
    b.handle_pdu(T0, &request);
    assert_eq!(drain(&mut b), std::slice::from_ref(&ack));
    b.forget_peer();
    b.handle_pdu(T0, &request);
    assert_eq!(drain(&mut b), [ack, Output::Deliver(Bytes::from_static(&[0xaa]))]);
    assert_eq!((b.stats().rx_frames, b.stats().rx_duplicates, b.stats().tx_acks), (2, 1, 3));
    assert_eq!(b.status().last_received, Some(Seq(1)));
}

#[test]
fn what_is_not_ours_is_dropped_and_counted() {
    let mut b = link(Params::default());
    for pdu in [&[0x10, 1, 0][..], &[0x20, 1, 0, 5], &[0x18, 1, 0, 5], &[0x10, 5, 0, 6], &[0x14, 2, 0, 6]] {
        b.handle_pdu(T0, pdu);
        assert_eq!(drain(&mut b), []);
    }
    b.handle_pdu(T0, &[0x14, 1, 0, 1]);
    let s = *b.stats();
    assert_eq!((s.rx_short, s.rx_bad_version, s.rx_bad_operation, s.rx_other_subtype), (1, 1, 1, 2));
    assert_eq!((s.rx_bad_acks, s.tx_acks), (1, 0));
}

#[test]
fn another_acknowledgement_does_not_end_the_exchange() {
    let mut a = link(Params::default());
    a.send(T0, payload(1)).unwrap();
    drain(&mut a);
    a.handle_pdu(T0, &[0x14, 1, 0x12, 0x23]);
    assert_eq!((drain(&mut a), a.stats().rx_bad_acks), (vec![], 1));
    assert_eq!(a.status().outstanding, Some(Seq(0x1224)));
}

#[test]
fn reset_flushes_and_forgets() {
    let mut a = link(Params::default());
    a.handle_pdu(T0, &[0x10, 1, 0, 1]);
    a.send(T0, payload(1)).unwrap();
    a.send(T0, payload(2)).unwrap();
    drain(&mut a);
    a.reset(T0, 0);
    assert_eq!(
        drain(&mut a),
        [
            Output::Failed { sequence: Some(Seq(0x1224)), payload: payload(1) },
            Output::Failed { sequence: None, payload: payload(2) },
        ]
    );
    let status = a.status();
    assert_eq!((status.next_sequence, status.last_received, status.queued), (Seq(1), None, 0));
    assert_eq!((status.outstanding, a.poll_timeout(), a.stats().tx_failures), (None, None, 2));
}

#[test]
fn another_dialect_starts_anew() {
    let mut a = link(Params::default());
    a.send(T0, payload(1)).unwrap();
    drain(&mut a);
    a.set_dialect(T0, Dialect::Draft);
    assert_eq!(a.dialect(), Dialect::Draft);
    assert_eq!(drain(&mut a), [Output::Failed { sequence: Some(Seq(0x1224)), payload: payload(1) }]);
    a.send(T0, payload(2)).unwrap();
    let head = [0x00, 0x1b, 0x3f, 0, 0, 0];
    assert_eq!(drain(&mut a), [transmit(&[&head[..], &[0, 0x12, 0x25, 2, 2, 2]].concat())]);
    // lldpad fills its acknowledgement with zeros.
    a.handle_pdu(T0, &[&head[..], &[1, 0x12, 0x25, 0, 0, 0]].concat());
    assert_eq!(drain(&mut a), [Output::Acknowledged { sequence: Seq(0x1225) }]);
    a.handle_pdu(T0, &[&head[..], &[0, 0, 7, 9]].concat());
    let ack = transmit(&[&head[..], &[1, 0, 7]].concat());
    assert_eq!(drain(&mut a), [ack, Output::Deliver(Bytes::from_static(&[9]))]);
    a.handle_pdu(T0, &[0x10, 1, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!((drain(&mut a), a.stats().rx_bad_version), (vec![], 1));
}

#[test]
fn the_queue_is_bounded() {
    let mut a = link(Params::default()).with_limits(Limits { queue: 1, ..Limits::default() });
    a.send(T0, payload(1)).unwrap();
    a.send(T0, payload(2)).unwrap();
    assert_eq!(a.send(T0, payload(3)), Err(QueueFull(payload(3))));
    assert_eq!((a.status().queued, a.stats().tx_queue_full), (1, 1));
}

#[test]
fn the_sequence_wraps_past_zero() {
    let mut a = Link::new(Subtype::PeCsp, Params::default(), 0xffff, T0);
    a.send(T0, payload(1)).unwrap();
    a.handle_pdu(T0, &[0x14, 2, 0xff, 0xff]);
    a.send(T0 + GAP, payload(2)).unwrap();
    assert_eq!(drain(&mut a).last(), Some(&transmit(&[0x10, 2, 0, 1, 2, 2, 2])));
}

#[test]
fn parameters_apply_from_the_next_arming() {
    let mut a = link(Params { max_retries: 1, ack_timer_exponent: 8 });
    a.send(T0, payload(1)).unwrap();
    a.set_params(Params { max_retries: 1, ack_timer_exponent: 10 });
    let first = T0 + Duration::from_micros(2560);
    assert_eq!(a.poll_timeout(), Some(first));
    a.handle_timeout(first);
    assert_eq!(a.poll_timeout(), Some(first + Duration::from_micros(10_240)));
    // The largest exponent, and one beyond it.
    for exponent in [31, 255] {
        let params = Params { max_retries: 0, ack_timer_exponent: exponent };
        assert_eq!(params.ack_timer(), Duration::from_micros(21_474_836_480));
    }
}

proptest! {
    /// Two links over a wire that loses and doubles: what arrives is a subsequence in order without repetition, and
    /// every payload ends as acknowledged or failed; an acknowledged one has been delivered.
    #[test]
    fn lossy_wire(fates in proptest::collection::vec(0u8..10, 200), count in 1u8..20) {
        let params = Params { max_retries: 3, ack_timer_exponent: 10 };
        let (mut a, mut b) = (Link::new(Subtype::Vdp, params, 0xfff8, T0), link(params));
        for n in 0..count {
            a.send(T0, payload(n)).unwrap();
        }
        let (mut now, mut delivered, mut acked, mut failed) = (T0, vec![], 0u8, vec![]);
        let mut fates = fates.into_iter().cycle();
        loop {
            let mut to_b = vec![];
            for output in drain(&mut a) {
                match output {
                    Output::Transmit(pdu) => to_b.push(pdu),
                    Output::Acknowledged { .. } => acked += 1,
                    Output::Failed { payload, .. } => failed.push(payload),
                    Output::Deliver(_) => prop_assert!(false),
                }
            }
            let mut to_a = vec![];
            for pdu in to_b {
                // 0..3 lost, 3 doubled
                let fate = fates.next().unwrap();
                for _ in 0..(if fate < 3 { 0 } else if fate == 3 { 2 } else { 1 }) {
                    b.handle_pdu(now, &pdu);
                }
            }
            for output in drain(&mut b) {
                match output {
                    Output::Transmit(pdu) => to_a.push(pdu),
                    Output::Deliver(pdu) => delivered.push(pdu),
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            for pdu in to_a {
                if fates.next().unwrap() >= 3 {
                    a.handle_pdu(now, &pdu);
                }
            }
            if a.sink.outputs.is_empty() {
                let Some(next) = a.poll_timeout() else { break };
                prop_assert!(next >= now);
                now = next;
                a.handle_timeout(now);
            }
        }
        prop_assert_eq!(usize::from(acked) + failed.len(), usize::from(count));
        prop_assert!(delivered.is_sorted_by(|x, y| x[0] < y[0]));
        for n in 0..count {
            prop_assert!(delivered.contains(&payload(n)) || failed.contains(&payload(n)));
        }
    }

    #[test]
    fn any_octets_never_panic(pdus in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..20)) {
        let mut a = link(Params::default());
        a.send(T0, payload(1)).unwrap();
        for pdu in pdus {
            a.handle_pdu(T0, &pdu);
        }
    }
}
