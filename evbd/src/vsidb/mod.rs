//! The VSI type database: which profile a VSI names and what the bridge answers [Q 41.1, 41.2].
//!
//! Profiles come from the configuration, from files, and from VSI managers. Each source is replaced as a whole; of two
//! profiles for one type the one of the earlier source counts, in that order. A query whose type may still come is kept
//! until it comes, or VDP's resourceWaitDelay ends it with error 3.

mod answer;
mod live;
mod profile;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use hairpin::{PortId, policy::Policy};
use serde::{Deserialize, Serialize};
use vdp::{
    ErrorCode, ManagerId, VsiId,
    bridge::{self, Query},
};

pub use self::{
    answer::Answer,
    profile::{Format, GroupVlan, Profile, ProfileError},
};
pub(crate) use self::{live::update, profile::Key};

/// Where profiles come from, the most binding first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "source", content = "name")]
pub enum Source {
    /// The configuration itself.
    Config,
    /// A file of profiles, by its path.
    File(String),
    /// A VSI manager.
    Manager(ManagerId),
}

/// What the bridge does with a type nobody describes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UnknownType {
    /// Refuses it for good (HARD): nothing repeated unchanged can succeed.
    #[default]
    Refuse,
    /// Waits for a profile as long as the station waits, then refuses with error 3.
    Wait,
    /// Treats it as the profile of this name describes.
    Profile(String),
}

/// A profile in force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) profile: Profile,
    pub(crate) source: Source,
    pub(crate) policy: Arc<Policy>,
}

/// What is known of a VSI manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "because")]
pub(crate) enum ManagerState {
    /// Nothing was heard of it yet.
    #[default]
    Awaited,
    /// What it says is known.
    Reached,
    /// It did not answer, or not well; what it said before counts.
    Failing(String),
}

/// What to do about a query.
pub(crate) enum Decision {
    /// Answer it.
    Answer(bridge::Answer),
    /// Keep it; if a manager is named, ask that for news.
    Wait(Option<ManagerId>),
}

/// Profiles by (manager, type, version), and the queries that wait for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct VsiDb {
    sources: BTreeMap<Source, Vec<Profile>>,
    managers: BTreeMap<ManagerId, ManagerState>,
    unknown: UnknownType,
    index: BTreeMap<Key, Arc<Row>>,
    fallback: Option<Arc<Row>>,
    waiting: BTreeMap<(PortId, VsiId), Query>,
}

impl VsiDb {
    /// What becomes of unknown types, and which managers there are. Profiles of managers that are none any more go.
    pub(crate) fn configure(&mut self, unknown: UnknownType, managers: impl IntoIterator<Item = ManagerId>) {
        let mut old = std::mem::take(&mut self.managers);
        self.managers = managers.into_iter().map(|id| (id, old.remove(&id).unwrap_or_default())).collect();
        self.unknown = unknown;
        let managers = &self.managers;
        self.sources.retain(|source, _| match source {
            Source::Manager(id) => managers.contains_key(id),
            Source::Config | Source::File(_) => true,
        });
        self.reindex();
    }

    /// Puts `profiles` in the place of what `source` said before.
    pub(crate) fn replace(&mut self, source: Source, profiles: Vec<Profile>) {
        if profiles.is_empty() {
            self.sources.remove(&source);
        } else {
            self.sources.insert(source, profiles);
        }
        self.reindex();
    }

    /// What became of asking a manager.
    pub(crate) fn heard(&mut self, manager: ManagerId, state: ManagerState) {
        if let Some(known) = self.managers.get_mut(&manager) {
            *known = state;
        }
    }

    /// The profile a VSI of this type has: its own, else the one for unknown types.
    pub(crate) fn row(&self, key: Key) -> Option<&Arc<Row>> {
        self.index.get(&key).or_else(|| self.fallback.as_ref().filter(|_| !self.may_come(key.0)))
    }

