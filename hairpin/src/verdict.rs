//! What becomes of a frame: copies, or a named reason why there are none.

use std::fmt;

use ether::{ChannelTagError, Pcp, Tag};
use serde::Serialize;

use crate::{
    control::VsiKey,
    extend::Via,
    lasting::{Lasts, Passing},
    policy::CaptureId,
    port::PortId,
};

/// One outgoing copy of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it goes.
    pub port: PortId,
    /// The outermost tag to put on; `None` sends it untagged.
    pub tag: Option<Tag>,
    /// Whether it leaves by the port it came in on [Q 8.6.1].
    pub reflected: bool,
    /// The E-channel it leaves by, with the port whose link that is.
    pub via: Option<Via>,
}

/// A copy for somebody who watches a VSI. It is no frame of any VLAN and passes no further step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorCopy {
    /// Where it goes.
    pub to: MirrorTarget,
    /// The tag to put on: the frame's VLAN and priority.
    pub tag: Tag,
    /// The E-channel it leaves by.
    pub via: Option<Via>,
    /// The VSI watched.
    pub vsi: VsiKey,
    /// Which way the frame goes.
    pub direction: Direction,
}

/// Where a mirrored frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MirrorTarget {
    /// A port of the relay, which is up and is not the VSI's.
    Port(PortId),
    /// A capture of the carrier's.
    Capture(CaptureId),
}

impl fmt::Display for MirrorTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Capture(CaptureId(id)) => write!(f, "capture {id}"),
        }
    }
}

/// Which way a frame passes a VSI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From the VM.
    Ingress,
    /// To the VM.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// Why a frame goes to the daemon and not through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PuntReason {
    /// The destination is one of the reserved addresses the daemon listens to [Q 8.6.3].
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
    /// The destination is a reserved address nobody here listens to; no bridge forwards it [Q 8.6.3].
    Reserved = "reserved",
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
    /// A rule of the VSI it came from denies it.
    AclIngress = "acl_ingress",
    /// The VSI it came from sends more than it may.
    RateIngress = "rate_ingress",
    /// The port has learnt as many addresses as it may.
    LearnLimit = "learn_limit",
    /// The port sends more broadcasts than it may.
    BroadcastStorm = "broadcast_storm",
    /// The port sends more to other groups than it may.
    MulticastStorm = "multicast_storm",
    /// The port sends more to stations nobody knows than it may.
    UnknownStorm = "unknown_storm",
    /// Our own frame came back by the uplink and nobody but its sender would get it.
    Echo = "echo",
    /// The destination is on the port the frame came in on, and that port does not reflect.
    SamePort = "same_port",
    /// From the uplink, to an address that is nobody's here.
    UnknownUnicast = "unknown_unicast",
    /// No port that is up and a member of the VLAN is left to send to.
    NoEgress = "no_egress",
    /// Nobody listens to the group.
    NoListener = "no_listener",
    /// A rule of the VSI it goes to denies it.
    AclEgress = "acl_egress",
    /// The VSI it goes to gets more than it may.
    RateEgress = "rate_egress",
    /// The tag of an E-channel is cut short, of another kind, doubled, or goes the other way.
    ChannelTag = "channel_tag",
    /// The tag of an E-channel names none, or the reserved one.
    ChannelId = "channel_id",
    /// An E-TAG that goes up and has its port in place of the ingress identifier.
    ChannelIngressForm = "channel_ingress_form",
    /// Up by a channel that only leads down.
    ChannelGroupUp = "channel_group_up",
    /// No tag of an E-channel where every frame must have one.
    ChannelMissing = "channel_missing",
    /// The E-channel leads to no port, or not from this one.
    ChannelUnknown = "channel_unknown",
    /// A tag of an E-channel where no frame may have one.
    ChannelTagged = "channel_tagged",
    /// The port has no E-channel, or none its link has a tag for.
    NoChannel = "no_channel",
    /// The controlling bridge has blocked the port.
    Blocked = "blocked",
    /// No upstream port leads to a controlling bridge.
    NoUpstream = "no_upstream",
}

