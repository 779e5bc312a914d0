//! What must hold between the ledger and the sources. Each check returns what does not.

use std::collections::BTreeSet;

use crate::{
    book::{Certainty, Entry, Ledger},
    cite::{self, Clause, Found, Source},
};

/// What the sources say.
#[derive(Default)]
pub(crate) struct Facts {
    files: BTreeSet<String>,
    citations: Vec<Found<Clause>>,
    marks: Vec<Found<String>>,
    /// (file, function).
    tests: Vec<(String, String)>,
    /// Citations and marks that cannot be read.
    malformed: Vec<String>,
}

impl Facts {
    pub(crate) fn of(sources: &[Source]) -> Self {
        let mut facts = Self::default();
        for source in sources {
            let (citations, bad_citations) = cite::citations(source);
            let (marks, bad_marks) = cite::marks(source);
            facts.files.insert(source.file.clone());
            facts.citations.extend(citations);
            facts.marks.extend(marks);
            facts.tests.extend(cite::tests(source));
            facts.malformed.extend(bad_citations.into_iter().chain(bad_marks));
        }
        facts
    }

    fn cites(&self, file: &str, clause: &Clause) -> bool {
        self.citations.iter().any(|c| c.file == file && c.what == *clause)
    }
}

/// All that does not hold.
pub(crate) fn all(facts: &Facts, ledgers: &[Ledger]) -> Vec<String> {
    let checks = [
        facts.malformed.clone(),
        uncovered(facts, ledgers),
        shape(ledgers),
        code(facts, ledgers),
        tests_named(facts, ledgers),
        marks_of_the_code(facts, ledgers),
        marks_of_the_ledger(facts, ledgers),
    ];
    checks.concat()
}

/// Citations whose clause no entry names.
fn uncovered(facts: &Facts, ledgers: &[Ledger]) -> Vec<String> {
    let covered: BTreeSet<_> = entries(ledgers).flat_map(|(_, entry)| &entry.clause.0).collect();
    let missing = facts.citations.iter().filter(|citation| !covered.contains(&citation.what));
    missing.map(|Found { what, file, line }| format!("{file}:{line}: no entry for [{what}]")).collect()
}

/// Entries that say too little or contradict themselves.
fn shape(ledgers: &[Ledger]) -> Vec<String> {
    let one_line = |text: &str| !text.trim().is_empty() && !text.contains('\n');
    let mut problems = Vec::new();
    for (ledger, entry) in entries(ledgers) {
        let mut wrong = |what: &str| problems.push(format!("{}: {what}", entry.name(ledger)));
        if !one_line(&entry.says) {
            wrong("what it says is not one line");
        }
        if entry.certainty.is_empty() {
            wrong("how certain is it?");
        }
        match (&entry.exception, entry.test.is_empty()) {
            (None, true) => wrong("neither test nor exception"),
            (Some(_), false) => wrong("both tested and an exception"),
            (Some(reason), true) if !one_line(reason) => wrong("the reason of the exception is not one line"),
            (Some(_), true) => {}
            (None, false) if entry.code.is_empty() => wrong("tested, but without code"),
            (None, false) => {}
        }
    }
    problems
}

/// Code that does not exist or does not cite the clause.
fn code(facts: &Facts, ledgers: &[Ledger]) -> Vec<String> {
    let mut problems = Vec::new();
    for (ledger, entry) in entries(ledgers) {
        let mut wrong = |what: String| problems.push(format!("{}: {what}", entry.name(ledger)));
        // The only clause of an entry is cited by each of its files, or they are wrong already.
        let several = entry.clause.0.len() > 1;
        for file in &entry.code {
            if !facts.files.contains(file) {
                wrong(format!("there is no source file {file}"));
            } else if !entry.clause.0.iter().any(|clause| facts.cites(file, clause)) {
                wrong(format!("{file} does not cite it"));
            }
        }
        for clause in entry.clause.0.iter().filter(|_| several && !entry.code.is_empty()) {
            if !entry.code.iter().any(|file| facts.cites(file, clause)) {
                wrong(format!("none of its files cites [{clause}]"));
            }
        }
    }
    problems
}

/// Tests that do not exist, or of which there are several.
fn tests_named(facts: &Facts, ledgers: &[Ledger]) -> Vec<String> {
    let mut problems = Vec::new();
    for (ledger, entry) in entries(ledgers) {
        for test in &entry.test {
            let (file, name) = match test.split_once("::") {
                Some((file, name)) => (Some(file), name),
                None => (None, test.as_str()),
            };
            let fits = |(f, n): &&(String, String)| n == name && file.is_none_or(|file| f == file);
            let files: Vec<_> = facts.tests.iter().filter(fits).map(|(file, _)| file.as_str()).collect();
            let what = match files[..] {
                [_] => continue,
                [] => format!("there is no test {test}"),
                _ => format!("{test} is in {}: write file::name", files.join(", ")),
            };
            problems.push(format!("{}: {what}", entry.name(ledger)));
        }
    }
    problems
}

/// Marks in the code that the ledger does not describe.
fn marks_of_the_code(facts: &Facts, ledgers: &[Ledger]) -> Vec<String> {
    let known: BTreeSet<_> =
        ledgers.iter().flat_map(|ledger| &ledger.unsure).map(|unsure| &unsure.mark).collect();
    let missing = facts.marks.iter().filter(|mark| !known.contains(&mark.what));
    missing.map(|Found { what, file, line }| format!("{file}:{line}: {what} is not in the ledger")).collect()
}

/// Marks in the ledger that nothing bears.
fn marks_of_the_ledger(facts: &Facts, ledgers: &[Ledger]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    let is = |certainty: &Certainty, mark: &str| matches!(certainty, Certainty::Unsure(m) if m == mark);
    for (ledger, unsure) in ledgers.iter().flat_map(|l| l.unsure.iter().map(move |u| (l, u))) {
        let mark = unsure.mark.as_str();
        let mut wrong = |what: String| problems.push(format!("{} {mark}: {what}", ledger.file));
        if !known.insert(mark) {
            wrong("is described twice".into());
        }
        if unsure.says.trim().is_empty() || unsure.says.contains('\n') {
            wrong("what it says is not one line".into());
        }
        if unsure.code.is_empty() {
            wrong("names no file".into());
        }
        for file in &unsure.code {
            if !facts.marks.iter().any(|found| found.file == *file && found.what == mark) {
                wrong(format!("{file} does not bear it"));
            }
        }
        if !entries(ledgers).any(|(_, entry)| entry.certainty.iter().any(|c| is(c, mark))) {
            wrong("no entry depends on it".into());
        }
    }
    for (ledger, entry) in entries(ledgers) {
        for certainty in &entry.certainty {
            if let Certainty::Unsure(mark) = certainty
                && !known.contains(mark.as_str())
            {
                problems.push(format!("{}: {mark} is not described", entry.name(ledger)));
            }
        }
    }
    problems
}

fn entries(ledgers: &[Ledger]) -> impl Iterator<Item = (&Ledger, &Entry)> {
    ledgers.iter().flat_map(|ledger| ledger.entry.iter().map(move |entry| (ledger, entry)))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
