//! A message bus of our own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use zbus::{Connection, connection::Builder};

use crate::source;

/// A bus with the rules of a system bus, and ours beside them.
pub struct Bus {
    files: TempDir,
    daemon: Option<Child>,
}

impl Default for Bus {
    fn default() -> Self {
        Self::start()
    }
}

impl Bus {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let files = TempDir::new().expect("a temporary directory");
        // Others than root are to reach the socket.
        Command::new("chmod").arg("755").arg(files.path()).status().expect("chmod runs");
        let mut bus = Self { files, daemon: None };
        let ours = source::root().join("evbd/dist/org.evbd.conf");
        let config = format!(
            "<busconfig><type>system</type><listen>{}</listen><auth>EXTERNAL</auth>{RULES}<include>{}</include></busconfig>",
            bus.address(),
            ours.display()
        );
        std::fs::write(bus.file("bus.conf"), config).expect("a writable configuration");
        bus.again();
        bus
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.file("bus").display())
    }

    /// Ends it, as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("a bus that runs");
        daemon.kill().expect("it is ours");
        daemon.wait().expect("it is ours");
    }

    /// Starts it once more.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn again(&mut self) {
        // One that was killed has left its socket.
        let _ = std::fs::remove_file(self.file("bus"));
        let daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", self.file("bus.conf").display()))
            .args(["--nofork", "--nopidfile"])
            .stdin(Stdio::null())
            .spawn();
        self.daemon = Some(daemon.expect("dbus-daemon starts"));
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.file("bus").exists() {
            assert!(Instant::now() < deadline, "dbus-daemon makes no socket");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection to it, as root.
    ///
    /// # Panics
    /// When there is none to be had.
    pub async fn connect(&self) -> Connection {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match Builder::address(self.address().as_str()).build().await {
                Ok(connection) => return connection,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.kill();
        }
    }
}

/// Those of a system bus: anybody may connect, nobody may own a name or call a service unless it says so.
const RULES: &str = r#"<policy context="default">
    <allow user="*"/><deny own="*"/><deny send_type="method_call"/><allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
    <allow receive_type="signal"/><allow send_destination="org.freedesktop.DBus"/></policy>
    <policy user="root"><allow own="*"/><allow send_type="method_call"/></policy>"#;
