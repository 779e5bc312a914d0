//! The basic TLVs: chassis and port identifiers, strings, capabilities, management addresses [AB 8.5].
//!
//! What a peer sent is kept as octets, whatever its encoding; only [`fmt::Display`] makes it readable, and safe to
//! print: invalid UTF-8 shows as U+FFFD, control and direction characters as escapes.

mod id;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{BufMut, Bytes, BytesMut};
use ether::MacAddr;
use nom::{
    IResult, Parser,
    multi::length_data,
    number::complete::{be_u8, be_u32},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};

pub use self::id::{ChassisId, ChassisSubtype, Id, IdForm, IdSubtype, PortId, PortSubtype};
use crate::error::PeerTlvFault;

/// The string of a description or name TLV: at most 255 octets, meant to be UTF-8, possibly empty [AB 8.5.5 to 8.5.7].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(Bytes);

impl Text {
    /// The longest string in octets.
    pub const MAX: usize = 255;

    /// As much of `text` as fits, cut between characters.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let (head, _) = text.split_at(text.floor_char_boundary(Self::MAX));
        Self(Bytes::copy_from_slice(head.as_bytes()))
    }

    /// The octets.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads the value of a TLV; `None` if it is too long.
    pub fn parse(value: &[u8]) -> Option<Self> {
        (value.len() <= Self::MAX).then(|| Self(Bytes::copy_from_slice(value)))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.0)
    }
}

impl Serialize for Text {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

/// A set of system functions, bit n for the n-th [AB 8.5.8.1].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(pub u16);

impl CapabilitySet {
    /// MAC bridge.
    pub const BRIDGE: Self = Self(1 << 2);
    /// Router.
    pub const ROUTER: Self = Self(1 << 4);
    /// Station and nothing else.
    pub const STATION_ONLY: Self = Self(1 << 7);

    /// The names of the functions in the set; a reserved bit names itself.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        CAPABILITIES.iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| *name)
    }
}

impl Serialize for CapabilitySet {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_seq(self.names())
    }
}

/// What the system can be and what it is [AB 8.5.8].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Capabilities {
    /// What it can be.
    pub supported: CapabilitySet,
    /// What it is.
    pub enabled: CapabilitySet,
}

impl Capabilities {
    /// Reads the value of a TLV; `None` unless it has four octets.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let &[a, b, c, d] = value else { return None };
        let set = |high, low| CapabilitySet(u16::from_be_bytes([high, low]));
        Some(Self { supported: set(a, b), enabled: set(c, d) })
    }

    pub(crate) fn value(self) -> [u8; 4] {
        let [a, b] = self.supported.0.to_be_bytes();
        let [c, d] = self.enabled.0.to_be_bytes();
        [a, b, c, d]
    }
}

ether::wire_enum! {
    /// What an address is an address of: the numbers of the address family registry that LLDP uses.
    pub enum AddressFamily: u8 {
        /// IPv4.
        Ipv4 = 1,
        /// IPv6.
        Ipv6 = 2,
        /// MAC addresses.
        Ieee802 = 6,
    }
}

ether::wire_enum! {
    /// What the interface number beside a management address counts [AB 8.5.9.5].
    pub enum InterfaceNumbering: u8 {
        /// The sender does not say.
        NotKnown = 1,
        /// The ifIndex.
        IfIndex = 2,
        /// The port number within the system.
        SystemPort = 3,
    }
}

/// An address under which the system is managed [AB 8.5.9].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ManagementAddress {
    family: AddressFamily,
    address: Bytes,
    /// What [`Self::interface`] counts.
    pub numbering: InterfaceNumbering,
    /// The number of the interface that has the address.
    pub interface: u32,
    oid: Bytes,
}

impl ManagementAddress {
    /// The longest address in octets.
    pub const MAX_ADDRESS: usize = 31;
    /// The longest object identifier in octets.
    pub const MAX_OID: usize = 128;

    /// An IP address and the interface that has it; no object identifier.
    #[must_use]
    pub fn ip(address: IpAddr, numbering: InterfaceNumbering, interface: u32) -> Self {
        let (family, address) = match address {
            IpAddr::V4(v4) => (AddressFamily::Ipv4, Bytes::copy_from_slice(&v4.octets())),
            IpAddr::V6(v6) => (AddressFamily::Ipv6, Bytes::copy_from_slice(&v6.octets())),
        };
        Self { family, address, numbering, interface, oid: Bytes::new() }
    }

    /// A MAC address and the interface that has it; no object identifier.
    #[must_use]
    pub fn mac(address: MacAddr, numbering: InterfaceNumbering, interface: u32) -> Self {
        let address = Bytes::copy_from_slice(&address.octets());
        Self { family: AddressFamily::Ieee802, address, numbering, interface, oid: Bytes::new() }
    }

