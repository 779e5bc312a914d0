//! One copy of a frame: what precedes the rest of it.

use ether::{ETag, EtherType, Framing, Pcp, Tag, TagOctets, Vid};
use hairpin::svlan;

use super::Batch;
use crate::{
    frame::{ADDRESSES, ETHERTYPE, RxFrame, TAG},
    segment, tagger,
    vnet::VnetHdr,
};

/// One copy: the octets that precede the rest of the frame, and where that rest is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxCopy {
    head: [u8; HEAD],
    /// Octets of its tags.
    tags: usize,
    pub(crate) priority: Pcp,
    pub(crate) slot: usize,
}

impl TxCopy {
    pub(super) fn new(
        frame: &RxFrame<'_>,
        tag: Option<Tag>,
        channel: Option<TagOctets>,
        priority: Pcp,
        svid: Option<Vid>,
    ) -> Self {
        let service = |svid| svlan::tag(svid, Some(tag.unwrap_or(Tag { pcp: priority, ..Tag::c(svid) })));
        let mut tags = 0;
        let mut head = [0; HEAD];
        if let Some((_, room)) = head.split_at_mut_checked(VnetHdr::LEN + ADDRESSES) {
            let outer = channel.as_ref().map_or(&[][..], TagOctets::as_slice).iter().copied();
            let vlans = svid.map(service).into_iter().chain(tag).flat_map(Tag::to_bytes);
            for (to, octet) in room.iter_mut().zip(outer.chain(vlans)) {
                *to = octet;
                tags += 1;
            }
        }
        let vnet = frame.vnet.shifted(i16::try_from(tags).unwrap_or_default());
        for (to, octet) in head.iter_mut().zip(vnet.to_bytes().into_iter().chain(*frame.addresses)) {
            *to = octet;
        }
        Self { head, tags, priority, slot: frame.slot() }
    }

    /// An untagged copy of the frame in row `slot`, its addresses zero.
    #[cfg(test)]
    pub(crate) const fn blank(priority: Pcp, slot: usize) -> Self {
        Self { head: [0; HEAD], tags: 0, priority, slot }
    }

    /// The same of the frame in row `slot`.
    pub(crate) const fn of_row(self, slot: usize) -> Self {
        Self { slot, ..self }
    }

    /// Octets of the frame it is, tag included.
    pub(crate) fn octets(&self, batch: &Batch) -> usize {
        self.front().len() + batch.rest(self.slot).len()
    }

    /// What is still to be done to the frame.
    pub(crate) fn vnet(&self) -> VnetHdr {
        self.head.first_chunk().map_or_else(VnetHdr::default, |octets| VnetHdr::from_bytes(*octets))
    }

    pub(crate) fn is_super_frame(&self) -> bool {
        let [_, gso_type, ..] = self.head;
        gso_type != 0
    }

    /// Whether it has to be cut here: few cards, and not every version of the kernel, cut behind a tag that is no C-tag.
    pub(super) fn is_cut(&self) -> bool {
        self.tags > 0 && self.is_super_frame() && self.tpid() != Some(EtherType::C_VLAN)
    }

    /// The mark that says its first tag, and the copy without that.
    pub(super) fn late(&self, framing: Framing) -> Option<(u32, Self)> {
        let len = framing.overhead();
        let (before, tags) = self.head().split_at_checked(VnetHdr::LEN + ADDRESSES)?;
        let (tag, rest) = tags.split_at_checked(len)?;
        let mark = tagger::mark(framing, tag)?;
        let vnet = self.vnet().shifted(i16::try_from(len).ok()?.saturating_neg()).to_bytes();
        let octets = vnet.iter().chain(before.get(VnetHdr::LEN..)?).chain(rest);
        let mut head = [0; HEAD];
        head.iter_mut().zip(octets).for_each(|(to, octet)| *to = *octet);
        Some((mark, Self { head, tags: rest.len(), ..*self }))
    }

    /// Octets of its tags that count against the MTU: of a lone C-tag none do, but all behind any other.
    pub(crate) fn overhead(&self) -> usize {
        if self.tags == 0 || self.tpid() == Some(EtherType::C_VLAN) { 0 } else { self.tags }
    }

    fn tpid(&self) -> Option<EtherType> {
        let octets = self.head.get(VnetHdr::LEN + ADDRESSES..)?.first_chunk()?;
        Some(EtherType(u16::from_be_bytes(*octets)))
    }

    /// The copy as one piece, without vnet header.
    pub(crate) fn whole(&self, batch: &Batch) -> Vec<u8> {
        [self.front(), batch.rest(self.slot)].concat()
    }

    /// Where the IP header starts in it: behind the EtherType that follows the last tag.
    pub(crate) fn ip(&self, batch: &Batch) -> usize {
        let rest = batch.rest(self.slot);
        let inner = rest.chunks(TAG).take_while(|chunk| {
            chunk.first_chunk().is_some_and(|pair| EtherType(u16::from_be_bytes(*pair)).is_vlan())
        });
        self.head().len() - VnetHdr::LEN + inner.count() * TAG + ETHERTYPE
    }

    /// Octets of the longest IP packet it stands for; `None` if it is not understood.
    pub(super) fn longest_segment(&self, batch: &Batch) -> Option<usize> {
        let before = self.head().len() - VnetHdr::LEN;
        segment::longest(batch.rest(self.slot), self.vnet().back(before), self.ip(batch) - before).ok()
    }

    pub(super) fn head(&self) -> &[u8] {
        self.head.get(..VnetHdr::LEN + ADDRESSES + self.tags).unwrap_or_default()
    }

    /// The frame's own octets before the rest: addresses and tag.
    pub(crate) fn front(&self) -> &[u8] {
        self.head().get(VnetHdr::LEN..).unwrap_or_default()
    }
}

/// Vnet header, addresses, tag of an E-channel or of an S-channel, C-tag.
const HEAD: usize = VnetHdr::LEN + ADDRESSES + ETag::LEN + TAG;
