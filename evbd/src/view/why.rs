//! Why the frames of a VM pass or do not: one sentence, what to do, and all that is known of the VSI.

use ether::{Instant, MacAddr};
use hairpin::{EdgeMode, FdbEntry, Origin, VsiCounters, VsiEntry, VsiKey};
use serde::Serialize;
use serde_json::Value;
use vdp::{VsiId, bridge, history::Entry, station};

use super::{drops, evb, row, vsis};
use crate::{
    core::Core,
    port::{Port, Side},
    run::Planes,
};

/// The answer about one VSI.
#[derive(Serialize)]
struct Why {
    /// The VSI.
    id: VsiId,
    /// The answer.
    because: String,
    /// What to do about it, if anything.
    remedy: Option<&'static str>,
    /// The row of `show vsi`; none of a VSI that is gone.
    vsi: Option<Value>,
    /// The row of `show evb` of the port it is on.
    evb: Option<Value>,
    /// The profile its type names.
    profile: Option<Value>,
    /// What its open gate lets pass, and how.
    gate: Option<VsiEntry>,
    counters: Option<VsiCounters>,
    /// Its last drops, oldest first.
    drops: Vec<Value>,
    /// Where the relay has its addresses.
    addresses: Vec<Value>,
    /// What happened to it, oldest first.
    history: Vec<Line>,
}

/// A line of the history.
#[derive(Serialize)]
struct Line {
    /// How long ago, in milliseconds.
    ago_ms: u128,
    /// How long after the line before, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u128>,
    what: String,
}

/// What is known of every VSI that `subject` names: an identifier, a name or an address.
pub(crate) fn why(core: &Core, planes: &Planes, subject: &str, now: Instant) -> Result<Vec<Value>, String> {
    let mac: Option<MacAddr> = subject.parse().ok();
    let id: Option<VsiId> = subject.parse().ok();
    let named = |vm: &crate::order::Vm| {
        vm.config.name == subject || mac.is_some_and(|m| vm.config.macs().any(|n| n == m))
    };
    let configured: Vec<VsiId> = core.vms.values().filter(|vm| named(vm)).map(|vm| vm.config.id).collect();
    let mut answers = Vec::new();
    for port in &core.ports {
        let Some(edge) = &port.edge else { continue };
        let all: Vec<Known> = match &edge.side {
            Side::Station { vdp, .. } => {
                let live = vdp.vsis().map(Known::from);
                let here = core.vms.values().filter(|vm| vm.uplink == port.id).map(|vm| vm.config.id);
                let idle = here.filter(|id| vdp.vsi(id).is_none()).map(Known::absent);
                let gone =
                    vdp.history().gone().filter(|id| !core.vms.contains_key(id)).map(|id| Known::absent(*id));
                live.chain(idle).chain(gone).map(|known| known.with(vdp.history().of(&known.id))).collect()
            }
            Side::Bridge { vdp, .. } => {
                let live = vdp.vsis().map(Known::from);
                let gone = vdp.history().gone().map(|id| Known::absent(*id));
                live.chain(gone).map(|known| known.with(vdp.history().of(&known.id))).collect()
            }
        };
        let meant = |known: &Known| {
            id == Some(known.id)
                || configured.contains(&known.id)
                || mac.is_some_and(|mac| known.macs.contains(&mac))
        };
        answers.extend(
            all.iter().filter(|known| meant(known)).map(|known| row(answer(core, planes, port, known, now))),
        );
    }
    if answers.is_empty() {
        return Err(format!(
            "no VSI is called {subject}, has it as identifier or names it in its filter; `evbd show vsi` lists them"
        ));
    }
    Ok(answers)
}

/// A VSI of a machine's, or one it has not.
struct Known {
    id: VsiId,
    key: Option<crate::vsidb::Key>,
    macs: Vec<MacAddr>,
    /// What its machine does, in words, and whether anything must be done about it.
    state: Option<String>,
    last_error: Option<String>,
    history: Vec<Entry>,
}

impl Known {
    const fn absent(id: VsiId) -> Self {
        Self { id, key: None, macs: Vec::new(), state: None, last_error: None, history: Vec::new() }
    }

    fn with<'a>(&self, history: impl Iterator<Item = &'a Entry>) -> Self {
        Self {
            id: self.id,
            key: self.key,
            macs: self.macs.clone(),
            state: self.state.clone(),
            last_error: self.last_error.clone(),
            history: history.cloned().collect(),
        }
    }
}

