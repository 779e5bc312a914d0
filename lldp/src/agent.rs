//! The LLDP agent: one per port and destination address, made of a transmit, a transmit timer and a receive machine
//! [AB 6.1, 9.2].

use std::collections::VecDeque;

use bytes::Bytes;
use ether::{Instant, MacAddr, time::earliest};
use serde::{Deserialize, Serialize};

use crate::{
    error::LocalError,
    mib::{GoneCause, Local, LocalInfo, Neighbor, NeighborEvent, Remote},
    org::{OrgKey, OrgTlv},
    pdu::{Lldpdu, MAX_LEN, Msap},
    rx::{self, Rx},
    scope::Scope,
    stats::Counters,
    tx::{self, Tx},
    txtimer::{self, Timing, TxTimer},
};

/// Which way an agent works [AB 9.2.5].
#[doc(alias = "adminStatus")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminStatus {
    /// Neither way.
    Disabled,
    /// Sends.
    TxOnly,
    /// Receives.
    RxOnly,
    /// Both.
    #[default]
    RxTx,
}

impl AdminStatus {
    const fn tx(self) -> bool {
        matches!(self, Self::TxOnly | Self::RxTx)
    }

    const fn rx(self) -> bool {
        matches!(self, Self::RxOnly | Self::RxTx)
    }
}

/// What an agent is told when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AgentConfig {
    /// Which destination address it serves.
    pub scope: Scope,
    /// Which way it works.
    pub admin_status: AdminStatus,
    /// Its timing.
    pub timing: Timing,
    /// How many neighbours it remembers. When they are as many, a new one is ignored and
    /// [`NeighborEvent::TooMany`] says so: a flood of made-up neighbours cannot drive out the real one.
    pub max_neighbors: usize,
}

impl AgentConfig {
    /// An agent that works both ways with default timing and remembers sixteen neighbours.
    #[must_use]
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            admin_status: AdminStatus::default(),
            timing: Timing::default(),
            max_neighbors: DEFAULT_NEIGHBORS,
        }
    }
}

/// What an agent wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this LLDPDU: the payload of a frame to the address of the scope, without padding.
    Transmit(Bytes),
    /// Something became of a neighbour. Asked for it, the agent shows the state after all outputs.
    Neighbor(NeighborEvent),
}

/// One LLDP agent.
///
/// `now` never goes back from call to call. After each call the owner drains [`Agent::poll_output`] and then asks
/// [`Agent::poll_timeout`].
#[derive(Clone, Debug)]
pub struct Agent {
    config: AgentConfig,
    link_up: bool,
    local: Local,
    remote: Remote,
    tx: Tx,
    timer: TxTimer,
    rx: Rx,
    counters: Counters,
    outputs: VecDeque<Output>,
}

