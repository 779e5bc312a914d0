//! Step 1: which VLAN and priority a frame has [Q 6.9.1], and whose source address it bears.

use ether::{Dei, EtherType, Pcp, Tag, UpTag, Vid};

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
/// both, and from a VSI its priority. `up` is the tag of the E-channel it came by, whose priority counts where nothing
/// else says one.
pub(crate) fn classify(
    snapshot: &Snapshot,
    row: &Row,
    frame: &Frame<'_>,
    up: Option<UpTag>,
) -> Result<Class, DropReason> {
    let (vid, priority) = match frame.tag {
        Some(Tag { tpid, .. }) if tpid != EtherType::C_VLAN => return Err(DropReason::ServiceTag),
        Some(Tag { vid, pcp, dei, .. }) => (vid.or(row.pvid), Some((pcp, dei))),
        None => (row.pvid, None),
    };
    let vid = vid.ok_or(DropReason::Untagged)?;
    let owner = snapshot.owner(frame.src, vid);
    let named = owner.filter(|owner| owner.port == row.id);
    let vlan = row.vlan(vid).filter(|_| row.role != Role::Uplink);
    let (pcp, dei) = priority.unwrap_or_else(|| match (named, vlan, up) {
        (Some(owner), _, _) => (owner.pcp, false),
        (None, Some(vlan), _) => (vlan.pcp, false),
        (None, None, Some(up)) => (up.pcp, up.dei),
        (None, None, None) => (Pcp::default(), false),
    });
    let vsi = match (named, owner) {
        (Some(named), _) => Some(named.vsi),
        (None, None) => vlan.and_then(|vlan| vlan.wild),
        (None, Some(_)) => None,
    };
    Ok(Class { vid, pcp, dei, owner, vsi: vsi.or_else(|| row.alone.filter(|_| !row.guard)) })
}
