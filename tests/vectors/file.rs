//! Vector files: a label that ends in `(N octets)`, then a line of hexadecimal octets. `#` starts a comment.

use std::collections::BTreeMap;

/// The vectors of a file that nobody has checked yet.
pub struct Unchecked {
    file: &'static str,
    rest: BTreeMap<&'static str, Vec<u8>>,
}

impl Unchecked {
    /// All vectors of `text`, which is the content of `file`.
    pub fn read(file: &'static str, text: &'static str) -> Self {
        let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut rest = BTreeMap::new();
        while let (Some(label), hex) = (lines.next(), lines.next()) {
            let octets = octets(hex.unwrap_or_else(|| panic!("{file}: {label}: no octets")));
            assert!(label.ends_with(&format!("({} octets)", octets.len())), "{file}: {label}: not as many");
            assert!(rest.insert(label, octets).is_none(), "{file}: {label}: stands twice");
        }
        Self { file, rest }
    }

    /// The octets of the one vector whose label starts with the words of `name`; it counts as checked.
    pub fn take(&mut self, name: &str) -> Vec<u8> {
        let starts = |label: &&str| label.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        let labels: Vec<_> = self.rest.keys().copied().filter(starts).collect();
        assert_eq!(labels.len(), 1, "{}: vectors left with the name {name}: {labels:?}", self.file);
        self.rest.remove(labels[0]).unwrap()
    }

    /// (label, octets) of all that are left.
    pub fn into_rest(self) -> BTreeMap<&'static str, Vec<u8>> {
        self.rest
    }
}

/// The octets of hexadecimal text, spaces allowed.
pub fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).expect(hex).try_into().unwrap()).collect();
    assert_eq!(digits.len() % 2, 0, "{hex}: half an octet");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