impl Agent {
    /// An agent of a port whose link is down.
    #[must_use]
    pub fn new(config: AgentConfig, local: LocalInfo) -> Self {
        Self {
            config,
            link_up: false,
            local: Local::new(local),
            remote: Remote::new(config.max_neighbors),
            tx: Tx::default(),
            timer: TxTimer::default(),
            rx: Rx::default(),
            counters: Counters::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The link went up or down. Down, what the neighbours said goes on ageing; up again, it is learnt anew.
    #[doc(alias = "portEnabled")]
    pub fn handle_link(&mut self, now: Instant, up: bool) {
        self.link_up = up;
        self.run(now);
    }

    /// An LLDPDU came from `src` to the address of this agent's scope; `payload` is all after the EtherType.
    pub fn handle_pdu(&mut self, now: Instant, src: MacAddr, payload: &[u8]) {
        match self.rx.handle(rx::Event::Frame) {
            Some(rx::Action::Process) => self.process(now, src, payload),
            _ => self.counters.frames_refused_total += 1,
        }
        self.run(now);
    }

    /// Puts `info` in the place of what our organizational TLV `key` said; `None` takes the TLV away. A change is sent
    /// at once while credit lasts.
    ///
    /// # Errors
    /// When `info` is longer than [`OrgTlv::MAX`]; nothing is changed.
    pub fn set_org_tlv(&mut self, now: Instant, key: OrgKey, info: Option<Bytes>) -> Result<(), LocalError> {
        let tlv = info.map(|info| OrgTlv::new(key, info)).transpose()?;
        if self.local.set_org(key, tlv) {
            self.timer.handle(now, &self.config.timing, txtimer::Event::LocalChange);
        }
        self.run(now);
        Ok(())
    }

    /// Changes what describes us. Under another chassis or port ID the old one is withdrawn first, lest
    /// neighbours take us for two.
    pub fn set_local(&mut self, now: Instant, info: LocalInfo) {
        if self.local.info != info {
            let old = self.local.info.msap();
            self.local.info = info;
            if self.tx == Tx::Idle && old != self.local.info.msap() {
                self.transmit(&Lldpdu::new(old, 0), 0);
            }
            self.timer.handle(now, &self.config.timing, txtimer::Event::LocalChange);
        }
        self.run(now);
    }

    /// Takes over timing and room for neighbours of `config`; which way it works, as [`Self::set_admin_status`] does. The
    /// scope stays. Other timing is told at once, for it changes our TTL.
    pub fn reconfigure(&mut self, now: Instant, config: AgentConfig) {
        let timing = core::mem::replace(&mut self.config.timing, config.timing);
        if timing != config.timing {
            self.timer.handle(now, &config.timing, txtimer::Event::LocalChange);
        }
        self.config.max_neighbors = config.max_neighbors;
        self.remote.set_max(config.max_neighbors);
        self.set_admin_status(now, config.admin_status);
    }

    /// Changes which way the agent works. Only here a shutdown LLDPDU is sent: when we no longer send.
    pub fn set_admin_status(&mut self, now: Instant, status: AdminStatus) {
        self.config.admin_status = status;
        self.run(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.run(now);
    }

    /// When [`Self::handle_timeout`] is to be called next, unless something else happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let credit = if self.tx == Tx::Idle { self.timer.send_at() } else { None };
        [self.tx.next(), self.timer.next(), credit].into_iter().fold(self.remote.next(), earliest)
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The configuration as it is now.
    #[must_use]
    pub const fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// What our next LLDPDU says.
    #[must_use]
    pub fn local(&self) -> Lldpdu {
        self.local.pdu(self.config.timing.tx_ttl())
    }

    /// The neighbours, ordered by chassis and port ID.
    pub fn neighbors(&self) -> impl Iterator<Item = &Neighbor> {
        self.remote.iter()
    }

    /// The neighbour `msap`, if it is known.
    #[must_use]
    pub fn neighbor(&self, msap: &Msap) -> Option<&Neighbor> {
        self.remote.get(msap)
    }

    /// Until when there are more neighbours than there is room for, as far as is known.
    #[must_use]
    pub const fn too_many_until(&self) -> Option<Instant> {
        self.remote.too_many_until()
    }

    /// What the agent has counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn process(&mut self, now: Instant, src: MacAddr, payload: &[u8]) {
        let own = self.local.info.msap();
        let event = rx::process(&mut self.remote, &mut self.counters, &own, now, src, payload);
        if let Some(NeighborEvent::Appeared { .. }) = event {
            self.timer.handle(now, &self.config.timing, txtimer::Event::NewNeighbor);
        }
        self.outputs.extend(event.map(Output::Neighbor));
    }

    /// Tells the machines how port, administrator and clock stand, until each has done what that asks of it.
    fn run(&mut self, now: Instant) {
        let (up, may) = (self.link_up, self.config.admin_status);

        self.rx_event(
            now,
            match (up, may.rx()) {
                (false, _) => rx::Event::PortDown,
                (true, true) => rx::Event::Enabled,
                (true, false) => rx::Event::Disabled,
            },
        );
        if self.remote.next().is_some_and(|at| at <= now) {
            self.rx_event(now, rx::Event::InfoAge);
        }

        let timing = self.config.timing;
        let enabled = if up && may.tx() { txtimer::Event::Enabled } else { txtimer::Event::Disabled };
        self.timer.handle(now, &timing, enabled);
        self.timer.handle(now, &timing, txtimer::Event::Timeout);

        self.tx_event(now, tx::Event::Timeout);
        self.tx_event(
            now,
            match (up, may.tx()) {
                (false, _) => tx::Event::PortDown,
                (true, true) => tx::Event::Enabled,
                (true, false) => tx::Event::Disabled,
            },
        );
        if self.timer.send_at().is_some_and(|at| at <= now) {
            self.tx_event(now, tx::Event::TxNow);
        }
    }

    fn rx_event(&mut self, now: Instant, event: rx::Event) {
        let gone = |cause| move |msap| Output::Neighbor(NeighborEvent::Gone { msap, cause });
        match self.rx.handle(event) {
            Some(rx::Action::DeleteAll(cause)) => self.outputs.extend(self.remote.clear().map(gone(cause))),
            Some(rx::Action::DeleteAged) => {
                for msap in self.remote.expire(now) {
                    self.counters.ageouts_total += 1;
                    self.outputs.push_back(gone(GoneCause::AgedOut)(msap));
                }
                if self.remote.too_many_over(now) {
                    self.outputs.push_back(Output::Neighbor(NeighborEvent::TooManyOver));
                }
            }
            Some(rx::Action::Process | rx::Action::Refuse) | None => {}
        }
    }

    fn tx_event(&mut self, now: Instant, event: tx::Event) {
        let timing = self.config.timing;
        match self.tx.handle(now, timing.reinit_delay(), event) {
            Some(tx::Action::SendInfo) => {
                self.transmit(&self.local(), self.local.protocols());
                self.timer.sent(now, &timing);
            }
            Some(tx::Action::SendShutdown) => self.transmit(&Lldpdu::new(self.local.info.msap(), 0), 0),
            None => {}
        }
    }

    fn transmit(&mut self, pdu: &Lldpdu, protocols: usize) {
        let emitted = pdu.emit_before_basic(MAX_LEN, protocols);
        self.counters.sent(emitted.omitted);
        self.outputs.push_back(Output::Transmit(emitted.octets));
    }
}

/// How many neighbours an agent remembers unless told otherwise.
const DEFAULT_NEIGHBORS: usize = 16;

#[cfg(test)]
mod tests;
