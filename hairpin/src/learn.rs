//! Step 3: what a frame's source teaches [Q 8.7].
//!
//! Bridge ports learn. Downlinks learn only where a VSI names no address, and no more than they may. The uplink never
//! learns: a source seen there may be one of our own, reflected, and learning would move it away from its VM. Such a
//! source is an echo instead, which only a VEPA expects.

use ether::MacAddr;

use crate::{
    classify::Class,
    fdb::{Key, Learnt},
    port::{PortId, Role},
    snapshot::{EdgeMode, RelayKind, Row},
    switch::Context,
    verdict::DropReason,
};

/// The downlink that sent the frame in the first place, if it came back by the uplink and may go on to others.
pub(crate) fn learn(
    context: &Context<'_>,
    row: &Row,
    src: MacAddr,
    class: &Class,
) -> Result<Option<PortId>, DropReason> {
    let bound = match row.role {
        Role::Uplink => return echo(context, src, class),
        // Where sources are not judged they teach nothing: the only such downlink gets everything anyway.
        Role::Downlink if !row.guard => return Ok(None),
        Role::Downlink => context.limits.downlink_addresses,
        Role::Bridge => u32::MAX,
    };
    if class.owner.is_none() {
        match context.fdb.learn(Key::new(src, class.vid), row.id, context.secs, bound) {
            Learnt::Full => return Err(DropReason::LearnLimit),
            Learnt::Moved => context.stats.moved(row.id),
            Learnt::Known | Learnt::New => {}
        }
    }
    Ok(None)
}

fn echo(context: &Context<'_>, src: MacAddr, class: &Class) -> Result<Option<PortId>, DropReason> {
    let sender = class.owner.or_else(|| context.learnt(src, class.vid));
    match (sender, context.snapshot.kind()) {
        (Some(port), RelayKind::Edge(mode)) if mode != EdgeMode::Vepa => {
            context.stats.echo(port);
            Err(DropReason::Echo)
        }
        (sender, _) => Ok(sender),
    }
}
