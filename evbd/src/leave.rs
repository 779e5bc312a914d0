//! Taking leave for good: every VSI is de-associated, then every neighbour is told goodbye. A daemon that merely stops
//! does neither, so that it may come back unnoticed.

use ether::Instant;
use vdp::{Command, VsiId, bridge::Cause, station::VsiRequest};

use crate::{core::Core, port::Side, wiring};

/// De-associates all VSIs; none is taken any more.
pub(crate) fn deassociate(core: &mut Core, now: Instant) {
    for index in 0..core.ports.len() {
        let Some(edge) = core.ports.get_mut(index).and_then(|port| port.edge.as_mut()) else { continue };
        edge.leaving = true;
        match &mut edge.side {
            Side::Bridge { vdp, .. } => {
                vdp.release_all(now, Cause::Administrator);
                vdp.set_ready(false);
            }
            Side::Station { vdp, .. } => {
                let held: Vec<_> = vdp.held().collect();
                for request in held.into_iter().map(|held| held.request) {
                    // Only more VSIs than there may be are refused.
                    let _ = vdp.command(now, VsiRequest { command: Command::DeAssociate, ..request });
                }
            }
        }
        wiring::settle(core, now, index);
    }
}

/// Whether [`deassociate`] was called.
pub(crate) fn is_leaving(core: &Core) -> bool {
    core.ports.iter().filter_map(|port| port.edge.as_ref()).any(|edge| edge.leaving)
}

/// Sends a shutdown LLDPDU from every agent: the peers forget this end at once.
pub(crate) fn goodbye(core: &mut Core, now: Instant) {
    for index in 0..core.ports.len() {
        let Some(port) = core.ports.get_mut(index) else { continue };
        for agent in &mut port.agents {
            agent.set_admin_status(now, lldp::AdminStatus::Disabled);
        }
        wiring::settle(core, now, index);
    }
}

/// The VSIs there are, each with the interface of its port.
pub(crate) fn vsis(core: &Core) -> Vec<(String, VsiId)> {
    let edges = core.ports.iter().filter_map(|port| Some((port, port.edge.as_ref()?)));
    let ids = edges.flat_map(|(port, edge)| {
        let ids: Vec<VsiId> = match &edge.side {
            Side::Bridge { vdp, .. } => vdp.vsis().map(|vsi| vsi.id).collect(),
            Side::Station { vdp, .. } => vdp.vsis().map(|vsi| vsi.id).collect(),
        };
        ids.into_iter().map(|id| (port.interface.clone(), id))
    });
    ids.collect()
}

/// Whether nothing waits to be said or acknowledged.
pub(crate) fn is_quiet(core: &Core) -> bool {
    let edges = core.ports.iter().filter(|port| port.link.is_up()).filter_map(|port| port.edge.as_ref());
    edges.into_iter().all(|edge| edge.outbox.is_empty() && edge.ecp.is_idle())
}
