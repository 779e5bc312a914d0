//! Checksums a sender left for its network card to finish.
//!
//! Where sender and receiver are on one host nothing ever finishes them: the frame arrives with the sum over the
//! pseudo-header where the checksum belongs (RFC 9293 3.1, RFC 768), and a packet socket says so beside the frame. An
//! AF_XDP socket does not, but it can be seen: the sum of the pseudo-header is known. Should a finished checksum happen
//! to be the same number, finishing it again gives that number.

/// What became of a frame's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It was finished, or there is none.
    Whole,
    /// It was not, and is now.
    Completed,
    /// It cannot be told: the pseudo-header is not that of the addresses in the packet.
    Unclear,
}

/// Finishes the checksum of a frame given from its EtherType on: TCP, UDP and SCTP, also inside of other tags, of IP
/// in IP, GRE, VXLAN and Geneve.
pub(crate) fn finish(frame: &mut [u8]) -> Finish {
    ethertype(frame, DEPTH).unwrap_or(Finish::Whole)
}

/// Writes the checksum of everything from `start` on to `offset` octets behind it, where the sum of the pseudo-header
/// stands; false if that is not inside `octets`.
pub(crate) fn complete(octets: &mut [u8], start: usize, offset: usize) -> bool {
    let Some(covered) = octets.get_mut(start..) else { return false };
    let total = !sum(covered);
    let Some(field) = covered.get_mut(offset..).and_then(<[u8]>::first_chunk_mut) else { return false };
    // Zero would mean that a datagram has no checksum; for others both forms of zero are the same.
    *field = if total == 0 { [0xff; 2] } else { total.to_be_bytes() };
    true
}

/// `None` anywhere below means that the packet is shorter than it claims to be: then it is left as it is.
fn ethertype(frame: &mut [u8], depth: u8) -> Option<Finish> {
    let kind = word(frame, 0)?;
    let rest = frame.get_mut(2..)?;
    match kind {
        0x0800 => ipv4(rest, depth),
        0x86dd => ipv6(rest, depth),
        0x8100 | 0x88a8 => ethertype(rest.get_mut(2..)?, depth.checked_sub(1)?),
        _ => Some(Finish::Whole),
    }
}

fn ipv4(packet: &mut [u8], depth: u8) -> Option<Finish> {
    let header = usize::from(octet(packet, 0)? & 0x0f) * 4;
    let total = usize::from(word(packet, 2)?);
    // The kernel finishes what it cuts into fragments.
    if word(packet, 6)? & 0x3fff != 0 {
        return Some(Finish::Whole);
    }
    let protocol = octet(packet, 9)?;
    let addresses = sum(packet.get(12..20)?);
    transport(protocol, Some(addresses), packet.get_mut(header..total)?, depth)
}

fn ipv6(packet: &mut [u8], depth: u8) -> Option<Finish> {
    let total = usize::from(word(packet, 4)?).checked_add(40)?;
    let mut addresses = Some(sum(packet.get(8..40)?));
    let (mut next, mut at) = (octet(packet, 6)?, 40);
    for _ in 0..EXTENSIONS {
        match next {
            FRAGMENT => return Some(Finish::Whole),
            // With segments left the pseudo-header has another destination (RFC 8200 8.1).
            ROUTING if octet(packet, at + 3)? != 0 => addresses = None,
            HOP_BY_HOP | ROUTING | DESTINATION => {}
            _ => return transport(next, addresses, packet.get_mut(at..total)?, depth),
        }
        next = octet(packet, at)?;
        at += 8 + 8 * usize::from(octet(packet, at + 1)?);
    }
    Some(Finish::Unclear)
}

/// `addresses` is their sum, if they are those of the pseudo-header.
fn transport(protocol: u8, addresses: Option<u16>, body: &mut [u8], depth: u8) -> Option<Finish> {
    let inner = tunnelled(protocol, body, depth).unwrap_or(Finish::Whole);
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        SCTP => return sctp(body),
        _ => return Some(inner),
    };
    let Some(addresses) = addresses else { return Some(Finish::Unclear) };
    let length = u16::try_from(body.len()).ok()?;
    let pseudo = add(add(addresses, protocol.into()), length);
    if word(body, at)? != pseudo {
        return Some(inner);
    }
    Some(if complete(body, 0, at) { Finish::Completed } else { Finish::Whole })
}

/// What is in a tunnel that the kernel takes postponed checksums through.
fn tunnelled(protocol: u8, body: &mut [u8], depth: u8) -> Option<Finish> {
    let depth = depth.checked_sub(1)?;
    match protocol {
        IPV4_IN_IP => ipv4(body, depth),
        IPV6_IN_IP => ipv6(body, depth),
        GRE => {
            let flags = word(body, 0)?;
            let options = (flags & 0xb000).count_ones();
            let payload = 4 + 4 * usize::try_from(options).ok()?;
            match word(body, 2)? {
                BRIDGED => ethertype(body.get_mut(payload + ADDRESSES..)?, depth),
                0x0800 => ipv4(body.get_mut(payload..)?, depth),
                0x86dd => ipv6(body.get_mut(payload..)?, depth),
                _ => None,
            }
        }
        UDP => match word(body, 2)? {
            VXLAN | VXLAN_OLD => ethertype(body.get_mut(8 + 8 + ADDRESSES..)?, depth),
            GENEVE if word(body, 10)? == BRIDGED => {
                let options = usize::from(octet(body, 8)? & 0x3f) * 4;
                ethertype(body.get_mut(8 + 8 + options + ADDRESSES..)?, depth)
            }
            _ => None,
        },
        _ => None,
    }
}

/// A sender that leaves the checksum of SCTP to its card sends zero.
fn sctp(body: &mut [u8]) -> Option<Finish> {
    let field = body.get(8..12)?;
    if field != [0; 4] {
        return Some(Finish::Whole);
    }
    let sum = crc32c::crc32c(body);
    *body.get_mut(8..)?.first_chunk_mut()? = sum.to_le_bytes();
    Some(Finish::Completed)
}

/// The ones' complement sum of 16-bit words, the last one filled up with zero.
pub(crate) fn sum(octets: &[u8]) -> u16 {
    let (words, rest) = octets.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, octet) in last.iter_mut().zip(rest) {
        *to = *octet;
    }
    let total: u64 = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    // The sum is the same in either byte order, but for the order of its own octets.
    u16::from_be(fold(total))
}

fn add(a: u16, b: u16) -> u16 {
    fold(u64::from(a) + u64::from(b))
}

/// The ones' complement sum of the words of a number.
pub(crate) fn fold(mut total: u64) -> u16 {
    loop {
        match u16::try_from(total) {
            Ok(sum) => return sum,
            Err(_) => total = (total & 0xffff) + (total >> 16),
        }
    }
}

fn octet(octets: &[u8], at: usize) -> Option<u8> {
    octets.get(at).copied()
}

fn word(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

/// Tags and tunnels inside each other.
const DEPTH: u8 = 4;
/// Extension headers of one IPv6 packet.
const EXTENSIONS: u8 = 8;
/// Destination and source.
const ADDRESSES: usize = 12;

const HOP_BY_HOP: u8 = 0;
const IPV4_IN_IP: u8 = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const GRE: u8 = 47;
const DESTINATION: u8 = 60;
const SCTP: u8 = 132;

/// Transparent Ethernet bridging, in GRE and Geneve.
const BRIDGED: u16 = 0x6558;
const VXLAN: u16 = 4789;
const VXLAN_OLD: u16 = 8472;
const GENEVE: u16 = 6081;

#[cfg(test)]
mod tests;
