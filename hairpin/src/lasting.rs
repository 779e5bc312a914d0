//! Decisions that hold for more than the frame they were made on.
//!
//! Most do: where a known station's frame goes depends on nothing but its addresses and its tag, until an address moves or
//! the snapshot changes. Who moves frames may keep such a decision and go by it without asking again, if he
//! * counts what went by it with [`Relay::passed`], which also keeps the source from ageing,
//! * lets go of it when told to as [`Keeper`],
//! * asks every second or so whether it [holds](Relay::holds): addresses age, and tables overflow.

use std::{fmt, sync::Arc};

use ether::{EtherType, Instant, MacAddr, Tag, Vid};
use serde::Serialize;

use crate::{
    control::VsiKey,
    fdb::{self, Key},
    port::PortId,
    snapshot::{Snapshot, VsiRow},
    switch::{Frame, Relay},
    verdict::{Direction, Outcome, Verdict},
    vsi::VsiState,
};

/// Who keeps decisions. Told by whoever makes them doubtful, at once and before that is over, so it must be quick.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Any decision may be another from here on.
    fn forget_all(&self);
    /// Decisions on frames from or to this address may be.
    fn forget(&self, mac: MacAddr);
}

/// Why a decision holds for its frame alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Passing {
    /// The frame goes nowhere, or to the daemon.
    NotForwarded,
    /// It is to a group.
    Group,
    /// It is to a station nobody knows the port of.
    Unknown,
    /// More than one copy leaves.
    Copies,
    /// Its source is new, or on the way from port to port, or there is no room for it.
    Learning,
    /// An access list is to see each frame.
    AccessList,
    /// A rate is to measure each frame.
    Rate,
    /// Somebody watches each frame.
    Mirror,
    /// It comes or leaves by an E-channel, or through a port extender.
    Extension,
}

impl fmt::Display for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotForwarded => "it is not forwarded",
            Self::Group => "it is to a group",
            Self::Unknown => "its destination is not known",
            Self::Copies => "several copies leave",
            Self::Learning => "its source is not settled",
            Self::AccessList => "an access list sees each frame",
            Self::Rate => "a rate measures each frame",
            Self::Mirror => "each frame is mirrored",
            Self::Extension => "port extension has to do with it",
        })
    }
}

/// What of a decision outlives its frame; part of the [`Verdict`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lasts {
    /// The first reason why it does not.
    passing: Option<Passing>,
    vid: Option<Vid>,
    from: Option<VsiKey>,
    to: Option<VsiKey>,
}

impl Lasts {
    /// It does not, for this reason or one before.
    pub(crate) fn not(&mut self, passing: Passing) {
        self.passing.get_or_insert(passing);
    }

    pub(crate) const fn passing(&self) -> Option<Passing> {
        self.passing
    }

    pub(crate) const fn set_from(&mut self, vid: Vid, vsi: Option<VsiKey>) {
        (self.vid, self.from) = (Some(vid), vsi);
    }

    /// The frame passes the policy of `vsi`.
    pub(crate) fn passes(&mut self, vsi: &VsiRow, direction: Direction) {
        let (rules, rate) = match direction {
            Direction::Ingress => (&vsi.policy.ingress, vsi.ingress),
            Direction::Egress => (&vsi.policy.egress, vsi.egress),
        };
        if direction == Direction::Egress {
            self.to = Some(vsi.key);
        }
        if !rules.is_empty() {
            self.not(Passing::AccessList);
        } else if rate.is_some() {
            self.not(Passing::Rate);
        } else if vsi.mirror_of(direction).is_some() {
            self.not(Passing::Mirror);
        }
    }
}

/// A decision that holds for every frame that comes in by the same port with the same addresses and the same tag.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Where its frames come in.
    pub ingress: PortId,
    /// Their destination.
    pub dst: MacAddr,
    /// Their source.
    pub src: MacAddr,
    /// The tag they come with.
    pub tag: Option<Tag>,
    /// Where they go.
    pub egress: PortId,
    /// The tag they leave with.
    pub new_tag: Option<Tag>,
    /// Whether they leave by the port they came in on.
    pub reflected: bool,
    /// Their VLAN.
    pub vid: Vid,
    from: Option<Arc<VsiState>>,
    to: Option<Arc<VsiState>>,
}

impl Relay {
    /// Tells `keeper` from now on when kept decisions are doubtful. False if another one is told already.
    pub fn tell(&self, keeper: Arc<dyn Keeper>) -> bool {
        self.keeper.set(keeper).is_ok()
    }

    /// The decision in `verdict` on `frame`, if it outlives it; slow. `snapshot` is the one it was made by.
    #[must_use]
    pub fn flow(
        &self,
        snapshot: &Snapshot,
        ingress: PortId,
        frame: &Frame<'_>,
        verdict: &Verdict,
    ) -> Option<Flow> {
        let ([copy], None) = (verdict.copies(), verdict.passing()) else { return None };
        let Lasts { vid, from, to, .. } = *verdict.lasts();
        let state = |key: Option<VsiKey>| Some(Arc::clone(&snapshot.by_key(key?)?.state));
        Some(Flow {
            ingress,
            dst: frame.dst,
            src: frame.src,
            tag: frame.tag,
            egress: copy.port,
            new_tag: copy.tag,
            reflected: copy.reflected,
            vid: vid?,
            from: state(from),
            to: state(to),
        })
    }

    /// Counts `frames` frames of together `octets` octets, outermost tag not included, that went by `flow` up to `now`.
    pub fn passed(&self, now: Instant, flow: &Flow, frames: u64, octets: u64) {
        if frames == 0 {
            return;
        }
        self.fdb().seen(Key::new(flow.src, flow.vid), flow.ingress, fdb::secs(now));
        self.stats().passed(flow.ingress, frames, octets, flow.reflected);
        self.stats().tx(flow.egress, frames, octets);
        if let Some(vsi) = &flow.from {
            vsi.rx(frames, octets);
        }
        if let Some(vsi) = &flow.to {
            vsi.tx(frames, octets);
        }
    }

    /// Whether a frame of `flow` would be decided on at `now` as it says. `verdict` is used for that.
    #[must_use]
    pub fn holds(&self, now: Instant, flow: &Flow, verdict: &mut Verdict) -> bool {
        let Flow { dst, src, tag, .. } = *flow;
        let frame = Frame { dst, src, tag, ethertype: EtherType::IPV4, len: 0, payload: &[] };
        self.preview(now, flow.ingress, &frame, verdict);
        verdict.outcome() == Outcome::Forward
            && verdict.passing().is_none()
            && verdict.copies().iter().all(|copy| {
                (copy.port, copy.tag, copy.reflected) == (flow.egress, flow.new_tag, flow.reflected)
            })
    }
}
