//! State by event; two engines on a virtual link are in `link`.

mod link;

use ether::Pcp;
use lldp::{OrgKey, Oui};

use super::*;
use crate::{
    Because, DialectChoice, Evidence, Mode, OnPeerLoss, Rule,
    cee::{CeeTlv, CinTlv},
    config::{Applications, Ets, PfcConfig},
    ieee::{
        ApplicationPriority, ClassCount, EtsConfiguration, EtsRecommendation, Pfc, PfcCapability,
        SelectionAlgorithm, Selector,
    },
    peer::{CEE_KEY, ieee_key},
    priority::PriorityTable,
};

const LOW: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const HIGH: MacAddr = MacAddr(2, 0, 0, 0, 0, 2);
const ETS: SelectionAlgorithm = SelectionAlgorithm::Ets;
const SP: SelectionAlgorithm = SelectionAlgorithm::Strict;
const MODES: [Mode; 4] = [Mode::Off, Mode::Advertise, Mode::Willing, Mode::Authoritative];
const DIALECTS: [DialectChoice; 3] = [DialectChoice::Auto, DialectChoice::Ieee, DialectChoice::Cee];

fn table(first: u8) -> EtsTable {
    EtsTable {
        classes: PriorityTable::new([0, 0, 0, 1, 1, 0, 0, 2]).unwrap(),
        bandwidth: [first, 100 - first, 0, 0, 0, 0, 0, 0],
        algorithms: [ETS, ETS, SP, SP, SP, SP, SP, SP],
    }
}

fn fcoe(priority: u8) -> Application {
    Application { priority: Pcp::new(priority).unwrap(), selector: Selector::EtherType, protocol: 0x8906 }
}

/// Side 0 and side 1 want different things.
fn config(side: u8, modes: [Mode; 3], dialect: DialectChoice) -> Config {
    let (bandwidth, pfc, priority) = if side == 0 { (70, 0x08, 3) } else { (40, 0x10, 4) };
    Config {
        dialect,
        on_peer_loss: OnPeerLoss::Keep,
        ets: Ets { mode: modes[0], max_classes: ClassCount::MAX, table: table(bandwidth) },
        pfc: PfcConfig { mode: modes[1], capability: PfcCapability::ALL, enabled: PrioritySet(pfc) },
        applications: Applications { mode: modes[2], list: vec![fcoe(priority)] },
    }
}

fn all(side: u8, mode: Mode) -> Config {
    config(side, [mode; 3], DialectChoice::Auto)
}

/// What an engine says, as its LLDPDU has it.
fn pdu(dcbx: &Dcbx) -> Vec<OrgTlv> {
    dcbx.said().map(|(key, info)| OrgTlv::new(key, info.clone()).unwrap()).collect()
}

fn tell(dcbx: &mut Dcbx, from: MacAddr, tlvs: &[OrgTlv]) {
    dcbx.handle_peer(from, tlvs.iter());
}

/// Both tell one another at once, until neither has news; the rounds it took.
fn converge(a: &mut Dcbx, b: &mut Dcbx) -> usize {
    for round in 0..20 {
        let before = (pdu(a), pdu(b), a.status().clone(), b.status().clone());
        tell(a, b.mac, &before.1);
        tell(b, a.mac, &before.0);
        if before == (pdu(a), pdu(b), a.status().clone(), b.status().clone()) {
            return round;
        }
    }
    panic!("no end: {:#?} {:#?}", a.status(), b.status());
}

fn agrees<T: PartialEq + core::fmt::Debug>(a: &Feature<T>, b: &Feature<T>, case: &str) {
    let (willing_a, willing_b) = (a.mode.is_willing(), b.mode.is_willing());
    if a.mode == Mode::Off || b.mode == Mode::Off {
        assert_eq!(a.chosen.is_none(), a.mode == Mode::Off, "{case}");
        assert_eq!(b.chosen.is_none(), b.mode == Mode::Off, "{case}");
    } else if willing_a || willing_b {
        assert_eq!(a.chosen, b.chosen, "{case}\n{a:#?}\n{b:#?}");
        let decides = |ours: &Feature<T>, theirs: &Feature<T>| ours.chosen.as_ref() == Some(&theirs.local);
        assert!(decides(a, b) || decides(b, a), "{case}: someone's\n{a:#?}\n{b:#?}");
        assert_ne!(a.agreed, Some(false), "{case}\n{a:#?}\n{b:#?}");
    } else {
        assert_eq!((a.agreed, b.agreed), (Some(a.local == b.local), Some(a.local == b.local)), "{case}");
    }
}

