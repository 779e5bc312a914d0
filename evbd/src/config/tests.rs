//! Every sample is accepted; every mistake is found where it is, with what is allowed.

mod mistakes;

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
    assert_eq!(error::line_and_column("ab\ncd", 4), (2, 2));
    assert_eq!(error::line_and_column("äb", 2), (1, 2));
    assert_eq!(error::line_and_column("", 9), (1, 1));
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
fn a_code_book_is_read_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let text = format!(
        "role = \"bridge\"\n[extension]\ncodebook = {:?}\n[[port]]\ninterface = \"c0\"\nkind = \"lan\"\n",
        at("book.toml")
    );
    std::fs::write(at("evbd.toml"), text).unwrap();
    let read = |book: &str| {
        std::fs::write(at("book.toml"), book).unwrap();
        File::read(&at("evbd.toml")).map(|file| file.codebook.unwrap()).map_err(|error| format!("{error:?}"))
    };
    let error = File::read(&at("evbd.toml")).unwrap_err().to_string();
    assert!(error.contains("book.toml") && error.contains("cannot be read"), "{error}");
    let p0 = include_str!("../../dist/codebook-p0.toml");
    let mine = p0.replace("\"P0\"", "\"mine\"");
    assert_eq!(read(&mine).unwrap(), mine);
    assert!(read(&p0.replace("create = 2", "create = 1")).unwrap_err().contains("the code 1 of create"));
    assert!(read("x").unwrap_err().contains("book.toml"));
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
    let (bare, polls) = (bridge(""), bridge("[extension]\nstatistics = 0"));
    assert_eq!([bare, polls].map(|text| of(text).unwrap().statistics.as_secs()), [10, 0]);
    let named = of(bridge("[extension]\ncodebook = \"/nowhere\"")).unwrap();
    assert_eq!(named.codebook.as_deref(), Some(std::path::Path::new("/nowhere")), "parsing reads no files");
    for (wrong, says) in [
        (bridge("[extension]\nupstream_loss = \"down\""), "for the other end"),
        (extender("[extension]\npriority = 3"), "for the other end"),
        (bridge("[extension]\npriority = 0"), "out of range"),
        (extender("[extension]\nstatistics = 3"), "for the other end"),
        (extender("[extension]\nupstream_loss = { hold = 0 }"), "out of range"),
    ] {
        let error = of(wrong).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
