//! Captures: pcap in both byte orders with microseconds or nanoseconds, and pcapng. Read as they come, so that a pipe
//! from a running `tcpdump -w -` is shown at once.

use std::{
    io::{self, Read},
    time::Duration,
};

/// A capture being read; yields its records.
pub struct Capture<R> {
    input: R,
    /// Octets read so far.
    offset: u64,
    format: Format,
    big_endian: bool,
    done: bool,
}

/// One captured frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, since 1970 in UTC; none where the capture does not say.
    pub at: Option<Duration>,
    /// The octets captured, from the destination address on.
    pub frame: Vec<u8>,
    /// Octets the frame had.
    pub length: usize,
}

/// Why no more can be read of a capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It starts like none of the formats.
    #[error("no pcap or pcapng capture: it starts with {0:08x}")]
    Magic(u32),
    /// Its frames are not Ethernet frames; holds the link type.
    #[error("frames of link type {0}, only Ethernet (1) is read; do not capture on \"any\"")]
    LinkType(u32),
    /// A record or block says a length that cannot be.
    #[error("at octet {offset}: a {what} of {length} octets")]
    Length {
        /// Where it starts.
        offset: u64,
        /// Which part.
        what: &'static str,
        /// What it says.
        length: u32,
    },
    /// A frame of an interface that was not described.
    #[error("at octet {offset}: a frame of interface {interface}, which is not described")]
    Interface {
        /// Where its block starts.
        offset: u64,
        /// Its number.
        interface: u32,
    },
    /// It ends in the middle of something.
    #[error("the capture is cut off at octet {0}")]
    Cut(u64),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

enum Format {
    Pcap { nanoseconds: bool },
    Pcapng { interfaces: Vec<Interface> },
}

/// An interface of a pcapng section.
#[derive(Clone, Copy)]
struct Interface {
    link_type: u32,
    /// Ticks a second.
    ticks: u64,
}

impl<R: Read> Capture<R> {
    /// Starts to read `input`.
    ///
    /// # Errors
    /// When it is no capture of Ethernet frames, or ends before its header does.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        let format = Format::Pcap { nanoseconds: false };
        let mut capture = Self { input, offset: 0, format, big_endian: true, done: false };
        let magic = capture.exactly::<4>()?;
        let nanoseconds = match magic {
            [0xa1, 0xb2, 0xc3, 0xd4] | [0xd4, 0xc3, 0xb2, 0xa1] => false,
            [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1] => true,
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                capture.format = Format::Pcapng { interfaces: Vec::new() };
                capture.section()?;
                return Ok(capture);
            }
            other => return Err(CaptureError::Magic(u32::from_be_bytes(other))),
        };
        capture.big_endian = magic.first() == Some(&0xa1);
        capture.format = Format::Pcap { nanoseconds };
        // Versions, zone, accuracy, snapshot length.
        capture.exactly::<16>()?;
        // The high half may say how long the check sequence is.
        match capture.word()? & 0x0fff_ffff {
            ETHERNET => Ok(capture),
            other => Err(CaptureError::LinkType(other)),
        }
    }

    fn record(&mut self) -> Result<Option<Record>, CaptureError> {
        match &self.format {
            Format::Pcap { nanoseconds } => {
                let nanoseconds = *nanoseconds;
                self.pcap_record(nanoseconds)
            }
            Format::Pcapng { .. } => loop {
                match self.block()? {
                    Block::Frame(record) => return Ok(Some(record)),
                    Block::Other => {}
                    Block::End => return Ok(None),
                }
            },
        }
    }

    fn pcap_record(&mut self, nanoseconds: bool) -> Result<Option<Record>, CaptureError> {
        let start = self.offset;
        let Some(seconds) = self.start()? else { return Ok(None) };
        let seconds = self.number(seconds);
        let (fraction, captured, length) = (self.word()?, self.word()?, self.word()?);
        let fraction = u64::from(fraction) * if nanoseconds { 1 } else { 1000 };
        let frame = self.octets(captured, MAX_FRAME, start, "record")?;
        let at = Duration::from_secs(seconds.into()).saturating_add(Duration::from_nanos(fraction));
        Ok(Some(Record { at: Some(at), frame, length: octets(length) }))
    }

    /// The rest of a section header whose type has been read: sets the byte order.
    fn section(&mut self) -> Result<(), CaptureError> {
        let start = self.offset.saturating_sub(4);
        let length = self.exactly::<4>()?;
        match self.exactly::<4>()? {
            [0x1a, 0x2b, 0x3c, 0x4d] => self.big_endian = true,
            [0x4d, 0x3c, 0x2b, 0x1a] => self.big_endian = false,
            other => return Err(CaptureError::Magic(u32::from_be_bytes(other))),
        }
        self.format = Format::Pcapng { interfaces: Vec::new() };
        let length = self.number(length);
        let rest = length.checked_sub(12).filter(|_| length.is_multiple_of(4));
        let rest = rest.ok_or(CaptureError::Length { offset: start, what: "section header", length })?;
        self.octets(rest, MAX_BLOCK, start, "section header").map(drop)
    }

    fn block(&mut self) -> Result<Block, CaptureError> {
        let start = self.offset;
        let Some(kind) = self.start()? else { return Ok(Block::End) };
        if kind == [0x0a, 0x0d, 0x0d, 0x0a] {
            return self.section().map(|()| Block::Other);
        }
        let kind = self.number(kind);
        let length = self.word()?;
        let wrong = || CaptureError::Length { offset: start, what: "block", length };
        // Type, length and the length once more.
        let Some(rest) = length.checked_sub(8).filter(|rest| *rest >= 4 && rest.is_multiple_of(4)) else {
            return Err(wrong());
        };
        let body = self.octets(rest, MAX_BLOCK, start, "block")?;
        let body = body.get(..body.len().saturating_sub(4)).unwrap_or_default();
        let big_endian = self.big_endian;
        let Format::Pcapng { interfaces } = &mut self.format else { return Ok(Block::Other) };
        let mut fields = Words { rest: body, big_endian };
        match kind {
            INTERFACE => {
                let link_type = fields.word().map(|word| if big_endian { word >> 16 } else { word & 0xffff });
                let link_type =
                    link_type.and_then(|link_type| fields.word().map(|_| link_type)).ok_or_else(wrong)?;
                interfaces.push(Interface { link_type, ticks: ticks(fields) });
                Ok(Block::Other)
            }
            ENHANCED => {
                let words = (fields.word(), fields.word(), fields.word(), fields.word(), fields.word());
                let (Some(interface), Some(high), Some(low), Some(captured), Some(length)) = words else {
                    return Err(wrong());
                };
                let found = usize::try_from(interface).ok().and_then(|number| interfaces.get(number));
                let found = *found.ok_or(CaptureError::Interface { offset: start, interface })?;
                let at = time(u64::from(high) << 32 | u64::from(low), found.ticks);
                frame(found, &fields, captured, length, Some(at)).ok_or_else(wrong)?
            }
            SIMPLE => {
                let length = fields.word().ok_or_else(wrong)?;
                let first =
                    *interfaces.first().ok_or(CaptureError::Interface { offset: start, interface: 0 })?;
                let there = u32::try_from(fields.rest.len()).unwrap_or(u32::MAX);
                frame(first, &fields, length.min(there), length, None).ok_or_else(wrong)?
            }
            _ => Ok(Block::Other),
        }
    }

    /// The first word of a record; none where the capture ends.
    fn start(&mut self) -> Result<Option<[u8; 4]>, CaptureError> {
        let mut first = [0];
        loop {
            match self.input.read(&mut first) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += 1;
        let [a] = first;
        let [b, c, d] = self.exactly::<3>()?;
        Ok(Some([a, b, c, d]))
    }

    fn exactly<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let mut octets = [0; N];
        self.fill(&mut octets)?;
        Ok(octets)
    }

    fn fill(&mut self, octets: &mut [u8]) -> Result<(), CaptureError> {
        self.input.read_exact(octets).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => CaptureError::Cut(self.offset),
            _ => error.into(),
        })?;
        self.offset += u64::try_from(octets.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn word(&mut self) -> Result<u32, CaptureError> {
        let octets = self.exactly()?;
        Ok(self.number(octets))
    }

    const fn number(&self, octets: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
    }

    fn octets(
        &mut self,
        length: u32,
        most: u32,
        offset: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, CaptureError> {
        if length > most {
            return Err(CaptureError::Length { offset, what, length });
        }
        let mut octets = vec![0; self::octets(length)];
        self.fill(&mut octets)?;
        Ok(octets)
    }
}

impl<R: Read> Iterator for Capture<R> {
    type Item = Result<Record, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.record().transpose();
        self.done = !matches!(record, Some(Ok(_)));
        record
    }
}

