//! TLVs of a neighbour as lldptool prints them.

use std::fmt::Write;

use anyhow::Context;
use serde_json::Value;
use vdp::evb::tlv::{EvbTlv, Mode};

use super::{Failure, Said, is};
use crate::api::{Client, Table};

/// Those of the first neighbour of an agent; of one kind, if `only` names it.
pub(super) async fn tlvs(
    client: &Client,
    port: &str,
    scope: &str,
    only: Option<&str>,
) -> anyhow::Result<Said> {
    let rows = client.show(Table::Neighbors).await?;
    let Some(row) = rows.iter().find(|row| is(row, "port", port) && is(row, "scope", scope)) else {
        return Ok(Err(Failure::Device));
    };
    let digits = row.get("lldpdu").and_then(Value::as_str).unwrap_or_default();
    Ok(Ok(print(&octets(digits).context("the daemon's LLDPDU")?, only)))
}

fn octets(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        digits.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    Some(digits?.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect())
}

fn print(mut pdu: &[u8], only: Option<&str>) -> String {
    let mut text = String::new();
    while let Some(([a, b], rest)) = pdu.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([a & 1, *b]));
        let Some((value, rest)) = rest.split_at_checked(length) else { break };
        if let Some((title, name, said)) = tlv(a >> 1, value)
            && only.is_none_or(|only| only.eq_ignore_ascii_case(name))
        {
            // A `String` takes everything.
            let _ = writeln!(text, "{title} TLV");
            for line in said.lines() {
                let _ = writeln!(text, "\t{line}");
            }
        }
        pdu = rest;
    }
    text
}

