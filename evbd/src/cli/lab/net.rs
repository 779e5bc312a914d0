//! Namespaces and veths of a lab, made and removed with `ip`.

use std::{
    cell::RefCell,
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

/// A claimed lab: while it lives no other lab has its name. Dropped, it removes what it made.
pub(super) struct Net {
    name: String,
    directory: PathBuf,
    _lock: File,
    made: bool,
    /// Processes started here. One that has not entered its namespace yet is in no namespace's list.
    started: RefCell<Vec<Pid>>,
}

impl Net {
    /// Claims the name.
    pub(super) fn claim(name: &str) -> anyhow::Result<Self> {
        ensure!(
            geteuid().is_root(),
            "the lab makes network namespaces and raw sockets: run it as root (sudo cargo run --release -- lab)"
        );
        let version = Command::new("ip").arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).status();
        ensure!(
            version.is_ok_and(|status| status.success()),
            "the command `ip` is missing: install iproute2 (apt-get install iproute2)"
        );
        let directory = Path::new("/run/evbd-lab").join(name);
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock_path = directory.join(LOCK);
        let mut lock =
            File::options().create(true).read(true).write(true).truncate(false).open(&lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&lock_path).unwrap_or_default();
                bail!("a lab named {name} runs already (process {}): choose another --name", owner.trim());
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the lab's name"),
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        Ok(Self { name: name.to_owned(), directory, _lock: lock, made: false, started: RefCell::default() })
    }

    /// Removes namespaces of this name, with the processes in them, and what the daemons of a lab of this name kept. True
    /// if there were any namespaces.
    pub(super) fn remove_leftovers(&mut self) -> anyhow::Result<bool> {
        let found = self.existing()?;
        if !found.is_empty() {
            remove(&found, Vec::new())?;
        }
        for entry in fs::read_dir(&self.directory)?.collect::<Result<Vec<_>, _>>()? {
            let path = entry.path();
            match entry.file_type()? {
                kind if kind.is_dir() => fs::remove_dir_all(&path),
                _ if entry.file_name() == LOCK => Ok(()),
                _ => fs::remove_file(&path),
            }
            .with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(!found.is_empty())
    }

    /// Makes the namespaces `roles` and the wires between them, brings all up, and gives the VMs their addresses.
    pub(super) fn build(&mut self, roles: &[&str], wires: &[Wire], vms: &[Vm]) -> anyhow::Result<()> {
        self.made = true;
        for role in roles {
            ip(&["netns", "add", &self.namespace(role)])?;
            ip(&["-n", &self.namespace(role), "link", "set", "lo", "up"])?;
        }
        for [(a, a_name), (b, b_name)] in wires {
            let (a, b) = (self.namespace(a), self.namespace(b));
            ip(&["-n", &a, "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", &b])?;
        }
        for vm in vms {
            let namespace = self.namespace(vm.name);
            ip(&["-n", &namespace, "link", "set", VM_INTERFACE, "address", vm.mac])?;
            ip(&["-n", &namespace, "addr", "add", &format!("{}/24", vm.address), "dev", VM_INTERFACE])?;
        }
        for (role, interface) in wires.iter().flatten() {
            ip(&["-n", &self.namespace(role), "link", "set", interface, "up"])?;
        }
        Ok(())
    }

    /// Changes the MTU of an interface.
    pub(super) fn set_mtu(&self, role: &str, interface: &str, mtu: u32) -> anyhow::Result<()> {
        ip(&["-n", &self.namespace(role), "link", "set", interface, "mtu", &mtu.to_string()])?;
        Ok(())
    }

    /// Brings an interface up or down.
    pub(super) fn set_up(&self, role: &str, interface: &str, up: bool) -> anyhow::Result<()> {
        let state = if up { "up" } else { "down" };
        ip(&["-n", &self.namespace(role), "link", "set", interface, state])?;
        Ok(())
    }

    /// Has a VM know its neighbour for good.
    pub(super) fn know_neighbor(&self, vm: &Vm, neighbor: &Vm) -> anyhow::Result<()> {
        let namespace = self.namespace(vm.name);
        let to = [neighbor.address, "lladdr", neighbor.mac, "dev", VM_INTERFACE, "nud", "permanent"];
        ip(&[&["-n", &namespace, "neigh", "replace"][..], &to].concat())?;
        Ok(())
    }

    /// Moves an interface from one namespace to another and brings it up there.
    pub(super) fn move_interface(&self, interface: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let (from, to) = (self.namespace(from), self.namespace(to));
        ip(&["-n", &from, "link", "set", interface, "netns", &to])?;
        ip(&["-n", &to, "link", "set", interface, "up"])?;
        Ok(())
    }

    /// Removes everything.
    pub(super) fn tear_down(&mut self) -> anyhow::Result<()> {
        self.made = false;
        let found = self.existing()?;
        remove(&found, self.started.take())?;
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("cannot remove {}", self.directory.display()))
    }

    /// Leaves everything up when dropped.
    pub(super) fn keep(&mut self) {
        self.made = false;
    }

    /// The namespace of a role.
    pub(super) fn namespace(&self, role: &str) -> String {
        format!("evbd-{}-{role}", self.name)
    }

    /// Remembers a process that is to end with the lab.
    pub(super) fn adopt(&self, process: &tokio::process::Child) {
        let pid = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        self.started.borrow_mut().extend(pid);
    }

    /// A file of the lab.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A command that will run inside the namespace of `role`.
    pub(super) fn command(&self, role: &str) -> anyhow::Result<tokio::process::Command> {
        let evbd = std::env::current_exe().context("cannot find the evbd program")?;
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.namespace(role)]).arg(evbd);
        Ok(command)
    }

    /// What the kernel counted on an interface.
    pub(super) fn kernel_rx_packets(&self, role: &str, interface: &str) -> anyhow::Result<u64> {
        let namespace = self.namespace(role);
        let shown = ip(&["-n", &namespace, "-s", "-j", "link", "show", "dev", interface])?;
        let shown: serde_json::Value = serde_json::from_slice(&shown)?;
        shown
            .pointer("/0/stats64/rx/packets")
            .and_then(serde_json::Value::as_u64)
            .with_context(|| format!("no receive counter of {interface} in {namespace}"))
    }

    /// Commands for someone who wants to look around.
    pub(super) fn how_to_look(&self) -> String {
        let socket = |role| self.file(&format!("{role}.sock")).display().to_string();
        format!(
            "the lab stands; look around with\n  \
             evbd show evb   --socket {station}\n  \
             evbd show ports --socket {bridge}\n  \
             ip netns exec {vm} ping {vm2}\n  \
             ip netns exec {bridge_ns} tcpdump -eni {DOWNLINK}\n\
             and remove it with\n  \
             evbd lab --clean --name {name}",
            station = socket(STATION),
            bridge = socket(BRIDGE),
            vm = self.namespace(VM1),
            vm2 = VM2_ADDRESS,
            bridge_ns = self.namespace(BRIDGE),
            name = self.name,
        )
    }

    /// Namespaces of this lab that exist.
    fn existing(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for role in ROLES {
            let namespace = self.namespace(role);
            if Path::new("/run/netns").join(&namespace).try_exists()? {
                found.push(namespace);
            }
        }
        Ok(found)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = self.tear_down()
        {
            eprintln!(
                "evbd: the lab was not removed ({error:#}); run `evbd lab --clean --name {}`",
                self.name
            );
        }
    }
}

