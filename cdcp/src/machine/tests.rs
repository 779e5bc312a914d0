use proptest::prelude::*;

use super::*;

fn scid(n: u8) -> Scid {
    Scid::new(n).unwrap()
}

fn svid(n: u16) -> Svid {
    Svid::new(n).unwrap()
}

fn pool(low: u16, high: u16) -> Pool {
    Pool::new(svid(low), svid(high)).unwrap()
}

fn capacity(n: u8) -> ChannelCapacity {
    ChannelCapacity::new(n).unwrap()
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn outputs(cdcp: &mut Cdcp) -> Vec<Output> {
    std::iter::from_fn(|| cdcp.poll_output()).collect()
}

fn said(outputs: &[Output]) -> Option<Vec<u8>> {
    let of = |output: &Output| if let Output::LocalTlv(info) = output { Some(info.to_vec()) } else { None };
    outputs.iter().filter_map(of).next_back()
}

fn map(cdcp: &Cdcp) -> Vec<(u8, u16)> {
    cdcp.channels().iter().map(|(scid, svid)| (scid.get(), svid.get())).collect()
}

fn hears(cdcp: &mut Cdcp, now: Instant, info: &[u8]) -> Vec<Output> {
    cdcp.handle_remote(now, Ok(info));
    outputs(cdcp)
}

fn from_station(chncap: u8, pairs: &[(u8, u16)]) -> Vec<u8> {
    tlv(Role::Station, chncap, pairs)
}

fn tlv(role: Role, chncap: u8, pairs: &[(u8, u16)]) -> Vec<u8> {
    let list = pairs.iter().map(|(s, v)| Channel { scid: scid(*s), svid: Svid::new(*v) });
    let channels = Channels::new(std::iter::once(Channel::DEFAULT).chain(list)).unwrap();
    CdcpTlv { role, s_component: true, capacity: capacity(chncap), channels }.to_bytes().to_vec()
}

/// The walk of the vectors CDCP-1 to CDCP-5.
#[test]
fn two_channels_asked_for_served_and_one_released() {
    let mut station = Cdcp::station(capacity(4), [scid(2), scid(3)]);
    let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 199));
    let ask = said(&outputs(&mut station)).unwrap();
    assert_eq!(ask, [0x88, 0, 0, 4, 0, 0x10, 1, 0, 0x20, 0, 0, 0x30, 0]);
    assert_eq!(said(&outputs(&mut bridge)).unwrap(), [0x08, 0, 0, 0xa7, 0, 0x10, 1]);

    let done = hears(&mut bridge, at(1), &ask);
    let assigned = [0x08, 0, 0, 0xa7, 0, 0x10, 1, 0, 0x20, 0x64, 0, 0x30, 0x65];
    assert_eq!(
        done,
        [
            Output::State(State::Running),
            Output::Up(scid(2), svid(100)),
            Output::Up(scid(3), svid(101)),
            Output::LocalTlv(assigned.to_vec().into()),
        ]
    );
    let done = hears(&mut station, at(1), &assigned);
    let confirmed = [0x88, 0, 0, 4, 0, 0x10, 1, 0, 0x20, 0x64, 0, 0x30, 0x65];
    assert_eq!(said(&done).unwrap(), confirmed);
    assert_eq!(map(&station), map(&bridge));
    assert!(hears(&mut bridge, at(2), &confirmed).is_empty());

    station.set_wants(at(3), [scid(3)]);
    let done = outputs(&mut station);
    let released = [0x88, 0, 0, 4, 0, 0x10, 1, 0, 0x30, 0x65];
    assert_eq!(done, [Output::Down(scid(2)), Output::LocalTlv(released.to_vec().into())]);
    let done = hears(&mut bridge, at(3), &released);
    assert_eq!(done.first(), Some(&Output::Down(scid(2))));
    assert_eq!(map(&bridge), [(3, 101)]);
}

#[test]
fn who_finds_the_pool_empty_is_served_when_something_is_free() {
    let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 101));
    hears(&mut bridge, at(1), &from_station(167, &[(2, 0), (3, 0), (4, 0)]));
    assert_eq!(map(&bridge), [(2, 100), (3, 101)]);
    assert!(bridge.why_not(scid(4)).unwrap().contains("pool"));
    // Released: it rests, then the one that waited has it.
    hears(&mut bridge, at(2), &from_station(167, &[(3, 101), (4, 0)]));
    assert_eq!(map(&bridge), [(3, 101)]);
    let due = bridge.poll_timeout().unwrap();
    assert_eq!(due, at(4));
    bridge.handle_timeout(due);
    assert_eq!(map(&bridge), [(3, 101), (4, 100)]);
    assert_eq!(bridge.poll_timeout(), None);
    // And a larger pool serves at once.
    hears(&mut bridge, at(9), &from_station(167, &[(3, 101), (4, 100), (5, 0)]));
    bridge.set_pool(at(10), pool(100, 102));
    assert_eq!(map(&bridge), [(3, 101), (4, 100), (5, 102)]);
}

