//! What we say: our TLVs, made of what is configured and what is operational.

use std::collections::BTreeMap;

use bytes::Bytes;
use ether::MacAddr;
use lldp::OrgKey;

use crate::{
    cee::{CeePfc, CeeTlv, Control, Feature as Said, common},
    config::Config,
    ieee::{ApplicationPriority, EtsConfiguration, EtsRecommendation, EtsTable, Pfc},
    machine::{Handshake, Presence, Status},
    oper::{Because, Feature},
    peer::{CEE_KEY, ieee_key},
    weigh::we_higher,
};

/// The TLVs of IEEE's dialect: what is operational, and what we would have the peer do [Q D.2.8 to D.2.11].
pub(crate) fn ieee(
    config: &Config,
    mac: MacAddr,
    presence: &Presence,
    status: &Status,
) -> BTreeMap<OrgKey, Bytes> {
    let mut said = BTreeMap::new();
    let higher = matches!(presence, Presence::One(theirs, _) if we_higher(mac, *theirs));
    if let Some(table) = status.ets.chosen {
        let willing = status.ets.mode.is_willing();
        let configuration = EtsConfiguration {
            willing,
            credit_based_shaper: false,
            max_classes: config.ets.max_classes,
            table,
        };
        said.insert(ieee_key(EtsConfiguration::SUBTYPE), configuration.to_bytes());
        let both = willing && status.ets.remote_willing == Some(true);
        if !willing || both && higher {
            said.insert(ieee_key(EtsRecommendation::SUBTYPE), EtsRecommendation(table).to_bytes());
        }
    }
    if let Some(enabled) = status.pfc.chosen {
        let capability = config.pfc.capability;
        let pfc = Pfc { willing: status.pfc.mode.is_willing(), mbc: false, capability, enabled };
        said.insert(ieee_key(Pfc::SUBTYPE), pfc.to_bytes());
    }
    // DEVIATES [Q 38, D.2.11]: applications are informational there, and their TLV does not tell who is willing. So that two
    // willing sides end equal, the one with the lower address falls silent about its own as soon as it hears the other's.
    let yields = status.applications.mode.is_willing() && status.applications.remote.is_some() && !higher;
    if let Some(list) = status.applications.chosen.as_ref().filter(|_| !yields) {
        // As many as were heard in one TLV, or fewer.
        if let Ok(tlv) = ApplicationPriority::new(list.clone()) {
            said.insert(ieee_key(ApplicationPriority::SUBTYPE), tlv.to_bytes());
        }
    }
    said
}

/// The features of CEE's TLV: always ours, whoever decides, without sequence numbers.
pub(crate) fn cee(config: &Config, status: &Status) -> CeeTlv {
    let classes = config.ets.max_classes.get();
    let groups = |table: &EtsTable| common::priority_groups(table, classes);
    let pfc = |enabled: &_| CeePfc { enabled: *enabled, classes: config.pfc.capability.get() };
    CeeTlv {
        control: Control::default(),
        priority_groups: feature(&status.ets, groups),
        pfc: feature(&status.pfc, pfc),
        applications: feature(&status.applications, |list| common::cee_applications(list)),
        unknown: Vec::new(),
    }
}

/// The TLV with its sequence numbers; none if no feature is said.
pub(crate) fn cee_tlv(features: CeeTlv, handshake: Handshake, speaks: bool) -> BTreeMap<OrgKey, Bytes> {
    let control = Control {
        operating_version: 0,
        max_version: 0,
        sequence: handshake.sequence,
        acknowledged: handshake.peer_sequence,
    };
    // It fits: there are at most 64 applications of our own.
    let octets = CeeTlv { control, ..features }.to_bytes().ok().filter(|_| speaks);
    octets.map(|octets| (CEE_KEY, octets)).into_iter().collect()
}

/// One feature, in error when neither side gives way or the peer's cannot be used.
fn feature<T, S>(status: &Feature<T>, settings: impl Fn(&T) -> S) -> Option<Said<S>> {
    let stuck = match status.because {
        Because::NotWilling => status.remote_willing == Some(false) && status.agreed == Some(false),
        Because::Refused(_) => true,
        _ => false,
    };
    status.mode.speaks().then(|| Said {
        operating_version: 0,
        max_version: 0,
        enabled: true,
        willing: status.mode.is_willing(),
        error: stuck,
        settings: settings(&status.local),
    })
}
