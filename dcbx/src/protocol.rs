//! What an application is called.

use core::fmt;

/// A protocol number and what it counts, shown with the name of the application where it is a known one.
pub(crate) enum Protocol {
    EtherType(u16),
    /// What kind of port, and which.
    Port(&'static str, u16),
    Dscp(u16),
    /// A selector without a meaning here, and the number.
    Unknown(u8, u16),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::EtherType(0x8906) => f.write_str("FCoE"),
            Self::EtherType(0x8914) => f.write_str("FIP"),
            Self::EtherType(0x8915) => f.write_str("RoCE"),
            Self::EtherType(number) => write!(f, "EtherType 0x{number:04x}"),
            Self::Port(_, 3260) => f.write_str("iSCSI"),
            Self::Port(_, 4791) => f.write_str("RoCEv2"),
            Self::Port(kind, number) => write!(f, "{kind} port {number}"),
            Self::Dscp(number) => write!(f, "DSCP {number}"),
            Self::Unknown(selector, number) => write!(f, "protocol {number} of selector {selector}"),
        }
    }
}
