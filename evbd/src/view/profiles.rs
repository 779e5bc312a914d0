//! Rows of the VSI type database.

use serde::Serialize;
use serde_json::Value;
use vdp::VsiId;

use super::row;
use crate::{
    core::Core,
    port::Side,
    vsidb::{Key, ManagerState, Profile, Source},
};

/// One profile in force.
#[derive(Serialize)]
struct ProfileRow<'a> {
    #[serde(flatten)]
    profile: &'a Profile,
    #[serde(flatten)]
    origin: Origin,
    /// VSIs that live by it.
    users: Vec<VsiId>,
}

/// Where a profile comes from.
#[derive(Serialize)]
struct Origin {
    source: &'static str,
    from: Option<String>,
}

/// One VSI manager.
#[derive(Serialize)]
struct ManagerRow<'a> {
    manager: vdp::ManagerId,
    url: &'a str,
    #[serde(flatten)]
    state: &'a ManagerState,
    profiles: usize,
    poll_s: u64,
}

/// The profiles in force, by manager, type and version.
pub(super) fn profiles(core: &Core) -> Vec<Value> {
    let users = users(core);
    let of = |source: &Source| {
        let (source, from) = match source {
            Source::Config => ("config", None),
            Source::File(path) => ("file", Some(path.clone())),
            Source::Manager(id) => ("manager", Some(id.to_string())),
        };
        Origin { source, from }
    };
    let one = |found: &crate::vsidb::Row| {
        let key = found.profile.key();
        let users = users.iter().filter(|(of, _)| *of == key).map(|(_, id)| *id).collect();
        row(ProfileRow { profile: &found.profile, origin: of(&found.source), users })
    };
    core.vsidb.rows().map(one).collect()
}

/// The VSI managers, and what is known of them.
pub(super) fn managers(core: &Core) -> Vec<Value> {
    let known = |id| core.vsidb.managers().find(|(of, _)| **of == id).map(|(_, state)| state);
    let count = |id| core.vsidb.rows().filter(|row| row.source == Source::Manager(id)).count();
    let configured = core.config.vsidb.managers.iter();
    let rows = configured.filter_map(|manager| {
        Some(row(ManagerRow {
            manager: manager.id,
            url: &manager.url,
            state: known(manager.id)?,
            profiles: count(manager.id),
            poll_s: manager.poll.as_secs(),
        }))
    });
    rows.collect()
}

/// Every VSI that has a profile, by the key of the profile it has: that for unknown types may not be its own.
fn users(core: &Core) -> Vec<(Key, VsiId)> {
    let sides = core.ports.iter().filter_map(|port| Some(&port.edge.as_ref()?.side));
    let named = sides.flat_map(|side| match side {
        Side::Station { vdp, .. } => {
            vdp.vsis().map(|vsi| ((vsi.manager, vsi.type_id, vsi.version), vsi.id)).collect::<Vec<_>>()
        }
        Side::Bridge { vdp, .. } => {
            vdp.vsis().map(|vsi| ((vsi.manager, vsi.type_id, vsi.version), vsi.id)).collect()
        }
    });
    named.filter_map(|(key, id)| Some((core.vsidb.row(key)?.profile.key(), id))).collect()
}
