//! The E-TAG, outermost in a frame between a controlling bridge and its port extenders [BR 7].
//!
//! | octets | bits |
//! |---|---|
//! | 0, 1 | 0x893F |
//! | 2, 3 | priority 3, drop eligible 1, base of the ingress identifier 12 |
//! | 4, 5 | reserved 2, group field 2, base of the identifier 12 |
//! | 6 | extension of the ingress identifier |
//! | 7 | extension of the identifier |

use crate::{
    channel::{ChannelTagError, ECid, Pcid},
    ethertype::EtherType,
    vlan::{Dei, Pcp},
};

/// An E-TAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ETag {
    /// Priority.
    #[doc(alias = "E-PCP")]
    pub pcp: Pcp,
    /// Drop eligible.
    #[doc(alias = "E-DEI")]
    pub dei: Dei,
    /// The port the frame came in on, if it goes down by a channel of several members.
    #[doc(alias = "Ingress_E-CID")]
    pub ingress: Option<Pcid>,
    /// The channel. On the way up that of the port the frame came in on.
    pub ecid: ECid,
}

impl ETag {
    /// Octets it takes on the wire, the EtherType included.
    pub const LEN: usize = 8;

    /// Reads what follows the addresses of a frame. Reserved bits are ignored.
    ///
    /// # Errors
    /// When it is cut short, begins with another EtherType, or names no channel.
    pub fn parse(octets: &[u8]) -> Result<Self, ChannelTagError> {
        let tag = octets.first_chunk::<{ Self::LEN }>().ok_or(ChannelTagError::Short(octets.len()))?;
        let &[t0, t1, a, b, c, d, ingress_extension, extension] = tag;
        let tpid = EtherType(u16::from_be_bytes([t0, t1]));
        if tpid != EtherType::E_TAG {
            return Err(ChannelTagError::Kind(tpid));
        }
        let value = |group: u8, extension: u8, high: u8, low: u8| {
            u32::from_be_bytes([0, 0, high & 0x0f, low]) | u32::from(extension) << 12 | u32::from(group) << 20
        };
        let ingress = Pcid::new(value(0, ingress_extension, a, b));
        let ecid = value(c >> 4 & 3, extension, c, d);
        match (ECid::new(ecid), ingress) {
            (Some(ecid), ingress) => {
                Ok(Self { pcp: Pcp::from_low_bits(a >> 5), dei: a & 0x10 != 0, ingress, ecid })
            }
            (None, Some(ingress)) if ecid == 0 => Err(ChannelTagError::IngressForm(ingress)),
            (None, None) if ecid == 0 => Err(ChannelTagError::NoChannel),
            (None, _) => Err(ChannelTagError::Reserved),
        }
    }

    /// The eight octets.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [t0, t1] = EtherType::E_TAG.0.to_be_bytes();
        let parts = |value: u32| {
            let [_, high, middle, low] = value.to_be_bytes();
            // Group field, extension, base.
            (high >> 4 & 3, high << 4 | middle >> 4, [middle & 0x0f, low])
        };
        let (_, ingress_extension, [a, b]) = parts(self.ingress.map_or(0, Pcid::get));
        let (group, extension, [c, d]) = parts(self.ecid.get());
        let priority = self.pcp.get() << 5 | u8::from(self.dei) << 4;
        [t0, t1, priority | a, b, group << 4 | c, d, ingress_extension, extension]
    }
}
