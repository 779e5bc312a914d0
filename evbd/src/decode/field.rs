//! What stands in a PDU, as a tree in the order of the wire: printed with indentation or as JSON.

use std::fmt::{self, Write};

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeSeq},
};

/// A named field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in snake case.
    pub name: &'static str,
    /// What stands in it.
    pub value: Value,
}

/// What stands in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A bit.
    Flag(bool),
    /// Anything that reads best as text.
    Text(String),
    /// Parts.
    Fields(Fields),
    /// Several of a kind.
    List(Vec<Fields>),
}

/// Fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<Field>);

impl Fields {
    pub(crate) fn number(&mut self, name: &'static str, number: impl Into<u64>) {
        self.push(name, Value::Number(number.into()));
    }

    /// A number of octets or a place among them.
    pub(crate) fn size(&mut self, name: &'static str, size: usize) {
        self.number(name, u64::try_from(size).unwrap_or(u64::MAX));
    }

    pub(crate) fn flag(&mut self, name: &'static str, flag: bool) {
        self.push(name, Value::Flag(flag));
    }

    pub(crate) fn text(&mut self, name: &'static str, text: impl fmt::Display) {
        self.push(name, Value::Text(text.to_string()));
    }

    pub(crate) fn push(&mut self, name: &'static str, value: Value) {
        self.0.push(Field { name, value });
    }

    /// The fields one below another, each line led by `indent` spaces.
    #[must_use]
    pub fn indented(&self, indent: usize) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, indent);
        text
    }

    fn write(&self, out: &mut String, indent: usize) -> fmt::Result {
        for Field { name, value } in &self.0 {
            write!(out, "{:indent$}{name}:", "")?;
            match value {
                Value::Fields(fields) if fields.is_flat() => writeln!(out, " {}", fields.inline())?,
                Value::Fields(fields) => {
                    out.push('\n');
                    fields.write(out, indent + STEP)?;
                }
                Value::List(items) => {
                    out.push('\n');
                    for item in items {
                        item.write_item(out, indent + STEP)?;
                    }
                }
                scalar => writeln!(out, " {scalar}")?,
            }
        }
        Ok(())
    }

    /// An item of a list: what is flat on one line, then what is not.
    fn write_item(&self, out: &mut String, indent: usize) -> fmt::Result {
        let (flat, deep): (Vec<Field>, Vec<Field>) =
            self.0.iter().cloned().partition(|field| field.value.is_scalar());
        writeln!(out, "{:indent$}- {}", "", Self(flat).inline())?;
        Self(deep).write(out, indent + STEP)
    }

    fn is_flat(&self) -> bool {
        self.0.iter().all(|field| field.value.is_scalar())
    }

    fn inline(&self) -> String {
        let words = self.0.iter().map(|field| format!("{} {}", field.name, field.value));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, f),
            Self::Flag(flag) => f.write_str(if *flag { "yes" } else { "no" }),
            Self::Text(text) => f.write_str(text),
            Self::Fields(fields) => f.write_str(&fields.inline()),
            Self::List(items) => {
                f.write_str(&items.iter().map(Fields::inline).collect::<Vec<_>>().join("; "))
            }
        }
    }
}

impl Value {
    const fn is_scalar(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Flag(_) | Self::Text(_))
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for Field { name, value } in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Fields(fields) => fields.serialize(serializer),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
        }
    }
}

/// Octets as hexadecimal digits.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Spaces a level is set in by.
const STEP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_and_as_json_in_the_order_of_the_wire() {
        let (mut one, mut two, mut all) = (Fields::default(), Fields::default(), Fields::default());
        one.number("zebra", 1_u8);
        one.flag("ant", true);
        two.text("zebra", "x");
        two.push("deep", Value::Fields(one.clone()));
        all.text("first", "b");
        all.push("list", Value::List(vec![one, two]));
        assert_eq!(
            all.indented(4),
            "    first: b\n    list:\n      - zebra 1, ant yes\n      - zebra x\n        deep: zebra 1, ant yes\n"
        );
        let json =
            r#"{"first":"b","list":[{"zebra":1,"ant":true},{"zebra":"x","deep":{"zebra":1,"ant":true}}]}"#;
        assert_eq!(serde_json::to_string(&all).unwrap(), json);
    }
}
