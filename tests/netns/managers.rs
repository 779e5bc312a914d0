//! A VSI manager by a real wire and a real daemon: reached, silent, wrong, out of reach, back, and outlived by its copy.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use evb_tests::{
    evbd_program,
    netns::{Netns, event, eventually, inside, table, wire},
};
use evbd::api::{Client, Table};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::Value;

use super::{PATIENCE, says, station_config};

/// What the manager does with a request.
#[derive(Clone)]
enum Mood {
    /// Sends the profiles, or 304 to whoever has this edition.
    Serve { edition: u32, profiles: String },
    /// Sends this status and body.
    Send(&'static str, String),
    /// Hears, and says nothing until hung up on.
    Silent,
}

/// A manager at one address of a namespace, as long as it lives.
struct Manager {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    /// The requests it had, headers and all, in small letters.
    heard: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Manager {
    /// Listens in the namespace; over TLS, if there is a configuration for that.
    fn start(place: &Netns, mood: Mood, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = inside(place, || TcpListener::bind(ADDRESS).expect("a free port"));
        let address = listener.local_addr().expect("an address");
        let (mood, heard) = (Arc::new(Mutex::new(mood)), Arc::new(Mutex::new(Vec::new())));
        let over = Arc::new(AtomicBool::new(false));
        let (moods, notes, ends) = (Arc::clone(&mood), Arc::clone(&heard), Arc::clone(&over));
        let serve = move || {
            while let Ok((stream, _)) = listener.accept() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let mood = moods.lock().unwrap().clone();
                // A client may hang up whenever it has heard enough.
                let _ = converse(stream, &mood, tls.clone(), &notes);
            }
        };
        Self { address, mood, heard, over, thread: Some(std::thread::spawn(serve)) }
    }

