//! Step 2: what may enter [Q 8.6.2, 8.6.3].

use ether::{EtherType, MacAddr, mac};

use crate::{
    classify::Class,
    port::{PortId, Role},
    snapshot::{Row, Snapshot},
    switch::Frame,
    verdict::{DropReason, Outcome, PuntReason},
};

/// The ingress port's row, if frames may come in there at all.
pub(crate) fn admit(snapshot: &Snapshot, ingress: PortId) -> Result<&Row, DropReason> {
    let row = snapshot.row(ingress).ok_or(DropReason::NoPort)?;
    match row {
        Row { up: false, .. } => Err(DropReason::PortDown),
        Row { open: false, .. } => Err(DropReason::GateShut),
        _ => Ok(row),
    }
}

/// A frame to a reserved address is the daemon's and nobody else's; a guest has no business there.
pub(crate) fn reserved(row: &Row) -> Result<Outcome, DropReason> {
    match row.role {
        Role::Uplink | Role::Bridge => Ok(Outcome::Punt(PuntReason::Reserved)),
        Role::Downlink => Err(DropReason::ReservedFromGuest),
    }
}

/// A probe of reflective relay is between a station and its bridge: no VM gets one, none may send one. Whether it came
/// back is seen by the control socket of the uplink. To a bridge it is a frame like any other.
pub(crate) fn probe(row: &Row, frame: &Frame<'_>) -> Result<(), DropReason> {
    if frame.ethertype != EtherType::PROBE || frame.dst != mac::PROBE_GROUP {
        return Ok(());
    }
    match row.role {
        Role::Uplink => Err(DropReason::Probe),
        Role::Downlink => Err(DropReason::ReservedFromGuest),
        Role::Bridge => Ok(()),
    }
}

/// The source must be a station's, the port a member of the VLAN, and a VSI's address must come from its port. Where
/// sources are guarded, an address no VSI names passes only if a VSI of the port admits any in that VLAN.
///
/// On the uplink the source is not judged here: what is ours there came back, which is for the next step.
pub(crate) fn filter(row: &Row, src: MacAddr, class: &Class) -> Result<(), DropReason> {
    if !mac::is_station(src) {
        return Err(DropReason::BadSource);
    }
    if !row.members.contains(class.vid) {
        return Err(DropReason::NotMember);
    }
    match class.owner {
        _ if row.role == Role::Uplink => Ok(()),
        Some(owner) if owner == row.id => Ok(()),
        Some(_) => Err(DropReason::StaticMoved),
        None if row.guard && !row.anyone.contains(class.vid) => Err(DropReason::SourceGuard),
        None => Ok(()),
    }
}