impl From<station::VsiView> for Known {
    fn from(view: station::VsiView) -> Self {
        let state = match view.state {
            station::VsiState::Held => "it waits for the bridge to agree on EVB",
            station::VsiState::Processing => "the bridge was asked and has not answered yet",
            station::VsiState::Confirmed | station::VsiState::KeepAlive
                if view.confirmed != Some(vdp::Command::Associate) =>
            {
                "it is only prepared for: nothing passes before an Associate"
            }
            station::VsiState::Confirmed | station::VsiState::KeepAlive => "it is associated",
            station::VsiState::Deassociating => "it is being de-associated",
            station::VsiState::BackOff => "the last attempt failed; it is repeated",
        };
        Self {
            id: view.id,
            key: Some((view.manager, view.type_id, view.version)),
            macs: view.filter.entries().iter().filter_map(|entry| entry.mac).collect(),
            state: Some(state.to_owned()),
            last_error: view.last_error,
            history: vec![],
        }
    }
}

impl From<bridge::VsiView> for Known {
    fn from(view: bridge::VsiView) -> Self {
        let state = match (view.state, view.confirmed) {
            (bridge::VsiState::Processing, None) => {
                "the VSI type database was asked and has not answered yet"
            }
            (_, Some(vdp::Command::Associate)) => "it is associated",
            (bridge::VsiState::Processing | bridge::VsiState::Confirmed, _) => {
                "it is only prepared for: nothing passes before the station's Associate"
            }
        };
        Self {
            id: view.id,
            key: Some((view.manager, view.type_id, view.version)),
            macs: view.filter.entries().iter().filter_map(|entry| entry.mac).collect(),
            state: Some(state.to_owned()),
            last_error: view.last_error,
            history: vec![],
        }
    }
}

fn answer(core: &Core, planes: &Planes, port: &Port, known: &Known, now: Instant) -> Why {
    let vm = core.vms.get(&known.id);
    let at = vm.map_or(port.id, |vm| vm.port);
    let gate_key = core.keys.get(&(at, known.id)).copied();
    let gate = gate_key.and_then(|key| planes.gate(key));
    let counters = gate_key.and_then(|key| planes.vsi(key));
    let clock = carrier::clock::now();
    let recent = gate_key.map(|key| planes.vsi_drops(key)).unwrap_or_default();
    let macs: Vec<MacAddr> = gate
        .iter()
        .flat_map(|gate| gate.filters.iter().filter_map(|filter| filter.mac))
        .chain(known.macs.iter().copied())
        .collect();
    let key =
        known.key.or_else(|| vm.map(|vm| (vm.config.manager, vm.config.type_id, vm.config.type_version)));
    let (mut because, mut remedy) = sentence(core, port, known, gate.is_some(), counters.as_ref());
    let found: Vec<FdbEntry> = planes.fdb().into_iter().filter(|entry| macs.contains(&entry.mac)).collect();
    if let Some(other) = gate.as_ref().and_then(|gate| ceded(gate, &found)) {
        because += &format!(
            " But {} is on {}: a VSI there that names it too was opened later.",
            other.mac,
            core.interface(other.port)
        );
        remedy = Some(
            "de-associate the VSI whose VM has migrated; VMs that share an address need filters that name the VLAN alone",
        );
    }
    Why {
        id: known.id,
        because,
        remedy,
        vsi: vsis(core, port, Some(&known.id), now).pop(),
        evb: evb(core, port).map(row),
        profile: key.and_then(|key| core.vsidb.row(key)).map(|found| row(&found.profile)),
        gate,
        counters,
        drops: recent.iter().map(|drop| drops::drop_row(core, drop, clock)).collect(),
        addresses: found.into_iter().map(|entry| super::fdb_row(core, entry)).collect(),
        history: lines(&known.history, now),
    }
}

fn lines(history: &[Entry], now: Instant) -> Vec<Line> {
    let before = std::iter::once(None).chain(history.iter().map(|entry| Some(entry.at)));
    let line = |(entry, before): (&Entry, Option<Instant>)| Line {
        ago_ms: (now - entry.at).as_millis(),
        after_ms: before.map(|before| (entry.at - before).as_millis()),
        what: entry.what.clone().into_owned(),
    };
    history.iter().zip(before).map(line).collect()
}

