//! What a port counts about moving frames; what became of them is counted by [`hairpin::Stats`].

use std::ops::AddAssign;

use serde::Serialize;

/// Counters of one [`crate::Port`] since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PortStats {
    /// Frames received whole.
    pub rx_frames: u64,
    /// Their octets, outermost tag not included.
    pub rx_octets: u64,
    /// Of them, frames longer than [`PortStats::SUPER_FRAME`]: segmentation was postponed, or the MTU is large.
    pub rx_super_frames: u64,
    /// Frames the kernel dropped because this port was not read fast enough.
    pub rx_overrun: u64,
    /// Frames longer than the buffer.
    pub rx_truncated: u64,
    /// Frames shorter than their own header.
    pub rx_runt: u64,
    /// Frames tagged with VID 4095.
    pub rx_bad_tag: u64,
    /// Frames with the tag of an E-channel that is malformed or does not go this way.
    pub rx_bad_channel: u64,
    /// Frames on their way up with an E-TAG that has its port in place of the ingress identifier, where that is not accepted.
    pub rx_ingress_form: u64,
    /// Frames whose postponed segmentation the kernel has no way to describe to us (tunnels, SCTP).
    pub rx_unreadable: u64,
    /// Frames whose checksum the sender had left unfinished, and that was finished here.
    pub rx_completed: u64,
    /// Frames whose checksum may be unfinished and could not be finished here.
    pub rx_unfinished: u64,
    /// Copies sent.
    pub tx_frames: u64,
    /// Their octets, outermost tag not included.
    pub tx_octets: u64,
    /// Copies dropped because the socket or the interface's queue was full, or the link has no carrier.
    pub tx_full: u64,
    /// Copies dropped because they exceed the interface's MTU.
    pub tx_too_long: u64,
    /// Copies the kernel refused for another reason.
    pub tx_refused: u64,
    /// Copies dropped because the port failed.
    pub tx_failed: u64,
}

impl AddAssign for PortStats {
    fn add_assign(&mut self, other: Self) {
        let Self {
            rx_frames,
            rx_octets,
            rx_super_frames,
            rx_overrun,
            rx_truncated,
            rx_runt,
            rx_bad_tag,
            rx_bad_channel,
            rx_ingress_form,
            rx_unreadable,
            rx_completed,
            rx_unfinished,
            tx_frames,
            tx_octets,
            tx_full,
            tx_too_long,
            tx_refused,
            tx_failed,
        } = other;
        self.rx_frames += rx_frames;
        self.rx_octets += rx_octets;
        self.rx_super_frames += rx_super_frames;
        self.rx_overrun += rx_overrun;
        self.rx_truncated += rx_truncated;
        self.rx_runt += rx_runt;
        self.rx_bad_tag += rx_bad_tag;
        self.rx_bad_channel += rx_bad_channel;
        self.rx_ingress_form += rx_ingress_form;
        self.rx_unreadable += rx_unreadable;
        self.rx_completed += rx_completed;
        self.rx_unfinished += rx_unfinished;
        self.tx_frames += tx_frames;
        self.tx_octets += tx_octets;
        self.tx_full += tx_full;
        self.tx_too_long += tx_too_long;
        self.tx_refused += tx_refused;
        self.tx_failed += tx_failed;
    }
}

impl PortStats {
    /// Octets that no frame of a 1500-octet MTU reaches, however tagged.
    pub const SUPER_FRAME: usize = 2000;

    /// All copies that were not sent.
    #[must_use]
    pub const fn tx_dropped(&self) -> u64 {
        self.tx_full + self.tx_too_long + self.tx_refused + self.tx_failed
    }
}