#[test]
fn a_pool_that_shrinks_renumbers_or_ends() {
    let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 102));
    hears(&mut bridge, at(1), &from_station(167, &[(2, 0), (3, 0)]));
    outputs(&mut bridge);
    bridge.set_pool(at(2), pool(101, 102));
    let done = outputs(&mut bridge);
    assert_eq!(done.first(), Some(&Output::Up(scid(2), svid(102))));
    assert_eq!(map(&bridge), [(2, 102), (3, 101)]);
    bridge.set_pool(at(3), pool(101, 101));
    assert_eq!(outputs(&mut bridge).first(), Some(&Output::Down(scid(2))));
    // 102 rests until the station must have heard of it, but not for the channel that had it.
    hears(&mut bridge, at(4), &from_station(167, &[(2, 0), (3, 101), (4, 0)]));
    bridge.set_pool(at(4), pool(101, 102));
    assert_eq!(map(&bridge), [(2, 102), (3, 101)]);
}

#[test]
fn capacities_count_the_default_channel() {
    for (own, remote) in [(2, 167), (167, 2), (2, 2)] {
        let mut bridge = Cdcp::bridge(capacity(own), pool(100, 199));
        hears(&mut bridge, at(1), &from_station(remote, &[(7, 0), (8, 0)]));
        assert_eq!(map(&bridge), [(7, 100)]);
        assert!(bridge.why_not(scid(8)).unwrap().contains("support 2"));
    }
    let mut bridge = Cdcp::bridge(capacity(1), pool(100, 199));
    hears(&mut bridge, at(1), &from_station(167, &[(7, 0)]));
    assert_eq!(map(&bridge), []);
    bridge.set_capacity(at(2), capacity(9));
    assert_eq!(map(&bridge), [(7, 100)]);
}

/// State × what is heard, both roles.
#[test]
fn without_a_peer_of_the_other_role_there_are_no_channels() {
    let own = |role| tlv(role, 9, &[(2, 100)]);
    let lsb: &[u8] = &[0x88, 0, 0, 4, 1, 1, 0, 2, 4, 6];
    let mut deaf = own(Role::Station);
    deaf[0] &= !0x08;
    let bridge = || {
        let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 199));
        hears(&mut bridge, at(1), &from_station(9, &[(2, 0)]));
        bridge
    };
    let station = || {
        let mut station = Cdcp::station(ChannelCapacity::MAX, [scid(2)]);
        hears(&mut station, at(1), &own(Role::Bridge));
        station
    };
    let cases: [(Result<Vec<u8>, Absence>, Cdcp, Absence); 7] = [
        (Err(Absence::Nobody), bridge(), Absence::Nobody),
        (Err(Absence::Several), station(), Absence::Several),
        (Err(Absence::NoTlv), station(), Absence::NoTlv),
        (Ok(own(Role::Bridge)), bridge(), Absence::SameRole(Role::Bridge)),
        (Ok(own(Role::Station)), station(), Absence::SameRole(Role::Station)),
        (Ok(lsb.to_vec()), bridge(), Absence::Unreadable(CdcpTlvError::LsbFirst)),
        (Ok(deaf), bridge(), Absence::NoSComponent),
    ];
    for (heard, mut cdcp, absence) in cases {
        assert_eq!(map(&cdcp), [(2, 100)]);
        outputs(&mut cdcp);
        cdcp.handle_remote(at(2), heard.as_deref().map_err(|absence| *absence));
        let done = outputs(&mut cdcp);
        assert_eq!(done.first(), Some(&Output::State(State::NotRunning(absence))));
        assert_eq!(done.get(1), Some(&Output::Down(scid(2))));
        assert_eq!(map(&cdcp), []);
        let counted = (cdcp.view().stats.lsb_first, cdcp.view().stats.same_role);
        let lsb = absence == Absence::Unreadable(CdcpTlvError::LsbFirst);
        assert_eq!(counted, (u64::from(lsb), u64::from(matches!(absence, Absence::SameRole(_)))));
        assert!(cdcp.role() == Role::Bridge || cdcp.why_not(scid(2)).is_some());
    }
}

