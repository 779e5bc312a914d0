//! Fields of a TLV by bits: where they stand is data of the code book.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a field stands in the value of a TLV, or in an item of it. Written `[at, width]` or `[at, width, count]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "(u16, u8, u8)")]
pub(crate) struct Field {
    /// Its first bit; 0 is the highest of the first octet.
    pub(crate) at: u16,
    /// Bits it takes, 1..=64.
    pub(crate) width: u8,
    /// How many stand one behind the other, at least one.
    pub(crate) count: u8,
}

/// Where the fields of a TLV stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// The TLV's type, 1..=127.
    pub(crate) code: u8,
    /// Octets of its value, or of each item if it is a list.
    pub(crate) length: u16,
    /// Its fields by name.
    pub(crate) fields: BTreeMap<String, Field>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Many(u16, u8, u8),
    One(u16, u8),
}

impl From<Written> for Field {
    fn from(written: Written) -> Self {
        match written {
            Written::One(at, width) => Self { at, width, count: 1 },
            Written::Many(at, width, count) => Self { at, width, count },
        }
    }
}

impl From<Field> for (u16, u8, u8) {
    fn from(field: Field) -> Self {
        (field.at, field.width, field.count)
    }
}

impl Field {
    /// The bits of all of them.
    pub(crate) fn bits(self) -> core::ops::Range<usize> {
        let start = usize::from(self.at);
        start..start + usize::from(self.width) * usize::from(self.count)
    }
}

/// Reads fields of one value.
pub(crate) struct Reader<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) octets: &'a [u8],
}

impl Reader<'_> {
    /// The field `name`; a field the layout has not is 0.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.nth(name, 0)
    }

    pub(crate) fn nth(&self, name: &str, index: u8) -> u64 {
        let Some(field) = self.layout.fields.get(name).filter(|field| index < field.count) else { return 0 };
        let start = usize::from(field.at) + usize::from(field.width) * usize::from(index);
        (start..start + usize::from(field.width)).fold(0, |value, bit| {
            let octet = self.octets.get(bit / 8).copied().unwrap_or(0);
            value << 1 | u64::from(octet >> (7 - bit % 8) & 1)
        })
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name) != 0
    }

    pub(crate) fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.get(name)).unwrap_or(u32::MAX)
    }

    pub(crate) fn u16(&self, name: &str) -> u16 {
        u16::try_from(self.get(name)).unwrap_or(u16::MAX)
    }

    pub(crate) fn u8(&self, name: &str) -> u8 {
        u8::try_from(self.get(name)).unwrap_or(u8::MAX)
    }
}

/// Writes fields of one value; what no field covers is 0.
pub(crate) struct Writer<'a> {
    layout: &'a Layout,
    pub(crate) octets: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        Self { layout, octets: vec![0; usize::from(layout.length)] }
    }

    /// Sets the field `name` to the low bits of `value`.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<u64>) -> &mut Self {
        self.put_nth(name, 0, value)
    }

    pub(crate) fn put_nth(&mut self, name: &str, index: u8, value: impl Into<u64>) -> &mut Self {
        let Some(field) = self.layout.fields.get(name).filter(|field| index < field.count) else {
            return self;
        };
        let (width, value) = (usize::from(field.width), value.into());
        let start = usize::from(field.at) + width * usize::from(index);
        for place in 0..width {
            let bit = start + place;
            let set = value >> (width - 1 - place) & 1 == 1;
            if let Some(octet) = self.octets.get_mut(bit / 8) {
                let mask = 0x80 >> (bit % 8);
                *octet = if set { *octet | mask } else { *octet & !mask };
            }
        }
        self
    }
}
