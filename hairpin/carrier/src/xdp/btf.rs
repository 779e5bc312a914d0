//! The kernel's own functions that a program may call, by name: their numbers stand in the kernel's BTF.
//!
//! Layout as in the kernel's `Documentation/bpf/btf.rst`, in host byte order.

use std::{fs, io};

/// The number of the function `name`.
///
/// # Errors
/// The kernel has no BTF (`CONFIG_DEBUG_INFO_BTF`), or no such function.
pub(super) fn function(name: &str) -> io::Result<i32> {
    let btf = fs::read("/sys/kernel/btf/vmlinux")?;
    find(&btf, name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no function {name}")))
}

fn find(btf: &[u8], name: &str) -> Option<i32> {
    let head = |word: usize| number(btf, 4 + 4 * word);
    let section = |at, len| {
        let start = head(0)?.checked_add(at)?;
        btf.get(start..start.checked_add(len)?)
    };
    let mut types = section(head(1)?, head(2)?)?;
    let strings = section(head(3)?, head(4)?)?;
    for id in 1.. {
        let (name_at, info) = (number(types, 0)?, number(types, 4)?);
        let (kind, members) = (info >> 24 & 0x1f, info & 0xffff);
        let found = kind == FUNCTION
            && strings
                .get(name_at..)?
                .strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.starts_with(&[0]));
        if found {
            return Some(id);
        }
        types = types.get(HEADER + follows(kind, members)?..)?;
    }
    None
}

/// Octets behind the header of a type; `None` of a kind there is not.
fn follows(kind: usize, members: usize) -> Option<usize> {
    match kind {
        // Pointers and names of other types.
        2 | 7..=12 | 16 | 18 => Some(0),
        // An integer, a variable, a tag of a declaration.
        1 | 14 | 17 => Some(4),
        // An array.
        3 => Some(12),
        // Structs, unions, sections, enums of 64 bits.
        4 | 5 | 15 | 19 => Some(12 * members),
        // Enums, parameters.
        6 | 13 => Some(8 * members),
        _ => None,
    }
}

fn number(octets: &[u8], at: usize) -> Option<usize> {
    let word = octets.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*word)).ok()
}

const HEADER: usize = 12;
const FUNCTION: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    /// A BTF of one integer, one struct of two members and one function.
    fn sample() -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        let types = words(&[
            // int: name, info, size, encoding
            1,
            1 << 24,
            4,
            32,
            // struct of two members, each name, type, offset
            1,
            4 << 24 | 2,
            8,
            1,
            1,
            0,
            1,
            1,
            32,
            // function: name, info, type
            5,
            12 << 24,
            1,
        ]);
        let strings = b"\0int\0wanted\0";
        let len = |octets: &[u8]| u32::try_from(octets.len()).unwrap();
        let mut btf = vec![0x9f, 0xeb, 1, 0];
        btf.extend(words(&[24, 0, len(&types), len(&types), len(strings)]));
        btf.extend(types);
        btf.extend(strings);
        btf
    }

    #[test]
    fn counts_types_up_to_the_function() {
        assert_eq!(find(&sample(), "wanted"), Some(3));
        assert_eq!(find(&sample(), "want"), None);
        assert_eq!(find(&sample(), "int"), None, "a name, but not a function's");
    }

    #[test]
    fn cut_short_it_finds_nothing() {
        let whole = sample();
        for len in 0..whole.len() {
            assert_eq!(find(&whole[..len], "wanted"), None, "{len}");
        }
    }
}
