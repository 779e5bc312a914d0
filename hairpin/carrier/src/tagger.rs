//! Super-frames by an E-channel, whole: the tag is put on by a program at the `tcx` hook, as the frame leaves.
//!
//! Before the kernel passes on a super-frame that a process has made, it looks into it, and behind the EtherType of an
//! E-channel's tag it finds nothing it knows: the frame is lost. So such a frame is sent without, by a socket whose mark
//! says the tag, and gets it when the kernel knows already where its headers are. What arrives at the other end of a veth
//! is the super-frame with the tag in front, as it would be in a medium that has such frames.
//!
//! Only there: a network card is given super-frames too, and would cut them as if there was no tag.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use ether::Framing;

use crate::{
    assembler::Assembler,
    error::{OpenError, Step},
    packet::{Options, PacketPort},
    socket::at,
    sys::{
        self,
        bpf::{self, Direction, Insn, code::*, kernel::*, regs},
        link,
    },
};

/// A socket that sends super-frames to be tagged.
#[derive(Debug)]
pub(crate) struct Tagger {
    pub(crate) socket: Box<PacketPort>,
    pub(crate) framing: Framing,
    /// The mark the socket has.
    mark: u32,
    /// The program, as long as any socket needs it.
    _link: Arc<OwnedFd>,
}

impl Tagger {
    /// So many for `interface`, or why there can be none.
    pub(crate) fn install(
        interface: &str,
        options: &Options,
        framing: Framing,
        count: usize,
    ) -> Result<Vec<Self>, String> {
        let say = |error: OpenError| error.reason();
        let open = Options { qdisc_bypass: false, tags: None, ..*options };
        let sender = || PacketPort::open_sender(interface, &open).map(Box::new).map_err(say);
        let first = sender()?;
        let driver = link::driver(first.as_fd(), interface).map_err(|error| error.to_string())?.name;
        if driver != "veth" {
            return Err(format!("driver {driver} would cut them as if they had no tag"));
        }
        let program = bpf::load_tagger(&program(framing))
            .and_then(|program| bpf::attach(program.as_fd(), first.ifindex(), Direction::Egress));
        let link = Arc::new(program.map_err(at(interface, Step::Tagger)).map_err(say)?);
        let more = (1..count).map(|_| sender()).collect::<Result<Vec<_>, _>>()?;
        let sockets = std::iter::once(first).chain(more);
        Ok(sockets.map(|socket| Self { socket, framing, mark: 0, _link: Arc::clone(&link) }).collect())
    }

    /// Has what is sent from now on get the tag this mark says; false if that cannot be.
    pub(crate) fn set(&mut self, mark: u32) -> bool {
        if self.mark == mark {
            return true;
        }
        let set = sys::set_number(self.socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark.cast_signed());
        self.mark = if set.is_ok() { mark } else { 0 };
        set.is_ok()
    }
}

/// The mark that says this tag, if one can: of an E-TAG without ingress identifier, and of a VN-Tag of version 0.
pub(crate) fn mark(framing: Framing, tag: &[u8]) -> Option<u32> {
    match (framing, tag) {
        (Framing::Etag, &[0x89, 0x3f, priority, 0, base, low, 0, extension]) if priority & 0xf == 0 => {
            let ecid = u32::from_be_bytes([0, base & 0x3f, low, extension]);
            Some(ETAG_MAGIC << ETAG_BITS | u32::from(priority >> 4) << 22 | ecid)
        }
        (Framing::Vntag, &[0x89, 0x26, a, b, c, d]) if c & 0x70 == 0 => {
            let word = u32::from_be_bytes([a, b, c, d]);
            Some(VNTAG_MAGIC << VNTAG_BITS | (word >> 16) << 13 | (word >> 15 & 1) << 12 | word & 0xfff)
        }
        _ => None,
    }
}

