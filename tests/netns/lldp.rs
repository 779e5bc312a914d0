//! LLDP with other agents: what evbd is told to say arrives at lldpd and lldpad with the right values, what they say
//! arrives here, and a reload changes what it changes and nothing else.

use std::{
    path::PathBuf,
    process::{Output, Stdio},
};

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::{PATIENCE, says};

/// Every TLV there is, for port `a0`.
const TLVS: &str = r#"
[lldp]
tx_interval = 5
[lldp.tlvs]
port_description = "to the rack"
management_address = ["192.0.2.1", "2001:db8::1", "02:00:00:00:00:01"]
pvid = 100
port_protocol_vlans = [{ vid = 200, supported = true, enabled = true }]
vlan_names = [{ vid = 100, name = "web" }, { vid = 101, name = "db" }]
protocols = ["88cc"]
vid_usage_digest = 0xdeadbeef
management_vid = 10
link_aggregation = { capable = true, aggregated = true, port = 7 }
congestion_notification = { priorities = [3], ready = [3] }
application_vlans = [{ vid = 100, selector = "tcp", protocol = 3260 }]
mac_phy = { autoneg_supported = true, autoneg_enabled = true, advertised = 0x6c01, mau = 30 }
power = { role = "pse", class = 4, type = 2, priority = 1, requested = 255, allocated = 130 }
link_aggregation_802_3 = { capable = true }
max_frame_size = true
eee = { transmit = 17, receive = 18, fallback = 18, echo_transmit = 19, echo_receive = 20 }
[lldp.tlvs.med]
policies = [{ application = "voice", vid = 100, tagged = true, pcp = 5, dscp = 46 }]
hardware_revision = "h1"
firmware_revision = "f1"
software_revision = "s1"
serial_number = "n1"
manufacturer = "m1"
model = "o1"
asset_id = "a1"
"#;

fn bridge(more: &str) -> String {
    format!("role = \"bridge\"\nname = \"tor\"\n[[port]]\ninterface = \"a0\"\nkind = \"lan\"\n{more}")
}

fn two() -> (Netns, Netns) {
    let (here, there) = (Netns::new("evbd"), Netns::new("peer"));
    wire(&here, "a0", &there, "b0");
    (here, there)
}

/// lldpd on `b0`, asked through its own client.
struct Lldpd<'a> {
    netns: &'a Netns,
    socket: PathBuf,
}

impl<'a> Lldpd<'a> {
    fn start(netns: &'a mut Netns) -> Self {
        let socket = netns.file("lldpd.sock");
        let log = std::fs::File::create(netns.file("lldpd.log")).expect("a writable log");
        let mut command = netns.command("unshare");
        // Several of them share a host when each has its own /run.
        let line = format!(
            "mount -t tmpfs tmpfs /run && mkdir -p /run/lldpd && exec lldpd -d -u {} -I b0 -M 4",
            socket.display()
        );
        command.args(["-m", "sh", "-c", &line]).stdout(Stdio::null()).stderr(log);
        netns.spawn(command);
        let netns: &Netns = netns;
        let peer = Self { netns, socket };
        eventually(
            "lldpd answers",
            PATIENCE,
            || peer.ask(&["show", "configuration"]),
            |a| a.contains("tx-delay"),
        );
        peer
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let socket = self.socket.display().to_string();
        let arguments = [&["-u", &socket, "-f", "json"], arguments].concat();
        self.netns.attempt("lldpcli", &arguments)
    }

    /// What it knows of its neighbour.
    fn neighbor(&self) -> Value {
        let said = self.ask(&["show", "neighbors", "details"]);
        let said: Value = serde_json::from_str(&said).unwrap_or(Value::Null);
        said["lldp"]["interface"]["b0"].clone()
    }

    /// Waits until `is` its neighbour.
    fn sees(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let shown = || self.neighbor().to_string();
        let found = eventually(what, PATIENCE, shown, |t| is(&serde_json::from_str(t).unwrap()));
        serde_json::from_str(&found).unwrap()
    }
}

/// Waits until the only neighbour of `evbd` is as wanted.
async fn neighbor(evbd: &Client, is: impl Fn(&Value) -> bool) -> Value {
    let one = |rows: &[Value]| rows.len() == 1 && is(&rows[0]);
    table(evbd, Table::Neighbors, PATIENCE, one).await.remove(0)
}

