//! The classic BPF program of a control socket that taps every frame of its interface.
//!
//! It lets through what is wanted of what a socket bound to one EtherType would hear on an interface without a master:
//! frames to a wanted group or to the interface's own address, untagged or priority-tagged unless tags do not matter.
//! Everything else is turned away before it costs a copy or a wake-up, frames of other EtherTypes after three
//! instructions for each that is wanted.

use ether::{EtherType, Framing, Vid};
use libc::sock_filter;

use crate::control::Listen;

/// The program that accepts `wanted`.
pub(crate) fn program(wanted: &[Listen<'_>]) -> Vec<sock_filter> {
    behind(Vec::new(), ETHERTYPE_AT, wanted)
}

/// The program that accepts `wanted` of what has the tag of an E-channel, whichever.
pub(crate) fn program_of_extended(framing: Framing, wanted: &[Listen<'_>]) -> Vec<sock_filter> {
    let tagged = vec![load(H, ETHERTYPE_AT), equal(u32::from(framing.tpid().0), 1, 0), REFUSE];
    let len = u32::try_from(framing.overhead()).unwrap_or_default();
    behind(tagged, ETHERTYPE_AT + len, wanted)
}

/// Goes on from `program` with what has its EtherType at `at`.
fn behind(mut program: Vec<sock_filter>, at: u32, wanted: &[Listen<'_>]) -> Vec<sock_filter> {
    program.push(load(H, at));
    for listen in wanted {
        let body = body(listen);
        program.push(equal(u32::from(listen.ethertype.0), 1, 0));
        program.push(op(libc::BPF_JMP | libc::BPF_JA, u32::try_from(body.len()).unwrap_or(u32::MAX)));
        program.extend(body);
    }
    program.push(REFUSE);
    program
}

/// The program that accepts `wanted` of what has the S-tag of `svid`. What is wanted tagged may have a C-tag besides.
pub(crate) fn program_of_channel(svid: Vid, wanted: &[Listen<'_>]) -> Vec<sock_filter> {
    let mut program = s_tagged(svid);
    program.push(load(H, ETHERTYPE_AT));
    let blocks = |program: &mut Vec<sock_filter>, wanted: &mut dyn Iterator<Item = &Listen<'_>>| {
        for listen in wanted {
            let body = body(&Listen { tagged: true, ..*listen });
            program.push(equal(u32::from(listen.ethertype.0), 1, 0));
            program.push(op(libc::BPF_JMP | libc::BPF_JA, u32::try_from(body.len()).unwrap_or(u32::MAX)));
            program.extend(body);
        }
    };
    blocks(&mut program, &mut wanted.iter());
    program.extend([equal(u32::from(EtherType::C_VLAN.0), 1, 0), REFUSE, load(H, ETHERTYPE_AT + 4)]);
    blocks(&mut program, &mut wanted.iter().filter(|listen| listen.tagged));
    program.push(REFUSE);
    program
}

/// The program that accepts all that has the S-tag of `svid`.
pub(crate) fn of_channel(svid: Vid) -> Vec<sock_filter> {
    let mut program = s_tagged(svid);
    program.push(ACCEPT);
    program
}

/// The program that accepts all but what has the S-tag of one of `svids`.
pub(crate) fn but_channels(svids: impl IntoIterator<Item = Vid>) -> Vec<sock_filter> {
    let mut program = vec![
        load(W, ancillary(libc::SKF_AD_VLAN_TAG_PRESENT)),
        equal(0, 0, 1),
        ACCEPT,
        load(W, ancillary(libc::SKF_AD_VLAN_TPID)),
        equal(u32::from(EtherType::S_VLAN.0), 1, 0),
        ACCEPT,
        load(W, ancillary(libc::SKF_AD_VLAN_TAG)),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, VID),
    ];
    program.extend(svids.into_iter().flat_map(|svid| [equal(svid.get().into(), 0, 1), REFUSE]));
    program.push(ACCEPT);
    program
}

/// Goes on only with what has the S-tag of `svid`, which the kernel has taken off and keeps beside the frame.
fn s_tagged(svid: Vid) -> Vec<sock_filter> {
    vec![
        load(W, ancillary(libc::SKF_AD_VLAN_TAG_PRESENT)),
        equal(0, 0, 1),
        REFUSE,
        load(W, ancillary(libc::SKF_AD_VLAN_TPID)),
        equal(u32::from(EtherType::S_VLAN.0), 1, 0),
        REFUSE,
        load(W, ancillary(libc::SKF_AD_VLAN_TAG)),
        op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, VID),
        equal(svid.get().into(), 1, 0),
        REFUSE,
    ]
}

/// What follows once the EtherType fits: the end, one way or the other.
fn body(listen: &Listen<'_>) -> Vec<sock_filter> {
    let mut body = Vec::new();
    if !listen.tagged {
        // The kernel takes the tag off before any socket sees the frame and keeps it beside; none reads as zero.
        body.extend([
            load(W, ancillary(libc::SKF_AD_VLAN_TAG)),
            op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, VID),
            equal(0, 1, 0),
            REFUSE,
        ]);
    }
    let own = libc::PACKET_HOST.into();
    body.extend([load(W, ancillary(libc::SKF_AD_PKTTYPE)), equal(own, 0, 1), ACCEPT]);
    for group in listen.groups {
        let [a, b, c, d, e, f] = group.octets();
        body.extend([
            load(W, 2),
            equal(u32::from_be_bytes([c, d, e, f]), 0, 3),
            load(H, 0),
            equal(u32::from_be_bytes([0, 0, a, b]), 0, 1),
            ACCEPT,
        ]);
    }
    body.push(REFUSE);
    body
}

/// Loads from the frame, or from what the kernel notes beside it.
const fn load(width: u32, at: u32) -> sock_filter {
    op(libc::BPF_LD | width | libc::BPF_ABS, at)
}

/// Jumps over `yes` or `no` instructions.
const fn equal(value: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { jt: yes, jf: no, ..op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value) }
}

const fn op(code: u32, k: u32) -> sock_filter {
    // Every code of classic BPF fits.
    let [low, high, ..] = code.to_le_bytes();
    sock_filter { code: u16::from_le_bytes([low, high]), jt: 0, jf: 0, k }
}

const fn ancillary(what: i32) -> u32 {
    (libc::SKF_AD_OFF + what).cast_unsigned()
}

const W: u32 = libc::BPF_W;
const H: u32 = libc::BPF_H;
const ETHERTYPE_AT: u32 = 12;
const VID: u32 = 0x0fff;
const ACCEPT: sock_filter = op(libc::BPF_RET | libc::BPF_K, u32::MAX);
/// A program of this alone accepts nothing.
pub(crate) const REFUSE: sock_filter = op(libc::BPF_RET | libc::BPF_K, 0);
