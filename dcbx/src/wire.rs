//! What the codecs share.

use nom::{IResult, Parser, bytes::complete::take, combinator::map_opt};

/// The next `N` octets.
pub(crate) fn array<const N: usize>(input: &[u8]) -> IResult<&[u8], [u8; N]> {
    map_opt(take(N), |octets: &[u8]| octets.try_into().ok()).parse(input)
}

/// `mask` if `set`.
pub(crate) fn bit(set: bool, mask: u8) -> u8 {
    u8::from(set) * mask
}
