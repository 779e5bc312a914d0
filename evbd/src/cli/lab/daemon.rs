//! The lab's daemons: their configuration, their process, their events.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    process::Child,
    time::{Instant, timeout_at},
};

use super::{
    Fallback, Scenario,
    net::{BRIDGE, DOWNLINK, Net, STATION, UPLINK, VMS},
};
use crate::api::Client;

/// A running `evbd run` of the lab.
pub(super) struct Daemon {
    pub(super) role: &'static str,
    process: Child,
    log: PathBuf,
    pub(super) client: Client,
}

impl Daemon {
    /// Starts the daemon of `role` and waits until it answers.
    pub(super) async fn start(net: &Net, role: &'static str, config: &str) -> anyhow::Result<Self> {
        let file = net.file(&format!("{role}.toml"));
        std::fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let log = net.file(&format!("{role}.log"));
        let stderr = std::fs::File::create(&log)?;
        let mut process = net
            .command(role)?
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .context("cannot start evbd")?;
        net.adopt(&process);
        let socket = net.file(&format!("{role}.sock"));
        let deadline = Instant::now() + Duration::from_secs(10);
        let client = loop {
            match Client::connect(&socket).await {
                Ok(client) => break client,
                Err(error) => {
                    if let Some(status) = process.try_wait()? {
                        bail!("the {role} ended at once ({status}):\n{}", tail(&log));
                    }
                    if Instant::now() > deadline {
                        return Err(error).context(format!("the {role} does not answer:\n{}", tail(&log)));
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        Ok(Self { role, process, log, client })
    }

    /// The number of its last event.
    pub(super) async fn last(&self) -> anyhow::Result<u64> {
        let past = self.client.events(0).await?;
        Ok(past.last().and_then(|event| event.get("number")).and_then(Value::as_u64).unwrap_or(0))
    }

    /// Waits until `wanted` of the daemon's events, past and coming, have been seen by `is`.
    pub(super) async fn wait(
        &mut self,
        what: &str,
        wanted: usize,
        deadline: Instant,
        mut is: impl FnMut(&Value) -> bool,
    ) -> anyhow::Result<Vec<Value>> {
        let mut found = Vec::new();
        let search = async {
            let mut events = self.client.follow().await?;
            while found.len() < wanted {
                let event = events.next().await?;
                if is(&event) {
                    found.push(event);
                }
            }
            anyhow::Ok(())
        };
        let outcome = timeout_at(deadline, search).await;
        match outcome {
            Ok(Ok(())) => Ok(found),
            Ok(Err(error)) => {
                let ended = self.process.try_wait().ok().flatten().map(|s| format!(" ({s})"));
                Err(error.context(format!(
                    "the {}{}:\n{}",
                    self.role,
                    ended.unwrap_or_default(),
                    tail(&self.log)
                )))
            }
            Err(_) => {
                bail!("{what}: not seen by the {} in time; its log ends with\n{}", self.role, tail(&self.log))
            }
        }
    }
}

/// The last lines of a log.
fn tail(log: &PathBuf) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).map(|l| format!("    {l}\n")).collect()
}

/// The bridge's configuration.
pub(super) fn bridge_config(net: &Net, scenario: Scenario) -> String {
    let reflect = scenario == Scenario::Reflect;
    format!(
        "role = \"bridge\"\nname = \"lab-bridge\"\n\n\
         [control]\nsocket = \"{socket}\"\n\n\
         [state]\ndirectory = \"{state}\"\n\n\
         [evb]\nreflective_relay = {reflect}\n\n\
         [[port]]\ninterface = \"{DOWNLINK}\"\nkind = \"station\"\n\n\
         [[profile]]\nname = \"{PROFILE}\"\ntype = 1\nversion = 1\nvlans = [{VLAN}]\n",
        socket = net.file(&format!("{BRIDGE}.sock")).display(),
        state = net.file(&format!("{BRIDGE}.state")).display(),
    )
}

/// The station's configuration.
pub(super) fn station_config(net: &Net, fallback: Fallback) -> String {
    let fallback = match fallback {
        Fallback::Veb => "veb",
        Fallback::Isolate => "isolate",
    };
    let mut text = format!(
        "role = \"station\"\nname = \"lab-station\"\n\n\
         [control]\nsocket = \"{socket}\"\n\n\
         [state]\ndirectory = \"{state}\"\n\n\
         [evb]\nfallback = \"{fallback}\"\n\n\
         [[port]]\ninterface = \"{UPLINK}\"\nkind = \"uplink\"\n",
        socket = net.file(&format!("{STATION}.sock")).display(),
        state = net.file(&format!("{STATION}.state")).display(),
    );
    for vm in VMS {
        text += &format!(
            "\n[[vsi]]\nname = \"{name}\"\ninterface = \"{name}\"\nid = \"{uuid}\"\n\
             type = 1\nversion = 1\nmac = \"{mac}\"\n",
            name = vm.name,
            uuid = vm.uuid,
            mac = vm.mac,
        );
    }
    text
}

/// What the configuration of the daemon `name` begins with.
pub(super) fn head(net: &Net, role: &str, name: &str) -> String {
    format!(
        "role = \"{role}\"\nname = \"lab-{name}\"\n\n[control]\nsocket = \"{socket}\"\n\n\
         [state]\ndirectory = \"{state}\"\n",
        socket = net.file(&format!("{name}.sock")).display(),
        state = net.file(&format!("{name}.state")).display(),
    )
}

/// The bridge's one profile.
pub(super) const PROFILE: &str = "web";
/// The VLAN it assigns.
pub(super) const VLAN: u16 = 100;
