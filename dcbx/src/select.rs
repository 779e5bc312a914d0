//! Which dialect a port speaks, and on what evidence.
//!
//! A port that may choose begins with IEEE's. It falls back to CEE when its peer says only that, and stays there as long
//! as this peer does and the link is up: of two that may choose, each would else follow where the other just was.

use core::fmt;

use ether::MacAddr;
use serde::{Serialize, Serializer};

use crate::{config::DialectChoice, peer::Heard};

/// A dialect that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// That of IEEE 802.1Q [Q 38].
    Ieee,
    /// CEE, version 1.01.
    Cee,
}

/// Why that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The configuration says so and nobody contradicts.
    Configured,
    /// Nothing of DCBX was heard.
    Unheard,
    /// The peer speaks IEEE.
    PeerIeee,
    /// The peer spoke CEE and not IEEE.
    PeerCee,
    /// The peer speaks CEE only, and the configuration allows IEEE only.
    OnlyCee,
    /// The peer speaks IEEE only, and we speak CEE: by configuration, or having fallen back before.
    OnlyIeee,
    /// The peer speaks CIN only, the version before CEE, which is read but not spoken here.
    OnlyCin,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "configured",
            Self::Unheard => "the default: nothing of DCBX was heard",
            Self::PeerIeee => "the peer speaks IEEE DCBX",
            Self::PeerCee => {
                "the peer spoke CEE 1.01 and not IEEE; kept until it leaves or the link goes down"
            }
            Self::OnlyCee => "no common dialect: the peer speaks CEE 1.01, and only IEEE is allowed here",
            Self::OnlyIeee => "no common dialect: the peer speaks IEEE, and CEE is spoken here",
            Self::OnlyCin => {
                "no common dialect: the peer speaks CIN 1.00 (pre-CEE), which is not spoken here"
            }
        })
    }
}

impl Serialize for Evidence {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

/// The dialect of one port.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    choice: DialectChoice,
    /// The peer we fell back for.
    fallen: Option<MacAddr>,
    pub(crate) dialect: Dialect,
    pub(crate) evidence: Evidence,
}

impl Selection {
    pub(crate) const fn new(choice: DialectChoice) -> Self {
        let (dialect, evidence) = match choice {
            DialectChoice::Auto => (Dialect::Ieee, Evidence::Unheard),
            DialectChoice::Ieee => (Dialect::Ieee, Evidence::Configured),
            DialectChoice::Cee => (Dialect::Cee, Evidence::Configured),
        };
        Self { choice, fallen: None, dialect, evidence }
    }

    /// The peer may be another from now on. Until it says something new, the dialect stays.
    pub(crate) const fn rise(&mut self) {
        self.fallen = None;
    }

    /// Nobody is there any more.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.choice);
    }

    /// The only peer, of address `mac`, says this.
    pub(crate) fn hear(&mut self, mac: MacAddr, heard: &Heard) {
        if self.fallen.is_some_and(|peer| peer != mac) {
            self.fallen = None;
        }
        (self.dialect, self.evidence) = match (self.choice, heard.ieee, heard.cee) {
            (DialectChoice::Auto, true, false) if self.fallen.is_some() => (Dialect::Cee, Evidence::OnlyIeee),
            (DialectChoice::Auto, _, _) if self.fallen.is_some() => (Dialect::Cee, Evidence::PeerCee),
            (DialectChoice::Auto, false, true) => {
                self.fallen = Some(mac);
                (Dialect::Cee, Evidence::PeerCee)
            }
            (DialectChoice::Auto | DialectChoice::Ieee, true, _) => (Dialect::Ieee, Evidence::PeerIeee),
            (DialectChoice::Ieee, false, true) => (Dialect::Ieee, Evidence::OnlyCee),
            (DialectChoice::Cee, _, true) => (Dialect::Cee, Evidence::Configured),
            (DialectChoice::Cee, true, false) => (Dialect::Cee, Evidence::OnlyIeee),
            (choice, false, false) => {
                let quiet = Self::new(choice);
                (quiet.dialect, if heard.cin { Evidence::OnlyCin } else { quiet.evidence })
            }
        };
    }
}
