//! A VSI type as its profile describes it, and what it makes of a filter [Q 41.1, 41.2]: VLANs are filled in, also those
//! of groups [Q 41.2.9].

use ether::{Pcp, Vid};
use hairpin::policy::Policy;
use serde::{Deserialize, Serialize};
use vdp::{ErrorCode, FilterEntry, FilterFormat, FilterInfo, GroupId, ManagerId, TypeId, TypeVersion};

/// What tells one VSI type from another.
pub(crate) type Key = (ManagerId, TypeId, TypeVersion);

/// A VSI type: what a VSI naming it may do. TOML files and a manager's JSON spell it as it stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name shown to the operator.
    pub name: String,
    /// VSI manager the type belongs to.
    #[serde(default)]
    pub manager: ManagerId,
    /// VSI type, 0 to 16777215.
    #[serde(rename = "type")]
    pub type_id: TypeId,
    /// Edition of the type.
    pub version: TypeVersion,
    /// VLANs permitted; the first is given to a VSI that asks the bridge to choose.
    #[serde(default)]
    pub vlans: Vec<Vid>,
    /// VLANs of groups, for filters with a GroupID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupVlan>,
    /// Filter formats permitted; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<Format>,
    /// Priority given to a VSI that names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_pcp: Option<Pcp>,
    /// Lines one VSI's filter may have, and addresses learnt of a VSI whose filter names none; 1 to 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_macs: Option<u16>,
    /// What the relay does with its frames.
    #[serde(default)]
    pub policy: Policy,
}

/// The VLAN of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupVlan {
    /// The group, from 1.
    pub group: GroupId,
    /// Its VLAN.
    pub vlan: Vid,
}

/// [`FilterFormat`] as profiles name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// VLANs.
    Vid,
    /// Addresses and VLANs.
    MacVid,
    /// Groups and VLANs.
    GroupVid,
    /// Groups, addresses and VLANs.
    GroupMacVid,
}

impl From<FilterFormat> for Format {
    fn from(format: FilterFormat) -> Self {
        match format {
            FilterFormat::Vid => Self::Vid,
            FilterFormat::MacVid => Self::MacVid,
            FilterFormat::GroupVid => Self::GroupVid,
            FilterFormat::GroupMacVid => Self::GroupMacVid,
        }
    }
}

/// A profile that describes no VSI type, and what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile {name}: {what}")]
pub struct ProfileError {
    name: String,
    what: String,
    /// What is allowed instead.
    pub allowed: &'static str,
}

impl Profile {
    /// What it is looked up by.
    pub(crate) fn key(&self) -> Key {
        (self.manager, self.type_id, self.version)
    }

    /// Whether it describes a VSI type.
    ///
    /// # Errors
    /// No VLAN, a group with two VLANs, a bound out of range, a policy that cannot do what it says.
    pub fn check(&self) -> Result<(), ProfileError> {
        let fault = |what: String, allowed| Err(ProfileError { name: self.name.clone(), what, allowed });
        if self.vlans.is_empty() && self.groups.is_empty() {
            return fault(
                "a profile without VLANs admits no VSI".to_owned(),
                "at least one VLAN from 1 to 4094 in `vlans`, or one of a group in `groups`",
            );
        }
        for (at, one) in self.groups.iter().enumerate() {
            if self.groups.iter().take(at).any(|other| other.group == one.group) {
                return fault(format!("group {} has two VLANs", one.group), "each group once");
            }
        }
        if let Some(most) = self.max_macs.filter(|most| !(1..=MAX_LINES).contains(most)) {
            return fault(format!("`max_macs` = {most} is out of range"), "1 to 60; 60 when left out");
        }
        if let Err(error) = self.policy.check() {
            return fault(
                error.to_string(),
                "see [profile.policy] in the sample of a bridge's configuration",
            );
        }
        Ok(())
    }

    /// The policy its VSIs get.
    pub(crate) fn effective_policy(&self) -> Policy {
        let learnt = self.policy.max_macs.or(self.max_macs.map(u32::from));
        Policy { max_macs: learnt, ..self.policy.clone() }
    }

    /// The request's filter with every VLAN and priority the profile supplies; the error code and the reason if the
    /// profile does not permit it.
    pub(crate) fn fill(&self, asked: &FilterInfo) -> Result<FilterInfo, (ErrorCode, String)> {
        let invalid = |words| Err((ErrorCode::InvalidVidGroupOrMac, words));
        let format = Format::from(asked.format());
        if !self.formats.is_empty() && !self.formats.contains(&format) {
            return invalid(format!("profile {} does not permit filters of this format", self.name));
        }
        let (lines, limit) = (asked.entries().len(), usize::from(self.max_macs.unwrap_or(MAX_LINES)));
        if lines > limit {
            let words = format!("{lines} filter entries; profile {} allows {limit}", self.name);
            return Err((ErrorCode::InsufficientResources, words));
        }
        let filled: Result<Vec<_>, _> = asked.entries().iter().map(|entry| self.fill_entry(entry)).collect();
        match filled {
            Err(words) => invalid(words),
            Ok(entries) => FilterInfo::new(entries).or_else(|cause| invalid(cause.to_string())),
        }
    }

    fn fill_entry(&self, entry: &FilterEntry) -> Result<FilterEntry, String> {
        let vid = match (entry.group, entry.vid) {
            (Some(group), asked) => {
                let vlan = self.groups.iter().find(|one| one.group == group).map(|one| one.vlan);
                let vlan = vlan.ok_or_else(|| format!("group {group} is not in profile {}", self.name))?;
                if asked.is_some_and(|asked| asked != vlan) {
                    return Err(format!(
                        "group {group} has VLAN {vlan} in profile {}, not the one asked for",
                        self.name
                    ));
                }
                vlan
            }
            (None, Some(vid)) if self.vlans.contains(&vid) => vid,
            (None, Some(vid)) => {
                let allowed = self.vlans.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(format!("VLAN {vid} is not in profile {} (allowed: {allowed})", self.name));
            }
            (None, None) => match self.vlans.first() {
                Some(vid) => *vid,
                None => return Err(format!("profile {} has VLANs for groups only", self.name)),
            },
        };
        Ok(FilterEntry { vid: Some(vid), priority: entry.priority.or(self.default_pcp), ..*entry })
    }
}

/// Lines of a filter that fit into a TLV, whatever their format.
const MAX_LINES: u16 = 60;
