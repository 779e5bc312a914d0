//! What is refused, where, and what is said to be allowed.

use super::*;

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
        (station("[evb]\nreflective_relay = true"), "t.toml:6:", "belongs to a bridge", "evb.mode"),
        (station("[evb]\nmode = \"veb\"\nfallback = \"veb\""), "t.toml:7:", "no meaning", "leave it out"),
        (station("[evb]\nmode = \"private\"\nfallback = \"veb\""), "t.toml:7:", "no meaning", "\"auto\""),
        (station("[evb]\nmode = \"vepa\"\nprobe_interval = 5"), "t.toml:7:", "no meaning", "\"auto\""),
        (station("[evb]\nprobe_interval = 3601"), "t.toml:6:", "3601 is out of range", "0 to 3600; 30"),
        (station("[evb]\nmode = \"passthru\""), "t.toml:6:8:", "there are 0", "exactly one"),
        (station("[evb]\nmode = \"vepe\""), "t.toml:6:8:", "unknown variant `vepe`", ""),
        (station("[evb]\nrelay = \"vepa\""), "t.toml:6:9:", "called `evb.mode`", "mode = \"auto\""),
        (bridge("[evb]\nrelay = \"vepa\""), "t.toml:6:9:", "called `evb.mode`", "mode = \"auto\""),
        (bridge("[evb]\nannounce = true"), "t.toml:6:", "belongs to a station", "reflective_relay"),
        (bridge("[evb]\nprobe_interval = 5"), "t.toml:6:", "belongs to a station", "reflective_relay"),
        (bridge("[evb]\non_peer_loss = \"forget\""), "t.toml:6:", "unknown variant `forget`", ""),
        (station("[evb]\nretries = 8"), "t.toml:6:11:", "8", ""),
        (station("[evb]\nmax_vsis = 0"), "t.toml:6:12:", "0 is out of range", "1 to 65536; 16384"),
        (bridge("[evb]\ngroups = 1"), "t.toml:6:10:", "boolean", ""),
        (station("[relay]\nworkers = 0"), "t.toml:6:11:", "`workers` = 0 is out of range", "1 to 64"),
        (station("[relay]\nworkers = \"two\""), "t.toml:6:11:", "", ""),
        (station("[relay]\ncpus = [1, 0, 1]"), "t.toml:6:8:", "twice", "each once"),
        (station("[[capture]]\nid = 1\nfile = \"a.pcap\""), "t.toml:7:8:", "relative", "absolute"),
        (
            station("[[capture]]\nid = 1\nfile = \"/a\"\n[[capture]]\nid = 1\nfile = \"/b\""),
            "t.toml:8:",
            "another",
            "once",
        ),
        (station("[relay]\nspin = 1001"), "t.toml:6:8:", "1001 is out of range", "0 to 1000; 50"),
        (station("[evb]\nack_timer_exponent = 32"), "t.toml:6:22:", "32", ""),
        (
            station("[lldp]\ntx_interval = 0"),
            "t.toml:6:15:",
            "`tx_interval` = 0 is out of range",
            "1 to 3600",
        ),
        (station("[lldp]\ntx_interval = -1"), "t.toml:6:15:", "-1", ""),
        (station(&vsi("a", "v", 1, "")), "t.toml:5:1:", "without `mac` or `filters`", "52:54"),
        (
            station(&vsi("a", "v", 1, &format!("{mac}filters = [{{ vlan = 1 }}]"))),
            "t.toml:12:11:",
            "`filters` beside `mac`",
            "one line without it",
        ),
        (
            station(&vsi("a", "v", 1, "filters = [{ vlan = 1 }, { vlan = 2, group = 7 }]")),
            "t.toml:11:11:",
            "of different formats",
            "all name a mac or none",
        ),
        (station(&vsi("a", "v", 1, "filters = [{ vid = 1 }]")), "t.toml:11:", "unknown field `vid`", ""),
        (
            station(
                &(vsi("a", "v", 1, mac) + &vsi("b", "w", 2, "filters = [{ mac = \"52:54:00:00:00:01\" }]")),
            ),
            "t.toml:18:11:",
            "MAC address",
            "once",
        ),
        (station("[state]\ndirectory = \"x\""), "t.toml:6:13:", "relative", "\"off\""),
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
        (bridge("[evb]\nmode = \"vepa\""), "t.toml:6:8:", "belongs to a station", "reflective_relay"),
        (bridge(&vsi("a", "v", 1, mac)), "t.toml:5:", "starts no VSIs", "station's file"),
        (bridge("[[port]]\ninterface = \"c\"\nkind = \"uplink\""), "t.toml:7:8:", "no uplink", "lan"),
        (bridge("untagged = 5"), "t.toml:5:12:", "come from its VSIs", "lan"),
        (
            bridge("[[profile]]\nname=\"p\"\ntype=1\nversion=1\nvlans=[]"),
            "t.toml:5:1:",
            "without VLANs",
            "at least one",
        ),
        (
            bridge("[[profile]]\nname=\"p\"\ntype=16777216\nversion=1\nvlans=[1]"),
            "t.toml:7:6:",
            "16777216",
            "",
        ),
        (
            bridge("[[profile]]\nname=\"p\"\ntype=1\nversion=1\nvlans=[1]\nmax_macs=61"),
            "t.toml:5:1:",
            "`max_macs` = 61",
            "1 to 60",
        ),
        (
            bridge("[[profile]]\nname=\"p\"\ntype=1\nversion=1\ngroups=[{group=7,vlan=1},{group=7,vlan=2}]"),
            "t.toml:5:1:",
            "group 7 has two VLANs",
            "once",
        ),
        (
            bridge(
                "[[profile]]\nname=\"p\"\ntype=1\nversion=1\nvlans=[1]\npolicy={ingress_rate={bits_per_second=1,burst_octets=1}}",
            ),
            "t.toml:5:1:",
            "ingress_rate",
            "profile.policy",
        ),
        (bridge("[vsidb]\nfiles = [\"a\"]"), "t.toml:6:10:", "relative", "absolute"),
        (bridge("[vsidb]\nunknown_type = \"shrug\""), "t.toml:6:16:", "shrug", ""),
        (bridge("[[manager]]\nid = \"m\"\nurl = \"ftp://a\""), "t.toml:7:7:", "ftp://a", "https://"),
        (bridge("[[manager]]\nid = \"m\"\nurl = \"http://a\"\npoll = 0"), "t.toml:8:8:", "poll", "86400"),
        (
            bridge(&"[[manager]]\nid = \"m\"\nurl = \"http://a\"\n".repeat(2)),
            "t.toml:9:6:",
            "named twice",
            "one [[manager]]",
        ),
        (bridge("[control]\nsocket = \"a\""), "t.toml:6:10:", "relative", "absolute"),
        (bridge("[control]\nbus = \"b\""), "t.toml:6:7:", "no address of a bus", "system"),
        (bridge("[control]\ngroup = \"\""), "t.toml:6:9:", "a group without a name", "getent"),
        (bridge("takes_over = true"), "t.toml:5:14:", "taken over by LAN ports", "kind = \"lan\""),
        (bridge("rate = 5"), "t.toml:5:8:", "`rate` = 5 is out of range", "100000 to 1000000000000"),
        (bridge("storm.unknown = 0"), "t.toml:5:17:", "`storm.unknown` = 0", "1 to 100000000"),
        (bridge("[relay]\nstorm = { brodcast = 5 }"), "t.toml:6:11:", "brodcast", ""),
        (bridge("[relay]\nflap_moves = 255"), "t.toml:6:14:", "`flap_moves` = 255", "0 to 254"),
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
fn mistakes_in_what_is_said_are_found_where_they_are() {
    let cases = [
        ("pvid = 4095", "VLAN 4095 is out of range"),
        ("pvid = \"x\"", "invalid type: string"),
        ("pvid = true", "invalid type: boolean"),
        ("vlan_names = [{ vid = 0, name = \"x\" }]", "0 is out of range"),
        ("vlan_names = [{ vid = 1, nam = \"x\" }]", "unknown field `nam`"),
        (
            "vlan_names = [{ vid = 1, name = \"012345678901234567890123456789012\" }]",
            "33 octets, allowed are 32",
        ),
        ("protocols = [\"8\"]", "hexadecimal"),
        ("management_address = \"10.0.0\"", "neither \"auto\""),
        ("management_address = [\"auto\", \"x\"]", "neither \"auto\""),
        ("max_frame_size = 70000", "64 to 65535"),
        ("capabilities = \"all\"", "`true` or `false`"),
        ("system_name = 5", "`true`, `false` or a text"),
        ("mac_phy = { mau = 65536 }", "65536"),
        ("power = { role = \"pse\", class = 5 }", "5 is out of range: allowed are 0 to 4"),
        ("power = { role = \"both\", class = 0 }", "unknown variant `both`"),
        ("power = { role = \"pd\", class = 0, type = 3 }", "type 3 does not exist"),
        ("congestion_notification = { priorities = [8] }", "priority 8"),
        (
            "congestion_notification = { priorities = [3], ready = [4] }",
            "priority 4 is `ready`, and not among",
        ),
        ("application_vlans = [{ vid = 1, selector = \"tpc\", protocol = 1 }]", "unknown variant `tpc`"),
        ("med = { policies = [{ application = \"voice\", dscp = 64 }] }", "64 is out of range"),
        ("speed = 1", "unknown field `speed`"),
    ];
    for (line, what) in cases {
        let text = format!(
            "role = \"bridge\"\n[[port]]\ninterface = \"l\"\nkind = \"lan\"\n[port.lldp.nearest_bridge.tlvs]\n{line}\n"
        );
        let (error, _) = rejected(&text);
        assert!(error.contains(what), "{error}\nis not about {what:?}");
        assert!(error.starts_with("t.toml:6:"), "{error}");
    }
    let port = "role = \"bridge\"\n[[port]]\ninterface = \"l\"\nkind = \"lan\"\n[port.lldp.nearest_bridge]\n";
    let cases = [
        ("tx_hold = 11", "t.toml:6:11:", "`tx_hold` = 11 is out of range"),
        ("admin = \"on\"", "t.toml:6:9:", "unknown variant `on`"),
        ("destination = \"00:00:00:00:00:00\"", "t.toml:6:15:", "to no address"),
        ("destination = \"01:80:c2:00:00:03\"", "t.toml:6:15:", "two agents of port `l`"),
        ("colour = 1", "t.toml:6:1:", "unknown field `colour`"),
    ];
    for (line, place, what) in cases {
        let (error, _) = rejected(&format!("{port}{line}\n"));
        assert!(error.starts_with(place) && error.contains(what), "{error}");
    }
    // Also where another table counts.
    let (error, _) = rejected(&format!("{port}tx_hold = 5\n[lldp]\ntx_hold = 99\n"));
    assert!(error.starts_with("t.toml:8:11:"), "{error}");
}
