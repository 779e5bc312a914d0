//! A read-only view of an Ethernet frame and the builder of control frames.

use crate::{ethertype::EtherType, mac::MacAddr, tag::Tag};

/// Octets of destination, source and EtherType.
pub const HEADER: usize = 14;
/// The shortest frame on a medium without its check sequence; virtual links carry shorter ones.
pub const MIN: usize = 60;

/// The parts of a frame, borrowed. At most one VLAN tag is taken off; a second one stays in front of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameView<'a> {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// The outermost VLAN tag, if there is one.
    pub tag: Option<Tag>,
    /// What the payload is: the EtherType after the tag, or a length below 1536 in an 802.3 frame.
    pub ethertype: EtherType,
    /// Everything after the EtherType, padding included.
    pub payload: &'a [u8],
}

/// Why octets are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its own header; holds the length found.
    #[error("{0} octets cannot hold an Ethernet header")]
    Short(usize),
    /// The tag carries VID 4095.
    #[error("VLAN tag with the reserved VID 4095")]
    ReservedVid,
}

impl<'a> FrameView<'a> {
    /// Reads `frame`, which starts at the destination address and has no check sequence.
    ///
    /// # Errors
    /// When the header is cut short or names VID 4095.
    pub fn parse(frame: &'a [u8]) -> Result<Self, FrameError> {
        let short = || FrameError::Short(frame.len());
        let (dst, rest) = frame.split_first_chunk::<6>().ok_or_else(short)?;
        let (src, rest) = rest.split_first_chunk::<6>().ok_or_else(short)?;
        let (first, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let outer = EtherType(u16::from_be_bytes(*first));
        let (tag, ethertype, payload) = if outer.is_vlan() {
            let (tci, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            let (inner, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            let tag = Tag::from_tci(outer, u16::from_be_bytes(*tci)).ok_or(FrameError::ReservedVid)?;
            (Some(tag), EtherType(u16::from_be_bytes(*inner)), rest)
        } else {
            (None, outer, rest)
        };
        Ok(Self { dst: MacAddr::from(*dst), src: MacAddr::from(*src), tag, ethertype, payload })
    }
}

/// An untagged frame around `payload`, padded with zeros to [`MIN`].
#[must_use]
pub fn build(dst: MacAddr, src: MacAddr, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity((HEADER + payload.len()).max(MIN));
    frame.extend_from_slice(&dst.octets());
    frame.extend_from_slice(&src.octets());
    frame.extend_from_slice(&ethertype.0.to_be_bytes());
    frame.extend_from_slice(payload);
    if frame.len() < MIN {
        frame.resize(MIN, 0);
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vlan::Vid;

    const DST: MacAddr = MacAddr(1, 0x80, 0xc2, 0, 0, 0);
    const SRC: MacAddr = MacAddr(2, 0, 0, 0, 0, 9);

    #[test]
    fn build_then_parse() {
        let frame = build(DST, SRC, EtherType::ECP, &[0x10, 1, 0, 7]);
        let view = FrameView::parse(&frame).unwrap();
        assert_eq!((frame.len(), view.dst, view.src, view.tag), (MIN, DST, SRC, None));
        assert_eq!((view.ethertype, &view.payload[..4]), (EtherType::ECP, &[0x10u8, 1, 0, 7][..]));
    }

    #[test]
    fn one_tag_is_taken_off() {
        let mut frame = build(DST, SRC, EtherType::ECP, &[1]);
        frame.splice(12..12, Tag::c(Vid::new(100).unwrap()).to_bytes());
        let view = FrameView::parse(&frame).unwrap();
        assert_eq!((view.tag, view.ethertype), (Some(Tag::c(Vid::new(100).unwrap())), EtherType::ECP));
        frame[14..16].copy_from_slice(&[0x0f, 0xff]);
        assert_eq!(FrameView::parse(&frame), Err(FrameError::ReservedVid));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut frame = build(DST, SRC, EtherType::ECP, &[]);
        frame.splice(12..12, Tag::c(Vid::DEFAULT).to_bytes());
        for len in 0..HEADER + Tag::LEN {
            assert_eq!(FrameView::parse(&frame[..len]), Err(FrameError::Short(len)));
        }
    }

    proptest! {
        #[test]
        fn any_octets(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = FrameView::parse(&bytes);
        }
    }
}
