//! What a station's edge relay does, and why: VEB, VEPA, isolated, private, passthru or direct [Q 40.1].
//!
//! | `mode` | the bridge says on, proved | says on, not proved | says off, or nothing |
//! |---|---|---|---|
//! | auto | VEPA | `fallback` | `fallback` |
//! | vepa | VEPA | VEPA | `fallback` |
//! | veb, private, passthru, direct | as configured | as configured | as configured |
//!
//! While the uplink is down nothing the bridge said holds. With `fallback = "hold"` a VEPA stays one whatever the bridge does later, and says that it is held; before it was one
//! it is a VEB.

use std::collections::{BTreeMap, VecDeque};

use ether::{FrameView, Instant};
use hairpin::{EdgeMode, VsiEntry, VsiKey};
use serde::Serialize;
use vdp::evb::{ReflectiveRelay, RelayState};

use crate::{
    config::{EdgeConfig, Fallback, StationMode},
    probe::{Probe, Proof, Source, Stats},
};

/// The mode machine of a station. Drain [`EdgeRelay::poll_output`] after every other call.
pub(crate) struct EdgeRelay {
    wanted: StationMode,
    fallback: Fallback,
    /// What EVB has come to, once it has come to anything.
    reflective: Option<ReflectiveRelay>,
    /// The uplink is up.
    up: bool,
    probe: Probe,
    /// The first address of each open gate.
    sources: BTreeMap<VsiKey, Source>,
    now: Decision,
    /// The proof told last.
    told: Proof,
    outputs: VecDeque<Output>,
}

/// What the mode machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// Send this frame out of the uplink.
    Transmit(Vec<u8>),
    /// The relay is this now; switch it if it was another.
    Decided(Decision),
    /// What is known of reflection has changed.
    Proof { proof: Proof, round_trip_us: Option<u64> },
}

/// What the edge relay is, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) mode: EdgeMode,
    /// A VEPA by policy although nothing is known to come back.
    pub(crate) held: bool,
    pub(crate) because: String,
}

/// The machine, for display.
#[derive(Serialize)]
pub(crate) struct EdgeView {
    mode: StationMode,
    relay: EdgeMode,
    held: bool,
    because: String,
    fallback: Fallback,
    probe: ProbeView,
}

#[derive(Serialize)]
struct ProbeView {
    state: Proof,
    words: &'static str,
    #[serde(flatten)]
    stats: Stats,
}

impl EdgeRelay {
    /// Nothing heard yet, no gate open. `seed` makes the probes unpredictable.
    pub(crate) fn new(config: &EdgeConfig, seed: u64) -> Self {
        Self {
            wanted: config.mode,
            fallback: config.fallback,
            reflective: None,
            up: false,
            probe: Probe::new(config.probe_interval, seed),
            sources: BTreeMap::new(),
            now: decide(config.mode, config.fallback, None, false, Proof::Idle, false),
            told: Proof::Idle,
            outputs: VecDeque::new(),
        }
    }

    /// What the relay of a station is before anything was heard.
    pub(crate) fn initial(config: &EdgeConfig) -> EdgeMode {
        decide(config.mode, config.fallback, None, false, Proof::Idle, false).mode
    }

    /// Another mode, fallback or time between probes; what is known of the bridge and of VSIs stays.
    pub(crate) fn reconfigure(&mut self, now: Instant, config: &EdgeConfig) {
        self.wanted = config.mode;
        self.fallback = config.fallback;
        self.probe.set_interval(now, config.probe_interval);
        self.follow_bridge(now);
    }

    /// EVB has come to something.
    pub(crate) fn set_reflective(&mut self, now: Instant, reflective: ReflectiveRelay) {
        self.reflective = Some(reflective);
        self.follow_bridge(now);
    }

    /// The uplink came up or went down. What the bridge said stands until LLDP forgets it, but is of no use meanwhile.
    pub(crate) fn set_link(&mut self, now: Instant, up: bool) {
        self.up = up;
        self.follow_bridge(now);
    }

    /// The gate of a VSI is open.
    pub(crate) fn open(&mut self, now: Instant, key: VsiKey, entry: &VsiEntry) {
        let named = entry.filters.iter().find_map(|f| Some(Source { mac: f.mac?, vid: f.vid }));
        match named {
            Some(source) => self.sources.insert(key, source),
            None => self.sources.remove(&key),
        };
        self.follow_sources(now);
    }

