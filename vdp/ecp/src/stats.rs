//! Counters of one ECP instance [Q 12.26, ECP objects], never reset while it lives.

use serde::Serialize;

use crate::error::HeaderError;

/// What a [`Link`](crate::Link) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests put on the wire for the first time.
    #[doc(alias = "TxFrameCount")]
    pub tx_frames: u64,
    /// Requests put on the wire again because no acknowledgement came.
    #[doc(alias = "TxRetryCount")]
    pub tx_retries: u64,
    /// Requests given up after the last transmission, and those flushed by a reset.
    #[doc(alias = "TxFailures")]
    pub tx_failures: u64,
    /// Upper-layer PDUs refused because the queue was full.
    pub tx_queue_full: u64,
    /// Acknowledgements sent.
    pub tx_acks: u64,
    /// Requests received and delivered.
    #[doc(alias = "RxFrameCount")]
    pub rx_frames: u64,
    /// Requests received again: acknowledged, not delivered.
    pub rx_duplicates: u64,
    /// Acknowledgements received for the outstanding request.
    pub rx_acks: u64,
    /// Acknowledgements received for anything else: ignored.
    pub rx_bad_acks: u64,
    /// PDUs shorter than the header.
    pub rx_short: u64,
    /// PDUs of another version.
    pub rx_bad_version: u64,
    /// PDUs with an unknown operation.
    pub rx_bad_operation: u64,
    /// PDUs of another subtype than this instance's: not acknowledged.
    pub rx_other_subtype: u64,
}

impl Stats {
    pub(crate) fn count_error(&mut self, error: HeaderError) {
        *match error {
            HeaderError::Short(_) => &mut self.rx_short,
            HeaderError::PeerVersion(_) => &mut self.rx_bad_version,
            HeaderError::PeerOperation(_) => &mut self.rx_bad_operation,
        } += 1;
    }
}
