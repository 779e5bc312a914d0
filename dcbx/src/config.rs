//! What one port is told to do, and the rules its values obey [Q 37, 38, D.2.8 to D.2.11].

use ether::Pcp;
use serde::{Deserialize, Serialize};

use crate::{
    ieee::{Application, ClassCount, EtsTable, PfcCapability, SelectionAlgorithm},
    priority::{PrioritySet, PriorityTable},
};

/// What becomes of one feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Neither said nor heard nor applied.
    #[default]
    Off,
    /// Ours is said and never changed by the peer; nothing is applied here.
    Advertise,
    /// The peer's is taken over.
    Willing,
    /// Ours is said, applied, and never changed by the peer.
    Authoritative,
}

impl Mode {
    /// Whether it is said at all.
    #[must_use]
    pub const fn speaks(self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Whether the peer may change it.
    #[must_use]
    pub const fn is_willing(self) -> bool {
        matches!(self, Self::Willing)
    }

    /// Whether what is chosen is applied here.
    #[must_use]
    pub const fn applies(self) -> bool {
        matches!(self, Self::Willing | Self::Authoritative)
    }
}

/// Which dialects may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DialectChoice {
    /// IEEE; CEE with a peer that speaks only that.
    #[default]
    Auto,
    /// Only that of IEEE 802.1Q.
    Ieee,
    /// Only CEE, version 1.01.
    Cee,
}

/// What becomes of what a peer has decided when the peer is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnPeerLoss {
    /// It stays, so that no device is reset because a neighbour fell silent.
    #[default]
    Keep,
    /// Ours counts again.
    Reset,
}

/// All a port is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The dialects.
    pub dialect: DialectChoice,
    /// What remains of a peer.
    pub on_peer_loss: OnPeerLoss,
    /// Sharing of the link.
    pub ets: Ets,
    /// Flow control.
    pub pfc: PfcConfig,
    /// Priorities of applications.
    pub applications: Applications,
}

/// Enhanced transmission selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ets {
    /// What becomes of it.
    pub mode: Mode,
    /// How many traffic classes the port has.
    pub max_classes: ClassCount,
    /// Ours.
    pub table: EtsTable,
}

/// Priority-based flow control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PfcConfig {
    /// What becomes of it.
    pub mode: Mode,
    /// For how many traffic classes at once the port can.
    pub capability: PfcCapability,
    /// Ours.
    pub enabled: PrioritySet,
}

/// Application priorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applications {
    /// What becomes of them.
    pub mode: Mode,
    /// Ours, at most [`MAX_APPLICATIONS`].
    pub list: Vec<Application>,
}

/// The most application priorities a port may have of its own: as many as every dialect can say.
pub const MAX_APPLICATIONS: usize = 64;

impl Default for Config {
    /// Everything off; eight traffic classes, all priorities in class 0, strict; no PFC, for eight classes.
    fn default() -> Self {
        Self {
            dialect: DialectChoice::Auto,
            on_peer_loss: OnPeerLoss::Keep,
            ets: Ets { mode: Mode::Off, max_classes: ClassCount::MAX, table: EtsTable::STRICT },
            pfc: PfcConfig { mode: Mode::Off, capability: PfcCapability::ALL, enabled: PrioritySet(0) },
            applications: Applications::default(),
        }
    }
}

impl Config {
    /// Whether any feature is said.
    #[must_use]
    pub const fn speaks(&self) -> bool {
        self.ets.mode.speaks() || self.pfc.mode.speaks() || self.applications.mode.speaks()
    }

    /// Whether its values obey the rules.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), Rule> {
        check_ets(&self.ets.table, self.ets.max_classes)?;
        check_pfc(self.pfc.enabled, self.pfc.capability)?;
        check_applications(&self.applications.list)
    }
}

/// A rule that values break, whosever they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The shares of the ETS classes are not the whole.
    #[error("the bandwidths of the ETS classes sum to {0} %, they must sum to 100")]
    Bandwidth(u32),
    /// A class that does not share has a share.
    #[error(
        "traffic class {class} has {percent} % of the bandwidth but does not use ETS: only ETS classes share"
    )]
    Share {
        /// The class.
        class: u8,
        /// Its share.
        percent: u8,
    },
    /// A priority is in a class the port has not.
    #[error(
        "priority {priority} is in traffic class {class}, and the port has the {classes} classes from 0 on"
    )]
    Class {
        /// The priority.
        priority: u8,
        /// The class.
        class: u8,
        /// How many there are.
        classes: u8,
    },
    /// More priorities with flow control than the port can hold back.
    #[error("PFC on {enabled} priorities, and the port can on {capability}")]
    Pfc {
        /// How many are enabled.
        enabled: u8,
        /// How many can be.
        capability: u8,
    },
    /// More application priorities than every dialect can say.
    #[error("{0} application priorities, at most {MAX_APPLICATIONS} can be said in every dialect")]
    Applications(usize),
}

