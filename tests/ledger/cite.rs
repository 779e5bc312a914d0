//! What the sources say of the standards: citations of clauses, and marks of what is not certain.

use std::fmt;

/// A Rust file: its path below the project's root, and its text.
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// A clause of a standard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Clause {
    pub(crate) standard: Standard,
    /// At least one.
    parts: Vec<Part>,
}

/// A standard, by its letters in a citation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standard {
    /// IEEE 802.1AB.
    AB,
    /// IEEE 802.1BR.
    BR,
    /// IEEE 802.1Q.
    Q,
}

/// Numbers before letters, as annexes come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u16),
    Annex(char),
}

/// A clause named in a comment, or a mark; `line` from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<T> {
    pub(crate) what: T,
    pub(crate) file: String,
    pub(crate) line: usize,
}

impl Standard {
    pub(crate) const ALL: [Self; 3] = [Self::AB, Self::BR, Self::Q];
}

impl Clause {
    /// Reads `Q 41.2.9`, `Q 40, D.2.12`, `AB 8.5.5 to 8.5.7`. A citation may also name variables (`Q 41.5.6, exceptZero`),
    /// which come second.
    pub(crate) fn list(text: &str) -> Result<(Vec<Self>, Vec<String>), String> {
        let known = |(name, rest)| Standard::ALL.into_iter().find(|s| s.to_string() == name).zip(Some(rest));
        let (standard, items) =
            text.split_once(' ').and_then(known).ok_or(format!("{text}: which standard?"))?;
        let (mut clauses, mut words) = (Vec::new(), Vec::new());
        for item in items.split(", ") {
            let parsed = match item.split_once(" to ") {
                Some((first, last)) => Self::range(standard, first, last),
                None => Self::one(standard, item).map(|clause| vec![clause]),
            };
            match parsed {
                Some(found) => clauses.extend(found),
                None if item.starts_with(|c: char| c.is_ascii_alphabetic()) && !item.contains(" to ") => {
                    words.push(item.to_owned());
                }
                None => return Err(format!("{text}: {item:?} is no clause")),
            }
        }
        if clauses.is_empty() { Err(format!("{text}: no clause")) } else { Ok((clauses, words)) }
    }

    /// The number alone.
    pub(crate) fn number(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Number(n) => n.to_string(),
            Part::Annex(letter) => letter.to_string(),
        });
        parts.collect::<Vec<_>>().join(".")
    }

    fn one(standard: Standard, text: &str) -> Option<Self> {
        let part = |(place, part): (usize, &str)| match part.as_bytes() {
            [letter @ b'A'..=b'Z'] if place == 0 => Some(Part::Annex(char::from(*letter))),
            [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => {
                part.parse().ok().map(Part::Number)
            }
            _ => None,
        };
        let parts = text.split('.').enumerate().map(part).collect::<Option<_>>()?;
        Some(Self { standard, parts })
    }

    /// Both ends and what is between them; they differ in their last number only.
    fn range(standard: Standard, first: &str, last: &str) -> Option<Vec<Self>> {
        let (first, last) = (Self::one(standard, first)?, Self::one(standard, last)?);
        let ((Part::Number(from), above), (Part::Number(to), same)) =
            (first.parts.split_last()?, last.parts.split_last()?)
        else {
            return None;
        };
        let clause = |n| Self { standard, parts: [above, &[Part::Number(n)]].concat() };
        (above == same && from < to).then(|| (*from..=*to).map(clause).collect())
    }
}

/// The clauses the comments of `source` cite, and what is no proper citation.
pub(crate) fn citations(source: &Source) -> (Vec<Found<Clause>>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (line, comment) in comments(source) {
        let starts = comment.match_indices('[').map(|(at, _)| &comment[at + 1..]);
        let ours = |rest: &&str| Standard::ALL.iter().any(|s| rest.starts_with(&format!("{s} ")));
        for rest in starts.filter(ours) {
            let cited = rest.split_once(']').ok_or(format!("[{rest}: the citation ends on another line"));
            match cited.and_then(|(inside, _)| Clause::list(inside)) {
                Ok((clauses, _)) => found.extend(clauses.into_iter().map(|what| place(source, line, what))),
                Err(problem) => problems.push(format!("{}:{line}: {problem}", source.file)),
            }
        }
    }
    (found, problems)
}