fn check(a: &Dcbx, b: &Dcbx, case: &str) {
    let (a, b) = (a.status(), b.status());
    if a.peer == Peer::Present && b.peer == Peer::Present {
        assert_eq!(a.dialect, b.dialect, "{case}");
        agrees(&a.ets, &b.ets, case);
        agrees(&a.pfc, &b.pfc, case);
        agrees(&a.applications, &b.applications, case);
    }
}

/// All pairs of modes, of dialects, and of who has the higher address.
#[test]
fn every_pair_ends_equal() {
    for (ours, theirs) in MODES.iter().flat_map(|a| MODES.iter().map(move |b| (*a, *b))) {
        for (da, db) in DIALECTS.iter().flat_map(|a| DIALECTS.iter().map(move |b| (*a, *b))) {
            for (ma, mb) in [(LOW, HIGH), (HIGH, LOW)] {
                let case = format!("{ours:?} {da:?} {ma} — {theirs:?} {db:?} {mb}");
                let mut a = Dcbx::new(config(0, [ours; 3], da), ma);
                let mut b = Dcbx::new(config(1, [theirs; 3], db), mb);
                converge(&mut a, &mut b);
                check(&a, &b, &case);
                let none =
                    [(DialectChoice::Ieee, DialectChoice::Cee), (DialectChoice::Cee, DialectChoice::Ieee)];
                let speak = ours != Mode::Off && theirs != Mode::Off;
                if speak && none.contains(&(da, db)) {
                    let said = [a.status().evidence, b.status().evidence];
                    assert!(
                        said.contains(&Evidence::OnlyCee) && said.contains(&Evidence::OnlyIeee),
                        "{case}"
                    );
                    assert_eq!((a.status().peer, b.status().peer), (Peer::OtherDialect, Peer::OtherDialect));
                } else if speak {
                    assert_eq!((a.status().peer, b.status().peer), (Peer::Present, Peer::Present), "{case}");
                    assert!(a.handshake().is_none_or(|h| h.acknowledged), "{case}");
                    assert!(b.handshake().is_none_or(|h| h.acknowledged), "{case}");
                }
            }
        }
    }
}

#[test]
fn who_decides_and_why() {
    use Because::{NotWilling, Off, PeerDecides, PeerHigher, Unsaid, WeHigher};
    // Ours (the lower address), the peer's; why here, and why there.
    let cases = [
        (Mode::Off, Mode::Willing, Off, Unsaid),
        (Mode::Willing, Mode::Advertise, PeerDecides, NotWilling),
        (Mode::Willing, Mode::Authoritative, PeerDecides, NotWilling),
        (Mode::Authoritative, Mode::Willing, NotWilling, PeerDecides),
        (Mode::Authoritative, Mode::Authoritative, NotWilling, NotWilling),
        (Mode::Willing, Mode::Willing, PeerHigher, WeHigher),
    ];
    for dialect in [DialectChoice::Ieee, DialectChoice::Cee] {
        for (ours, theirs, here, there) in cases {
            // One feature at a time; another keeps the dialect known.
            let mut a = Dcbx::new(config(0, [Mode::Advertise, ours, Mode::Off], dialect), LOW);
            let mut b = Dcbx::new(config(1, [Mode::Advertise, theirs, Mode::Off], dialect), HIGH);
            converge(&mut a, &mut b);
            let because = (a.status().pfc.because, b.status().pfc.because);
            assert_eq!(because, (here, there), "PFC {dialect:?} {ours:?} {theirs:?}");
            let mut a = Dcbx::new(config(0, [ours, Mode::Advertise, Mode::Off], dialect), LOW);
            let mut b = Dcbx::new(config(1, [theirs, Mode::Advertise, Mode::Off], dialect), HIGH);
            converge(&mut a, &mut b);
            let because = (a.status().ets.because, b.status().ets.because);
            assert_eq!(because, (here, there), "ETS {dialect:?} {ours:?} {theirs:?}");
        }
    }
}

