//! DCBX as it was before IEEE 802.1Q had it: two TLVs of OUI 00-1B-21, each a sequence of sub-TLVs.
//!
//! [`CeeTlv`] is that of Converged Enhanced Ethernet, version 1.01; [`CinTlv`] the older one, version 1.00, called CIN
//! or pre-CEE. Both number their sub-TLVs and count their changes alike, in [`Control`] and [`Feature`]. Neither is an
//! IEEE standard: the layouts are those lldpad sends and accepts.
//!
//! One malformed sub-TLV costs the whole TLV: the control sub-TLV acknowledges all of them or none. Sub-TLVs that are
//! not known are kept, and written after the known ones.

mod cin;
pub(crate) mod common;
mod nested;
mod tlv;

pub use cin::{CinPriorityGroups, CinShare, CinTlv, LinkStatus, Strictness};
pub use nested::{Control, Feature, UnknownSubTlv};
pub use tlv::{CeeApplication, CeeApplications, CeePfc, CeePriorityGroups, CeeSelector, CeeTlv};

/// The organization of the TLVs: Intel.
pub const OUI: [u8; 3] = [0x00, 0x1b, 0x21];

#[cfg(test)]
mod tests;
