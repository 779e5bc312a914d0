//! Counters of an agent, under the names of the managed objects, and one per receive error [AB 9.2.6].

use serde::Serialize;

use crate::{
    content::Content,
    error::{PeerPduError, PeerTlvFault},
    org::OrgTlv,
    tlv::PeerTlvError,
};

/// What an agent has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// LLDPDUs sent, shutdown ones included.
    #[doc(alias = "statsFramesOutTotal")]
    pub frames_out_total: u64,
    /// LLDPDUs sent with TLVs left out for want of room.
    #[doc(alias = "lldpduLengthErrors")]
    pub lldpdu_length_errors_total: u64,
    /// The TLVs left out of them.
    pub tlvs_omitted_total: u64,
    /// LLDPDUs received while the agent receives.
    #[doc(alias = "statsFramesInTotal")]
    pub frames_in_total: u64,
    /// Of these, with an error in the LLDPDU or in a TLV.
    #[doc(alias = "statsFramesInErrorsTotal")]
    pub frames_in_errors_total: u64,
    /// Of these, discarded whole, for whatever reason.
    #[doc(alias = "statsFramesDiscardedTotal")]
    pub frames_discarded_total: u64,
    /// TLVs discarded for an error in them.
    #[doc(alias = "statsTLVsDiscardedTotal")]
    pub tlvs_discarded_total: u64,
    /// TLVs of reserved types; they are kept.
    #[doc(alias = "statsTLVsUnrecognizedTotal")]
    pub tlvs_unrecognized_total: u64,
    /// Organizational TLVs of 802.1, 802.3 and MED whose contents cannot be read, [`PeerOrgFault`]; they are kept.
    ///
    /// [`PeerOrgFault`]: crate::error::PeerOrgFault
    pub org_tlvs_unreadable_total: u64,
    /// Neighbours lost because their TTL ended.
    #[doc(alias = "statsAgeoutsTotal")]
    pub ageouts_total: u64,
    /// LLDPDUs of neighbours there is no room for.
    #[doc(alias = "lldpV2StatsRemTablesDrops")]
    pub too_many_neighbors_total: u64,
    /// LLDPDUs that carry our own chassis and port ID: something sends our frames back.
    pub frames_own_total: u64,
    /// LLDPDUs that came while the port was down or the agent did not receive; they count nowhere else.
    pub frames_refused_total: u64,
    /// The receive errors one by one.
    pub errors: ErrorCounters,
}

/// One counter per receive error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrorCounters {
    /// [`PeerTlvError::HeaderCut`].
    pub tlv_header_cut: u64,
    /// [`PeerTlvError::Overrun`].
    pub tlv_overrun: u64,
    /// [`PeerPduError::Mandatory`].
    pub mandatory: u64,
    /// [`PeerPduError::IdLength`].
    pub id_length: u64,
    /// [`PeerPduError::TtlLength`].
    pub ttl_length: u64,
    /// [`PeerPduError::Duplicate`].
    pub duplicate: u64,
    /// [`PeerTlvFault::TextLength`].
    pub text_length: u64,
    /// [`PeerTlvFault::CapabilitiesLength`].
    pub capabilities_length: u64,
    /// [`PeerTlvFault::ManagementAddressLength`].
    pub management_address_length: u64,
    /// [`PeerTlvFault::ManagementAddressOid`].
    pub management_address_oid: u64,
    /// [`PeerTlvFault::ManagementAddressFields`].
    pub management_address_fields: u64,
    /// [`PeerTlvFault::OrgLength`].
    pub org_length: u64,
    /// [`PeerTlvFault::EndLength`].
    pub end_length: u64,
}

impl Counters {
    pub(crate) fn pdu_error(&mut self, error: PeerPduError) {
        self.frames_in_errors_total += 1;
        self.frames_discarded_total += 1;
        let errors = &mut self.errors;
        *match error {
            PeerPduError::Tlv(PeerTlvError::HeaderCut { .. }) => &mut errors.tlv_header_cut,
            PeerPduError::Tlv(PeerTlvError::Overrun { .. }) => &mut errors.tlv_overrun,
            PeerPduError::Mandatory { .. } => &mut errors.mandatory,
            PeerPduError::IdLength { .. } => &mut errors.id_length,
            PeerPduError::TtlLength { .. } => &mut errors.ttl_length,
            PeerPduError::Duplicate { .. } => &mut errors.duplicate,
        } += 1;
    }

    /// Counts the TLVs of an LLDPDU that was not discarded: `faults` and `unknown` of reserved types.
    pub(crate) fn tlvs(&mut self, faults: &[PeerTlvFault], unknown: usize) {
        self.tlvs_unrecognized_total += count(unknown);
        self.tlvs_discarded_total += count(faults.len());
        self.frames_in_errors_total += u64::from(!faults.is_empty());
        let errors = &mut self.errors;
        for fault in faults {
            *match fault {
                PeerTlvFault::TextLength { .. } => &mut errors.text_length,
                PeerTlvFault::CapabilitiesLength { .. } => &mut errors.capabilities_length,
                PeerTlvFault::ManagementAddressLength { .. } => &mut errors.management_address_length,
                PeerTlvFault::ManagementAddressOid { .. } => &mut errors.management_address_oid,
                PeerTlvFault::ManagementAddressFields { .. } => &mut errors.management_address_fields,
                PeerTlvFault::OrgLength { .. } => &mut errors.org_length,
                PeerTlvFault::EndLength { .. } => &mut errors.end_length,
            } += 1;
        }
    }

    /// Counts the organizational TLVs of an LLDPDU that was not discarded.
    pub(crate) fn contents(&mut self, org: &[OrgTlv]) {
        self.org_tlvs_unreadable_total += count(org.iter().filter(|tlv| Content::read(tlv).is_err()).count());
    }

    /// Counts an LLDPDU sent with `omitted` TLVs left out.
    pub(crate) fn sent(&mut self, omitted: usize) {
        self.frames_out_total += 1;
        self.lldpdu_length_errors_total += u64::from(omitted > 0);
        self.tlvs_omitted_total += count(omitted);
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
