//! The transmit timer machine: when an LLDPDU is due, and how many may leave in a row [AB 9.2.5, 9.2.10].
//!
//! The standard counts in ticks of one second. Here the same values are deadlines, so that nothing runs while nothing
//! is due: `txTTR` is the instant it would reach zero, `txCredit` is brought up to date when it is looked at.

use ether::{Instant, time::Duration};
use serde::{Deserialize, Serialize};

use crate::error::LocalError;

/// The timing parameters as an operator writes them [AB 9.2.5]. The ranges are those of the YANG module of 2022.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimingParams {
    /// Seconds between LLDPDUs while nothing changes: 1..=3600, default 30.
    #[doc(alias = "msgTxInterval")]
    pub msg_tx_interval: u16,
    /// How many intervals an LLDPDU holds: 2..=10, default 4.
    #[doc(alias = "msgTxHold")]
    pub msg_tx_hold: u16,
    /// Seconds between LLDPDUs after a neighbour appeared: 1..=3600, default 1.
    #[doc(alias = "msgFastTx")]
    pub msg_fast_tx: u16,
    /// How many LLDPDUs are sent that fast: 1..=8, default 4.
    #[doc(alias = "txFastInit")]
    pub tx_fast_init: u16,
    /// How many LLDPDUs may leave in a row before one per second: 1..=10, default 5.
    #[doc(alias = "txCreditMax")]
    pub tx_credit_max: u16,
    /// Seconds from being disabled to being ready again: 1..=10, default 2.
    #[doc(alias = "reinitDelay")]
    pub reinit_delay: u16,
}

impl Default for TimingParams {
    fn default() -> Self {
        Self {
            msg_tx_interval: 30,
            msg_tx_hold: 4,
            msg_fast_tx: 1,
            tx_fast_init: 4,
            tx_credit_max: 5,
            reinit_delay: 2,
        }
    }
}

/// Timing parameters that are in their ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Timing(TimingParams);

impl TryFrom<TimingParams> for Timing {
    type Error = LocalError;

    /// # Errors
    /// Names the first parameter out of its range, and the range.
    fn try_from(params: TimingParams) -> Result<Self, LocalError> {
        let ranges = [
            ("msg_tx_interval", params.msg_tx_interval, 1, 3600),
            ("msg_tx_hold", params.msg_tx_hold, 2, 10),
            ("msg_fast_tx", params.msg_fast_tx, 1, 3600),
            ("tx_fast_init", params.tx_fast_init, 1, 8),
            ("tx_credit_max", params.tx_credit_max, 1, 10),
            ("reinit_delay", params.reinit_delay, 1, 10),
        ];
        match ranges.into_iter().find(|(_, value, min, max)| !(*min..=*max).contains(value)) {
            Some((name, value, min, max)) => Err(LocalError::Timing { name, value, min, max }),
            None => Ok(Self(params)),
        }
    }
}

impl Timing {
    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> &TimingParams {
        &self.0
    }

    /// The TTL of our LLDPDUs in seconds [AB 9.2.5].
    #[doc(alias = "txTTL")]
    #[must_use]
    pub const fn tx_ttl(&self) -> u16 {
        // UNSURE-17: one second more than the product.
        self.0.msg_tx_interval.saturating_mul(self.0.msg_tx_hold).saturating_add(1)
    }

    /// How long the transmit machine stays shut down.
    pub(crate) fn reinit_delay(&self) -> Duration {
        seconds(self.0.reinit_delay)
    }
}

/// The machine. `TX_TIMER_EXPIRES`, `SIGNAL_TX`, `TX_TICK` and `TX_FAST_START` are passed through at once and are
/// functions of the state they return to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TxTimer {
    /// The port is down or the agent may not transmit.
    #[default]
    Initialize,
    /// Waiting for something to be due.
    Idle(Idle),
}

/// The variables of the idle state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Idle {
    /// When `txTTR` reaches zero.
    ttr: Instant,
    /// `txFast`: LLDPDUs still to be sent fast.
    fast: u16,
    /// `txNow`: an LLDPDU is to be sent as soon as credit allows.
    tx_now: bool,
    /// `txCredit` as of `tick`.
    credit: u16,
    /// The last tick that is in `credit`.
    tick: Instant,
}

