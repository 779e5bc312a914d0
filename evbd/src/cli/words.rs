//! Events in words, from the JSON rows that the daemon and a recording tell.

use serde_json::Value;

use super::show::{cell, pick};

/// What happened, without its number, time and port.
pub(super) fn words(event: &Value) -> String {
    let is = |path: &str| cell(pick(event, path));
    match text(event, "event") {
        "link_up" => "link up".to_owned(),
        "link_down" => "link down".to_owned(),
        "link_absent" => "no such interface".to_owned(),
        "neighbor" => neighbor(event),
        "evb" => format!(
            "EVB peer {}; reflective relay {} ({}); R {} RTE {} RWD {} RKA {}",
            is("status.peer"),
            is("status.reflective_relay.state"),
            is("status.reflective_relay.words"),
            is("status.retries.value"),
            is("status.rte.value"),
            is("status.rwd.value"),
            is("status.rka.value"),
        ),
        "evb_not_point_to_point" => {
            format!("EVB is off: {} neighbours where one belongs", is("neighbors"))
        }
        "evb_point_to_point" => "no more than one neighbour again".to_owned(),
        "evb_peer_lost" => format!("EVB peer lost: {}; policy for its VSIs: {}", is("because"), is("policy")),
        "cdcp" => format!("S-channels: {}", is("words")),
        "channel_up" => format!("S-channel {}{} is there with SVID {}", is("scid"), named(event), is("svid")),
        "channel_down" => format!("S-channel {}{} is gone", is("scid"), named(event)),
        "channel_mtu" | "extension_mtu" => {
            format!("MTU {} leaves no room for tags, {} does: {}", is("mtu"), is("needed"), is("remedy"))
        }
        "relay" => {
            let held = if pick(event, "held") == &Value::Bool(true) { ", held" } else { "" };
            format!("edge relay {}{held}: {}", is("mode"), is("because"))
        }
        "probe" => {
            let trip = pick(event, "round_trip_us");
            let trip = if trip.is_null() { String::new() } else { format!(" ({} µs)", cell(trip)) };
            format!("probe {}: {}{trip}", is("state"), is("words"))
        }
        "reflective" => {
            let on = pick(event, "on") == &Value::Bool(true);
            format!("reflective relay switched {}", if on { "on" } else { "off" })
        }
        "station_vsi" | "bridge_vsi" => vsi(event),
        "vsi_ordered" => format!("VSI {}: {} ordered", who(event), is("command").replace('_', "-")),
        "vsi_order_refused" => {
            format!("VSI {}: {} refused: {}", is("vsi"), is("command").replace('_', "-"), is("error"))
        }
        "resumed" => format!("{} VSIs as before the restart", is("vsis")),
        "state_damaged" => match is("aside").as_str() {
            "-" => format!("state file damaged, and not to be set aside: {}", is("because")),
            aside => format!("state file damaged: {}; set aside as {aside}", is("because")),
        },
        "state_lost" => format!("a restart will remember nothing: {}", is("because")),
        "state_kept" => "what changes is remembered again".to_owned(),
        "dcbx" => format!(
            "DCBX {} ({}), peer {}; ETS: {}; PFC {}: {}; applications: {}",
            is("status.dialect"),
            is("status.evidence"),
            is("status.peer"),
            is("status.ets.because"),
            is("status.pfc.chosen"),
            is("status.pfc.because"),
            is("status.applications.because"),
        ),
        "dcb_applied" => {
            let note = pick(event, "note");
            let note = if note.is_null() { String::new() } else { format!(" ({})", cell(note)) };
            let changes = is("changes").replace("- ", "");
            format!("DCB of the device {}{note} {changes}", is("state").replace('_', " "))
                .trim_end()
                .to_owned()
        }
        "port_failed" => format!("port failed: {}", is("error")),
        "reloaded" => format!("configuration read again: {}", is("changes")),
        "reload_refused" => format!("configuration refused, nothing changed: {}", is("error")),
        "draft_cannot_say" => {
            format!(
                "VSI {} is not asked for: draft 0.2 has no words for it, only for a UUID, a manager of one octet, MAC \
                 addresses and VLANs without a priority",
                is("id")
            )
        }
        "ecp_failed" => format!("ECP PDU {} was not acknowledged", is("sequence")),
        other => plain(other, event),
    }
}

/// What the configuration calls an S-channel.
fn named(event: &Value) -> String {
    event.get("channel").and_then(Value::as_str).map(|name| format!(" ({name})")).unwrap_or_default()
}

