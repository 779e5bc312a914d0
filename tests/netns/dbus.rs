//! The D-Bus interface, on a bus of our own and on the socket: what is told, who may do what, and what no client can do.

use std::{
    collections::{BTreeSet, HashMap},
    io::{Read, Write},
    num::NonZeroUsize,
    os::unix::net::UnixStream,
    process::Command,
    time::Duration,
};

use evb_tests::{
    bus::Bus,
    evbd_program,
    netns::{Netns, event, table, wire},
};
use evbd::api::{Client, Table};
use futures_util::StreamExt;
use serde_json::Value;
use zbus::{
    Connection, DBusError, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Variant,
    message::Message, message::Type,
};

use crate::{PATIENCE, bridge_config, says, station_config};

const VSI: &str = "/org/evbd/port/s0/vsi/52_3a54_3a00_3a00_3a00_3a01";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const PAUSE: Duration = Duration::from_millis(20);

type Objects = HashMap<OwnedObjectPath, HashMap<String, HashMap<String, OwnedVariant>>>;

/// A station on a bus, its bridge, and the VM.
struct Set {
    bus: Bus,
    station: Netns,
    _bridge: Netns,
    vm: Netns,
    evbd: Client,
    peer: Client,
}

impl Set {
    async fn new(control: &str) -> Self {
        let (bus, mut station, mut bridge) = (Bus::start(), Netns::new("station"), Netns::new("bridge"));
        let vm = Netns::new("vm");
        wire(&station, "s0", &bridge, "b0");
        wire(&station, "vm0", &vm, "eth0");
        let (_, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
        let config = format!("{}[control]\nbus = \"{}\"\n{control}\n", station_config(), bus.address());
        let (_, evbd) = station.evbd(evbd_program!(), &config).await;
        let open = |rows: &[Value]| rows.iter().any(|row| says(row, "gate") == "open");
        table(&evbd, Table::Vsi, PATIENCE, open).await;
        Self { bus, station, _bridge: bridge, vm, evbd, peer }
    }
}

/// Calls evbd on the bus.
async fn call<B: serde::Serialize + zbus::DynamicType>(
    bus: &Connection,
    path: &str,
    interface: &str,
    member: &str,
    body: &B,
) -> zbus::Result<Message> {
    bus.call_method(Some("org.evbd"), path, Some(interface), member, body).await
}

/// Waits until evbd is on the bus.
async fn on(bus: &Connection) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = call(bus, "/org/evbd", "org.freedesktop.DBus.Peer", "Ping", &()).await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn objects(bus: &Connection) -> Objects {
    call(bus, "/org/evbd", MANAGER, "GetManagedObjects", &()).await.unwrap().body().deserialize().unwrap()
}

async fn signals(bus: &Connection) -> MessageStream {
    let rule = MatchRule::builder().msg_type(Type::Signal).path_namespace("/org/evbd").build().unwrap();
    MessageStream::for_match_rule(rule, bus, NonZeroUsize::new(1024)).await.unwrap()
}

/// Waits for a signal that is looked for.
async fn signal(stream: &mut MessageStream, what: &str, is: impl Fn(&Message) -> bool) -> Message {
    let mut seen = Vec::new();
    let search = async {
        loop {
            let message = stream.next().await.expect("the bus is there").unwrap();
            if is(&message) {
                return message;
            }
            seen.push(format!("{message}"));
        }
    };
    let found = tokio::time::timeout(PATIENCE, search).await;
    found.unwrap_or_else(|_| panic!("{what}: not told; told was\n{}", seen.join("\n")))
}

/// Whether a message says that a property of an object has this value now.
fn tells(message: &Message, path: &str, property: &str, value: &str) -> bool {
    let header = message.header();
    if header.member().is_none_or(|member| member.as_str() != "PropertiesChanged")
        || header.path().is_none_or(|at| at.as_str() != path)
    {
        return false;
    }
    let body = message.body();
    let (_, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) = body.deserialize().unwrap();
    changed.get(property).is_some_and(|now| **now == Variant::from(value))
}

/// Whether a message says that an object is there, or is gone.
fn concerns(message: &Message, member: &str, path: &str) -> bool {
    let header = message.header();
    if header.member().is_none_or(|is| is.as_str() != member) {
        return false;
    }
    let body = message.body();
    let at = match member {
        "InterfacesAdded" => {
            body.deserialize::<(OwnedObjectPath, HashMap<String, HashMap<String, OwnedVariant>>)>().unwrap().0
        }
        _ => body.deserialize::<(OwnedObjectPath, Vec<String>)>().unwrap().0,
    };
    at.as_str().starts_with(path)
}

fn error_of(answer: zbus::Result<Message>) -> String {
    match answer {
        Err(zbus::Error::MethodError(name, _, _)) => name.as_str().to_owned(),
        Err(zbus::Error::FDO(error)) => error.name().as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn objects_come_change_and_go_and_take_orders() {
    let set = Set::new("").await;
    let bus = set.bus.connect().await;
    on(&bus).await;
    let mut told = signals(&bus).await;
    let all = objects(&bus).await;
    let paths: BTreeSet<&str> = all.keys().map(|path| path.as_str()).collect();
    for path in ["/org/evbd/port/s0", "/org/evbd/port/vm0", VSI] {
        assert!(paths.contains(path), "{paths:?}");
    }
    assert!(
        paths.iter().any(|path| path.starts_with("/org/evbd/port/s0/neighbor/nearest_5fcustomer/")),
        "{paths:?}"
    );
    let vsi = &all[&OwnedObjectPath::try_from(VSI).unwrap()]["org.evbd.Vsi1"];
    assert_eq!((&*vsi["Gate"], &*vsi["Name"]), (&Variant::from("open"), &Variant::from("vm")));
    assert!(all[&OwnedObjectPath::try_from("/org/evbd/port/s0").unwrap()].contains_key("org.evbd.Evb1"));

    // A link goes down, an order shuts a gate, another opens it.
    set.vm.run("ip", &["link", "set", "eth0", "down"]);
    signal(&mut told, "the link is down", |m| tells(m, "/org/evbd/port/vm0", "Link", "down")).await;
    set.vm.run("ip", &["link", "set", "eth0", "up"]);
    signal(&mut told, "the link is up", |m| tells(m, "/org/evbd/port/vm0", "Link", "up")).await;
    let ordered = |member: &'static str| call(&bus, VSI, "org.evbd.Vsi1", member, &());
    let event: HashMap<String, OwnedVariant> =
        ordered("Deassociate").await.unwrap().body().deserialize().unwrap();
    assert_eq!(*event["event"], Variant::from("vsi_ordered"));
    signal(&mut told, "the gate is shut", |m| tells(m, VSI, "Gate", "shut")).await;
    call(&bus, VSI, "org.evbd.Vsi1", "Migrate", &"prepare").await.unwrap();
    signal(&mut told, "it is pre-associated", |m| tells(m, VSI, "Confirmed", "pre_associate_rr")).await;
    call(&bus, VSI, "org.evbd.Vsi1", "Migrate", &"arrive").await.unwrap();
    signal(&mut told, "the gate is open", |m| tells(m, VSI, "Gate", "open")).await;
    let why: Vec<HashMap<String, OwnedVariant>> = ordered("Why").await.unwrap().body().deserialize().unwrap();
    assert_eq!((why.len(), why[0].contains_key("because")), (1, true));

    // A VSI given at run time has a port and an object as long as it is there.
    let given = serde_json::json!({ "command": "associate", "vsi": { "given": { "name": "new", "interface": "tap9",
        "id": "52:54:00:00:00:09", "type": 1, "version": 1, "filters": [{ "mac": "52:54:00:00:00:09" }] } } });
    set.evbd.order(&serde_json::from_value(given).unwrap()).await.unwrap();
    signal(&mut told, "a VSI", |m| {
        concerns(m, "InterfacesAdded", "/org/evbd/port/s0/vsi/52_3a54_3a00_3a00_3a00_3a09")
    })
    .await;
    signal(&mut told, "its port", |m| concerns(m, "InterfacesAdded", "/org/evbd/port/tap9")).await;

    // A neighbour takes its leave.
    set.peer.stop(true, 5).await.unwrap();
    signal(&mut told, "no neighbour", |m| concerns(m, "InterfacesRemoved", "/org/evbd/port/s0/neighbor/"))
        .await;
}

#[tokio::test]
async fn errors_have_names() {
    let set = Set::new("").await;
    let bus = set.bus.connect().await;
    on(&bus).await;
    let daemon = "org.evbd.Daemon1";
    for (path, interface, member, error) in [
        ("/org/evbd", daemon, "Nonsense", "org.freedesktop.DBus.Error.UnknownMethod"),
        ("/org/evbd", "org.evbd.Nonsense1", "Ports", "org.freedesktop.DBus.Error.UnknownInterface"),
        ("/org/evbd/port/none", PROPERTIES, "GetAll", "org.freedesktop.DBus.Error.InvalidArgs"),
        ("/org/evbd/nonsense", daemon, "Ports", "org.freedesktop.DBus.Error.UnknownObject"),
        ("/org/evbd", PROPERTIES, "Set", "org.freedesktop.DBus.Error.PropertyReadOnly"),
        ("/org/evbd/port/s0/vsi/1", "org.evbd.Vsi1", "Associate", "org.evbd.Error.UnknownVsi"),
        ("/org/evbd/port/s0/vsi/1", "org.evbd.Vsi1", "Why", "org.evbd.Error.UnknownVsi"),
        (VSI, "org.evbd.Vsi1", "Migrate", "org.freedesktop.DBus.Error.InvalidArgs"),
        ("/org/evbd", daemon, "OrderVsi", "org.freedesktop.DBus.Error.InvalidArgs"),
    ] {
        assert_eq!(error_of(call(&bus, path, interface, member, &()).await), error, "{path} {member}");
    }
    let get = async |property| {
        call(&bus, "/org/evbd/port/s0", PROPERTIES, "Get", &("org.evbd.Port1", property)).await
    };
    assert_eq!(error_of(get("Nonsense").await), "org.freedesktop.DBus.Error.UnknownProperty");
    assert!(get("Link").await.is_ok());
    assert_eq!(
        error_of(call(&bus, VSI, "org.evbd.Vsi1", "Migrate", &"sideways").await),
        "org.freedesktop.DBus.Error.InvalidArgs"
    );
    let file = set.station.file("evbd.toml");
    std::fs::write(file, "role = \"sation\"").unwrap();
    assert_eq!(
        error_of(call(&bus, "/org/evbd", daemon, "Reload", &()).await),
        "org.evbd.Error.Configuration"
    );
}

#[tokio::test]
async fn every_object_tells_what_it_is_on_the_bus_and_on_the_socket() {
    let set = Set::new("").await;
    let bus = set.bus.connect().await;
    on(&bus).await;
    let socket = UnixStream::connect(set.station.file("evbd.sock")).unwrap();
    let peer = zbus::connection::Builder::unix_stream(socket).p2p().build().await.unwrap();
    let (mut here, mut there) = (BTreeSet::new(), BTreeSet::new());
    for (connection, service, found) in [(&bus, Some("org.evbd"), &mut here), (&peer, None, &mut there)] {
        let mut open = vec!["/".to_owned()];
        while let Some(path) = open.pop() {
            let answer = connection
                .call_method(
                    service,
                    path.as_str(),
                    Some("org.freedesktop.DBus.Introspectable"),
                    "Introspect",
                    &(),
                )
                .await
                .unwrap();
            let xml: String = answer.body().deserialize().unwrap();
            for line in xml.lines().filter_map(|line| line.trim().strip_prefix("<node name=\"")) {
                let child = line.split('"').next().unwrap();
                open.push(format!("{}/{child}", path.trim_end_matches('/')));
            }
            for interface in
                xml.lines().filter_map(|line| line.trim().strip_prefix("<interface name=\"org.evbd."))
            {
                found.insert((path.clone(), interface.split('"').next().unwrap().to_owned()));
            }
        }
    }
    assert_eq!(here, there);
    let kinds: BTreeSet<&str> = here.iter().map(|(_, interface)| interface.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["Daemon1", "Evb1", "Neighbor1", "Port1", "Vsi1"]));
    let managed: BTreeSet<String> = objects(&bus).await.into_keys().map(|path| path.to_string()).collect();
    let walked: BTreeSet<String> =
        here.into_iter().map(|(path, _)| path).filter(|path| path != "/org/evbd").collect();
    assert_eq!(walked, managed);
}

/// What `dbus-send` says when a user of a group calls.
fn send(user: u32, group: u32, to: &str, path: &str, member: &str) -> String {
    let output = Command::new("setpriv")
        .args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "dbus-send"])
        .args([
            to,
            "--type=method_call",
            "--print-reply",
            "--reply-timeout=20000",
            "--dest=org.evbd",
            path,
            member,
        ])
        .output()
        .expect("setpriv runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn each_may_do_what_the_configuration_says() {
    let set = Set::new("group = \"4242\"\nreaders = \"4243\"").await;
    on(&set.bus.connect().await).await;
    let socket = set.station.file("evbd.sock");
    Command::new("chmod").arg("755").arg(socket.parent().unwrap()).status().unwrap();
    let bus = format!("--bus={}", set.bus.address());
    let peer = format!("--peer=unix:path={}", socket.display());
    for to in [&bus, &peer] {
        let ports = |user, group| send(user, group, to, "/org/evbd", "org.evbd.Daemon1.Ports");
        let order = |user, group| send(user, group, to, VSI, "org.evbd.Vsi1.Associate");
        for (user, group, reads, changes) in [
            (0, 0, true, true),
            (65534, 4242, true, true),
            (65534, 4243, true, false),
            (65534, 65534, false, false),
        ] {
            let (ports, order) = (ports(user, group), order(user, group));
            assert_eq!(ports.contains("string \"port\""), reads, "{to} {user}:{group} {ports}");
            assert_eq!(order.contains("vsi_ordered"), changes, "{to} {user}:{group} {order}");
            assert!(changes || !reads || order.contains("AccessDenied"), "{order}");
        }
    }
    let denied = send(65534, 65534, &bus, "/org/evbd", "org.evbd.Daemon1.Ports");
    assert!(denied.contains("AccessDenied"), "{denied}");
}

#[tokio::test]
async fn a_bus_may_come_late_go_and_come_back() {
    let mut set = Set::new("").await;
    on(&set.bus.connect().await).await;
    for _ in 0..2 {
        set.bus.kill();
        // Without it all goes on.
        assert_eq!(set.evbd.show(Table::Vsi).await.unwrap().len(), 1);
        set.bus.again();
        let bus = set.bus.connect().await;
        on(&bus).await;
        assert!(!objects(&bus).await.is_empty());
    }
}

#[tokio::test]
async fn no_client_holds_the_daemon_up() {
    let set = Set::new("").await;
    let socket = set.station.file("evbd.sock");
    // One that says nothing, one that says nonsense, one that asks and never listens.
    let silent: Vec<UnixStream> = (0..50).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut garbage = UnixStream::connect(&socket).unwrap();
    garbage.write_all(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n").unwrap();
    garbage.write_all(&[0xff; 4096]).unwrap();
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest);
    let mut deaf = UnixStream::connect(&socket).unwrap();
    deaf.write_all(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n").unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let question =
        Message::method_call("/org/evbd", "GetManagedObjects").interface(MANAGER).build(&()).unwrap();
    let mut asked = 0;
    while asked < 100_000 && deaf.write_all(question.data()).is_ok() {
        asked += 1;
    }
    assert!(asked < 100_000, "the daemon takes in what it does not answer");
    let since = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(set.evbd.show(Table::Vsi).await.unwrap().len(), 1);
    }
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    // And the engines go on.
    set.vm.run("ip", &["link", "set", "eth0", "down"]);
    event(&set.evbd, "link down", PATIENCE, |e| says(e, "event") == "link_down" && says(e, "port") == "vm0")
        .await;
    drop((silent, deaf));
}
