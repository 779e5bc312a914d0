//! lldpad, the other implementation of EVB, as a peer in a namespace.
//!
//! Two of them on one host collide on a shared-memory segment and a pid file, so each gets its own `/dev/shm`, no pid
//! file and its own configuration. Its VDP role is fixed by its first second: it must stand in the configuration.

use std::{path::Path, process::Stdio, time::Duration};

use crate::netns::{Netns, eventually};

/// A running lldpad.
pub struct Lldpad<'a> {
    netns: &'a mut Netns,
    interface: &'static str,
    place: usize,
}

/// Which end of the EVB link it plays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The hypervisor host.
    Station,
    /// The switch.
    Bridge,
    /// The host, speaking draft 0.2.
    DraftStation,
}

impl<'a> Lldpad<'a> {
    /// Starts it on `interface`; `options` are lines of its EVB section such as `evbrrreq = true;`.
    ///
    /// # Panics
    /// When it is not installed or does not answer.
    pub fn start(netns: &'a mut Netns, interface: &'static str, role: Role, options: &str) -> Self {
        let peer = Self::spawn(netns, interface, &evb_config(interface, role, options), "", DEBUG);
        if role != Role::DraftStation {
            let role = |log: &str| log.contains("vdp22_create");
            eventually("lldpad has its VDP role", Duration::from_secs(10), || peer.log(), role);
        }
        peer
    }

    /// The same, logging errors only: what it logs costs time.
    ///
    /// # Panics
    /// When it is not installed or does not answer.
    pub fn start_quiet(netns: &'a mut Netns, interface: &'static str, role: Role, options: &str) -> Self {
        Self::spawn(netns, interface, &evb_config(interface, role, options), "", ERRORS)
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.netns.pid(self.place)
    }

    /// Starts it on `interface` with the device of `shim`, a library to be preloaded, and tells it `settings`: words after
    /// `lldptool -T -i INTERFACE -V`, a line each.
    ///
    /// # Panics
    /// When it is not installed, does not answer, or refuses a setting.
    pub fn start_dcb(netns: &'a mut Netns, interface: &'static str, shim: &Path, settings: &[&str]) -> Self {
        let log = netns.file("lldpad-dcbnl.log");
        let preload = format!("env LD_PRELOAD={} FAKEDCB_LOG={}", shim.display(), log.display());
        let config = format!("lldp : {{ {interface} : {{ adminStatus = 3; }}; }};\n");
        let peer = Self::spawn(netns, interface, &config, &preload, DEBUG);
        for setting in settings {
            let words = format!("-T -i {interface} -V {setting}");
            let set = || peer.tool("lldptool", &words.split(' ').collect::<Vec<_>>());
            eventually(setting, Duration::from_secs(10), set, |said| said.contains('='));
        }
        peer
    }

    /// What was written to its device.
    #[must_use]
    pub fn device(&self) -> String {
        std::fs::read_to_string(self.netns.file("lldpad-dcbnl.log")).unwrap_or_default()
    }

    /// Starts it, `prefix` before its command, and waits until it answers.
    fn spawn(netns: &'a mut Netns, interface: &'static str, config: &str, prefix: &str, level: u8) -> Self {
        let file = netns.file("lldpad.conf");
        let text = format!("dcbx : {{ version = \"1.0\"; dcbx_version = 2; }};\n{config}");
        std::fs::write(&file, text).expect("a writable configuration");
        let log = std::fs::File::create(netns.file("lldpad.log")).expect("a writable log");
        let mut command = netns.command("unshare");
        let line = format!(
            "mount -t tmpfs -o size=1m tmpfs /dev/shm && exec {prefix} stdbuf -oL lldpad -p -t -V {level} -f {}",
            file.display()
        );
        command.args(["-m", "sh", "-c", &line]).stdout(log.try_clone().expect("a log")).stderr(log);
        command.stdin(Stdio::null());
        let place = netns.spawn(command);
        let peer = Self { netns, interface, place };
        eventually(
            "lldpad answers",
            Duration::from_secs(10),
            || peer.tool("lldptool", &["-p"]),
            |a| a.trim().parse::<u32>().is_ok(),
        );
        peer
    }

    /// Its log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.netns.file("lldpad.log")).unwrap_or_default()
    }

    /// What it knows of its own (`neighbor` false) or its neighbour's EVB TLV.
    #[must_use]
    pub fn evb(&self, neighbor: bool) -> String {
        let which: &[&str] = if neighbor { &["-t", "-n"] } else { &["-t"] };
        self.tool("lldptool", &[which, &["-i", self.interface, "-g", "ncb", "-V", "evb"]].concat())
    }

    /// Asks it, as a station, for `command` (assoc, preassoc, deassoc …) of a VSI of type 5 version 1 of "labmgr".
    /// Entries of the filter are parted by commas.
    pub fn vdptool(&self, command: &str, uuid: &str, filter: &str) -> String {
        let mut settings = vec![
            format!("mode={command}"),
            "mgrid2=labmgr".to_owned(),
            "typeid=5".to_owned(),
            format!("uuid={uuid}"),
            "typeidver=1".to_owned(),
            "hints=none".to_owned(),
        ];
        settings.extend(filter.split(',').map(|entry| format!("filter={entry}")));
        let mut arguments = vec!["-i", self.interface, "-T", "-W", "-V", command];
        for setting in &settings {
            arguments.extend(["-c", setting]);
        }
        self.tool("vdptool", &arguments)
    }

    /// What it knows, as a station, of a VSI it asked `command` for.
    #[must_use]
    pub fn vsi(&self, command: &str, uuid: &str) -> String {
        self.tool("vdptool", &["-i", self.interface, "-t", "-V", command, "-c", &format!("uuid={uuid}")])
    }

    /// Runs a command in its namespace and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        self.netns.run(program, arguments)
    }

    /// The same, whether it fails or not.
    pub fn attempt(&self, program: &str, arguments: &[&str]) -> String {
        self.tool(program, arguments)
    }

    /// Ends it as a crash would.
    pub fn crash(self) {
        self.netns.kill(self.place);
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        self.netns.attempt(program, arguments)
    }
}

/// The configuration of one that plays `role`.
fn evb_config(interface: &str, role: Role, options: &str) -> String {
    let evb = match role {
        Role::Station => format!("tlvid0080c20d : {{ enableTx = true; evbmode = \"station\"; {options} }};"),
        Role::Bridge => format!("tlvid0080c20d : {{ enableTx = true; evbmode = \"bridge\"; {options} }};"),
        Role::DraftStation => format!(
            "tlvid001b3f00 : {{ enableTx = true; capabilities = \"rte,ecp,vdp\"; {options} }};\n\
             vdp : {{ enableTx = true; role = \"station\"; }};"
        ),
    };
    format!("nearest_customer_bridge : {{ {interface} : {{ adminStatus = 3;\n{evb}\n}}; }};\n")
}

/// How much it logs.
const DEBUG: u8 = 7;
const ERRORS: u8 = 3;
