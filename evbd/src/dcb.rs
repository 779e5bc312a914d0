//! DCBX on a port: from LLDP's nearest-bridge agent to the engine, from the engine to LLDP, the operator and the device.

use dcbx::{Dcbx, Output, Settings};
use ether::Instant;
use lldp::Scope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{Apply, DcbxConfig},
    core::Core,
    effect::Effect,
    event::Event,
    port::Port,
    view::row,
};

/// DCBX of one port.
pub(crate) struct Dcb {
    pub(crate) engine: Dcbx,
    apply: Apply,
    /// What the device was asked for last.
    asked: Option<Settings>,
    /// What came of it.
    device: Option<DeviceReport>,
}

/// What came of telling a device what DCBX has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// How it stands.
    pub state: DeviceState,
    /// What was written, or would be, a line each.
    pub changes: Vec<String>,
    /// What the device has no place for, or what it said when it failed.
    pub note: Option<String>,
}

/// How a device stands to what DCBX has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It does as agreed; nothing was to be written.
    InStep,
    /// It was told what differed.
    Written,
    /// It differs, and the configuration asks for a dry run.
    WouldWrite,
    /// Its driver has no data center bridging.
    NoDcb,
    /// Its firmware runs DCBX itself and is left alone.
    Firmware,
    /// It refused.
    Failed,
}

/// Starts, reconfigures or ends DCBX on the port at `index`, whose LLDP agents stand.
pub(crate) fn speak(core: &mut Core, now: Instant, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let Some(mac) = port.mac() else { return };
    match (core.config.dcbx.get(&port.interface).cloned(), &mut port.dcb) {
        (Some(DcbxConfig { config, apply }), Some(dcb)) => {
            dcb.engine.set_mac(mac);
            dcb.engine.reconfigure(config);
            if dcb.apply != apply {
                (dcb.apply, dcb.asked, dcb.device) = (apply, None, None);
                ask(core, index);
            }
        }
        (Some(DcbxConfig { config, apply }), dcb @ None) => {
            *dcb = Some(Box::new(Dcb { engine: Dcbx::new(config, mac), apply, asked: None, device: None }));
            neighbors(port);
        }
        (None, dcb) => {
            let said: Vec<_> =
                dcb.take().iter().flat_map(|dcb| dcb.engine.said()).map(|(key, _)| key).collect();
            for key in said {
                say(port, now, key, None);
            }
        }
    }
}

/// The set of nearest-bridge neighbours of `port` changed.
pub(crate) fn neighbors(port: &mut Port) {
    let Some(dcb) = &mut port.dcb else { return };
    let agent = port.agents.iter().find(|agent| agent.config().scope == Scope::NearestBridge);
    let mut heard = agent.into_iter().flat_map(lldp::Agent::neighbors);
    match (heard.next(), heard.next()) {
        (None, _) => dcb.engine.handle_nobody(),
        (Some(peer), None) => dcb.engine.handle_peer(peer.src, peer.info.org.iter()),
        (Some(_), Some(_)) => dcb.engine.handle_several(),
    }
}

/// The link of `port` went down, or its interface is another.
pub(crate) fn link_down(port: &mut Port) {
    if let Some(dcb) = &mut port.dcb {
        dcb.engine.handle_link_down();
    }
}

/// The interface came back: its device may have forgotten everything.
pub(crate) fn link_new(core: &mut Core, index: usize) {
    if let Some(dcb) = core.ports.get_mut(index).and_then(|port| port.dcb.as_mut()) {
        dcb.asked = None;
        ask(core, index);
    }
}

/// Passes one output of the port at `index` on; false when there was none.
pub(crate) fn step(core: &mut Core, now: Instant, index: usize) -> bool {
    let Some(port) = core.ports.get_mut(index) else { return false };
    let Some(output) = port.dcb.as_mut().and_then(|dcb| dcb.engine.poll_output()) else { return false };
    match output {
        Output::LocalTlv { key, info } => say(port, now, key, info),
        Output::Operational(status) => {
            let port = port.interface.clone();
            core.tell(Event::Dcbx { port, status });
            ask(core, index);
        }
    }
    true
}

/// What came of asking the device.
pub(crate) fn applied(core: &mut Core, index: usize, report: DeviceReport) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let interface = port.interface.clone();
    let Some(dcb) = &mut port.dcb else { return };
    if dcb.device.as_ref() != Some(&report) {
        dcb.device = Some(report.clone());
        core.tell(Event::DcbApplied { port: interface, report });
    }
}

fn say(port: &mut Port, now: Instant, key: lldp::OrgKey, info: Option<bytes::Bytes>) {
    let agent = port.agents.iter_mut().find(|agent| agent.config().scope == Scope::NearestBridge);
    if let Some(Err(error)) = agent.map(|agent| agent.set_org_tlv(now, key, info)) {
        tracing::error!(%error, "a DCBX TLV does not fit");
    }
}

/// Asks the device for what is operational, unless it was asked for the same before.
fn ask(core: &mut Core, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let id = port.id;
    let Some(dcb) = &mut port.dcb else { return };
    let settings = dcb.engine.status().settings();
    let wanted = dcb.apply != Apply::Off && settings != Settings::default();
    if wanted && dcb.asked.as_ref() != Some(&settings) {
        dcb.asked = Some(settings.clone());
        let dry_run = dcb.apply == Apply::DryRun;
        core.effects.push_back(Effect::ApplyDcb { port: id, settings, dry_run });
    }
}

/// One feature of DCBX on one port.
#[derive(Serialize)]
struct FeatureRow<'a, T> {
    port: &'a str,
    dialect: dcbx::Dialect,
    evidence: dcbx::Evidence,
    peer: dcbx::Peer,
    feature: &'static str,
    #[serde(flatten)]
    status: &'a dcbx::Feature<T>,
    words: Words,
    apply: Apply,
    device: Option<&'a DeviceReport>,
    handshake: Option<dcbx::Handshake>,
    faults: &'a [String],
    counters: dcbx::Stats,
}

/// The values as lines.
#[derive(Serialize)]
struct Words {
    local: String,
    remote: Option<String>,
    recommended: Option<String>,
    chosen: Option<String>,
}

/// The rows of a port: one for each feature.
pub(crate) fn rows(port: &Port) -> Vec<Value> {
    let Some(dcb) = &port.dcb else { return Vec::new() };
    let status = dcb.engine.status();
    vec![
        feature(port, dcb, "ets", &status.ets, ToString::to_string),
        feature(port, dcb, "pfc", &status.pfc, ToString::to_string),
        feature(port, dcb, "applications", &status.applications, |list| applications(list)),
    ]
}

fn feature<T: Serialize>(
    port: &Port,
    dcb: &Dcb,
    feature: &'static str,
    status: &dcbx::Feature<T>,
    words: impl Fn(&T) -> String,
) -> Value {
    let of = |value: &Option<T>| value.as_ref().map(&words);
    let dcbx::Status { dialect, evidence, peer, ref faults, .. } = *dcb.engine.status();
    row(FeatureRow {
        port: &port.interface,
        dialect,
        evidence,
        peer,
        feature,
        status,
        words: Words {
            local: words(&status.local),
            remote: of(&status.remote),
            recommended: of(&status.recommended),
            chosen: of(&status.chosen),
        },
        apply: dcb.apply,
        device: dcb.device.as_ref(),
        handshake: dcb.engine.handshake(),
        faults,
        counters: *dcb.engine.stats(),
    })
}

fn applications(list: &[dcbx::ieee::Application]) -> String {
    let said: Vec<_> = list.iter().map(ToString::to_string).collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}
