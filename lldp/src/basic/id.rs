//! Chassis ID and port ID: who sends an LLDPDU [AB 8.5.2, 8.5.3].

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ether::MacAddr;
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{AddressFamily, Hex, is_unsafe, write_address, write_escaped};
use crate::error::LocalError;

/// An identifier and what kind it is of: 1..=255 octets, compared octet by octet together with its subtype.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id<S> {
    subtype: S,
    id: Bytes,
}

/// Who sends: the system [AB 8.5.2].
pub type ChassisId = Id<ChassisSubtype>;
/// Who sends: the port [AB 8.5.3].
pub type PortId = Id<PortSubtype>;

ether::wire_enum! {
    /// What a chassis ID is taken from [AB 8.5.2.2].
    pub enum ChassisSubtype: u8 {
        /// A component named in the entity MIB.
        ChassisComponent = 1,
        /// The alias of an interface.
        InterfaceAlias = 2,
        /// A port or backplane named in the entity MIB.
        PortComponent = 3,
        /// A MAC address of the system.
        MacAddress = 4,
        /// An address family octet and an address.
        NetworkAddress = 5,
        /// The name of an interface.
        InterfaceName = 6,
        /// Assigned by the operator.
        Local = 7,
    }
}

ether::wire_enum! {
    /// What a port ID is taken from [AB 8.5.3.2].
    pub enum PortSubtype: u8 {
        /// The alias of the interface.
        InterfaceAlias = 1,
        /// A port named in the entity MIB.
        PortComponent = 2,
        /// The MAC address of the port.
        MacAddress = 3,
        /// An address family octet and an address.
        NetworkAddress = 4,
        /// The name of the interface.
        InterfaceName = 5,
        /// A circuit as a DHCP relay names it.
        AgentCircuitId = 6,
        /// Assigned by the operator.
        Local = 7,
    }
}

/// How the octets of an identifier read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdForm {
    /// Six octets of a MAC address.
    Mac,
    /// An address family octet, then the address.
    Network,
    /// A name: shown as text even where it is not clean.
    Name,
    /// Usually a name; shown as text if it is clean, else in hexadecimal.
    Opaque,
}

/// The subtype of an identifier.
pub trait IdSubtype: Copy + From<u8> + Into<u8> {
    /// How its identifiers read.
    fn form(self) -> IdForm;
    /// Its name in snake case, as records show it.
    fn name(self) -> &'static str;
}

impl IdSubtype for ChassisSubtype {
    fn form(self) -> IdForm {
        match self {
            Self::MacAddress => IdForm::Mac,
            Self::NetworkAddress => IdForm::Network,
            Self::InterfaceName => IdForm::Name,
            Self::ChassisComponent
            | Self::InterfaceAlias
            | Self::PortComponent
            | Self::Local
            | Self::Unknown(_) => IdForm::Opaque,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ChassisComponent => "chassis_component",
            Self::InterfaceAlias => "interface_alias",
            Self::PortComponent => "port_component",
            Self::MacAddress => "mac_address",
            Self::NetworkAddress => "network_address",
            Self::InterfaceName => "interface_name",
            Self::Local => "local",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl IdSubtype for PortSubtype {
    fn form(self) -> IdForm {
        match self {
            Self::MacAddress => IdForm::Mac,
            Self::NetworkAddress => IdForm::Network,
            Self::InterfaceName => IdForm::Name,
            Self::InterfaceAlias
            | Self::PortComponent
            | Self::AgentCircuitId
            | Self::Local
            | Self::Unknown(_) => IdForm::Opaque,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::InterfaceAlias => "interface_alias",
            Self::PortComponent => "port_component",
            Self::MacAddress => "mac_address",
            Self::NetworkAddress => "network_address",
            Self::InterfaceName => "interface_name",
            Self::AgentCircuitId => "agent_circuit_id",
            Self::Local => "local",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl ChassisId {
    /// A MAC address of the system as its identifier.
    #[must_use]
    pub fn mac(mac: MacAddr) -> Self {
        Self { subtype: ChassisSubtype::MacAddress, id: Bytes::copy_from_slice(&mac.octets()) }
    }
}

impl PortId {
    /// The MAC address of the port as its identifier.
    #[must_use]
    pub fn mac(mac: MacAddr) -> Self {
        Self { subtype: PortSubtype::MacAddress, id: Bytes::copy_from_slice(&mac.octets()) }
    }
}

impl<S: IdSubtype> Id<S> {
    /// The longest identifier in octets.
    pub const MAX: usize = 255;

    /// The identifier `id` of kind `subtype`.
    ///
    /// # Errors
    /// When `id` does not have 1..=255 octets.
    pub fn new(subtype: S, id: impl Into<Bytes>) -> Result<Self, LocalError> {
        let id = id.into();
        if (1..=Self::MAX).contains(&id.len()) {
            Ok(Self { subtype, id })
        } else {
            Err(LocalError::IdLength(id.len()))
        }
    }

    /// What kind it is of.
    #[must_use]
    pub const fn subtype(&self) -> S {
        self.subtype
    }

    /// Its octets, without the subtype.
    #[must_use]
    pub const fn id(&self) -> &Bytes {
        &self.id
    }

    /// Reads the value of a TLV; `None` if the identifier has a wrong length.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (subtype, id) = value.split_first()?;
        Self::new(S::from(*subtype), Bytes::copy_from_slice(id)).ok()
    }

    pub(crate) fn value(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(1 + self.id.len());
        out.put_u8(self.subtype.into());
        out.put_slice(&self.id);
        out.freeze()
    }
}

impl<S: IdSubtype> fmt::Display for Id<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subtype.form() {
            IdForm::Mac => write_address(f, AddressFamily::Ieee802, &self.id),
            IdForm::Network => match self.id.split_first() {
                Some((family, address)) => write_address(f, AddressFamily::from(*family), address),
                None => Ok(()),
            },
            IdForm::Name => write_escaped(f, &self.id),
            IdForm::Opaque => match core::str::from_utf8(&self.id) {
                Ok(text) if !text.chars().any(is_unsafe) => f.write_str(text),
                _ => fmt::Display::fmt(&Hex(&self.id), f),
            },
        }
    }
}

impl<S: IdSubtype> Serialize for Id<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut out = serializer.serialize_struct("id", 2)?;
        out.serialize_field("subtype", self.subtype.name())?;
        out.serialize_field("id", &self.to_string())?;
        out.end()
    }
}
