//! IEEE 802.1Q clause 43: the edge control protocol, sans-IO.
//!
//! ECP carries the PDUs of an upper layer (VDP, PE-CSP) to the other end of one link: stop and wait, in order,
//! acknowledged, without duplicates; after a bounded number of transmissions a PDU is given up. A [`Link`] is one
//! instance of the protocol: both machines of one (port, subtype). What it carries is opaque to it.
//!
//! The caller hands in PDUs ([`Link::handle_pdu`]), upper-layer requests ([`Link::send`]) and the passing of time
//! ([`Link::handle_timeout`]), and after each of them drains [`Link::poll_output`].

mod draft;
mod error;
mod header;
mod link;
mod rx;
mod stats;
mod tx;

pub use draft::Dialect;
pub use error::{HeaderError, QueueFull};
pub use header::{Header, Operation, Seq, Subtype, peek_subtype};
pub use link::{Limits, Link, Output, Params, Status};
pub use stats::Stats;