/// The title, lldptool's name and the lines of a TLV.
fn tlv(kind: u8, value: &[u8]) -> Option<(&'static str, &'static str, String)> {
    let string = || String::from_utf8_lossy(value).into_owned();
    Some(match kind {
        0 => ("End of LLDPDU", "end", String::new()),
        1 => ("Chassis ID", "chassisID", id(value, [4, 5, 6, 7])),
        2 => ("Port ID", "portID", id(value, [3, 4, 5, 7])),
        3 => ("Time to Live", "TTL", u16::from_be_bytes(*value.first_chunk()?).to_string()),
        4 => ("Port Description", "portDesc", string()),
        5 => ("System Name", "sysName", string()),
        6 => ("System Description", "sysDesc", string()),
        7 => ("System Capabilities", "sysCap", capabilities(value)?),
        8 => ("Management Address", "mngAddr", address(value)?),
        127 => match value {
            [0x00, 0x80, 0xc2, 0x0d, info @ ..] => ("EVB Configuration", "evb", evb(info)?),
            [a, b, c, subtype, ..] => {
                let said = format!("OUI: 0x{a:02x}{b:02x}{c:02x}, Subtype: {subtype}");
                ("Unidentified Org Specific", "unidentified", said)
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// An identifier; `subtypes` are the numbers of a MAC address, a network address, an interface name and a local one.
fn id(value: &[u8], subtypes: [u8; 4]) -> String {
    let Some((subtype, id)) = value.split_first() else { return String::new() };
    let text = String::from_utf8_lossy(id);
    match (subtypes.iter().position(|known| known == subtype), id) {
        (Some(0), id) => format!("MAC: {}", mac(id)),
        (Some(1), [1, a, b, c, d]) => format!("IPv4: {a}.{b}.{c}.{d}"),
        (Some(2), _) => format!("Ifname: {text}"),
        (Some(3), _) => format!("Local: {text}"),
        _ => format!("Other: {text}"),
    }
}

fn mac(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
}

fn capabilities(value: &[u8]) -> Option<String> {
    const NAMES: [&str; 8] = [
        "Other",
        "Repeater",
        "Bridge",
        "WLAN Access Point",
        "Router",
        "Telephone",
        "DOCSIS Cable Device",
        "Station Only",
    ];
    let [_, has, _, can] = *value.first_chunk::<4>()?;
    let words = |bits: u8| {
        let named = NAMES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
        named.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    Some(format!("System capabilities:  {}\nEnabled capabilities: {}", words(has), words(can)))
}

fn address(value: &[u8]) -> Option<String> {
    let (&length, rest) = value.split_first()?;
    let (address, rest) = rest.split_at_checked(usize::from(length))?;
    let said = match address {
        [1, a, b, c, d] => format!("IPv4: {a}.{b}.{c}.{d}"),
        [2, octets @ ..] => {
            let octets = <[u8; 16]>::try_from(octets).ok()?;
            format!("IPv6: {}", std::net::Ipv6Addr::from(octets))
        }
        [6, octets @ ..] => format!("MAC: {}", mac(octets)),
        [_, octets @ ..] => format!("Network Address Type: {}", mac(octets)),
        [] => return None,
    };
    match rest.split_first() {
        Some((2, number)) => Some(format!("{said}\nIfindex: {}", u32::from_be_bytes(*number.first_chunk()?))),
        _ => Some(said),
    }
}

fn evb(info: &[u8]) -> Option<String> {
    let tlv = EvbTlv::parse(info).ok()?;
    let (&bridge, &station) = (info.first()?, info.get(1)?);
    let words = |all: &[(bool, &'static str)]| {
        all.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect::<Vec<_>>().join(",")
    };
    let says =
        words(&[(tlv.bridge.group, "bgid"), (tlv.bridge.capable, "rrcap"), (tlv.bridge.control, "rrctr")]);
    let asks =
        words(&[(tlv.station.group, "sgid"), (tlv.station.request, "rrreq"), (station & 1 != 0, "rrstat")]);
    let mode = match tlv.mode {
        Mode::Bridge => "bridge",
        Mode::Station => "station",
        _ => "reserved",
    };
    Some(format!(
        "bridge:{says}(0x{bridge:x})\nstation:{asks}(0x{station:x})\nretries:{} rte:{}\nmode:{mode} r/l:{} rwd:{}\nr/l:{} rka:{}",
        tlv.retries.get(),
        tlv.rte.get(),
        u8::from(tlv.rwd_remote),
        tlv.rwd.get(),
        u8::from(tlv.rka_remote),
        tlv.rka.get()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_in_the_words_of_lldptool() {
        let pdu = "0207046a356b010113 0407036a356b010113 06020078 0a05 7377697431 100c 05 01 c0000201 02 00000003 00 \
                   fe0d 0080c20d 03 05 6e 94 14 14 00 0000";
        let digits: String = pdu.chars().filter(|c| !c.is_whitespace()).collect();
        // Nine octets of information, and the TLV's own length.
        let said = print(&octets(&digits).unwrap(), None);
        assert!(
            said.starts_with(
                "Chassis ID TLV\n\tMAC: 6a:35:6b:01:01:13\nPort ID TLV\n\tMAC: 6a:35:6b:01:01:13\n\
                 Time to Live TLV\n\t120\nSystem Name TLV\n\tswit1\nManagement Address TLV\n\tIPv4: 192.0.2.1\n\tIfindex: 3\n"
            ),
            "{said}"
        );
        let only = print(&octets(&digits).unwrap(), Some("sysName"));
        assert_eq!(only, "System Name TLV\n\tswit1\n");
        for end in 0..digits.len() / 2 {
            let _ = print(&octets(&digits[..2 * end]).unwrap(), None);
        }
    }

    #[test]
    fn an_evb_tlv_in_the_words_of_lldptool() {
        let tlv = EvbTlv::parse(&[0x03, 0x05, 0x6e, 0x54, 0x14, 0, 0, 0, 0]).map(|tlv| tlv.to_bytes());
        let said = tlv.ok().and_then(|info| evb(&info)).unwrap();
        assert!(
            said.starts_with("bridge:rrcap,rrctr(0x3)\nstation:rrreq,rrstat(0x5)\nretries:3 rte:14\nmode:"),
            "{said}"
        );
    }
}
