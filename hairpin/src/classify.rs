//! Step 1: which VLAN and priority a frame has [Q 6.9.1], and whose source address it bears.

use ether::{Dei, EtherType, Pcp, Tag, Vid};

use crate::{
    port::PortId,
    snapshot::{Row, Snapshot},
    switch::Frame,
    verdict::DropReason,
};

/// A frame's VLAN, priority and VSI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) vid: Vid,
    pub(crate) pcp: Pcp,
    pub(crate) dei: Dei,
    /// The port of the VSI that names the source in this VLAN.
    pub(crate) owner: Option<PortId>,
}

/// A tag with a VLAN says it all; a priority tag keeps its priority and takes the port's VLAN; an untagged frame takes
/// both, and from a VSI its priority.
pub(crate) fn classify(snapshot: &Snapshot, row: &Row, frame: &Frame<'_>) -> Result<Class, DropReason> {
    let (vid, priority) = match frame.tag {
        Some(Tag { tpid, .. }) if tpid != EtherType::C_VLAN => return Err(DropReason::ServiceTag),
        Some(Tag { vid, pcp, dei, .. }) => (vid.or(row.pvid), Some((pcp, dei))),
        None => (row.pvid, None),
    };
    let vid = vid.ok_or(DropReason::Untagged)?;
    let owner = snapshot.owner(frame.src, vid);
    let (pcp, dei) = priority.unwrap_or_else(|| {
        let named = owner.filter(|owner| owner.port == row.id);
        (named.map_or(row.pcp, |owner| owner.pcp), false)
    });
    Ok(Class { vid, pcp, dei, owner: owner.map(|owner| owner.port) })
}
