//! S-channels on a real wire: tags, and that one that comes or goes costs the others nothing.

use std::{
    collections::BTreeSet,
    io::Read,
    process::{Child, Stdio},
    time::Duration,
};

use carrier::{Batch, Options, PacketPort};
use ether::EtherType;
use evb_tests::{
    evbd_program,
    netns::{Netns, inside, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::{PATIENCE, lab, nothing_left, says};

/// A station, a bridge and VMs: 1 and 2 in the VEPA `blue`, 3 and 4 in the VEB `red`, 5 alone in `guest`.
struct Place {
    station: Netns,
    bridge: Netns,
    vms: Vec<Netns>,
}

const CHANNELS: [(&str, u8, &str, &[u8]); 3] =
    [("blue", 2, "vepa", &[1, 2]), ("red", 3, "veb", &[3, 4]), ("guest", 4, "direct", &[5])];

impl Place {
    fn new(mtu: &str) -> Self {
        let (station, bridge) = (Netns::new("station"), Netns::new("bridge"));
        wire(&station, "s0", &bridge, "b0");
        station.run("ip", &["link", "set", "s0", "mtu", mtu]);
        bridge.run("ip", &["link", "set", "b0", "mtu", mtu]);
        let vms = (1..=5).map(|n| {
            let vm = Netns::new(&format!("vm{n}"));
            wire(&station, &format!("vm{n}"), &vm, "eth0");
            vm.run("ip", &["link", "set", "eth0", "address", &format!("52:54:00:00:00:0{n}")]);
            vm.run("ip", &["addr", "add", &format!("10.77.0.{n}/24"), "dev", "eth0"]);
            vm
        });
        let vms = vms.collect();
        Self { station, bridge, vms }
    }

    fn vm(&self, n: u8) -> &Netns {
        &self.vms[usize::from(n) - 1]
    }

    fn probe(&self, vm: u8, arguments: &[&str]) -> Child {
        let mut command = self.vm(vm).command(evbd_program!());
        command.arg("lab-probe").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("evbd starts")
    }

    fn ping(&self, from: u8, to: u8) -> Value {
        result(self.probe(from, &["ping", &format!("10.77.0.{to}"), "--count", "20"]))
    }
}

fn result(mut child: Child) -> Value {
    let mut said = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut said).expect("its result");
    assert!(child.wait().expect("it ends").success());
    // What it said before, if it did, is that it listens.
    serde_json::from_str(said.lines().last().unwrap_or_default()).expect("JSON")
}

fn bridge() -> String {
    "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\nsvids = \"100-199\"\n\
     [[profile]]\nname = \"p\"\ntype = 1\nversion = 1\nvlans = [10]\n"
        .to_owned()
}

/// A station with these of the channels.
fn station(wanted: &[&str]) -> String {
    let wanted = || CHANNELS.iter().filter(|(name, ..)| wanted.contains(name));
    let list: Vec<String> = wanted()
        .map(|(name, id, mode, _)| format!("{{ name = \"{name}\", id = {id}, mode = \"{mode}\" }}"))
        .collect();
    let vsi = |name: &str, n: &u8| {
        format!(
            "[[vsi]]\nname = \"vm{n}\"\ninterface = \"vm{n}\"\nid = \"52:54:00:00:00:0{n}\"\ntype = 1\nversion = 1\n\
             mac = \"52:54:00:00:00:0{n}\"\nchannel = \"{name}\"\n"
        )
    };
    let vsis: String = wanted().flat_map(|(name, _, _, vms)| vms.iter().map(|n| vsi(name, n))).collect();
    format!(
        "role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\nchannels = [{}]\n{vsis}",
        list.join(", ")
    )
}

/// Waits until the gates of so many VSIs are open, and no others are known.
async fn open(client: &Client, vsis: usize) {
    let all = |rows: &[Value]| rows.len() == vsis && rows.iter().all(|row| says(row, "gate") == "open");
    table(client, Table::Vsi, PATIENCE, all).await;
}

async fn channels(client: &Client, ends: &[&str]) -> Vec<Value> {
    let there = |rows: &[Value]| {
        let active = rows.iter().filter(|row| row["active"] == true);
        active.map(|row| says(row, "end")).collect::<BTreeSet<_>>() == ends.iter().copied().collect()
    };
    table(client, Table::Channels, PATIENCE, there).await
}

#[tokio::test]
async fn three_channels_on_one_wire() {
    three_channels(Place::new("1508")).await;
}

/// Tags stand in the frame instead of beside it.
#[tokio::test]
async fn three_channels_without_offload_of_tags() {
    let place = Place::new("1508");
    let tags = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert", "rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
    for (end, interface) in [(&place.station, "s0"), (&place.bridge, "b0")] {
        for feature in tags {
            end.run("ethtool", &["-K", interface, feature, "off"]);
        }
        let left = end.run("ethtool", &["-k", interface]);
        assert!(!left.lines().any(|line| line.contains("vlan") && line.ends_with(": on")), "{left}");
    }
    three_channels(place).await;
}

async fn three_channels(mut place: Place) {
    let mut tap = inside(&place.bridge, || PacketPort::open("b0", &Options::default()).unwrap());
    let (_, peer) = place.bridge.evbd(evbd_program!(), &bridge()).await;
    let (_, evbd) = place.station.evbd(evbd_program!(), &station(&["blue", "red", "guest"])).await;
    open(&evbd, 5).await;
    open(&peer, 5).await;
    channels(&evbd, &["s0", "s0/2", "s0/3", "s0/4"]).await;
    let rows = channels(&peer, &["b0", "b0/2", "b0/3", "b0/4"]).await;
    let svids: Vec<_> = rows.iter().map(|row| row["svid"].as_u64().unwrap()).collect();
    assert_eq!(svids, [1, 100, 101, 102]);
    let relays = evbd.show(Table::Evb).await.unwrap();
    let relays: Vec<_> = relays.iter().map(|row| (says(row, "port"), says(row, "relay"))).collect();
    assert_eq!(relays[1..], [("s0/2", "vepa"), ("s0/3", "veb"), ("s0/4", "direct")]);

    for (from, to) in [(1, 2), (3, 4), (5, 1)] {
        let pings = place.ping(from, to);
        assert_eq!(pings["answered"], pings["sent"], "{from} to {to}: {pings}");
    }
    let (mut batch, mut seen) = (Batch::new(), BTreeSet::new());
    while tap.receive(&mut batch).unwrap() > 0 {
        for frame in batch.frames() {
            let frame = frame.unwrap();
            let tag = frame.tag.filter(|tag| tag.tpid == EtherType::S_VLAN);
            seen.insert((tag.and_then(|tag| tag.vid).map(ether::Vid::get), frame.ethertype().0));
        }
    }
    // (S-VLAN, what follows the S-tag): control frames in each channel, frames of VMs behind their VLAN's tag.
    for svid in [100, 101, 102] {
        assert!(seen.contains(&(Some(svid), EtherType::LLDP.0)), "{seen:?}");
        assert!(seen.contains(&(Some(svid), EtherType::ECP.0)), "{seen:?}");
    }
    for svid in [100, 102] {
        assert!(seen.contains(&(Some(svid), EtherType::C_VLAN.0)), "{seen:?}");
    }
    assert!(!seen.contains(&(None, EtherType::C_VLAN.0)), "{seen:?}");
    let ports = evbd.show(Table::Ports).await.unwrap();
    assert!(ports.iter().all(|row| row.get("fault").is_none()), "{ports:#?}");
    assert!(past(&evbd, 0).await.iter().all(|e| says(e, "event") != "channel_mtu"));
}

#[tokio::test]
async fn a_channel_that_comes_and_goes_costs_the_others_nothing() {
    let mut place = Place::new("1508");
    let (_, peer) = place.bridge.evbd(evbd_program!(), &bridge()).await;
    let (_, evbd) = place.station.evbd(evbd_program!(), &station(&["blue"])).await;
    open(&evbd, 2).await;
    open(&peer, 2).await;
    let pings = place.ping(1, 2);
    assert_eq!(pings["answered"], pings["sent"], "{pings}");
    let before = (evbd.show(Table::Channels).await.unwrap(), last(&evbd).await, last(&peer).await);

    let sink = place.probe(2, &["sink", "10.77.0.2:5201"]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let source = place.probe(1, &["source", "10.77.0.2:5201", "--seconds", "6"]);
    let pinger = place.probe(1, &["ping", "10.77.0.2", "--count", "500"]);
    let file = place.station.file("evbd.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let rest = written.split_once("\n[control]").unwrap().1;
    for _ in 0..2 {
        for (wanted, vsis) in [
            (&["blue", "red"][..], 4),
            (&["blue", "red", "guest"], 5),
            (&["blue", "guest"], 3),
            (&["blue"], 2),
        ] {
            std::fs::write(&file, format!("{}\n[control]{rest}", station(wanted))).unwrap();
            evbd.reload().await.unwrap();
            open(&evbd, vsis).await;
            open(&peer, vsis).await;
        }
    }
    let (pings, tcp) = (result(pinger), result(sink));
    source.wait_with_output().unwrap();
    assert_eq!(pings["answered"], pings["sent"], "{pings}");
    assert!(tcp["intact"] == true && tcp["octets"].as_u64() > Some(1_000_000), "{tcp}");
    assert_eq!(evbd.show(Table::Channels).await.unwrap()[1]["svid"], before.0[1]["svid"]);
    // Nothing was told of blue.
    for (client, port, since) in [(&evbd, "s0/2", before.1), (&peer, "b0/2", before.2)] {
        let told = past(client, since).await;
        let told: Vec<_> =
            told.iter().filter(|e| says(e, "port") == port && says(e, "event") != "neighbor").collect();
        assert!(told.is_empty(), "{told:#?}");
    }
}

/// The events later than number `after`.
async fn past(client: &Client, after: u64) -> Vec<Value> {
    let mut events = client.follow().await.unwrap();
    let mut told = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(300), events.next()).await {
        told.push(event.unwrap());
    }
    told.retain(|event| event["number"].as_u64() > Some(after));
    told
}

/// The number of the last event.
async fn last(client: &Client) -> u64 {
    past(client, 0).await.last().and_then(|event| event["number"].as_u64()).unwrap_or(0)
}

#[tokio::test]
async fn an_mtu_without_room_for_tags_is_told() {
    let mut place = Place::new("1500");
    let (_, _peer) = place.bridge.evbd(evbd_program!(), &bridge()).await;
    let (_, evbd) = place.station.evbd(evbd_program!(), &station(&["blue"])).await;
    let told =
        evb_tests::netns::event(&evbd, "the MTU", PATIENCE, |e| says(e, "event") == "channel_mtu").await;
    assert_eq!((told["mtu"].as_u64(), told["needed"].as_u64()), (Some(1500), Some(1508)), "{told}");
    assert!(says(&told, "remedy").starts_with("ip link set s0 mtu 1508"), "{told}");
}

/// A frame of an S-VLAN nobody has is counted where it comes in; a restart of the bridge renumbers nothing.
#[tokio::test]
async fn strays_are_counted_and_restarts_renumber_nothing() {
    let mut place = Place::new("1508");
    let (process, peer) = place.bridge.evbd(evbd_program!(), &bridge()).await;
    let (_, evbd) = place.station.evbd(evbd_program!(), &station(&["red", "guest"])).await;
    open(&peer, 3).await;
    let svids = |rows: &[Value]| rows.iter().map(|row| row["svid"].as_u64()).collect::<Vec<_>>();
    let before = svids(&peer.show(Table::Channels).await.unwrap());
    let strays = |rows: &[Value]| rows[0]["drops"]["service_tag"].as_u64().unwrap_or(0);
    let already = strays(&peer.show(Table::Ports).await.unwrap());
    inside(&place.station, || {
        let socket = carrier::ControlSocket::open("s0", EtherType::PROBE, &[]).unwrap();
        let mut frame =
            ether::frame::build(ether::MacAddr::new(2, 0, 0, 0, 0, 9), socket.mac(), EtherType(0x88b6), &[]);
        frame.splice(12..12, [0x88, 0xa8, 0x0f, 0xa0]);
        socket.send(&frame).unwrap();
    });
    table(&peer, Table::Ports, PATIENCE, |rows| strays(rows) == already + 1).await;

    let since = last(&evbd).await;
    place.bridge.kill(process);
    let (_, peer) = place.bridge.evbd(evbd_program!(), &bridge()).await;
    open(&peer, 3).await;
    assert_eq!(svids(&peer.show(Table::Channels).await.unwrap()), before);
    open(&evbd, 3).await;
    let lost = |e: &Value| matches!(says(e, "event"), "channel_down" | "evb_peer_lost");
    assert!(!past(&evbd, since).await.iter().any(lost));
}

#[test]
fn lab_channels() {
    let (output, report) = lab("t-channels", &["--scenario", "channels", "--pings", "20"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((&report["ok"], report["vsis"].as_array().map(Vec::len)), (&Value::from(true), Some(5)));
    nothing_left("t-channels");
}