/// What is not marked by us goes on as it is.
fn program(framing: Framing) -> Vec<Insn> {
    let len = i32::try_from(framing.overhead()).unwrap_or(0);
    let (magic, bits) = match framing {
        Framing::Etag => (ETAG_MAGIC, ETAG_BITS),
        Framing::Vntag => (VNTAG_MAGIC, VNTAG_BITS),
    };
    let mut p = Assembler::new();
    p.add(MOVE_REGISTER, regs(6, 1), 0, 0);
    p.add(LOAD_32, regs(7, 6), SKB_MARK, 0);
    p.add(MOVE_REGISTER, regs(1, 7), 0, 0);
    p.add(SHIFT_RIGHT, regs(1, 0), 0, i32::from(bits));
    p.jump(UNLESS_EQUAL, regs(1, 0), magic.cast_signed(), Target::Pass);
    p.add(MOVE, regs(1, 0), 0, 0);
    p.add(STORE_32, regs(6, 1), SKB_MARK, 0);
    p.add(MOVE_REGISTER, regs(1, 6), 0, 0);
    p.add(MOVE, regs(2, 0), 0, len);
    p.add(MOVE, regs(3, 0), 0, 0);
    p.call(CHANGE_HEAD);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Target::Drop);
    // The addresses, and the tag behind them.
    p.add(MOVE_REGISTER, regs(1, 6), 0, 0);
    p.add(MOVE, regs(2, 0), 0, len);
    p.add(MOVE_REGISTER, regs(3, FRAME_POINTER), 0, 0);
    p.add(ADD, regs(3, 0), 0, i32::from(AT_TAG) - ADDRESSES);
    p.add(MOVE, regs(4, 0), 0, ADDRESSES);
    p.call(LOAD_OCTETS);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Target::Drop);
    p.add(MOVE, regs(1, 0), 0, 0);
    let (ethertype, fields): (i32, &[(u8, i32, u8)]) = match framing {
        Framing::Etag => (0x893f, &[(22, 0xf, 44), (8, 0x3fff, 16), (0, 0xff, 0)]),
        Framing::Vntag => (0x8926, &[(13, 0xffff, 32), (12, 1, 31), (0, 0xfff, 16)]),
    };
    for (from, mask, to) in [(0, 0, 0)].iter().chain(fields) {
        if *mask == 0 {
            p.add(MOVE, regs(2, 0), 0, ethertype);
            p.add(SHIFT_LEFT, regs(2, 0), 0, 48);
        } else {
            p.add(MOVE_REGISTER, regs(2, 7), 0, 0);
            p.add(SHIFT_RIGHT, regs(2, 0), 0, i32::from(*from));
            p.add(AND, regs(2, 0), 0, *mask);
            p.add(SHIFT_LEFT, regs(2, 0), 0, i32::from(*to));
        }
        p.add(ADD_REGISTER, regs(1, 2), 0, 0);
    }
    p.add(TO_NETWORK, regs(1, 0), 0, 64);
    p.add(STORE_64, regs(FRAME_POINTER, 1), AT_TAG, 0);
    p.add(MOVE_REGISTER, regs(1, 6), 0, 0);
    p.add(MOVE, regs(2, 0), 0, 0);
    p.add(MOVE_REGISTER, regs(3, FRAME_POINTER), 0, 0);
    p.add(ADD, regs(3, 0), 0, i32::from(AT_TAG) - ADDRESSES);
    p.add(MOVE, regs(4, 0), 0, ADDRESSES + len);
    p.add(MOVE, regs(5, 0), 0, 0);
    p.call(STORE_OCTETS);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Target::Drop);
    p.end(Target::Pass, TCX_NEXT);
    p.end(Target::Drop, TCX_DROP);
    p.done()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Pass,
    Drop,
}

/// What tells our marks from others', above the bits that say the tag.
const ETAG_MAGIC: u32 = 0b10_1101;
const ETAG_BITS: u8 = 26;
const VNTAG_MAGIC: u32 = 0b101;
const VNTAG_BITS: u8 = 29;

/// On the program's stack.
const AT_TAG: i16 = -16;
const ADDRESSES: i32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_it() {
        for framing in [Framing::Etag, Framing::Vntag] {
            bpf::load_tagger(&program(framing)).expect("root");
        }
    }

    #[test]
    fn marks_say_what_they_can() {
        let etag = [0x89, 0x3f, 0xb0, 0, 0x3a, 0xbc, 0, 0xcd];
        assert_eq!(mark(Framing::Etag, &etag), Some(0b10_1101 << 26 | 0xb << 22 | 0x3a_bccd));
        assert_eq!(mark(Framing::Etag, &[0x89, 0x3f, 0xb0, 1, 0x3a, 0xbc, 0, 0]), None);
        assert_eq!(mark(Framing::Etag, &[0x89, 0x3f, 0xb0, 0, 0x3a, 0xbc, 1, 0]), None);
        assert_eq!(
            mark(Framing::Vntag, &[0x89, 0x26, 0xc1, 0x23, 0x84, 0x56]),
            Some(0b101 << 29 | 0xc123 << 13 | 1 << 12 | 0x456)
        );
        assert_eq!(mark(Framing::Vntag, &[0x89, 0x26, 0xc1, 0x23, 0x94, 0x56]), None);
        assert_eq!(mark(Framing::Vntag, &etag), None);
    }
}
