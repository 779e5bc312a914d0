//! The reflected probe: a frame only this station can recognise, sent out of the uplink, which a bridge with reflective
//! relay sends back [Q 8.6.1]. No standard knows it; it proves what the bridge's EVB TLV only says.
//!
//! ```text
//!   destination  03-65-76-62-64-01, a group       source, C-tag  those of an associated VSI
//!   EtherType    0x88b5, local experimental 1     payload        "evbd probe", 16 random octets
//! ```
//!
//! * The source and the VLAN are registered ones: a bridge that guards its port drops anything else. So nothing can be
//!   proved before a VSI is associated, nor needs to be.
//! * The destination is a group, which a reflecting bridge sends back by flooding whatever its address table holds. A
//!   bridge that reflects known addresses only is of no use to VMs, whose ARP would not come back; an address of the
//!   station itself is dropped by bridges that mistrust equal source and destination, an unknown one by storm control.
//!   The price is one short frame in the VLAN for each probe.
//! * Nobody reacts to it: the relay keeps probes from VMs, and VMs from sending any.
//! * The random octets are new in each probe, so that only a frame just sent counts.
//!
//! ```text
//!   Idle ─reflecting─▶ Waiting ─source─▶ Round ─back─▶ Proven ─interval─▶ Check ─back─▶ Proven
//!                          ▲               │  ▲ ◀─time── Failed ◀─three lost─┘
//!                          └──no source────┘  └──all lost──▶┘
//! ```

use std::collections::VecDeque;

use ether::{EtherType, FrameView, Instant, MacAddr, Tag, Vid, frame, mac, time::Duration};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::Serialize;

/// The prover of one uplink. Drain [`Probe::poll_transmit`] after every other call.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Between proofs once reflection was proved; `None`: once is enough.
    interval: Option<Duration>,
    random: StdRng,
    source: Option<Source>,
    state: State,
    /// Sent and not back yet, oldest first.
    outstanding: VecDeque<Sent>,
    frames: VecDeque<Vec<u8>>,
    stats: Stats,
}

/// A VSI that probes may be sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) mac: MacAddr,
    pub(crate) vid: Vid,
}

/// What is known of reflection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// There is nothing to prove: the bridge does not say that it reflects, or the mode does not care.
    Idle,
    /// No VSI is associated yet to send a probe for.
    Waiting,
    /// The first probes are under way.
    Probing,
    /// No probe has come back since the bridge said that it reflects.
    Failed,
    /// Probes came back once and do so no more.
    Lost,
    /// A probe came back.
    Proven,
}

/// What has been counted, never reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    /// Probes sent.
    pub(crate) sent: u64,
    /// Those that came back in time.
    pub(crate) returned: u64,
    /// Those that did not.
    pub(crate) lost: u64,
    /// Lost ones that came back after all.
    pub(crate) late: u64,
    /// The way to the bridge and back, at the latest return, in microseconds.
    pub(crate) round_trip_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Waiting,
    /// Probes close to one another until one comes back, after as many failed rounds; `known` is what is known meanwhile.
    Round {
        known: Proof,
        failures: u32,
        sent: u32,
        deadline: Instant,
    },
    Failed {
        lost: bool,
        failures: u32,
        again: Instant,
    },
    Proven {
        next: Option<Instant>,
    },
    /// A single probe is out, the last `lost` ones having been lost.
    Check {
        lost: u32,
        deadline: Instant,
    },
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    nonce: [u8; NONCE],
    source: Source,
    at: Instant,
    /// Counted as lost already.
    overdue: bool,
}

