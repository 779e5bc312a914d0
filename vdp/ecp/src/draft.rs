//! ECP of draft 0.2, as lldpad speaks it: another EtherType, destination and header, the same machines.
//!
//! DEVIATES from lldpad: a repetition carries the number of the first transmission, by which lldpad knows it as one; its
//! own carry a new number each, so that VDP hears them again.

use bytes::BufMut;
use ether::{EtherType, MacAddr, mac};
use nom::{
    Parser,
    bytes::complete::tag,
    number::complete::{be_u16, u8 as octet},
};

use crate::{
    error::HeaderError,
    header::{Header, Operation, Seq, Subtype},
};

/// Which ECP a link speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// That of the standard [Q 43].
    #[default]
    Standard,
    /// That of draft 0.2 of 802.1Qbg: it carries VDP and nothing else.
    Draft,
}

impl Dialect {
    /// The EtherType of its PDUs.
    #[must_use]
    pub const fn ethertype(self) -> EtherType {
        match self {
            Self::Standard => EtherType::ECP,
            Self::Draft => EtherType::OUI_EXTENDED,
        }
    }

    /// Where they go.
    #[must_use]
    pub const fn group(self) -> MacAddr {
        match self {
            Self::Standard => mac::NEAREST_CUSTOMER_BRIDGE,
            Self::Draft => mac::NEAREST_BRIDGE,
        }
    }

    /// Octets of its header.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::Standard => Header::LEN,
            Self::Draft => PREFIX.len() + 3,
        }
    }

    /// Reads the header of `pdu`, the octets after the EtherType, and returns it with what follows.
    ///
    /// # Errors
    /// As [`Header::parse`]; what is not of the draft's OUI, protocol and subtype is of another version.
    pub fn parse(self, pdu: &[u8]) -> Result<(Header, &[u8]), HeaderError> {
        match self {
            Self::Standard => Header::parse(pdu),
            Self::Draft => {
                if pdu.len() < self.header_len() {
                    return Err(HeaderError::Short(pdu.len()));
                }
                let (rest, (_, mode, sequence)) = (tag::<_, _, ()>(&PREFIX[..]), octet, be_u16)
                    .parse(pdu)
                    .map_err(|_| HeaderError::PeerVersion(0))?;
                let operation = match mode {
                    0 => Operation::Request,
                    1 => Operation::Ack,
                    other => return Err(HeaderError::PeerOperation(other)),
                };
                Ok((Header { operation, subtype: Subtype::Vdp, sequence: Seq(sequence) }, rest))
            }
        }
    }

    /// Appends the octets of `header` to `buf`.
    pub fn put(self, header: Header, buf: &mut impl BufMut) {
        match self {
            Self::Standard => header.put(buf),
            Self::Draft => {
                buf.put_slice(&PREFIX);
                buf.put_u8(u8::from(header.operation == Operation::Ack));
                buf.put_u16(header.sequence.0);
            }
        }
    }
}

/// OUI 00-1B-3F, protocol 0, subtype 0.
const PREFIX: [u8; 6] = [0x00, 0x1b, 0x3f, 0x00, 0x00, 0x00];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_lldpad_sends_it_both_ways() {
        // V40 and V41.
        for (mode, operation) in [(0, Operation::Request), (1, Operation::Ack)] {
            let octets = [0x00, 0x1b, 0x3f, 0x00, 0x00, 0x00, mode, 0x00, 0x02, 0xfe];
            let header = Header { operation, subtype: Subtype::Vdp, sequence: Seq(2) };
            assert_eq!(Dialect::Draft.parse(&octets), Ok((header, &[0xfe][..])));
            let mut buf = [0xa5; 10];
            Dialect::Draft.put(header, &mut &mut buf[..]);
            assert_eq!((&buf[..9], buf[9]), (&octets[..9], 0xa5));
            assert_eq!(Dialect::Draft.header_len(), 9);
        }
    }

    #[test]
    fn one_vector_per_error() {
        let pdu = [0x00, 0x1b, 0x3f, 0x00, 0x00, 0x00, 2, 0, 1];
        for len in 0..9 {
            assert_eq!(Dialect::Draft.parse(&pdu[..len]), Err(HeaderError::Short(len)));
        }
        assert_eq!(Dialect::Draft.parse(&pdu), Err(HeaderError::PeerOperation(2)));
        for at in 0..6 {
            let mut other = pdu;
            other[at] ^= 1;
            assert_eq!(Dialect::Draft.parse(&other), Err(HeaderError::PeerVersion(0)));
        }
    }
}
