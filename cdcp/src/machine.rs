//! Configuration of S-channels, both roles [Q 42]: the neighbour's CDCP TLV in, our own TLV and the channels out.
//!
//! A station asks for channels by SCID; a bridge gives each an SVID from its pool, or leaves it out of its list for as
//! long as it has none. The default channel is always there and not spoken of here.
//!
//! | state | heard | station | bridge |
//! |---|---|---|---|
//! | any | no usable TLV of the other role | no channel | all SVIDs are taken back |
//! | any | a usable TLV | has the channels the bridge lists | serves the list from its pool |
//! | presumed (bridge, after a restart) | nothing for 121 s | | all SVIDs are taken back |

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use ether::{
    Instant,
    time::{Duration, earliest},
};
use serde::Serialize;

use crate::{
    error::CdcpTlvError,
    pool::{Assignment, Pool},
    tlv::{CdcpTlv, Channel, ChannelCapacity, Channels, Role, Scid, Svid},
};

/// One port's end of CDCP. Drain [`Cdcp::poll_output`] after every other call.
#[derive(Clone, Debug)]
pub struct Cdcp {
    side: Side,
    capacity: ChannelCapacity,
    state: State,
    /// The usable TLV heard last.
    remote: Option<CdcpTlv>,
    /// What was told of channels.
    told: BTreeMap<Scid, Svid>,
    /// The TLV told last.
    said: Option<Bytes>,
    stats: Stats,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Debug)]
enum Side {
    Station {
        /// AdminSVIDWants, without the default channel.
        wants: Vec<Scid>,
        /// The SVID each channel has or had.
        svids: BTreeMap<Scid, Svid>,
        /// The channels the bridge lists.
        active: BTreeMap<Scid, Svid>,
    },
    Bridge {
        pool: Pool,
        assignment: Assignment,
    },
}

/// What CDCP wants done. What a TLV says holds before it is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A channel is there, under this SVID from now on.
    Up(Scid, Svid),
    /// A channel is gone.
    Down(Scid),
    /// Our TLV after OUI and subtype. LLDP has a local change.
    LocalTlv(Bytes),
    /// Whether CDCP runs, and why not, has changed.
    State(State),
}

/// schState, and why it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "because")]
pub enum State {
    /// The neighbour plays the other role.
    Running,
    /// A bridge believes that the station of before the restart is still there.
    Presumed {
        /// Until then.
        until: Instant,
    },
    /// There are no channels but the default one.
    NotRunning(Absence),
}

/// Why there is nobody to configure channels with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// No neighbour is heard at the nearest non-TPMR bridge address.
    Nobody,
    /// The neighbour sends no CDCP TLV.
    NoTlv,
    /// There are several neighbours.
    Several,
    /// The neighbour's TLV is wrong.
    Unreadable(CdcpTlvError),
    /// The neighbour plays our own role.
    SameRole(Role),
    /// The neighbour has no S-VLAN component there.
    NoSComponent,
}

/// What CDCP has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// TLVs taken.
    pub tlvs: u64,
    /// TLVs that could not be read.
    pub unreadable: u64,
    /// Of those, packed with the least significant bit first.
    pub lsb_first: u64,
    /// TLVs of our own role.
    pub same_role: u64,
    /// Channels of a bridge's list that cannot be: another's SVID, or the default channel's.
    pub conflicts: u64,
}

/// CDCP of one port, for display.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Our role.
    pub role: Role,
    /// Whether it runs.
    #[serde(flatten)]
    pub state: State,
    /// The same in words.
    pub words: String,
    /// AdminChnCap, the default channel included.
    pub capacity: ChannelCapacity,
    /// The neighbour's.
    pub remote_capacity: Option<ChannelCapacity>,
    /// LocalSVIDPool of a bridge.
    pub pool: Option<Pool>,
    /// What was counted.
    pub stats: Stats,
}

impl Cdcp {
    /// The station's end, which asks for the channels `wants`. The default channel is asked for anyway.
    #[must_use]
    pub fn station(capacity: ChannelCapacity, wants: impl IntoIterator<Item = Scid>) -> Self {
        let wants = wants.into_iter().filter(|scid| *scid != Scid::DEFAULT).collect();
        Self::new(capacity, Side::Station { wants, svids: BTreeMap::new(), active: BTreeMap::new() })
    }

    /// The bridge's end, which gives SVIDs from `pool`.
    #[must_use]
    pub fn bridge(capacity: ChannelCapacity, pool: Pool) -> Self {
        Self::new(capacity, Side::Bridge { pool, assignment: Assignment::default() })
    }

    fn new(capacity: ChannelCapacity, side: Side) -> Self {
        let mut new = Self {
            side,
            capacity,
            state: State::NotRunning(Absence::Nobody),
            remote: None,
            told: BTreeMap::new(),
            said: None,
            stats: Stats::default(),
            outputs: VecDeque::new(),
        };
        new.tell();
        new
    }