/// Every priority is in a class there is, and the ETS classes share all of the bandwidth, 0 % allowed for one of them.
pub(crate) fn check_ets(table: &EtsTable, max: ClassCount) -> Result<(), Rule> {
    for (priority, class) in (0..).zip(table.classes.numbers()) {
        if class >= max.get() {
            return Err(Rule::Class { priority, class, classes: max.get() });
        }
    }
    let mut sum = None;
    for (class, (algorithm, percent)) in (0..).zip(table.algorithms.into_iter().zip(table.bandwidth)) {
        match algorithm {
            SelectionAlgorithm::Ets => sum = Some(sum.unwrap_or(0) + u32::from(percent)),
            _ if percent != 0 => return Err(Rule::Share { class, percent }),
            _ => {}
        }
    }
    match sum {
        None | Some(100) => Ok(()),
        Some(other) => Err(Rule::Bandwidth(other)),
    }
}

pub(crate) fn check_pfc(enabled: PrioritySet, capability: PfcCapability) -> Result<(), Rule> {
    let (enabled, capability) = (enabled.len(), capability.get());
    if enabled > capability { Err(Rule::Pfc { enabled, capability }) } else { Ok(()) }
}

fn check_applications(list: &[Application]) -> Result<(), Rule> {
    if list.len() > MAX_APPLICATIONS { Err(Rule::Applications(list.len())) } else { Ok(()) }
}

/// The same applications in one order, none twice.
pub(crate) fn in_order(mut list: Vec<Application>) -> Vec<Application> {
    let key = |application: &Application| {
        let Application { priority, selector, protocol }: Application = *application;
        (u8::from(selector), protocol, Pcp::get(priority))
    };
    list.sort_unstable_by_key(key);
    list.dedup();
    list
}

impl EtsTable {
    /// All priorities in traffic class 0, strict.
    pub const STRICT: Self =
        Self { classes: PriorityTable::ZERO, bandwidth: [0; 8], algorithms: [SelectionAlgorithm::Strict; 8] };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule() {
        let broken = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check().unwrap_err()
        };
        assert_eq!(Config::default().check(), Ok(()));
        let ets = SelectionAlgorithm::Ets;
        assert_eq!(broken(|c| c.ets.table.bandwidth = [5; 8]), Rule::Share { class: 0, percent: 5 });
        let short = broken(|c| c.ets.table.algorithms = [SelectionAlgorithm::Ets; 8]);
        assert_eq!(short, Rule::Bandwidth(0));
        assert_eq!(short.to_string(), "the bandwidths of the ETS classes sum to 0 %, they must sum to 100");
        let mut whole = EtsTable { bandwidth: [0, 100, 0, 0, 0, 0, 0, 0], ..EtsTable::STRICT };
        whole.algorithms = [ets; 8];
        assert_eq!(check_ets(&whole, ClassCount::MAX), Ok(()));
        whole.bandwidth = [200; 8];
        assert_eq!(check_ets(&whole, ClassCount::MAX), Err(Rule::Bandwidth(1600)));
        let class = broken(|c| {
            c.ets.table.classes = PriorityTable::new([0, 0, 8, 0, 0, 0, 0, 0]).unwrap_or_default()
        });
        assert_eq!(class, Rule::Class { priority: 2, class: 8, classes: 8 });
        let pfc = broken(|c| {
            c.pfc.enabled = PrioritySet(0x07);
            c.pfc.capability = PfcCapability::new(2).unwrap_or(PfcCapability::ALL);
        });
        assert_eq!(pfc, Rule::Pfc { enabled: 3, capability: 2 });
        let many = broken(|c| {
            let one = Application { priority: Pcp::from_low_bits(3), selector: 1.into(), protocol: 1 };
            c.applications.list = vec![one; 65];
        });
        assert_eq!(many, Rule::Applications(65));
    }
}
