use std::{fs, os::unix::fs::PermissionsExt};

use proptest::prelude::*;
use vdp::{Command, FilterEntry, FilterInfo, TypeId, TypeVersion, bridge::Held};

use super::*;

fn record(n: u8, version: u8) -> Record {
    let entry = FilterEntry {
        mac: Some(ether::MacAddr::new(2, 0, 0, 0, 0, n)),
        vid: ether::Vid::new(100),
        ..FilterEntry::default()
    };
    let held = Held {
        id: format!("b2a7f3c1-0d4e-4b6a-9c55-1122334455{n:02x}").parse().unwrap(),
        manager: "labmgr".parse().unwrap(),
        type_id: TypeId::new(5).unwrap(),
        version: TypeVersion(version),
        filter: FilterInfo::new(vec![entry]).unwrap(),
        command: Command::Associate,
        hints: vdp::Hints::default(),
    };
    Record::Granted { port: "b0".to_owned(), held, opened: None }
}

fn open(directory: &Path) -> (Journal, Found) {
    Journal::open(Some(directory), "bridge").unwrap()
}

/// A directory with a journal of three records, closed.
fn kept() -> (tempfile::TempDir, Vec<Record>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, found) = open(directory.path());
    assert!(found.records.is_empty() && found.events.is_empty(), "{:?}", found.events);
    let records: Vec<Record> = (0..3).map(|n| record(n, 1)).collect();
    records.iter().for_each(|record| journal.remember(record));
    assert_eq!(journal.commit(), None);
    (directory, records)
}

/// What becomes of the journal in `directory`: it says in words what is wrong with it, and works.
fn damage(directory: &Path) -> String {
    let (mut journal, found) = open(directory);
    assert_eq!(found.records, []);
    let [Event::StateDamaged { because, aside: Some(aside) }] = &found.events[..] else {
        panic!("{:?}", found.events);
    };
    assert!(Path::new(aside).exists());
    journal.remember(&record(9, 1));
    assert_eq!(journal.commit(), None);
    drop(journal);
    assert_eq!(open(directory).1.records, [record(9, 1)]);
    because.clone()
}

#[test]
fn what_was_committed_comes_back() {
    let (directory, mut records) = kept();
    let (mut journal, found) = open(directory.path());
    assert_eq!(found.records, records);
    journal.remember(&record(1, 2));
    journal.forget(&record(2, 1).key());
    journal.forget(&record(7, 1).key());
    assert_eq!(journal.commit(), None);
    // Not committed.
    journal.remember(&record(5, 1));
    drop(journal);
    records[1] = record(1, 2);
    records.pop();
    assert_eq!(open(directory.path()).1.records, records);
}

#[test]
fn without_a_directory_nothing_is_kept_and_nothing_said() {
    let (mut journal, found) = Journal::open(None, "bridge").unwrap();
    journal.remember(&record(1, 1));
    assert!(found.events.is_empty() && journal.commit().is_none() && journal.mend(Vec::new).is_none());
}

#[test]
fn two_daemons_do_not_share_a_directory() {
    let (directory, _) = kept();
    let _one = open(directory.path());
    let error = Journal::open(Some(directory.path()), "bridge").err().unwrap().to_string();
    assert!(error.contains("another evbd") && error.contains("[state]"), "{error}");
}