fn told(row: &Value, words: &str) -> bool {
    row["organizational"].as_array().is_some_and(|all| all.iter().any(|one| one == words))
}

#[tokio::test]
async fn lldpd_shows_every_tlv() {
    let (mut here, mut there) = two();
    let (_, _evbd) = here.evbd(evbd_program!(), &bridge(TLVS)).await;
    let lldpd = Lldpd::start(&mut there);
    let seen = lldpd.sees("the neighbour", |n| n["chassis"]["tor"].is_object());
    let (chassis, port) = (&seen["chassis"]["tor"], &seen["port"]);
    assert_eq!(chassis["mgmt-ip"], serde_json::json!(["192.0.2.1", "2001:db8::1"]));
    assert_eq!(chassis["capability"], serde_json::json!({"type": "Bridge", "enabled": true}));
    assert!(says(chassis, "descr").starts_with("evbd "));
    let values = [
        (&port["id"]["value"], "a0"),
        (&port["descr"], "to the rack"),
        (&port["ttl"], "21"),
        (&port["mfs"], "1518"),
        (&port["power"]["device-type"], "PSE"),
        (&port["power"]["class"], "class 4"),
        (&port["power"]["power-type"], "2"),
        (&port["power"]["priority"], "critical"),
        (&port["power"]["requested"], "25500"),
        (&port["power"]["allocated"], "13000"),
        (&seen["vlan"][0]["vlan-id"], "100"),
        (&seen["vlan"][0]["value"], "web"),
        (&seen["vlan"][1]["vlan-id"], "101"),
        (&seen["vlan"][1]["value"], "db"),
        (&seen["ppvid"]["value"], "200"),
        (&seen["pi"], "88 cc"),
        (&seen["lldp-med"]["device-type"], "Network Connectivity Device"),
        (&seen["lldp-med"]["policy"]["apptype"], "Voice"),
        (&seen["lldp-med"]["policy"]["vlan"]["vid"], "100"),
        (&seen["lldp-med"]["policy"]["pcp"], "5"),
        (&seen["lldp-med"]["policy"]["dscp"], "46"),
        (&seen["lldp-med"]["inventory"]["hardware"], "h1"),
        (&seen["lldp-med"]["inventory"]["firmware"], "f1"),
        (&seen["lldp-med"]["inventory"]["software"], "s1"),
        (&seen["lldp-med"]["inventory"]["serial"], "n1"),
        (&seen["lldp-med"]["inventory"]["manufacturer"], "m1"),
        (&seen["lldp-med"]["inventory"]["model"], "o1"),
        (&seen["lldp-med"]["inventory"]["asset"], "a1"),
    ];
    for (value, wanted) in values {
        assert_eq!(value, wanted, "{seen:#}");
    }
    let flags = [
        &port["auto-negotiation"]["supported"],
        &port["auto-negotiation"]["enabled"],
        &port["power"]["enabled"],
        &seen["vlan"][0]["pvid"],
        &seen["ppvid"]["enabled"],
    ];
    assert!(flags.into_iter().all(|flag| flag == true), "{seen:#}");
    assert!(says(&port["auto-negotiation"], "current").starts_with("1000BaseTFD"), "{seen:#}");
    // What it does not read it shows as it came.
    let unknown = &seen["unknown-tlvs"]["unknown-tlv"];
    let raw = |oui: &str, subtype: &str| {
        let all = unknown.as_array().into_iter().flatten();
        let found: Vec<_> =
            all.filter(|t| t["oui"] == oui && t["subtype"] == subtype).map(|t| says(t, "value")).collect();
        found.join(" ")
    };
    assert_eq!(raw("00,12,0F", "5"), "00,11,00,12,00,12,00,13,00,14");
    assert_eq!(raw("00,80,C2", "5"), "DE,AD,BE,EF");
    assert_eq!(raw("00,80,C2", "6"), "00,0A");
    assert_eq!(raw("00,80,C2", "7"), "03,00,00,00,07");
    assert_eq!(raw("00,80,C2", "8"), "08,08");
    assert_eq!(raw("00,80,C2", "16"), "06,42,0C,BC");
}

