//! Step 5: who of the possible ports must not get the frame [Q 8.6.1], [Q 40].
//!
//! A port does not get back what came in on it, unless it is reflective: then the copy is marked. A downlink does not
//! get back by way of the bridge what it sent; nobody can know this but the relay that sent it.

use crate::{
    flood::Target,
    port::{PortId, Role},
    snapshot::Row,
    stats::Stats,
    verdict::{Copy, DropReason},
};

/// Takes copies away; fails if none is left. `sender` is the downlink whose frame came back.
pub(crate) fn reflect(
    stats: &Stats,
    row: &Row,
    sender: Option<PortId>,
    target: Target,
    copies: &mut Vec<Copy>,
) -> Result<(), DropReason> {
    let mut own = false;
    let mut echo = false;
    copies.retain_mut(|copy| {
        if copy.port == row.id {
            own = true;
            copy.reflected = row.reflective;
            return row.reflective;
        }
        let back = sender == Some(copy.port);
        echo |= back;
        !back
    });
    if let Some(port) = sender.filter(|_| echo) {
        stats.echo(port);
    }
    if own && row.reflective {
        stats.reflected(row.id);
    }
    match target {
        _ if !copies.is_empty() => Ok(()),
        _ if echo => Err(DropReason::Echo),
        Target::Known if own => Err(DropReason::SamePort),
        Target::Unknown if row.role == Role::Uplink => Err(DropReason::UnknownUnicast),
        Target::Known | Target::Group | Target::Unknown => Err(DropReason::NoEgress),
    }
}