#[test]
fn damage_of_every_kind_is_told_and_set_aside() {
    let edit = |change: fn(&mut Vec<u8>)| {
        let (directory, _) = kept();
        let file = directory.path().join(FILE);
        let mut octets = fs::read(&file).unwrap();
        change(&mut octets);
        fs::write(&file, octets).unwrap();
        damage(directory.path())
    };
    edit(|octets| octets[0] ^= 1);
    edit(|octets| octets.truncate(5000));
    edit(|octets| octets.truncate(100));
    edit(Vec::clear);
    edit(|octets| *octets = b"no database at all".to_vec());
    // Both commit slots.
    edit(|octets| octets[64..320].fill(0xff));
    let (directory, _) = kept();
    // Only root can give a file away.
    if std::os::unix::fs::chown(directory.path().join(FILE), Some(12345), None).is_ok() {
        assert!(damage(directory.path()).contains("belongs to user 12345"));
    }
    let about = |key: &str, value: &str| {
        let (directory, _) = kept();
        let database = Database::open(directory.path().join(FILE)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(ABOUT).unwrap().insert(key, value).unwrap();
        transaction.commit().unwrap();
        drop(database);
        damage(directory.path())
    };
    assert!(about("schema", "2").contains("its schema is `2`"));
    assert!(about("role", "station").contains("that of a station, and this is a bridge"));
    let (directory, _) = kept();
    let database = Database::open(directory.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(RECORDS).unwrap().insert("b0 x", &b"{}"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(damage(directory.path()).contains("record b0 x: "));
}

#[test]
fn only_the_newest_files_set_aside_stay() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..ASIDE + 3 {
        fs::write(directory.path().join(FILE), "no").unwrap();
        damage(directory.path());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let aside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("damaged");
    let entries = fs::read_dir(directory.path()).unwrap().map(Result::unwrap);
    assert_eq!(entries.filter(aside).count(), ASIDE);
}

#[test]
fn a_directory_that_cannot_be_had_costs_the_memory_only() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let (mut journal, found) = open(&file.join("state"));
    assert!(matches!(&found.events[..], [Event::StateLost { because }] if because.contains("file")));
    journal.remember(&record(1, 1));
    assert_eq!(journal.commit(), None);
}

#[test]
fn a_journal_that_failed_is_made_anew_when_it_can_be() {
    let (directory, records) = kept();
    let (mut journal, _) = open(directory.path());
    journal.database = None;
    let again = || records.iter().take(2).cloned().collect::<Vec<_>>();
    assert_eq!(journal.mend(again), Some(Event::StateKept));
    assert_eq!(journal.mend(again), None);
    drop(journal);
    assert_eq!(open(directory.path()).1.records, again());
    let mode = fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0);
}

/// Random changes, a commit after some of them: what is in the file after each commit.
fn changes() -> impl Strategy<Value = Vec<(u8, u8, bool)>> {
    proptest::collection::vec((0u8..6, 0u8..4, any::<bool>()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever octets are changed or cut off, the journal is as it was after the last commit or the one before, or it
    /// is told to be damaged.
    #[test]
    fn nothing_is_lost_without_a_word(
        changes in changes(),
        place in any::<prop::sample::Index>(),
        flip in 0u8..,
        cut in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(directory.path());
        let mut now: BTreeMap<RecordKey, Record> = BTreeMap::new();
        let mut commits = vec![now.clone()];
        for (n, version, commit) in changes {
            let record = record(n, version);
            if version == 0 {
                now.remove(&record.key());
                journal.forget(&record.key());
            } else {
                journal.remember(&record);
                now.insert(record.key(), record);
            }
            if commit {
                prop_assert_eq!(journal.commit(), None);
                commits.push(now.clone());
            }
        }
        // Killed: redb has no chance to close the file.
        let file = directory.path().join(FILE);
        let mut octets = fs::read(&file).unwrap();
        drop(journal);
        if cut {
            octets.truncate(place.index(octets.len()));
        } else {
            // Where something is written: most of the file is room for more.
            let written: Vec<usize> = (0..octets.len()).filter(|at| octets[*at] != 0).collect();
            octets[written[place.index(written.len())]] ^= flip;
        }
        fs::write(&file, octets).unwrap();
        let (_journal, found) = open(directory.path());
        if found.events.is_empty() {
            let records: BTreeMap<_, _> = found.records.into_iter().map(|r| (r.key(), r)).collect();
            let last = commits.len().saturating_sub(2);
            prop_assert!(commits[last..].contains(&records), "{:?}", records.keys());
        } else {
            prop_assert!(matches!(&found.events[..], [Event::StateDamaged { .. }]), "{:?}", found.events);
            prop_assert!(found.records.is_empty());
        }
    }
}
