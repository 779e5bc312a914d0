//! Step 4: the ports a frame could go to, its own included [Q 8.6.3, 8.8].
//!
//! | from | known unicast | group | unknown unicast |
//! |---|---|---|---|
//! | bridge port | its port | members | members |
//! | downlink, VEB | its port | members | uplink, and downlinks that learn |
//! | downlink, any other mode | uplink | uplink | uplink |
//! | uplink | its port | downlinks | downlinks that learn |
//! | uplink, passthru | downlinks | downlinks | downlinks |
//!
//! A downlink that learns has a VSI that names no address: who is behind it is known only once he has spoken. Where
//! all addresses are known, an unknown one cannot be local.

use ether::{MacAddr, Vid, mac};

use crate::{
    port::{PortId, Role},
    snapshot::{EdgeMode, Member, RelayKind, Row},
    switch::Context,
    verdict::Copy,
};

/// What the destination turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// One port's.
    Known,
    /// A group.
    Group,
    /// A station's, who knows where.
    Unknown,
}

/// Fills `copies`, without tags.
pub(crate) fn spread(
    context: &Context<'_>,
    row: &Row,
    dst: MacAddr,
    vid: Vid,
    copies: &mut Vec<Copy>,
) -> Target {
    let kind = context.snapshot.kind();
    if row.role == Role::Downlink && kind != RelayKind::Edge(EdgeMode::Veb) {
        flood(context, vid, copies, |member| member.role == Role::Uplink);
        return if mac::is_group(dst) { Target::Group } else { Target::Unknown };
    }
    if row.role == Role::Uplink && kind == RelayKind::Edge(EdgeMode::Passthru) {
        flood(context, vid, copies, |member| member.role == Role::Downlink);
        return Target::Group;
    }
    if mac::is_group(dst) {
        flood(context, vid, copies, |_| true);
        return Target::Group;
    }
    if let Some(port) = context.locate(dst, vid) {
        if context.snapshot.reaches(port, vid) {
            copies.push(to(port));
        }
        return Target::Known;
    }
    flood(context, vid, copies, |member| member.learns || member.role != Role::Downlink);
    Target::Unknown
}

fn flood(context: &Context<'_>, vid: Vid, copies: &mut Vec<Copy>, takes: impl Fn(&Member) -> bool) {
    copies.extend(
        context.snapshot.members(vid).iter().filter(|member| takes(member)).map(|member| to(member.port)),
    );
}

fn to(port: PortId) -> Copy {
    Copy { port, tag: None, reflected: false }
}
