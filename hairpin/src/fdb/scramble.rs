//! Which bucket a key belongs to.

use super::Key;

/// A bijection on numbers of [`Key::BITS`] bits that spreads keys over buckets. The seed only makes it harder to
/// choose keys that meet; this is no cipher.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scramble {
    pub(super) seed: u64,
}

impl Scramble {
    pub(super) fn apply(self, key: u64) -> u64 {
        let a = (key ^ self.seed).wrapping_mul(FACTORS.0) & Key::MASK;
        let b = (a ^ (a >> HALF) ^ self.seed.rotate_left(HALF)).wrapping_mul(FACTORS.1) & Key::MASK;
        b ^ (b >> HALF)
    }

    pub(super) fn undo(self, scrambled: u64) -> u64 {
        let b = scrambled ^ (scrambled >> HALF);
        let a = (b.wrapping_mul(INVERSES.1) ^ self.seed.rotate_left(HALF)) & Key::MASK;
        ((a ^ (a >> HALF)).wrapping_mul(INVERSES.0) ^ self.seed) & Key::MASK
    }
}

/// The inverse of an odd number modulo 2^64: each round doubles the bits that are right, of which 3 are at the start.
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut right = 3;
    while right < u64::BITS {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        right *= 2;
    }
    x
}

const HALF: u32 = Key::BITS / 2;
const FACTORS: (u64, u64) = (0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93);
const INVERSES: (u64, u64) = (inverse(FACTORS.0), inverse(FACTORS.1));
