//! The application priority TLV [Q D.2.11]: which priority an application should use.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use ether::Pcp;
use nom::{
    IResult, Parser,
    number::complete::{be_u16, u8 as octet},
};
use serde::{Serialize, Serializer};

use crate::{
    error::{IeeeError, TooManyApplications},
    protocol::Protocol,
};

ether::wire_enum! {
    /// What the protocol number of an application counts: three bits on the wire.
    pub enum Selector: u8 {
        /// EtherTypes; 0 for frames of no other entry.
        EtherType = 1,
        /// Ports of TCP and SCTP.
        TcpPort = 2,
        /// Ports of UDP and DCCP.
        UdpPort = 3,
        /// Ports of any of the four.
        AnyPort = 4,
        /// Differentiated services code points.
        Dscp = 5,
    }
}

impl Serialize for Selector {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.serialize_u8(u8::from(*self))
    }
}

/// The priority of one application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Application {
    /// The priority.
    pub priority: Pcp,
    /// What [`Self::protocol`] counts.
    pub selector: Selector,
    /// The application.
    pub protocol: u16,
}

impl fmt::Display for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.selector {
            Selector::EtherType if self.protocol == 0 => return write!(f, "default {}", self.priority),
            Selector::EtherType => Protocol::EtherType(self.protocol),
            Selector::TcpPort => Protocol::Port("TCP", self.protocol),
            Selector::UdpPort => Protocol::Port("UDP", self.protocol),
            Selector::AnyPort => Protocol::Port("TCP/UDP", self.protocol),
            Selector::Dscp => Protocol::Dscp(self.protocol),
            Selector::Unknown(code) => Protocol::Unknown(code, self.protocol),
        };
        write!(f, "{protocol} {}", self.priority)
    }
}

/// The application priority TLV: at most 168 applications in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ApplicationPriority(Vec<Application>);

impl ApplicationPriority {
    /// The subtype of the TLV.
    pub const SUBTYPE: u8 = 0x0c;
    /// The most applications a TLV can hold.
    pub const MAX: usize = 168;

    /// The TLV of `applications`.
    ///
    /// # Errors
    /// When there are more than [`Self::MAX`].
    pub fn new(applications: Vec<Application>) -> Result<Self, TooManyApplications> {
        match applications.len() {
            ..=Self::MAX => Ok(Self(applications)),
            count => Err(TooManyApplications(count)),
        }
    }

    /// The applications.
    #[must_use]
    pub fn as_slice(&self) -> &[Application] {
        &self.0
    }

    /// Reads what follows OUI and subtype, `1 + 3 * n` octets. The reserved first one and reserved bits are ignored.
    ///
    /// # Errors
    /// When there is no octet, when the rest are no whole entries, when there are too many.
    pub fn parse(info: &[u8]) -> Result<Self, IeeeError> {
        let short = IeeeError::Short { subtype: Self::SUBTYPE, length: info.len(), needed: 1 };
        let (_reserved, entries) = info.split_first().ok_or(short)?;
        if entries.len() % ENTRY != 0 {
            return Err(IeeeError::PartialApplication(entries.len()));
        }
        let read = entries.chunks_exact(ENTRY).filter_map(|entry| application(entry).ok());
        Ok(Self::new(read.map(|(_, application)| application).collect())?)
    }

    /// The octets after OUI and subtype, 1 to 505.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(1 + ENTRY * self.0.len());
        buf.put_u8(0);
        for Application { priority, selector, protocol } in &self.0 {
            buf.put_u8(priority.get() << 5 | u8::from(*selector) & SELECTOR);
            buf.put_u16(*protocol);
        }
        buf.freeze()
    }
}

impl fmt::Display for ApplicationPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("application priorities: none");
        }
        f.write_str("application priorities: ")?;
        for (index, application) in self.0.iter().enumerate() {
            write!(f, "{}{application}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

fn application(input: &[u8]) -> IResult<&[u8], Application> {
    let (rest, (head, protocol)) = (octet, be_u16).parse(input)?;
    let selector = Selector::from(head & SELECTOR);
    Ok((rest, Application { priority: Pcp::from_low_bits(head >> 5), selector, protocol }))
}

/// Octets of an entry.
const ENTRY: usize = 3;
const SELECTOR: u8 = 0x07;