impl Probe {
    /// Nothing to prove, nothing to send from. `seed` makes the nonces.
    pub(crate) fn new(interval: Option<Duration>, seed: u64) -> Self {
        Self {
            interval,
            random: StdRng::seed_from_u64(seed),
            source: None,
            state: State::Idle,
            outstanding: VecDeque::new(),
            frames: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Another time between proofs, from now on.
    pub(crate) fn set_interval(&mut self, now: Instant, interval: Option<Duration>) {
        if self.interval != interval {
            self.interval = interval;
            if let State::Proven { .. } = self.state {
                self.state = self.proven(now);
            }
        }
    }

    /// Whether the bridge says that it reflects, and it matters.
    pub(crate) fn set_reflecting(&mut self, now: Instant, reflecting: bool) {
        let idle = self.state == State::Idle;
        if reflecting && idle {
            self.begin_round(now, Proof::Probing, 0);
        } else if !reflecting && !idle {
            self.outstanding.clear();
            self.state = State::Idle;
        }
    }

    /// The VSI to send for from now on; `None` when there is none.
    pub(crate) fn set_source(&mut self, now: Instant, source: Option<Source>) {
        if self.source == source {
            return;
        }
        self.source = source;
        match (self.state, source) {
            (State::Waiting, Some(_)) => self.begin_round(now, Proof::Probing, 0),
            (State::Round { .. }, None) => self.state = State::Waiting,
            // What was proved stays so; what was asked last cannot be asked again.
            (State::Check { .. }, None) => self.state = self.proven(now),
            (State::Round { .. } | State::Check { .. }, Some(_))
            | (State::Waiting, None)
            | (State::Idle | State::Failed { .. } | State::Proven { .. }, _) => {}
        }
    }

    /// The VSI probes are sent for.
    pub(crate) const fn source(&self) -> Option<Source> {
        self.source
    }

    /// Takes a frame of [`EtherType::PROBE`] from the uplink. False if it is not one that is awaited: another station's, a
    /// repetition, too late by far, or forged.
    pub(crate) fn handle_frame(&mut self, now: Instant, view: &FrameView<'_>) -> bool {
        let Some(nonce) = view.payload.strip_prefix(&LABEL).and_then(|rest| rest.first_chunk::<NONCE>())
        else {
            return false;
        };
        let ours = |sent: &Sent| {
            sent.nonce == *nonce
                && sent.source.mac == view.src
                && view.dst == mac::PROBE_GROUP
                && view.tag.is_none_or(|tag| tag.vid == Some(sent.source.vid))
        };
        let found = self.outstanding.iter().position(ours);
        let Some(sent) = found.and_then(|at| self.outstanding.remove(at)) else { return false };
        if sent.overdue {
            self.stats.late += 1;
        } else {
            self.stats.returned += 1;
        }
        self.stats.round_trip_us = u64::try_from((now - sent.at).as_micros()).ok();
        match self.state {
            State::Waiting | State::Round { .. } | State::Failed { .. } | State::Check { .. } => {
                self.state = self.proven(now);
            }
            State::Idle | State::Proven { .. } => {}
        }
        true
    }

    /// Lets time pass; harmless when called early or late.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match self.state {
            State::Idle | State::Waiting => {}
            State::Round { known, failures, sent, .. } => {
                self.overdue();
                if sent < ROUND {
                    self.send(now);
                    let wait = FIRST_WAIT * 2_u32.saturating_pow(sent);
                    self.state = State::Round { known, failures, sent: sent + 1, deadline: now + wait };
                } else {
                    self.state = failed(now, known == Proof::Lost, failures.saturating_add(1));
                }
            }
            State::Failed { lost, failures, .. } => {
                self.begin_round(now, if lost { Proof::Lost } else { Proof::Failed }, failures);
            }
            State::Proven { .. } if self.source.is_none() => self.state = self.proven(now),
            State::Proven { .. } => self.check(now, 0),
            State::Check { lost, .. } => {
                self.overdue();
                if lost + 1 < LOST_IN_A_ROW {
                    self.check(now, lost + 1);
                } else {
                    self.state = failed(now, true, 0);
                }
            }
        }
    }

