//! Step 5: the ports a frame could go to, its own included [Q 8.6.3, 8.8].
//!
//! | from | known unicast | group | unknown unicast |
//! |---|---|---|---|
//! | bridge port | its port | members | members |
//! | downlink, VEB | its port | members | uplink, and downlinks that learn |
//! | downlink, any other mode | uplink | uplink | uplink |
//! | uplink | its port | downlinks | downlinks that learn |
//! | uplink, passthru or direct | downlinks | downlinks | downlinks |
//!
//! A downlink that learns has a VSI that names no address: who is behind it is known only once he has spoken. Where
//! all addresses are known, an unknown one cannot be local. What is flooded counts for the limits of the port it came
//! in on.

use ether::{MacAddr, Vid, mac};

use crate::{
    port::{PortId, Role},
    row::Row,
    snapshot::{EdgeMode, RelayKind},
    switch::Context,
    trace::{Step, TargetKind, Watch},
    verdict::{Copy, DropReason},
};

/// Where a frame could go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    /// The VSI that names the destination, if it is where it should be.
    pub(crate) vsi: Option<u32>,
}

/// Fills `copies`, without tags.
pub(crate) fn spread(cx: &Context<'_>, row: &Row, dst: MacAddr, vid: Vid, copies: &mut Vec<Copy>) -> Target {
    let group = match dst {
        _ if dst.is_broadcast() => Some(TargetKind::Broadcast),
        _ if mac::is_group(dst) => Some(TargetKind::Multicast),
        _ => None,
    };
    let target = |kind| Target { kind, vsi: None };
    if row.role == Role::Downlink && cx.snapshot.kind() != RelayKind::Edge(EdgeMode::Veb) {
        copies.extend(cx.snapshot.uplink().filter(|uplink| cx.snapshot.reaches(*uplink, vid)).map(to));
        return target(group.unwrap_or(TargetKind::OneWay));
    }
    if row.role == Role::Uplink && cx.snapshot.one_way() {
        let members = cx.snapshot.members(vid).iter();
        copies.extend(members.filter(|(_, role)| *role == Role::Downlink).map(|(port, _)| to(*port)));
        return target(group.unwrap_or(TargetKind::OneWay));
    }
    if let Some(kind) = group {
        copies.extend(cx.snapshot.members(vid).iter().map(|(port, _)| to(*port)));
        return target(kind);
    }
    if let Some((port, vsi)) = cx.locate(dst, vid) {
        if cx.snapshot.reaches(port, vid) {
            copies.push(to(port));
        }
        return Target { kind: TargetKind::Known, vsi };
    }
    copies.extend(cx.snapshot.members_for_unknown(vid).iter().map(|(port, _)| to(*port)));
    target(TargetKind::Unknown)
}

/// Whether the port may flood one more frame of this kind now.
pub(crate) fn limit(
    cx: &Context<'_>,
    row: &Row,
    target: TargetKind,
    watch: &mut impl Watch,
) -> Result<(), DropReason> {
    let Some(storm) = &row.storm else { return Ok(()) };
    let (fill, at, reason) = match target {
        TargetKind::Broadcast => (storm.broadcast, 0, DropReason::BroadcastStorm),
        TargetKind::Multicast => (storm.multicast, 1, DropReason::MulticastStorm),
        TargetKind::Unknown => (storm.unknown, 2, DropReason::UnknownStorm),
        TargetKind::Known | TargetKind::OneWay => return Ok(()),
    };
    let bucket = cx.storms.get(row.id.index()).and_then(|buckets| buckets.get(at));
    let (Some(fill), Some(bucket)) = (fill, bucket) else { return Ok(()) };
    let passes = if cx.live { bucket.take(fill, cx.now, 1) } else { bucket.has(fill, cx.now) };
    watch.note(|| Step::Storm { target, passes });
    if passes { Ok(()) } else { Err(reason) }
}

fn to(port: PortId) -> Copy {
    Copy { port, tag: None, reflected: false, via: None }
}