#[tokio::test]
async fn every_tlv_of_lldpd_is_shown() {
    let (mut here, mut there) = two();
    let (_, evbd) = here.evbd(evbd_program!(), &bridge("")).await;
    let lldpd = Lldpd::start(&mut there);
    let line = |line: &str| lldpd.ask(&line.split(' ').collect::<Vec<_>>());
    line("configure system hostname other");
    line("configure med policy application voice vlan 7 priority voice dscp 46");
    line("configure med location elin 911");
    line("configure med power pse source primary priority high value 5000");
    line("configure dot3 power pse supported enabled powerpairs signal class class-3");
    line("configure lldp custom-tlv oui 33,44,55 subtype 44 oui-info 45,46");
    line("update");
    let words = [
        "MED location 03393131",
        "network policy for voice: VLAN 7 untagged, priority 5, DSCP 46",
        "power via MDI: PSE, on, pairs signal, class 3",
        "link aggregation (802.3): capable, not aggregated",
        "33-44-55/2c 4546",
    ];
    let row = neighbor(&evbd, |row| words.iter().all(|words| told(row, words))).await;
    let all = row["organizational"].to_string();
    for start in
        ["MAC/PHY: ", "MED network device, knows capabilities, policy, location", "MED extended power "]
    {
        assert!(all.contains(start), "{row:#}");
    }
    assert_eq!((says(&row, "system_name"), says(&row, "port_description")), ("other", "b0"));
    assert_eq!(row["unknown"], serde_json::json!(["33-44-55/2c 4546"]));
    assert_eq!((&row["unknown_tlvs"], &row["malformed_tlvs"]), (&Value::from(1), &Value::from(0)), "{row:#}");
}

#[tokio::test]
async fn lldpad_shows_every_tlv_and_its_own_are_shown() {
    let (mut here, mut there) = two();
    // lldpad knows only the three octets of 802.3af; its client overruns a buffer of its own when there is much to show.
    let tlvs = TLVS.replace(", type = 2, priority = 1, requested = 255, allocated = 130", "");
    let (_, evbd) = here.evbd(evbd_program!(), &bridge(&tlvs)).await;
    let config = there.file("lldpad.conf");
    std::fs::write(&config, "lldp : { b0 : { adminStatus = 3; }; };\n").expect("a writable configuration");
    let mut command = there.command("unshare");
    let line =
        format!("mount -t tmpfs -o size=1m tmpfs /dev/shm && exec lldpad -p -t -f {}", config.display());
    command.args(["-m", "sh", "-c", &line]).stdout(Stdio::null()).stderr(Stdio::null());
    there.spawn(command);
    let tool = |arguments: &[&str]| there.attempt("lldptool", arguments);
    eventually("lldpad answers", PATIENCE, || tool(&["-p"]), |a| a.trim().parse::<u32>().is_ok());
    let own = ["portDesc", "sysName", "sysDesc", "sysCap", "mngAddr", "macPhyCfg", "linkAgg", "MTU"];
    for tlv in own {
        eventually(
            "lldpad takes it",
            PATIENCE,
            || tool(&["-T", "-i", "b0", "-V", tlv, "enableTx=yes"]),
            |a| a.contains("enableTx = yes"),
        );
    }
    let shown = |tlv: &str| tool(&["-t", "-n", "-i", "b0", "-V", tlv]);
    eventually("the neighbour", PATIENCE, || shown("sysName"), |a| a.contains("tor"));
    let values: [(&str, &[&str]); 21] = [
        ("portDesc", &["to the rack"]),
        ("sysDesc", &["evbd "]),
        ("sysCap", &["System capabilities:  Bridge", "Enabled capabilities: Bridge"]),
        ("mngAddr", &["IPv4: 192.0.2.1", "IPv6: 2001:db8::1", "MAC: 02:00:00:00:00:01"]),
        ("PVID", &["PVID: 100"]),
        // In hexadecimal, and it tests another bit for "enabled".
        ("PPVID", &["PVID: c8, supported"]),
        ("vlanName", &["VID 100: Name web", "VID 101: Name db"]),
        ("ProtoID", &["88.cc."]),
        ("vidUsage", &["VID Usage Digest TLV"]),
        ("mgmtVID", &["Mgmt VID: 10"]),
        ("linkAggr", &["Currently aggregated", "Aggregated Port ID: 7"]),
        ("macPhyCfg", &["supported and enabled", "0x6c01", "1000 BaseTFD"]),
        // It shows the octet and one; the octet is the class and one.
        (
            "powerMdi",
            &["Port class PSE", "PSE MDI power supported", " and enabled", "pair: signal", "class 6"],
        ),
        ("linkAgg", &["Aggregation capable", "Currently not aggregated"]),
        ("MTU", &["1518"]),
        ("medCap", &["netcon", "LLDP-MED, Network Policy, Inventory"]),
        ("medPolicy", &["0140c96e"]),
        ("medHwRev", &["h1"]),
        ("medSerNum", &["n1"]),
        ("medModel", &["o1"]),
        ("medAssetID", &["a1"]),
    ];
    for (tlv, wanted) in values {
        let said = shown(tlv);
        assert!(wanted.iter().all(|w| said.contains(w)), "{tlv}: {said}");
    }
    let words = ["maximum frame size 1518", "link aggregation (802.3): not capable, not aggregated"];
    let row = neighbor(&evbd, |row| words.iter().all(|words| told(row, words))).await;
    assert!(row["organizational"].to_string().contains("MAC/PHY: "), "{row:#}");
    assert!(
        says(&row, "port_description").contains("b0") && says(&row, "system_description").contains("Linux")
    );
    assert_eq!(row["capabilities"]["enabled"], serde_json::json!(["station_only"]));
    assert_eq!((&row["unknown_tlvs"], &row["malformed_tlvs"]), (&Value::from(0), &Value::from(0)), "{row:#}");
}

