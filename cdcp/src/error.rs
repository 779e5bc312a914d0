//! What can be wrong with a CDCP TLV and its list of channels [Q D.2.13].

use serde::Serialize;

/// Why a received CDCP TLV cannot be used. The peer is to blame for every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum CdcpTlvError {
    /// No room for role and capacity; holds the number of octets after OUI and subtype.
    #[error("peer: a CDCP TLV with {0} octets after its subtype, role and capacity take 4")]
    Short(usize),
    /// The octets after role and capacity are not whole pairs; holds their number.
    #[error("peer: {0} octets of channels in a CDCP TLV are not pairs of 3 octets")]
    PartialPair(usize),
    /// The number of S-channels the sender supports is not one of 1 to 167; holds it.
    #[error("peer: a CDCP TLV claims support for {0} S-channels, allowed are 1 to 167")]
    Capacity(u16),
    /// The sender packs its pairs with the least significant bit first. UNSURE-4.
    #[error("peer: packs the pairs of its CDCP TLV with the least significant bit first")]
    LsbFirst,
    /// The list of channels is wrong.
    #[error("peer: {0}")]
    Channels(#[from] ChannelError),
}

/// Why numbers are no list of S-channels, received or built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ChannelError {
    /// An SCID outside 1..=167.
    #[error("S-channel {scid} at place {index} of the list, allowed are 1 to 167")]
    Scid {
        /// Its place in the list, from 0.
        index: usize,
        /// The twelve-bit number.
        scid: u16,
    },
    /// SVID 4095.
    #[error("reserved SVID 4095 at place {index} of the list of S-channels")]
    Svid {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// An SCID that stands before in the list.
    #[error("S-channel {scid} a second time at place {index} of the list")]
    Duplicate {
        /// The place of the second one, from 0.
        index: usize,
        /// The SCID.
        scid: u16,
    },
    /// A list led by S-channel 16 with SVID 256: on the wire it is what an LSB-first peer sends for (1, 1). UNSURE-4.
    #[error("a list led by S-channel 16 with SVID 256 reads as one packed least significant bit first")]
    ReadsAsLsbFirst,
}
