//! Daemons killed and started again: their VSIs, the traffic, and the state file on disk.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use evb_tests::{
    evbd_program,
    netns::{Netns, event, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use crate::{PATIENCE, says};

const KILLS: u32 = 100;
/// toutKeepAlive of the defaults is 17.4 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

fn station_config() -> String {
    let mut text = "role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n".to_owned();
    for n in 1..=2 {
        text += &format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"a0000000-0000-4000-8000-00000000000{n}\"\n\
             type = 5\nversion = 1\nmac = \"52:54:00:00:00:0{n}\"\n"
        );
    }
    text
}

fn bridge_config() -> String {
    "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
     [[port]]\ninterface = \"l0\"\nkind = \"lan\"\nuntagged = 100\n\
     [[profile]]\nname = \"p\"\ntype = 5\nversion = 1\nvlans = [100]\n"
        .to_owned()
}

/// A namespace with this address on eth0, at the other end of `interface` in `host`.
fn guest(host: &Netns, interface: &str, n: u8) -> Netns {
    let guest = Netns::new(interface);
    wire(host, interface, &guest, "eth0");
    guest.run("ip", &["link", "set", "eth0", "address", &format!("52:54:00:00:00:0{n}")]);
    guest.run("ip", &["addr", "add", &format!("192.0.2.{n}/24"), "dev", "eth0"]);
    guest
}

/// Whether 192.0.2.`n` answers `guest` within a tenth of a second.
fn reaches(guest: &Netns, n: u8) -> bool {
    let program = evbd_program!().display().to_string();
    let said = guest.attempt(
        &program,
        &["lab-probe", "ping", &format!("192.0.2.{n}"), "--timeout-ms", "100", "--count", "1"],
    );
    let result: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}"));
    result["answered"].as_u64() == Some(1)
}

/// The daemon has so many VSIs, each once and each open.
async fn open(client: &Client, count: usize) {
    let all = |rows: &[Value]| rows.len() == count && rows.iter().all(|row| says(row, "gate") == "open");
    table(client, Table::Vsi, PATIENCE, all).await;
}