/// Two evbds: three agents on one port, each with its own neighbour, one of them at an address of its own.
#[tokio::test]
async fn three_agents_on_one_port() {
    let (mut here, mut there) = two();
    let keys = "[port.lldp.nearest_non_tpmr]\nadmin = \"rx_tx\"\ntx_interval = 7\ntlvs = { pvid = 3 }\n\
                [port.lldp.nearest_customer]\nadmin = \"rx_tx\"\ndestination = \"01:80:c2:00:00:21\"\ntlvs = { pvid = 4 }\n";
    let (_, evbd) = here.evbd(evbd_program!(), &bridge(keys)).await;
    let (_, peer) = there.evbd(evbd_program!(), &bridge(keys).replace("a0", "b0")).await;
    for client in [&evbd, &peer] {
        let rows = table(client, Table::Neighbors, PATIENCE, |rows| rows.len() == 3).await;
        let of = |scope: &str| rows.iter().find(|row| says(row, "scope") == scope).unwrap();
        assert!(told(of("nearest_non_tpmr"), "port VLAN 3") && of("nearest_non_tpmr")["ttl_s"] == 29);
        assert!(told(of("nearest_customer"), "port VLAN 4"));
        let nearest = of("nearest_bridge");
        assert!(nearest["organizational"].as_array().is_none_or(Vec::is_empty), "{nearest:#}");
    }
    // One that is switched off takes its leave there and only there.
    let file = here.file("evbd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("admin = \"rx_tx\"", "admin = \"disabled\"", 1)).unwrap();
    let rows = evbd.reload().await.unwrap();
    let line = r#"~ port a0 lldp.nearest_non_tpmr.admin "rx_tx" → "disabled""#;
    assert_eq!(rows.iter().map(|row| says(row, "line")).collect::<Vec<_>>(), [line]);
    event(&peer, "leave", PATIENCE, |e| says(e, "what") == "gone" && says(e, "cause") == "shutdown").await;
    let rows = peer.show(Table::Neighbors).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| says(row, "scope")).collect::<Vec<_>>(),
        ["nearest_bridge", "nearest_customer"]
    );
}

fn reload(netns: &Netns, more: &[&str]) -> Output {
    let socket = netns.file("evbd.sock");
    let mut command = netns.command(evbd_program!());
    command.args(["reload", "--socket"]).arg(socket).args(more).output().expect("evbd starts")
}

