//! The transmit machine: whether LLDPDUs may leave, and the last one when they no longer may [AB 9.2.8].

use ether::{Instant, time::Duration};

/// The machine. `TX_INFO_FRAME` is passed through at once and is [`Action::SendInfo`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tx {
    /// The port is down or the agent may not transmit.
    #[default]
    Initialize,
    /// LLDPDUs may leave.
    Idle,
    /// The shutdown LLDPDU has left; nothing may follow for a while.
    ShutdownFrame {
        /// When `txShutdownWhile` ends.
        until: Instant,
    },
}

/// What moves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The port is down.
    PortDown,
    /// The port is up and the agent may transmit.
    Enabled,
    /// The port is up and the agent may not transmit.
    Disabled,
    /// An LLDPDU is due and there is credit for it.
    TxNow,
    /// Time has passed.
    Timeout,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send what we have to say.
    SendInfo,
    /// Withdraw it.
    SendShutdown,
}

impl Tx {
    pub(crate) fn handle(&mut self, now: Instant, reinit_delay: Duration, event: Event) -> Option<Action> {
        match (*self, event) {
            (_, Event::PortDown) => *self = Self::Initialize,
            (Self::Initialize, Event::Enabled) => *self = Self::Idle,
            (Self::Initialize, Event::Disabled | Event::TxNow | Event::Timeout) => {}
            (Self::Idle, Event::Disabled) => {
                *self = Self::ShutdownFrame { until: now + reinit_delay };
                return Some(Action::SendShutdown);
            }
            (Self::Idle, Event::TxNow) => return Some(Action::SendInfo),
            (Self::Idle, Event::Enabled | Event::Timeout) => {}
            (Self::ShutdownFrame { until }, Event::Timeout) => {
                if until <= now {
                    *self = Self::Initialize;
                }
            }
            (Self::ShutdownFrame { .. }, Event::Enabled | Event::Disabled | Event::TxNow) => {}
        }
        None
    }

    /// When the machine moves by itself.
    pub(crate) const fn next(self) -> Option<Instant> {
        match self {
            Self::Initialize | Self::Idle => None,
            Self::ShutdownFrame { until } => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state with every event, [AB 9.2.8].
    #[test]
    fn state_event_table() {
        use Event::*;
        use Tx::*;
        let now = Instant::from_secs(10);
        let held = ShutdownFrame { until: Instant::from_secs(11) };
        let over = ShutdownFrame { until: now };
        let entered = ShutdownFrame { until: Instant::from_secs(12) };
        let table = [
            (Initialize, PortDown, Initialize, None),
            (Initialize, Enabled, Idle, None),
            (Initialize, Disabled, Initialize, None),
            (Initialize, TxNow, Initialize, None),
            (Initialize, Timeout, Initialize, None),
            (Idle, PortDown, Initialize, None),
            (Idle, Enabled, Idle, None),
            (Idle, Disabled, entered, Some(Action::SendShutdown)),
            (Idle, TxNow, Idle, Some(Action::SendInfo)),
            (Idle, Timeout, Idle, None),
            (held, PortDown, Initialize, None),
            (held, Enabled, held, None),
            (held, Disabled, held, None),
            (held, TxNow, held, None),
            (held, Timeout, held, None),
            (over, PortDown, Initialize, None),
            (over, Enabled, over, None),
            (over, Disabled, over, None),
            (over, TxNow, over, None),
            (over, Timeout, Initialize, None),
        ];
        for (before, event, after, action) in table {
            let mut machine = before;
            let asked = machine.handle(now, Duration::from_secs(2), event);
            assert_eq!((machine, asked), (after, action), "{before:?} {event:?}");
        }
    }
}
