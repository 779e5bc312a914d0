//! What a peer's TLVs come to, in the terms both dialects share.

use ether::MacAddr;

use crate::{
    cee::{self, CeeTlv, common},
    config::{Config, Rule, check_ets, check_pfc, in_order},
    ieee::{Application, EtsTable},
    machine::{Held, Peer, Presence, Status},
    oper::{Basis, Because, Feature, Offer, decide},
    peer::Heard,
    priority::PrioritySet,
    select::{Dialect, Selection},
};

/// What is operational on a port.
pub(crate) fn status(
    config: &Config,
    mac: MacAddr,
    selection: &Selection,
    presence: &Presence,
    held: &Held,
) -> Status {
    let dialect = selection.dialect;
    let (peer, heard, higher) = match presence {
        Presence::Nobody => (Peer::Absent, None, false),
        Presence::Several => (Peer::Several, None, false),
        Presence::One(_, heard) if !heard.speaks() => (Peer::Silent, None, false),
        Presence::One(theirs, heard) => {
            let common = match dialect {
                Dialect::Ieee => heard.ieee,
                Dialect::Cee => heard.cee_tlv.is_some(),
            };
            let peer = if common { Peer::Present } else { Peer::OtherDialect };
            (peer, common.then_some(&**heard), we_higher(mac, *theirs))
        }
    };
    let weigher = Weigher { config, dialect, heard, higher, held };
    Status {
        dialect,
        evidence: selection.evidence,
        peer,
        ets: weigher.ets(),
        pfc: weigher.pfc(),
        applications: weigher.applications(),
        faults: match presence {
            Presence::One(_, heard) => heard.faults.clone(),
            Presence::Nobody | Presence::Several => Vec::new(),
        },
    }
}

/// Whether `ours` decides where both sides are willing.
pub(crate) fn we_higher(ours: MacAddr, theirs: MacAddr) -> bool {
    ours.octets() > theirs.octets()
}

struct Weigher<'a> {
    config: &'a Config,
    dialect: Dialect,
    /// What the peer says in our dialect.
    heard: Option<&'a Heard>,
    higher: bool,
    held: &'a Held,
}

/// What a peer says of a feature: what it does, what it would have us do, whether it is willing.
struct Theirs<T> {
    does: Option<T>,
    recommends: Option<T>,
    willing: Option<bool>,
    offer: Offer<T>,
    /// Whether one of two willing sides has to decide.
    tie: bool,
    /// The peer found both sides to be at odds.
    error: bool,
}

impl<T> Theirs<T> {
    const fn nobody() -> Self {
        Self::without(Offer::Nobody)
    }

    const fn without(offer: Offer<T>) -> Self {
        Self { does: None, recommends: None, willing: None, offer, tie: true, error: false }
    }
}

