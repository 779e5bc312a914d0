//! Every step of the decision on one frame, in words: what `evbd trace` shows.
//!
//! [`crate::Relay::trace`] takes the same way through the code as [`crate::Relay::process`]; the steps tell what they do
//! to whoever watches, and on the data path nobody does.

use std::fmt;

use ether::{Dei, ECid, Pcp, Vid};
use serde::Serialize;

use crate::{
    control::VsiKey,
    lasting::Passing,
    policy::Action,
    port::{PortId, Role},
    verdict::{Direction, MirrorTarget, Outcome, Verdict},
};

/// The fate of one frame and how it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// What was done, in order. A frame that is dropped has no step for what dropped it but an access list's or a
    /// rate's: the outcome names the reason.
    pub steps: Vec<Step>,
    /// What was decided.
    pub outcome: Outcome,
    /// Where copies go.
    pub copies: Vec<TracedCopy>,
    /// Why this holds for the frame alone; `None`: for all with its addresses and its tag.
    pub passing: Option<Passing>,
}

/// A copy that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TracedCopy {
    /// Where it goes.
    pub port: PortId,
    /// VLAN and priority of its tag; `None` sends it untagged.
    pub tag: Option<(Vid, Pcp)>,
    /// Whether it leaves by the port it came in on.
    pub reflected: bool,
    /// The E-channel it leaves by, and the port whose link that is.
    pub channel: Option<(ECid, PortId)>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The port lets frames in.
    Admit {
        /// The port.
        port: PortId,
        /// What it is.
        role: Role,
        /// Whether it reflects.
        reflective: bool,
        /// Whether sources are held to what VSIs name.
        guard: bool,
    },
    /// The frame has a VLAN and a priority.
    Classify {
        /// The VLAN.
        vid: Vid,
        /// The priority.
        pcp: Pcp,
        /// Drop eligible.
        dei: Dei,
        /// The VSI it came from.
        vsi: Option<VsiKey>,
    },
    /// A VSI's address speaks on a port that takes over.
    TakeOver {
        /// The VSI.
        vsi: VsiKey,
    },
    /// A VSI speaks again for an address another port had taken over.
    Reclaim {
        /// The VSI.
        vsi: VsiKey,
    },
    /// A copy for somebody who watches.
    Mirror {
        /// The VSI watched.
        vsi: VsiKey,
        /// Which way the frame goes.
        direction: Direction,
        /// Where the copy goes.
        to: MirrorTarget,
    },
    /// An access list has decided.
    Acl {
        /// The VSI whose list it is.
        vsi: VsiKey,
        /// Which list.
        direction: Direction,
        /// The rule, from 1; `None`: no rule matched.
        rule: Option<usize>,
        /// The rule's name.
        name: Option<String>,
        /// What it says.
        action: Action,
    },
    /// A rate has decided.
    Rate {
        /// The VSI whose rate it is.
        vsi: VsiKey,
        /// Which rate.
        direction: Direction,
        /// Whether there was a token.
        passes: bool,
        /// There was none, but frames of this priority are not to be lost.
        spared: bool,
    },
    /// The VSI's policy sets the priority.
    Priority {
        /// The VSI.
        vsi: VsiKey,
        /// The priority.
        pcp: Pcp,
    },
    /// What the source taught.
    Learn {
        /// What came of it.
        result: LearnResult,
    },
    /// The frame came back by the uplink.
    Echo {
        /// The port that sent it.
        sender: PortId,
    },
    /// The frame is a query or report of IGMP or MLD.
    Snoop,
    /// Where the frame could go.
    Lookup {
        /// What the destination is.
        target: TargetKind,
        /// Ports found.
        ports: usize,
    },
    /// A limit on flooding has decided.
    Storm {
        /// What is limited.
        target: TargetKind,
        /// Whether there was a token.
        passes: bool,
    },
    /// The frame came by an E-channel.
    Channel {
        /// The channel.
        ecid: ECid,
        /// The port whose link it is.
        port: PortId,
    },
    /// Copies that leave together by one E-channel.
    Together {
        /// The channel.
        ecid: ECid,
        /// How many.
        copies: usize,
    },
    /// A copy for a LAG leaves by one of its members.
    Lag {
        /// The port that stands for the LAG.
        lag: PortId,
        /// The member.
        member: PortId,
        /// Members that are up.
        of: usize,
    },
    /// Copies nobody behind their ports wants were taken away.
    Narrow {
        /// How many.
        withheld: usize,
    },
}

/// What a source taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LearnResult {
    /// A VSI names it, or nothing is learnt on this port.
    Nothing,
    /// It was known there.
    Known,
    /// It is new.
    New,
    /// It was on this other port.
    Moved(PortId),
    /// It stays on this other port: it has moved too often.
    Held(PortId),
    /// There was no room: the port holds more than its share.
    Crowded,
}

