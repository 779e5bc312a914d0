//! Associating many VSIs on one port, beside lldpad doing the same in the same run.
//!
//! Station and bridge of one implementation each, on a veth. VSIs are ordered one after the other, each when the one
//! before has been answered, as a script does that calls the tool: `vdptool` of lldpad, `evbd vsi associate` of evbd. A
//! station of evbd is also given all at once over its socket.

use std::{
    fmt,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use evb_tests::{
    lldpad::{Lldpad, Role},
    netns::{Netns, eventually, resident, table, wire},
};
use evbd::{VsiOrder, Which, api::Table};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use vdp::{Command, Hints};

/// Who associates, and who orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// lldpad at both ends, a `vdptool` for each VSI.
    Vdptool,
    /// evbd at both ends, an `evbd vsi associate` for each VSI.
    Command,
    /// evbd at both ends, ordered over one connection, none waiting for what comes of another.
    AtOnce,
}

/// What came of it.
pub(crate) struct Outcome {
    how: How,
    wanted: u32,
    associated: u32,
    took: Duration,
    /// Resident memory in octets the station and the bridge have more than before, for each VSI.
    memory: [u64; 2],
}

impl How {
    pub(crate) const ALL: [Self; 3] = [Self::Vdptool, Self::Command, Self::AtOnce];

    /// Associates `count` VSIs; a script gives up after `patience`.
    pub(crate) fn run(self, runtime: &Runtime, count: u32, patience: Duration) -> Outcome {
        let (mut station, mut bridge) = (Netns::new("station"), Netns::new("bridge"));
        wire(&station, "s0", &bridge, "b0");
        let (associated, took, memory) = match self {
            Self::Vdptool => lldpad(&mut station, &mut bridge, count, patience),
            _ => runtime.block_on(evbd(self, &mut station, &mut bridge, count, patience)),
        };
        Outcome { how: self, wanted: count, associated, took, memory }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vdptool => "lldpad, `vdptool` for each",
            Self::Command => "evbd, `evbd vsi associate` for each",
            Self::AtOnce => "evbd, over its socket",
        }
    }
}

impl Outcome {
    pub(crate) fn json(&self) -> Value {
        let Self { how, wanted, associated, took, memory } = self;
        json!({
            "how": how.name(), "wanted": wanted, "associated": associated, "seconds": took.as_secs_f64(),
            "per_second": self.rate(), "octets_per_vsi": { "station": memory[0], "bridge": memory[1] },
        })
    }

    fn rate(&self) -> f64 {
        f64::from(self.associated) / self.took.as_secs_f64()
    }
}

/// The heading of the rows that outcomes are.
pub(crate) const HEADING: &str = "| VSIs on one port | associated | seconds | VSIs/s | kB/VSI station | kB/VSI bridge |\n\
    |---|---|---|---|---|---|";

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [station, bridge] = self.memory.map(|octets| octets as f64 / 1000.0);
        write!(f, "| {} | {} of {} ", self.how.name(), self.associated, self.wanted)?;
        let seconds = self.took.as_secs_f64();
        write!(f, "| {seconds:.1} | {:.0} | {station:.1} | {bridge:.1} |", self.rate())
    }
}

fn lldpad(
    station: &mut Netns,
    bridge: &mut Netns,
    count: u32,
    patience: Duration,
) -> (u32, Duration, [u64; 2]) {
    let bridge = Lldpad::start_quiet(bridge, "b0", Role::Bridge, "evbrrcap = true;");
    let station = Lldpad::start_quiet(station, "s0", Role::Station, "evbrrreq = true;");
    eventually("lldpad sees the bridge's TLV", PATIENCE, || station.evb(true), |t| t.contains("mode:bridge"));
    eventually(
        "lldpad sees the station's TLV",
        PATIENCE,
        || bridge.evb(true),
        |t| t.contains("mode:station"),
    );
    let held = |n: u32| station.vsi("assoc", &uuid(n)).contains("hints = 0");
    // It may not yet be ready for the first.
    let first = || station.vdptool("assoc", &uuid(0), &format!("100-{}", mac(0)));
    eventually("the first VSI", PATIENCE, first, |_| held(0));
    let before = [resident(station.pid()), resident(bridge.pid())];
    let start = Instant::now();
    let mut done = 0;
    while done < count && start.elapsed() < patience {
        let said = station.vdptool("assoc", &uuid(done + 1), &format!("100-{}", mac(done + 1)));
        // It waits for the answer; a request that it drops or that its bridge does is asked for again, as a script would.
        done += u32::from(said.contains("filter = 100"));
    }
    let took = start.elapsed();
    if done > 0 && !held(done) {
        eprintln!("lldpad answered the last VSI and does not hold it: {}", station.vsi("assoc", &uuid(done)));
    }
    (done, took, each(before, [resident(station.pid()), resident(bridge.pid())], done))
}

