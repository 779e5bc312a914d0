//! DCBX with lldpad, both on a device that is played by `fakedcb.c`: who decides, who follows, and what is written.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use evb_tests::{
    evbd_program,
    lldpad::Lldpad,
    netns::{Netns, eventually, table, wire},
};
use evbd::api::{Client, Table};
use serde_json::Value;

use super::says;

/// lldpad says nothing of DCBX for its first 15 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// evbd's side, lldpad's side, and the library that plays their devices; evbd's address is the higher if asked for.
fn two(evbd_higher: bool) -> (Netns, Netns, PathBuf) {
    let (ours, theirs) = (Netns::new("evbd"), Netns::new("lldpad"));
    wire(&ours, "s0", &theirs, "b0");
    let (high, low) = ("02:00:00:00:00:02", "02:00:00:00:00:01");
    ours.run("ip", &["link", "set", "s0", "address", if evbd_higher { high } else { low }]);
    theirs.run("ip", &["link", "set", "b0", "address", if evbd_higher { low } else { high }]);
    let shim = ours.file("fakedcb.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/fakedcb.c");
    let paths = [source.to_str().expect("a path"), shim.to_str().expect("a path")];
    ours.run("cc", &["-shared", "-fPIC", "-o", paths[1], paths[0], "-ldl"]);
    (ours, theirs, shim)
}

/// evbd with every feature in `mode`; ours are shares of 70 and 30 %, priority 5 lossless and FCoE's.
async fn evbd(netns: &mut Netns, shim: &Path, mode: &str) -> Client {
    let script = netns.file("evbd.sh");
    let text = format!(
        "#!/bin/sh\nLD_PRELOAD={} FAKEDCB_LOG={} exec {} \"$@\"\n",
        shim.display(),
        netns.file("evbd-dcbnl.log").display(),
        evbd_program!().display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n\
         [dcbx.ets]\nmode = \"{mode}\"\nclasses = [0, 0, 0, 0, 0, 1, 0, 0]\nbandwidth = [70, 30]\n\
         [dcbx.pfc]\nmode = \"{mode}\"\npriorities = [5]\n[dcbx.applications]\nmode = \"{mode}\"\n\
         list = [{{ selector = \"ethertype\", protocol = 0x8906, priority = 5 }}]\n"
    );
    netns.evbd(&script, &config).await.1
}

fn chosen(row: &Value) -> &str {
    row["words"]["chosen"].as_str().unwrap_or("")
}

const DECIDES: [&str; 4] = [
    "ETS-CFG willing=no up2tc=0:0,1:0,2:0,3:1,4:1,5:0,6:0,7:2 tsa=0:ets,1:ets,2:strict tcbw=60,40,0,0,0,0,0,0 enableTx=yes",
    "ETS-REC up2tc=0:0,1:0,2:0,3:1,4:1,5:0,6:0,7:2 tsa=0:ets,1:ets,2:strict tcbw=60,40,0,0,0,0,0,0 enableTx=yes",
    "PFC willing=no enabled=3,4 enableTx=yes",
    "APP app=3,1,35078 enableTx=yes",
];

#[tokio::test]
async fn what_lldpad_decides_is_done() {
    let (mut ours, mut theirs, shim) = two(false);
    let evbd = evbd(&mut ours, &shim, "willing").await;
    let _lldpad = Lldpad::start_dcb(&mut theirs, "b0", &shim, &DECIDES);
    let settled = |rows: &[Value]| {
        rows.len() == 3
            && rows
                .iter()
                .all(|row| says(row, "because").contains("the peer decides") && row["agreed"] == true)
            && chosen(&rows[0]).starts_with("class 0 ETS 60 %")
            && (chosen(&rows[1]), chosen(&rows[2])) == ("3,4", "FCoE 3")
    };
    table(&evbd, Table::Dcbx, PATIENCE, settled).await;
    // It reached the device as an independent reader of dcbnl understands it, and once.
    let log = ours.file("evbd-dcbnl.log");
    let written = || std::fs::read_to_string(&log).unwrap_or_default();
    let all = |text: &str| text.contains("PFC") && text.contains("ETS") && text.contains("APP");
    let written = eventually("written", PATIENCE, written, all);
    for line in
        ["ETS bw=60,40,0 tsa=2,2,0 prio3=1 prio7=2", "PFC en=0x18", "APP add sel=1 prio=3 proto=0x8906"]
    {
        assert_eq!(written.lines().filter(|said| said == &line).count(), 1, "{written}");
    }
    table(&evbd, Table::Dcbx, PATIENCE, |rows| {
        rows.iter().all(|row| ["written", "in_step"].contains(&says(&row["device"], "state")))
    })
    .await;
}

#[tokio::test]
async fn lldpad_does_what_we_decide() {
    let (mut ours, mut theirs, shim) = two(false);
    let evbd = evbd(&mut ours, &shim, "authoritative").await;
    let lldpad = Lldpad::start_dcb(&mut theirs, "b0", &shim, &[]);
    let settled = |rows: &[Value]| {
        rows.len() == 3
            && rows.iter().all(|row| says(row, "because") == "we are not willing")
            && rows.iter().take(2).all(|row| row["agreed"] == true)
    };
    table(&evbd, Table::Dcbx, PATIENCE, settled).await;
    let device = |text: &str| {
        text.contains("ETS bw=70,30,0")
            && text.contains("PFC en=0x20")
            && text.contains("prio=5 proto=0x8906")
    };
    eventually("written to lldpad's device", PATIENCE, || lldpad.device(), device);
}

/// Both are willing: the higher address decides, whichever side has it.
#[tokio::test]
async fn of_two_willing_ones_the_higher_decides() {
    for evbd_higher in [false, true] {
        let (mut ours, mut theirs, shim) = two(evbd_higher);
        let evbd = evbd(&mut ours, &shim, "willing").await;
        let lldpad = Lldpad::start_dcb(&mut theirs, "b0", &shim, &["PFC willing=yes enabled=3 enableTx=yes"]);
        let because = if evbd_higher { "our MAC address" } else { "peer's MAC address" };
        let pfc = if evbd_higher { "5" } else { "3" };
        let settled = |rows: &[Value]| {
            rows.len() == 3
                && says(&rows[1], "because").contains(because)
                && rows[1]["agreed"] == true
                && chosen(&rows[1]) == pfc
        };
        table(&evbd, Table::Dcbx, PATIENCE, settled).await;
        let written = if evbd_higher { "PFC en=0x20" } else { "PFC en=0x08" };
        eventually("lldpad's device", PATIENCE, || lldpad.device(), |text| text.contains(written));
    }
}

/// A veth has no data center bridging: the relay does what is agreed.
#[tokio::test]
async fn where_a_device_has_no_dcb_the_relay_does_it() {
    let (mut ours, mut theirs, shim) = two(false);
    let config = "role = \"station\"\n[[port]]\ninterface = \"s0\"\nkind = \"uplink\"\n\
                  [dcbx.pfc]\nmode = \"authoritative\"\npriorities = [3]\n";
    let (_, evbd) = ours.evbd(evbd_program!(), config).await;
    let _lldpad = Lldpad::start_dcb(&mut theirs, "b0", &shim, &[]);
    let rows = table(&evbd, Table::Dcbx, PATIENCE, |rows| {
        let done = |row: &Value| row["agreed"] == true && says(&row["device"], "state") == "core";
        rows.iter().any(|row| says(row, "feature") == "pfc" && done(row))
    })
    .await;
    assert!(rows[1]["device"]["changes"].to_string().contains("PFC: 3"), "{rows:#?}");
}
