//! EtherType values evbd speaks or must recognise.

use core::fmt;

/// An EtherType as it stands in the frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IPV6: Self = Self(0x86dd);
    /// LLDP [AB 8.3].
    pub const LLDP: Self = Self(0x88cc);
    /// Edge control protocol [Q 43].
    pub const ECP: Self = Self(0x8940);
    /// Of an OUI that follows: ECP of draft 0.2 of 802.1Qbg, among others.
    pub const OUI_EXTENDED: Self = Self(0x88b7);
    /// A probe of reflective relay: local experimental EtherType 1, with [`crate::mac::PROBE_GROUP`].
    pub const PROBE: Self = Self(0x88b5);
    /// C-VLAN tag [Q 9.5].
    pub const C_VLAN: Self = Self(0x8100);
    /// S-VLAN tag [Q 9.5].
    pub const S_VLAN: Self = Self(0x88a8);
    /// Tag of an E-channel.
    pub const E_TAG: Self = Self(0x893f);
    /// The older tag of an E-channel.
    pub const VN_TAG: Self = Self(0x8926);

    /// Whether a VLAN tag of four octets starts here.
    #[must_use]
    pub const fn is_vlan(self) -> bool {
        matches!(self, Self::C_VLAN | Self::S_VLAN)
    }

    /// Whether the tag of an E-channel starts here, in either framing.
    #[must_use]
    pub const fn is_channel_tag(self) -> bool {
        matches!(self, Self::E_TAG | Self::VN_TAG)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04x}", self.0)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
