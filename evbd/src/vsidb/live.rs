//! What another profile does to VSIs that live by the old one.

use std::sync::Arc;

use ether::Instant;
use vdp::{Command, VsiId, bridge::Query};

use super::{Key, ManagerState, Source, VsiDb};
use crate::{core::Core, effect::Effect, event::Event, port::Side, wiring};

/// Lets `edit` change the database, then answers queries that waited for the change, applies changed profiles to the
/// VSIs that have them, and withdraws VSIs whose profile does not permit any more what they have.
pub(crate) fn update(core: &mut Core, now: Instant, source: Option<Source>, edit: impl FnOnce(&mut VsiDb)) {
    let before = core.vsidb.clone();
    edit(&mut core.vsidb);
    let news = match &source {
        Some(Source::Manager(id)) => Some(*id),
        Some(Source::Config | Source::File(_)) | None => None,
    };
    for (port, Query { id, serial, .. }, answer) in core.vsidb.settle(news) {
        if let Some(Side::Bridge { vdp, .. }) = core.side_at(port.index()) {
            vdp.answer(now, &id, serial, answer);
        }
        wiring::settle(core, now, port.index());
    }
    let changed = |key: Key| before.row(key).map(Arc::as_ref) != core.vsidb.row(key).map(Arc::as_ref);
    let names =
        |db: &VsiDb| db.rows().map(|row| (row.profile.key(), row.profile.name.clone())).collect::<Vec<_>>();
    let mut profiles: Vec<String> = names(&before)
        .into_iter()
        .chain(names(&core.vsidb))
        .filter(|(key, _)| changed(*key))
        .map(|(_, name)| name)
        .collect();
    profiles.sort_unstable();
    profiles.dedup();
    let touched: Vec<(usize, VsiId)> = (0..)
        .zip(&core.ports)
        .flat_map(|(index, port)| {
            let vsis = match port.edge.as_ref().map(|edge| &edge.side) {
                Some(Side::Bridge { vdp, .. }) => vdp
                    .vsis()
                    .map(|vsi| (vsi.id, (vsi.manager, vsi.type_id, vsi.version)))
                    .collect::<Vec<_>>(),
                Some(Side::Station { vdp, .. }) => vdp
                    .vsis()
                    .filter(|vsi| vsi.confirmed == Some(Command::Associate))
                    .map(|vsi| (vsi.id, (vsi.manager, vsi.type_id, vsi.version)))
                    .collect(),
                None => vec![],
            };
            vsis.into_iter()
                .filter(|(_, key)| changed(*key))
                .map(move |(id, _)| (index, id))
                .collect::<Vec<_>>()
        })
        .collect();
    for (index, id) in &touched {
        match core.side_at(*index) {
            Some(Side::Bridge { vdp, .. }) => vdp.requery(now, id),
            Some(Side::Station { .. }) => wiring::reopen(core, now, *index, id),
            None => {}
        }
        wiring::settle(core, now, *index);
    }
    if profiles.is_empty() {
        return;
    }
    let lives = |core: &mut Core, (index, id): &(usize, VsiId)| match core.side_at(*index) {
        Some(Side::Bridge { vdp, .. }) => vdp.vsi(id).is_some(),
        Some(Side::Station { .. }) => true,
        None => false,
    };
    let (kept, gone): (Vec<_>, Vec<_>) = touched.into_iter().partition(|one| lives(core, one));
    let ids = |list: Vec<(usize, VsiId)>| list.into_iter().map(|(_, id)| id).collect();
    core.tell(Event::ProfilesChanged {
        source: source.unwrap_or(Source::Config),
        profiles,
        reapplied: ids(kept),
        withdrawn: ids(gone),
    });
}

impl Core {
    /// A manager was asked: what it says, nothing if that is what it said last, or why it says nothing.
    pub(crate) fn heard_of_manager(
        &mut self,
        now: Instant,
        manager: vdp::ManagerId,
        heard: Result<Option<Vec<super::Profile>>, String>,
    ) {
        let state = match &heard {
            Ok(_) => ManagerState::Reached,
            Err(error) => ManagerState::Failing(error.clone()),
        };
        let was = self.vsidb.managers().find(|(id, _)| **id == manager).map(|(_, state)| state.clone());
        let Some(was) = was else { return };
        if was != state {
            self.tell(match &state {
                ManagerState::Failing(error) => Event::ManagerFailed { manager, error: error.clone() },
                ManagerState::Reached | ManagerState::Awaited => Event::ManagerReached { manager },
            });
        }
        update(self, now, Some(Source::Manager(manager)), |db| {
            db.heard(manager, state);
            if let Ok(Some(profiles)) = heard {
                db.replace(Source::Manager(manager), profiles);
            }
        });
    }

    /// Takes the configuration's part of the database.
    pub(crate) fn take_profiles(&mut self, now: Instant) {
        let config = self.config.vsidb.clone();
        update(self, now, Some(Source::Config), |db| {
            db.configure(config.unknown_type, config.managers.iter().map(|manager| manager.id));
            db.replace(Source::Config, config.profiles);
        });
        self.effects.push_back(Effect::FollowProfiles);
    }
}
