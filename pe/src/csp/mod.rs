//! The control and status protocol between a controlling bridge and a port extender [BR 9]: a code book, the PDUs it
//! spells, and the session over ECP.
//!
//! UNSURE-U1, UNSURE-U2, UNSURE-U3, UNSURE-U5: no public source has the numbers and layouts of the standard. They are data, a
//! [`CodeBook`]; P0 is our own and is spoken only to whom says in LLDP that it has the same book ([`crate::marker`]).

pub mod codebook;
mod layout;
pub mod message;
pub mod name;
pub mod session;
pub mod tlv;

pub use codebook::{BookError, CodeBook, Vector};
pub use message::{Completion, Message, Pdu, PduError};
pub use name::{Name, Named, Names, NoName};
pub use session::{Session, SessionState, Why};
pub use tlv::{Capability, Counters, PortItem, PortParameters, PortStatus, Tlv, VidItem};

#[cfg(test)]
mod tests;
