//! DCBX on a port: from LLDP's nearest-bridge agent to the engine, from the engine to LLDP, the operator and whoever does
//! what it has come to: the device, or our own data path where the device cannot.

use dcbx::{Dcbx, Output, Settings, ieee};
use ether::Instant;
use hairpin::PortId;
use lldp::{OrgKey, Oui, Scope};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    config::{Apply, DcbxConfig},
    core::Core,
    describe::describe,
    effect::Effect,
    event::Event,
    port::Port,
    run::ClassRow,
    view::row,
};

/// DCBX of one port.
pub(crate) struct Dcb {
    pub(crate) engine: Dcbx,
    apply: Apply,
    /// Who is to do it; nobody if nothing is to be applied.
    target: Option<Target>,
    /// What was asked for last.
    asked: Option<Settings>,
    /// What came of it.
    device: Option<DeviceReport>,
}

/// Who does what DCBX has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The device, as far as it differs.
    Device,
    /// Nobody; it is only found out what would be written to the device.
    DryRun,
    /// Our own data path.
    Core,
}

impl Target {
    const fn first(apply: Apply) -> Option<Self> {
        match apply {
            Apply::Device => Some(Self::Device),
            Apply::DryRun => Some(Self::DryRun),
            Apply::Core => Some(Self::Core),
            Apply::Off => None,
        }
    }
}

/// What came of telling a device, or our own data path, what DCBX has come to.
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
    /// Our own data path does it.
    Core,
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
                let undone = dcb.undo(port.id);
                (dcb.apply, dcb.target) = (apply, Target::first(apply));
                core.effects.extend(undone);
                ask(core, index);
            }
        }
        (Some(DcbxConfig { config, apply }), dcb @ None) => {
            let engine = Dcbx::new(config, mac);
            let target = Target::first(apply);
            *dcb = Some(Box::new(Dcb { engine, apply, target, asked: None, device: None }));
            neighbors(port);
        }
        (None, dcb) => {
            let Some(mut dcb) = dcb.take() else { return };
            for (key, _) in dcb.engine.said() {
                say(port, now, key, None);
            }
            core.effects.extend(dcb.undo(port.id));
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
    let Some(port) = core.ports.get_mut(index) else { return };
    let id = port.id;
    if let Some(dcb) = &mut port.dcb {
        // The next one may be able to do what this one was not.
        let undone = dcb.undo(id);
        dcb.target = Target::first(dcb.apply);
        core.effects.extend(undone);
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
    if report.state == DeviceState::NoDcb && dcb.target == Some(Target::Device) {
        (dcb.target, dcb.asked) = (Some(Target::Core), None);
        return ask(core, index);
    }
    if dcb.device.as_ref() != Some(&report) {
        dcb.device = Some(report.clone());
        core.tell(Event::DcbApplied { port: interface, report });
    }
}

fn say(port: &mut Port, now: Instant, key: OrgKey, info: Option<bytes::Bytes>) {
    let agent = port.agents.iter_mut().find(|agent| agent.config().scope == Scope::NearestBridge);
    if let Some(Err(error)) = agent.map(|agent| agent.set_org_tlv(now, key, info)) {
        tracing::error!(%error, "a DCBX TLV does not fit");
    }
}

impl Dcb {
    /// Ends what was asked of our own data path. What a device was told stays: it is not reset because we go.
    fn undo(&mut self, port: PortId) -> Option<Effect> {
        let asked = self.asked.take();
        self.device = None;
        let settings = Settings::default();
        let core = asked.is_some() && self.target == Some(Target::Core);
        core.then_some(Effect::ApplyDcb { port, settings, target: Target::Core })
    }
}

/// Asks for what is operational, unless the same was asked for before.
fn ask(core: &mut Core, index: usize) {
    let Some(port) = core.ports.get_mut(index) else { return };
    let id = port.id;
    let Some(dcb) = &mut port.dcb else { return };
    let settings = dcb.engine.status().settings();
    let Some(target) = dcb.target else { return };
    // A device keeps what it was told; our own data path forgets what does not count any more.
    let wanted = settings != Settings::default() || target == Target::Core && dcb.asked.is_some();
    if wanted && dcb.asked.as_ref() != Some(&settings) {
        if settings == Settings::default() {
            dcb.device = None;
        }
        dcb.asked = Some(settings.clone());
        core.effects.push_back(Effect::ApplyDcb { port: id, settings, target });
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
    /// What the peer says beside DCBX: congestion notification at PFC, VLANs of applications at these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<String>,
    /// Traffic classes of the port with what has gone through them, where our own data path has queues for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassRow>,
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

/// The rows of a port with these traffic classes: one for each feature.
pub(crate) fn rows(port: &Port, classes: Vec<ClassRow>) -> Vec<Value> {
    let Some(dcb) = &port.dcb else { return Vec::new() };
    let status = dcb.engine.status();
    let [congestion, vlans] =
        [CONGESTION_NOTIFICATION, APPLICATION_VLAN].map(|subtype| said_beside(port, subtype));
    vec![
        feature(port, dcb, "ets", &status.ets, ToString::to_string, (Vec::new(), classes)),
        feature(port, dcb, "pfc", &status.pfc, ToString::to_string, (congestion, Vec::new())),
        feature(
            port,
            dcb,
            "applications",
            &status.applications,
            |list| applications(list),
            (vlans, Vec::new()),
        ),
    ]
}

/// What the nearest-bridge neighbours say in this TLV of 802.1, or what is wrong with it.
fn said_beside(port: &Port, subtype: u8) -> Vec<String> {
    let agents = port.agents.iter().filter(|agent| agent.config().scope == Scope::NearestBridge);
    let tlvs = agents.flat_map(lldp::Agent::neighbors).flat_map(|neighbor| neighbor.info.org.iter());
    let key = OrgKey { oui: Oui(ieee::OUI), subtype };
    tlvs.filter(|tlv| tlv.key() == key).map(describe).collect()
}

fn feature<T: Serialize>(
    port: &Port,
    dcb: &Dcb,
    feature: &'static str,
    status: &dcbx::Feature<T>,
    words: impl Fn(&T) -> String,
    (beside, classes): (Vec<String>, Vec<ClassRow>),
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
        beside,
        classes,
        handshake: dcb.engine.handshake(),
        faults,
        counters: *dcb.engine.stats(),
    })
}

fn applications(list: &[dcbx::ieee::Application]) -> String {
    let said: Vec<_> = list.iter().map(ToString::to_string).collect();
    if said.is_empty() { "none".to_owned() } else { said.join(", ") }
}

/// The congestion notification TLV.
const CONGESTION_NOTIFICATION: u8 = 8;
/// The application VLAN TLV.
const APPLICATION_VLAN: u8 = 0x10;
