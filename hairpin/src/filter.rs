//! Step 2: what may enter [Q 8.6.2, 8.6.3].

use ether::{EtherType, MacAddr, mac};

use crate::{
    classify::Class,
    port::{PortId, Role},
    recent::MoveKind,
    row::Row,
    snapshot::{Snapshot, Static},
    switch::{Context, Frame},
    trace::{Step, Watch},
    verdict::{DropReason, Outcome, PuntReason},
};

/// The ingress port's row, if frames may come in there at all.
pub(crate) fn admit(snapshot: &Snapshot, ingress: PortId) -> Result<&Row, DropReason> {
    let row = snapshot.row(ingress).ok_or(DropReason::NoPort)?;
    match row {
        row if !snapshot.is_up(row) => Err(DropReason::PortDown),
        Row { open: false, .. } => Err(DropReason::GateShut),
        _ => Ok(row),
    }
}

/// A frame to a reserved address is the daemon's, if it listens to that one, or nobody's; a guest has no business there.
pub(crate) fn reserved(row: &Row, dst: MacAddr) -> Result<Outcome, DropReason> {
    match row.role {
        Role::Downlink => Err(DropReason::ReservedFromGuest),
        _ if HEARD.contains(&dst) => Ok(Outcome::Punt(PuntReason::Reserved)),
        _ => Err(DropReason::Reserved),
    }
}

/// The reserved addresses the daemon listens to; the others are of protocols that end at the interface, as pause
/// frames and link aggregation do.
const HEARD: [MacAddr; 3] = [mac::NEAREST_CUSTOMER_BRIDGE, mac::NEAREST_NON_TPMR_BRIDGE, mac::NEAREST_BRIDGE];

/// A probe of reflective relay is between a station and its bridge: no VM gets one, none may send one. Whether it came
/// back is seen by the control socket of the uplink. To a bridge it is a frame like any other.
pub(crate) fn probe(row: &Row, frame: &Frame<'_>) -> Result<(), DropReason> {
    if frame.ethertype != EtherType::PROBE || frame.dst != mac::PROBE_GROUP {
        return Ok(());
    }
    match row.role {
        Role::Uplink => Err(DropReason::Probe),
        Role::Downlink => Err(DropReason::ReservedFromGuest),
        _ => Ok(()),
    }
}

/// The source must be a station's, the port a member of the VLAN, and a VSI's address must come from its port. Where
/// sources are guarded, an address no VSI names passes only if a VSI of the port admits any in that VLAN.
///
/// On the uplink the source is not judged here: what is ours there came back, which is for a later step. On a port that
/// takes over, a VSI's address is one of a VM that has left: where it is now is noted.
pub(crate) fn filter(
    cx: &Context<'_>,
    row: &Row,
    src: MacAddr,
    class: &Class,
    watch: &mut impl Watch,
) -> Result<(), DropReason> {
    if !mac::is_station(src) {
        return Err(DropReason::BadSource);
    }
    if !row.members.contains(class.vid) {
        return Err(DropReason::NotMember);
    }
    match class.owner {
        _ if row.role == Role::Uplink => Ok(()),
        Some(owner) if owner.port == row.id => {
            reclaim(cx, row, owner, src, class, watch);
            Ok(())
        }
        Some(owner) if row.takes_over => {
            take_over(cx, row, owner, src, class, watch);
            Ok(())
        }
        Some(_) => Err(DropReason::StaticMoved),
        None if row.guard && row.vlan(class.vid).is_none_or(|vlan| vlan.wild.is_none()) => {
            Err(DropReason::SourceGuard)
        }
        None => Ok(()),
    }
}

/// The VM is behind `row` now: its frames follow it.
fn take_over(
    cx: &Context<'_>,
    row: &Row,
    owner: Static,
    src: MacAddr,
    class: &Class,
    watch: &mut impl Watch,
) {
    let Some(vsi) = cx.snapshot.vsi(owner.vsi) else { return };
    watch.note(|| Step::TakeOver { vsi: vsi.key });
    if cx.live {
        let from = vsi.state.taken_by().unwrap_or(owner.port);
        if vsi.state.take_over(row.id) {
            cx.forget(src);
            cx.moved(MoveKind::TakenOver, src, class.vid, from, row.id);
        }
    }
}

/// The VM speaks on its own port: what another had taken over comes back.
fn reclaim(cx: &Context<'_>, row: &Row, owner: Static, src: MacAddr, class: &Class, watch: &mut impl Watch) {
    let Some(vsi) = cx.snapshot.vsi(owner.vsi).filter(|vsi| vsi.state.taken_by().is_some()) else { return };
    watch.note(|| Step::Reclaim { vsi: vsi.key });
    if cx.live
        && let Some(from) = vsi.state.reclaim()
    {
        cx.forget(src);
        cx.moved(MoveKind::Reclaimed, src, class.vid, from, row.id);
    }
}
