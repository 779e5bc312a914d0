//! The candidates: two hosts and what joins them, in namespaces of their own.

use std::{fmt::Write, net::Ipv4Addr, path::Path, time::Duration};

use evb_tests::netns::{Netns, table, wire};
use evbd::api::{Client, Table};
use serde_json::Value;

/// The hosts' addresses, and one that is known to be the second's and that it does not have.
pub(crate) const ONE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const TWO: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 200);

/// Two hosts and what joins them.
pub(crate) struct Place {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    pub(crate) one: Netns,
    pub(crate) two: Netns,
    /// Daemons with the number of their process.
    pub(crate) daemons: Vec<(u32, Client)>,
    _between: Vec<Netns>,
}

/// How to make a [`Place`].
pub(crate) struct Candidate {
    pub(crate) group: &'static str,
    pub(crate) name: &'static str,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    LinuxBridge,
    Macvlan,
    Bridge(&'static str),
    KernelVepa,
    Vepa,
    LinuxBridges,
    /// Of these tags, whether sessions make the channels.
    Extended(&'static str, bool),
}

const SWITCH: &str = "host – switch – host";
const VEPA: &str = "VM – VEPA – reflecting bridge – VEPA – VM";
const EXTEND: &str = "VM – port extender – bridge – port extender – VM";

/// The first of each group is what the others are compared with.
pub(crate) const CANDIDATES: [Candidate; 9] = [
    Candidate { group: SWITCH, name: "Linux bridge", what: What::LinuxBridge },
    Candidate { group: SWITCH, name: "macvlan bridge", what: What::Macvlan },
    Candidate { group: SWITCH, name: "evbd bridge", what: What::Bridge("packet") },
    Candidate { group: SWITCH, name: "evbd bridge, AF_XDP", what: What::Bridge("xdp") },
    Candidate { group: VEPA, name: "macvlan VEPA, Linux bridge hairpin", what: What::KernelVepa },
    Candidate { group: VEPA, name: "evbd VEPA, evbd reflective relay", what: What::Vepa },
    Candidate { group: EXTEND, name: "three Linux bridges", what: What::LinuxBridges },
    Candidate { group: EXTEND, name: "evbd extend, E-TAG", what: What::Extended("etag", true) },
    Candidate { group: EXTEND, name: "evbd fex, VN-Tag", what: What::Extended("vntag", false) },
];

impl Candidate {
    /// Builds it; a bridge of evbd's has `vsis` VSIs on a port of its own.
    pub(crate) async fn build(&self, vsis: u16) -> Place {
        let (one, two) = (Netns::new("one"), Netns::new("two"));
        let (between, daemons) = match self.what {
            What::LinuxBridge => (vec![linux_bridge(&one, &two)], vec![]),
            What::Macvlan => (macvlan(&one, &two, "bridge").into(), vec![]),
            What::Bridge(carrier) => bridge(&one, &two, vsis, carrier).await,
            What::KernelVepa => (kernel_vepa(&one, &two), vec![]),
            What::Vepa => vepa(&one, &two).await,
            What::LinuxBridges => (linux_bridges(&one, &two), vec![]),
            What::Extended(framing, sessions) => extended(&one, &two, framing, sessions).await,
        };
        for (host, address) in [(&one, ONE), (&two, TWO)] {
            host.run("ip", &["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
            host.run("ip", &["link", "set", "eth0", "up"]);
        }
        let mac = mac_of(&two);
        let nobody = NOBODY.to_string();
        one.run("ip", &["neigh", "add", &nobody, "lladdr", &mac, "nud", "permanent", "dev", "eth0"]);
        Place { group: self.group, name: self.name, one, two, daemons, _between: between }
    }
}

fn mac_of(host: &Netns) -> String {
    let said = host.run("ip", &["-j", "link", "show", "dev", "eth0"]);
    let links: Value = serde_json::from_str(&said).expect("JSON");
    links.get(0).and_then(|link| link.get("address")?.as_str()).expect("an address").to_owned()
}

fn linux_bridge(one: &Netns, two: &Netns) -> Netns {
    let switch = Netns::new("linux");
    for (host, port) in [(one, "p1"), (two, "p2")] {
        wire(&switch, port, host, "eth0");
    }
    bridged(&switch, ["p1", "p2"]);
    switch
}

/// Has a Linux bridge in `switch` forward between its `ports`.
fn bridged(switch: &Netns, ports: [&str; 2]) {
    switch.run("ip", &["link", "add", "br0", "type", "bridge"]);
    switch.run("ip", &["link", "set", "br0", "up"]);
    for port in ports {
        switch.run("ip", &["link", "set", port, "master", "br0"]);
    }
}

fn linux_bridges(one: &Netns, two: &Netns) -> Vec<Netns> {
    let [left, middle, right] = three(one, two);
    bridged(&left, ["p1", "up0"]);
    bridged(&middle, ["c1", "c2"]);
    bridged(&right, ["p1", "up0"]);
    vec![left, middle, right]
}

/// What is between two VMs, each behind a port extender of its own.
fn three(one: &Netns, two: &Netns) -> [Netns; 3] {
    let [left, middle, right] = ["left", "middle", "right"].map(Netns::new);
    wire(&left, "p1", one, "eth0");
    wire(&right, "p1", two, "eth0");
    wire(&middle, "c1", &left, "up0");
    wire(&middle, "c2", &right, "up0");
    for (at, interface) in [(&middle, "c1"), (&middle, "c2"), (&left, "up0"), (&right, "up0")] {
        at.run("ip", &["link", "set", interface, "mtu", "1512"]);
    }
    [left, middle, right]
}

async fn extended(
    one: &Netns,
    two: &Netns,
    framing: &str,
    sessions: bool,
) -> (Vec<Netns>, Vec<(u32, Client)>) {
    let [mut left, mut middle, mut right] = three(one, two);
    let known = |id| if sessions { String::new() } else { format!("extended = [{{ id = {id} }}]\n") };
    let cascade = |interface, id| {
        format!(
            "[[port]]\ninterface = \"{interface}\"\nkind = \"lan\"\nuntagged = 1\ncascade = true\n\
             framing = \"{framing}\"\n{}",
            known(id)
        )
    };
    let bridge = format!("role = \"bridge\"\n{}{}", cascade("c1", 101), cascade("c2", 102));
    let controlling = daemon(&mut middle, &bridge).await;
    let mut daemons = Vec::new();
    for (at, id) in [(&mut left, 101), (&mut right, 102)] {
        let own = if sessions { String::new() } else { format!("id = {id}\nuntagged = 1\n") };
        let text = format!(
            "role = \"extender\"\n[[port]]\ninterface = \"up0\"\nkind = \"upstream\"\nframing = \"{framing}\"\n\
             [[port]]\ninterface = \"p1\"\nkind = \"extended\"\n{own}"
        );
        daemons.push(daemon(at, &text).await);
    }
    let up = |rows: &[Value]| {
        let up = |row: &&Value| {
            row.get("port").and_then(Value::as_str).is_some_and(|port| port.contains(':'))
                && row.get("link").is_some_and(|link| link == "up")
        };
        rows.iter().filter(up).count() == 2
    };
    table(&controlling.1, Table::Ports, PATIENCE, up).await;
    daemons.insert(0, controlling);
    (vec![left, middle, right], daemons)
}

/// Macvlans of `s0`, whose other end is `b0` in a second namespace.
fn macvlan(one: &Netns, two: &Netns, mode: &str) -> [Netns; 2] {
    let (host, peer) = (Netns::new("macvlan"), Netns::new("peer"));
    wire(&host, "s0", &peer, "b0");
    for guest in [one, two] {
        let add = ["link", "add", "link", "s0", "name", "eth0", "netns", guest.name()];
        host.run("ip", &[&add[..], &["type", "macvlan", "mode", mode]].concat());
    }
    [host, peer]
}

fn kernel_vepa(one: &Netns, two: &Netns) -> Vec<Netns> {
    let [host, peer] = macvlan(one, two, "vepa");
    peer.run("ip", &["link", "add", "br0", "type", "bridge"]);
    peer.run("ip", &["link", "set", "br0", "up"]);
    peer.run("ip", &["link", "set", "b0", "master", "br0"]);
    peer.run("bridge", &["link", "set", "dev", "b0", "hairpin", "on"]);
    vec![host, peer]
}

/// `carrier` is what moves the frames of the hosts.
async fn bridge(one: &Netns, two: &Netns, vsis: u16, carrier: &str) -> (Vec<Netns>, Vec<(u32, Client)>) {
    let (mut switch, mut station) = (Netns::new("bridge"), Netns::new("station"));
    wire(&switch, "p1", one, "eth0");
    wire(&switch, "p2", two, "eth0");
    wire(&station, "s0", &switch, "b0");
    let port = |interface| {
        format!(
            "[[port]]\ninterface = \"{interface}\"\nkind = \"lan\"\nuntagged = 100\ncarrier = \"{carrier}\"\n"
        )
    };
    let tor = daemon(&mut switch, &format!("{BRIDGE}{}", ["p1", "p2"].map(port).concat())).await;
    let (mut text, mut links) = (STATION.to_owned(), String::new());
    for n in 0..vsis {
        let ([high, low], interface) = (n.to_be_bytes(), format!("vm{n}"));
        writeln!(links, "link add {interface} up type veth peer name peer{n}").expect("a string");
        vsi(&mut text, &interface, n, &format!("52:54:00:01:{high:02x}:{low:02x}"));
    }
    let batch = station.file("links");
    std::fs::write(&batch, links).expect("a file");
    station.run("ip", &["-batch", &batch.display().to_string()]);
    let host = daemon(&mut station, &text).await;
    open(&tor.1, usize::from(vsis)).await;
    (vec![switch, station], vec![tor, host])
}

async fn vepa(one: &Netns, two: &Netns) -> (Vec<Netns>, Vec<(u32, Client)>) {
    let (mut station, mut switch) = (Netns::new("station"), Netns::new("bridge"));
    wire(&station, "s0", &switch, "b0");
    let mut text = STATION.to_owned();
    for (n, guest) in (0..).zip([one, two]) {
        let interface = format!("vm{n}");
        wire(&station, &interface, guest, "eth0");
        vsi(&mut text, &interface, n, &mac_of(guest));
    }
    let tor = daemon(&mut switch, BRIDGE).await;
    let host = daemon(&mut station, &text).await;
    open(&tor.1, 2).await;
    open(&host.1, 2).await;
    (vec![station, switch], vec![tor, host])
}

fn vsi(text: &mut String, interface: &str, n: u16, mac: &str) {
    write!(
        text,
        "[[vsi]]\nname = \"v{n}\"\ninterface = \"{interface}\"\nid = \"a0000000-0000-4000-8000-00000000{n:04x}\"\n\
         type = 5\nversion = 1\nmac = \"{mac}\"\n"
    )
    .expect("a string");
}

async fn daemon(netns: &mut Netns, config: &str) -> (u32, Client) {
    let (place, client) = netns.evbd(Path::new(env!("CARGO_BIN_EXE_evbd-under-test")), config).await;
    (netns.pid(place), client)
}

/// Waits until so many gates are open.
async fn open(client: &Client, count: usize) {
    let open =
        |rows: &[Value]| rows.iter().filter(|row| row.get("gate").is_some_and(|g| g == "open")).count();
    table(client, Table::Vsi, PATIENCE, |rows| open(rows) == count).await;
}

const PATIENCE: Duration = Duration::from_secs(120);
const STATION: &str =
    "role = \"station\"\n[evb]\nmode = \"vepa\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n";
const BRIDGE: &str = "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
    [[profile]]\nname = \"lab\"\ntype = 5\nversion = 1\nvlans = [100]\n";