    /// When [`Probe::handle_timeout`] has something to do.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle | State::Waiting => None,
            State::Round { deadline, .. } | State::Check { deadline, .. } => Some(deadline),
            State::Failed { again, .. } => Some(again),
            State::Proven { next } => next,
        }
    }

    /// The next frame to send out of the uplink.
    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// What is known now.
    pub(crate) const fn proof(&self) -> Proof {
        match self.state {
            State::Idle => Proof::Idle,
            State::Waiting => Proof::Waiting,
            State::Round { known, .. } => known,
            State::Failed { lost: false, .. } => Proof::Failed,
            State::Failed { lost: true, .. } => Proof::Lost,
            State::Proven { .. } | State::Check { .. } => Proof::Proven,
        }
    }

    /// The counters.
    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    fn begin_round(&mut self, now: Instant, known: Proof, failures: u32) {
        self.outstanding.clear();
        self.state = if self.source.is_some() {
            self.send(now);
            State::Round { known, failures, sent: 1, deadline: now + FIRST_WAIT }
        } else {
            State::Waiting
        };
    }

    fn check(&mut self, now: Instant, lost: u32) {
        self.send(now);
        self.state = State::Check { lost, deadline: now + CHECK_WAIT };
    }

    fn proven(&self, now: Instant) -> State {
        State::Proven { next: self.interval.map(|interval| now + interval) }
    }

    fn overdue(&mut self) {
        for sent in self.outstanding.iter_mut().filter(|sent| !sent.overdue) {
            sent.overdue = true;
            self.stats.lost += 1;
        }
    }

    fn send(&mut self, now: Instant) {
        let Some(source) = self.source else { return };
        let nonce: [u8; NONCE] = self.random.random();
        let payload = [&LABEL[..], &nonce[..]].concat();
        let mut octets = frame::build(mac::PROBE_GROUP, source.mac, EtherType::PROBE, &payload);
        octets.splice(TAG_AT..TAG_AT, Tag::c(source.vid).to_bytes());
        self.frames.push_back(octets);
        self.stats.sent += 1;
        if self.outstanding.len() == REMEMBERED {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Sent { nonce, source, at: now, overdue: false });
    }
}

/// The next round comes the later the more have failed.
fn failed(now: Instant, lost: bool, failures: u32) -> State {
    let rest = FIRST_REST.saturating_mul(2_u32.saturating_pow(failures)).min(LAST_REST);
    State::Failed { lost, failures, again: now + rest }
}

impl Proof {
    /// What it means for the relay, in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Idle => "reflection is not probed",
            Self::Waiting => {
                "the bridge says reflective relay is on; a probe will prove it once a VSI is associated"
            }
            Self::Probing => "the bridge says reflective relay is on; a probe is under way",
            Self::Failed => "the bridge says reflective relay is on but a probe did not come back",
            Self::Lost => "the bridge says reflective relay is on but probes do not come back any more",
            Self::Proven => "the bridge reflects: a probe came back",
        }
    }
}

/// Lets a person who sees the frame know what it is.
const LABEL: [u8; 10] = *b"evbd probe";
/// Octets of the nonce.
const NONCE: usize = 16;
/// Where a tag stands in a frame: after both addresses.
const TAG_AT: usize = 12;
/// Probes of a round: sent 0, 60, 180, 420 and 900 ms after its start; it fails after 1860 ms.
const ROUND: u32 = 5;
/// How long the first probe of a round is waited for; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(60);
/// From a loss to the first round; twice as long after each round that fails …
const FIRST_REST: Duration = Duration::from_secs(1);
/// … up to this.
const LAST_REST: Duration = Duration::from_secs(30);
/// How long a single probe is waited for.
const CHECK_WAIT: Duration = Duration::from_secs(1);
/// So many single probes lost one after another are a loss of reflection.
const LOST_IN_A_ROW: u32 = 3;
/// Probes that may still come back late.
const REMEMBERED: usize = 8;

#[cfg(test)]
mod tests;