/// A bridge that has forgotten everything gives back what its stations believe to have.
#[test]
fn hints_are_honoured() {
    let mut station = Cdcp::station(ChannelCapacity::MAX, [scid(2), scid(3)]);
    hears(&mut station, at(1), &tlv(Role::Bridge, 167, &[(2, 150), (3, 100)]));
    // The bridge is new, and has said so.
    let ask = said(&hears(&mut station, at(2), &tlv(Role::Bridge, 167, &[])));
    assert_eq!((map(&station), ask), (vec![], None));
    let ask = station.tlv().to_bytes();
    let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 199));
    let list = said(&hears(&mut bridge, at(2), &ask)).unwrap();
    assert_eq!(map(&bridge), [(2, 150), (3, 100)]);
    hears(&mut station, at(2), &list);
    assert_eq!(map(&station), map(&bridge));
    // What is not in the pool, or asked for by another first, is no hint.
    let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 102));
    hears(&mut bridge, at(3), &from_station(9, &[(5, 150), (6, 101), (7, 101), (8, 0)]));
    assert_eq!(map(&bridge), [(5, 100), (6, 101), (7, 102)]);
}

#[test]
fn a_bridge_presumes_the_station_after_a_restart() {
    let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(100, 199));
    bridge.resume(at(1), [(scid(2), svid(150))]);
    bridge.handle_remote(at(1), Err(Absence::Nobody));
    assert_eq!(map(&bridge), [(2, 150)]);
    let mut silent = bridge.clone();
    let due = silent.poll_timeout().unwrap();
    silent.handle_timeout(due);
    assert_eq!((due, map(&silent)), (at(122), vec![]));
    hears(&mut bridge, at(5), &from_station(167, &[(2, 150), (3, 0)]));
    assert_eq!(map(&bridge), [(2, 150), (3, 100)]);
    assert_eq!(bridge.poll_timeout(), None);
}

#[test]
fn a_station_believes_no_list_that_cannot_be() {
    let mut station = Cdcp::station(ChannelCapacity::MAX, [scid(2), scid(3), scid(4)]);
    hears(&mut station, at(1), &tlv(Role::Bridge, 167, &[(2, 100), (3, 100), (4, 1), (9, 102)]));
    assert_eq!(map(&station), [(2, 100)]);
    assert_eq!(station.view().stats.conflicts, 2);
}

proptest! {
    /// Whatever comes, an SVID of the pool is one channel's, and what stands and is asked for stays.
    #[test]
    fn no_svid_twice(steps in prop::collection::vec(
        (0_u64..5, 2_u16..8, 0_u16..6, prop::collection::btree_map(2_u8..12, 0_u16..14, 0..9)), 1..40)) {
        let mut bridge = Cdcp::bridge(ChannelCapacity::MAX, pool(2, 9));
        let mut now = at(1);
        let mut rest: BTreeMap<Svid, (Scid, Instant)> = BTreeMap::new();
        for (wait, low, span, asked) in steps {
            now += Duration::from_secs(wait);
            let before = bridge.channels().clone();
            let pool = pool(low, low + span);
            bridge.set_pool(now, pool);
            let asked: Vec<(u8, u16)> = asked.into_iter().filter(|(_, v)| *v != 1).collect();
            hears(&mut bridge, now, &from_station(167, &asked));
            let after = bridge.channels();
            let mut svids: Vec<_> = after.values().collect();
            svids.sort();
            svids.dedup();
            prop_assert_eq!(svids.len(), after.len());
            prop_assert!(after.values().all(|svid| pool.contains(*svid)));
            for (scid, svid) in &before {
                let asked = asked.iter().any(|(s, _)| *s == scid.get());
                if asked && pool.contains(*svid) {
                    prop_assert_eq!(after.get(scid), Some(svid));
                }
                if after.get(scid) != Some(svid) {
                    rest.insert(*svid, (*scid, now + RELEASE));
                }
            }
            for (scid, svid) in after {
                if let Some((of, until)) = rest.get(svid) {
                    prop_assert!(of == scid || *until <= now, "{svid} of {of} went to {scid} at once");
                }
            }
        }
    }

    /// A station has what the bridge says and it wants, and nothing else.
    #[test]
    fn a_station_has_what_it_was_given(octets in prop::collection::vec(any::<u8>(), 0..64), wants in prop::collection::btree_set(2_u8..20, 0..8)) {
        let mut station = Cdcp::station(ChannelCapacity::MAX, wants.iter().map(|n| scid(*n)));
        hears(&mut station, at(1), &octets);
        prop_assert!(station.channels().keys().all(|scid| wants.contains(&scid.get())));
    }
}

const RELEASE: Duration = Duration::from_secs(2);