    /// A bridge goes on with the channels of before a restart. The station is believed to be there for 121 s.
    pub fn resume(&mut self, now: Instant, channels: impl IntoIterator<Item = (Scid, Svid)>) {
        if let Side::Bridge { assignment, .. } = &mut self.side {
            assignment.resume(channels);
            if !assignment.given().is_empty() {
                self.enter(State::Presumed { until: now + PRESUMED });
            }
        }
        self.tell();
    }

    /// What the only neighbour at the nearest non-TPMR bridge address says of CDCP after OUI and subtype, or why there
    /// is nothing to take.
    pub fn handle_remote(&mut self, now: Instant, heard: Result<&[u8], Absence>) {
        let heard = heard.and_then(|info| self.read(info));
        match heard {
            Ok(tlv) => {
                self.remote = Some(tlv);
                self.enter(State::Running);
            }
            Err(Absence::Nobody) if matches!(self.state, State::Presumed { .. }) => return,
            Err(absence) => {
                self.remote = None;
                self.enter(State::NotRunning(absence));
            }
        }
        self.configure(now);
    }

    fn read(&mut self, info: &[u8]) -> Result<CdcpTlv, Absence> {
        let tlv = CdcpTlv::parse(info).map_err(|error| {
            self.stats.unreadable += 1;
            self.stats.lsb_first += u64::from(error == CdcpTlvError::LsbFirst);
            Absence::Unreadable(error)
        })?;
        self.stats.tlvs += 1;
        if tlv.role == self.role() {
            self.stats.same_role += 1;
            return Err(Absence::SameRole(tlv.role));
        }
        if tlv.s_component { Ok(tlv) } else { Err(Absence::NoSComponent) }
    }

    /// The station wants these channels from now on.
    pub fn set_wants(&mut self, now: Instant, wanted: impl IntoIterator<Item = Scid>) {
        if let Side::Station { wants, .. } = &mut self.side {
            *wants = wanted.into_iter().filter(|scid| *scid != Scid::DEFAULT).collect();
        }
        self.configure(now);
    }

    /// The bridge gives SVIDs from `pool` from now on. A channel whose SVID is not in it gets another.
    pub fn set_pool(&mut self, now: Instant, new: Pool) {
        if let Side::Bridge { pool, .. } = &mut self.side {
            *pool = new;
        }
        self.configure(now);
    }

    /// As many channels may be there from now on, the default one included.
    pub fn set_capacity(&mut self, now: Instant, capacity: ChannelCapacity) {
        self.capacity = capacity;
        self.configure(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.state, State::Presumed { until } if until <= now) {
            self.enter(State::NotRunning(Absence::Nobody));
        }
        self.configure(now);
    }

