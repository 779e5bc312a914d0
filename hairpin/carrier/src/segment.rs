//! Cutting a super-frame into the frames it stands for, checksums finished: what the kernel or a card does as late as it
//! can, done here for a copy that neither can be trusted with.
//!
//! TCP over IPv4 (RFC 791) and IPv6 (RFC 8200): sequence numbers go on (RFC 9293 3.1), FIN and PSH stay with the last
//! segment, CWR with the first (RFC 3168 6.1.2). UDP: each segment is a datagram of its own (RFC 768). Headers are those
//! of the super-frame; IPv4 identifications count up.

use crate::{
    checksum::{fold, sum},
    vnet::VnetHdr,
};

/// Why a super-frame cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SegmentError {
    /// Neither TCP nor UDP segmentation.
    #[error("segmentation of kind {0}")]
    Kind(u8),
    /// The headers are not where the vnet header says, or not whole.
    #[error("headers that do not fit together")]
    Headers,
}

/// Octets of the longest segment's IP packet: what an MTU must hold. `ip` is where the IP header of `frame` starts.
pub(crate) fn longest(frame: &[u8], vnet: VnetHdr, ip: usize) -> Result<usize, SegmentError> {
    let layout = Layout::read(frame, vnet, ip)?;
    Ok(layout.headers - ip + layout.size.min(frame.len() - layout.headers))
}

/// Cuts `frame`, whose IP header starts at `ip`, and gives each segment, a whole frame, to `emit`. `segment` is room for
/// one.
pub(crate) fn segment(
    frame: &[u8],
    vnet: VnetHdr,
    ip: usize,
    segment: &mut Vec<u8>,
    mut emit: impl FnMut(&[u8]),
) -> Result<(), SegmentError> {
    let layout = Layout::read(frame, vnet, ip)?;
    let (headers, payload) = frame.split_at_checked(layout.headers).ok_or(SegmentError::Headers)?;
    let last = payload.chunks(layout.size).count().saturating_sub(1);
    for (index, chunk) in payload.chunks(layout.size).enumerate() {
        segment.clear();
        segment.extend_from_slice(headers);
        segment.extend_from_slice(chunk);
        layout.finish(segment, index, index == last).ok_or(SegmentError::Headers)?;
        emit(segment);
    }
    Ok(())
}

/// Where the headers are.
#[derive(Clone, Copy)]
struct Layout {
    v4: bool,
    tcp: bool,
    ip: usize,
    transport: usize,
    /// All headers together.
    headers: usize,
    /// Payload octets of a segment; not 0.
    size: usize,
}

impl Layout {
    fn read(frame: &[u8], vnet: VnetHdr, ip: usize) -> Result<Self, SegmentError> {
        let kind = vnet.gso_type & !VnetHdr::GSO_ECN;
        let tcp = match kind {
            VnetHdr::GSO_TCPV4 | VnetHdr::GSO_TCPV6 => true,
            VnetHdr::GSO_UDP_L4 => false,
            other => return Err(SegmentError::Kind(other)),
        };
        let version = frame.get(ip).map(|octet| octet >> 4);
        let transport = usize::from(vnet.csum_start);
        let v4 = version == Some(4);
        let versions = match kind {
            VnetHdr::GSO_TCPV4 => v4,
            VnetHdr::GSO_TCPV6 => version == Some(6),
            _ => v4 || version == Some(6),
        };
        let own = if tcp {
            let offset = frame.get(transport + 12).ok_or(SegmentError::Headers)?;
            usize::from(offset >> 4) * 4
        } else {
            UDP
        };
        let (headers, size) = (transport + own, usize::from(vnet.gso_size));
        let ip_header = if v4 { 20 } else { 40 };
        let sound = versions
            && ip + ip_header <= transport
            && own >= if tcp { 20 } else { UDP }
            && headers < frame.len()
            && frame.len() - ip <= usize::from(u16::MAX) + ip_header
            && size > 0;
        if sound { Ok(Self { v4, tcp, ip, transport, headers, size }) } else { Err(SegmentError::Headers) }
    }

    /// Makes `segment`, number `index`, a frame of its own.
    fn finish(self, segment: &mut [u8], index: usize, last: bool) -> Option<()> {
        let packet = segment.get_mut(self.ip..)?;
        let transport = self.transport - self.ip;
        let len = u16::try_from(packet.len() - transport).ok()?;
        let (addresses, protocol) = if self.v4 {
            put(packet, 2, u16::try_from(packet.len()).ok()?)?;
            let id = word(packet, 4)?.wrapping_add(low_word(index));
            put(packet, 4, id)?;
            put(packet, 10, 0)?;
            let check = !sum(packet.get(..transport)?);
            put(packet, 10, check)?;
            (packet.get(12..20)?, *packet.get(9)?)
        } else {
            put(packet, 4, u16::try_from(packet.len() - 40).ok()?)?;
            // Behind extension headers the protocol is still that of the transport.
            (packet.get(8..40)?, if self.tcp { 6 } else { 17 })
        };
        let pseudo = u64::from(sum(addresses)) + u64::from(protocol) + u64::from(len);
        let body = packet.get_mut(transport..)?;
        let check = if self.tcp {
            let advance = u32::try_from(index * self.size).ok()?;
            let sequence = body.get_mut(4..)?.first_chunk_mut::<4>()?;
            *sequence = u32::from_be_bytes(*sequence).wrapping_add(advance).to_be_bytes();
            let flags = body.get_mut(13)?;
            if !last {
                *flags &= !(FIN | PSH);
            }
            if index > 0 {
                *flags &= !CWR;
            }
            16
        } else {
            put(body, 4, len)?;
            6
        };
        put(body, check, 0)?;
        let done = !fold(pseudo + u64::from(sum(body)));
        // A datagram whose checksum is 0 has none.
        put(body, check, if done == 0 && !self.tcp { u16::MAX } else { done })
    }
}

fn word(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

fn put(octets: &mut [u8], at: usize, value: u16) -> Option<()> {
    *octets.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

fn low_word(number: usize) -> u16 {
    let [low, high, ..] = number.to_le_bytes();
    u16::from_le_bytes([low, high])
}

const UDP: usize = 8;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

#[cfg(test)]
mod tests;
