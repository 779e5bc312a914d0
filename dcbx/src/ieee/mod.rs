//! DCBX of IEEE 802.1Q: the four TLVs of OUI 00-80-C2 [Q D.2.8 to D.2.11].
//!
//! Each is advertised for itself; whether the peer changes its own settings by ours is told by *willing* [Q 38].

mod application;
mod ets;
mod pfc;

pub use application::{Application, ApplicationPriority, Selector};
pub use ets::{ClassCount, EtsConfiguration, EtsRecommendation, EtsTable, SelectionAlgorithm};
pub use pfc::{Pfc, PfcCapability};

/// The organization of the TLVs: IEEE 802.1.
pub const OUI: [u8; 3] = [0x00, 0x80, 0xc2];

#[cfg(test)]
mod tests;
