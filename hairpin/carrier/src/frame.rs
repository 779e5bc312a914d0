//! A received frame, however it came: where its tag is, what the sender postponed, and what is wrong with it.

use ether::{ChannelTag, ChannelTagError, DownTag, EtherType, Framing, MacAddr, Tag, UpTag};
use hairpin::{DropReason, Frame};

use crate::{stats::PortStats, vnet::VnetHdr};

/// A received frame, the tag of its E-channel and its outermost VLAN tag taken off.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// What the sender postponed. Offsets are those of the frame without the tag.
    pub vnet: VnetHdr,
    /// Destination and source.
    pub addresses: &'a [u8; ADDRESSES],
    /// The tag of the E-channel it came by.
    pub channel: Option<ChannelTag>,
    /// The outermost VLAN tag.
    pub tag: Option<Tag>,
    /// What follows addresses and tags: EtherType and payload.
    pub rest: &'a [u8],
    ethertype: EtherType,
    slot: usize,
}

/// Why a frame could not be read. Holds the octets received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RxError {
    /// Shorter than its own header.
    #[error("{0} octets cannot hold an Ethernet header")]
    Runt(usize),
    /// Longer than the buffer.
    #[error("frame is longer than the buffer, {0} octets fitted")]
    Truncated(usize),
    /// The tag carries VID 4095.
    #[error("VLAN tag with the reserved VID 4095")]
    BadTag(usize),
    /// The tag of its E-channel is malformed, or does not go this way.
    #[error("{1}")]
    BadChannel(usize, ChannelTagError),
    /// The sender left its checksum unfinished, or may have, and it cannot be finished here.
    #[error("a checksum that cannot be finished here")]
    Checksum(usize),
}

impl RxError {
    /// The octets received.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Runt(octets)
            | Self::Truncated(octets)
            | Self::BadTag(octets)
            | Self::BadChannel(octets, _)
            | Self::Checksum(octets) => octets,
        }
    }

    /// What the relay is to count it as.
    pub(crate) fn reason(self) -> DropReason {
        match self {
            Self::BadChannel(_, error) => error.into(),
            Self::Runt(_) | Self::Truncated(_) | Self::BadTag(_) | Self::Checksum(_) => DropReason::Malformed,
        }
    }
}

impl<'a> RxFrame<'a> {
    /// The frame `octets` of a batch's row `slot`, as [`Head::read`] understood it.
    pub(crate) fn new(slot: usize, head: &Head, octets: &'a [u8]) -> Option<Self> {
        let Head { vnet, channel, tag, ethertype, start } = *head;
        Some(Self {
            vnet,
            addresses: octets.first_chunk()?,
            channel,
            tag,
            rest: octets.get(start..)?,
            ethertype,
            slot,
        })
    }

    /// The EtherType behind the tag, or a length below 1536.
    #[must_use]
    pub const fn ethertype(&self) -> EtherType {
        self.ethertype
    }

    /// Octets of the frame without the tag.
    #[must_use]
    pub const fn octets(&self) -> usize {
        ADDRESSES + self.rest.len()
    }

    /// The row of the batch the frame is in.
    pub(crate) const fn slot(&self) -> usize {
        self.slot
    }

    /// The frame as the relay wants to know it.
    #[must_use]
    pub fn summary(&self) -> Frame<'a> {
        let &[a, b, c, d, e, f, g, h, i, j, k, l] = self.addresses;
        Frame {
            dst: MacAddr(a, b, c, d, e, f),
            src: MacAddr(g, h, i, j, k, l),
            tag: self.tag,
            ethertype: self.ethertype,
            len: u32::try_from(self.octets()).unwrap_or(u32::MAX),
            payload: self.rest.get(ETHERTYPE..).unwrap_or_default(),
        }
    }
}

/// What the beginning of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) vnet: VnetHdr,
    pub(crate) channel: Option<ChannelTag>,
    pub(crate) tag: Option<Tag>,
    pub(crate) ethertype: EtherType,
    /// Where the EtherType behind addresses and tags is, in octets of the frame.
    pub(crate) start: usize,
}

impl Head {
    /// Reads `octets` of a frame. `noted` is the outermost tag if it came beside the frame, and then a tag in the frame is
    /// the second one. `tags` are what frames have outside of all others, where they come by E-channels.
    pub(crate) fn read(
        octets: &[u8],
        vnet: VnetHdr,
        noted: Option<(EtherType, u16)>,
        tags: Option<ChannelTags>,
    ) -> Result<Self, RxError> {
        let runt = || RxError::Runt(octets.len());
        let tag = |(tpid, tci)| Tag::from_tci(tpid, tci).ok_or(RxError::BadTag(octets.len()));
        let (_, rest) = octets.split_first_chunk::<ADDRESSES>().ok_or_else(runt)?;
        let outer = ethertype(rest).ok_or_else(runt)?;
        let noted = noted.map(tag).transpose()?;
        if let Some(tags) = tags.filter(|_| noted.is_none() && outer.is_channel_tag()) {
            let bad = |error| RxError::BadChannel(octets.len(), error);
            let channel = tags.parse(rest).map_err(bad)?;
            let (len, shift) = tags.size();
            let inside = Self::inside(rest.get(len..).unwrap_or_default(), runt, tag)?;
            if inside.ethertype.is_channel_tag() {
                return Err(bad(ChannelTagError::Doubled));
            }
            let vnet = vnet.shifted(-shift).shifted(inside.vnet);
            let Inside { tag, ethertype, start, .. } = inside;
            return Ok(Self { vnet, channel: Some(channel), tag, ethertype, start: ADDRESSES + len + start });
        }
        if noted.is_some() {
            return Ok(Self { vnet, channel: None, tag: noted, ethertype: outer, start: ADDRESSES });
        }
        let Inside { tag, ethertype, start, vnet: shift } = Self::inside(rest, runt, tag)?;
        Ok(Self { vnet: vnet.shifted(shift), channel: None, tag, ethertype, start: ADDRESSES + start })
    }

