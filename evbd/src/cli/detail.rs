//! `evbd show --detail`: a block for each row, with all there is.

use ether::{EtherType, MacAddr, frame};
use lldp::Scope;
use serde_json::Value;

use super::show::{cell, pick};
use crate::{
    api::Table,
    decode::{self, Decoded, Fields, decode, frames},
};

/// The rows of `table`, a block each.
pub(super) fn blocks(table: Table, rows: &[Value]) -> String {
    let block = |row| match table {
        Table::Neighbors => neighbor(row),
        Table::Evb
        | Table::Vsi
        | Table::Ports
        | Table::Dcbx
        | Table::Fdb
        | Table::Profiles
        | Table::Managers
        | Table::Drops
        | Table::Rates
        | Table::Channels
        | Table::Libvirt
        | Table::Extension
        | Table::Captures
        | Table::Guests
        | Table::Flows => plain(row),
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n")
}

/// Every field on a line of its own, those of the first two columns in front.
fn plain(row: &Value) -> String {
    let Some(fields) = row.as_object() else { return cell(row) + "\n" };
    let title: Vec<_> =
        ["port", "id", "mac", "feature"].iter().filter_map(|name| fields.get(*name)).map(cell).collect();
    let mut text = title.join(" ") + "\n";
    for (name, value) in fields {
        text += &format!("  {name}: {}\n", cell(value));
    }
    text
}

/// A neighbour: who, since when and how long still, every TLV in the order it was sent, and what is wrong with them.
fn neighbor(row: &Value) -> String {
    let is = |field: &str| cell(pick(row, field));
    let mut text = format!("{} {} {} port {}\n", is("port"), is("scope"), who(row), is("port_id"));
    text += &format!("  from {}\n", is("address"));
    text += &format!(
        "  ttl {} s, expires in {} s; known for {} s, heard {} s ago, changed {} s ago\n",
        is("ttl_s"),
        is("expires_in_s"),
        is("age_s"),
        is("heard_s"),
        is("changed_s"),
    );
    let Some(decoded) = decoded(row) else { return text + &plain(row) };
    for field in &decoded.fields.0 {
        if let decode::Value::List(tlvs) = &field.value {
            tlvs.iter().for_each(|fields| text += &tlv(fields));
        }
    }
    for fault in &decoded.faults {
        text += &format!("  fault in the {} at octet {}: {}\n", fault.layer, fault.offset, fault.reason);
    }
    text
}

fn who(row: &Value) -> String {
    match pick(row, "system_name") {
        Value::String(name) if !name.is_empty() => format!("{name} (chassis {})", cell(pick(row, "chassis"))),
        _ => format!("chassis {}", cell(pick(row, "chassis"))),
    }
}

/// The frame the neighbour sent last, read again.
fn decoded(row: &Value) -> Option<Decoded> {
    let lldpdu = frames(pick(row, "lldpdu").as_str()?).next()?.ok()?;
    let src: MacAddr = pick(row, "address").as_str()?.parse().ok()?;
    let scope: Scope = serde_json::from_value(pick(row, "scope").clone()).ok()?;
    Some(decode(&frame::build(scope.address(), src, EtherType::LLDP, &lldpdu)))
}

/// A TLV on one line: type, name, then what it says; where that has no words, its octets.
fn tlv(fields: &Fields) -> String {
    let (mut kind, mut name, mut said) = (String::new(), String::new(), Vec::new());
    for field in &fields.0 {
        match (field.name, &field.value) {
            ("offset" | "length" | "info", _) => {}
            ("type", value) => kind = value.to_string(),
            ("name", value) => name = value.to_string(),
            ("value", value) => said.insert(0, value.to_string()),
            ("subtype", value) => said.push(format!("({value})")),
            ("octets", value) => said.push(value.to_string()),
            (other, value) => said.push(format!("{other} {value}")),
        }
    }
    format!("  {kind:>3} {name:<19} {}", said.join(", ").replace(", (", " (")).trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_tlv_of_a_neighbour() {
        let row = json!({
            "port": "s0", "scope": "nearest_customer", "chassis": "02:00:00:00:00:01", "port_id": "eth0",
            "system_name": "tor", "address": "02:00:00:00:00:01", "ttl_s": 120, "expires_in_s": 100,
            "age_s": 20, "heard_s": 1, "changed_s": 20,
            "lldpdu": "020704020000000001 04050565746830 06020078 0a03746f72 fe090080c20d00076e9414 fe05010203ff77 \
                       1802abcd 0e0101 0000 00",
        });
        let text = blocks(Table::Neighbors, &[row]);
        for line in [
            "s0 nearest_customer tor (chassis 02:00:00:00:00:01) port eth0",
            "  from 02:00:00:00:00:01",
            "  ttl 120 s, expires in 100 s; known for 20 s, heard 1 s ago, changed 20 s ago",
            "    1 chassis_id          02:00:00:00:00:01 (mac_address)",
            "    3 time_to_live        seconds 120",
            "    5 system_name         tor",
            "   12 reserved            abcd",
            "    7 system_capabilities 01",
            "    0 end",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}:\n{text}");
        }
        assert!(text.contains("R 3 RTE 14") && text.contains("01-02-03/ff 77"), "{text}");
        assert!(text.contains("fault in the LLDP at octet ") && text.contains("they need 4"), "{text}");
    }

    #[test]
    fn other_rows_field_by_field() {
        let rows = [json!({"port": "s0", "mode": "auto"}), json!({"port": "s1", "mode": null})];
        let text = "s0\n  mode: auto\n  port: s0\n\ns1\n  mode: -\n  port: s1\n";
        assert_eq!(blocks(Table::Evb, &rows), text);
    }
}
