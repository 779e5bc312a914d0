//! `evbd hook`: called by libvirt when a VM or a network starts, changes and ends.
//!
//! libvirt waits for its hooks, and a hook that fails keeps a VM from starting, or kills it. So this one takes a bounded
//! time and says that all is well, whatever happened, unless it is told to be strict.

use std::{io::Read, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    api::{Client, DEFAULT_SOCKET, Table},
    guests::{Word, xml},
};

/// Tell the daemon what libvirt's hooks say of VMs: for /etc/libvirt/hooks/qemu and network, see dist/libvirt-hook.
#[derive(Args)]
pub(super) struct Hook {
    /// Which hook calls.
    #[arg(value_enum)]
    kind: Kind,
    /// The name of the domain or network.
    name: String,
    /// What happens.
    operation: String,
    /// What libvirt adds: sub-operation and extra argument.
    rest: Vec<String>,
    /// Fail when the daemon does not answer, the XML is not understood, or a VSI of the VM is refused: libvirt then does not
    /// start the VM.
    #[arg(long)]
    strict: bool,
    /// Seconds this may take at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Control socket of the daemon.
    #[arg(long, value_name = "PATH", env = "EVBD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Qemu,
    Network,
}

impl Hook {
    /// Whether what goes wrong is to keep a VM from starting.
    pub(super) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Says it. The exit code is 0 unless strict, and 1 then if anything went wrong.
    pub(super) async fn run(self) -> ExitCode {
        let done = timeout(Duration::from_secs(self.timeout), self.say()).await;
        let done = done.unwrap_or_else(|_| Err(anyhow::anyhow!("it took more than {} s", self.timeout)));
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("evbd hook {} {}: {error:#}", self.name, self.operation);
                if self.strict { ExitCode::FAILURE } else { ExitCode::SUCCESS }
            }
        }
    }

    async fn say(&self) -> anyhow::Result<()> {
        if !self.concerns_us() {
            return Ok(());
        }
        let text = spawn_blocking(|| {
            let mut text = String::new();
            std::io::stdin().take(LONGEST).read_to_string(&mut text).map(|_| text)
        });
        let word = self.word(&text.await?.context("cannot read the XML")?)?;
        let client = Client::connect(&self.socket).await?;
        let mut rows = client.guest(&word).await?;
        let Word::Starts(domain) = word else { return Ok(()) };
        let said =
            |row: &Value, field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let taps = domain.nics.iter().filter(|nic| nic.tap.is_some()).count();
        loop {
            let own: Vec<&Value> = rows.iter().filter(|row| said(row, "uuid") == domain.uuid).collect();
            if let Some(row) = own.iter().find(|row| !said(row, "because").is_empty()) {
                anyhow::bail!("{}: {}", said(row, "interface"), said(row, "because"));
            }
            // The daemon may not have looked at all of them yet; who is not strict does not wait for it.
            if !self.strict || own.len() >= taps {
                return Ok(());
            }
            sleep(PAUSE).await;
            rows = client.show(Table::Guests).await?;
        }
    }

    fn concerns_us(&self) -> bool {
        match self.kind {
            Kind::Qemu => {
                matches!(
                    self.operation.as_str(),
                    "migrate" | "start" | "started" | "reconnect" | "attach" | "stopped" | "release"
                )
            }
            Kind::Network => matches!(self.operation.as_str(), "port-created" | "port-deleted"),
        }
    }

    fn word(&self, text: &str) -> anyhow::Result<Word> {
        Ok(match (self.kind, self.operation.as_str()) {
            (Kind::Network, "port-created") => Word::Port(xml::network_port(text)?),
            (Kind::Network, _) => Word::PortGone(xml::network_port(text)?),
            (Kind::Qemu, "migrate") => Word::Comes(xml::domain(text)?.uuid),
            (Kind::Qemu, "stopped" | "release") => Word::Gone(xml::domain(text)?.uuid),
            (Kind::Qemu, _) => Word::Starts(xml::domain(text)?),
        })
    }
}

/// Octets of XML; a text that is cut off is none.
const LONGEST: u64 = 4 << 20;
/// Between two looks at what became of a VM's interfaces.
const PAUSE: Duration = Duration::from_millis(20);
