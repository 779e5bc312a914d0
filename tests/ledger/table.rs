//! The ledger for the reader of README: what is covered, what is not, what is not certain.

use std::collections::BTreeSet;

use crate::{
    HERE,
    book::{Entry, Ledger},
    cite::{Clause, Standard},
};

/// The table and its footer.
pub(crate) fn render(ledgers: &[Ledger]) -> String {
    let mut text = String::from("| Protocol | Clauses covered | Tested | Exceptions |\n|---|---|---|---|\n");
    for ledger in ledgers {
        let (exceptions, tested): (Vec<&Entry>, Vec<&Entry>) =
            ledger.entry.iter().partition(|entry| entry.exception.is_some());
        text += &format!(
            "| [{}]({HERE}{}) | {} | {} of {} rules | {} |\n",
            ledger.protocol,
            ledger.file,
            clauses(&tested, &exceptions),
            tested.len(),
            ledger.entry.len(),
            match exceptions.len() {
                0 => "none".to_owned(),
                n => format!("{n}: {}", clauses(&exceptions, &[])),
            },
        );
    }
    let mut unsure: Vec<_> = ledgers.iter().flat_map(|ledger| &ledger.unsure).collect();
    unsure.sort_by_key(|unsure| order(&unsure.mark));
    if !unsure.is_empty() {
        text += "\nNot certain, with what evbd does meanwhile:\n\n";
    }
    for unsure in unsure {
        text += &format!("- `{}`: {}\n", unsure.mark, unsure.says);
    }
    text
}

/// `readme` with `table` between the marks; `None` if it has no marks.
pub(crate) fn replace(readme: &str, table: &str) -> Result<Option<String>, String> {
    match (readme.split_once(BEGIN), readme.split_once(END)) {
        (None, None) => Ok(None),
        (Some((before, rest)), Some(_)) => match rest.split_once(END) {
            Some((_, after)) => Ok(Some(format!("{before}{BEGIN}\n{table}{END}{after}"))),
            None => Err(format!("{END} stands before {BEGIN}")),
        },
        _ => Err(format!("only one of {BEGIN} and {END}")),
    }
}

/// The clauses of `entries`, each once and in order, each standard named once; those of `others` too in part only.
fn clauses(entries: &[&Entry], others: &[&Entry]) -> String {
    let all = |entries: &[&Entry]| -> BTreeSet<Clause> {
        entries.iter().flat_map(|entry| &entry.clause.0).cloned().collect()
    };
    let (here, there) = (all(entries), all(others));
    let number = |clause: &Clause| clause.number() + if there.contains(clause) { " (part)" } else { "" };
    let of = |standard: Standard| {
        let numbers: Vec<_> = here.iter().filter(|clause| clause.standard == standard).map(number).collect();
        (!numbers.is_empty()).then(|| format!("{standard} {}", numbers.join(", ")))
    };
    let texts: Vec<_> = Standard::ALL.into_iter().filter_map(of).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join("; ") }
}

/// By number; those with a letter last.
fn order(mark: &str) -> (&str, Option<u32>) {
    let digits = mark.find(|c: char| c.is_ascii_digit()).unwrap_or(mark.len());
    let (letters, number) = mark.split_at(digits);
    (letters, number.parse().ok())
}

const BEGIN: &str = "<!-- ledger -->";
const END: &str = "<!-- /ledger -->";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_for_each_protocol_and_the_marks_in_order() {
        let entry = |clause: &str, rest: &str| {
            format!("[[entry]]\nclause = '{clause}'\nsays = 's'\ncertainty = ['memory']\n{rest}\n")
        };
        let unsure =
            |mark: &str| format!("[[unsure]]\nmark = 'UNSURE-{mark}'\nsays = 'About {mark}.'\ncode = []\n");
        let one = [
            "protocol = 'VDP'\n",
            &entry("Q 41.10, D.2", "test = ['a']"),
            &entry("Q 41.9", "test = ['b']"),
            &entry("AB 8, 9.1", "test = ['b']"),
            &entry("Q 41.9", "exception = 'e'"),
            &unsure("U6"),
            &unsure("10"),
        ];
        let other = ["protocol = 'PE'\n", &entry("BR 9", "exception = 'e'"), &unsure("9")];
        let ledgers = [
            Ledger::parse("vdp.toml", &one.concat()).unwrap(),
            Ledger::parse("pe.toml", &other.concat()).unwrap(),
            Ledger::parse("x.toml", "protocol = 'X'").unwrap(),
        ];
        let expected = "\
| Protocol | Clauses covered | Tested | Exceptions |
|---|---|---|---|
| [VDP](tests/ledger/vdp.toml) | AB 8, 9.1; Q 41.9 (part), 41.10, D.2 | 3 of 4 rules | 1: Q 41.9 |
| [PE](tests/ledger/pe.toml) | none | 0 of 1 rules | 1: BR 9 |
| [X](tests/ledger/x.toml) | none | 0 of 0 rules | none |

Not certain, with what evbd does meanwhile:

- `UNSURE-9`: About 9.
- `UNSURE-10`: About 10.
- `UNSURE-U6`: About U6.
";
        assert_eq!(render(&ledgers), expected);
    }

    #[test]
    fn the_section_and_nothing_else() {
        let readme = |inside: &str| format!("# A\n<!-- ledger -->{inside}<!-- /ledger -->\nB\n");
        let wanted = readme("\n| new |\n");
        for old in ["", "\n", "\n| old |\n", "\n| new |\n"] {
            assert_eq!(replace(&readme(old), "| new |\n"), Ok(Some(wanted.clone())));
        }
        assert_eq!(replace("# A\n", "x"), Ok(None));
        let broken = |readme| replace(readme, "x").unwrap_err();
        assert_eq!(broken("<!-- ledger -->"), "only one of <!-- ledger --> and <!-- /ledger -->");
        assert_eq!(broken("<!-- /ledger -->"), "only one of <!-- ledger --> and <!-- /ledger -->");
        assert_eq!(
            broken("<!-- /ledger --> <!-- ledger -->"),
            "<!-- /ledger --> stands before <!-- ledger -->"
        );
    }
}