#[tokio::test]
async fn a_hundred_kills_and_the_traffic_goes_on() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    let (one, _two, lan) = (guest(&station, "vm1", 1), guest(&station, "vm2", 2), guest(&bridge, "l0", 9));
    let (mut at_bridge, mut peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    let (mut at_station, mut evbd) = station.evbd(evbd_program!(), &station_config()).await;
    open(&evbd, 2).await;
    open(&peer, 2).await;
    let mut gaps = Vec::new();
    for kill in 0..KILLS {
        let start = Instant::now();
        if kill % 2 == 0 {
            bridge.kill(at_bridge);
            (at_bridge, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
        } else {
            station.kill(at_station);
            (at_station, evbd) = station.evbd(evbd_program!(), &station_config()).await;
        }
        while !reaches(&one, 9) {
            assert!(start.elapsed() < PATIENCE, "kill {kill}: no traffic");
        }
        gaps.push(start.elapsed());
        // The next one comes at some other point of what the two have to say to one another.
        std::thread::sleep(Duration::from_millis(u64::from(kill * 37 % 211)));
    }
    gaps.sort();
    println!(
        "traffic after a kill -9: median {:?}, 90 % {:?}, worst {:?}",
        gaps[gaps.len() / 2],
        gaps[gaps.len() * 9 / 10],
        gaps[gaps.len() - 1]
    );
    open(&evbd, 2).await;
    open(&peer, 2).await;
    assert!(reaches(&lan, 1) && reaches(&lan, 2));
    // The bridge believes that the station is there, and finds that it is not.
    station.kill(at_station);
    table(&peer, Table::Vsi, KEEP_ALIVE, <[Value]>::is_empty).await;
    bridge.kill(at_bridge);
    let (_, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    assert!(peer.show(Table::Vsi).await.unwrap().is_empty(), "what ended is not remembered");
}

/// A bridge with a VSI, killed; its state file.
async fn killed(bridge: &mut Netns) -> (std::path::PathBuf, Netns, Netns) {
    let mut station = Netns::new("station");
    wire(&station, "s0", bridge, "b0");
    let vm = guest(&station, "vm1", 1);
    let (_, _evbd) = station.evbd(evbd_program!(), &station_config()).await;
    let (place, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    open(&peer, 1).await;
    bridge.kill(place);
    (bridge.file("state").join("state.redb"), station, vm)
}

#[tokio::test]
async fn a_damaged_state_file_is_set_aside_and_told() {
    let mut bridge = Netns::new("bridge");
    let (file, _station, _vm) = killed(&mut bridge).await;
    let octets = std::fs::read(&file).unwrap();
    // Half of it may be room that was not used yet.
    std::fs::write(&file, &octets[..1000]).unwrap();
    let (_, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    let told = event(&peer, "damage", PATIENCE, |e| says(e, "event") == "state_damaged").await;
    assert!(Path::new(says(&told, "aside")).exists(), "{told}");
    // The VSI comes back by protocol, and is remembered.
    open(&peer, 1).await;
}

/// A disk that is read-only, or has no room, and then has: nothing stops, and what is so is told.
#[tokio::test]
async fn a_disk_that_takes_nothing_is_told_and_tried_again() {
    let mut bridge = Netns::new("bridge");
    let (file, _station, _vm) = killed(&mut bridge).await;
    let directory = file.parent().unwrap().display().to_string();
    let config = bridge.file("evbd.toml").display().to_string();
    let client = |socket: std::path::PathBuf| async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(&socket).await {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    for options in ["size=8k", "ro"] {
        // The mount is seen by the daemon alone, and ends with it.
        let mut command: Command = bridge.command("sh");
        let script = format!(
            "mount -t tmpfs -o {options} state {directory} && exec {} run --config {config} 2>>{}",
            evbd_program!().display(),
            bridge.file("evbd.log").display()
        );
        command.args(["-c", &script]);
        let place = bridge.spawn(command);
        let peer = client(bridge.file("evbd.sock")).await;
        let told = event(&peer, "loss", PATIENCE, |e| says(e, "event") == "state_lost").await;
        assert!(!says(&told, "because").is_empty(), "{told}");
        open(&peer, 1).await;
        if options != "ro" {
            let pid = bridge.pid(place).to_string();
            let mount = ["-t", &pid, "-m", "mount", "-o", "remount,size=64m", &directory];
            assert!(Command::new("nsenter").args(mount).status().unwrap().success());
            event(&peer, "room again", PATIENCE, |e| says(e, "event") == "state_kept").await;
        }
        bridge.kill(place);
    }
}

#[tokio::test]
async fn two_daemons_do_not_share_a_state_directory() {
    let mut bridge = Netns::new("bridge");
    let (_, _peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    let text = std::fs::read_to_string(bridge.file("evbd.toml")).unwrap();
    let other = bridge.file("other.toml");
    std::fs::write(&other, text.replace("evbd.sock", "other.sock")).unwrap();
    let said = bridge
        .attempt(&evbd_program!().display().to_string(), &["run", "--config", &other.display().to_string()]);
    assert!(said.contains("another evbd keeps its state in"), "{said}");
}

/// `evbd stop` leaves VSIs as they are, `evbd stop --deassociate` ends them, and says what it could not.
#[tokio::test]
async fn a_stop_leaves_vsis_or_takes_them_along() {
    let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &bridge, "b0");
    let _guests = (guest(&station, "vm1", 1), guest(&station, "vm2", 2));
    let (_, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
    let stop = |host: &Netns, more: &[&str]| {
        let socket = host.file("evbd.sock").display().to_string();
        let mut command = host.command(evbd_program!());
        let output = command.args(["stop", "--json", "--socket", &socket]).args(more).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let rows: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.success(), rows["vsis"].as_array().unwrap().clone(), output)
    };
    let (place, evbd) = station.evbd(evbd_program!(), &station_config()).await;
    open(&evbd, 2).await;
    let (ok, rows, _) = stop(&station, &[]);
    assert!(ok && rows.is_empty());
    let deadline = Instant::now() + PATIENCE;
    while station.runs(place) {
        assert!(Instant::now() < deadline, "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    open(&peer, 2).await;

    let (_, evbd) = station.evbd(evbd_program!(), &station_config()).await;
    open(&evbd, 2).await;
    let (ok, rows, _) = stop(&station, &["--deassociate"]);
    assert!(ok && rows.len() == 2 && rows.iter().all(|row| row["deassociated"] == true), "{rows:?}");
    assert!(peer.show(Table::Vsi).await.unwrap().is_empty());
    assert!(peer.show(Table::Neighbors).await.unwrap().is_empty(), "the station took leave");

    // The bridge is not there to answer.
    let (_, evbd) = station.evbd(evbd_program!(), &station_config()).await;
    open(&evbd, 2).await;
    drop(bridge);
    let (ok, rows, output) = stop(&station, &["--deassociate", "--timeout", "1"]);
    assert!(!ok && rows.iter().any(|row| row["deassociated"] == false), "{rows:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("did not confirm in 1 s"), "{output:?}");
}