/// Nothing is written before a peer was heard, nothing when it is gone, and not everything that is said.
#[test]
fn what_is_applied() {
    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    assert_eq!(a.status().settings(), Settings::default());
    assert_eq!(a.status().ets.because, Because::NoPeer);
    let b = Dcbx::new(all(1, Mode::Authoritative), HIGH);
    tell(&mut a, HIGH, &pdu(&b));
    let theirs = b.status().settings();
    assert_eq!(a.status().settings(), theirs);
    assert_eq!(theirs.ets, Some(table(40)));
    a.handle_nobody();
    assert_eq!((a.status().settings(), a.status().pfc.because), (theirs.clone(), Because::Kept));
    a.handle_several();
    assert_eq!((a.status().settings(), a.status().peer), (theirs.clone(), Peer::Several));
    // A neighbour without DCBX, or with an unknown dialect, decides nothing either.
    tell(&mut a, HIGH, &[]);
    assert_eq!((a.status().settings(), a.status().peer), (theirs, Peer::Silent));

    let advertised = Dcbx::new(all(0, Mode::Advertise), LOW);
    assert_eq!(advertised.status().settings(), Settings::default());
    assert_eq!(advertised.said().count(), 4);
    assert_eq!(Dcbx::new(all(0, Mode::Off), LOW).said().count(), 0);

    let mut reset = Dcbx::new(Config { on_peer_loss: OnPeerLoss::Reset, ..all(0, Mode::Willing) }, LOW);
    tell(&mut reset, HIGH, &pdu(&b));
    reset.handle_nobody();
    assert_eq!(
        (reset.status().pfc.because, reset.status().settings().pfc),
        (Because::Reset, Some(PrioritySet(8)))
    );
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let mut b = all(1, Mode::Authoritative);
    b.pfc.enabled = PrioritySet(0x1f);
    let b = Dcbx::new(b, HIGH);
    let mut a = all(0, Mode::Willing);
    a.pfc.capability = PfcCapability::new(4).unwrap();
    a.ets.max_classes = ClassCount::new(2).unwrap();
    a.ets.table = EtsTable::STRICT;
    let mut a = Dcbx::new(a, LOW);
    tell(&mut a, HIGH, &pdu(&b));
    let status = a.status();
    assert_eq!(status.pfc.because, Because::Refused(Rule::Pfc { enabled: 5, capability: 4 }));
    assert_eq!((status.pfc.chosen, status.pfc.agreed), (Some(PrioritySet(8)), Some(false)));
    assert_eq!(status.ets.because, Because::Refused(Rule::Class { priority: 7, class: 2, classes: 2 }));
    let mut half = table(70);
    half.bandwidth[1] = 20;
    let tlv = OrgTlv::new(ieee_key(EtsRecommendation::SUBTYPE), EtsRecommendation(half).to_bytes()).unwrap();
    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    tell(&mut a, HIGH, &[tlv]);
    assert_eq!(a.status().ets.because, Because::Refused(Rule::Bandwidth(90)));
    assert!(a.status().ets.because.to_string().contains("sum to 90 %"));
}

#[test]
fn dialects_and_their_evidence() {
    let says = |choice, mode| pdu(&Dcbx::new(config(1, [mode; 3], choice), HIGH));
    let (ieee, cee) =
        (says(DialectChoice::Ieee, Mode::Authoritative), says(DialectChoice::Cee, Mode::Authoritative));
    let cin_key = OrgKey { oui: Oui(crate::cee::OUI), subtype: CinTlv::SUBTYPE };
    let cin = vec![OrgTlv::new(cin_key, CinTlv::default().to_bytes().unwrap()).unwrap()];
    let both = [ieee.clone(), cee.clone()].concat();
    let is = |a: &Dcbx| (a.status().dialect, a.status().evidence, a.status().peer);

    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    assert_eq!(is(&a), (Dialect::Ieee, Evidence::Unheard, Peer::Absent));
    tell(&mut a, HIGH, &cin);
    assert_eq!(is(&a), (Dialect::Ieee, Evidence::OnlyCin, Peer::OtherDialect));
    tell(&mut a, HIGH, &both);
    assert_eq!(is(&a), (Dialect::Ieee, Evidence::PeerIeee, Peer::Present));
    tell(&mut a, HIGH, &cee);
    assert_eq!(is(&a), (Dialect::Cee, Evidence::PeerCee, Peer::Present));
    assert_eq!(a.said().map(|(key, _)| key).collect::<Vec<_>>(), [CEE_KEY]);
    // It stays where it fell to …
    tell(&mut a, HIGH, &both);
    assert_eq!(is(&a), (Dialect::Cee, Evidence::PeerCee, Peer::Present));
    tell(&mut a, HIGH, &ieee);
    assert_eq!(is(&a), (Dialect::Cee, Evidence::OnlyIeee, Peer::OtherDialect));
    assert_eq!(a.status().pfc.because, Because::Kept);
    // … until another peer comes, this one leaves, or the link was down.
    tell(&mut a, MacAddr(2, 0, 0, 0, 0, 3), &ieee);
    assert_eq!(is(&a), (Dialect::Ieee, Evidence::PeerIeee, Peer::Present));
    for reset in [Dcbx::handle_link_down, Dcbx::handle_nobody, Dcbx::handle_several] {
        tell(&mut a, HIGH, &cee);
        assert_eq!(a.status().dialect, Dialect::Cee);
        reset(&mut a);
        tell(&mut a, HIGH, &ieee);
        assert_eq!(is(&a), (Dialect::Ieee, Evidence::PeerIeee, Peer::Present));
    }
}