/// What a destination is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// On one port, which is known.
    Known,
    /// Broadcast.
    Broadcast,
    /// Another group.
    Multicast,
    /// A station's, who knows where.
    Unknown,
    /// Not looked up: the relay sends all that comes in here one way.
    OneWay,
}

/// Who is told of steps.
pub(crate) trait Watch {
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody is.
impl Watch for () {
    fn note(&mut self, _: impl FnOnce() -> Step) {}
}

impl Watch for Vec<Step> {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }
}

impl Trace {
    pub(crate) fn new(steps: Vec<Step>, verdict: &Verdict) -> Self {
        let copies = verdict.copies().iter().map(|copy| TracedCopy {
            port: copy.port,
            tag: copy.tag.and_then(|tag| Some((tag.vid?, tag.pcp))),
            reflected: copy.reflected,
            channel: copy.via.and_then(|via| Some((via.ecid()?, via.port))),
        });
        Self { steps, outcome: verdict.outcome(), copies: copies.collect(), passing: verdict.passing() }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admit { port, role, reflective, guard } => {
                let role = match role {
                    Role::Downlink => "downlink",
                    Role::Uplink => "uplink",
                    Role::Bridge => "bridge port",
                    Role::Cascade => "cascade port",
                    Role::Upstream => "upstream port",
                    Role::Extended => "extended port",
                };
                write!(f, "comes in on {role} {port}")?;
                if *reflective {
                    f.write_str(", which reflects")?;
                }
                if *guard { f.write_str(", sources are guarded") } else { Ok(()) }
            }
            Self::Classify { vid, pcp, vsi, .. } => {
                write!(f, "is in VLAN {vid} with priority {pcp}")?;
                match vsi {
                    Some(VsiKey(key)) => write!(f, ", from VSI {key}"),
                    None => f.write_str(", from no VSI"),
                }
            }
            Self::TakeOver { vsi } => write!(f, "the port takes over the addresses of VSI {}", vsi.0),
            Self::Reclaim { vsi } => write!(f, "VSI {} has its addresses back", vsi.0),
            Self::Mirror { vsi, direction, to } => {
                write!(f, "{direction} of VSI {} is mirrored to {to}", vsi.0)
            }
            Self::Acl { vsi, direction, rule: None, .. } => {
                write!(f, "{direction} rules of VSI {}: none matches, permit", vsi.0)
            }
            Self::Acl { vsi, direction, rule: Some(rule), name, action } => {
                let verb = match action {
                    Action::Permit => "permits",
                    Action::Deny => "denies",
                };
                write!(f, "{direction} rule {rule} of VSI {} {verb}", vsi.0)?;
                name.as_ref().map_or(Ok(()), |name| write!(f, " ({name})"))
            }
            Self::Rate { vsi, direction, passes, spared } => {
                let verb = match (passes, spared) {
                    (true, _) => "is not exceeded",
                    (false, true) => "is exceeded, by a priority that PFC keeps from loss",
                    (false, false) => "is exceeded",
                };
                write!(f, "{direction} rate of VSI {} {verb}", vsi.0)
            }
            Self::Priority { vsi, pcp } => write!(f, "VSI {} sets priority {pcp}", vsi.0),
            Self::Learn { result } => match result {
                LearnResult::Nothing => f.write_str("nothing to learn"),
                LearnResult::Known => f.write_str("source known here"),
                LearnResult::New => f.write_str("source learnt"),
                LearnResult::Moved(from) => write!(f, "source moved here from port {from}"),
                LearnResult::Held(at) => write!(f, "source has moved too often and is held on port {at}"),
                LearnResult::Crowded => f.write_str("source not learnt: the table is full of this port's"),
            },
            Self::Echo { sender } => write!(f, "sent by port {sender}, came back by the uplink"),
            Self::Snoop => f.write_str("is a query or report of IGMP or MLD"),
            Self::Lookup { target, ports } => {
                let target = target.words();
                write!(f, "destination {target}: {ports} port{}", if *ports == 1 { "" } else { "s" })
            }
            Self::Storm { target, passes } => {
                let verb = if *passes { "is not exceeded" } else { "is exceeded" };
                write!(f, "the port's limit for {} {verb}", target.words())
            }
            Self::Channel { ecid, port } => write!(f, "came by E-channel {ecid} of port {port}"),
            Self::Together { ecid, copies } => write!(f, "{copies} copies leave as one by E-channel {ecid}"),
            Self::Lag { lag, member, of } => {
                write!(f, "of the LAG of port {lag}, {of} up, by member {member}")
            }
            Self::Narrow { withheld } => write!(f, "withheld from {withheld} where nobody listens"),
        }
    }
}

impl TargetKind {
    const fn words(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::Unknown => "unknown",
            Self::OneWay => "not looked up",
        }
    }
}