    fn become_(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Waits for a request that comes from now on and has this in it.
    fn hears(&self, what: &str) {
        let from = self.heard.lock().unwrap().len();
        let heard = || self.heard.lock().unwrap().get(from..).unwrap_or_default().join("\n");
        eventually("the manager is asked", PATIENCE, heard, |heard| heard.contains(what));
    }

    /// Ends: whoever asks now is refused.
    fn end(mut self, place: &Netns) {
        self.over.store(true, Ordering::Relaxed);
        inside(place, || drop(TcpStream::connect(self.address)));
        self.thread.take().expect("it runs").join().expect("it ends well");
    }
}

fn converse(
    mut stream: TcpStream,
    mood: &Mood,
    tls: Option<Arc<ServerConfig>>,
    notes: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    match tls {
        None => answer(&mut stream, mood, notes),
        Some(config) => {
            let mut session = ServerConnection::new(config).map_err(std::io::Error::other)?;
            answer(&mut Stream::new(&mut session, &mut stream), mood, notes)?;
            session.send_close_notify();
            session.write_tls(&mut stream).map(drop)
        }
    }
}

fn answer(stream: &mut (impl Read + Write), mood: &Mood, notes: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut octet)? == 1 {
        request.extend(octet);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    notes.lock().unwrap().push(request.clone());
    let (status, tag, body) = match mood {
        Mood::Silent => {
            let _ = stream.read(&mut octet)?;
            return Ok(());
        }
        Mood::Send(status, body) => (*status, String::new(), body.as_str()),
        Mood::Serve { edition, profiles } => {
            let tag = format!("ETag: \"{edition}\"\r\n");
            match request.contains(&format!("if-none-match: \"{edition}\"")) {
                true => ("304 Not Modified", tag, ""),
                false => ("200 OK", tag, profiles.as_str()),
            }
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{tag}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

/// Edition `edition` of the type the station's VSI names.
fn web(edition: u32, vlan: u16, policy: &str) -> Mood {
    let profile = format!(r#"{{"name":"web","type":1,"version":1,"vlans":[{vlan}],"policy":{policy}}}"#);
    Mood::Serve { edition, profiles: format!(r#"{{"profiles":[{profile}]}}"#) }
}

/// A bridge that knows no type but those of its manager; `more` stands in the manager's section.
fn bridge_config(url: &str, more: &str) -> String {
    format!(
        "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
         [[manager]]\nid = \"::\"\nurl = \"{url}\"\npoll = 1\ntimeout = 1\n{more}\n"
    )
}

/// A station with one VM, and a bridge.
struct Place {
    station: Netns,
    bridge: Netns,
    _vm: Netns,
}

impl Place {
    fn new() -> Self {
        let (station, bridge, vm) = (Netns::new("station"), Netns::new("bridge"), Netns::new("vm"));
        wire(&station, "s0", &bridge, "b0");
        wire(&station, "vm0", &vm, "eth0");
        Self { station, bridge, _vm: vm }
    }
}

/// Waits until the manager is in this state, and for this reason.
async fn manager(client: &Client, state: &str, because: &str) {
    let is = |rows: &[Value]| says(&rows[0], "state") == state && says(&rows[0], "because").contains(because);
    table(client, Table::Managers, PATIENCE, is).await;
}

/// Waits until every VSI's gate is open, and there is one.
async fn open(client: &Client) {
    let open = |rows: &[Value]| !rows.is_empty() && rows.iter().all(|row| says(row, "gate") == "open");
    table(client, Table::Vsi, PATIENCE, open).await;
}

#[tokio::test]
async fn types_of_a_manager_come_change_and_outlive_it() {
    let mut place = Place::new();
    let url = format!("http://{ADDRESS}/types");
    let config = bridge_config(&url, "");
    let (process, tor) = place.bridge.evbd(evbd_program!(), &config).await;
    let (_, evbd) = place.station.evbd(evbd_program!(), &station_config()).await;
    // Nobody there yet: the VSI waits.
    manager(&tor, "failing", "refused").await;
    table(&evbd, Table::Evb, PATIENCE, |rows| says(&rows[0]["reflective_relay"], "state") == "on").await;
    assert_eq!(says(&evbd.show(Table::Vsi).await.unwrap()[0], "gate"), "shut");
    let server = Manager::start(&place.bridge, web(1, 100, "{}"), None);
    for client in [&tor, &evbd] {
        open(client).await;
    }
    manager(&tor, "reached", "").await;
    server.hears("if-none-match: \"1\"");

    // Whatever nonsense it says, what it said before counts.
    let another =
        r#"{"profiles":[{"name":"alien","manager":"192.0.2.66","type":1,"version":1,"vlans":[9]}]}"#;
    let nonsense = [
        (Mood::Send("500 Internal Server Error", String::new()), "status 500"),
        (Mood::Send("200 OK", "<html>".into()), "expected value"),
        (Mood::Send("200 OK", " ".repeat((16 << 20) + 1)), "16 MiB"),
        (Mood::Send("200 OK", another.into()), "of manager 192.0.2.66"),
        (
            Mood::Send("200 OK", r#"{"profiles":[{"name":"web","type":1,"version":1}]}"#.into()),
            "without VLANs",
        ),
        (Mood::Silent, "timeout"),
    ];
    for (mood, why) in nonsense {
        server.become_(mood);
        event(&tor, why, PATIENCE, |e| {
            says(e, "event") == "manager_failed" && says(e, "error").contains(why)
        })
        .await;
        let rows = tor.show(Table::Profiles).await.unwrap();
        assert!(rows.len() == 1 && says(&rows[0], "name") == "web", "after {why}: {rows:#?}");
    }
    for client in [&tor, &evbd] {
        let rows = client.show(Table::Vsi).await.unwrap();
        assert_eq!(says(&rows[0], "gate"), "open", "{rows:#?}");
    }

    // Another policy: the same VSI goes on under it.
    server.become_(web(2, 100, r#"{"pcp":{"set":5}}"#));
    event(&tor, "applied", PATIENCE, |e| {
        says(e, "event") == "profiles_changed" && e["reapplied"].as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    manager(&tor, "reached", "").await;

    // The bridge is killed while its manager is gone: the copy serves, and grants anew.
    server.end(&place.bridge);
    manager(&tor, "failing", "refused").await;
    place.bridge.kill(process);
    drop(tor);
    let (_, tor) = place.bridge.evbd(evbd_program!(), &config).await;
    manager(&tor, "failing", "refused").await;
    let rows = tor.show(Table::Profiles).await.unwrap();
    assert_eq!((rows.len(), &rows[0]["policy"]["pcp"]), (1, &serde_json::json!({ "set": 5 })), "{rows:#?}");
    let socket = place.station.file("evbd.sock").display().to_string();
    let order = |what| {
        let program = evbd_program!().display().to_string();
        place.station.run(&program, &["vsi", what, "vm", "--socket", &socket])
    };
    order("deassociate");
    assert_eq!(says(&evbd.show(Table::Vsi).await.unwrap()[0], "gate"), "shut");
    order("associate");
    for client in [&tor, &evbd] {
        open(client).await;
    }

    // Back again it is asked for what is newer than the copy.
    let server = Manager::start(&place.bridge, web(2, 100, r#"{"pcp":{"set":5}}"#), None);
    server.hears("if-none-match: \"2\"");
    manager(&tor, "reached", "").await;
    // A VLAN less: the VSI is withdrawn, asks again, and has the new one.
    server.become_(web(3, 200, "{}"));
    event(&tor, "withdrawn", PATIENCE, |e| {
        says(e, "event") == "profiles_changed" && e["withdrawn"].as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    table(&tor, Table::Vsi, PATIENCE, |rows| {
        rows.iter().any(|row| says(row, "gate") == "open" && row.to_string().contains("200"))
    })
    .await;
}

#[tokio::test]
async fn a_manager_over_tls_is_believed_by_its_authority_only() {
    let mut place = Place::new();
    let (authority, ours) = authority("ours");
    let (stranger, _) = self::authority("a stranger");
    let server = Manager::start(&place.bridge, web(1, 100, "{}"), Some(ours));
    let file = place.bridge.file("ca.pem");
    std::fs::write(&file, stranger).expect("a writable file");
    let more = format!("ca = \"{}\"", file.display());
    let (_, tor) =
        place.bridge.evbd(evbd_program!(), &bridge_config(&format!("https://{ADDRESS}/types"), &more)).await;
    manager(&tor, "failing", "UnknownIssuer").await;
    assert!(server.heard.lock().unwrap().is_empty(), "nothing is asked of a server a stranger vouches for");
    // The file is read at every question.
    std::fs::write(&file, authority).expect("a writable file");
    manager(&tor, "reached", "").await;
    let (_, evbd) = place.station.evbd(evbd_program!(), &station_config()).await;
    open(&evbd).await;
    server.hears("if-none-match: \"1\"");
    server.become_(Mood::Send("302 Found\r\nLocation: http://127.0.0.1:8081/types", String::new()));
    manager(&tor, "failing", "https only").await;
}

#[tokio::test]
async fn a_silent_manager_does_not_hold_up_the_end() {
    let mut place = Place::new();
    let server = Manager::start(&place.bridge, Mood::Silent, None);
    let url = format!("http://{ADDRESS}/types");
    let config = bridge_config(&url, "").replace("timeout = 1", "timeout = 60");
    let (process, tor) = place.bridge.evbd(evbd_program!(), &config).await;
    let heard = || server.heard.lock().unwrap().len().to_string();
    eventually("asked", PATIENCE, heard, |heard| heard != "0");
    drop(tor);
    let (pid, asked) = (place.bridge.pid(process).to_string(), Instant::now());
    place.bridge.run("kill", &["-TERM", &pid]);
    while place.bridge.runs(process) {
        assert!(asked.elapsed() < Duration::from_secs(10), "it waits for its manager");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The certificate of a new authority of this name, and a server it vouches for.
fn authority(name: &str) -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec![ADDRESS.ip().to_string()])
        .and_then(|params| params.signed_by(&key, &authority))
        .expect("signed");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key.into())
        .expect("a key of its own");
    (authority.pem(), Arc::new(config))
}

/// Where managers listen; each namespace has its own.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
