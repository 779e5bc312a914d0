//! The ECPDU header [Q 43]: version, operation, subtype and sequence number in four octets.

use bytes::BufMut;
use nom::{Parser, number::complete::be_u16};

use crate::error::HeaderError;

/// What an ECPDU does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Carries an upper-layer PDU and asks for an acknowledgement.
    Request,
    /// Acknowledges the request with the same sequence number; carries nothing.
    Ack,
}

ether::wire_enum! {
    /// Which upper layer a PDU belongs to: ten bits on the wire, wider codes are cut when sent.
    pub enum Subtype: u16 {
        /// VSI discovery and configuration protocol [Q 41].
        Vdp = 1,
        /// Port extender control and status protocol [BR 9].
        PeCsp = 2,
    }
}

/// A sequence number. Zero is accepted from a peer but never sent (UNSURE-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Seq(pub u16);

impl Seq {
    /// The first number a transmitter uses when asked to start at `first`: zero becomes one.
    #[must_use]
    pub const fn first(first: u16) -> Self {
        Self(if first == 0 { 1 } else { first })
    }

    /// The number after this one; zero is left out at the wrap.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::first(self.0.wrapping_add(1))
    }
}

/// The header of an ECPDU of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Request or acknowledgement.
    pub operation: Operation,
    /// The upper layer.
    pub subtype: Subtype,
    /// Number of the request, or of the request acknowledged.
    pub sequence: Seq,
}

impl Header {
    /// Octets the header takes.
    pub const LEN: usize = 4;

    /// Reads the header of `pdu`, the octets after the EtherType, and returns it with what follows: the payload of a
    /// request and any padding.
    ///
    /// # Errors
    /// When the header is cut short, of another version, or its operation is unknown.
    pub fn parse(pdu: &[u8]) -> Result<(Self, &[u8]), HeaderError> {
        let (rest, (word, sequence)) =
            (be_u16::<_, ()>, be_u16).parse(pdu).map_err(|_| HeaderError::Short(pdu.len()))?;
        let [high, _] = word.to_be_bytes();
        if high >> 4 != VERSION {
            return Err(HeaderError::PeerVersion(high >> 4));
        }
        let operation = match (high >> 2) & 3 {
            0 => Operation::Request,
            1 => Operation::Ack,
            other => return Err(HeaderError::PeerOperation(other)),
        };
        let header = Self { operation, subtype: Subtype::from(word & SUBTYPE_MASK), sequence: Seq(sequence) };
        Ok((header, rest))
    }

    /// Appends the four octets to `buf`.
    pub fn put(&self, buf: &mut impl BufMut) {
        let operation = match self.operation {
            Operation::Request => 0,
            Operation::Ack => 1 << 10,
        };
        buf.put_u16(u16::from(VERSION) << 12 | operation | u16::from(self.subtype) & SUBTYPE_MASK);
        buf.put_u16(self.sequence.0);
    }
}

/// Which upper layer `pdu` belongs to, so that it can be handed to the right [`Link`](crate::Link).
///
/// # Errors
/// As [`Header::parse`].
pub fn peek_subtype(pdu: &[u8]) -> Result<Subtype, HeaderError> {
    Header::parse(pdu).map(|(header, _)| header.subtype)
}

/// The only version there is.
const VERSION: u8 = 1;
const SUBTYPE_MASK: u16 = 0x03ff;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn emitted(header: Header) -> Vec<u8> {
        let mut buf = vec![0xa5; Header::LEN + 1];
        header.put(&mut &mut buf[..]);
        assert_eq!(buf.pop(), Some(0xa5));
        buf
    }

    #[test]
    fn vectors_both_ways() {
        for (octets, operation, sequence) in [
            ([0x14u8, 0x01, 0x00, 0x01], Operation::Ack, 1),        // ECP-1
            ([0x10, 0x01, 0x12, 0x24], Operation::Request, 0x1224), // ECP-2
        ] {
            let header = Header { operation, subtype: Subtype::Vdp, sequence: Seq(sequence) };
            assert_eq!(Header::parse(&octets), Ok((header, &[][..])));
            assert_eq!(emitted(header), octets);
        }
    }

    #[test]
    fn padding_stays_behind_the_header() {
        // ECP-3 without its addresses and EtherType.
        let mut pdu = vec![0x14, 0x01, 0x00, 0x01];
        pdu.resize(46, 0);
        let (header, rest) = Header::parse(&pdu).unwrap();
        assert_eq!((header.sequence, rest.len()), (Seq(1), 42));
    }

    #[test]
    fn one_vector_per_error() {
        for len in 0..Header::LEN {
            assert_eq!(Header::parse(&[0x10, 1, 0, 1][..len]), Err(HeaderError::Short(len)));
        }
        assert_eq!(Header::parse(&[0x20, 1, 0, 5]), Err(HeaderError::PeerVersion(2))); // NEG-4
        assert_eq!(Header::parse(&[0x18, 1, 0, 5]), Err(HeaderError::PeerOperation(2)));
        assert_eq!(peek_subtype(&[0x1c, 1, 0, 5]), Err(HeaderError::PeerOperation(3)));
    }

    #[test]
    fn subtypes_are_kept() {
        assert_eq!(peek_subtype(&[0x10, 5, 0, 6]), Ok(Subtype::Unknown(5))); // NEG-5
        assert_eq!(peek_subtype(&[0x10, 2, 0, 6]), Ok(Subtype::PeCsp));
        assert_eq!(peek_subtype(&[0x13, 0xff, 0, 6]), Ok(Subtype::Unknown(0x3ff)));
    }

    #[test]
    fn zero_is_left_out() {
        assert_eq!((Seq(0xffff).next(), Seq::first(0), Seq(7).next()), (Seq(1), Seq(1), Seq(8)));
    }

    proptest! {
        #[test]
        fn round_trip(ack in any::<bool>(), subtype in 0u16..1024, sequence in any::<u16>()) {
            let operation = if ack { Operation::Ack } else { Operation::Request };
            let header = Header { operation, subtype: Subtype::from(subtype), sequence: Seq(sequence) };
            let octets = emitted(header);
            prop_assert_eq!(Header::parse(&octets), Ok((header, &[][..])));
        }

        #[test]
        fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Header::parse(&octets);
        }
    }
}