enum Block {
    Frame(Record),
    Other,
    End,
}

/// The frame in a block whose other fields have been read; `None` if it is longer than the block.
fn frame(
    interface: Interface,
    fields: &Words<'_>,
    captured: u32,
    length: u32,
    at: Option<Duration>,
) -> Option<Result<Block, CaptureError>> {
    if interface.link_type != ETHERNET {
        return Some(Err(CaptureError::LinkType(interface.link_type)));
    }
    let frame = fields.rest.get(..octets(captured))?.to_vec();
    Some(Ok(Block::Frame(Record { at, frame, length: octets(length) })))
}

/// The time stamp `stamp` of `ticks` a second.
fn time(stamp: u64, ticks: u64) -> Duration {
    let nanoseconds = u128::from(stamp % ticks) * 1_000_000_000 / u128::from(ticks);
    Duration::from_secs(stamp / ticks) + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

/// How many ticks a second the options of an interface say; a million where they do not.
fn ticks(mut options: Words<'_>) -> u64 {
    while let Some((code, length)) = options.halves().filter(|(code, _)| *code != 0) {
        let padded = usize::from(length).next_multiple_of(4);
        let Some((value, rest)) = options.rest.split_at_checked(padded) else { break };
        options.rest = rest;
        if let (RESOLUTION, Some(&resolution)) = (code, value.first()) {
            let power = u32::from(resolution & 0x7f);
            let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
            return base.checked_pow(power).unwrap_or(MICROSECONDS);
        }
    }
    MICROSECONDS
}

/// Numbers one after another.
struct Words<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl Words<'_> {
    fn word(&mut self) -> Option<u32> {
        let (octets, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(if self.big_endian { u32::from_be_bytes(*octets) } else { u32::from_le_bytes(*octets) })
    }

    /// Two numbers of 16 bits.
    fn halves(&mut self) -> Option<(u16, u16)> {
        let (octets, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        let [a, b, c, d] = *octets;
        let number = if self.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        Some((number([a, b]), number([c, d])))
    }
}

fn octets(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

const ETHERNET: u32 = 1;
/// Nothing captured is longer.
const MAX_FRAME: u32 = 256 << 10;
const MAX_BLOCK: u32 = 1 << 20;
const INTERFACE: u32 = 1;
const SIMPLE: u32 = 3;
const ENHANCED: u32 = 6;
/// The option of an interface that says how its clock ticks.
const RESOLUTION: u16 = 9;
const MICROSECONDS: u64 = 1_000_000;

#[cfg(test)]
#[path = "pcap_tests.rs"]
mod tests;
