//! Two engines on a virtual link that loses, delays and restarts, and any octets.

use proptest::prelude::*;

use super::*;

fn mode() -> impl Strategy<Value = Mode> {
    proptest::sample::select(&MODES[..])
}

fn any_config() -> impl Strategy<Value = Config> {
    let dialect = proptest::sample::select(&DIALECTS[..]);
    let loss = proptest::sample::select(&[OnPeerLoss::Keep, OnPeerLoss::Reset][..]);
    let classes = proptest::array::uniform8(0_u8..4);
    let applications = proptest::collection::vec((0_u8..8, 1_u8..6, 0_u16..4), 0..5);
    (proptest::array::uniform3(mode()), dialect, loss, classes, 0_u8..=100, any::<u8>(), applications)
        .prop_map(|([ets, pfc, apps], dialect, on_peer_loss, classes, share, enabled, applications)| Config {
            dialect,
            on_peer_loss,
            ets: Ets {
                mode: ets,
                max_classes: ClassCount::MAX,
                table: EtsTable { classes: PriorityTable::new(classes).unwrap(), ..table(share) },
            },
            pfc: PfcConfig { mode: pfc, capability: PfcCapability::ALL, enabled: PrioritySet(enabled) },
            applications: Applications {
                mode: apps,
                list: crate::config::in_order(
                    applications
                        .into_iter()
                        .map(|(priority, selector, protocol)| Application {
                            priority: Pcp::new(priority).unwrap(),
                            selector: Selector::from(selector),
                            protocol,
                        })
                        .collect(),
                ),
            },
        })
}

/// What befalls the link.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Side 0's or side 1's LLDPDU arrives.
    Arrive(bool),
    /// It arrives late: that of a while ago.
    Late(bool),
    /// One side forgets the other.
    Age(bool),
    Restart(bool),
    LinkDown(bool),
    /// A third one is heard.
    Third(bool),
}

fn fate() -> impl Strategy<Value = Fate> {
    (0_u8..12, any::<bool>()).prop_map(|(kind, side)| match kind {
        0..=4 => Fate::Arrive(side),
        5..=7 => Fate::Late(side),
        8 => Fate::Age(side),
        9 => Fate::Restart(side),
        10 => Fate::LinkDown(side),
        _ => Fate::Third(side),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever was lost, came late, or restarted: in the end both sides operate the same, and are still.
    #[test]
    fn a_link_ends_equal(
        a in any_config(), b in any_config(), swap in any::<bool>(), fates in proptest::collection::vec(fate(), 0..40),
    ) {
        let macs = if swap { [HIGH, LOW] } else { [LOW, HIGH] };
        let configs = [a, b];
        let new = |side: usize| Dcbx::new(configs[side].clone(), macs[side]);
        let mut sides = [new(0), new(1)];
        let mut old = [pdu(&sides[0]), pdu(&sides[1])];
        for fate in fates {
            match fate {
                Fate::Arrive(to) => {
                    let (to, from) = (usize::from(to), usize::from(!to));
                    let said = pdu(&sides[from]);
                    tell(&mut sides[to], macs[from], &said);
                }
                Fate::Late(to) => {
                    let (to, from) = (usize::from(to), usize::from(!to));
                    let said = std::mem::replace(&mut old[from], pdu(&sides[from]));
                    tell(&mut sides[to], macs[from], &said);
                }
                Fate::Age(side) => sides[usize::from(side)].handle_nobody(),
                Fate::Restart(side) => sides[usize::from(side)] = new(usize::from(side)),
                Fate::LinkDown(side) => sides[usize::from(side)].handle_link_down(),
                Fate::Third(side) => sides[usize::from(side)].handle_several(),
            }
        }
        let [a, b] = &mut sides;
        converge(a, b);
        check(a, b, "in the end");
    }

    /// The outputs, told in order, are what is said and operational; and the same again is no news.
    #[test]
    fn outputs_are_differences(
        ours in any_config(), theirs in proptest::collection::vec(proptest::option::of(any_config()), 1..8),
    ) {
        let mut a = Dcbx::new(ours, LOW);
        let (mut said, mut status) = (BTreeMap::new(), None);
        for peer in theirs {
            for repeat in [false, true] {
                match &peer {
                    Some(peer) => tell(&mut a, HIGH, &pdu(&Dcbx::new(peer.clone(), HIGH))),
                    None => a.handle_nobody(),
                }
                let mut count = 0;
                while let Some(output) = a.poll_output() {
                    count += 1;
                    match output {
                        Output::LocalTlv { key, info: Some(info) } => drop(said.insert(key, info)),
                        Output::LocalTlv { key, info: None } => drop(said.remove(&key)),
                        Output::Operational(now) => status = Some(*now),
                    }
                }
                prop_assert!(!repeat || count == 0);
                prop_assert_eq!(said.clone(), a.said().map(|(key, info)| (key, info.clone())).collect());
                prop_assert_eq!(status.as_ref(), Some(a.status()));
            }
        }
    }

    /// Any octets under our keys do no harm.
    #[test]
    fn any_octets(tlvs in proptest::collection::vec((0_usize..6, proptest::collection::vec(any::<u8>(), 0..60)), 0..8)) {
        let keys = [0x09, 0x0a, 0x0b, 0x0c].map(ieee_key);
        let cin = OrgKey { oui: Oui(crate::cee::OUI), subtype: CinTlv::SUBTYPE };
        let keys = [keys[0], keys[1], keys[2], keys[3], CEE_KEY, cin];
        let tlvs: Vec<_> = tlvs.into_iter().map(|(key, info)| OrgTlv::new(keys[key], info).unwrap()).collect();
        let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
        tell(&mut a, HIGH, &tlvs);
        tell(&mut a, HIGH, &tlvs);
        prop_assert!(a.status().ets.chosen.is_some());
    }
}
