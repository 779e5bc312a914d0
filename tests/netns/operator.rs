//! What an operator sees: watch, decode, record and replay, doctor, show in detail; against running daemons and lldpad.

mod doctor;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Instant,
};

use evb_tests::{
    evbd_program,
    lldpad::{Lldpad, Role},
    netns::{Netns, event, eventually, table, wire},
    source,
};
use evbd::api::{Client, Table};
use serde_json::Value;

use crate::{PATIENCE, bridge_config, says, station_config};

/// A command of evbd in a namespace.
fn evbd(netns: &Netns, arguments: &[&str]) -> Command {
    let mut command = netns.command(evbd_program!());
    command.args(arguments);
    command
}

fn output(netns: &Netns, arguments: &[&str]) -> Output {
    evbd(netns, arguments).output().expect("evbd starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command that runs on; its output line by line.
struct Running {
    child: Child,
    /// None once it was hung up.
    lines: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("evbd starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines: Some(lines) }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.as_mut().expect("not hung up").read_line(&mut line).expect("text");
        line
    }

    /// The first line, from here on, that is looked for.
    fn until(&mut self, words: &str) -> String {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "ended without {words:?}");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Reads no more.
    fn hang_up(&mut self) {
        self.lines = None;
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Waits for its end: exit code, and what it said on standard error.
    fn end(self) -> (Option<i32>, String) {
        drop(self.lines);
        let output = self.child.wait_with_output().expect("it ends");
        (output.status.code(), err(&output))
    }
}

/// A station and a bridge on a wire, with the VM's interface.
struct Pair {
    station: Netns,
    bridge: Netns,
    _vm: Netns,
}

impl Pair {
    fn new() -> Self {
        let (station, bridge, vm) = (Netns::new("station"), Netns::new("bridge"), Netns::new("vm"));
        wire(&station, "s0", &bridge, "b0");
        wire(&station, "vm0", &vm, "eth0");
        Self { station, bridge, _vm: vm }
    }
}

fn socket(netns: &Netns) -> String {
    netns.file("evbd.sock").display().to_string()
}

async fn associated(client: &Client) {
    event(client, "associated", PATIENCE, |e| says(e, "what") == "associated").await;
}

#[tokio::test]
async fn watch_tells_what_was_and_what_comes() {
    let mut pair = Pair::new();
    let (_, _peer) = pair.bridge.evbd(evbd_program!(), &bridge_config()).await;
    let (daemon, client) = pair.station.evbd(evbd_program!(), &station_config()).await;
    associated(&client).await;
    let socket = socket(&pair.station);
    let watch = |more: &[&str]| output(&pair.station, &[&["watch", "--socket", &socket], more].concat());

    let first: Vec<Value> = out(&watch(&["--json", "--count", "4"]))
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let numbers: Vec<_> = first.iter().map(|event| event["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3), Some(4)]);
    assert!(first.iter().all(|event| event["unix_ms"].as_u64() > Some(1_700_000_000_000)), "{first:#?}");
    let later = out(&watch(&["--from", "3", "--count", "2"]));
    let later: Vec<_> = later.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
    assert_eq!(later, ["3", "4"]);

    let start = || Running::start(evbd(&pair.station, &["watch", "--socket", &socket]));
    let (mut stopped, mut left, mut bereft) = (start(), start(), start());
    for watch in [&mut stopped, &mut left, &mut bereft] {
        assert!(watch.until("VSI vm associated").contains("vid"));
    }
    // Live: the link goes.
    pair.bridge.run("ip", &["link", "set", "b0", "down"]);
    assert!(stopped.until("link down").contains(" s0 "));
    stopped.signal("-INT");
    assert_eq!(stopped.end(), (Some(0), String::new()));
    // A reader that has seen enough: the next event ends it.
    left.hang_up();
    pair.bridge.run("ip", &["link", "set", "b0", "up"]);
    assert_eq!(left.end(), (Some(0), String::new()));
    bereft.until("link up");
    pair.station.kill(daemon);
    let (code, said) = bereft.end();
    assert!(code == Some(1) && said.contains("the daemon went away"), "{code:?} {said}");

    let nobody = output(&pair.station, &["watch", "--socket", "/nonexistent.sock"]);
    assert!(nobody.status.code() == Some(1) && err(&nobody).contains("no evbd answers"), "{}", err(&nobody));
}

#[tokio::test]
async fn decode_listens_to_both_ends_of_a_wire() {
    let mut pair = Pair::new();
    let live = ["decode", "--live", "s0", "--only-ours"];
    let (mut eyes, mut json) = (
        Running::start(evbd(&pair.station, &live)),
        Running::start(evbd(&pair.station, &[&live[..], &["--json"]].concat())),
    );
    let (_, peer) = pair.bridge.evbd(evbd_program!(), &bridge_config()).await;
    let (_, client) = pair.station.evbd(evbd_program!(), &station_config()).await;
    associated(&client).await;
    let lines = [
        eyes.until("Associate request"),
        eyes.until("Associate response"),
        eyes.until("probe of reflective relay"),
    ];
    assert!(lines[0].contains("52:54:00:00:00:01 vlan null") && lines[1].contains("vlan 100"), "{lines:#?}");
    assert!(lines[2].contains(" vlan 100 pcp 0 probe"), "{lines:#?}");
    // LLDP of both, with the EVB TLV.
    let (ours, theirs) = (client.show(Table::Ports).await.unwrap(), peer.show(Table::Ports).await.unwrap());
    let mut wanted: Vec<String> = [&ours[0], &theirs[0]].map(|row| says(row, "mac").to_owned()).to_vec();
    while !wanted.is_empty() {
        let row: Value = serde_json::from_str(&json.until("\"lldp\"")).expect("JSON");
        assert!(says(&row, "time").ends_with('Z') && row["faults"].is_null(), "{row:#}");
        let evb = row["fields"]["tlvs"].as_array().unwrap().iter().any(|tlv| tlv["key"] == "00-80-c2/0d");
        if evb {
            wanted.retain(|mac| mac != says(&row["fields"], "src"));
        }
    }
    for running in [eyes, json] {
        running.signal("-INT");
        assert_eq!(running.end().0, Some(0));
    }
    let missing = output(&pair.station, &["decode", "--live", "nosuch0"]);
    assert!(missing.status.code() == Some(1) && err(&missing).contains("nosuch0"), "{}", err(&missing));
}

#[test]
fn decode_reads_captures_and_text() {
    let data = source::root().join("tests/data");
    let decode = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new(evbd_program!())
            .arg("decode")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("evbd starts");
        // It may end before it has read everything.
        let _ = child.stdin.take().expect("a pipe").write_all(input);
        child.wait_with_output().expect("it ends")
    };
    let file = data.join("lldpad-vdp.pcap");
    let by_name = decode(&["--pcap", &file.display().to_string()], b"");
    assert!(by_name.status.success() && out(&by_name).lines().count() > 10, "{}", err(&by_name));
    let capture = std::fs::read(&file).unwrap();
    assert_eq!(out(&decode(&["--pcap", "-"], &capture)), out(&by_name));
    // The same frames as text.
    let text: String = evbd::decode::Capture::new(&capture[..])
        .unwrap()
        .map(|record| {
            record.unwrap().frame.iter().map(|octet| format!("{octet:02x} ")).collect::<String>() + "\n"
        })
        .collect();
    let by_text = decode(&[], text.as_bytes());
    let without_time =
        |text: &str| text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>();
    assert_eq!(out(&by_text).lines().collect::<Vec<_>>(), without_time(&out(&by_name)));

    let frame = ["ff:ff:ff:ff:ff:ff", "020000000001", "0800", "45"];
    assert!(out(&decode(&frame, b"")).contains("foreign, ethertype 0x0800, 1 octets"));
    assert_eq!(out(&decode(&[&["--only-ours"][..], &frame].concat(), b"")), "");
    let fields = out(&decode(&["-v", "--count", "1", "--pcap", &file.display().to_string()], b""));
    assert!(fields.contains("\n    ethertype: 0x8940\n") && fields.contains("type_id 5"), "{fields}");
    // Wrong input: what is right is shown all the same.
    let wrong = decode(&[], b"0180c2\nxyz\nffffffffffff0200000000010800\n");
    assert_eq!((wrong.status.code(), out(&wrong).lines().count()), (Some(1), 2));
    assert!(
        out(&wrong).contains("malformed Ethernet at octet 0") && err(&wrong).contains("line 2, column 1")
    );
    let cut = decode(&["--pcap", "-"], &capture[..capture.len() - 3]);
    assert_eq!(out(&cut).lines().count() + 1, out(&by_name).lines().count());
    assert!(cut.status.code() == Some(1) && err(&cut).contains("cut off at octet"), "{}", err(&cut));
}

/// Starts a daemon that records.
async fn recorded(netns: &Netns, config: &str, file: &Path) -> (Running, Client) {
    let (path, socket) = (netns.file("evbd.toml"), netns.file("evbd.sock"));
    let text = format!(
        "{config}\n[control]\nsocket = \"{}\"\n[state]\ndirectory = \"{}\"\n",
        socket.display(),
        netns.file("state").display()
    );
    std::fs::write(&path, text).unwrap();
    let mut command = evbd(netns, &["run", "--config"]);
    command.arg(&path).arg("--record").arg(file);
    let mut running = Running::start(command);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Client::connect(&socket).await {
            Ok(client) => return (running, client),
            Err(error) => {
                let ended = running.child.try_wait().expect("ours");
                assert!(ended.is_none() && Instant::now() < deadline, "{error:#} {ended:?}");
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn a_recorded_run_is_played_again() {
    let pair = Pair::new();
    let file = |netns: &Netns| netns.file("run.jsonl");
    let (bridge, _peer) = recorded(&pair.bridge, &bridge_config(), &file(&pair.bridge)).await;
    let (station, client) = recorded(&pair.station, &station_config(), &file(&pair.station)).await;
    associated(&client).await;
    pair.bridge.run("ip", &["link", "set", "b0", "down"]);
    event(&client, "down", PATIENCE, |e| says(e, "event") == "link_down" && says(e, "port") == "s0").await;
    pair.bridge.run("ip", &["link", "set", "b0", "up"]);
    let up = |rows: &[Value]| rows.iter().all(|row| says(row, "link") == "up");
    table(&client, Table::Ports, PATIENCE, up).await;
    let path = pair.station.file("evbd.toml");
    let changed = std::fs::read_to_string(&path).unwrap() + "[evb]\nmode = \"veb\"\n";
    std::fs::write(&path, changed).unwrap();
    station.signal("-HUP");
    event(&client, "reloaded", PATIENCE, |e| says(e, "event") == "reloaded").await;

    station.signal("-TERM");
    assert_eq!(station.end().0, Some(0));
    // One that is killed leaves what it wrote until a second before.
    eventually(
        "the bridge's recording is on disk",
        PATIENCE,
        || std::fs::read_to_string(file(&pair.bridge)).unwrap_or_default(),
        |text| text.contains("\"link_up\""),
    );
    bridge.signal("-KILL");
    bridge.end();

    for netns in [&pair.station, &pair.bridge] {
        let path = file(netns).display().to_string();
        let check = output(netns, &["replay", "--check", &path]);
        assert!(
            check.status.success() && out(&check).contains("all as recorded"),
            "{}{}",
            out(&check),
            err(&check)
        );
        let mut played = out(&output(netns, &["replay", &path, "--inputs"]));
        for words in ["link up", "LLDP, nearest_customer", "VSI", " < ", " > "] {
            assert!(played.contains(words), "{words}:\n{played}");
        }
        played = out(&output(netns, &["replay", &path, "--json", "--until", "1"]));
        assert!(played.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }
    // Another evbd, say, that decides otherwise.
    let path = file(&pair.station);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"associated\"", "\"refused\"", 1)).unwrap();
    let check = output(&pair.station, &["replay", "--check", "--json", &path.display().to_string()]);
    let said: Value = serde_json::from_str(&out(&check)).expect("JSON");
    let first = &said["differences"][0];
    assert_eq!(check.status.code(), Some(1));
    assert_eq!(
        (says(&first["recorded"], "what"), says(&first["now"], "what")),
        ("refused", "associated"),
        "{said:#}"
    );
}

#[tokio::test]
async fn a_full_disk_ends_the_recording_and_not_the_daemon() {
    let bridge = Netns::new("bridge");
    let far = Netns::new("far");
    // Room for the first line and little more.
    let files = bridge.file("small");
    std::fs::create_dir(&files).unwrap();
    let path = files.display().to_string();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "tmpfs", &path]).status();
    assert!(mounted.expect("mount runs").success());
    let _unmount = Unmount(files.clone());
    let (running, client) = recorded(&bridge, &bridge_config(), &files.join("run.jsonl")).await;
    wire(&bridge, "b0", &far, "f0");
    for _ in 0..5 {
        far.run("ip", &["link", "set", "f0", "down"]);
        event_after(&client, "link_down").await;
        far.run("ip", &["link", "set", "f0", "up"]);
        event_after(&client, "link_up").await;
    }
    let log = || client.show(Table::Ports);
    assert!(log().await.is_ok());
    running.signal("-TERM");
    let (code, said) = running.end();
    assert_eq!((code, said.matches("the recording ends here").count()), (Some(0), 1), "{said}");

    let nowhere = bridge.file("no/such/directory");
    let refused = output(
        &bridge,
        &[
            "run",
            "--config",
            &bridge.file("evbd.toml").display().to_string(),
            "--record",
            &nowhere.display().to_string(),
        ],
    );
    assert!(
        refused.status.code() == Some(1) && err(&refused).contains("cannot record to"),
        "{}",
        err(&refused)
    );
}

/// Waits until the last link event is `name`.
async fn event_after(client: &Client, name: &str) {
    let link = if name == "link_up" { "up" } else { "down" };
    table(client, Table::Ports, PATIENCE, |rows| says(&rows[0], "link") == link).await;
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Everything lldpad says, in the order it says it.
#[tokio::test]
async fn neighbors_in_detail() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("switch"));
    wire(&station, "s0", &bridge, "b0");
    // Beside the section of the EVB TLV, those of the basic ones.
    let basic: String =
        (4..=8).map(|kind| format!(" }}; tlvid0000000{kind} : {{ enableTx = true;")).collect();
    let _lldpad = Lldpad::start(&mut bridge, "b0", Role::Bridge, &format!("evbrrcap = true;{basic}"));
    let (_, client) = station.evbd(evbd_program!(), &station_config()).await;
    let all = |rows: &[Value]| rows.iter().any(|row| !row["capabilities"].is_null() && row["evb"] == true);
    let rows = table(&client, Table::Neighbors, PATIENCE, all).await;
    let row = rows.iter().find(|row| row["evb"] == true).unwrap();
    let show = ["show", "neighbors", "--detail", "--socket", &socket(&station)];
    let text = out(&output(&station, &show));
    for words in [
        "s0 nearest_customer ",
        "  from ",
        "  ttl 120 s, expires in ",
        " 1 chassis_id ",
        " 2 port_id ",
        " 3 time_to_live ",
        " 4 port_description ",
        " 5 system_name ",
        " 6 system_description ",
        " 7 system_capabilities ",
        " 8 management_address ",
        "127 organizational      EVB",
        "  0 end",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    assert!(text.contains(says(row, "system_description")), "{text}");

    let text = out(&output(&station, &["metrics", "--socket", &socket(&station)]));
    for start in
        ["evbd_port_rx_frames_total{port=\"s0\"} ", "evbd_evb_agreed{port=\"s0\",role=\"station\"} ", "# EOF"]
    {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start}:\n{text}");
    }
    let heard = "evbd_protocol{port=\"s0\",protocol=\"lldp\",item=\"nearest_customer.frames_in_total\"} ";
    let heard = text.lines().find_map(|line| line.strip_prefix(heard)).expect("LLDP is counted");
    assert!(heard.parse::<u64>().unwrap() > 0, "{text}");
    assert!(says(row, "lldpdu").starts_with("0207"), "{row:#}");
}