/// Ends `inhabitants` and the processes in `namespaces`, then deletes these; their interfaces go with them.
fn remove(namespaces: &[String], mut inhabitants: Vec<Pid>) -> anyhow::Result<()> {
    for namespace in namespaces {
        let listed = ip(&["netns", "pids", namespace])?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        inhabitants
            .extend(listed.split_whitespace().filter_map(|p| p.parse().ok()).filter_map(Pid::from_raw));
    }
    end(&inhabitants, Signal::TERM, Duration::from_secs(5));
    end(&inhabitants, Signal::KILL, Duration::from_secs(5));
    for namespace in namespaces {
        ip(&["netns", "del", namespace])?;
    }
    Ok(())
}

/// Signals those still alive and waits until they are gone, at most `patience`.
fn end(processes: &[Pid], signal: Signal, patience: Duration) {
    for process in processes {
        // One that has ended meanwhile cannot be signalled, and need not be.
        let _ = kill_process(*process, signal);
    }
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && processes.iter().any(|p| alive(*p)) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; one that ended and waits for its parent does not.
fn alive(process: Pid) -> bool {
    if test_kill_process(process).is_err() {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Runs `ip` and returns what it printed.
fn ip(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run ip {}", arguments.join(" ")))?;
    ensure!(
        output.status.success(),
        "ip {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// A VM of the lab.
pub(super) struct Vm {
    /// Its namespace's role, which is also the name of its interface on the station.
    pub(super) name: &'static str,
    pub(super) mac: &'static str,
    pub(super) address: &'static str,
    /// Its VSI instance.
    pub(super) uuid: &'static str,
}

/// A wire between two namespaces: each end's role and interface.
pub(super) type Wire = [(&'static str, &'static str); 2];

pub(super) const BRIDGE: &str = "bridge";
pub(super) const STATION: &str = "station";
/// The bridge and station a VM moves to.
pub(super) const BRIDGE2: &str = "bridge2";
pub(super) const STATION2: &str = "station2";
pub(super) const VM1: &str = "vm1";
pub(super) const VM2: &str = "vm2";
/// Port extenders.
pub(super) const EXTENDER: &str = "extender";
pub(super) const EXTENDER2: &str = "extender2";
const VM3: &str = "vm3";
const VM4: &str = "vm4";
const VM5: &str = "vm5";
/// Every namespace a scenario may make.
const ROLES: [&str; 11] = [BRIDGE, BRIDGE2, STATION, STATION2, EXTENDER, EXTENDER2, VM1, VM2, VM3, VM4, VM5];
/// The station's end of the wire to the bridge.
pub(super) const UPLINK: &str = "uplink";
/// The bridge's end of it.
pub(super) const DOWNLINK: &str = "station0";
/// A VM's own interface.
pub(super) const VM_INTERFACE: &str = "eth0";
pub(super) const VM1_ADDRESS: &str = "10.77.0.1";
pub(super) const VM2_ADDRESS: &str = "10.77.0.2";
pub(super) const VMS: [Vm; 2] = [
    Vm {
        name: VM1,
        mac: "52:54:00:00:00:01",
        address: VM1_ADDRESS,
        uuid: "6b1d0a58-0000-4000-8000-000000000001",
    },
    Vm {
        name: VM2,
        mac: "52:54:00:00:00:02",
        address: VM2_ADDRESS,
        uuid: "6b1d0a58-0000-4000-8000-000000000002",
    },
];
/// Those of scenario `channels` besides.
pub(super) const MORE_VMS: [Vm; 3] = [
    Vm {
        name: VM3,
        mac: "52:54:00:00:00:03",
        address: "10.77.0.3",
        uuid: "6b1d0a58-0000-4000-8000-000000000003",
    },
    Vm {
        name: VM4,
        mac: "52:54:00:00:00:04",
        address: "10.77.0.4",
        uuid: "6b1d0a58-0000-4000-8000-000000000004",
    },
    Vm {
        name: VM5,
        mac: "52:54:00:00:00:05",
        address: "10.77.0.5",
        uuid: "6b1d0a58-0000-4000-8000-000000000005",
    },
];

/// In a lab's directory, locked while the lab runs.
const LOCK: &str = "lock";
