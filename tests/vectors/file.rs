//! Vector files: a label that ends in `(N octets)`, then a line of hexadecimal octets. `#` starts a comment.

use std::collections::BTreeMap;

/// The vectors of `text` by label.
pub(crate) fn read(text: &str) -> BTreeMap<&str, Vec<u8>> {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut vectors = BTreeMap::new();
    while let Some(label) = lines.next() {
        let octets = octets(lines.next().unwrap_or_else(|| panic!("{label}: no octets")));
        assert!(label.ends_with(&format!("({} octets)", octets.len())), "{label}: not as many");
        assert!(vectors.insert(label, octets).is_none(), "{label}: stands twice");
    }
    vectors
}

/// The octets of hexadecimal text, spaces allowed.
pub(crate) fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).expect(hex).try_into().unwrap()).collect();
    assert_eq!(digits.len() % 2, 0, "{hex}: half an octet");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
