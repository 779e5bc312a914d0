//! A small project and a ledger that agree, and every way in which they could not.

use super::*;

const TX: &str = "//! Sends [Q 43.3].\n// UNSURE-3: how often\nfn send() {}\n\
                  #[test]\nfn sends() {}\n#[test]\nfn any_octets() {}";
const RX: &str = "//! Receives [Q 43.3, 43.4].\n#[test]\nfn any_octets() {}";
const LEDGER: &str = "
    protocol = 'ECP'
    [[entry]]
    clause = 'Q 43.3'
    says = 'Requests are sent.'
    certainty = ['memory', 'UNSURE-3']
    code = ['tx.rs', 'rx.rs']
    test = ['sends', 'tx.rs::any_octets']
    [[entry]]
    clause = 'Q 43.4'
    says = 'Requests are received.'
    certainty = ['memory']
    code = ['rx.rs']
    exception = 'Nobody sends any.'
    [[unsure]]
    mark = 'UNSURE-3'
    says = 'How often.'
    code = ['tx.rs']";

/// The problems when in one of the three files something stands in the place of something else.
fn with(changes: &[(&str, &str)]) -> Vec<String> {
    let change = |text: &str| changes.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new));
    assert!(changes.iter().all(|(old, _)| [TX, RX, LEDGER].iter().any(|text| text.contains(old))));
    let source = |file: &str, text| Source { file: file.into(), text: change(text) };
    let ledger = Ledger::parse("ecp.toml", &change(LEDGER)).unwrap();
    all(&Facts::of(&[source("tx.rs", TX), source("rx.rs", RX)]), &[ledger])
}

const SENT: &str = "ecp.toml [Q 43.3] \"Requests are sent.\": ";
const RECEIVED: &str = "ecp.toml [Q 43.4] \"Requests are received.\": ";

fn only(changes: &[(&str, &str)], problem: &str) {
    assert_eq!(with(changes), [problem], "{changes:?}");
}

#[test]
fn a_project_and_its_ledger() {
    assert_eq!(with(&[]), [""; 0]);
}

#[test]
fn what_cannot_be_read() {
    only(&[("Receives [", "[Q x] [")], "rx.rs:1: Q x: no clause");
    only(&[("Receives [", "UNSURE [")], "rx.rs:1: \"UNSURE\" is no mark");
}

#[test]
fn a_citation_without_an_entry() {
    only(&[("Sends [", "[Q 43.3.1] [")], "tx.rs:1: no entry for [Q 43.3.1]");
    only(&[("Sends [", "[BR 43.3] [")], "tx.rs:1: no entry for [BR 43.3]");
    only(&[("Sends [", "[Q 43] [")], "tx.rs:1: no entry for [Q 43]");
}

#[test]
fn an_entry_that_says_too_little() {
    for (changes, what) in [
        (&[("Requests are sent.", " ")][..], "ecp.toml [Q 43.3] \" \": what it says is not one line"),
        (
            &[("'memory', 'UNSURE-3'", "'UNSURE-3'"), ("'Nobody sends any.'", "' '")],
            "the reason of the exception is not one line",
        ),
        (&[("exception = 'Nobody sends any.'", "")], "neither test nor exception"),
        (&[("exception = 'Nobody", "test = ['sends']\nexception = 'Nobody")], "both tested and an exception"),
        (
            &[("code = ['rx.rs']\n    exception = 'Nobody sends any.'", "test = ['sends']")],
            "tested, but without code",
        ),
        (&[("['memory']", "[]")], "how certain is it?"),
    ] {
        let what = if what.starts_with("ecp") { what.to_owned() } else { format!("{RECEIVED}{what}") };
        only(changes, &what);
    }
    let lines = with(&[("'Requests are received.'", "'''Requests\nare received.'''")]);
    assert!(lines.len() == 1 && lines[0].ends_with("what it says is not one line"), "{lines:?}");
}

#[test]
fn code_that_is_not_there_or_does_not_cite() {
    only(&[("['tx.rs', 'rx.rs']", "['tx.rs', 'xx.rs']")], &format!("{SENT}there is no source file xx.rs"));
    only(&[("Receives [Q 43.3, 43.4]", "Receives [Q 43.4]")], &format!("{SENT}rx.rs does not cite it"));
    // One citation is enough for a file, but each clause needs one.
    let clause = ("'Q 43.3'", "'Q 43.3, 43.9'");
    let name = "ecp.toml [Q 43.3, Q 43.9] \"Requests are sent.\": ";
    only(&[clause], &format!("{name}none of its files cites [Q 43.9]"));
    // What is not implemented need not be cited.
    assert_eq!(with(&[(", 43.4]", "]"), ("code = ['rx.rs']\n", "\n")]), [""; 0]);
}

#[test]
fn a_test_that_is_not_there() {
    only(&[("['sends', ", "['sent', ")], &format!("{SENT}there is no test sent"));
    only(&[("tx.rs::any", "xx.rs::any")], &format!("{SENT}there is no test xx.rs::any_octets"));
    only(&[("['sends', ", "['send', ")], &format!("{SENT}there is no test send"));
    only(&[("#[test]\nfn sends", "fn sends")], &format!("{SENT}there is no test sends"));
    only(&[("'tx.rs::any", "'any")], &format!("{SENT}any_octets is in tx.rs, rx.rs: write file::name"));
}

#[test]
fn marks_on_one_side_only() {
    only(&[("Receives [", "UNSURE-4 [")], "rx.rs:1: UNSURE-4 is not in the ledger");
    only(&[("// UNSURE-3:", "//")], "ecp.toml UNSURE-3: tx.rs does not bear it");
    only(&[("'How often.'", "''")], "ecp.toml UNSURE-3: what it says is not one line");
    only(&[("'memory', 'UNSURE-3'", "'memory'")], "ecp.toml UNSURE-3: no entry depends on it");
    only(&[("['memory']", "['UNSURE-8']")], &format!("{RECEIVED}UNSURE-8 is not described"));
    let again = "code = ['tx.rs']\n[[unsure]]\nmark = 'UNSURE-3'\nsays = 'x'\ncode = ['tx.rs']";
    only(&[("code = ['tx.rs']", again)], "ecp.toml UNSURE-3: is described twice");
    let nowhere =
        [("// UNSURE-3:", "//"), ("says = 'How often.'\n    code = ['tx.rs']", "says = 'x'\ncode = []")];
    only(&nowhere, "ecp.toml UNSURE-3: names no file");
}
