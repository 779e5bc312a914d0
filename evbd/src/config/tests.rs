//! Every sample is accepted; every mistake is found where it is, with what is allowed.

use std::time::Duration;

use ether::MacAddr;

use super::*;

const STATION: &str = include_str!("../../dist/station.toml");
const BRIDGE: &str = include_str!("../../dist/bridge.toml");
const EXTENDER: &str = include_str!("../../dist/extender.toml");

/// (text of the error, what is allowed) of a file that must be rejected.
fn rejected(text: &str) -> (String, String) {
    let error = Config::parse("t.toml", text).expect_err(text);
    (error.to_string(), error.allowed().unwrap_or_default().to_owned())
}

#[test]
fn samples_are_valid() {
    let station = Config::parse("station.toml", STATION).unwrap_or_else(|e| panic!("{e:?}"));
    let vsi = &station.station().unwrap().vsis[0];
    assert_eq!((vsi.name.as_str(), vsi.automatic), ("web-1", true));
    let entry =
        vdp::FilterEntry { mac: Some(MacAddr::new(0x52, 0x54, 0, 0, 0, 1)), ..vdp::FilterEntry::default() };
    assert_eq!(vsi.filter.entries(), [entry]);
    let config = Config::parse("bridge.toml", BRIDGE).unwrap_or_else(|e| panic!("{e:?}"));
    let bridge = config.bridge().unwrap();
    assert_eq!((bridge.ports.len(), config.vsidb.profiles[0].vlans.len(), bridge.guard), (2, 2, true));
    let config = Config::parse("extender.toml", EXTENDER).unwrap_or_else(|e| panic!("{e:?}"));
    let extender = config.extender().unwrap();
    assert_eq!((extender.ports.len(), extender.is_static(), config.extension.hold.as_secs()), (3, false, 30));
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
                        && !l.contains("pcp")
                        && !l.starts_with("cpus") =>
                {
                    format!("{l}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        assert_ne!(told, *sample);
        let told = told.replace("evbd/NAME", &format!("evbd/{}", Config::parse("b", sample).unwrap().name));
        let mut told = Config::parse("a", &told).unwrap_or_else(|e| panic!("{e:?}"));
        // The one thing that is there only if it is asked for.
        let captures = std::mem::take(&mut told.carrier.captures);
        assert_eq!(captures.values().map(|capture| capture.max_octets >> 20).collect::<Vec<_>>(), [64]);
        assert_eq!(told, Config::parse("b", sample).unwrap());
    }
}

#[test]
fn defaults_in_the_sample_of_a_port_extender_are_the_defaults() {
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(told) if (told.contains(" = ") || told.starts_with('[')) && !told.starts_with("name") => {
            told.to_owned()
        }
        _ => line.to_owned(),
    };
    let told: Vec<String> = EXTENDER.lines().map(uncomment).collect();
    let told = Config::parse("a", &told.join("\n")).unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!(told, Config::parse("b", EXTENDER).unwrap());
}