#[test]
fn cee_counts_changes_and_acknowledges() {
    let cee = |side, mode| config(side, [mode; 3], DialectChoice::Cee);
    let mut a = Dcbx::new(cee(0, Mode::Willing), LOW);
    let mut b = Dcbx::new(cee(1, Mode::Authoritative), HIGH);
    let handshake = |d: &Dcbx| {
        let h = d.handshake().unwrap();
        (h.sequence, h.peer_sequence, h.acknowledged)
    };
    assert_eq!((handshake(&a), handshake(&b)), ((1, 0, false), (1, 0, false)));
    converge(&mut a, &mut b);
    assert_eq!((handshake(&a), handshake(&b)), ((1, 1, true), (1, 1, true)));
    let mut changed = cee(1, Mode::Authoritative);
    changed.pfc.enabled = PrioritySet(0x18);
    b.reconfigure(changed.clone());
    assert_eq!(handshake(&b), (2, 1, false));
    b.reconfigure(changed);
    assert_eq!(handshake(&b).0, 2, "the same again is no change");
    converge(&mut a, &mut b);
    assert_eq!((handshake(&a), handshake(&b)), ((1, 2, true), (2, 1, true)));
    assert_eq!(a.status().pfc.chosen, Some(PrioritySet(0x18)));
    // The willing side goes on saying its own.
    let said = CeeTlv::parse(a.said().next().unwrap().1).unwrap();
    assert_eq!(said.pfc.unwrap().settings.enabled, PrioritySet(0x08));
    // A restarted peer counts from 1 again.
    let mut b = Dcbx::new(cee(1, Mode::Authoritative), HIGH);
    converge(&mut a, &mut b);
    assert_eq!((handshake(&a), handshake(&b)), ((1, 1, true), (1, 1, true)));
}

#[test]
fn two_stubborn_sides_of_cee_say_so() {
    let cee = |side| config(side, [Mode::Authoritative; 3], DialectChoice::Cee);
    let (mut a, mut b) = (Dcbx::new(cee(0), LOW), Dcbx::new(cee(1), HIGH));
    converge(&mut a, &mut b);
    for side in [&a, &b] {
        let said = CeeTlv::parse(side.said().next().unwrap().1).unwrap();
        assert!(said.pfc.unwrap().error && said.priority_groups.unwrap().error);
    }
    // Once one gives way the error is over.
    a.reconfigure(config(0, [Mode::Willing; 3], DialectChoice::Cee));
    converge(&mut a, &mut b);
    let said = CeeTlv::parse(b.said().next().unwrap().1).unwrap();
    assert!(!said.pfc.unwrap().error);
    check(&a, &b, "after giving way");
}

#[test]
fn tlvs_that_cannot_be_used() {
    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    let pfc = OrgTlv::new(ieee_key(Pfc::SUBTYPE), vec![0x08, 0x10]).unwrap();
    let ets = OrgTlv::new(ieee_key(EtsConfiguration::SUBTYPE), vec![0]).unwrap();
    tell(&mut a, HIGH, &[pfc.clone(), pfc.clone(), ets]);
    let status = a.status();
    assert_eq!(
        (status.peer, status.pfc.because, status.ets.because),
        (Peer::Present, Because::Unsaid, Because::Unsaid)
    );
    assert_eq!(status.faults.len(), 2, "{:?}", status.faults);
    assert!(status.faults[0].contains("00-80-c2/0b stands 2 times"), "{:?}", status.faults);
    assert!(status.faults[1].contains("it needs 21"), "{:?}", status.faults);
    assert_eq!((a.stats().received, a.stats().duplicate, a.stats().malformed), (2, 1, 1));
    // Of other protocols nothing is read.
    let other = OrgTlv::new(OrgKey { oui: Oui(crate::ieee::OUI), subtype: 0x0d }, vec![0]).unwrap();
    tell(&mut a, HIGH, &[other, pfc]);
    assert_eq!((a.status().pfc.because, a.status().faults.len()), (Because::PeerDecides, 0));
}

