//! Our own LLDP TLV beside the Port Extension TLV: who shows it has the same code book and can be spoken to.
//!
//! | octet | field |
//! |---|---|
//! | 0 | flags: 0x01 the sender has chosen this port as its upstream port |
//! | 1..5 | digest of the code book |
//! | 5..7 | life of the sender's port: another number after a restart |
//! | 7..9 | life of the receiver's port, as heard; 0: not heard |
//! | 9.. | name of the code book, 1 to 32 octets |
//!
//! Who hears another life of its peer opens the session anew, and says so in the echo: LLDP sends what has changed at once,
//! so either end learns of a restart of the other within one round trip and not within a transmission interval.
//!
//! The OUI is a locally administered one, no organization's.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use nom::{
    Parser,
    combinator::rest,
    number::complete::{be_u16, be_u32, u8 as octet},
};
use serde::Serialize;

use crate::csp::CodeBook;

/// The OUI of the marker: locally administered.
pub const OUI: [u8; 3] = [0x02, 0x65, 0x76];
/// Its subtype.
pub const SUBTYPE: u8 = 0x62;

/// What the marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Marker {
    /// The sender has chosen this port as its upstream port.
    pub chosen: bool,
    /// Digest of its code book.
    pub digest: u32,
    /// Life of its port.
    pub life: u16,
    /// Life of ours, as it heard.
    pub echo: u16,
    /// Name of its code book.
    pub book: String,
}

/// A marker that is cut short or names no book. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("peer: a marker of {0} octets; 10 to 41 with a name in UTF-8 are expected")]
pub struct BadMarker(pub usize);

impl Marker {
    /// What a speaker of `book` says.
    #[must_use]
    pub fn new(book: &CodeBook, chosen: bool, life: u16, echo: u16) -> Self {
        Self { chosen, digest: book.digest(), life, echo, book: book.name.clone() }
    }

    /// Whether its sender has the same book.
    #[must_use]
    pub fn speaks(&self, book: &CodeBook) -> bool {
        self.digest == book.digest()
    }

    /// Reads what follows OUI and subtype. Unknown flags are ignored.
    ///
    /// # Errors
    /// When it is cut short, too long, or the name is not text.
    pub fn parse(info: &[u8]) -> Result<Self, BadMarker> {
        let bad = BadMarker(info.len());
        let (_, (flags, digest, life, echo, name)) =
            (octet::<_, ()>, be_u32, be_u16, be_u16, rest).parse(info).map_err(|_| bad)?;
        let name =
            core::str::from_utf8(name).ok().filter(|name| (1..=32).contains(&name.len())).ok_or(bad)?;
        Ok(Self { chosen: flags & CHOSEN != 0, digest, life, echo, book: name.to_owned() })
    }

    /// What follows OUI and subtype.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(9 + self.book.len());
        buf.put_u8(if self.chosen { CHOSEN } else { 0 });
        buf.put_u32(self.digest);
        buf.put_u16(self.life);
        buf.put_u16(self.echo);
        buf.put_slice(self.book.as_bytes());
        buf.freeze()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chosen, digest, life, echo, book } = self;
        write!(
            f,
            "code book {book} ({digest:08x}), life {life}, hears {echo}{}",
            if *chosen { ", upstream port" } else { "" }
        )
    }
}

const CHOSEN: u8 = 0x01;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_ways_and_cut() {
        let marker =
            Marker { chosen: true, digest: 0x0102_0304, life: 0x506, echo: 0x708, book: "P0".to_owned() };
        assert_eq!(marker.to_bytes()[..], [1, 1, 2, 3, 4, 5, 6, 7, 8, b'P', b'0']);
        assert_eq!(marker.to_string(), "code book P0 (01020304), life 1286, hears 1800, upstream port");
        for len in 0..10 {
            assert_eq!(Marker::parse(&marker.to_bytes()[..len]), Err(BadMarker(len)));
        }
        assert_eq!(Marker::parse(&[0xff; 10]), Err(BadMarker(10)), "no text");
        assert_eq!(Marker::parse(&[b'x'; 42]), Err(BadMarker(42)), "too long a name");
        assert!(Marker::new(&CodeBook::p0(), false, 1, 2).speaks(&CodeBook::p0()));
        assert!(!marker.speaks(&CodeBook::p0()));
    }

    proptest! {
        #[test]
        fn emit_then_parse(chosen: bool, digest: u32, life: u16, echo: u16, book in "[a-zA-Z0-9 ]{1,32}") {
            let marker = Marker { chosen, digest, life, echo, book };
            prop_assert_eq!(Marker::parse(&marker.to_bytes()), Ok(marker));
        }

        #[test]
        fn any_octets(octets in proptest::collection::vec(any::<u8>(), 0..50)) {
            let _ = Marker::parse(&octets);
        }
    }
}
