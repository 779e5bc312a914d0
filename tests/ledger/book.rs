//! The ledger as it is written: TOML files of entries and of what is not certain.

use serde::Deserialize;

use crate::cite::{Clause, is_mark};

/// One file of the ledger.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    #[serde(skip)]
    pub(crate) file: String,
    /// What the table calls it.
    pub(crate) protocol: String,
    #[serde(default)]
    pub(crate) entry: Vec<Entry>,
    #[serde(default)]
    pub(crate) unsure: Vec<Unsure>,
}

/// What one or more clauses ask for, and what became of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) clause: Clauses,
    /// The rule in a line of our own words.
    pub(crate) says: String,
    /// Where we have it from; at least one.
    pub(crate) certainty: Vec<Certainty>,
    /// Files that implement it, below the project's root.
    #[serde(default)]
    pub(crate) code: Vec<String>,
    /// Tests that show it: a function's name if there is only one, else `file::name`.
    #[serde(default)]
    pub(crate) test: Vec<String>,
    /// Why there is no test, which mostly is: why it is not implemented.
    pub(crate) exception: Option<String>,
}

/// Something nobody could confirm, and what evbd does meanwhile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unsure {
    pub(crate) mark: String,
    pub(crate) says: String,
    /// Files that bear the mark where it is decided.
    pub(crate) code: Vec<String>,
}

/// One or more clauses, written as in a citation without its brackets.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Clauses(pub(crate) Vec<Clause>);

/// How well a rule is known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Certainty {
    /// Known, as one of the words says that only readers need.
    Known,
    /// Not known: the mark says what is not.
    Unsure(String),
}

/// The words of [`Certainty::Known`], surest first.
///
/// A MIB or YANG module of the standard or an RFC says so; two or more independent implementations agree; one
/// implementation or vendor does it; it follows from other rules; it is remembered from the standard.
const KNOWN: [&str; 5] = ["normative-derived", "sources agree", "one source", "derived", "memory"];

impl Ledger {
    /// Reads the file called `file`.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, String> {
        let ledger: Self = toml::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        Ok(Self { file: file.to_owned(), ..ledger })
    }
}

impl Entry {
    /// The entry in messages.
    pub(crate) fn name(&self, ledger: &Ledger) -> String {
        let clauses: Vec<_> = self.clause.0.iter().map(ToString::to_string).collect();
        format!("{} [{}] {:?}", ledger.file, clauses.join(", "), self.says)
    }
}

impl TryFrom<String> for Clauses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match Clause::list(&text)? {
            (clauses, words) if words.is_empty() => Ok(Self(clauses)),
            (_, words) => Err(format!("{text}: {words:?} are no clauses")),
        }
    }
}

impl TryFrom<String> for Certainty {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text {
            text if KNOWN.contains(&text.as_str()) => Ok(Self::Known),
            mark if is_mark(&mark) => Ok(Self::Unsure(mark)),
            text => Err(format!("{text:?} is neither a mark nor one of {KNOWN:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_as_written() {
        let text = "protocol = 'X'\n[[entry]]\nclause = 'Q 40, D.2.8 to D.2.9'\nsays = 's'\n\
                    certainty = ['memory', 'UNSURE-3']\nexception = 'e'";
        let ledger = Ledger::parse("x.toml", text).unwrap();
        assert_eq!(ledger.entry[0].name(&ledger), "x.toml [Q 40, Q D.2.8, Q D.2.9] \"s\"");
        let certainty = [Certainty::Known, Certainty::Unsure("UNSURE-3".into())];
        assert_eq!(ledger.entry[0].certainty, certainty);
    }

    #[test]
    fn mistakes_are_named() {
        let entry = |clause: &str, certainty: &str, more: &str| {
            let text = format!(
                "protocol = 'X'\n[[entry]]\nclause = '{clause}'\nsays = 's'\ncertainty = ['{certainty}']\n{more}"
            );
            Ledger::parse("x.toml", &text).map(|_| ()).unwrap_err()
        };
        for (error, part) in [
            (entry("Q 4.", "memory", ""), "x.toml: TOML parse error at line 3"),
            (entry("Q 4.", "memory", ""), "\"4.\" is no clause"),
            (entry("Q 41, exceptZero", "memory", ""), "[\"exceptZero\"] are no clauses"),
            (entry("Q 41", "sure", ""), "\"sure\" is neither a mark nor one of"),
            (entry("Q 41", "UNSURE", ""), "\"UNSURE\" is neither"),
            (entry("Q 41", "memory", "tests = []"), "unknown field `tests`"),
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