#[tokio::test]
async fn a_reload_is_seen_by_the_peer_and_a_wrong_file_changes_nothing() {
    let (mut here, mut there) = two();
    let (process, evbd) =
        here.evbd(evbd_program!(), &bridge("[lldp]\ntx_interval = 30\n[lldp.tlvs]\npvid = 100\n")).await;
    let lldpd = Lldpd::start(&mut there);
    let pvid = |n: &Value, wanted: &str| n["vlan"]["vlan-id"] == wanted && n["vlan"]["pvid"] == true;
    lldpd.sees("VLAN 100", |n| pvid(n, "100"));

    let file = here.file("evbd.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let changed = good.replace("tx_interval = 30", "tx_interval = 10").replace("pvid = 100", "pvid = 200");
    std::fs::write(&file, format!("{changed}[relay]\nageing = 60\n")).unwrap();
    let said = reload(&here, &[]);
    let lines = String::from_utf8_lossy(&said.stdout).into_owned();
    let wanted = "~ lldp.tlvs.pvid 100 → 200\n~ lldp.tx_interval 30 → 10\n! relay.ageing needs a restart\n";
    assert_eq!((said.status.success(), lines.as_str()), (true, wanted));
    let seen = lldpd.sees("VLAN 200", |n| pvid(n, "200"));
    assert_eq!(seen["port"]["ttl"], "41", "{seen:#}");
    // The daemon never writes its file.
    assert!(std::fs::read_to_string(&file).unwrap().ends_with("[relay]\nageing = 60\n"));

    // A wrong file is refused whole, with the place.
    std::fs::write(
        &file,
        changed.replace("pvid = 200", "pvid = 300").replace("tx_interval = 10", "tx_interval = 0"),
    )
    .unwrap();
    let said = reload(&here, &[]);
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        !said.status.success() && error.contains("evbd.toml:7:15: `tx_interval` = 0 is out of range"),
        "{error}"
    );
    event(&evbd, "refusal", PATIENCE, |e| says(e, "event") == "reload_refused").await;
    assert!(pvid(&lldpd.neighbor(), "200"));

    // SIGHUP does the same, and the neighbour is remembered all along.
    std::fs::write(&file, changed.replace("pvid = 200", "pvid = 300")).unwrap();
    let before = neighbor(&evbd, |_| true).await;
    let pid = here.pid(process);
    here.run("kill", &["-HUP", &pid.to_string()]);
    event(&evbd, "reloaded", PATIENCE, |e| {
        says(e, "event") == "reloaded" && e["changes"] == serde_json::json!(["~ lldp.tlvs.pvid 200 → 300"])
    })
    .await;
    lldpd.sees("VLAN 300", |n| pvid(n, "300"));
    let after = neighbor(&evbd, |_| true).await;
    assert!(after["age_s"].as_u64() >= before["age_s"].as_u64(), "{after:#}");
    let json: Value = serde_json::from_slice(&reload(&here, &["--json"]).stdout).unwrap();
    assert_eq!(json["changes"], serde_json::json!([]), "{json:#}");
}

#[tokio::test]
async fn ports_are_added_and_removed_while_others_run() {
    let (mut here, mut there) = two();
    wire(&here, "a1", &there, "b1");
    let (_, evbd) = here.evbd(evbd_program!(), &bridge("")).await;
    let both = bridge("[[port]]\ninterface = \"a1\"\nkind = \"lan\"\n");
    let (_, peer) = there.evbd(evbd_program!(), &both.replace("a0", "b0").replace("a1", "b1")).await;
    let heard = |ports: &'static [&str]| {
        move |rows: &[Value]| rows.iter().map(|row| says(row, "port")).collect::<Vec<_>>() == ports
    };
    table(&peer, Table::Neighbors, PATIENCE, heard(&["b0"])).await;
    let file = here.file("evbd.toml");
    let one = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{one}[[port]]\ninterface = \"a1\"\nkind = \"lan\"\ntagged = [5]\n"))
        .unwrap();
    let rows = evbd.reload().await.unwrap();
    assert_eq!(says(&rows[0], "line"), "+ port a1");
    table(&peer, Table::Neighbors, PATIENCE, heard(&["b0", "b1"])).await;
    table(&evbd, Table::Ports, PATIENCE, |rows| {
        rows.len() == 2 && rows.iter().all(|r| says(r, "link") == "up")
    })
    .await;
    std::fs::write(&file, one).unwrap();
    evbd.reload().await.unwrap();
    // At once, for a shutdown LLDPDU says so.
    table(&peer, Table::Neighbors, PATIENCE, heard(&["b0"])).await;
    assert_eq!(evbd.show(Table::Ports).await.unwrap().len(), 1);
}
