//! What can be wrong with an ECPDU or with a request to send one.

use bytes::Bytes;

/// Why octets are not an ECPDU of this version. The peer is to blame for every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer octets than the header has; holds the number found.
    #[error("{0} octets cannot hold the ECP header of 4")]
    Short(usize),
    /// The version field (octet 0, high half) is not 1.
    #[error("peer speaks ECP version {0}, only version 1 is known")]
    PeerVersion(u8),
    /// The operation field (octet 0, bits 0x0c) is neither request nor acknowledgement.
    #[error("peer sent ECP operation {0}, known are 0 (request) and 1 (acknowledgement)")]
    PeerOperation(u8),
}

/// The queue of a [`Link`](crate::Link) is full; the payload is handed back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ECP queue is full: the peer does not acknowledge fast enough")]
pub struct QueueFull(pub Bytes);
