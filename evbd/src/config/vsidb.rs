//! `[[profile]]`, `[vsidb]` and `[[manager]]`: where the VSI type database comes from.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde::Deserialize;
use toml::Spanned;
use vdp::ManagerId;

use super::{
    Fault,
    check::{fault, in_range},
};
use crate::vsidb::{Profile, UnknownType};

/// The VSI type database of a bridge; of a station, what it holds its own VSIs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VsiDbConfig {
    /// The profiles of the configuration itself.
    pub profiles: Vec<Profile>,
    /// Files of profiles, and directories of such files.
    pub files: Vec<PathBuf>,
    /// VSI managers asked for profiles.
    pub managers: Vec<ManagerConfig>,
    /// What becomes of VSIs of an unknown type.
    pub unknown_type: UnknownType,
}

/// A VSI manager that says over HTTP which types there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerConfig {
    /// Whose types these are.
    pub id: ManagerId,
    /// Where to ask.
    pub url: String,
    /// How often, 1 s to 1 day.
    pub poll: Duration,
    /// How long to wait for the whole answer, 1 s to 60 s.
    pub timeout: Duration,
    /// Certificates to trust instead of the well-known ones, PEM.
    pub ca: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct VsiDbKeys {
    files: Vec<Spanned<PathBuf>>,
    unknown_type: UnknownType,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ManagerKeys {
    id: Spanned<ManagerId>,
    url: Spanned<String>,
    poll: Option<Spanned<u32>>,
    timeout: Option<Spanned<u32>>,
    ca: Option<Spanned<PathBuf>>,
}

/// A file of profiles: `[[profile]]` as in the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileFile {
    #[serde(default, rename = "profile")]
    profiles: Vec<Spanned<Profile>>,
}

pub(super) fn vsidb(
    keys: VsiDbKeys,
    profiles: Vec<Spanned<Profile>>,
    managers: Vec<Spanned<ManagerKeys>>,
) -> Result<VsiDbConfig, Fault> {
    let mut files = Vec::with_capacity(keys.files.len());
    for file in keys.files {
        files.push(absolute(file)?);
    }
    Ok(VsiDbConfig {
        profiles: checked(profiles)?,
        files,
        managers: self::managers(managers)?,
        unknown_type: keys.unknown_type,
    })
}

impl ProfileFile {
    pub(super) fn check(self) -> Result<Vec<Profile>, Fault> {
        checked(self.profiles)
    }
}

/// Each for another type, and each one that makes sense.
fn checked(profiles: Vec<Spanned<Profile>>) -> Result<Vec<Profile>, Fault> {
    let mut keys = BTreeSet::new();
    for profile in &profiles {
        let (span, p) = (profile.span(), profile.get_ref());
        if !keys.insert(p.key()) {
            return fault(
                span,
                format!("type {} version {} of manager {} is defined twice", p.type_id, p.version, p.manager),
                "one [[profile]] for each (manager, type, version)",
            );
        }
        if let Err(error) = p.check() {
            return fault(span, error.to_string(), error.allowed);
        }
    }
    Ok(profiles.into_iter().map(Spanned::into_inner).collect())
}

fn managers(managers: Vec<Spanned<ManagerKeys>>) -> Result<Vec<ManagerConfig>, Fault> {
    let mut checked: Vec<ManagerConfig> = Vec::with_capacity(managers.len());
    for manager in managers {
        let keys = manager.into_inner();
        let (span, id) = (keys.id.span(), keys.id.into_inner());
        if checked.iter().any(|other| other.id == id) {
            return fault(span, format!("manager {id} is named twice"), "one [[manager]] for each id");
        }
        let (span, url) = (keys.url.span(), keys.url.into_inner());
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return fault(span, format!("`{url}` is no address to ask"), "http://… or https://…");
        }
        checked.push(ManagerConfig {
            id,
            url,
            poll: Duration::from_secs(in_range(keys.poll, 1, 86_400, 60, "poll")?.into()),
            timeout: Duration::from_secs(in_range(keys.timeout, 1, 60, 5, "timeout")?.into()),
            ca: keys.ca.map(absolute).transpose()?,
        });
    }
    Ok(checked)
}

fn absolute(path: Spanned<PathBuf>) -> Result<PathBuf, Fault> {
    if path.get_ref().is_absolute() {
        return Ok(path.into_inner());
    }
    fault(path.span(), "the path is relative", "an absolute path")
}
