//! The VSI type database: which profile a VSI names and what the bridge answers [Q 41.1, 41.2].
//!
//! Profiles come from the configuration. A VSI of an unknown type is refused for good (HARD): nothing it repeats
//! unchanged can succeed.

use std::collections::BTreeMap;

use ether::Vid;
use vdp::{
    ErrorCode, FilterEntry, FilterInfo, ManagerId, TypeId, TypeVersion,
    bridge::{Answer, Query},
};

use crate::config::Profile;

/// Profiles by (manager, type, version).
#[derive(Clone, Debug, Default)]
pub(crate) struct VsiDb {
    profiles: BTreeMap<(ManagerId, TypeId, TypeVersion), Profile>,
}

impl VsiDb {
    /// A database of `profiles`; of two with one key the later counts.
    #[must_use]
    pub(crate) fn new(profiles: &[Profile]) -> Self {
        Self {
            profiles: profiles.iter().map(|p| ((p.manager, p.type_id, p.type_version), p.clone())).collect(),
        }
    }

    /// The profile a VSI names.
    #[must_use]
    pub(crate) fn profile(
        &self,
        manager: ManagerId,
        type_id: TypeId,
        version: TypeVersion,
    ) -> Option<&Profile> {
        self.profiles.get(&(manager, type_id, version))
    }

    /// What a bridge answers to `query`.
    #[must_use]
    pub(crate) fn answer(&self, query: &Query) -> Answer {
        let Some(profile) = self.profile(query.manager, query.type_id, query.version) else {
            return refuse(
                ErrorCode::OtherFailure,
                format!(
                    "no profile has type {} version {} of manager {}",
                    query.type_id, query.version, query.manager
                ),
            );
        };
        match fill(profile, &query.filter) {
            Ok(filter) => Answer::Accept { filter },
            Err((code, words)) => refuse(code, words),
        }
    }
}

/// The request's filter with every VLAN and priority the profile supplies.
fn fill(profile: &Profile, asked: &FilterInfo) -> Result<FilterInfo, (ErrorCode, String)> {
    if asked.format().has_group() {
        return Err((ErrorCode::InvalidVidGroupOrMac, "this bridge does not assign GroupIDs".to_owned()));
    }
    let entries = asked.entries();
    let limit = usize::from(profile.max_macs);
    if entries.len() > limit {
        return Err((
            ErrorCode::InsufficientResources,
            format!("{} filter entries; profile {} allows {limit}", entries.len(), profile.name),
        ));
    }
    let filled: Result<Vec<_>, _> = entries.iter().map(|entry| fill_entry(profile, entry)).collect();
    FilterInfo::new(filled?).map_err(|cause| (ErrorCode::InvalidVidGroupOrMac, cause.to_string()))
}

fn fill_entry(profile: &Profile, entry: &FilterEntry) -> Result<FilterEntry, (ErrorCode, String)> {
    let vid = match entry.vid {
        Some(vid) if profile.vlans.contains(&vid) => vid,
        Some(vid) => {
            return Err((
                ErrorCode::InvalidVidGroupOrMac,
                format!("VLAN {vid} is not in profile {} (allowed: {})", profile.name, list(&profile.vlans)),
            ));
        }
        None => *profile.vlans.first().ok_or_else(|| {
            (ErrorCode::InvalidVidGroupOrMac, format!("profile {} has no VLAN to assign", profile.name))
        })?,
    };
    Ok(FilterEntry { vid: Some(vid), priority: entry.priority.or(profile.default_pcp), ..*entry })
}

fn refuse(error: ErrorCode, words: String) -> Answer {
    Answer::Refuse { error: error.into(), hard: true, keep: false, words }
}

fn list(vids: &[Vid]) -> String {
    vids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