/// The marks `UNSURE-n` in the comments of `source`, and those without a number.
pub(crate) fn marks(source: &Source) -> (Vec<Found<String>>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (line, comment) in comments(source) {
        for (at, _) in comment.match_indices("UNSURE") {
            let rest = &comment[at..];
            let end = rest.find(|c: char| c != '-' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            match &rest[..end] {
                mark if is_mark(mark) => found.push(place(source, line, mark.to_owned())),
                other => problems.push(format!("{}:{line}: {other:?} is no mark", source.file)),
            }
        }
    }
    (found, problems)
}

/// Whether `text` is `UNSURE-` and a number, which a letter may precede.
pub(crate) fn is_mark(text: &str) -> bool {
    text.strip_prefix("UNSURE-").is_some_and(|n| {
        let digits = n.strip_prefix(|c: char| c.is_ascii_uppercase()).unwrap_or(n);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

/// (file, function) of everything in `source` that runs as a test; an ignored one does not.
pub(crate) fn tests(source: &Source) -> Vec<(String, String)> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in source.text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            is_test = false;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
            let name = rest.split(['(', '<']).next().unwrap_or(rest);
            if std::mem::take(&mut is_test) {
                found.push((source.file.clone(), name.to_owned()));
            }
        }
    }
    found
}

/// What stands behind `//` in each line that has it.
fn comments(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let numbered = source.text.lines().enumerate();
    numbered.filter_map(|(i, line)| line.split_once("//").map(|(_, comment)| (i + 1, comment)))
}

fn place<T>(source: &Source, line: usize, what: T) -> Found<T> {
    Found { what, file: source.file.clone(), line }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AB => "AB",
            Self::BR => "BR",
            Self::Q => "Q",
        })
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.standard, self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { file: "a.rs".into(), text: text.into() }
    }

    fn shown(text: &str) -> String {
        match Clause::list(text) {
            Ok((clauses, words)) => {
                let clauses = clauses.iter().map(ToString::to_string);
                clauses.chain(words).collect::<Vec<_>>().join("; ")
            }
            Err(problem) => format!("error: {problem}"),
        }
    }

    #[test]
    fn lists_ranges_and_words() {
        for (text, expected) in [
            ("Q 41.5.9", "Q 41.5.9"),
            ("BR 9", "BR 9"),
            ("Q 40, D.2.12", "Q 40; Q D.2.12"),
            ("Q D.2.8 to D.2.11", "Q D.2.8; Q D.2.9; Q D.2.10; Q D.2.11"),
            ("AB 8.2, 8.5.5 to 8.5.7", "AB 8.2; AB 8.5.5; AB 8.5.6; AB 8.5.7"),
            ("Q 43.4, BEGIN or not portEnabled", "Q 43.4; BEGIN or not portEnabled"),
            ("Q exceptZero", "error: Q exceptZero: no clause"),
            ("Q 41.2.", "error: Q 41.2.: \"41.2.\" is no clause"),
            ("Q 41.2,41.5", "error: Q 41.2,41.5: \"41.2,41.5\" is no clause"),
            ("Q 041", "error: Q 041: \"041\" is no clause"),
            ("Q 1.D", "error: Q 1.D: \"1.D\" is no clause"),
            ("Q 8.7 to 8.5", "error: Q 8.7 to 8.5: \"8.7 to 8.5\" is no clause"),
            ("Q 8.7 to 9.8", "error: Q 8.7 to 9.8: \"8.7 to 9.8\" is no clause"),
            ("Q D.2.8 to E", "error: Q D.2.8 to E: \"D.2.8 to E\" is no clause"),
            ("X 1", "error: X 1: which standard?"),
            ("41", "error: 41: which standard?"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let (mut clauses, _) = Clause::list("Q D.2, 41.10, 41.9, 41").unwrap();
        clauses.sort();
        assert_eq!(clauses.iter().map(Clause::number).collect::<Vec<_>>(), ["41", "41.9", "41.10", "D.2"]);
    }

    #[test]
    fn citations_stand_in_comments() {
        let (found, problems) = citations(&source(
            "//! The TLV [Q 41.2], [AB 8.2, 8.4] and [`Tlv`].\nlet x = y[Q 1]; // [q 2] [Q 3\n/// [Q 4.x]\nfn f() {}",
        ));
        let found: Vec<_> = found.iter().map(|f| format!("{}:{} {}", f.file, f.line, f.what)).collect();
        assert_eq!(found, ["a.rs:1 Q 41.2", "a.rs:1 AB 8.2", "a.rs:1 AB 8.4"]);
        assert_eq!(
            problems,
            ["a.rs:2: [Q 3: the citation ends on another line", "a.rs:3: Q 4.x: \"4.x\" is no clause"]
        );
    }

    #[test]
    fn marks_have_numbers() {
        let (found, problems) =
            marks(&source("// UNSURE-3: why (UNSURE-U7).\nlet unsure = \"UNSURE-4\";\n// UNSURE, UNSURE-x"));
        let found: Vec<_> = found.iter().map(|f| (f.line, f.what.as_str())).collect();
        assert_eq!(found, [(1, "UNSURE-3"), (1, "UNSURE-U7")]);
        assert_eq!(problems, ["a.rs:3: \"UNSURE\" is no mark", "a.rs:3: \"UNSURE-x\" is no mark"]);
    }

    #[test]
    fn only_what_runs_is_a_test() {
        let text = "fn helper() {}\n#[test]\nfn one() { let f = 1; }\nfn other() {}\n#[tokio::test(start_paused = true)]\n\
                    #[allow(x)]\n// not fn this\nasync fn two() {}\n#[test]\n#[ignore]\nfn three() {}\n    #[test]\n    \
                    fn four(n in 0..9) {}";
        let found: Vec<_> = tests(&source(text)).into_iter().map(|(_, name)| name).collect();
        assert_eq!(found, ["one", "two", "four"]);
    }
}