/// The frames lldpad sends as a side that decides, in each dialect.
#[test]
fn lldpad_decides() {
    let from = |key: OrgKey, info: &'static [u8]| OrgTlv::new(key, info).unwrap();
    let ets: &[u8] = &[0, 0, 1, 0x10, 2, 60, 40, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0];
    let apps: &[u8] = &[0, 0x61, 0x89, 0x06, 0x82, 0x0c, 0xbc, 0xa5, 0, 0x2e];
    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    tell(
        &mut a,
        HIGH,
        &[
            from(ieee_key(EtsConfiguration::SUBTYPE), ets),
            from(ieee_key(EtsRecommendation::SUBTYPE), ets),
            from(ieee_key(Pfc::SUBTYPE), &[0x08, 0x18]),
            from(ieee_key(ApplicationPriority::SUBTYPE), apps),
        ],
    );
    let chosen = a.status().settings();
    assert_eq!((chosen.ets, chosen.pfc), (Some(table(60)), Some(PrioritySet(0x18))));
    assert_eq!(
        chosen.applications.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["FCoE 3", "iSCSI 4", "DSCP 46 5"]
    );
    assert_eq!(a.status().ets.agreed, Some(true));

    let cee: &[u8] = &[
        0x02, 0x0a, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0x04, 0x11, 0, 0, 0x80, 0, 0, 1, 0x10, 2, 60, 40, 0, 0, 0,
        0, 0, 0, 8, 0x06, 0x06, 0, 0, 0x80, 0, 0x18, 8, 0x08, 0x16, 0, 0, 0x80, 0, 0x89, 6, 0, 0x1b, 0x21, 8,
        0x0c, 0xbc, 1, 0x1b, 0x21, 0x10, 0x89, 0x14, 0, 0x1b, 0x21, 8,
    ];
    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    tell(&mut a, HIGH, &[from(CEE_KEY, cee)]);
    assert_eq!((a.status().dialect, a.status().pfc.chosen), (Dialect::Cee, Some(PrioritySet(0x18))));
    // The group of priority 7 has no bandwidth: in CEE it is a group all the same.
    assert_eq!(a.status().ets.chosen.unwrap().bandwidth, [60, 40, 0, 0, 0, 0, 0, 0]);
    assert_eq!(a.handshake().unwrap().peer_sequence, 3);
    assert_eq!(a.status().applications.chosen.as_ref().unwrap().len(), 3);
}

/// Frames captured from lldpad on a device of its own: CEE's willing side, which has seen our third state, and CIN.
#[test]
fn lldpad_follows_in_cee_and_is_recognised_in_cin() {
    let octets = |hex: &str| -> Vec<u8> {
        let digits: Vec<u8> =
            hex.bytes().map(|digit| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    };
    let cee = "020a0000000000010000000304110000c000012345670d0d0d0d0c0c0c0c0806060000c000000808160000c0008906001b2108\
               0cbc011b21108914001b2108";
    let mut a = Dcbx::new(config(0, [Mode::Authoritative; 3], DialectChoice::Cee), HIGH);
    // Twice changed, so that our state is the third.
    for side in [1, 0] {
        a.reconfigure(config(side, [Mode::Authoritative; 3], DialectChoice::Cee));
    }
    tell(&mut a, LOW, &[OrgTlv::new(CEE_KEY, octets(cee)).unwrap()]);
    let handshake = a.handshake().unwrap();
    assert_eq!((handshake.sequence, handshake.peer_sequence, handshake.acknowledged), (3, 1, true));
    let status = a.status();
    assert_eq!((status.peer, status.pfc.remote_willing), (Peer::Present, Some(true)));
    // It is willing and has found no fault: it does as we do, though it goes on saying its own.
    assert_eq!([status.ets.agreed, status.pfc.agreed, status.applications.agreed], [Some(true); 3]);

    let cin = "020a00000000000300000002041c000080003c2800000000000000642064406460648064a064c064e064060500008000180a05\
               00008000080c050000e00000";
    let key = OrgKey { oui: Oui(crate::cee::OUI), subtype: CinTlv::SUBTYPE };
    let mut a = Dcbx::new(all(0, Mode::Willing), LOW);
    tell(&mut a, HIGH, &[OrgTlv::new(key, octets(cin)).unwrap()]);
    let status = a.status();
    assert_eq!((status.peer, status.evidence), (Peer::OtherDialect, Evidence::OnlyCin));
    assert!(
        status.faults.is_empty() && status.evidence.to_string().contains("CIN 1.00"),
        "{:?}",
        status.faults
    );
}
