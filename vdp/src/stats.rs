//! Counters of the two ends of VDP on one port [Q 12.26], never reset while the end lives.

use serde::Serialize;

use crate::{
    error::{ErrorCode, PduError, TlvError},
    tlv::{Item, Vdpdu},
};

/// What was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReceiveStats {
    /// VDPDUs.
    pub pdus: u64,
    /// VDPDUs dropped because their TLVs cannot be told apart.
    pub pdus_cut: u64,
    /// VDPDUs dropped for want of a VSI manager ID in front.
    pub pdus_without_manager: u64,
    /// VDPDUs dropped because the VSI manager ID has a wrong length.
    pub pdus_manager_length: u64,
    /// VDPDUs dropped because of a second VSI manager ID.
    pub pdus_second_manager: u64,
    /// Association TLVs.
    pub associations: u64,
    /// TLVs of invalid format (error 1).
    pub tlvs_invalid_format: u64,
    /// TLVs with an invalid VID, GroupID or MAC address (error 5).
    pub tlvs_invalid_address: u64,
    /// Organizationally defined TLVs: ignored.
    pub tlvs_organizational: u64,
    /// TLVs of unknown type: ignored.
    pub tlvs_unknown: u64,
    /// Association TLVs only the other end may receive: requests at the station, responses at the bridge.
    pub tlvs_wrong_direction: u64,
}

impl ReceiveStats {
    /// Reads a VDPDU and counts what it is and what is in it.
    pub(crate) fn parse(&mut self, payload: &[u8]) -> Option<Vdpdu> {
        self.pdus += 1;
        match Vdpdu::parse(payload) {
            Ok(pdu) => {
                pdu.items.iter().for_each(|item| self.count_item(item));
                Some(pdu)
            }
            Err(error) => {
                *match error {
                    PduError::Tlv(_) => &mut self.pdus_cut,
                    PduError::NoManager(_) => &mut self.pdus_without_manager,
                    PduError::ManagerLength(_) => &mut self.pdus_manager_length,
                    PduError::SecondManager => &mut self.pdus_second_manager,
                } += 1;
                None
            }
        }
    }

    fn count_item(&mut self, item: &Item) {
        *match item {
            Item::Association(_) => &mut self.associations,
            Item::Organizational { .. } => &mut self.tlvs_organizational,
            Item::Malformed(bad) => self.bad_tlv(bad.error),
            Item::Unknown { .. } => &mut self.tlvs_unknown,
        } += 1;
    }

    fn bad_tlv(&mut self, error: TlvError) -> &mut u64 {
        match error.code() {
            ErrorCode::InvalidVidGroupOrMac => &mut self.tlvs_invalid_address,
            _ => &mut self.tlvs_invalid_format,
        }
    }
}

/// What a [`Station`](crate::Station) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StationStats {
    /// What was received.
    pub rx: ReceiveStats,
    /// Association TLVs to be sent, keep-alives included.
    pub tx_tlvs: u64,
    /// Keep-alives sent.
    pub keep_alives: u64,
    /// Commands the bridge carried out.
    #[doc(alias = "CommandsSucceeded")]
    pub succeeded: u64,
    /// Commands that failed for whatever reason.
    #[doc(alias = "CommandsFailed")]
    pub failed: u64,
    /// Commands refused with the old association kept.
    #[doc(alias = "CommandReverts")]
    pub reverts: u64,
    /// Answers that did not come in time.
    pub timeouts: u64,
    /// TLVs about a VSI that is not here: ignored.
    pub unknown_vsi: u64,
    /// TLVs that answer nothing outstanding, or de-associate something that is not: ignored.
    pub stale: u64,
    /// VDPDUs ECP gave up.
    pub ecp_failures: u64,
}

/// What a [`Bridge`](crate::Bridge) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BridgeStats {
    /// What was received.
    pub rx: ReceiveStats,
    /// VDPDUs ignored because there is no EVB agreement with who sent them.
    pub pdus_unagreed: u64,
    /// Association TLVs to be sent.
    pub tx_tlvs: u64,
    /// Requests that were keep-alives.
    pub keep_alives: u64,
    /// Requests repeated while their first instance was being worked on: not answered twice.
    pub repeated: u64,
    /// Commands carried out.
    #[doc(alias = "CommandsSucceeded")]
    pub succeeded: u64,
    /// Commands refused.
    #[doc(alias = "CommandsFailed")]
    pub failed: u64,
    /// Of those, with the old association kept.
    #[doc(alias = "CommandReverts")]
    pub reverts: u64,
    /// Commands refused because the table was full.
    pub table_full: u64,
    /// Queries not answered within resourceWaitDelay.
    pub resource_timeouts: u64,
    /// VSIs removed because nothing was heard of them within toutKeepAlive.
    pub keep_alive_timeouts: u64,
    /// De-Associates the bridge decided on itself.
    pub withdrawn: u64,
    /// Answers to queries that no longer stand: ignored.
    pub stale_answers: u64,
}
