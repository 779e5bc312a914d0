//! A received frame, however it came: where its tag is, what the sender postponed, and what is wrong with it.

use ether::{EtherType, MacAddr, Tag};
use hairpin::Frame;

use crate::{stats::PortStats, vnet::VnetHdr};

/// A received frame, its outermost VLAN tag taken off.
#[derive(Clone, Copy, Debug)]
pub struct RxFrame<'a> {
    /// What the sender postponed. Offsets are those of the frame without the tag.
    pub vnet: VnetHdr,
    /// Destination and source.
    pub addresses: &'a [u8; ADDRESSES],
    /// The outermost VLAN tag.
    pub tag: Option<Tag>,
    /// What follows addresses and tag: EtherType and payload.
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
    /// The sender left its checksum unfinished, or may have, and it cannot be finished here.
    #[error("a checksum that cannot be finished here")]
    Checksum(usize),
}

impl RxError {
    /// The octets received.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Runt(octets) | Self::Truncated(octets) | Self::BadTag(octets) | Self::Checksum(octets) => {
                octets
            }
        }
    }
}

impl<'a> RxFrame<'a> {
    /// The frame `octets` of a batch's row `slot`, as [`Head::read`] understood it.
    pub(crate) fn new(slot: usize, head: &Head, octets: &'a [u8]) -> Option<Self> {
        let Head { vnet, tag, ethertype, start } = *head;
        Some(Self {
            vnet,
            addresses: octets.first_chunk()?,
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
    pub(crate) tag: Option<Tag>,
    pub(crate) ethertype: EtherType,
    /// Where the EtherType behind addresses and tag is, in octets of the frame.
    pub(crate) start: usize,
}

impl Head {
    /// Reads `octets` of a frame. `noted` is the outermost tag if it came beside the frame, and then a tag in the frame is
    /// the second one.
    pub(crate) fn read(
        octets: &[u8],
        vnet: VnetHdr,
        noted: Option<(EtherType, u16)>,
    ) -> Result<Self, RxError> {
        let runt = || RxError::Runt(octets.len());
        let tag = |(tpid, tci)| Tag::from_tci(tpid, tci).ok_or(RxError::BadTag(octets.len()));
        let (_, rest) = octets.split_first_chunk::<ADDRESSES>().ok_or_else(runt)?;
        let outer = ethertype(rest).ok_or_else(runt)?;
        let noted = noted.map(tag).transpose()?;
        if noted.is_some() || !outer.is_vlan() {
            return Ok(Self { vnet, tag: noted, ethertype: outer, start: ADDRESSES });
        }
        let (&[_, _, high, low], rest) = rest.split_first_chunk::<TAG>().ok_or_else(runt)?;
        let inner = ethertype(rest).ok_or_else(runt)?;
        let tag = tag((outer, u16::from_be_bytes([high, low])))?;
        Ok(Self { vnet: vnet.shifted(-TAG_SHIFT), tag: Some(tag), ethertype: inner, start: ADDRESSES + TAG })
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
                rx_unfinished: 1,
                ..PortStats::default()
            }
        );
    }
}
