//! Draft 0.2 of 802.1Qbg, as lldpad and libvirt in the field still speak it: another EVB TLV, and VDP in TLVs of an OUI.
//!
//! There is no machine of it here. What a draft peer says is put into the octets of the standard ([`EvbDraft`],
//! [`to_standard`]) and handed to the same machines; what they say is put into those of the draft ([`from_standard`]).
//! The text of the draft is not to be had any more: all of this is after what lldpad sends and takes.

mod evb;
mod pdu;

pub use evb::{EvbDraft, ShortEvbDraft};
pub use pdu::{Receiver, from_standard, to_standard, unsayable};

#[cfg(test)]
mod tests;
