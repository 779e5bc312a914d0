//! The ledger: every clause the sources cite, what it says in our words, how sure that is, where it is implemented and
//! which test shows it, or why there is none. The files beside this one hold it, one per protocol.
//!
//! An entry covers a citation if it names the very clause; a clause does not cover those below it.

#![cfg(test)]

mod book;
mod check;
mod cite;
mod table;

use evb_tests::source;

use crate::{book::Ledger, check::Facts, cite::Source};

/// Where the ledger is, below the project's root. What stands there cites for the sake of example.
const HERE: &str = "tests/ledger/";

#[test]
fn the_ledger_and_the_sources_agree() {
    let problems = check::all(&Facts::of(&sources()), &ledgers());
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn readme_shows_the_table() {
    let table = table::render(&ledgers());
    let path = source::root().join("README.md");
    let Ok(readme) = std::fs::read_to_string(&path) else { return println!("{table}") };
    let Some(wanted) = table::replace(&readme, &table).unwrap() else { return println!("{table}") };
    if std::env::var_os("EVBD_UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(path, wanted).unwrap();
    } else {
        assert!(readme == wanted, "README.md does not show this; EVBD_UPDATE=1 writes it there:\n{table}");
    }
}

/// Every Rust file of the project but ours.
fn sources() -> Vec<Source> {
    let others = source::files().into_iter().filter(|(_, file, _)| !file.starts_with(HERE));
    others.map(|(_, file, text)| Source { file, text }).collect()
}

/// Every ledger, by name.
fn ledgers() -> Vec<Ledger> {
    let entries = std::fs::read_dir(source::root().join(HERE)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let file = path.file_name().unwrap().to_str().unwrap();
        Ledger::parse(file, &std::fs::read_to_string(path).unwrap()).unwrap()
    };
    paths.iter().map(read).collect()
}
