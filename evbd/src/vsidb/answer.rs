//! What a VSI manager says: JSON of all its types.

use serde::{Deserialize, Serialize};
use vdp::ManagerId;

use super::Profile;

/// `{"profiles": […]}`, each profile as in a file of profiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// All types of the manager.
    pub profiles: Vec<Profile>,
}

impl Answer {
    /// Reads what `manager` says; profiles that name no manager are its own.
    ///
    /// # Errors
    /// What is wrong with it, in words. It is refused as a whole: no JSON, another manager's profile, one that
    /// describes no type, two for one type, or more than 16384.
    pub fn read(manager: ManagerId, octets: &[u8]) -> Result<Self, String> {
        let mut answer: Self = serde_json::from_slice(octets).map_err(|error| error.to_string())?;
        if answer.profiles.len() > MOST {
            return Err(format!("{} profiles; at most {MOST} are taken", answer.profiles.len()));
        }
        let mut keys = std::collections::BTreeSet::new();
        for profile in &mut answer.profiles {
            if profile.manager == ManagerId::default() {
                profile.manager = manager;
            }
            if profile.manager != manager {
                return Err(format!("profile {} is of manager {}", profile.name, profile.manager));
            }
            if !keys.insert(profile.key()) {
                return Err(format!("type {} version {} is defined twice", profile.type_id, profile.version));
            }
            profile.check().map_err(|error| format!("{error}; allowed: {}", error.allowed))?;
        }
        Ok(answer)
    }
}

/// Profiles of an answer.
const MOST: usize = 16_384;
