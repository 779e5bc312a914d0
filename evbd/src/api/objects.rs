//! Objects with their properties, from rows of tables.

use std::collections::HashMap;

use serde_json::Value;
use zbus::{OwnedVariant, Variant};

use super::{
    paths::Place,
    schema::{Interface, Kind, Property, Tells},
    variant::{Dict, to_variant},
};

/// One object: the interfaces it has, each with the row its properties are read from.
pub(crate) struct Object {
    pub(crate) place: Place,
    pub(crate) interfaces: Vec<(&'static Interface, Value)>,
}

/// Which objects are asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    All,
    /// The ports, without what is on them.
    Ports,
    One(Place),
    /// The neighbours of a port.
    Neighbors(String),
    /// A VSI on whatever ports.
    Vsi(String),
}

impl Which {
    /// Whether an object of this place would be among the answers.
    pub(crate) fn has(&self, place: &Place) -> bool {
        match (self, place) {
            (Self::All, _) | (Self::Ports, Place::Port(_)) => true,
            (Self::One(one), place) => one == place,
            (Self::Neighbors(port), Place::Neighbor(on, _)) => port == on,
            (Self::Vsi(id), Place::Vsi(_, other)) => id == other,
            _ => false,
        }
    }
}

/// All properties of an interface, or those alone whose changes are told.
pub(crate) fn properties(interface: &Interface, row: &Value, told: bool) -> Dict {
    let wanted = |property: &&Property| !told || property.tells == Tells::Changes;
    let all = interface.properties.iter().filter(wanted);
    all.map(|property| (property.name.to_owned(), property_of(property, row))).collect()
}

/// One property; what the row does not have is empty, 0 or false.
pub(crate) fn property_of(property: &Property, row: &Value) -> OwnedVariant {
    let mut value = Some(row);
    for field in property.field.split('.').filter(|field| !field.is_empty()) {
        value = value.and_then(|value| value.get(field));
    }
    let number = || value.and_then(Value::as_u64).unwrap_or(0);
    let variant: Variant<'static> = match property.kind {
        Kind::Text => text(value).into(),
        Kind::Texts => {
            let items = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            items.iter().map(|item| text(Some(item))).collect::<Vec<_>>().into()
        }
        Kind::Flag => value.and_then(Value::as_bool).unwrap_or(false).into(),
        Kind::Number => u32::try_from(number()).unwrap_or(u32::MAX).into(),
        Kind::Count => number().into(),
        Kind::Table => match value.and_then(Value::as_object) {
            Some(fields) if !fields.is_empty() => to_variant(Value::Object(fields.clone())),
            _ => None,
        }
        .unwrap_or_else(|| HashMap::<String, Variant<'static>>::new().into()),
    };
    // Without file descriptors every variant can be owned.
    OwnedVariant::try_from(variant).unwrap_or_else(|_| OwnedVariant::from(false))
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::schema;

    #[test]
    fn every_property_has_the_type_it_says_whatever_the_row() {
        let strange = json!({ "port": 3, "mtu": "x", "drops": [1], "rx_frames": -1, "management": 7, "evb": null, "link": {"a": 1} });
        for row in [json!({}), json!(null), strange] {
            for interface in schema::ALL {
                for property in interface.properties {
                    let value = property_of(property, &row);
                    assert_eq!(
                        value.value_signature().to_string(),
                        property.kind.signature(),
                        "{}",
                        property.name
                    );
                }
            }
        }
    }

    #[test]
    fn fields_are_found_within_fields() {
        let row = json!({ "reflective_relay": { "state": "on", "words": "agreed" }, "neighbors": 1 });
        let properties = properties(&schema::EVB, &row, true);
        assert_eq!(
            properties.get("ReflectiveRelay"),
            Some(&OwnedVariant::try_from(Variant::from("on")).unwrap())
        );
        assert_eq!(properties.get("Neighbors"), Some(&OwnedVariant::from(1u32)));
        assert!(!properties.contains_key("Details"));
    }
}