#[test]
fn examples_in_the_samples_are_valid() {
    let told: String =
        BRIDGE.lines().map(|line| line.strip_prefix("#- ").unwrap_or(line).to_owned() + "\n").collect();
    let uncommented = told.replace("# [profile.policy]", "[profile.policy]").replace("# [vsidb]", "[vsidb]");
    let config = Config::parse("a", &uncommented).unwrap_or_else(|e| panic!("{e:?}"));
    let VsiDbConfig { profiles, files, managers, .. } = config.vsidb;
    assert_eq!(
        (files.len(), managers.len(), profiles[0].groups.len(), profiles[0].formats.len()),
        (1, 1, 1, 4)
    );
    let policy = &profiles[0].policy;
    assert!(policy.mirror.is_some() && policy.ingress_rate.is_some() && policy.ingress.len() == 1);
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
fn how_frames_are_moved() {
    let text = "role = \"bridge\"\n[relay]\ncpus = [1, 0]\nspin = 0\nrings = 0\n\
        [[port]]\ninterface = \"a\"\nkind = \"station\"\ncarrier = \"xdp\"\n\
        [[port]]\ninterface = \"b\"\nkind = \"station\"\nrate = 2_000_000\n";
    let carrier = Config::parse("t.toml", text).unwrap_or_else(|e| panic!("{e:?}")).carrier;
    assert_eq!((carrier.workers, carrier.cpus.as_slice(), carrier.rings_mib), (2, &[1, 0][..], 0));
    assert_eq!(
        (carrier.choice("a"), carrier.choice("b"), carrier.spin),
        (Choice::Xdp, Choice::Auto, Duration::ZERO)
    );
    assert_eq!((carrier.rate("a"), carrier.rate("b")), (None, Some(2_000_000)));
    let text = text.replace("cpus", "workers = 3\ncpus");
    assert_eq!(Config::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e:?}")).carrier.workers, 3);
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

fn agent(config: &Config, scope: usize) -> &AgentSettings {
    config.lldp.values().next().unwrap().get(scope).unwrap()
}

#[test]
fn the_nearest_table_counts() {
    let text = "role = \"station\"\n[lldp]\ntx_interval = 20\ntx_hold = 3\n[lldp.tlvs]\npvid = 1\nsystem_name = \"a\"\n\
                [lldp.nearest_customer]\ntx_interval = 21\ntlvs = { pvid = 2 }\n\
                [[port]]\ninterface = \"u\"\nkind = \"uplink\"\n[port.lldp]\ntx_hold = 5\ntlvs = { pvid = 3 }\n\
                [port.lldp.nearest_bridge]\ntlvs = { pvid = false, capabilities = false }\nadmin = \"rx\"\n\
                [port.lldp.nearest_customer]\ntx_interval = 22\ndestination = \"01:80:c2:00:00:21\"\n";
    let config = Config::parse("t.toml", text).unwrap_or_else(|e| panic!("{e:?}"));
    let (bridge, non_tpmr, customer) = (agent(&config, 0), agent(&config, 1), agent(&config, 2));
    let timing = |agent: &AgentSettings| {
        let params = *agent.config.timing.params();
        (params.msg_tx_interval, params.msg_tx_hold)
    };
    assert_eq!([timing(bridge), timing(non_tpmr), timing(customer)], [(20, 5), (20, 5), (22, 5)]);
    let pvid = |agent: &AgentSettings| agent.tlvs.pvid.map(|vlan| vlan.0.unwrap().get());
    assert_eq!([pvid(bridge), pvid(non_tpmr), pvid(customer)], [None, Some(3), Some(3)]);
    assert_eq!(bridge.tlvs.capabilities, None);
    assert_eq!(customer.tlvs.system_name, Some(tlvs::Words::Text(tlvs::Short("a".into()))));
    assert_eq!(customer.destination, MacAddr::new(1, 0x80, 0xc2, 0, 0, 0x21));
    use lldp::AdminStatus::{Disabled, RxOnly, RxTx};
    let admins = [bridge, non_tpmr, customer].map(|a| a.config.admin_status);
    assert_eq!(admins, [RxOnly, Disabled, RxTx]);
    let lan = "role = \"bridge\"\n[[port]]\ninterface = \"l\"\nkind = \"lan\"\n";
    let lan = Config::parse("t.toml", lan).unwrap();
    assert_eq!([0, 1, 2].map(|n| agent(&lan, n).config.admin_status), [RxTx, Disabled, Disabled]);
}

/// Every TLV key with a value, as one table.
pub(crate) const EVERY_TLV: &str = r#"
port_description = "to the rack"
system_name = "tor"
system_description = true
capabilities = true
management_address = ["192.0.2.1", "2001:db8::1", "auto", "02:00:00:00:00:01"]
pvid = 100
port_protocol_vlans = [{ vid = 200, supported = true, enabled = true }, { supported = true }]
vlan_names = [{ vid = 100, name = "web" }, { vid = 101, name = "db" }]
protocols = ["88cc", "4242030000"]
vid_usage_digest = 0xdeadbeef
management_vid = 10
link_aggregation = { capable = true, aggregated = true, port = 7 }
congestion_notification = { priorities = [3], ready = [3] }
application_vlans = [{ vid = 100, selector = "tcp", protocol = 3260 }, { vid = 5, selector = "dscp", protocol = 46 }]
mac_phy = { autoneg_supported = true, autoneg_enabled = true, advertised = 0x6c01, mau = 30 }
power = { role = "pse", class = 4, type = 2, priority = 1, requested = 255, allocated = 130 }
link_aggregation_802_3 = { capable = true }
max_frame_size = true
eee = { transmit = 17, receive = 18, fallback = 18, echo_transmit = 19, echo_receive = 20 }

[lldp.tlvs.med]
device = "network"
policies = [{ application = "voice", vid = 100, tagged = true, pcp = 5, dscp = 46 }, { application = "streaming_video" }]
hardware_revision = "h1"
firmware_revision = "f1"
software_revision = "s1"
serial_number = "n1"
manufacturer = "m1"
model = "o1"
asset_id = "a1"
"#;

#[test]
fn every_tlv_can_be_asked_for() {
    let text =
        format!("role = \"bridge\"\n[[port]]\ninterface = \"l\"\nkind = \"lan\"\n[lldp.tlvs]{EVERY_TLV}");
    let config = Config::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e:?}"));
    let shown = format!("{:?}", agent(&config, 0).tlvs);
    assert!(!shown.contains("None,"), "{shown}");
    // And each can be taken away.
    let keys: Vec<_> = EVERY_TLV.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    for off in keys.into_iter().take_while(|key| *key != "device").chain(["med"]) {
        let text = format!(
            "role = \"bridge\"\n[[port]]\ninterface = \"l\"\nkind = \"lan\"\n\
             [port.lldp.nearest_bridge.tlvs]\n{off} = false\n[lldp.tlvs]{EVERY_TLV}"
        );
        let config = Config::parse("t.toml", &text).unwrap_or_else(|e| panic!("{e:?}"));
        assert_ne!(agent(&config, 0).tlvs, agent(&config, 1).tlvs, "{off}");
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

#[test]
fn dcbx_of_each_port() {
    let file = |general: &str, port: &str| {
        format!("role = \"station\"\n{general}\n[[port]]\ninterface = \"u\"\nkind = \"uplink\"\n{port}\n")
    };
    let parsed = |general: &str, port: &str| Config::parse("t.toml", &file(general, port)).unwrap().dcbx;
    assert!(parsed("[dcbx]\ndialect = \"cee\"", "").is_empty(), "off until a feature has a mode");
    let general = "[dcbx.pfc]\nmode = \"willing\"\npriorities = [3]\n[dcbx.ets]\nbandwidth = [60, 40]\n\
                   classes = [0, 0, 0, 1, 1, 0, 0, 2]";
    let port = &parsed(general, "[port.dcbx]\napply = \"dry_run\"\n[port.dcbx.pfc]\npriorities = [4]")["u"];
    assert_eq!((port.apply, port.config.pfc.mode), (Apply::DryRun, dcbx::Mode::Willing));
    assert_eq!(port.config.pfc.enabled, dcbx::PrioritySet(0x10));
    let shown = port.config.ets.table.to_string();
    assert!(shown.contains("class 1 ETS 40 % (priorities 3,4), class 2 strict (priorities 7)"), "{shown}");

    for (general, said, hint) in [
        (
            "[dcbx.ets]\nbandwidth = [60, 30]",
            "t.toml:3:13: the bandwidths of the ETS classes sum to 90 %",
            "",
        ),
        (
            "[dcbx.ets]\nclasses = [0, 1]",
            "t.toml:3:11: `ets.classes` is not the traffic class",
            "eight numbers",
        ),
        ("[dcbx.ets]\nclasses = [0, 9, 0, 0, 0, 0, 0, 0]", "priority 1 is in traffic class 9", ""),
        ("[dcbx.ets]\nmax_classes = 9", "t.toml:3:15: `max_classes` = 9 is out of range", "1 to 8"),
        ("[dcbx.pfc]\ncapability = 1\npriorities = [3, 4]", "t.toml:4:14: PFC on 2 priorities", ""),
        ("[dcbx.pfc]\ncapability = 15", "`capability` = 15 is out of range", "0 to 8"),
        (
            "[dcbx.pfc]\nmode = \"willing\"\n[lldp.nearest_bridge]\nadmin = \"tx\"",
            "DCBX on port `u`, whose LLDP agent `nearest_bridge` does not",
            "rx_tx",
        ),
    ] {
        let (what, allowed) = rejected(&file(general, ""));
        assert!(what.contains(said) && allowed.contains(hint), "{what} / {allowed}");
    }
}

#[test]
fn channels_of_both_roles() {
    let station = |port: &str, rest: &str| {
        let text =
            format!("role = \"station\"\n[[port]]\ninterface = \"up\"\nkind = \"uplink\"\n{port}\n{rest}");
        Config::parse("t", &text).map_err(|error| error.to_string())
    };
    let vsi = "[[vsi]]\nname = \"a\"\ninterface = \"a\"\nid = \"02:00:00:00:00:01\"\ntype = 1\nversion = 1\n\
               mac = \"02:00:00:00:00:01\"\nchannel = \"blue\"\n";
    let blue = "channels = [{ name = \"blue\", id = 2, mode = \"direct\" }]";
    let config = station(blue, vsi).unwrap();
    let one = config.station().unwrap();
    assert_eq!(one.scid("blue").map(cdcp::Scid::get), Some(2));
    assert_eq!(one.edge(one.scid("blue")).mode, StationMode::Direct);
    assert_eq!(one.edge(None).mode, StationMode::Auto);
    let speaks = |config: &Config, name: &str| {
        config
            .agents(name)
            .iter()
            .map(|agent| (agent.config.scope, agent.config.admin_status))
            .collect::<Vec<_>>()
    };
    let on = lldp::AdminStatus::RxTx;
    assert!(speaks(&config, "up").contains(&(lldp::Scope::NearestNonTpmr, on)));
    assert_eq!(speaks(&config, "up/2"), [(lldp::Scope::NearestCustomer, on)]);
    for (port, rest, error) in [
        (blue, "", "gives the S-channel `blue` to one VSI, and there are 0"),
        ("channels = [{ name = \"b\", id = 1 }]", "", "not the number of an S-channel"),
        ("channels = [{ name = \"b\", id = 168 }]", "", "not the number of an S-channel"),
        ("channels = [{ name = \"b\", id = 2 }, { name = \"b\", id = 3 }]", "", "two S-channels `b`"),
        ("channels = [{ name = \"b\", id = 2 }, { name = \"c\", id = 2 }]", "", "two S-channels with `id` 2"),
        ("channels = [{ name = \"\", id = 2 }]", "", "without a name"),
        ("max_channels = 1\nchannels = [{ name = \"b\", id = 2 }]", "", "more S-channels than"),
        ("svids = \"2-3\"", "", "a bridge assigns SVIDs"),
        ("", vsi, "there is no S-channel `blue`"),
    ] {
        let said = station(port, rest).unwrap_err();
        assert!(said.contains(error), "{said}");
    }
    let bridge = |keys: &str| {
        let text = format!("role = \"bridge\"\n[[port]]\ninterface = \"down\"\n{keys}\n");
        Config::parse("t", &text).map_err(|error| error.to_string())
    };
    let config = bridge("kind = \"station\"\nsvids = \"100-199\"\nmax_channels = 9").unwrap();
    let svids = config.bridge().unwrap().ports[0].svids.unwrap();
    assert!(svids.pool.contains(cdcp::Svid::new(199).unwrap()) && svids.capacity.get() == 9);
    assert!(speaks(&config, "down").contains(&(lldp::Scope::NearestNonTpmr, on)));
    for (keys, error) in [
        ("kind = \"station\"\nsvids = \"1-9\"", "no range of SVIDs"),
        ("kind = \"station\"\nsvids = \"9-2\"", "no range of SVIDs"),
        ("kind = \"station\"\nsvids = \"2-4095\"", "no range of SVIDs"),
        ("kind = \"lan\"\nsvids = \"2-9\"", "S-channels lead to stations"),
        ("kind = \"station\"\nmax_channels = 9", "`max_channels` without `svids`"),
        ("kind = \"station\"\nchannels = [{ name = \"b\", id = 2 }]", "stations ask for S-channels"),
    ] {
        let said = bridge(keys).unwrap_err();
        assert!(said.contains(error), "{said}");
    }
}

#[test]
fn sessions_of_port_extension() {
    let bridge = |extension: &str| {
        format!(
            "role = \"bridge\"\n{extension}\n[[port]]\ninterface = \"c0\"\nkind = \"lan\"\ncascade = true\n"
        )
    };
    let extender = |extension: &str| {
        format!("role = \"extender\"\n{extension}\n[[port]]\ninterface = \"up\"\nkind = \"upstream\"\n")
    };
    let of =
        |text: String| Config::parse("c", &text).map(|config| config.extension).map_err(|e| format!("{e:?}"));
    let default = of(bridge("")).unwrap();
    assert_eq!(
        (default.priority, default.tiers, default.hold.as_secs(), default.ecp.max_retries),
        (128, 4, 0, 7)
    );
    let held = of(extender("[extension]\nupstream_loss = { hold = 30 }")).unwrap();
    assert_eq!(held.hold.as_secs(), 30);
    assert_eq!(of(extender("[extension]\nupstream_loss = \"down\"")).unwrap().hold.as_secs(), 0);
    let file = tempfile::NamedTempFile::new().unwrap();
    let book = |text: &str| {
        std::fs::write(file.path(), text).unwrap();
        of(bridge(&format!("[extension]\ncodebook = {:?}", file.path())))
    };
    let p0 = include_str!("../../dist/codebook-p0.toml");
    assert_eq!(book(&p0.replace("\"P0\"", "\"mine\"")).unwrap().book.name, "mine");
    assert!(book(&p0.replace("create = 2", "create = 1")).unwrap_err().contains("the code 1 of create"));
    assert!(book("x").unwrap_err().contains("code book"));
    for (wrong, says) in [
        (bridge("[extension]\nupstream_loss = \"down\""), "for the other end"),
        (extender("[extension]\npriority = 3"), "for the other end"),
        (bridge("[extension]\npriority = 0"), "out of range"),
        (bridge("[extension]\ncodebook = \"/nowhere\""), "code book /nowhere"),
        (extender("[extension]\nupstream_loss = { hold = 0 }"), "out of range"),
    ] {
        let error = of(wrong).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
