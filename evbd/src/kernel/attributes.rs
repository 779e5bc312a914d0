//! Attributes of netlink messages: length, kind, value, padded to four octets.

use bytes::{BufMut, BytesMut};

/// The attributes in `octets`, to the first that is cut short.
pub(crate) fn attributes(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(octets, 0)?);
        let kind = u16_at(octets, 2)? & KIND;
        let value = octets.get(4..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub(crate) fn find(octets: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(octets).find(|(is, _)| *is == kind).map(|(_, value)| value)
}

/// Appends an attribute of at most 65531 octets.
pub(crate) fn put(message: &mut BytesMut, kind: u16, value: &[u8]) {
    message.put_u16_ne(u16::try_from(value.len() + 4).unwrap_or(u16::MAX));
    message.put_u16_ne(kind);
    message.put_slice(value);
    message.put_bytes(0, value.len().next_multiple_of(4) - value.len());
}

/// Appends an attribute made of attributes.
pub(crate) fn nest(message: &mut BytesMut, kind: u16, fill: impl FnOnce(&mut BytesMut)) {
    let mut inner = BytesMut::new();
    fill(&mut inner);
    put(message, kind | NESTED, &inner);
}

/// A number in the order of the host.
pub(crate) fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
}

/// A number in the order of the host.
pub(crate) fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*octets.get(at..)?.first_chunk()?))
}

/// `NLA_F_NESTED`, and an attribute's kind without its flags.
const NESTED: u16 = 0x8000;
const KIND: u16 = 0x3fff;
