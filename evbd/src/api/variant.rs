//! Rows between JSON, which the views serialize to, and D-Bus dictionaries.

use std::collections::HashMap;

use serde_json::{Map, Value};
use zbus::{OwnedVariant, Variant};

/// A row on the bus.
pub(super) type Dict = HashMap<String, OwnedVariant>;

/// A JSON object as a dictionary; anything else becomes a dictionary with the one field `value`.
pub(super) fn to_dict(row: Value) -> Dict {
    let fields = match row {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, OwnedVariant::try_from(to_variant(value)?).ok()?)))
        .collect()
}

/// A dictionary as a JSON object.
pub(super) fn from_dict(row: Dict) -> Value {
    row.into_iter().map(|(name, value)| (name, from_variant(&value))).collect::<Map<_, _>>().into()
}

/// `None` for JSON null: D-Bus has no such value.
pub(super) fn to_variant(value: Value) -> Option<Variant<'static>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => b.into(),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(u), _) => u.into(),
            (None, Some(i)) => i.into(),
            (None, None) => n.as_f64()?.into(),
        },
        Value::String(s) => s.into(),
        Value::Array(items) => items.into_iter().filter_map(to_variant).collect::<Vec<_>>().into(),
        Value::Object(fields) => fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, to_variant(value)?)))
            .collect::<HashMap<_, _>>()
            .into(),
    })
}

fn from_variant(value: &Variant<'_>) -> Value {
    match value {
        Variant::U8(n) => (*n).into(),
        Variant::U16(n) => (*n).into(),
        Variant::U32(n) => (*n).into(),
        Variant::U64(n) => (*n).into(),
        Variant::I16(n) => (*n).into(),
        Variant::I32(n) => (*n).into(),
        Variant::I64(n) => (*n).into(),
        Variant::F64(n) => (*n).into(),
        Variant::Bool(b) => (*b).into(),
        Variant::Str(s) => s.as_str().into(),
        Variant::ObjectPath(p) => p.as_str().into(),
        Variant::Signature(s) => s.to_string().into(),
        Variant::Variant(inner) => from_variant(inner),
        Variant::Array(items) => items.iter().map(from_variant).collect::<Vec<_>>().into(),
        Variant::Dict(fields) => fields
            .iter()
            .map(|(name, value)| {
                let name = match from_variant(name) {
                    Value::String(name) => name,
                    other => other.to_string(),
                };
                (name, from_variant(value))
            })
            .collect::<Map<_, _>>()
            .into(),
        Variant::Structure(fields) => fields.fields().iter().map(from_variant).collect::<Vec<_>>().into(),
        Variant::Fd(_) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_survive_the_bus() {
        let row = json!({
            "port": "eth0", "up": true, "mtu": 1500, "offset": -3, "share": 0.5,
            "vlans": [100, 200], "drops": {"gate_shut": 4}, "none": [],
        });
        assert_eq!(from_dict(to_dict(row.clone())), row);
    }

    #[test]
    fn null_is_left_out() {
        assert_eq!(from_dict(to_dict(json!({"vlan": null, "a": 1}))), json!({"a": 1}));
        assert_eq!(from_dict(to_dict(json!("text"))), json!({"value": "text"}));
    }
}
