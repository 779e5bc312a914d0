use ether::{ChannelTag, ChannelTagError, DownTag, ECid, Framing, MacAddr, Pcid, Pcp, Tag, UpTag};
use libc::tpacket_auxdata;
use proptest::prelude::*;

use super::{receive::read, *};
use crate::frame::{ADDRESSES, ChannelTags};

const VNET: VnetHdr =
    VnetHdr { flags: 1, gso_type: 1, hdr_len: 54, gso_size: 1448, csum_start: 34, csum_offset: 16 };

fn message(bytes: &[u8], tag: Option<(u16, u16)>) -> Message<'_> {
    let aux = |(tpid, tci)| tpacket_auxdata {
        tp_status: libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID,
        tp_len: 0,
        tp_snaplen: 0,
        tp_mac: 0,
        tp_net: 0,
        tp_vlan_tci: tci,
        tp_vlan_tpid: tpid,
    };
    Message { bytes, truncated: false, aux: tag.map(aux) }
}

/// A vnet header and a frame with `middle` between addresses and payload.
fn octets(vnet: VnetHdr, middle: &[u8]) -> Vec<u8> {
    [&vnet.to_bytes()[..], &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], middle, &[0x45, 0, 0, 9]].concat()
}

/// What a copy with `tag` puts on the wire.
fn sent(frame: &RxFrame<'_>, tag: Option<Tag>) -> Vec<u8> {
    [TxCopy::new(frame, tag, None, Pcp::default(), None).head(), frame.rest].concat()
}