fn neighbor(event: &Value) -> String {
    let who = match (text(event, "system_name"), pick(event, "msap")) {
        ("", Value::Null) => String::new(),
        ("", msap) => {
            format!(" chassis {} port {}", cell(pick(msap, "chassis.id")), cell(pick(msap, "port.id")))
        }
        (name, msap) => format!(" {name} port {}", cell(pick(msap, "port.id"))),
    };
    let scope = text(event, "scope");
    match text(event, "what") {
        "gone" => format!("neighbour{who} gone: {} ({scope})", text(event, "cause")),
        "too_many" => format!("neighbour{who} ignored: no room for more ({scope})"),
        "too_many_over" => format!("no neighbour is ignored any more ({scope})"),
        what => format!("neighbour{who} {what} ({scope})"),
    }
}

fn vsi(event: &Value) -> String {
    let details = vsi_details(event);
    let colon = if details.is_empty() { "" } else { ": " };
    format!("VSI {} {}{colon}{details}", who(event), text(event, "what").replace('_', "-"))
}

/// The VSI an event is about.
fn who(event: &Value) -> &str {
    match (text(event, "vsi"), text(event, "id")) {
        ("", "") => "?",
        ("", id) => id,
        (name, _) => name,
    }
}

/// Filter, cause and flags of what happened to a VSI.
pub(super) fn vsi_details(event: &Value) -> String {
    let mut told = Vec::new();
    if let Some(entries) = event.get("filter").and_then(Value::as_array) {
        told.push(entries.iter().map(cell).collect::<Vec<_>>().join(" + "));
    }
    if let Some(why) = event.get("words").and_then(Value::as_str) {
        told.push(why.to_owned());
    }
    let mut words = told.join(": ");
    let said = [("hard", ", hard"), ("kept", ", what stood before is kept")];
    for (flag, more) in said {
        if event.get(flag) == Some(&Value::Bool(true)) {
            words += more;
        }
    }
    words
}

/// An event nobody wrote words for: all it says.
fn plain(name: &str, event: &Value) -> String {
    let Some(fields) = event.as_object() else { return cell(event) };
    let known = ["event", "port", "number", "at_ms", "unix_ms"];
    let said = fields.iter().filter(|(field, value)| !known.contains(&field.as_str()) && !value.is_null());
    let said = said.map(|(field, value)| format!(", {field} {}", cell(value)));
    name.replace('_', " ") + &said.collect::<String>()
}

fn text<'a>(event: &'a Value, path: &str) -> &'a str {
    pick(event, path).as_str().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_of_each() {
        let cases = [
            (json!({"event": "link_up", "port": "s0"}), "link up"),
            (
                json!({"event": "neighbor", "scope": "nearest_bridge", "system_name": "tor", "what": "appeared",
                       "msap": {"chassis": {"subtype": "mac_address", "id": "02:00"}, "port": {"id": "b0"}}}),
                "neighbour tor port b0 appeared (nearest_bridge)",
            ),
            (
                json!({"event": "neighbor", "scope": "nearest_bridge", "what": "gone", "cause": "aged_out",
                       "msap": {"chassis": {"id": "02:00"}, "port": {"id": "b0"}}}),
                "neighbour chassis 02:00 port b0 gone: aged_out (nearest_bridge)",
            ),
            (
                json!({"event": "neighbor", "scope": "nearest_bridge", "what": "too_many_over"}),
                "no neighbour is ignored any more (nearest_bridge)",
            ),
            (json!({"event": "relay", "mode": "veb", "held": false, "because": "so"}), "edge relay veb: so"),
            (
                json!({"event": "probe", "state": "proven", "words": "it came back", "round_trip_us": 42}),
                "probe proven: it came back (42 µs)",
            ),
            (
                json!({"event": "station_vsi", "vsi": "web", "id": "x", "what": "associated",
                       "filter": [{"mac": "52:54", "vid": 100}]}),
                "VSI web associated: mac 52:54, vid 100",
            ),
            (
                json!({"event": "bridge_vsi", "id": "x", "what": "refused", "words": "no", "hard": true}),
                "VSI x refused: no, hard",
            ),
            (
                json!({"event": "vsi_ordered", "vsi": "web", "command": "pre_associate_rr"}),
                "VSI web: pre-associate-rr ordered",
            ),
            (
                json!({"event": "vsi_order_refused", "vsi": "web", "command": "associate", "error": "no"}),
                "VSI web: associate refused: no",
            ),
            (json!({"event": "ecp_failed", "sequence": 7}), "ECP PDU 7 was not acknowledged"),
            (json!({"event": "new_thing", "number": 3, "port": "s0", "why": "so"}), "new thing, why so"),
        ];
        for (event, expected) in cases {
            assert_eq!(words(&event), expected);
        }
        assert_eq!(words(&json!({})), "");
        assert_eq!(words(&Value::Null), "-");
    }
}
