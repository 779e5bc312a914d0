use proptest::prelude::*;
use vdp::{Command, FilterEntry, FilterInfo, GroupId, Hints, TypeId, TypeVersion};

use super::*;

fn profile(name: &str, type_id: u32, vlans: &[u16]) -> Profile {
    serde_json::from_value(serde_json::json!({ "name": name, "type": type_id, "version": 1, "vlans": vlans }))
        .unwrap()
}

fn grouped() -> Profile {
    let groups = serde_json::json!([{ "group": 7, "vlan": 70 }, { "group": 8, "vlan": 80 }]);
    serde_json::from_value(serde_json::json!({ "name": "g", "type": 2, "version": 1, "groups": groups }))
        .unwrap()
}

fn query(type_id: u32, entry: FilterEntry) -> Query {
    Query {
        serial: 1,
        id: VsiId::local([1; 16]),
        manager: ManagerId::default(),
        type_id: TypeId::new(type_id).unwrap(),
        version: TypeVersion(1),
        filter: FilterInfo::new(vec![entry]).unwrap(),
        command: Command::Associate,
        hints: Hints::default(),
    }
}

fn vid(vid: u16) -> FilterEntry {
    FilterEntry { vid: ether::Vid::new(vid), ..FilterEntry::default() }
}

fn group(group: u32, vid: Option<u16>) -> FilterEntry {
    let group = Some(GroupId(group.try_into().unwrap()));
    FilterEntry { group, vid: vid.and_then(ether::Vid::new), ..FilterEntry::default() }
}

fn db(profiles: &[Profile]) -> VsiDb {
    let mut db = VsiDb::default();
    db.replace(Source::Config, profiles.to_vec());
    db
}

const PORT: PortId = PortId(3);

/// The VLAN, the error code, or that it waits.
fn said(decision: Decision) -> String {
    match decision {
        Decision::Wait(ask) => format!("wait {}", ask.is_some()),
        Decision::Answer(answer) => words(&answer),
    }
}

fn words(answer: &bridge::Answer) -> String {
    match answer {
        bridge::Answer::Accept { filter } => format!("vlan {}", filter.entries()[0].vid.unwrap()),
        bridge::Answer::Refuse { error, words, .. } => format!("{error}: {words}"),
    }
}

#[test]
fn vlans_are_filled_in_and_others_refused() {
    let mut db = db(&[profile("web", 1, &[100, 101])]);
    assert_eq!(said(db.decide(PORT, &query(1, FilterEntry::default()))), "vlan 100");
    assert_eq!(said(db.decide(PORT, &query(1, vid(101)))), "vlan 101");
    assert!(said(db.decide(PORT, &query(1, vid(7)))).starts_with("5: VLAN 7 is not in profile web"));
    assert!(said(db.decide(PORT, &query(1, group(7, None)))).starts_with("5: group 7 is not in profile web"));
    assert!(said(db.decide(PORT, &query(9, vid(7)))).starts_with("4: no profile has type 9"));
}

#[test]
fn groups_have_the_vlan_of_the_profile_always() {
    let mut db = db(&[grouped()]);
    for _ in 0..2 {
        assert_eq!(said(db.decide(PORT, &query(2, group(7, None)))), "vlan 70");
        assert_eq!(said(db.decide(PORT, &query(2, group(8, Some(80))))), "vlan 80");
    }
    assert!(said(db.decide(PORT, &query(2, group(8, Some(70))))).starts_with("5: group 8 has VLAN 80"));
    assert!(said(db.decide(PORT, &query(2, FilterEntry::default()))).contains("VLANs for groups only"));
}

#[test]
fn formats_and_lines_are_bounded() {
    let mut narrow = profile("web", 1, &[100]);
    narrow.formats = vec![Format::MacVid];
    narrow.max_macs = Some(1);
    assert_eq!(narrow.effective_policy().max_macs, Some(1));
    let mut db = db(&[narrow]);
    assert!(said(db.decide(PORT, &query(1, vid(100)))).contains("does not permit filters of this format"));
    let mac = |n| FilterEntry { mac: Some(ether::MacAddr::new(2, 0, 0, 0, 0, n)), ..FilterEntry::default() };
    assert_eq!(said(db.decide(PORT, &query(1, mac(1)))), "vlan 100");
    let two = Query { filter: FilterInfo::new(vec![mac(1), mac(2)]).unwrap(), ..query(1, mac(1)) };
    assert!(said(db.decide(PORT, &two)).starts_with("2: 2 filter entries"));
}

#[test]
fn the_more_binding_source_counts() {
    let mut db = db(&[profile("mine", 1, &[1])]);
    let file = Source::File("f".into());
    db.replace(file.clone(), vec![profile("theirs", 1, &[2]), profile("more", 2, &[3])]);
    assert_eq!(said(db.decide(PORT, &query(1, FilterEntry::default()))), "vlan 1");
    assert_eq!(said(db.decide(PORT, &query(2, FilterEntry::default()))), "vlan 3");
    db.replace(Source::Config, vec![]);
    assert_eq!(said(db.decide(PORT, &query(1, FilterEntry::default()))), "vlan 2");
    db.replace(file, vec![]);
    assert_eq!(db.rows().count(), 0);
}

