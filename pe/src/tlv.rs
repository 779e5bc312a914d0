//! The Port Extension TLV of LLDP: what stands after OUI 00-80-C2 and subtype 0x0F.
//!
//! UNSURE-U6: the OUI and the subtype are certain, the body is not. Its layout, thirteen octets, was written down from
//! memory with 65 % confidence, and neither a capture nor a dissector has confirmed it:
//!
//! | octet | field |
//! |---|---|
//! | 0 | cascade port priority |
//! | 1..7 | address of the port extender or bridge |
//! | 7..13 | its address for the control and status protocol (CSP) |
//!
//! It stands in [`PortExtensionTlv::parse`] and [`PortExtensionTlv::to_bytes`] and nowhere else.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ether::MacAddr;
use nom::{IResult, Parser, bytes::complete::take, combinator::map_opt, number::complete::u8 as octet};
use serde::Serialize;

/// The organization of the TLV: IEEE 802.1.
pub const OUI: [u8; 3] = [0x00, 0x80, 0xc2];
/// Its subtype.
pub const SUBTYPE: u8 = 0x0f;

/// How much a controlling bridge wants a port to be a port extender's upstream link.
///
/// UNSURE-U7: the lower value wins; 0 is no cascade port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CascadePriority(pub u8);

impl CascadePriority {
    /// Whether the sender offers the port as a cascade port.
    #[must_use]
    pub const fn is_cascade_port(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for CascadePriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_cascade_port() { write!(f, "priority {}", self.0) } else { f.write_str("no cascade port") }
    }
}

/// A Port Extension TLV; its layout is the module's to doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PortExtensionTlv {
    /// What the sender thinks of this port.
    pub priority: CascadePriority,
    /// The sender's address.
    pub address: MacAddr,
    /// Where it is reached by the control and status protocol.
    pub csp_address: MacAddr,
}

/// A Port Extension TLV too short for the layout known here; holds the number of octets after OUI and subtype. The
/// peer is to blame, unless the layout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("peer: a Port Extension TLV with {0} octets after its subtype, 13 are expected")]
pub struct ShortPortExtensionTlv(pub usize);

impl PortExtensionTlv {
    /// Reads what follows OUI and subtype. Octets after the thirteenth are ignored.
    ///
    /// # Errors
    /// When there are fewer than thirteen octets.
    pub fn parse(info: &[u8]) -> Result<Self, ShortPortExtensionTlv> {
        let (_, (priority, address, csp_address)) =
            (octet, mac, mac).parse(info).map_err(|_| ShortPortExtensionTlv(info.len()))?;
        Ok(Self { priority: CascadePriority(priority), address, csp_address })
    }

    /// The thirteen octets after OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(13);
        buf.put_u8(self.priority.0);
        buf.put_slice(&self.address.octets());
        buf.put_slice(&self.csp_address.octets());
        buf.freeze()
    }
}

impl fmt::Display for PortExtensionTlv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { priority, address, csp_address } = self;
        write!(f, "port extension by {address}, CSP at {csp_address}, cascade: {priority}")
    }
}

fn mac(input: &[u8]) -> IResult<&[u8], MacAddr> {
    map_opt(take(6usize), |octets: &[u8]| <[u8; 6]>::try_from(octets).ok()).map(MacAddr::from).parse(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vectors() -> [([u8; 13], PortExtensionTlv, &'static str); 2] {
        let tlv = |priority, low, csp_low| PortExtensionTlv {
            priority: CascadePriority(priority),
            address: MacAddr(0x02, 0, 0, 0, low, 0),
            csp_address: MacAddr(0x02, 0, 0, 0, csp_low, 1),
        };
        [
            // LV1: a cascade port of a controlling bridge
            (
                [0x80, 2, 0, 0, 0, 0x0a, 0, 2, 0, 0, 0, 0x0a, 1],
                tlv(0x80, 0x0a, 0x0a),
                "port extension by 02:00:00:00:0a:00, CSP at 02:00:00:00:0a:01, cascade: priority 128",
            ),
            // LV2: a port extender
            (
                [0x00, 2, 0, 0, 0, 0x0b, 0, 2, 0, 0, 0, 0x0b, 1],
                tlv(0, 0x0b, 0x0b),
                "port extension by 02:00:00:00:0b:00, CSP at 02:00:00:00:0b:01, cascade: no cascade port",
            ),
        ]
    }

    #[test]
    fn vectors_both_ways() {
        for (octets, expected, words) in vectors() {
            assert_eq!(PortExtensionTlv::parse(&octets), Ok(expected));
            assert_eq!(expected.to_bytes()[..], octets);
            assert_eq!(expected.to_string(), words);
        }
    }

    #[test]
    fn shorter_is_an_error_and_longer_is_not() {
        for (octets, expected, _) in vectors() {
            for len in 0..13 {
                assert_eq!(PortExtensionTlv::parse(&octets[..len]), Err(ShortPortExtensionTlv(len)));
            }
            let longer = [&octets[..], &[0xff; 20]].concat();
            assert_eq!(PortExtensionTlv::parse(&longer), Ok(expected));
        }
    }

    proptest! {
        #[test]
        fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..40)) {
            match PortExtensionTlv::parse(&octets) {
                Ok(tlv) => prop_assert_eq!(&tlv.to_bytes()[..], &octets[..13]),
                Err(error) => prop_assert!(octets.len() < 13 && error.0 == octets.len()),
            }
        }

        #[test]
        fn emit_then_parse(priority: u8, address: [u8; 6], csp_address: [u8; 6]) {
            let tlv = PortExtensionTlv {
                priority: CascadePriority(priority),
                address: address.into(),
                csp_address: csp_address.into(),
            };
            prop_assert_eq!(PortExtensionTlv::parse(&tlv.to_bytes()), Ok(tlv));
        }
    }
}