    /// What the address is an address of.
    #[must_use]
    pub const fn family(&self) -> AddressFamily {
        self.family
    }

    /// The octets of the address, 1..=31.
    #[must_use]
    pub const fn address(&self) -> &Bytes {
        &self.address
    }

    /// The object identifier of the hardware or protocol behind the address, at most 128 octets as sent.
    #[must_use]
    pub const fn oid(&self) -> &Bytes {
        &self.oid
    }

    /// Reads the value of the TLV whose header stands at `offset`.
    ///
    /// # Errors
    /// When a length in it is not allowed or its fields do not fill it.
    pub fn parse(value: &[u8], offset: usize) -> Result<Self, PeerTlvFault> {
        let cut = PeerTlvFault::ManagementAddressFields { offset, length: value.len() };
        let (rest, string) = counted(value).map_err(|_| cut)?;
        let (family, address) = match string.split_first() {
            Some((family, address)) if (1..=Self::MAX_ADDRESS).contains(&address.len()) => (*family, address),
            _ => return Err(PeerTlvFault::ManagementAddressLength { offset, length: string.len() }),
        };
        let (rest, (numbering, interface)) = interface_number(rest).map_err(|_| cut)?;
        let (rest, oid) = counted(rest).map_err(|_| cut)?;
        if oid.len() > Self::MAX_OID {
            return Err(PeerTlvFault::ManagementAddressOid { offset, length: oid.len() });
        }
        if !rest.is_empty() {
            return Err(cut);
        }
        Ok(Self {
            family: family.into(),
            address: Bytes::copy_from_slice(address),
            numbering,
            interface,
            oid: Bytes::copy_from_slice(oid),
        })
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + self.address.len() + self.oid.len());
        out.put_u8(1 + octets(&self.address));
        out.put_u8(self.family.into());
        out.put_slice(&self.address);
        out.put_u8(self.numbering.into());
        out.put_u32(self.interface);
        out.put_u8(octets(&self.oid));
        out.put_slice(&self.oid);
        out.freeze()
    }
}

impl fmt::Display for ManagementAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_address(f, self.family, &self.address)
    }
}

impl Serialize for ManagementAddress {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut out = serializer.serialize_struct("management_address", 4)?;
        out.serialize_field("address", &self.to_string())?;
        out.serialize_field("numbering", &u8::from(self.numbering))?;
        out.serialize_field("interface", &self.interface)?;
        out.serialize_field("oid", &Hex(&self.oid))?;
        out.end()
    }
}

/// Octets shown in hexadecimal.
#[derive(Clone, Copy)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_str(self)
    }
}

/// A string led by its length in one octet.
fn counted(input: &[u8]) -> IResult<&[u8], &[u8]> {
    length_data(be_u8).parse(input)
}

fn interface_number(input: &[u8]) -> IResult<&[u8], (InterfaceNumbering, u32)> {
    (be_u8.map(InterfaceNumbering::from), be_u32).parse(input)
}

/// The length of a string whose constructors keep it below 256 octets.
fn octets(string: &Bytes) -> u8 {
    u8::try_from(string.len()).unwrap_or(u8::MAX)
}

fn write_address(f: &mut fmt::Formatter<'_>, family: AddressFamily, address: &[u8]) -> fmt::Result {
    match family {
        AddressFamily::Ipv4 => {
            if let Ok(v4) = <[u8; 4]>::try_from(address) {
                return write!(f, "{}", Ipv4Addr::from(v4));
            }
        }
        AddressFamily::Ipv6 => {
            if let Ok(v6) = <[u8; 16]>::try_from(address) {
                return write!(f, "{}", Ipv6Addr::from(v6));
            }
        }
        AddressFamily::Ieee802 => {
            if let Ok(mac) = <[u8; 6]>::try_from(address) {
                return write!(f, "{}", MacAddr::from(mac));
            }
        }
        AddressFamily::Unknown(_) => {}
    }
    write!(f, "{}", Hex(address))
}

fn write_escaped(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    String::from_utf8_lossy(bytes)
        .chars()
        .try_for_each(|c| if is_unsafe(c) { write!(f, "{}", c.escape_unicode()) } else { write!(f, "{c}") })
}

/// Characters that move the cursor, are not seen, or turn the direction of what follows.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The names of the capability bits from bit 0 on.
const CAPABILITIES: [&str; 16] = [
    "other",
    "repeater",
    "bridge",
    "wlan_access_point",
    "router",
    "telephone",
    "docsis",
    "station_only",
    "c_vlan_component",
    "s_vlan_component",
    "tpmr",
    "bit11",
    "bit12",
    "bit13",
    "bit14",
    "bit15",
];

#[cfg(test)]
mod tests;