/// The frame of `message`, as the only one of its batch.
fn understood(message: Message<'_>) -> Result<RxFrame<'_>, RxError> {
    by_channel(message, None)
}

/// The same, on a cascade or upstream port.
fn by_channel(message: Message<'_>, tags: Option<ChannelTags>) -> Result<RxFrame<'_>, RxError> {
    let head = read(&message, None, tags)?;
    Ok(RxFrame::new(0, &head, behind_vnet(&message)).expect("a head is of a frame"))
}

fn tag(tpid: u16, tci: u16) -> Option<Tag> {
    Tag::from_tci(EtherType(tpid), tci)
}

#[test]
fn a_noted_tag_goes_behind_the_addresses() {
    let bytes = octets(VNET, &[8, 0]);
    let frame = understood(message(&bytes, Some((0x88a8, 0x6064)))).unwrap();
    assert_eq!((frame.tag, frame.vnet, frame.octets()), (tag(0x88a8, 0x6064), VNET, 18));
    let summary = frame.summary();
    assert_eq!((summary.dst, summary.src), (MacAddr(2, 0, 0, 0, 0, 1), MacAddr(2, 0, 0, 0, 0, 2)));
    assert_eq!((summary.tag, summary.ethertype, summary.len), (frame.tag, EtherType(0x800), 18));
    assert_eq!(summary.payload, [0x45, 0, 0, 9]);
    let moved = VnetHdr { hdr_len: 58, csum_start: 38, ..VNET };
    assert_eq!(sent(&frame, frame.tag), octets(moved, &[0x88, 0xa8, 0x60, 0x64, 8, 0]));
    assert_eq!(sent(&frame, None), bytes);
}

#[test]
fn a_tag_in_the_frame_is_read_past() {
    let bytes = octets(VNET, &[0x81, 0, 0, 7, 8, 0]);
    let frame = understood(message(&bytes, None)).unwrap();
    assert_eq!((frame.tag, frame.ethertype(), frame.octets()), (tag(0x8100, 7), EtherType(0x800), 18));
    assert_eq!(sent(&frame, frame.tag), bytes);
    let moved = VnetHdr { hdr_len: 50, csum_start: 30, ..VNET };
    assert_eq!(sent(&frame, None), octets(moved, &[8, 0]));
}

#[test]
fn the_tag_of_an_e_channel_is_outermost() {
    let etag = [0x89, 0x3f, 0x60, 0, 0x0a, 0xbc, 0, 0];
    let vlan = [0x81, 0, 0x60, 0x0a, 8, 0];
    let bytes = octets(VNET, &[&etag[..], &vlan].concat());
    let up = Some(ChannelTags { framing: Framing::Etag, down: false, ingress_form: false });
    let frame = by_channel(message(&bytes, None), up).unwrap();
    let tagged = UpTag { source: Pcid::new(0xabc).unwrap(), pcp: Pcp::new(3).unwrap(), dei: false };
    assert_eq!(frame.channel, Some(ChannelTag::Up(tagged)));
    assert_eq!((frame.tag, frame.ethertype(), frame.octets()), (tag(0x8100, 0x600a), EtherType(0x800), 18));
    assert_eq!(frame.vnet, VnetHdr { hdr_len: 42, csum_start: 22, ..VNET });
    let sent =
        |channel, tag| [TxCopy::new(&frame, tag, channel, Pcp::default(), None).head(), frame.rest].concat();
    // As it came, and by a VN-Tag, untagged.
    assert_eq!(sent(tagged.octets(Framing::Etag), frame.tag), bytes);
    let down =
        DownTag { to: ECid::new(0x20_0005).unwrap(), source: Pcid::new(100), pcp: tagged.pcp, dei: false };
    let vntag = down.octets(Framing::Vntag);
    let moved = VnetHdr { hdr_len: 48, csum_start: 28, ..VNET };
    assert_eq!(sent(vntag, None), octets(moved, &[0x89, 0x26, 0xe0, 0x05, 0x80, 0x64, 8, 0]));
    let tags = Some(ChannelTags { framing: Framing::Vntag, down: true, ingress_form: false });
    let wire = octets(moved, &[0x89, 0x26, 0xe0, 0x05, 0x80, 0x64, 8, 0]);
    let came = by_channel(message(&wire, None), tags).unwrap();
    let down = DownTag { pcp: Pcp::default(), ..down };
    assert_eq!((came.channel, came.tag, came.vnet), (Some(ChannelTag::Down(down)), None, frame.vnet));
    // A super-frame is cut here, and all tags count against the MTU.
    let copy = TxCopy::new(&frame, frame.tag, tagged.octets(Framing::Etag), Pcp::default(), None);
    assert_eq!((copy.is_cut(), copy.overhead()), (true, 12));
}

#[test]
fn where_no_frame_may_have_such_a_tag_it_is_none() {
    let etag = [0x89, 0x3f, 0, 0, 0, 1, 0, 0, 8, 0];
    let bytes = octets(VnetHdr::default(), &etag);
    let frame = understood(message(&bytes, None)).unwrap();
    assert_eq!((frame.channel, frame.ethertype(), frame.rest.len()), (None, EtherType::E_TAG, 14));
    // Nor is it the outermost one behind a VLAN tag.
    let tags = Some(ChannelTags { framing: Framing::Etag, down: false, ingress_form: false });
    let frame = by_channel(message(&bytes, Some((0x8100, 7))), tags).unwrap();
    assert_eq!((frame.channel, frame.tag), (None, tag(0x8100, 7)));
}

#[test]
fn malformed_tags_of_e_channels() {
    let tags = Some(ChannelTags { framing: Framing::Etag, down: false, ingress_form: false });
    let error =
        |middle: &[u8]| by_channel(message(&octets(VnetHdr::default(), middle), None), tags).unwrap_err();
    let whole = 12 + 8 + 2 + 4;
    for (middle, octets, wrong) in [
        (&[0x89, 0x3f, 0, 0, 0, 1, 0, 0, 0x89, 0x3f][..], whole, ChannelTagError::Doubled),
        (&[0x89, 0x3f, 0, 0, 0, 1, 0, 0, 0x89, 0x26], whole, ChannelTagError::Doubled),
        (&[0x89, 0x3f, 0, 0, 0, 0, 0, 0, 8, 0], whole, ChannelTagError::NoChannel),
        (&[0x89, 0x26, 0, 0, 0, 0, 8, 0], whole - 2, ChannelTagError::Kind(EtherType::VN_TAG)),
        (&[0x89, 0x3f], 18, ChannelTagError::Short(6)),
    ] {
        assert_eq!(error(middle), RxError::BadChannel(octets, wrong));
    }
    // Cut short behind the tag.
    assert_eq!(error(&[0x89, 0x3f, 0, 0]), RxError::Runt(20));
    let short = [&[0; VnetHdr::LEN + 12][..], &[0x89, 0x3f, 0, 0, 0, 1, 0, 0, 8]].concat();
    assert_eq!(by_channel(message(&short, None), tags).unwrap_err(), RxError::Runt(21));
    let vlan =
        [&[0; VnetHdr::LEN + 12][..], &[0x89, 0x3f, 0, 0, 0, 1, 0, 0, 0x81, 0, 0x0f, 0xff, 8, 0]].concat();
    assert_eq!(by_channel(message(&vlan, None), tags).unwrap_err(), RxError::BadTag(26));
}

#[test]
fn a_second_tag_stays_in_the_payload() {
    let bytes = octets(VNET, &[0x81, 0, 0, 7, 8, 0]);
    let frame = understood(message(&bytes, Some((0x88a8, 5)))).unwrap();
    assert_eq!((frame.tag, frame.ethertype(), frame.octets()), (tag(0x88a8, 5), EtherType::C_VLAN, 22));
    assert_eq!(frame.rest, &bytes[VnetHdr::LEN + ADDRESSES..]);
}

#[test]
fn every_error_of_reading() {
    let bytes = octets(VNET, &[0x81, 0, 0x0f, 0xff, 8, 0]);
    assert_eq!(understood(message(&bytes, None)).unwrap_err(), RxError::BadTag(22));
    assert_eq!(understood(message(&bytes, Some((0x8100, 0xffff)))).unwrap_err(), RxError::BadTag(22));
    let cut = Message { truncated: true, ..message(&bytes, None) };
    assert_eq!(understood(cut).unwrap_err(), RxError::Truncated(22));
    let tagged = octets(VNET, &[0x81, 0, 0, 7, 8, 0]);
    for len in 0..VnetHdr::LEN + 18 {
        let error = understood(message(&tagged[..len], None)).unwrap_err();
        assert_eq!(error, RxError::Runt(len.saturating_sub(VnetHdr::LEN)));
    }
    for len in 0..VnetHdr::LEN + 14 {
        assert!(understood(message(&tagged[..len], Some((0x8100, 1)))).is_err());
    }
}

proptest! {
    #[test]
    fn any_octets_read_and_sent_again_are_the_same(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        noted in proptest::option::of((any::<u16>(), any::<u16>())),
        vlan in any::<bool>(),
    ) {
        let mut bytes = bytes;
        // No offload: the shift of a header that makes no sense may saturate.
        bytes.iter_mut().take(4).for_each(|octet| *octet = 0);
        if let (true, Some(tpid)) = (vlan, bytes.get_mut(22..24)) {
            tpid.copy_from_slice(&[0x81, 0]);
        }
        if let Ok(frame) = understood(message(&bytes, noted)) {
            if noted.is_some() {
                prop_assert_eq!(sent(&frame, None), bytes);
            } else {
                prop_assert_eq!(sent(&frame, frame.tag), bytes);
            }
        }
    }
}
