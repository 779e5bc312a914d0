//! The TLV of LLDP, VDP and CDCP alike: seven bits of type, nine bits of length, then the value [AB 8.4].
//!
//! Knows no type and no meaning, not even the End TLV: whoever reads a PDU says what its types are and where it stops.

use core::fmt;

use bytes::BufMut;
use nom::{IResult, bytes::complete::take, number::complete::be_u16};
use serde::Serialize;

/// Octets of type and length.
pub const HEADER: usize = 2;
/// The longest value the nine-bit length can tell.
pub const MAX_VALUE: usize = 511;

/// The seven-bit type of a TLV, 0..=127.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct TlvType(u8);

impl TlvType {
    /// The type in the low seven bits of `bits`; the top bit is ignored.
    #[must_use]
    pub const fn from_low_bits(bits: u8) -> Self {
        Self(bits & 0x7f)
    }

    /// The number, 0..=127.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for TlvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TlvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlvType({})", self.0)
    }
}

/// One TLV, borrowed from the PDU it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its type.
    pub kind: TlvType,
    /// Its information string, at most [`MAX_VALUE`] octets.
    pub value: &'a [u8],
    /// Where its header starts, in octets from the start of the PDU.
    pub offset: usize,
}

/// Why octets are not a sequence of TLVs. The peer's fault; what follows cannot be read either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PeerTlvError {
    /// One octet is left where a header of two should be.
    #[error("peer: TLV header cut short at offset {offset}")]
    HeaderCut {
        /// Where the header starts.
        offset: usize,
    },
    /// The value runs past the end of the PDU.
    #[error("peer: TLV of type {kind} at offset {offset} claims {length} octets, {left} are left")]
    Overrun {
        /// The type it names.
        kind: TlvType,
        /// Where its header starts.
        offset: usize,
        /// The length it claims.
        length: usize,
        /// The octets after its header.
        left: usize,
    },
}

/// Why a TLV was not written. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalTlvError {
    /// The value is longer than [`MAX_VALUE`]; holds its length.
    #[error("local: a TLV value of {0} octets is longer than 511")]
    TooLong(usize),
    /// The buffer has no room for the TLV, header included; holds what it needs.
    #[error("local: no room for a TLV of {0} octets")]
    NoRoom(usize),
}

/// The TLVs of a PDU in order. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Tlvs<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Tlvs<'a> {
    /// Reads `pdu`, which starts at a TLV header.
    #[must_use]
    pub const fn new(pdu: &'a [u8]) -> Self {
        Self { rest: pdu, offset: 0 }
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Result<Tlv<'a>, PeerTlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        let before = core::mem::take(&mut self.rest);
        if before.is_empty() {
            return None;
        }
        Some(read(before, self.offset).map(|(rest, tlv)| {
            self.offset += before.len() - rest.len();
            self.rest = rest;
            tlv
        }))
    }
}

/// Appends a TLV to `out`.
///
/// # Errors
/// When `value` is longer than [`MAX_VALUE`] or `out` has no room; `out` is then unchanged.
pub fn put(out: &mut impl BufMut, kind: TlvType, value: &[u8]) -> Result<(), LocalTlvError> {
    let too_long = LocalTlvError::TooLong(value.len());
    let length = u16::try_from(value.len()).ok().filter(|&l| l <= LENGTH).ok_or(too_long)?;
    if out.remaining_mut() < HEADER + value.len() {
        return Err(LocalTlvError::NoRoom(HEADER + value.len()));
    }
    out.put_u16(u16::from(kind.0) << 9 | length);
    out.put_slice(value);
    Ok(())
}

fn read(input: &[u8], offset: usize) -> Result<(&[u8], Tlv<'_>), PeerTlvError> {
    let (rest, head) = header(input).map_err(|_| PeerTlvError::HeaderCut { offset })?;
    let [high, _] = head.to_be_bytes();
    let kind = TlvType(high >> 1);
    let length = head & LENGTH;
    let (rest, value) = value(rest, length).map_err(|_| PeerTlvError::Overrun {
        kind,
        offset,
        length: usize::from(length),
        left: rest.len(),
    })?;
    Ok((rest, Tlv { kind, value, offset }))
}

