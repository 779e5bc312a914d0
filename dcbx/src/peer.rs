//! What the peer's LLDPDU says of DCBX, in every dialect, and what of it cannot be read.

use lldp::{OrgKey, OrgTlv, Oui};

use crate::{
    cee::{self, CeeTlv, CinTlv},
    ieee::{self, ApplicationPriority, EtsConfiguration, EtsRecommendation, Pfc},
    stats::Stats,
};

/// What the peer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Whether there is a TLV of IEEE's, readable or not.
    pub(crate) ieee: bool,
    pub(crate) ets: Option<EtsConfiguration>,
    pub(crate) recommended: Option<EtsRecommendation>,
    pub(crate) pfc: Option<Pfc>,
    pub(crate) applications: Option<ApplicationPriority>,
    /// Whether there is CEE's TLV, readable or not.
    pub(crate) cee: bool,
    pub(crate) cee_tlv: Option<CeeTlv>,
    /// Whether there is CIN's TLV, readable or not.
    pub(crate) cin: bool,
    /// What cannot be used, a line each.
    pub(crate) faults: Vec<String>,
}

impl Heard {
    /// Reads `tlvs`, those of other protocols included. A TLV that cannot be read is as if it had not been sent, and so
    /// are all of a kind that is sent more than once [Q D.2.8].
    pub(crate) fn read<'a>(tlvs: impl Iterator<Item = &'a OrgTlv>, stats: &mut Stats) -> Self {
        let mut heard = Self::default();
        let mut keys: Vec<(OrgKey, usize)> = Vec::new();
        let mut ours: Vec<&OrgTlv> = Vec::new();
        for tlv in tlvs.filter(|tlv| is_ours(tlv.key())) {
            match keys.iter_mut().find(|(key, _)| *key == tlv.key()) {
                Some((_, count)) => *count += 1,
                None => {
                    keys.push((tlv.key(), 1));
                    ours.push(tlv);
                }
            }
        }
        for (tlv, (key, count)) in ours.into_iter().zip(keys) {
            stats.received += 1;
            heard.note(key);
            if count > 1 {
                stats.duplicate += 1;
                heard.faults.push(format!("peer: TLV {key} stands {count} times and counts not at all"));
            } else if let Err(fault) = heard.take(tlv) {
                stats.malformed += 1;
                heard.faults.push(fault);
            }
        }
        heard
    }

    /// Whether there is any TLV of DCBX.
    pub(crate) const fn speaks(&self) -> bool {
        self.ieee || self.cee || self.cin
    }

    fn note(&mut self, key: OrgKey) {
        match (key.oui == CEE, key.subtype) {
            (true, CeeTlv::SUBTYPE) => self.cee = true,
            (true, _) => self.cin = true,
            (false, _) => self.ieee = true,
        }
    }

    fn take(&mut self, tlv: &OrgTlv) -> Result<(), String> {
        let (key, info) = (tlv.key(), tlv.info());
        let fault = |error: crate::IeeeError| error.to_string();
        match (key.oui == CEE, key.subtype) {
            (true, CeeTlv::SUBTYPE) => {
                self.cee_tlv = Some(CeeTlv::parse(info).map_err(|e| e.to_string())?);
            }
            (true, _) => drop(CinTlv::parse(info).map_err(|e| e.to_string())?),
            (false, EtsConfiguration::SUBTYPE) => {
                self.ets = Some(EtsConfiguration::parse(info).map_err(fault)?);
            }
            (false, EtsRecommendation::SUBTYPE) => {
                self.recommended = Some(EtsRecommendation::parse(info).map_err(fault)?);
            }
            (false, Pfc::SUBTYPE) => self.pfc = Some(Pfc::parse(info).map_err(fault)?),
            (false, _) => self.applications = Some(ApplicationPriority::parse(info).map_err(fault)?),
        }
        Ok(())
    }
}

/// The place of the TLV of IEEE's with `subtype`.
pub(crate) const fn ieee_key(subtype: u8) -> OrgKey {
    OrgKey { oui: Oui(ieee::OUI), subtype }
}

/// The place of CEE's TLV.
pub(crate) const CEE_KEY: OrgKey = OrgKey { oui: CEE, subtype: CeeTlv::SUBTYPE };

/// Whether a TLV belongs to DCBX.
fn is_ours(key: OrgKey) -> bool {
    let ieee =
        [EtsConfiguration::SUBTYPE, EtsRecommendation::SUBTYPE, Pfc::SUBTYPE, ApplicationPriority::SUBTYPE];
    key.oui == Oui(ieee::OUI) && ieee.contains(&key.subtype)
        || key.oui == CEE && [CeeTlv::SUBTYPE, CinTlv::SUBTYPE].contains(&key.subtype)
}

const CEE: Oui = Oui(cee::OUI);