impl Weigher<'_> {
    fn ets(&self) -> Feature<EtsTable> {
        let ets = &self.config.ets;
        let usable = |table: EtsTable| match check_ets(&table, ets.max_classes) {
            Ok(()) => Offer::Made(table),
            Err(rule) => Offer::Refused(rule),
        };
        let (local, theirs) = match self.dialect {
            Dialect::Ieee => {
                let Some(heard) = self.heard else {
                    return self.feature(ets.mode, ets.table, self.held.ets, Theirs::nobody());
                };
                let willing = heard.ets.map(|theirs| theirs.willing);
                let does = heard.ets.map(|theirs| theirs.table);
                // Asymmetric: what is recommended counts, whoever is willing [Q 38].
                let recommends = heard.recommended.map(|theirs| theirs.0);
                let deciding = willing == Some(true) && self.higher;
                let (offer, tie) = match (recommends, does) {
                    (Some(table), _) => (usable(table), willing == Some(true) && !self.higher),
                    (None, Some(table)) if deciding => (Offer::Made(table), true),
                    (None, _) => (Offer::Unsaid, true),
                };
                (ets.table, Theirs { does, recommends, willing, offer, tie, error: false })
            }
            Dialect::Cee => {
                let local = cee_table(&ets.table);
                let theirs = self.cee(
                    |tlv| tlv.priority_groups.as_ref(),
                    |groups| {
                        common::table(groups)
                            .map_or(Err(no_group(groups)), |table| Ok((table, usable(table))))
                    },
                );
                (local, theirs)
            }
        };
        self.feature(ets.mode, local, self.held.ets, theirs)
    }

    fn pfc(&self) -> Feature<PrioritySet> {
        let pfc = &self.config.pfc;
        let usable = |enabled: PrioritySet| match check_pfc(enabled, pfc.capability) {
            Ok(()) => Offer::Made(enabled),
            Err(rule) => Offer::Refused(rule),
        };
        let theirs = match (self.dialect, self.heard) {
            (Dialect::Ieee, None) => Theirs::nobody(),
            (Dialect::Ieee, Some(heard)) => {
                heard.pfc.map_or(Theirs::without(Offer::Unsaid), |theirs| Theirs {
                    does: Some(theirs.enabled),
                    recommends: None,
                    willing: Some(theirs.willing),
                    offer: usable(theirs.enabled),
                    tie: true,
                    error: false,
                })
            }
            (Dialect::Cee, _) => {
                self.cee(|tlv| tlv.pfc.as_ref(), |theirs| Ok((theirs.enabled, usable(theirs.enabled))))
            }
        };
        self.feature(pfc.mode, pfc.enabled, self.held.pfc, theirs)
    }

    fn applications(&self) -> Feature<Vec<Application>> {
        let applications = &self.config.applications;
        let ours = in_order(applications.list.clone());
        let (local, theirs) = match (self.dialect, self.heard) {
            (Dialect::Ieee, None) => (ours, Theirs::nobody()),
            (Dialect::Ieee, Some(heard)) => {
                // The TLV does not tell who is willing. Of two willing sides the one with the lower address falls silent
                // as soon as it hears the other.
                let theirs = heard.applications.as_ref().map(|theirs| in_order(theirs.as_slice().to_vec()));
                let offer = theirs.clone().map_or(Offer::Unsaid, Offer::Made);
                (ours, Theirs { does: theirs, ..Theirs::without(offer) })
            }
            (Dialect::Cee, _) => {
                let theirs = self.cee(
                    |tlv| tlv.applications.as_ref(),
                    |said| {
                        let list = common::applications(said);
                        Ok((list.clone(), Offer::Made(list)))
                    },
                );
                (common::applications(&common::cee_applications(&ours)), theirs)
            }
        };
        self.feature(applications.mode, local, self.held.applications.clone(), theirs)
    }

    /// What a feature of CEE's TLV comes to.
    fn cee<S, T: Clone>(
        &self,
        feature: impl Fn(&CeeTlv) -> Option<&cee::Feature<S>>,
        read: impl Fn(&S) -> Result<(T, Offer<T>), Rule>,
    ) -> Theirs<T> {
        let Some(tlv) = self.heard.and_then(|heard| heard.cee_tlv.as_ref()) else { return Theirs::nobody() };
        let Some(theirs) = feature(tlv) else { return Theirs::without(Offer::Unsaid) };
        let (does, offer) = match read(&theirs.settings) {
            Ok((does, offer)) => (Some(does), offer),
            Err(rule) => (None, Offer::Refused(rule)),
        };
        let offer = if theirs.enabled { offer } else { Offer::Disabled };
        Theirs {
            does: does.filter(|_| theirs.enabled),
            recommends: None,
            willing: Some(theirs.willing),
            offer,
            tie: true,
            error: theirs.error,
        }
    }

    fn feature<T: Clone + PartialEq>(
        &self,
        mode: crate::Mode,
        local: T,
        held: Option<T>,
        theirs: Theirs<T>,
    ) -> Feature<T> {
        let basis = Basis {
            mode,
            local: &local,
            both: theirs.tie && theirs.willing == Some(true),
            we_higher: self.higher,
            held: held.as_ref(),
            met: self.held.met,
            on_peer_loss: self.config.on_peer_loss,
        };
        let (chosen, because) = decide(&basis, theirs.offer);
        let agreed = chosen.as_ref().zip(theirs.does.as_ref()).map(|(ours, does)| {
            // In CEE a willing side goes on saying its own: it does as we do unless it says it cannot.
            let follows = self.dialect == Dialect::Cee
                && theirs.willing == Some(true)
                && matches!(because, Because::NotWilling | Because::WeHigher);
            ours == does || follows && !theirs.error
        });
        Feature {
            mode,
            local,
            remote: theirs.does,
            recommended: theirs.recommends,
            remote_willing: theirs.willing,
            chosen,
            agreed,
            because,
        }
    }
}

/// A table as CEE can say it.
fn cee_table(table: &EtsTable) -> EtsTable {
    common::table(&common::priority_groups(table, 8)).unwrap_or(*table)
}

/// The first priority in a group that does not exist.
fn no_group(groups: &cee::CeePriorityGroups) -> Rule {
    let found = (0..).zip(groups.groups.numbers()).find(|(_, group)| (8..15).contains(group));
    let (priority, class) = found.unwrap_or_default();
    Rule::Class { priority, class, classes: 8 }
}
