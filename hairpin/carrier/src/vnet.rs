//! The header that travels with a frame whose checksum or segmentation the sender postponed.
//!
//! Layout and constants are those of `struct virtio_net_hdr` of virtio 1.x without the mergeable-buffers field, in host
//! byte order, as packet sockets with `PACKET_VNET_HDR` speak it. Offsets count from the first octet of the frame.

/// What is still to be done to a frame before it goes onto a medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHdr {
    /// Bit 0: the checksum is still to be computed. Other bits are passed on.
    pub flags: u8,
    /// How to segment: 0 not at all, 1 TCP/IPv4, 4 TCP/IPv6, 5 UDP; bit 7 ECN.
    pub gso_type: u8,
    /// Octets of headers, a hint; 0 where not segmented.
    pub hdr_len: u16,
    /// Payload octets of each segment.
    pub gso_size: u16,
    /// Where the checksum starts.
    pub csum_start: u16,
    /// Where it goes, from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHdr {
    /// Octets it takes in front of a frame.
    pub const LEN: usize = 10;
    pub(crate) const GSO_TCPV4: u8 = 1;
    pub(crate) const GSO_TCPV6: u8 = 4;
    pub(crate) const GSO_UDP_L4: u8 = 5;
    pub(crate) const GSO_ECN: u8 = 0x80;

    pub(crate) const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }

    /// Whether the checksum is still to be computed.
    pub(crate) const fn needs_checksum(self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }

    /// The header of what follows the first `octets` of the frame.
    #[must_use]
    pub(crate) fn back(mut self, octets: usize) -> Self {
        self.csum_start = self.csum_start.saturating_sub(u16::try_from(octets).unwrap_or(u16::MAX));
        self
    }

    /// The header after the headers of its frame grew by `octets` (shrank, if negative): a tag was put on or taken off.
    #[must_use]
    pub(crate) const fn shifted(mut self, octets: i16) -> Self {
        if self.flags & NEEDS_CSUM != 0 {
            self.csum_start = self.csum_start.saturating_add_signed(octets);
        }
        if self.hdr_len != 0 {
            self.hdr_len = self.hdr_len.saturating_add_signed(octets);
        }
        self
    }
}

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: VnetHdr =
        VnetHdr { flags: 1, gso_type: 1, hdr_len: 66, gso_size: 1448, csum_start: 34, csum_offset: 16 };

    #[test]
    fn bytes_and_back() {
        let mut bytes = [0; VnetHdr::LEN];
        bytes[..2].copy_from_slice(&[1, 1]);
        for (pair, n) in bytes[2..].chunks_exact_mut(2).zip([66u16, 1448, 34, 16]) {
            pair.copy_from_slice(&n.to_ne_bytes());
        }
        assert_eq!(VnetHdr::from_bytes(bytes), TCP);
        assert_eq!(TCP.to_bytes(), bytes);
    }

    #[test]
    fn a_tag_moves_the_checksum_and_the_headers() {
        let tagged = TCP.shifted(4);
        assert_eq!(
            (tagged.hdr_len, tagged.csum_start, tagged.csum_offset, tagged.gso_size),
            (70, 38, 16, 1448)
        );
        assert_eq!(tagged.shifted(-4), TCP);
        assert_eq!(VnetHdr::default().shifted(4), VnetHdr::default());
    }
}