    /// All profiles in force.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.index.values().map(AsRef::as_ref)
    }

    /// What is known of the managers.
    pub(crate) fn managers(&self) -> impl Iterator<Item = (&ManagerId, &ManagerState)> {
        self.managers.iter()
    }

    /// What to do about a query of `port`; one to be kept is kept here.
    pub(crate) fn decide(&mut self, port: PortId, query: &Query) -> Decision {
        let place = (port, query.id);
        self.waiting.remove(&place);
        match self.answer(query) {
            Some(answer) => Decision::Answer(answer),
            None => {
                self.waiting.insert(place, query.clone());
                Decision::Wait(Some(query.manager).filter(|id| self.managers.contains_key(id)))
            }
        }
    }

    /// The kept queries that can be answered now. `news` of a manager end the waiting for types it does not have.
    pub(crate) fn settle(&mut self, news: Option<ManagerId>) -> Vec<(PortId, Query, bridge::Answer)> {
        let settled = |query: &Query| match self.answer(query) {
            None if news == Some(query.manager)
                && self.managers.get(&query.manager) == Some(&ManagerState::Reached) =>
            {
                self.unknown_type(query)
            }
            answer => answer,
        };
        let answers: Vec<_> = self
            .waiting
            .iter()
            .filter_map(|((port, _), query)| Some((*port, query.clone(), settled(query)?)))
            .collect();
        for (port, query, _) in &answers {
            self.waiting.remove(&(*port, query.id));
        }
        answers
    }

    /// Forgets what was asked on a port that goes.
    pub(crate) fn forget_port(&mut self, port: PortId) {
        self.waiting.retain(|(at, _), _| *at != port);
    }

    fn answer(&self, query: &Query) -> Option<bridge::Answer> {
        let key = (query.manager, query.type_id, query.version);
        match self.index.get(&key) {
            Some(row) => Some(row.answer(query)),
            // Whoever made the type may say so in a moment.
            None if self.managers.contains_key(&query.manager) => None,
            None => self.unknown_type(query),
        }
    }

    fn unknown_type(&self, query: &Query) -> Option<bridge::Answer> {
        let Query { manager, type_id, version, .. } = query;
        match (&self.unknown, &self.fallback) {
            (UnknownType::Wait, _) => None,
            (UnknownType::Profile(_), Some(row)) => Some(row.answer(query)),
            (UnknownType::Profile(name), None) => Some(refuse(
                ErrorCode::OtherFailure,
                format!(
                    "no profile has type {type_id} version {version} of manager {manager}, nor is there the profile {name} for unknown types"
                ),
            )),
            (UnknownType::Refuse, _) => Some(refuse(
                ErrorCode::OtherFailure,
                format!("no profile has type {type_id} version {version} of manager {manager}"),
            )),
        }
    }

    /// Whether a manager may yet describe types of its own.
    fn may_come(&self, manager: ManagerId) -> bool {
        self.managers.get(&manager).is_some_and(|state| *state != ManagerState::Reached)
    }

    fn reindex(&mut self) {
        self.index.clear();
        for (source, profiles) in &self.sources {
            for profile in profiles {
                self.index.entry(profile.key()).or_insert_with(|| {
                    let policy = Arc::new(profile.effective_policy());
                    Arc::new(Row { profile: profile.clone(), source: source.clone(), policy })
                });
            }
        }
        self.fallback = match &self.unknown {
            UnknownType::Profile(name) => self.index.values().find(|row| row.profile.name == *name).cloned(),
            UnknownType::Refuse | UnknownType::Wait => None,
        };
    }
}

impl Row {
    fn answer(&self, query: &Query) -> bridge::Answer {
        match self.profile.fill(&query.filter) {
            Ok(filter) => bridge::Answer::Accept { filter },
            Err((code, words)) => refuse(code, words),
        }
    }
}

fn refuse(error: ErrorCode, words: String) -> bridge::Answer {
    bridge::Answer::Refuse { error: error.into(), hard: true, keep: false, words }
}
