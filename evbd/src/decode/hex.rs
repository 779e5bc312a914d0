//! Frames written in hexadecimal, the way people paste them.

/// Why a line is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// A character is no hexadecimal digit and separates none.
    #[error("line {line}, column {column}: {found:?} is no hexadecimal digit")]
    Digit {
        /// The line, from 1.
        line: usize,
        /// The character, from 1.
        column: usize,
        /// It.
        found: char,
    },
    /// Half an octet is left over.
    #[error("line {line}: an odd number of hexadecimal digits")]
    Odd {
        /// The line, from 1.
        line: usize,
    },
}

/// The frames in `text`, one a line. Spaces, tabs, `:`, `-`, `.`, `,` and a leading `0x` separate digits; empty lines
/// and those that start with `#` are left out. A line that starts with an offset, as those of `tcpdump -xx` do
/// (`0x0010:`), goes on with the frame of the line before unless the offset is 0.
pub fn frames(text: &str) -> impl Iterator<Item = Result<Vec<u8>, HexError>> {
    let mut lines = text.lines().zip(1..).filter(|(line, _)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let mut ahead = lines.next();
    std::iter::from_fn(move || {
        let (line, number) = ahead.take()?;
        let mut frame = octets(line, number);
        loop {
            ahead = lines.next();
            match ahead {
                Some((more, number)) if offset(more).is_some_and(|offset| offset > 0) => {
                    let more = octets(more, number);
                    frame = frame.and_then(|frame| Ok([frame, more?].concat()));
                }
                _ => return Some(frame),
            }
        }
    })
}

/// The offset a line of a dump starts with.
fn offset(line: &str) -> Option<u64> {
    let (offset, _) = line.trim_start().strip_prefix("0x")?.split_once(':')?;
    u64::from_str_radix(offset, 16).ok().filter(|_| offset.len() >= 4)
}

fn octets(line: &str, number: usize) -> Result<Vec<u8>, HexError> {
    let start = match offset(line) {
        Some(_) => line.find(':').map_or(0, |colon| colon + 1),
        None => 0,
    };
    let digits = line.get(start..).unwrap_or(line);
    let before = line.chars().count() - digits.chars().count();
    let (mut frame, mut half, mut last) = (Vec::new(), None, ' ');
    for (found, column) in digits.chars().zip(before + 1..) {
        match (found, found.to_digit(16).and_then(|digit| u8::try_from(digit).ok())) {
            (_, Some(digit)) => match half.take() {
                Some(high) => frame.push(high << 4 | digit),
                None => half = Some(digit),
            },
            // What was taken for half an octet was the start of a prefix.
            ('x' | 'X', None) if last == '0' && half == Some(0) => half = None,
            (' ' | '\t' | ':' | '-' | '.' | ',' | '\r', None) => {}
            (found, None) => return Err(HexError::Digit { line: number, column, found }),
        }
        last = found;
    }
    if half.is_some() { Err(HexError::Odd { line: number }) } else { Ok(frame) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> Vec<Result<Vec<u8>, HexError>> {
        frames(text).collect()
    }

    #[test]
    fn the_ways_people_paste() {
        for text in
            ["0180c2ff", "01 80 c2 ff", "01:80:C2:FF", "0180.c2ff", "0x01, 0x80, 0xc2, 0xff", "0x0180c2ff"]
        {
            assert_eq!(all(text), [Ok(vec![1, 0x80, 0xc2, 0xff])], "{text}");
        }
        assert_eq!(all("# two\n01 02\n\n  03\r\n"), [Ok(vec![1, 2]), Ok(vec![3])]);
        let dump = "\t0x0000:  0180 c200\n\t0x0010:  88cc\n\t0x0000:  ff";
        assert_eq!(all(dump), [Ok(vec![1, 0x80, 0xc2, 0, 0x88, 0xcc]), Ok(vec![0xff])]);
    }

    #[test]
    fn what_is_wrong_and_where() {
        assert_eq!(all("01\n0g"), [Ok(vec![1]), Err(HexError::Digit { line: 2, column: 2, found: 'g' })]);
        assert_eq!(all("012"), [Err(HexError::Odd { line: 1 })]);
        assert_eq!(all("0x0000: 1ä"), [Err(HexError::Digit { line: 1, column: 10, found: 'ä' })]);
        assert_eq!(all(""), []);
    }

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,80}|[0-9a-fx: \\n]{0,80}") {
            frames(&text).for_each(drop);
        }

        #[test]
        fn what_is_written_is_read(octets in proptest::collection::vec(any::<u8>(), 1..64)) {
            prop_assert_eq!(all(&super::super::digits(&octets)), [Ok(octets)]);
        }
    }
}
