//! What one end of a session has counted, never reset while it lives.

use serde::Serialize;

/// Counters of a session. The MIB counts errors of requests and of responses for each role; a session has one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests sent.
    pub tx_requests: u64,
    /// Answers sent.
    pub tx_responses: u64,
    /// Requests received.
    pub rx_requests: u64,
    /// Answers received.
    pub rx_responses: u64,
    /// Requests received that could not be read or were refused.
    pub rx_request_errors: u64,
    /// Answers received that could not be read, say no, or answer nothing.
    pub rx_response_errors: u64,
    /// PDUs received from an address that is not the peer's, or while there is none to talk to.
    pub rx_foreign: u64,
    /// How often the session came to be open.
    pub opened: u64,
    /// How often it ended or could not be opened.
    pub failed: u64,
}
