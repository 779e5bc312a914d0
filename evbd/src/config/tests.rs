//! Every sample is accepted; every mistake is found where it is, with what is allowed.

use super::*;

const STATION: &str = include_str!("../../dist/station.toml");
const BRIDGE: &str = include_str!("../../dist/bridge.toml");

/// (text of the error, what is allowed) of a file that must be rejected.
fn rejected(text: &str) -> (String, String) {
    let error = Config::parse("t.toml", text).expect_err(text);
    (error.to_string(), error.allowed().unwrap_or_default().to_owned())
}

#[test]
fn samples_are_valid() {
    let station = Config::parse("station.toml", STATION).unwrap_or_else(|e| panic!("{e:?}"));
    let vsi = &station.station().unwrap().vsis[0];
    assert_eq!((vsi.name.as_str(), vsi.vlan, vsi.mac), ("web-1", None, MacAddr::new(0x52, 0x54, 0, 0, 0, 1)));
    let bridge = Config::parse("bridge.toml", BRIDGE).unwrap_or_else(|e| panic!("{e:?}"));
    let bridge = bridge.bridge().unwrap();
    assert_eq!((bridge.ports.len(), bridge.profiles[0].vlans.len(), bridge.guard), (2, 2, true));
}

#[test]
fn defaults_in_the_samples_are_the_defaults() {
    for sample in [STATION, BRIDGE] {
        // Uncommenting every default changes nothing.
        let told: String = sample
            .lines()
            .map(|line| match line.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with('[')) {
                Some(l)
                    if !l.starts_with("name")
                        && !l.contains("manager")
                        && !l.contains("vlan =")
                        && !l.contains("pcp") =>
                {
                    format!("{l}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        assert_ne!(told, *sample);
        assert_eq!(
            Config::parse("a", &told).unwrap_or_else(|e| panic!("{e:?}")),
            Config::parse("b", sample).unwrap()
        );
    }
}

#[test]
fn mistakes_are_found_where_they_are() {
    let uplink = "[[port]]\ninterface = \"u\"\nkind = \"uplink\"\n";
    let station = |more: &str| format!("role = \"station\"\n{uplink}{more}");
    let vsi = |name: &str, interface: &str, id: u8, more: &str| {
        format!(
            "[[vsi]]\nname = \"{name}\"\ninterface = \"{interface}\"\nid = \"6b1d0a58-0000-4000-8000-00000000000{id}\"\n\
             type = 1\nversion = 1\n{more}"
        )
    };
    let mac = "mac = \"52:54:00:00:00:01\"\n";
    let bridge =
        |more: &str| format!("role = \"bridge\"\n[[port]]\ninterface = \"b\"\nkind = \"station\"\n{more}");
    let cases: Vec<(String, &str, &str, &str)> = vec![
        ("rôle = 1".into(), "t.toml:1:", "", ""),
        ("role = \"switch\"".into(), "t.toml:1:8:", "unknown variant `switch`", ""),
        ("name = \"x\"".into(), "t.toml:1:1:", "missing field `role`", "role = \"station\""),
        ("role = \"station\"\nrolle = 1".into(), "t.toml:2:1:", "unknown field `rolle`", ""),
        ("role = \"station\"".into(), "t.toml:1:8:", "without an uplink", "one [[port]]"),
        ("role = \"bridge\"".into(), "t.toml:1:8:", "without ports", "[[port]]"),
        (station(uplink), "t.toml:6:13:", "`u` is used twice", "once"),
        (
            station("[[port]]\ninterface = \"v\"\nkind = \"lan\""),
            "t.toml:7:8:",
            "has one port",
            "kind = \"uplink\"",
        ),
        (
            station("[[port]]\ninterface = \"v\"\nkind = \"uplink\""),
            "t.toml:",
            "second uplink",
            "exactly one",
        ),
        (station("[evb]\nreflective_relay = true"), "t.toml:6:", "belongs to a bridge", "evb.relay"),
        (station("[evb]\nrelay = \"veb\"\nfallback = \"veb\""), "t.toml:7:", "no meaning", "leave it out"),
        (station("[evb]\nretries = 8"), "t.toml:6:11:", "8", ""),
        (station("[evb]\nack_timer_exponent = 32"), "t.toml:6:22:", "32", ""),
        (
            station("[lldp]\ntx_interval = 0"),
            "t.toml:6:15:",
            "`tx_interval` = 0 is out of range",
            "1 to 3600",
        ),
        (station("[lldp]\ntx_interval = -1"), "t.toml:6:15:", "-1", ""),
        (
            station("[[profile]]\nname=\"p\"\ntype=1\nversion=1\nvlans=[1]"),
            "t.toml:5:",
            "no VSI type database",
            "bridge's",
        ),
        (station(&vsi("a", "v", 1, "")), "t.toml:", "missing field `mac`", "52:54"),
        (station(&vsi("a", "u", 1, mac)), "t.toml:7:13:", "`u` is used twice", "once"),
        (
            station(&vsi("a", "v", 1, "mac = \"53:54:00:00:00:01\"")),
            "t.toml:11:7:",
            "cannot be the address",
            "unicast",
        ),
        (station(&vsi("a", "v", 1, "mac = \"52:54\"")), "t.toml:11:7:", "", ""),
        (
            station(&vsi("a", "v", 1, &format!("{mac}vlan = 4095"))),
            "t.toml:12:8:",
            "4095 is out of range",
            "",
        ),
        (station(&(vsi("a", "v", 1, mac) + &vsi("b", "w", 1, mac))), "t.toml:15:6:", "VSI id", "once"),
        (station(&(vsi("a", "v", 1, mac) + &vsi("b", "w", 2, mac))), "t.toml:18:7:", "MAC address", "once"),
        (bridge("[evb]\nrelay = \"vepa\""), "t.toml:6:9:", "belongs to a station", "reflective_relay"),
        (bridge(&vsi("a", "v", 1, mac)), "t.toml:5:", "starts no VSIs", "station's file"),
        (bridge("[[port]]\ninterface = \"c\"\nkind = \"uplink\""), "t.toml:7:8:", "no uplink", "lan"),
        (bridge("untagged = 5"), "t.toml:5:12:", "come from its VSIs", "lan"),
        (
            bridge("[[profile]]\nname=\"p\"\ntype=1\nversion=1\nvlans=[]"),
            "t.toml:9:7:",
            "without VLANs",
            "at least one",
        ),
        (
            bridge("[[profile]]\nname=\"p\"\ntype=16777216\nversion=1\nvlans=[1]"),
            "t.toml:7:6:",
            "16777216",
            "",
        ),
        (bridge("[control]\nsocket = \"a\""), "t.toml:6:10:", "relative", "absolute"),
        (bridge("[relay]\nfdb_entries = 1"), "t.toml:6:15:", "`fdb_entries` = 1", "64 to 1048576"),
    ];
    for (text, place, what, allowed) in cases {
        let (error, hint) = rejected(&text);
        assert!(error.starts_with(place), "{error}\nnot at {place} in\n{text}");
        assert!(error.contains(what), "{error}\nis not about {what:?}");
        assert!(hint.contains(allowed), "{error}\n{hint:?} does not allow {allowed:?}");
    }
}

#[test]
fn the_report_shows_the_line() {
    let error = Config::parse("t.toml", "role = \"bridge\"\n[relay]\nageing = 5\n").unwrap_err();
    let report = format!("{error:?}");
    assert!(
        report.contains("ageing = 5") && report.contains("10 to 1000000") && report.contains("t.toml:3"),
        "{report}"
    );
}

#[test]
fn two_profiles_of_one_type_are_refused() {
    let profile = "[[profile]]\nname=\"p\"\ntype=1\nversion=1\nvlans=[1]\n";
    let text =
        format!("role = \"bridge\"\n[[port]]\ninterface = \"b\"\nkind = \"station\"\n{profile}{profile}");
    assert!(rejected(&text).0.contains("defined twice"));
}

#[test]
fn lines_and_columns() {
    assert_eq!(line_and_column("ab\ncd", 4), (2, 2));
    assert_eq!(line_and_column("äb", 2), (1, 2));
    assert_eq!(line_and_column("", 9), (1, 1));
}