/// Where an address is that this gate names and that a VSI of another port has.
fn ceded<'a>(gate: &VsiEntry, found: &'a [FdbEntry]) -> Option<&'a FdbEntry> {
    gate.filters.iter().find_map(|filter| {
        let mut places = found.iter().filter(|entry| {
            entry.origin == Origin::Static && Some(entry.mac) == filter.mac && entry.vid == filter.vid
        });
        if places.clone().any(|entry| entry.port == gate.port) { None } else { places.next() }
    })
}

/// The answer and, where there is one, the remedy.
fn sentence(
    core: &Core,
    port: &Port,
    known: &Known,
    open: bool,
    counters: Option<&VsiCounters>,
) -> (String, Option<&'static str>) {
    let doing = || known.state.clone().unwrap_or_else(|| "it is not associated".to_owned());
    if open {
        let Some(counters) = counters else { return ("Its gate is open.".to_owned(), None) };
        let mut text = format!(
            "Its gate is open: {} frames came from it and {} went to it.",
            counters.rx_frames, counters.tx_frames
        );
        let most = counters.drops.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > 0);
        if let Some((reason, count)) = most {
            text += &format!(" Most drops, {count}, are for {reason}.");
        }
        if let Some(by) = counters.taken_by {
            text += &format!(
                " Its addresses were taken over by port {}: it has left for another bridge.",
                core.interface(by)
            );
        }
        let relay = port.edge.as_ref().map(|edge| &edge.side);
        if let Some(Side::Station { relay, .. }) = relay
            && matches!(relay.mode(), EdgeMode::Isolate | EdgeMode::Private)
        {
            text += " VMs of this host do not reach one another: see BECAUSE in `evbd show evb`.";
        }
        return (text, None);
    }
    if !port.link.is_up() {
        return (
            format!("Its frames do not pass: {} is down.", port.interface),
            Some("bring the interface up at both ends"),
        );
    }
    let agreed = port.edge.as_ref().and_then(|edge| edge.status).is_some_and(|status| status.is_agreed());
    if !agreed {
        let peer =
            port.edge.as_ref().and_then(|edge| edge.status).map_or("nothing was heard", |s| s.peer.words());
        return (
            format!("Its frames do not pass: no EVB agreement on {}, {peer}.", port.interface),
            Some(
                "look at `evbd show neighbors` and `evbd doctor`: the other end must send an EVB TLV of the other role",
            ),
        );
    }
    let absent = core
        .vms
        .get(&known.id)
        .and_then(|vm| core.ports.get(vm.port.index()))
        .filter(|vm| vm.mac().is_none());
    if let Some(vm) = absent {
        return (
            format!("Its frames do not pass: there is no interface {}.", vm.interface),
            Some("create the VM's interface"),
        );
    }
    match &known.last_error {
        Some(error) => (format!("Its frames do not pass: {}; {error}.", doing()), remedy(error)),
        None => match known.history.last().filter(|_| known.state.is_none()) {
            Some(last) => {
                let what = &last.what;
                (format!("Its frames do not pass: {}; the last of it was: {what}.", doing()), remedy(what))
            }
            None => (format!("Its frames do not pass: {}.", doing()), idle(known)),
        },
    }
}

fn idle(known: &Known) -> Option<&'static str> {
    known.state.is_none().then_some("`evbd vsi associate` asks for it")
}

/// What to do about a refusal, by the code its words end in.
fn remedy(words: &str) -> Option<&'static str> {
    let codes = [
        (
            "(error 1)",
            "the request could not be read: record it with `evbd run --record` and look with `evbd decode`",
        ),
        (
            "(error 2)",
            "a table is full or the filter is longer than the profile's max_macs: see `evbd show profiles` at the bridge",
        ),
        ("(error 3)", "the bridge cannot reach the VSI manager: see `evbd show managers` there"),
        ("(error 4)", "the bridge has no such type, or forbids it: see `evbd show profiles` there"),
        (
            "(error 5)",
            "the VLAN, group or address is not in the profile: see `evbd show profiles` at the bridge",
        ),
    ];
    let found = codes.into_iter().find(|(code, _)| words.contains(code)).map(|(_, remedy)| remedy);
    found.or_else(|| {
        words.contains("did not answer in time").then_some(
            "the bridge hears EVB but not VDP: see the ECP counters of `evbd show evb --detail` at both ends",
        )
    })
}

/// The key the relay knows an open VSI by, turned back into its identifier.
pub(super) fn id_of(core: &Core, key: VsiKey) -> Option<VsiId> {
    core.keys.iter().find(|(_, of)| **of == key).map(|((_, id), _)| *id)
}