/// What moves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The port is down or the agent may not transmit.
    Disabled,
    /// The port is up and the agent may transmit.
    Enabled,
    /// What our LLDPDU says has changed.
    LocalChange,
    /// A neighbour appeared.
    NewNeighbor,
    /// Time has passed.
    Timeout,
}

impl TxTimer {
    pub(crate) fn handle(&mut self, now: Instant, timing: &Timing, event: Event) {
        match (self, event) {
            (this @ Self::Initialize, Event::Enabled) => {
                let credit = timing.0.tx_credit_max;
                *this = Self::Idle(Idle { ttr: now, fast: 0, tx_now: false, credit, tick: now });
            }
            (
                Self::Initialize,
                Event::Disabled | Event::LocalChange | Event::NewNeighbor | Event::Timeout,
            ) => {}
            (this @ Self::Idle(_), Event::Disabled) => *this = Self::Initialize,
            (Self::Idle(_), Event::Enabled) => {}
            (Self::Idle(idle), Event::LocalChange) => idle.signal_tx(now, timing),
            (Self::Idle(idle), Event::NewNeighbor) => idle.fast_start(now, timing),
            (Self::Idle(idle), Event::Timeout) => {
                if idle.ttr <= now {
                    idle.timer_expires(now, timing);
                }
            }
        }
    }

    /// When the next LLDPDU falls due by itself.
    pub(crate) const fn next(&self) -> Option<Instant> {
        match self {
            Self::Initialize => None,
            Self::Idle(idle) => Some(idle.ttr),
        }
    }

    /// From when on the LLDPDU that is due may be sent, if one is: at once, or when the next credit comes.
    pub(crate) fn send_at(&self) -> Option<Instant> {
        match self {
            Self::Idle(idle) if idle.tx_now && idle.credit > 0 => Some(idle.tick),
            Self::Idle(idle) if idle.tx_now => Some(idle.tick + TICK),
            Self::Idle(_) | Self::Initialize => None,
        }
    }

    /// An LLDPDU has been sent.
    pub(crate) fn sent(&mut self, now: Instant, timing: &Timing) {
        if let Self::Idle(idle) = self {
            idle.count_ticks(now, timing);
            idle.credit = idle.credit.saturating_sub(1);
            idle.tx_now = false;
        }
    }
}

impl Idle {
    fn fast_start(&mut self, now: Instant, timing: &Timing) {
        if self.fast == 0 {
            self.fast = timing.0.tx_fast_init;
        }
        self.timer_expires(now, timing);
    }

    fn timer_expires(&mut self, now: Instant, timing: &Timing) {
        self.fast = self.fast.saturating_sub(1);
        self.signal_tx(now, timing);
    }

    fn signal_tx(&mut self, now: Instant, timing: &Timing) {
        let wait = if self.fast > 0 { timing.0.msg_fast_tx } else { timing.0.msg_tx_interval };
        self.tx_now = true;
        self.ttr = now + seconds(wait);
    }

    fn count_ticks(&mut self, now: Instant, timing: &Timing) {
        let ticks = (now - self.tick).as_secs();
        let credit = u64::from(self.credit).saturating_add(ticks).min(timing.0.tx_credit_max.into());
        self.credit = u16::try_from(credit).unwrap_or(timing.0.tx_credit_max);
        self.tick += Duration::from_secs(ticks);
    }
}

fn seconds(count: u16) -> Duration {
    Duration::from_secs(count.into())
}

