//! What programs and this process share: one piece of memory, in octets.
//!
//! The generation of all decisions; the epochs of addresses, each for those that fall on it; a row for each socket; the
//! flows. A flow holds while the generation and the epochs of its two addresses are those it was decided at.

use ether::{MacAddr, mac};

/// Flows there is room for; a power of two.
pub(super) const FLOWS_MOST: usize = 8192;
/// Octets from flow to flow.
pub(super) const FLOW: usize = 128;
/// Epochs of addresses; a power of two.
const EPOCHS_MOST: usize = 4096;
/// Octets from row to row.
const ROW: usize = 128;

/// Where the generation of all decisions is.
pub(super) const GENERATION: i16 = 0;
/// Where epochs begin.
pub(super) const EPOCHS: i16 = 4096;
/// Of an offset that begins there, the bits that say which epoch.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it is small")]
pub(super) const EPOCHS_MASK: i32 = ((EPOCHS_MOST - 1) * 8) as i32;
/// Where flows begin.
pub(super) const FLOWS: usize = 4096 + EPOCHS_MOST * 8;
/// Of an offset that begins there, the bits that say which flow.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "it is small")]
pub(super) const FLOWS_MASK: i32 = ((FLOWS_MOST - 1) * FLOW) as i32;
const ROWS: usize = FLOWS + FLOWS_MOST * FLOW;

/// The bit beside the tag in a key that says there is one.
pub(super) const TAGGED: i32 = 1 << 16;
/// Rows there can be: a key has as many bits for them.
pub(super) const ROWS_MOST: usize = 1 << 15;

/// Of what an action says, in the bits from 48 on: take the tag off, put one on.
pub(super) const POP: i32 = 1;
pub(super) const PUSH: i32 = 2;

/// Numbers of a flow, by their place in it.
pub(super) mod flow {
    /// Two numbers.
    pub(in super::super) const KEY: i16 = 0;
    /// When it was decided; 0: it does not hold.
    pub(in super::super) const GENERATION: i16 = 16;
    /// The number of its last frame that went to the socket; all ones: not known yet.
    pub(in super::super) const FENCE: i16 = 24;
    /// Interface, tag control word from bit 32 on, and what to do from bit 48 on.
    pub(in super::super) const ACTION: i16 = 32;
    /// The longest packet that may leave.
    pub(in super::super) const LIMIT: i16 = 40;
    /// Which epoch is that of its source, and what it was when it was decided.
    pub(in super::super) const SOURCE: i16 = 48;
    pub(in super::super) const SOURCE_EPOCH: i16 = 56;
    pub(in super::super) const DESTINATION: i16 = 64;
    pub(in super::super) const DESTINATION_EPOCH: i16 = 72;
    /// Not 0: nothing of it goes to the socket any more, which was behind.
    pub(in super::super) const DRAINS: i16 = 80;
    /// What went fast.
    pub(in super::super) const FRAMES: i16 = 96;
    pub(in super::super) const OCTETS: i16 = 104;
}

/// Numbers of a socket's row, by their place in it.
pub(super) mod row {
    /// Frames that went to the socket.
    pub(in super::super) const DELIVERED: i16 = 0;
    /// Frames that were refused, for the socket was behind.
    pub(in super::super) const REFUSED: i16 = 8;
    /// Of the frames that went to the socket, how many have been dealt with; from the oldest on.
    pub(in super::super) const DONE: i16 = 64;
}

/// Octets of all, with so many rows.
pub(super) fn size(rows: usize) -> u32 {
    u32::try_from(ROWS + rows * ROW).unwrap_or(u32::MAX)
}

/// Where a socket's row is.
pub(super) const fn row(number: usize) -> usize {
    ROWS + number * ROW
}

/// Where a flow is, and how the index tells programs.
pub(super) const fn flow(number: usize) -> usize {
    FLOWS + number * FLOW
}

/// Which of the epochs is that of `mac`, in octets from where they begin.
pub(super) fn epoch(mac: MacAddr) -> u64 {
    let spread = mac::to_u64(mac).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread >> 52 & (EPOCHS_MOST as u64 - 1)) * 8
}

/// A row's number as it stands in keys.
pub(super) fn row_in_key(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(0) << 17
}

/// What the index finds a flow by: the row of the socket it comes in by, addresses, and the tag control word if tagged.
pub(super) fn key(number: usize, dst: MacAddr, src: MacAddr, tci: Option<u16>) -> [u64; 2] {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (dst.octets(), src.octets());
    let tag = tci.map_or(0, |tci| u32::from(tci) | TAGGED.cast_unsigned());
    let [m, n, o, p] = (tag | row_in_key(number)).to_ne_bytes();
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
}
