//! Network namespaces with real daemons in them. Everything made is removed when dropped.

use std::{
    fs::File,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use evbd::api::{Client, Table};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

/// Path of the daemon built with the suites; only integration tests can name it.
#[macro_export]
macro_rules! evbd_program {
    () => {
        std::path::Path::new(env!("CARGO_BIN_EXE_evbd-under-test"))
    };
}

/// A namespace of its own name, with the processes started in it.
pub struct Netns {
    name: String,
    children: Vec<Child>,
    files: TempDir,
}

impl Netns {
    /// A new namespace; `role` becomes part of its name.
    ///
    /// # Panics
    /// When it cannot be made: not root, or `ip` is missing.
    #[must_use]
    pub fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("evbd-test-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let netns =
            Self { name, children: Vec::new(), files: TempDir::new().expect("a temporary directory") };
        netns.run("ip", &["link", "set", "lo", "up"]);
        netns
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A file that goes with the namespace.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A command that will run in the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a command in the namespace and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("the command starts");
        checked(program, arguments, &output)
    }

    /// Runs a command that may fail and returns everything it printed.
    pub fn attempt(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().expect("the command starts");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Starts a command that runs until the namespace is dropped; returns its place for [`Netns::kill`].
    pub fn spawn(&mut self, mut command: Command) -> usize {
        self.children.push(command.spawn().expect("the command starts"));
        self.children.len() - 1
    }

    /// Ends a process of [`Netns::spawn`] without a chance to clean up.
    pub fn kill(&mut self, place: usize) {
        let child = self.children.get_mut(place).expect("a process of this namespace");
        child.kill().expect("the process is ours");
        child.wait().expect("the process is ours");
    }

    /// The number of a process of [`Netns::spawn`].
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn pid(&self, place: usize) -> u32 {
        self.children.get(place).expect("a process of this namespace").id()
    }

    /// Whether a process of [`Netns::spawn`] has not ended.
    pub fn runs(&mut self, place: usize) -> bool {
        self.children.get_mut(place).is_some_and(|child| child.try_wait().is_ok_and(|s| s.is_none()))
    }

    /// Starts `program run` with `config` and connects to it.
    pub async fn evbd(&mut self, program: &Path, config: &str) -> (usize, Client) {
        let (file, socket) = (self.file("evbd.toml"), self.file("evbd.sock"));
        let control = format!("[control]\nsocket = \"{}\"\n", socket.display());
        let config = if config.contains("[control]\n") {
            config.replace("[control]\n", &control)
        } else {
            format!("{config}\n{control}")
        };
        let text = format!("{config}\n[state]\ndirectory = \"{}\"\n", self.file("state").display());
        std::fs::write(&file, text).expect("a writable configuration");
        let log = std::fs::File::create(self.file("evbd.log")).expect("a writable log");
        let mut command = self.command(program);
        command.args(["run", "--config"]).arg(&file).stdout(Stdio::null()).stderr(log);
        let place = self.spawn(command);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match Client::connect(&socket).await {
                Ok(client) => return (place, client),
                Err(error) => {
                    let log = std::fs::read_to_string(self.file("evbd.log")).unwrap_or_default();
                    assert!(self.runs(place) && Instant::now() < deadline, "{error:#}\n{log}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One that has ended cannot be killed, and need not be.
            let _ = child.kill();
            let _ = child.wait();
        }
        let pids = Command::new("ip").args(["netns", "pids", &self.name]).output();
        for pid in String::from_utf8_lossy(&pids.map(|o| o.stdout).unwrap_or_default()).split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(self.file("evbd.log"))
        {
            eprintln!("--- log of {} ---\n{log}", self.name);
        }
    }
}

/// Resident memory of process `pid` in octets.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024
}

/// A veth between two namespaces, up at both ends.
///
/// # Panics
/// When it cannot be made.
pub fn wire(a: &Netns, a_name: &str, b: &Netns, b_name: &str) {
    run(
        "ip",
        &["-n", &a.name, "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", &b.name],
    );
    for (netns, interface) in [(a, a_name), (b, b_name)] {
        netns.run("ip", &["link", "set", interface, "up"]);
    }
}

/// What `work` returns when done in a namespace; sockets it opens stay there.
///
/// # Panics
/// When the namespace is gone, or `work` panics.
pub fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let there = || {
            let file = File::open(format!("/run/netns/{}", netns.name())).expect("the namespace");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            work()
        };
        scope.spawn(there).join().expect("the thread ends well")
    })
}

/// Waits for an event of `client`, past or coming, at most `patience`.
///
/// # Panics
/// When it does not come; prints the events that did.
pub async fn event(client: &Client, what: &str, patience: Duration, is: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Vec::new();
    let search = async {
        let mut events = client.follow().await.expect("the daemon serves events");
        loop {
            let event = events.next().await.expect("the daemon lives");
            if is(&event) {
                return event;
            }
            seen.push(event.to_string());
        }
    };
    let found = tokio::time::timeout(patience, search).await;
    found.unwrap_or_else(|_| panic!("{what}: not seen in {patience:?}; seen were\n{}", seen.join("\n")))
}

/// Waits until a table of `client` has what is looked for, at most `patience`.
///
/// # Panics
/// When it does not come; prints the table.
pub async fn table(
    client: &Client,
    table: Table,
    patience: Duration,
    is: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let deadline = Instant::now() + patience;
    loop {
        let rows = client.show(table).await.expect("the daemon lives");
        if is(&rows) {
            return rows;
        }
        assert!(Instant::now() < deadline, "{} after {patience:?}: {rows:#?}", table.name());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks a peer that has no events until it says what is looked for, at most `patience`.
///
/// # Panics
/// When it does not; prints its last answer.
pub fn eventually(
    what: &str,
    patience: Duration,
    ask: impl Fn() -> String,
    is: impl Fn(&str) -> bool,
) -> String {
    let deadline = Instant::now() + patience;
    loop {
        let answer = ask();
        if is(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not so after {patience:?}; last answer:\n{answer}");
        std::thread::sleep(PAUSE);
    }
}

/// Between two looks at something that has no event.
const PAUSE: Duration = Duration::from_millis(20);

fn run(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the command starts");
    checked(program, arguments, &output)
}

fn checked(program: &str, arguments: &[&str], output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), said.trim());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