/// How often credit grows by one.
const TICK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const T: Instant = Instant::from_secs(100);

    fn idle(ttr: u64, fast: u16, tx_now: bool, credit: u16, tick: u64) -> TxTimer {
        let (ttr, tick) = (Instant::from_secs(ttr), Instant::from_secs(tick));
        TxTimer::Idle(Idle { ttr, fast, tx_now, credit, tick })
    }

    /// Every state with every event, [AB 9.2.10].
    #[test]
    fn state_event_table() {
        use Event::*;
        let init = TxTimer::Initialize;
        let quiet = idle(120, 0, false, 5, 90);
        let due = idle(100, 0, false, 5, 90);
        let fast = idle(100, 2, false, 5, 90);
        let table = [
            (&init, Disabled, init.clone()),
            (&init, Enabled, idle(100, 0, false, 5, 100)),
            (&init, LocalChange, init.clone()),
            (&init, NewNeighbor, init.clone()),
            (&init, Timeout, init.clone()),
            (&quiet, Disabled, init.clone()),
            (&quiet, Enabled, quiet.clone()),
            (&quiet, LocalChange, idle(130, 0, true, 5, 90)),
            (&quiet, NewNeighbor, idle(101, 3, true, 5, 90)),
            (&quiet, Timeout, quiet.clone()),
            (&due, Disabled, init.clone()),
            (&due, Enabled, due.clone()),
            (&due, LocalChange, idle(130, 0, true, 5, 90)),
            (&due, NewNeighbor, idle(101, 3, true, 5, 90)),
            (&due, Timeout, idle(130, 0, true, 5, 90)),
            (&fast, Disabled, init.clone()),
            (&fast, Enabled, fast.clone()),
            (&fast, LocalChange, idle(101, 2, true, 5, 90)),
            (&fast, NewNeighbor, idle(101, 1, true, 5, 90)),
            (&fast, Timeout, idle(101, 1, true, 5, 90)),
        ];
        for (before, event, after) in table {
            let mut machine = before.clone();
            machine.handle(T, &Timing::default(), event);
            assert_eq!(machine, after, "{before:?} {event:?}");
        }
    }

    #[test]
    fn credit_comes_back_once_a_second_and_stops_at_its_limit() {
        let timing = Timing::default();
        let mut machine = idle(130, 0, true, 1, 99);
        assert_eq!(machine.send_at(), Some(Instant::from_secs(99)));
        machine.sent(Instant::from_millis(99_400), &timing);
        assert_eq!(machine, idle(130, 0, false, 0, 99));
        assert_eq!(machine.send_at(), None);

        machine.handle(Instant::from_millis(99_500), &timing, Event::LocalChange);
        assert_eq!(machine.send_at(), Some(T));
        machine.sent(T, &timing);
        machine.handle(T, &timing, Event::LocalChange);
        assert_eq!(machine.send_at(), Some(Instant::from_secs(101)));

        machine.sent(Instant::from_secs(1_000), &timing);
        let TxTimer::Idle(Idle { credit, .. }) = machine else { panic!("{machine:?}") };
        assert_eq!(credit, 4);
    }

    #[test]
    fn ranges_are_named() {
        let ok = TimingParams::default();
        assert_eq!(Timing::try_from(ok), Ok(Timing::default()));
        let cases = [
            (TimingParams { msg_tx_interval: 0, ..ok }, "msg_tx_interval", 0, 1, 3600),
            (TimingParams { msg_tx_interval: 3601, ..ok }, "msg_tx_interval", 3601, 1, 3600),
            (TimingParams { msg_tx_hold: 1, ..ok }, "msg_tx_hold", 1, 2, 10),
            (TimingParams { msg_tx_hold: 11, ..ok }, "msg_tx_hold", 11, 2, 10),
            (TimingParams { msg_fast_tx: 0, ..ok }, "msg_fast_tx", 0, 1, 3600),
            (TimingParams { msg_fast_tx: 3601, ..ok }, "msg_fast_tx", 3601, 1, 3600),
            (TimingParams { tx_fast_init: 0, ..ok }, "tx_fast_init", 0, 1, 8),
            (TimingParams { tx_fast_init: 9, ..ok }, "tx_fast_init", 9, 1, 8),
            (TimingParams { tx_credit_max: 0, ..ok }, "tx_credit_max", 0, 1, 10),
            (TimingParams { tx_credit_max: 11, ..ok }, "tx_credit_max", 11, 1, 10),
            (TimingParams { reinit_delay: 0, ..ok }, "reinit_delay", 0, 1, 10),
            (TimingParams { reinit_delay: 11, ..ok }, "reinit_delay", 11, 1, 10),
        ];
        for (params, name, value, min, max) in cases {
            assert_eq!(Timing::try_from(params), Err(LocalError::Timing { name, value, min, max }));
        }
        assert_eq!(
            LocalError::Timing { name: "tx_fast_init", value: 9, min: 1, max: 8 }.to_string(),
            "local: tx_fast_init is 9, allowed are 1 to 8"
        );
    }

    #[test]
    fn ttl_is_one_more_than_the_product() {
        assert_eq!(Timing::default().tx_ttl(), 121);
        let longest = TimingParams { msg_tx_interval: 3600, msg_tx_hold: 10, ..TimingParams::default() };
        assert_eq!(Timing::try_from(longest).unwrap().tx_ttl(), 36_001);
    }
}
