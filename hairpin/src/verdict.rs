//! What becomes of a frame: copies, or a named reason why there are none.

use ether::Tag;
use serde::Serialize;

use crate::port::PortId;

/// One outgoing copy of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it goes.
    pub port: PortId,
    /// The outermost tag to put on; `None` sends it untagged.
    pub tag: Option<Tag>,
    /// Whether it leaves by the port it came in on [Q 8.6.1].
    pub reflected: bool,
}

/// Why a frame goes to the daemon and not through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PuntReason {
    /// The destination is one of `01-80-C2-00-00-00..0F` [Q 8.6.3].
    Reserved,
}

/// Declares [`DropReason`] with its table of names.
macro_rules! drop_reasons {
    ($($(#[$meta:meta])* $variant:ident = $name:literal,)+) => {
        /// Why a frame was dropped. Each reason is one counter of the port the frame came in on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum DropReason {
            $($(#[$meta])* $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];
            /// The names of the reasons, in the order of [`DropReason::ALL`].
            pub const NAMES: [&'static str; Self::COUNT] = [$($name),+];
            /// How many reasons there are.
            pub const COUNT: usize = [$($name),+].len();

            /// The name shown to people and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// The ingress port is not in the snapshot.
    NoPort = "no_port",
    /// The ingress port is down.
    PortDown = "port_down",
    /// The carrier could not read the frame: cut short, or tagged with VID 4095.
    Malformed = "malformed",
    /// A downlink no VSI is open on.
    GateShut = "gate_shut",
    /// A guest spoke to a reserved address, which is for the station and its bridge only.
    ReservedFromGuest = "reserved_from_guest",
    /// A probe of reflective relay, ours come back or another station's: for no VM.
    Probe = "probe",
    /// The source is a group or all zero.
    BadSource = "bad_source",
    /// An S-tag at a C-VLAN component.
    ServiceTag = "service_tag",
    /// Untagged or priority-tagged where the port has no VLAN for such frames.
    Untagged = "untagged",
    /// The port is no member of the frame's VLAN.
    NotMember = "not_member",
    /// The source is not one this port's VSIs may use.
    SourceGuard = "source_guard",
    /// The source belongs to a VSI on another port.
    StaticMoved = "static_moved",
    /// The downlink has learnt as many addresses as it may.
    LearnLimit = "learn_limit",
    /// Our own frame came back by the uplink and nobody but its sender would get it.
    Echo = "echo",
    /// The destination is on the port the frame came in on, and that port does not reflect.
    SamePort = "same_port",
    /// From the uplink, to an address that is nobody's here.
    UnknownUnicast = "unknown_unicast",
    /// No port that is up and a member of the VLAN is left to send to.
    NoEgress = "no_egress",
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send [`Verdict::copies`], at least one.
    Forward,
    /// Drop the frame.
    Drop(DropReason),
    /// Hand the frame to the daemon.
    Punt(PuntReason),
}

/// The decision on one frame. Made once per worker and reused: it never allocates after [`Verdict::new`].
#[derive(Clone, Debug)]
pub struct Verdict {
    outcome: Outcome,
    copies: Vec<Copy>,
}

impl Verdict {
    /// A verdict with room for a copy to each of `ports` ports ([`crate::Limits::ports`]).
    #[must_use]
    pub fn new(ports: u16) -> Self {
        Self { outcome: Outcome::Drop(DropReason::NoPort), copies: Vec::with_capacity(usize::from(ports)) }
    }

    /// What was decided on the frame last processed.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The copies to send; empty unless the outcome is [`Outcome::Forward`]. No port occurs twice.
    #[must_use]
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// Starts the decision on another frame; the copies are to be filled in.
    pub(crate) fn begin(&mut self) -> &mut Vec<Copy> {
        self.copies.clear();
        &mut self.copies
    }

    /// Closes the decision: copies stay only if the frame is forwarded.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        if outcome != Outcome::Forward {
            self.copies.clear();
        }
        self.outcome = outcome;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order_agree() {
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
            assert_eq!(reason.name(), DropReason::NAMES[i]);
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
        }
    }
}
