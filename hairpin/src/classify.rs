//! Step 1: which VLAN and priority a frame has [Q 6.9.1], and whose source address it bears.

use ether::{Dei, EtherType, Pcp, Tag, Vid};

use crate::{
    port::Role,
    row::Row,
    snapshot::{Snapshot, Static},
    switch::Frame,
    verdict::DropReason,
};

/// A frame's VLAN, priority and VSI.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) vid: Vid,
    pub(crate) pcp: Pcp,
    pub(crate) dei: Dei,
    /// The VSI that names the source in this VLAN, wherever it is.
    pub(crate) owner: Option<Static>,
    /// The VSI of this port whose frame it is.
    pub(crate) vsi: Option<u32>,
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
    let named = owner.filter(|owner| owner.port == row.id);
    let vlan = row.vlan(vid).filter(|_| row.role != Role::Uplink);
    let (pcp, dei) = priority.unwrap_or_else(|| {
        let wild = vlan.map_or_else(Pcp::default, |vlan| vlan.pcp);
        (named.map_or(wild, |owner| owner.pcp), false)
    });
    let vsi = match (named, owner) {
        (Some(named), _) => Some(named.vsi),
        (None, None) => vlan.and_then(|vlan| vlan.wild),
        (None, Some(_)) => None,
    };
    Ok(Class { vid, pcp, dei, owner, vsi: vsi.or_else(|| row.alone.filter(|_| !row.guard)) })
}
