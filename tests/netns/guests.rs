//! VMs of a hypervisor: taps by their names, libvirt's domains over D-Bus, its hooks.

use std::{
    collections::HashMap,
    io::Write,
    process::{Child, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use ether::{EtherType, MacAddr, frame::build};
use evb_tests::{
    bus::Bus,
    evbd_program,
    netns::{Netns, event, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;
use zbus::{Connection, OwnedObjectPath, connection::Builder, fdo, interface, object_server::SignalEmitter};

use crate::{PATIENCE, bridge_config, hearing::socket, says};

const DOMAIN: &str = "6b1d0a58-9c2e-4f6e-8a53-1c55b1a4d001";

/// A hypervisor and its bridge, EVB agreed.
struct Host {
    host: Netns,
    _bridge: Netns,
    evbd: Client,
    peer: Client,
}

impl Host {
    async fn new(guests: &str) -> Self {
        let (mut host, mut bridge) = (Netns::new("host"), Netns::new("bridge"));
        wire(&host, "s0", &bridge, "b0");
        let config = format!("role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n{guests}");
        let (_, peer) = bridge.evbd(evbd_program!(), &bridge_config()).await;
        let (_, evbd) = host.evbd(evbd_program!(), &config).await;
        table(&evbd, Table::Evb, PATIENCE, |rows| rows.iter().any(|row| says(row, "peer") == "present"))
            .await;
        Self { host, _bridge: bridge, evbd, peer }
    }

    fn ip(&self, arguments: &str) {
        self.host.run("ip", &arguments.split(' ').collect::<Vec<_>>());
    }

    /// The VSIs with an open gate at the bridge.
    async fn open(&self, count: usize) -> Vec<Value> {
        let open = |rows: &[Value]| rows.iter().filter(|row| says(row, "gate") == "open").count() == count;
        table(&self.evbd, Table::Vsi, PATIENCE, open).await;
        table(&self.peer, Table::Vsi, PATIENCE, open).await
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock");
    u64::try_from(since.as_millis()).expect("a date")
}

/// How long after `since` a VSI came to what is looked for, in milliseconds.
async fn after(client: &Client, since: u64, what: &str, id: &str) -> u64 {
    let at = |event: &Value| event["unix_ms"].as_u64().unwrap_or(0);
    let told =
        event(client, what, PATIENCE, |e| says(e, "what") == what && says(e, "id") == id && at(e) >= since)
            .await;
    at(&told) - since
}

const BY_NAME: &str = "[guests]\n[[guests.tap]]\ninterface = \"vnet*\"\ntype = 1\nversion = 1\n";

#[tokio::test]
async fn taps_come_and_go_within_a_tenth_of_a_second() {
    let host = Host::new(BY_NAME).await;
    let (mut plugged, mut unplugged) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let id = format!("52:54:00:00:01:{round:02x}");
        host.ip(&format!("tuntap add dev vnet{round} mode tap"));
        let since = unix_ms();
        host.ip(&format!("link set vnet{round} address fe:54:00:00:01:{round:02x} up"));
        plugged.push(after(&host.peer, since, "associated", &id).await);
        let since = unix_ms();
        host.ip(&format!("link del vnet{round}"));
        unplugged.push(after(&host.peer, since, "deassociated", &id).await);
    }
    plugged.sort_unstable();
    unplugged.sort_unstable();
    println!("plugged after {plugged:?} ms, unplugged after {unplugged:?} ms");
    assert!(
        plugged[10] < 100 && unplugged[10] < 100,
        "plugged after {plugged:?} ms, unplugged after {unplugged:?} ms"
    );
    host.open(0).await;
    assert!(host.evbd.show(Table::Guests).await.unwrap().is_empty());
    // The ports are gone with them.
    assert_eq!(host.evbd.show(Table::Ports).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_tap_is_a_port_with_a_guard_also_one_out_of_a_linux_bridge() {
    let detach = BY_NAME.replace("[guests]", "[guests]\ndetach = true");
    let host = Host::new(&detach).await;
    let vm = Netns::new("vm");
    host.ip("link add virbr0 type bridge");
    host.ip("link set virbr0 up");
    wire(&host.host, "vnet3", &vm, "eth0");
    host.ip("link set vnet3 master virbr0");
    host.ip("link set vnet3 address fe:54:00:00:00:03");
    host.open(1).await;
    let moved = |row: &Value| says(row, "port") == "vnet3" && says(row, "carrier") == "packet";
    table(&host.evbd, Table::Ports, PATIENCE, |rows| rows.iter().any(moved)).await;
    let links = host.host.run("ip", &["-o", "link", "show", "vnet3"]);
    assert!(!links.contains("virbr0"), "{links}");

    let socket = socket(&vm, "eth0", EtherType::ECP);
    let send = |last: u8| {
        let frame =
            build(MacAddr::broadcast(), MacAddr(0x52, 0x54, 0, 0, 0, last), EtherType(0x88b5), &[0; 46]);
        socket.send(&frame).unwrap();
    };
    let count = |field: &'static str| {
        move |rows: &[Value]| {
            let row = rows.iter().find(|row| says(row, "port") == "vnet3");
            row.is_some_and(|row| field.split('.').fold(row, |row, field| &row[field]).as_u64() > Some(0))
        }
    };
    let deadline = Instant::now() + PATIENCE;
    while !count("forwarded")(&host.evbd.show(Table::Ports).await.unwrap()) {
        assert!(Instant::now() < deadline, "the VM's own address does not pass");
        send(3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    send(4);
    let foreign = |rows: &[Value]| rows.iter().any(|row| says(row, "source") == "52:54:00:00:00:04");
    table(&host.evbd, Table::Drops, PATIENCE, foreign).await;
}

/// libvirt-dbus: tells nothing before it is called.
#[derive(Clone, Default)]
struct Libvirt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// XML and state of each domain that runs.
    domains: HashMap<String, (String, (i32, i32))>,
    called: bool,
}

struct Connect(Libvirt);
struct Domain(Libvirt, String);

#[interface(name = "org.libvirt.Connect")]
impl Connect {
    async fn list_domains(&self, flags: u32) -> Vec<OwnedObjectPath> {
        assert_eq!(flags, 1);
        let mut state = self.0.0.lock().unwrap();
        state.called = true;
        state.domains.keys().map(|uuid| OwnedObjectPath::try_from(path(uuid)).unwrap()).collect()
    }

    #[zbus(signal)]
    async fn domain_event(
        to: &SignalEmitter<'_>,
        domain: OwnedObjectPath,
        event: i32,
        detail: i32,
    ) -> zbus::Result<()>;
}

#[interface(name = "org.libvirt.Domain")]
impl Domain {
    #[zbus(name = "GetXMLDesc")]
    async fn get_xml_desc(&self, _flags: u32) -> fdo::Result<String> {
        Ok(self.known()?.0)
    }

    async fn get_state(&self, _flags: u32) -> fdo::Result<(i32, i32)> {
        Ok(self.known()?.1)
    }

    #[zbus(signal)]
    async fn device_added(to: &SignalEmitter<'_>, alias: &str) -> zbus::Result<()>;
}

impl Domain {
    fn known(&self) -> fdo::Result<(String, (i32, i32))> {
        let state = self.0.0.lock().unwrap();
        Ok(state.domains.get(&self.1).cloned().unwrap_or((xml(&[]), (5, 1))))
    }
}

fn path(uuid: &str) -> String {
    format!("/org/libvirt/QEMU/domain/_{}", uuid.replace('-', "_"))
}

impl Libvirt {
    async fn serve(&self, bus: &Bus) -> Connection {
        let connection = Builder::address(bus.address().as_str())
            .serve_at("/org/libvirt/QEMU", Connect(self.clone()))
            .serve_at(path(DOMAIN), Domain(self.clone(), DOMAIN.to_owned()))
            .build()
            .await
            .unwrap();
        connection.request_name("org.libvirt").await.unwrap();
        connection
    }

    /// The domain is like this now, and whoever listens is told: it has an event, or a device.
    async fn tell(
        &self,
        connection: &Connection,
        domain: Option<(String, (i32, i32))>,
        event: Option<(i32, i32)>,
    ) {
        let tells = {
            let mut state = self.0.lock().unwrap();
            match domain {
                Some(domain) => drop(state.domains.insert(DOMAIN.to_owned(), domain)),
                None => drop(state.domains.remove(DOMAIN)),
            }
            state.called
        };
        let to = |path: &str| SignalEmitter::new(connection, path.to_owned()).unwrap();
        let domain = OwnedObjectPath::try_from(path(DOMAIN)).unwrap();
        match event {
            _ if !tells => {}
            Some((event, detail)) => {
                Connect::domain_event(&to("/org/libvirt/QEMU"), domain, event, detail).await.unwrap()
            }
            None => Domain::device_added(&to(&path(DOMAIN)), "net1").await.unwrap(),
        }
    }
}

/// A domain with these taps: names, and last octets of the VM's addresses.
fn xml(taps: &[(&str, u8)]) -> String {
    let nics: String = taps
        .iter()
        .map(|(tap, last)| {
            format!(
                "<interface type='ethernet'><mac address='52:54:00:00:00:{last:02x}'/><target dev='{tap}'/></interface>"
            )
        })
        .collect();
    format!(
        "<domain type='kvm'><name>web</name><uuid>{DOMAIN}</uuid><metadata>\
         <evbd:guest xmlns:evbd=\"https://evbd.org/xmlns/guest/1\"><evbd:vsi type=\"1\" version=\"1\"/></evbd:guest>\
         </metadata><devices>{nics}</devices></domain>"
    )
}

const RUNS: (i32, i32) = (1, 1);

#[tokio::test]
async fn domains_of_libvirt_are_followed() {
    let bus = Bus::start();
    let host = Host::new(&format!("[guests]\nlibvirt = \"{}\"\n", bus.address())).await;
    event(&host.evbd, "no libvirt", PATIENCE, |e| says(e, "event") == "libvirt_lost").await;
    // A domain that runs already.
    let libvirt = Libvirt::default();
    host.ip("tuntap add dev vnet0 mode tap");
    libvirt.0.lock().unwrap().domains.insert(DOMAIN.to_owned(), (xml(&[("vnet0", 1)]), RUNS));
    let connection = libvirt.serve(&bus).await;
    event(&host.evbd, "libvirt", PATIENCE, |e| says(e, "event") == "libvirt_reached").await;
    let rows = host.open(1).await;
    assert_eq!(says(&rows[0], "id"), "52:54:00:00:00:01");
    let rows = host.evbd.show(Table::Guests).await.unwrap();
    assert_eq!(
        (says(&rows[0], "domain"), says(&rows[0], "interface"), says(&rows[0], "libvirt")),
        ("web", "vnet0", "heard")
    );

    // A second interface is plugged in; both go when the domain ends, its taps after it.
    host.ip("tuntap add dev vnet1 mode tap");
    let since = unix_ms();
    libvirt.tell(&connection, Some((xml(&[("vnet0", 1), ("vnet1", 2)]), RUNS)), None).await;
    let took = after(&host.peer, since, "associated", "52:54:00:00:00:02").await;
    println!("plugged in {took} ms after DeviceAdded");
    assert!(took < 1000, "{took} ms");
    let rows = host.open(2).await;
    let names = |rows: &[Value]| rows.iter().map(|row| says(row, "name").to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&host.evbd.show(Table::Vsi).await.unwrap()), ["web", "web/2"], "{rows:#?}");
    libvirt.tell(&connection, None, Some((5, 0))).await;
    host.open(0).await;

    // One that comes from another host is prepared for, and associated when it is here.
    libvirt.tell(&connection, Some((xml(&[("vnet0", 1)]), (3, 2))), Some((2, 1))).await;
    event(&host.evbd, "it is prepared", PATIENCE, |e| says(e, "what") == "pre_associated").await;
    assert!(host.evbd.show(Table::Vsi).await.unwrap().iter().all(|row| says(row, "gate") == "shut"));
    libvirt.tell(&connection, Some((xml(&[("vnet0", 1)]), RUNS)), Some((4, 1))).await;
    host.open(1).await;

    // libvirt-dbus ends and comes back, silent: what it says is found by asking.
    connection.close().await.unwrap();
    libvirt.0.lock().unwrap().called = false;
    event(&host.evbd, "libvirt is lost", PATIENCE, |e| {
        says(e, "event") == "libvirt_lost" && !says(e, "error").contains("no bus")
    })
    .await;
    host.open(1).await;
    libvirt.0.lock().unwrap().domains.clear();
    let _connection = libvirt.serve(&bus).await;
    host.open(0).await;
}

/// A hook of libvirt, and the end of what it reads.
fn hook(host: &Netns, arguments: &[&str]) -> Child {
    let mut command = host.command(evbd_program!());
    let socket = host.file("evbd.sock");
    command.arg("hook").args(arguments);
    if !arguments.contains(&"--socket") {
        command.arg("--socket").arg(socket);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("evbd starts")
}

fn said(mut hook: Child, xml: &str) -> Output {
    // One that does not read is no failure of ours.
    let _ = hook.stdin.take().expect("a pipe").write_all(xml.as_bytes());
    hook.wait_with_output().expect("it ends")
}

#[tokio::test]
async fn hooks_tell_and_never_hinder() {
    let host = Host::new("[guests]\n").await;
    host.ip("tuntap add dev vnet0 mode tap");
    let xml = xml(&[("vnet0", 1)]);
    let call = |operation: &str, xml: &str, more: &[&str]| {
        let arguments = [&["qemu", "web", operation, "begin", "-"], more].concat();
        said(hook(&host.host, &arguments), xml)
    };
    for operation in ["prepare", "start", "started"] {
        assert!(call(operation, &xml, &["--strict"]).status.success());
    }
    host.open(1).await;
    assert!(call("stopped", &xml, &["--strict"]).status.success());
    host.open(0).await;

    // A network says of which type, where the domain does not.
    let bare = xml.replace("evbd:vsi", "evbd:nothing");
    let port = format!(
        "<hookData><networkport><owner><name>web</name><uuid>{DOMAIN}</uuid></owner><mac address='52:54:00:00:00:01'/>\
         <virtualport type='802.1Qbg'><parameters managerid='0' typeid='1' typeidversion='1'/></virtualport>\
         </networkport></hookData>"
    );
    assert!(
        said(hook(&host.host, &["network", "net", "port-created", "begin", "-", "--strict"]), &port)
            .status
            .success()
    );
    assert!(call("start", &bare, &["--strict"]).status.success());
    host.open(1).await;
    assert!(call("release", &bare, &[]).status.success());
    host.open(0).await;

    // Whatever goes wrong, libvirt is told that all is well, and soon; but when strict.
    for (more, fails) in [(&[][..], false), (&["--strict"], true)] {
        let nonsense = call("start", "<domain>", more);
        assert_eq!(nonsense.status.success(), !fails, "{nonsense:?}");
        assert!(!nonsense.stderr.is_empty());
        let untyped = call("start", &bare, more);
        assert_eq!(untyped.status.success(), !fails, "{untyped:?}");
        let nobody = call("start", &xml, &[more, &["--socket", "/nonexistent"]].concat());
        assert_eq!(nobody.status.success(), !fails, "{nobody:?}");
        // One that is never done talking.
        let since = Instant::now();
        let arguments = [&["qemu", "web", "start", "begin", "-", "--timeout", "1"], more].concat();
        let mut endless = hook(&host.host, &arguments);
        let pipe = endless.stdin.take();
        assert_eq!(endless.wait().unwrap().success(), !fails);
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
        drop(pipe);
    }
}