    /// Reads what follows addresses, and the tag of an E-channel if there is one.
    fn inside(
        rest: &[u8],
        runt: impl Fn() -> RxError,
        tag: impl Fn((EtherType, u16)) -> Result<Tag, RxError>,
    ) -> Result<Inside, RxError> {
        let outer = ethertype(rest).ok_or_else(&runt)?;
        if !outer.is_vlan() {
            return Ok(Inside { tag: None, ethertype: outer, start: 0, vnet: 0 });
        }
        let (&[_, _, high, low], rest) = rest.split_first_chunk::<TAG>().ok_or_else(&runt)?;
        let inner = ethertype(rest).ok_or_else(runt)?;
        let tag = tag((outer, u16::from_be_bytes([high, low])))?;
        Ok(Inside { tag: Some(tag), ethertype: inner, start: TAG, vnet: -TAG_SHIFT })
    }
}

/// What stands behind addresses and the tag of an E-channel: where the EtherType is from there, and by how much that
/// moves what the sender postponed.
struct Inside {
    tag: Option<Tag>,
    ethertype: EtherType,
    start: usize,
    vnet: i16,
}

/// The tags of E-channels that frames come in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelTags {
    /// Which tags.
    pub framing: Framing,
    /// Frames come down, from the controlling bridge, and not up, from port extenders.
    pub down: bool,
    /// Frames on their way up may have their port in place of the ingress identifier.
    pub ingress_form: bool,
}

impl ChannelTags {
    fn parse(self, octets: &[u8]) -> Result<ChannelTag, ChannelTagError> {
        if self.down {
            DownTag::parse(self.framing, octets).map(ChannelTag::Down)
        } else if self.ingress_form {
            UpTag::parse_either(self.framing, octets).map(ChannelTag::Up)
        } else {
            UpTag::parse(self.framing, octets).map(ChannelTag::Up)
        }
    }

    /// Octets of a tag, also as what it moves.
    fn size(self) -> (usize, i16) {
        let octets = self.framing.overhead();
        (octets, i16::try_from(octets).unwrap_or_default())
    }
}

impl PortStats {
    /// Counts a frame of `octets` octets that came in, tag not included, or could not be read.
    pub(crate) fn received(&mut self, frame: Result<usize, RxError>) {
        match frame {
            Ok(octets) => {
                self.rx_frames += 1;
                self.rx_octets += u64::try_from(octets).unwrap_or(u64::MAX);
                self.rx_super_frames += u64::from(octets > Self::SUPER_FRAME);
            }
            Err(RxError::Runt(_)) => self.rx_runt += 1,
            Err(RxError::Truncated(_)) => self.rx_truncated += 1,
            Err(RxError::BadTag(_)) => self.rx_bad_tag += 1,
            Err(RxError::BadChannel(_, ChannelTagError::IngressForm(_))) => self.rx_ingress_form += 1,
            Err(RxError::BadChannel(..)) => self.rx_bad_channel += 1,
            Err(RxError::Checksum(_)) => self.rx_unfinished += 1,
        }
    }
}

fn ethertype(octets: &[u8]) -> Option<EtherType> {
    octets.first_chunk().map(|pair| EtherType(u16::from_be_bytes(*pair)))
}

/// Destination and source.
pub(crate) const ADDRESSES: usize = 12;
pub(crate) const ETHERTYPE: usize = 2;
pub(crate) const TAG: usize = Tag::LEN;
/// Octets by which a tag moves what follows it.
pub(crate) const TAG_SHIFT: i16 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_one_counter() {
        let mut stats = PortStats::default();
        for error in [
            RxError::Runt(1),
            RxError::Truncated(2),
            RxError::BadTag(3),
            RxError::BadTag(0),
            RxError::BadChannel(0, ChannelTagError::Reserved),
            RxError::BadChannel(0, ChannelTagError::IngressForm(ether::Pcid::new(7).unwrap())),
            RxError::Checksum(9),
        ] {
            stats.received(Err(error));
        }
        assert_eq!(
            stats,
            PortStats {
                rx_runt: 1,
                rx_truncated: 1,
                rx_bad_tag: 2,
                rx_bad_channel: 1,
                rx_ingress_form: 1,
                rx_unfinished: 1,
                ..PortStats::default()
            }
        );
    }
}