async fn evbd(
    how: How,
    station: &mut Netns,
    bridge: &mut Netns,
    count: u32,
    patience: Duration,
) -> (u32, Duration, [u64; 2]) {
    let program = Path::new(env!("CARGO_BIN_EXE_evbd-under-test"));
    let (tor, switch) = bridge.evbd(program, BRIDGE).await;
    let (host, client) = station.evbd(program, STATION).await;
    let agreed = |rows: &[Value]| rows.iter().any(|row| row["peer"] == "present");
    table(&client, Table::Evb, PATIENCE, agreed).await;
    table(&switch, Table::Evb, PATIENCE, agreed).await;
    let before = [resident(station.pid(host)), resident(bridge.pid(tor))];
    let start = Instant::now();
    let mut done = 0;
    if how == How::Command {
        while done < count && start.elapsed() < patience {
            associate(station, program, done);
            done += 1;
        }
    } else {
        let mut events = switch.follow_new().await.expect("events");
        let order = async {
            for n in 0..count {
                client.order(&order(n)).await.expect("it is taken");
            }
        };
        let answered = async {
            while done < count {
                let event = events.next().await.expect("the daemon lives");
                done += u32::from(event["event"] == "bridge_vsi" && event["what"] == "associated");
            }
        };
        tokio::join!(order, answered);
    }
    let took = start.elapsed();
    let open = |rows: &[Value]| rows.iter().filter(|row| row["gate"] == "open").count();
    let rows = switch.show(Table::Vsi).await.expect("the daemon lives");
    assert_eq!(open(&rows), usize::try_from(done).expect("a count"), "gates are open");
    (done, took, each(before, [resident(station.pid(host)), resident(bridge.pid(tor))], done))
}

fn associate(station: &Netns, program: &Path, n: u32) {
    let mut command = station.command(program);
    command.args(["vsi", "associate", &format!("v{n}"), "--id", &uuid(n), "--manager", "labmgr"]);
    command.args(["--interface", &format!("v{n}"), "--type", "5", "--version", "1"]);
    command
        .args(["--filter", &format!("vlan=100,mac={}", mac(n)), "--socket"])
        .arg(station.file("evbd.sock"));
    let output = command.stdout(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn order(n: u32) -> VsiOrder {
    let config = serde_json::from_value(json!({
        "name": format!("v{n}"), "interface": format!("v{n}"), "id": uuid(n), "manager": "labmgr", "type": 5,
        "version": 1, "filters": [{ "mac": mac(n), "vlan": 100 }],
    }));
    let vsi = Which::Given(config.expect("a VSI"));
    VsiOrder { command: Command::Associate, vsi, hints: Hints::default(), port: None }
}

fn uuid(n: u32) -> String {
    format!("a0000000-0000-4000-8000-0000{n:08x}")
}

fn mac(n: u32) -> String {
    let [a, b, c, d] = n.to_be_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn each(before: [u64; 2], after: [u64; 2], count: u32) -> [u64; 2] {
    let more = |n: usize| after[n].saturating_sub(before[n]) / u64::from(count.max(1));
    [more(0), more(1)]
}

const PATIENCE: Duration = Duration::from_secs(60);
const STATION: &str = "role = \"station\"\n[evb]\nmode = \"vepa\"\n[relay]\nspare_ports = 20000\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n";
const BRIDGE: &str = "role = \"bridge\"\n[[port]]\ninterface = \"b0\"\nkind = \"station\"\n\
    [[profile]]\nname = \"lab\"\nmanager = \"labmgr\"\ntype = 5\nversion = 1\nvlans = [100]\n";