    /// When [`Cdcp::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let presumed = if let State::Presumed { until } = self.state { Some(until) } else { None };
        match &self.side {
            Side::Station { .. } => None,
            // While nobody is there to be served, resting SVIDs make no difference.
            Side::Bridge { assignment, .. } => earliest(presumed, assignment.next()),
        }
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Our role.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self.side {
            Side::Station { .. } => Role::Station,
            Side::Bridge { .. } => Role::Bridge,
        }
    }

    /// The channels that are there beside the default one.
    #[must_use]
    pub const fn channels(&self) -> &BTreeMap<Scid, Svid> {
        match &self.side {
            Side::Station { active, .. } => active,
            Side::Bridge { assignment, .. } => assignment.given(),
        }
    }

    /// The channels the station wants, as far as a bridge has heard.
    #[must_use]
    pub fn wanted(&self) -> Vec<Scid> {
        match &self.side {
            Side::Station { wants, .. } => wants.clone(),
            Side::Bridge { .. } => requested(self.remote.as_ref()).map(|channel| channel.scid).collect(),
        }
    }

    /// Why a wanted channel that is not there is not there; it is served as soon as that is no more so.
    #[must_use]
    pub fn why_not(&self, scid: Scid) -> Option<String> {
        if self.channels().contains_key(&scid) {
            return None;
        }
        if let State::NotRunning(_) = self.state {
            return Some(self.state.words());
        }
        let capacity = self.limit();
        let wanted = self.wanted();
        let place = wanted.iter().position(|wanted| *wanted == scid)?;
        let beyond = place + 1 >= usize::from(capacity.get());
        Some(match &self.side {
            _ if beyond => format!("the ends support {capacity} S-channels together with the default one"),
            Side::Station { .. } => "the bridge has no SVID for it yet".to_owned(),
            Side::Bridge { .. } => "no SVID of the pool is free".to_owned(),
        })
    }

    /// The machine, for display.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            role: self.role(),
            state: self.state,
            words: self.state.words(),
            capacity: self.capacity,
            remote_capacity: self.remote.as_ref().map(|tlv| tlv.capacity),
            pool: if let Side::Bridge { pool, .. } = &self.side { Some(*pool) } else { None },
            stats: self.stats,
        }
    }

    fn enter(&mut self, state: State) {
        if self.state != state {
            self.state = state;
            self.outputs.push_back(Output::State(state));
        }
    }

    /// The smaller capacity.
    fn limit(&self) -> ChannelCapacity {
        self.remote.as_ref().map_or(self.capacity, |tlv| tlv.capacity.min(self.capacity))
    }

    /// Draws the consequences of a change [Q 42]: RxSVIDConfig of a station, TxSVIDConfig of a bridge.
    fn configure(&mut self, now: Instant) {
        let limit = usize::from(self.limit().get());
        let running = self.state == State::Running;
        match &mut self.side {
            Side::Station { wants, svids, active } => {
                active.clear();
                svids.retain(|scid, _| wants.contains(scid));
                for Channel { scid, svid } in requested(self.remote.as_ref().filter(|_| running)) {
                    let Some(svid) = svid.filter(|_| wants.contains(&scid)) else { continue };
                    if svid == Svid::DEFAULT || active.values().any(|taken| *taken == svid) {
                        self.stats.conflicts += 1;
                        continue;
                    }
                    active.insert(scid, svid);
                    svids.insert(scid, svid);
                }
            }
            Side::Bridge { pool, assignment } => match self.state {
                State::Presumed { .. } => {}
                State::NotRunning(_) => assignment.clear(now),
                State::Running => {
                    // The default channel counts, wherever it stands.
                    let asked = requested(self.remote.as_ref()).take(limit.saturating_sub(1));
                    let asked: Vec<_> = asked.map(|channel| (channel.scid, channel.svid)).collect();
                    assignment.revise(now, Some(*pool), &asked);
                }
            },
        }
        self.tell();
    }

    /// Tells what is other than before: channels gone, those new or under another SVID, then our TLV.
    fn tell(&mut self) {
        let now = self.channels().clone();
        let before = std::mem::replace(&mut self.told, now);
        let gone = before.keys().filter(|scid| !self.told.contains_key(scid));
        self.outputs.extend(gone.map(|scid| Output::Down(*scid)));
        let new = self.told.iter().filter(|(scid, svid)| before.get(scid) != Some(svid));
        self.outputs.extend(new.map(|(scid, svid)| Output::Up(*scid, *svid)));
        let info = self.tlv().to_bytes();
        if self.said.as_ref() != Some(&info) {
            self.said = Some(info.clone());
            self.outputs.push_back(Output::LocalTlv(info));
        }
    }

    fn tlv(&self) -> CdcpTlv {
        let mut list = vec![Channel::DEFAULT];
        match &self.side {
            // DEVIATES [Q 42]: a channel the bridge does not list is asked for with the SVID it had, for a bridge that has
            // forgotten all (UNSURE-21); to one that takes no hints this is a request like any other.
            Side::Station { wants, svids, .. } => {
                list.extend(wants.iter().map(|scid| Channel { scid: *scid, svid: svids.get(scid).copied() }));
            }
            Side::Bridge { assignment, .. } => {
                list.extend(
                    assignment.given().iter().map(|(&scid, &svid)| Channel { scid, svid: Some(svid) }),
                );
            }
        }
        // SCIDs are unique, and the default channel leads: there is nothing to refuse.
        let channels = Channels::new(list).unwrap_or_default();
        CdcpTlv { role: self.role(), s_component: true, capacity: self.capacity, channels }
    }
}

impl State {
    /// The state in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Running => "runs".to_owned(),
            Self::Presumed { .. } => "the station of before the restart has not spoken yet".to_owned(),
            Self::NotRunning(Absence::Nobody) => "no neighbour heard at 01-80-C2-00-00-03".to_owned(),
            Self::NotRunning(Absence::NoTlv) => "the neighbour sends no CDCP TLV".to_owned(),
            Self::NotRunning(Absence::Several) => "more than one neighbour".to_owned(),
            Self::NotRunning(Absence::Unreadable(error)) => error.to_string(),
            Self::NotRunning(Absence::SameRole(role)) => format!("the neighbour is a {role} too"),
            Self::NotRunning(Absence::NoSComponent) => "the neighbour has no S-VLAN component".to_owned(),
        }
    }
}

/// The channels of a TLV beside the default one.
fn requested(tlv: Option<&CdcpTlv>) -> impl Iterator<Item = Channel> {
    let channels = tlv.map_or(&[][..], |tlv| tlv.channels.as_slice());
    channels.iter().copied().filter(|channel| channel.scid != Scid::DEFAULT)
}

/// How long a bridge waits for the station after a restart: LLDP would have given it up by then.
const PRESUMED: Duration = Duration::from_secs(121);

#[cfg(test)]
mod tests;
