//! Rows as the objects of the D-Bus interface.

use ether::Instant;
use serde_json::Value;

use super::{evb, neighbors, port_row, row, vsis as vsis_of};
use crate::{
    api::{Object, Place, Which, schema},
    channels,
    core::Core,
    port::Port,
    run::{ControlSockets, Planes},
};

/// The objects that are asked for, as they are at `now`.
pub(crate) fn objects(
    core: &Core,
    planes: &Planes,
    sockets: &ControlSockets,
    which: &[Which],
    now: Instant,
) -> Vec<Object> {
    let all = which.contains(&Which::All);
    let mut found = Vec::new();
    let mut stats = None;
    for port in core.ports.iter().filter(|port| !port.is_free()) {
        let name = &port.interface;
        let wanted = |place: &Place| which.iter().any(|which| which.has(place));
        if wanted(&Place::Port(name.clone())) {
            let stats = stats.get_or_insert_with(|| planes.carrier_stats()).remove(&port.id);
            let the_port = row(port_row(core, port, planes, sockets.hearing(port.id), stats, now));
            let extended = the_port.get("extended").cloned();
            let mut interfaces = vec![(&schema::PORT, the_port)];
            interfaces.extend(extended.map(|extended| (&schema::EXTENDED, extended)));
            interfaces.extend(evb(core, port).map(|edge| (&schema::EVB, row(edge))));
            found.push(Object { place: Place::Port(name.clone()), interfaces });
        }
        let neighbors_here = |which: &Which| match which {
            Which::All => true,
            Which::Neighbors(on) | Which::One(Place::Neighbor(on, _)) => on == name,
            _ => false,
        };
        if which.iter().any(neighbors_here) {
            let each = neighbors(port, now).into_iter().map(row).filter_map(|row| {
                let place = Place::Neighbor(
                    name.clone(),
                    ["scope", "chassis", "port_id"].map(|field| said(&row, field)),
                );
                wanted(&place).then(|| Object { place, interfaces: vec![(&schema::NEIGHBOR, row)] })
            });
            found.extend(each);
        }
        if all || which.iter().any(|which| matches!(which, Which::One(Place::Channel(on, _)) if on == name)) {
            let each = channels::rows(core, port).into_iter().filter_map(|row| {
                let place = Place::Channel(name.clone(), said(&row, "scid"));
                wanted(&place).then(|| Object { place, interfaces: vec![(&schema::CHANNEL, row)] })
            });
            found.extend(each);
        }
        vsis(&mut found, core, port, which, now);
    }
    found
}

fn vsis(found: &mut Vec<Object>, core: &Core, port: &Port, which: &[Which], now: Instant) {
    let mut add = |row: Value| {
        let place = Place::Vsi(port.interface.clone(), said(&row, "id"));
        found.push(Object { place, interfaces: vec![(&schema::VSI, row)] });
    };
    if which.contains(&Which::All) {
        vsis_of(core, port, None, now).into_iter().for_each(add);
        return;
    }
    let mut ids: Vec<vdp::VsiId> = which
        .iter()
        .filter_map(|which| match which {
            Which::Vsi(id) => id.parse().ok(),
            Which::One(Place::Vsi(on, id)) if *on == port.interface => id.parse().ok(),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        vsis_of(core, port, Some(&id), now).into_iter().for_each(&mut add);
    }
}

fn said(row: &Value, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