#[test]
fn unknown_types_as_configured() {
    let mut db = db(&[profile("web", 1, &[100])]);
    db.configure(UnknownType::Profile("web".into()), []);
    assert_eq!(said(db.decide(PORT, &query(9, FilterEntry::default()))), "vlan 100");
    db.configure(UnknownType::Profile("gone".into()), []);
    assert!(
        said(db.decide(PORT, &query(9, FilterEntry::default()))).contains("nor is there the profile gone")
    );
    db.configure(UnknownType::Wait, []);
    assert_eq!(said(db.decide(PORT, &query(9, FilterEntry::default()))), "wait false");
    // It comes after all.
    db.replace(Source::File("f".into()), vec![profile("late", 9, &[9])]);
    let answers = db.settle(None);
    assert_eq!(answers.iter().map(|(_, _, answer)| words(answer)).collect::<Vec<_>>(), ["vlan 9"]);
    assert!(db.settle(None).is_empty());
}

#[test]
fn a_manager_is_asked_before_a_type_of_its_own_is_refused() {
    let manager = ManagerId::default();
    let ask = |db: &mut VsiDb| said(db.decide(PORT, &query(1, FilterEntry::default())));
    let settled =
        |db: &mut VsiDb| db.settle(Some(manager)).iter().map(|(_, _, a)| words(a)).collect::<String>();
    let mut db = VsiDb::default();
    db.configure(UnknownType::Refuse, [manager]);
    assert_eq!(ask(&mut db), "wait true");
    // Out of reach: VDP's own time runs out, with error 3.
    db.heard(manager, ManagerState::Failing("no".into()));
    assert_eq!(settled(&mut db), "");
    db.heard(manager, ManagerState::Reached);
    db.replace(Source::Manager(manager), vec![profile("web", 1, &[100])]);
    assert_eq!(settled(&mut db), "vlan 100");
    // The last good copy counts while it is out of reach.
    db.heard(manager, ManagerState::Failing("no".into()));
    assert_eq!(ask(&mut db), "vlan 100");
    assert_eq!(said(db.decide(PORT, &query(5, FilterEntry::default()))), "wait true");
    db.heard(manager, ManagerState::Reached);
    assert!(settled(&mut db).starts_with("4: no profile has type 5"));
    // Asked again on every new question.
    assert_eq!(said(db.decide(PORT, &query(5, FilterEntry::default()))), "wait true");
    db.forget_port(PORT);
    assert_eq!(settled(&mut db), "");
    // No manager any more: its profiles go with it.
    db.configure(UnknownType::Refuse, []);
    assert!(ask(&mut db).starts_with("4: "));
}

#[test]
fn answers_are_taken_whole_or_not_at_all() {
    let manager: ManagerId = "labmgr".parse().unwrap();
    let read = |text: &str| Answer::read(manager, text.as_bytes());
    let good =
        read(r#"{"profiles":[{"name":"web","type":1,"version":1,"vlans":[1],"policy":{"pcp":{"set":3}}}]}"#)
            .unwrap();
    assert_eq!((good.profiles[0].manager, good.profiles.len()), (manager, 1));
    for (text, why) in [
        ("", "EOF"),
        ("{}", "missing field"),
        (r#"{"profiles":[],"more":1}"#, "unknown field"),
        (r#"{"profiles":[{"name":"web","type":1,"version":1,"vlans":[]}]}"#, "without VLANs"),
        (
            r#"{"profiles":[{"name":"web","type":1,"version":1,"vlans":[1],"manager":"other"}]}"#,
            "is of manager",
        ),
        (r#"{"profiles":[{"name":"web","type":1,"version":1,"vlans":[4095]}]}"#, ""),
        (
            r#"{"profiles":[{"name":"a","type":1,"version":1,"vlans":[1]},{"name":"b","type":1,"version":1,"vlans":[1]}]}"#,
            "twice",
        ),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn any_answer(octets in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z0-9]{0,80}") {
        let _ = Answer::read(ManagerId::default(), &octets);
        let _ = Answer::read(ManagerId::default(), text.as_bytes());
    }

    /// What is accepted is what was asked for, within the profile.
    #[test]
    fn what_is_granted_was_asked_for(asked in proptest::option::of(1u16..6), in_group in any::<bool>(), n in 1u32..10) {
        let mut both = grouped();
        both.vlans = [1, 2, 3].into_iter().filter_map(ether::Vid::new).collect();
        let entry = if in_group { group(n, asked) } else { asked.map_or_else(FilterEntry::default, vid) };
        let filter = FilterInfo::new(vec![entry]).unwrap();
        if let Ok(filled) = both.fill(&filter) {
            prop_assert!(filter.covers(&filled) && filled.is_resolved());
            let vlan = filled.entries()[0].vid.unwrap();
            let of_group = both.groups.iter().any(|one| Some(one.group) == entry.group && one.vlan == vlan);
            prop_assert_eq!(in_group, of_group);
            prop_assert!(in_group || both.vlans.contains(&vlan));
        }
    }
}