impl From<ChannelTagError> for DropReason {
    fn from(error: ChannelTagError) -> Self {
        match error {
            ChannelTagError::Short(_)
            | ChannelTagError::Kind(_)
            | ChannelTagError::Direction
            | ChannelTagError::Doubled
            | ChannelTagError::Version(_) => Self::ChannelTag,
            ChannelTagError::NoChannel | ChannelTagError::Reserved => Self::ChannelId,
            ChannelTagError::IngressForm(_) => Self::ChannelIngressForm,
            ChannelTagError::GroupUp(_) => Self::ChannelGroupUp,
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
    priority: Pcp,
    copies: Vec<Copy>,
    mirrors: Vec<MirrorCopy>,
    scratch: Vec<u32>,
    lasts: Lasts,
}

impl Verdict {
    /// A verdict with room for a copy to each of `ports` ports ([`crate::Limits::ports`]).
    #[must_use]
    pub fn new(ports: u16) -> Self {
        Self {
            outcome: Outcome::Drop(DropReason::NoPort),
            priority: Pcp::default(),
            copies: Vec::with_capacity(usize::from(ports)),
            // One of ingress, and one for each copy.
            mirrors: Vec::with_capacity(usize::from(ports) + 1),
            scratch: Vec::with_capacity(usize::from(ports)),
            lasts: Lasts::default(),
        }
    }

    /// What was decided on the frame last processed.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The copies to send; empty unless the outcome is [`Outcome::Forward`]. No port occurs twice. Of copies that leave
    /// together by one E-channel the first stands for all.
    #[must_use]
    pub fn copies(&self) -> &[Copy] {
        &self.copies
    }

    /// The priority the copies leave with, tagged or not.
    #[must_use]
    pub const fn priority(&self) -> Pcp {
        self.priority
    }

    /// The copies for those who watch a VSI, whatever the outcome: a frame that is dropped may have been mirrored before.
    #[must_use]
    pub fn mirrors(&self) -> &[MirrorCopy] {
        &self.mirrors
    }

    /// Why what was decided holds for the frame last processed alone; `None`: it holds for all of its flow.
    #[must_use]
    pub const fn passing(&self) -> Option<Passing> {
        self.lasts.passing()
    }

    pub(crate) const fn lasts(&self) -> &Lasts {
        &self.lasts
    }

    pub(crate) const fn lasts_mut(&mut self) -> &mut Lasts {
        &mut self.lasts
    }

    /// Starts the decision on another frame.
    pub(crate) fn begin(&mut self) {
        self.lasts = Lasts::default();
        self.copies.clear();
        self.mirrors.clear();
    }

    pub(crate) const fn set_priority(&mut self, priority: Pcp) {
        self.priority = priority;
    }

    /// The copies, to be filled in or thinned out.
    pub(crate) const fn copies_mut(&mut self) -> &mut Vec<Copy> {
        &mut self.copies
    }

    /// Room for a number for each of so many ports, all 0.
    pub(crate) fn scratch(&mut self, size: usize) -> (&mut Vec<Copy>, &mut [u32]) {
        self.scratch.clear();
        self.scratch.resize(size.min(self.scratch.capacity()), 0);
        (&mut self.copies, &mut self.scratch)
    }

    pub(crate) fn copy(&self, at: usize) -> Option<Copy> {
        self.copies.get(at).copied()
    }

    /// Takes a copy away; those after it move up.
    pub(crate) fn remove(&mut self, at: usize) {
        self.copies.remove(at);
    }

    /// Adds a mirror copy; not beyond the room there is.
    pub(crate) fn mirror(&mut self, copy: MirrorCopy) {
        if self.mirrors.len() < self.mirrors.capacity() {
            self.mirrors.push(copy);
        }
    }

    /// Closes the decision: copies stay only if the frame is forwarded.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        if outcome != Outcome::Forward {
            self.lasts.not(Passing::NotForwarded);
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
