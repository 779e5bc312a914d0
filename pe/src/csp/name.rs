//! Names of port extenders and of their ports, in a TLV of our own: an OUI, which of the two, and text.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A name: 1 to 255 octets of UTF-8 without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// Whose name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The port extender's.
    Extender,
    /// The port's that the PDU is about.
    Port,
}

/// What a port extender calls itself and a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extender: Option<Name>,
    /// The port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Name>,
}

/// Text that is no name. Whoever wrote it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 255 octets and no control characters")]
pub struct NoName;

impl Name {
    /// Octets at most.
    pub const MAX: usize = 255;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads octets of a peer.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        core::str::from_utf8(octets).ok()?.to_owned().try_into().ok()
    }
}

impl TryFrom<String> for Name {
    type Error = NoName;

    fn try_from(text: String) -> Result<Self, NoName> {
        let fits = (1..=Self::MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text)) } else { Err(NoName) }
    }
}

impl Named {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Extender => 1,
            Self::Port => 2,
        }
    }

    pub(crate) const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Extender),
            2 => Some(Self::Port),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Extender => "extender",
            Self::Port => "port",
        })
    }
}