    /// The gate of a VSI is shut.
    pub(crate) fn shut(&mut self, now: Instant, key: VsiKey) {
        self.sources.remove(&key);
        self.follow_sources(now);
    }

    /// Takes a probe from the uplink; false if it is not one of ours that is awaited.
    pub(crate) fn handle_probe(&mut self, now: Instant, view: &FrameView<'_>) -> bool {
        let ours = self.probe.handle_frame(now, view);
        self.follow();
        ours
    }

    /// Lets time pass; harmless when called early or late.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.probe.handle_timeout(now);
        self.follow();
    }

    /// When [`EdgeRelay::handle_timeout`] has something to do.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.probe.poll_timeout()
    }

    /// The next thing to do, oldest first.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What the relay is now.
    pub(crate) const fn mode(&self) -> EdgeMode {
        self.now.mode
    }

    /// The machine, for display.
    pub(crate) fn view(&self) -> EdgeView {
        EdgeView {
            mode: self.wanted,
            relay: self.now.mode,
            held: self.now.held,
            because: self.now.because.clone(),
            fallback: self.fallback,
            probe: ProbeView {
                state: self.probe.proof(),
                words: self.probe.proof().words(),
                stats: *self.probe.stats(),
            },
        }
    }

    fn follow_bridge(&mut self, now: Instant) {
        let on = self.up && self.reflective.is_some_and(|r| r.state == RelayState::On);
        self.probe.set_reflecting(now, on && self.wanted == StationMode::Auto);
        self.follow();
    }

    fn follow_sources(&mut self, now: Instant) {
        // The one in use stays in use while its gate is open.
        let current = self.probe.source().filter(|source| self.sources.values().any(|s| s == source));
        let source = current.or_else(|| self.sources.values().next().copied());
        self.probe.set_source(now, source);
        self.follow();
    }

    /// Draws the consequences of a change.
    fn follow(&mut self) {
        while let Some(frame) = self.probe.poll_transmit() {
            self.outputs.push_back(Output::Transmit(frame));
        }
        let proof = self.probe.proof();
        if proof != self.told {
            self.told = proof;
            let round_trip_us = self.probe.stats().round_trip_us.filter(|_| proof == Proof::Proven);
            self.outputs.push_back(Output::Proof { proof, round_trip_us });
        }
        let was_vepa = self.now.mode == EdgeMode::Vepa;
        let next = decide(self.wanted, self.fallback, self.reflective, self.up, proof, was_vepa);
        let switched = (next.mode, next.held) != (self.now.mode, self.now.held);
        self.now = next;
        if switched {
            self.outputs.push_back(Output::Decided(self.now.clone()));
        }
    }
}

fn decide(
    wanted: StationMode,
    fallback: Fallback,
    reflective: Option<ReflectiveRelay>,
    up: bool,
    proof: Proof,
    was_vepa: bool,
) -> Decision {
    let said = reflective.is_some_and(|r| r.state == RelayState::On);
    let on = said && up;
    let as_configured = |mode| Decision { mode, held: false, because: "configured".to_owned() };
    let vepa = |because: &str| Decision { mode: EdgeMode::Vepa, held: false, because: because.to_owned() };
    let missing = match (wanted, reflective) {
        (StationMode::Veb, _) => return as_configured(EdgeMode::Veb),
        (StationMode::Private, _) => return as_configured(EdgeMode::Private),
        (StationMode::Passthru, _) => return as_configured(EdgeMode::Passthru),
        (StationMode::Direct, _) => return as_configured(EdgeMode::Direct),
        (StationMode::Auto, _) if on && proof == Proof::Proven => return vepa(proof.words()),
        (StationMode::Vepa, _) if on => return vepa("the bridge says it reflects"),
        (StationMode::Auto, _) if on => proof.words(),
        (StationMode::Auto | StationMode::Vepa, _) if said => "the uplink is down",
        (StationMode::Auto | StationMode::Vepa, Some(reflective)) => reflective.words,
        (StationMode::Auto | StationMode::Vepa, None) => "the bridge has not been heard yet",
    };
    let (mode, held) = match fallback {
        Fallback::Veb => (EdgeMode::Veb, false),
        Fallback::Isolate => (EdgeMode::Isolate, false),
        Fallback::Hold if was_vepa => (EdgeMode::Vepa, true),
        Fallback::Hold => (EdgeMode::Veb, false),
    };
    let because = if held { format!("held by policy: {missing}") } else { missing.to_owned() };
    Decision { mode, held, because }
}

#[cfg(test)]
mod tests;
