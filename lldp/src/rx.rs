//! The receive machine: when LLDPDUs count, and what one of them does [AB 9.2.7, 9.2.9].

use ether::{Instant, MacAddr};

use crate::{
    mib::{GoneCause, NeighborEvent, Remote, Stored},
    pdu::{Lldpdu, Msap},
    stats::Counters,
};

/// The machine. `DELETE_AGED_INFO`, `RX_FRAME`, `DELETE_INFO` and `UPDATE_INFO` are passed through at once: they are
/// [`Action`]s and [`process`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rx {
    /// The port is down; what was learnt before ages.
    #[default]
    WaitPortOperational,
    /// The port is up and the agent may not receive; nothing is known.
    Initialize,
    /// LLDPDUs are welcome.
    WaitForFrame,
}

/// What moves the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The port is down.
    PortDown,
    /// The port is up and the agent may receive.
    Enabled,
    /// The port is up and the agent may not receive.
    Disabled,
    /// The TTL of a neighbour has ended, or the time of ignoring some.
    #[doc(alias = "rxInfoAge")]
    InfoAge,
    /// An LLDPDU has come.
    #[doc(alias = "rcvFrame")]
    Frame,
}

/// What the machine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Forget all neighbours.
    DeleteAll(GoneCause),
    /// Forget those whose TTL has ended.
    DeleteAged,
    /// Process the LLDPDU.
    Process,
    /// Count the LLDPDU and drop it.
    Refuse,
}

impl Rx {
    pub(crate) fn handle(&mut self, event: Event) -> Option<Action> {
        match (*self, event) {
            (Self::WaitPortOperational, Event::PortDown) => None,
            (Self::WaitPortOperational, Event::Enabled) => {
                *self = Self::WaitForFrame;
                Some(Action::DeleteAll(GoneCause::PortUp))
            }
            (Self::WaitPortOperational | Self::WaitForFrame, Event::Disabled) => {
                *self = Self::Initialize;
                Some(Action::DeleteAll(GoneCause::AdminDisabled))
            }
            (Self::WaitPortOperational | Self::WaitForFrame, Event::InfoAge) => Some(Action::DeleteAged),
            (Self::WaitPortOperational | Self::Initialize, Event::Frame) => Some(Action::Refuse),
            (Self::Initialize | Self::WaitForFrame, Event::PortDown) => {
                *self = Self::WaitPortOperational;
                None
            }
            (Self::Initialize, Event::Enabled) => {
                *self = Self::WaitForFrame;
                None
            }
            (Self::Initialize, Event::Disabled | Event::InfoAge) => None,
            (Self::WaitForFrame, Event::Enabled) => None,
            (Self::WaitForFrame, Event::Frame) => Some(Action::Process),
        }
    }
}

/// Takes in the LLDPDU `payload` from `src`; `own` is who we are.
pub(crate) fn process(
    remote: &mut Remote,
    counters: &mut Counters,
    own: &Msap,
    now: Instant,
    src: MacAddr,
    payload: &[u8],
) -> Option<NeighborEvent> {
    counters.frames_in_total += 1;
    if let Some(neighbor) = remote.identical(src, payload) {
        counters.tlvs(&neighbor.faults, neighbor.info.unknown.len());
        counters.contents(&neighbor.info.org);
        neighbor.refresh(now);
        return None;
    }
    let received = match Lldpdu::parse(payload) {
        Ok(received) => received,
        Err(error) => {
            counters.pdu_error(error);
            return None;
        }
    };
    counters.tlvs(&received.faults, received.pdu.unknown.len());
    counters.contents(&received.pdu.org);
    let msap = received.pdu.msap.clone();
    if msap == *own {
        // DEVIATES [AB 9.2.7.7]: the standard would learn us as our own neighbour. A bridge that relays the group
        // address back, as reflective relay on a port without spanning tree does, would then end a point-to-point link.
        counters.frames_own_total += 1;
        counters.frames_discarded_total += 1;
        return None;
    }
    if received.pdu.is_shutdown() {
        return remote.remove(&msap).then_some(NeighborEvent::Gone { msap, cause: GoneCause::Shutdown });
    }
    match remote.store(now, src, payload, received) {
        Stored::Appeared => Some(NeighborEvent::Appeared { msap }),
        Stored::Changed => Some(NeighborEvent::Changed { msap }),
        Stored::Same => None,
        Stored::NoRoom { first } => {
            counters.too_many_neighbors_total += 1;
            counters.frames_discarded_total += 1;
            first.then_some(NeighborEvent::TooMany { msap })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state with every event, [AB 9.2.9].
    #[test]
    fn state_event_table() {
        use Event::*;
        use Rx::*;
        let by_admin = Some(Action::DeleteAll(GoneCause::AdminDisabled));
        let table = [
            (WaitPortOperational, PortDown, WaitPortOperational, None),
            (WaitPortOperational, Enabled, WaitForFrame, Some(Action::DeleteAll(GoneCause::PortUp))),
            (WaitPortOperational, Disabled, Initialize, by_admin),
            (WaitPortOperational, InfoAge, WaitPortOperational, Some(Action::DeleteAged)),
            (WaitPortOperational, Frame, WaitPortOperational, Some(Action::Refuse)),
            (Initialize, PortDown, WaitPortOperational, None),
            (Initialize, Enabled, WaitForFrame, None),
            (Initialize, Disabled, Initialize, None),
            (Initialize, InfoAge, Initialize, None),
            (Initialize, Frame, Initialize, Some(Action::Refuse)),
            (WaitForFrame, PortDown, WaitPortOperational, None),
            (WaitForFrame, Enabled, WaitForFrame, None),
            (WaitForFrame, Disabled, Initialize, by_admin),
            (WaitForFrame, InfoAge, WaitForFrame, Some(Action::DeleteAged)),
            (WaitForFrame, Frame, WaitForFrame, Some(Action::Process)),
        ];
        for (before, event, after, action) in table {
            let mut machine = before;
            let asked = machine.handle(event);
            assert_eq!((machine, asked), (after, action), "{before:?} {event:?}");
        }
    }
}
