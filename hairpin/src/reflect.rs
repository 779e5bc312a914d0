//! Step 6: who of the possible ports must not get the frame [Q 8.6.1], [Q 40].
//!
//! A port does not get back what came in on it, unless it is reflective: then the copy is marked. A downlink does not
//! get back by way of the bridge what it sent; nobody can know this but the relay that sent it.

use crate::{
    port::{PortId, Role},
    row::Row,
    switch::Context,
    trace::TargetKind,
    verdict::{Copy, DropReason},
};

/// Takes copies away; fails if none is left. `sender` is the downlink whose frame came back.
pub(crate) fn reflect(
    cx: &Context<'_>,
    row: &Row,
    sender: Option<PortId>,
    target: TargetKind,
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
        cx.count(|stats| stats.echo(port));
    }
    match target {
        _ if !copies.is_empty() => Ok(()),
        _ if echo => Err(DropReason::Echo),
        TargetKind::Known if own => Err(DropReason::SamePort),
        TargetKind::Unknown if row.role == Role::Uplink => Err(DropReason::UnknownUnicast),
        _ => Err(DropReason::NoEgress),
    }
}
