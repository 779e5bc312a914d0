use super::*;

const STATION: &str = r#"
role = "station"
name = "host"
[lldp]
tx_interval = 30
[lldp.tlvs]
vlan_names = [{ vid = 100, name = "web" }]
[evb]
retries = 3
[relay]
fdb_entries = 1024
[control]
socket = "/run/a.sock"
[[port]]
interface = "up"
kind = "uplink"
[[vsi]]
name = "vm1"
interface = "vm1"
id = "6b1d0a58-0000-4000-8000-000000000001"
type = 1
version = 1
mac = "52:54:00:00:00:01"
[[vsi]]
name = "vm2"
interface = "vm2"
id = "6b1d0a58-0000-4000-8000-000000000002"
type = 1
version = 1
mac = "52:54:00:00:00:02"
"#;

const BRIDGE: &str = r#"
role = "bridge"
[[port]]
interface = "p1"
kind = "station"
[[port]]
interface = "p2"
kind = "lan"
tagged = [100]
[[profile]]
name = "web"
type = 1
version = 1
vlans = [100]
"#;

/// The lines of going from `old` to `old` with `from` replaced by `to`.
fn lines(old: &str, replacements: &[(&str, &str)]) -> Vec<String> {
    let mut new = old.to_owned();
    for (from, to) in replacements {
        assert!(new.contains(from), "{from}");
        new = new.replace(from, to);
    }
    let plan = plan(old, "new.toml", &new).unwrap_or_else(|e| panic!("{e:?}"));
    Config::parse("held", &plan.text).unwrap_or_else(|e| panic!("{e:?}"));
    plan.changes.iter().map(ToString::to_string).collect()
}

#[test]
fn each_difference_is_a_line() {
    assert_eq!(lines(STATION, &[]), [""; 0]);
    assert_eq!(lines(STATION, &[("tx_interval = 30", "tx_interval = 10")]), ["~ lldp.tx_interval 30 → 10"]);
    assert_eq!(lines(STATION, &[("tx_interval = 30", "")]), ["- lldp.tx_interval 30"]);
    assert_eq!(
        lines(STATION, &[("tx_interval = 30", "tx_interval = 30\ntx_hold = 3"), ("name = \"host\"", "")]),
        ["+ lldp.tx_hold 3", "- name \"host\""]
    );
    assert_eq!(
        lines(STATION, &[("name = \"web\" }", "name = \"db\" }")]),
        [r#"~ lldp.tlvs.vlan_names [{ name = "web", vid = 100 }] → [{ name = "db", vid = 100 }]"#]
    );
    assert_eq!(
        lines(STATION, &[("kind = \"uplink\"", "kind = \"uplink\"\nlldp.nearest_bridge.tlvs.pvid = 5")]),
        ["+ port up lldp.nearest_bridge.tlvs.pvid 5"]
    );
    assert_eq!(lines(STATION, &[("retries = 3", "retries = 5")]), ["~ evb.retries 3 → 5"]);
    // In another order nothing is changed.
    let (head, vsis) = STATION.split_once("[[vsi]]").unwrap();
    let (one, two) = vsis.split_once("[[vsi]]").unwrap();
    assert_eq!(plan(STATION, "f", &format!("{head}[[vsi]]{two}[[vsi]]{one}")).unwrap().changes, []);
}

#[test]
fn named_tables_come_go_and_change() {
    assert_eq!(
        lines(STATION, &[("name = \"vm2\"", "name = \"vm3\""), ("52:54:00:00:00:01", "52:54:00:00:00:07")]),
        ["~ vsi vm1 mac \"52:54:00:00:00:01\" → \"52:54:00:00:00:07\"", "- vsi vm2", "+ vsi vm3"]
    );
    assert_eq!(
        lines(
            BRIDGE,
            &[
                ("\"p1\"", "\"p9\""),
                ("tagged = [100]", "tagged = [100, 200]"),
                ("version = 1", "version = 2")
            ]
        ),
        [
            "- port p1",
            "~ port p2 tagged [100] → [100, 200]",
            "+ port p9",
            "- profile web 1 1",
            "+ profile web 1 2",
        ]
        .map(str::to_owned)
        .into_iter()
        .collect::<Vec<_>>()
    );
}

#[test]
fn what_needs_a_restart_is_said_and_left() {
    let changes = [("fdb_entries = 1024", "fdb_entries = 2048"), ("tx_interval = 30", "tx_interval = 5")];
    assert_eq!(
        lines(STATION, &changes),
        ["~ lldp.tx_interval 30 → 5", "! relay.fdb_entries needs a restart"]
    );
    assert_eq!(lines(STATION, &[("a.sock", "b.sock")]), ["! control.socket needs a restart"]);
    assert_eq!(
        lines(STATION, &[("interface = \"up\"", "interface = \"eth9\"")]),
        ["! port up needs a restart", "! port eth9 needs a restart"]
    );
    // It is said again until it is done.
    let new = STATION.replace("1024", "2048");
    let first = plan(STATION, "f", &new).unwrap();
    let again = plan(&first.text, "f", &new).unwrap();
    assert_eq!(again.changes, first.changes);
    // With another role nothing is applied.
    let other = plan(STATION, "f", BRIDGE).unwrap();
    assert!(other.changes.iter().all(|change| change.change == Kind::Restart), "{:?}", other.changes);
}

#[test]
fn a_wrong_file_is_refused_with_its_place() {
    let refused = |new: &str| plan(STATION, "new.toml", new).err().unwrap().to_string();
    assert!(refused(&STATION.replace("= 30", "= 0")).starts_with("new.toml:5:15:"));
    assert!(refused("role = ").starts_with("new.toml:1:"));
    // Good, but not with the old uplink: a VSI wants its interface.
    let crossed =
        STATION.replace("interface = \"up\"", "interface = \"eth9\"").replace("\"vm1\"\nid", "\"up\"\nid");
    assert!(refused(&crossed).contains("needs a restart left as it is"), "{}", refused(&crossed));
}