fn header(input: &[u8]) -> IResult<&[u8], u16> {
    be_u16(input)
}

fn value(input: &[u8], length: u16) -> IResult<&[u8], &[u8]> {
    take(length)(input)
}

/// The length bits of the header.
const LENGTH: u16 = 0x01ff;

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use proptest::prelude::*;

    use super::*;

    const ORG: TlvType = TlvType::from_low_bits(127);

    /// EVB-1 of the specification, then an End TLV.
    const TWO: [u8; 13] = [0xfe, 0x09, 0, 0x80, 0xc2, 0x0d, 0, 7, 0x6e, 0x94, 0x14, 0, 0];

    #[test]
    fn vector_both_ways() {
        let tlvs: Vec<_> = Tlvs::new(&TWO).collect::<Result<_, _>>().unwrap();
        let evb = Tlv { kind: ORG, value: &TWO[2..11], offset: 0 };
        assert_eq!(tlvs, [evb, Tlv { kind: TlvType::from_low_bits(0), value: &[], offset: 11 }]);

        let mut out = [0xa5; 14];
        let mut cursor = &mut out[..];
        for tlv in tlvs {
            put(&mut cursor, tlv.kind, tlv.value).unwrap();
        }
        assert_eq!(out[..13], TWO);
        assert_eq!(out[13], 0xa5);
    }

    #[test]
    fn every_truncation() {
        for len in 0..11 {
            let read: Vec<_> = Tlvs::new(&TWO[..len]).collect();
            match len {
                0 => assert!(read.is_empty()),
                1 => assert_eq!(read, [Err(PeerTlvError::HeaderCut { offset: 0 })]),
                _ => assert_eq!(
                    read,
                    [Err(PeerTlvError::Overrun { kind: ORG, offset: 0, length: 9, left: len - 2 })]
                ),
            }
        }
        let read: Vec<_> = Tlvs::new(&TWO[..12]).collect();
        assert_eq!((read.len(), read[1]), (2, Err(PeerTlvError::HeaderCut { offset: 11 })));
    }

    #[test]
    fn longest_value_uses_the_ninth_bit() {
        let mut out = BytesMut::new();
        put(&mut out, TlvType::from_low_bits(1), &[7; MAX_VALUE]).unwrap();
        assert_eq!(out[..2], [0x03, 0xff]);
        assert_eq!(put(&mut out, ORG, &[7; MAX_VALUE + 1]), Err(LocalTlvError::TooLong(MAX_VALUE + 1)));
        assert_eq!(out.len(), HEADER + MAX_VALUE);
    }

    #[test]
    fn a_full_buffer_is_left_alone() {
        let mut out = BytesMut::new().limit(5);
        assert_eq!(put(&mut out, ORG, &[1; 4]), Err(LocalTlvError::NoRoom(6)));
        assert_eq!(put(&mut out, ORG, &[1; 3]), Ok(()));
        assert_eq!(out.into_inner()[..], [0xfe, 3, 1, 1, 1]);
    }

    proptest! {
        #[test]
        fn any_octets(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = BytesMut::new();
            let mut clean = true;
            for tlv in Tlvs::new(&bytes) {
                match tlv {
                    Ok(tlv) => put(&mut out, tlv.kind, tlv.value).unwrap(),
                    Err(_) => clean = false,
                }
            }
            prop_assert!(bytes.starts_with(&out));
            prop_assert_eq!(out.len() == bytes.len(), clean);
        }

        #[test]
        fn emit_then_parse(kind in 0u8..128, value in proptest::collection::vec(any::<u8>(), 0..=MAX_VALUE)) {
            let mut out = BytesMut::new();
            let kind = TlvType::from_low_bits(kind);
            put(&mut out, kind, &value).unwrap();
            let read: Vec<_> = Tlvs::new(&out).collect();
            prop_assert_eq!(read, [Ok(Tlv { kind, value: &value, offset: 0 })]);
        }
    }
}
