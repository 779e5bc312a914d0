//! The program that diverts frames to AF_XDP sockets, made for its interface from a few instructions.
//!
//! What the host's own packet sockets must hear goes on to the kernel: frames to a reserved address [Q 8.6.3], LLDP and
//! ECP to the interface's own address, and on an uplink probes of reflective relay. A tag the kernel keeps beside a
//! frame is put back into it. Frames of a queue without a socket go on to the kernel.
//!
//! Of frames by E-channels, what comes up to a controlling bridge is left to the kernel by the same rules, and ECP to
//! whatever address; what comes down to a port extender is not for its host [BR 7].

use std::os::fd::{AsRawFd, BorrowedFd};

use ether::{EtherType, MacAddr, mac};

use super::XdpOptions;
use crate::{
    assembler::Assembler,
    frame::ChannelTags,
    sys::bpf::{Insn, code::*, kernel::*, regs},
};

/// What a program is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made<'a> {
    /// The table of sockets by queue.
    pub(super) sockets: BorrowedFd<'a>,
    /// The interface's address.
    pub(super) mac: MacAddr,
    /// What is left to the kernel.
    pub(super) options: XdpOptions,
    /// The number of the kernel's function that tells a tag kept beside the frame.
    pub(super) tag: Option<i32>,
}

impl Made<'_> {
    pub(super) fn program(&self) -> Vec<Insn> {
        let XdpOptions { keep_probes, tags, everything, .. } = self.options;
        let mut program = Program::new();
        // r6 stays the context; r7 and r8 are the frame's begin and end.
        program.add(MOVE_REGISTER, regs(6, 1), 0, 0);
        program.frame(LEN_ETHERNET, Target::Divert);
        if !everything {
            self.keep(&mut program, keep_probes, tags);
        }
        program.land(Target::Ours);
        if let Some(function) = self.tag {
            program.put_tag_back(function);
        }

        program.land(Target::Divert);
        program.add(LOAD_32, regs(2, 6), CONTEXT_QUEUE, 0);
        program.map(1, self.sockets.as_raw_fd());
        program.add(MOVE, regs(3, 0), 0, XDP_PASS);
        program.call(REDIRECT_MAP);
        program.add(EXIT, 0, 0, 0);
        // The kernel takes no program with instructions that nothing leads to.
        if !everything {
            program.end(Target::Keep, XDP_PASS);
        }
        if self.tag.is_some() {
            program.end(Target::Drop, XDP_DROP);
        }
        program.done()
    }

    /// Leaves frames to the kernel that are meant for the host's own sockets.
    fn keep(&self, program: &mut Program, keep_probes: bool, tags: Option<ChannelTags>) {
        // The address as one word and a half.
        program.add(LOAD_32, regs(1, 7), 0, 0);
        program.add(LOAD_16, regs(2, 7), 4, 0);
        program.add(LOAD_16, regs(3, 7), 12, 0);
        if let Some(tags) = tags.filter(|tags| tags.down) {
            program.jump(IF_EQUAL, regs(3, 0), i32::from(tags.framing.tpid().0.to_be()), Target::Ours);
        }

        // 01-80-C2-00-00-00 to -0F.
        let (high, low) = halves(mac::NEAREST_CUSTOMER_BRIDGE);
        program.jump(UNLESS_EQUAL_32, regs(1, 0), high, Target::Next);
        program.add(MOVE_REGISTER, regs(4, 2), 0, 0);
        program.add(AND_32, regs(4, 0), 0, i32::from(u16::from_ne_bytes([0xff, 0xf0])));
        program.jump(IF_EQUAL, regs(4, 0), low, Target::Keep);
        program.land(Target::Next);

        let (high, low) = halves(self.mac);
        for ethertype in [EtherType::LLDP, EtherType::ECP] {
            program.jump(UNLESS_EQUAL, regs(3, 0), i32::from(ethertype.0.to_be()), Target::Next);
            program.jump(UNLESS_EQUAL_32, regs(1, 0), high, Target::Next);
            program.jump(IF_EQUAL, regs(2, 0), low, Target::Keep);
            program.land(Target::Next);
        }
        if keep_probes {
            // In whatever VLAN they are.
            let (high, low) = halves(mac::PROBE_GROUP);
            program.jump(UNLESS_EQUAL_32, regs(1, 0), high, Target::Next);
            program.jump(IF_EQUAL, regs(2, 0), low, Target::Keep);
            program.land(Target::Next);
        }
        if let Some(tags) = tags.filter(|tags| !tags.down) {
            program.jump(UNLESS_EQUAL, regs(3, 0), i32::from(tags.framing.tpid().0.to_be()), Target::Ours);
            let behind = i32::try_from(tags.framing.overhead()).unwrap_or(0);
            program.frame(LEN_ETHERNET + behind, Target::Ours);
            let at = i16::try_from(LEN_ETHERNET - LEN_ETHERTYPE + behind).unwrap_or(0);
            program.add(LOAD_16, regs(3, 7), at, 0);
            program.jump(IF_EQUAL, regs(3, 0), i32::from(EtherType::ECP.0.to_be()), Target::Keep);
        }
    }
}

/// Where a jump leads that is not resolved yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Next,
    /// No more asking: a tag may be put back, then it is diverted.
    Ours,
    Divert,
    Keep,
    Drop,
}

type Program = Assembler<Target>;

impl Program {
    /// Loads begin and end of the frame; jumps if it has fewer octets than `len`.
    fn frame(&mut self, len: i32, shorter: Target) {
        self.add(LOAD_32, regs(7, 6), CONTEXT_DATA, 0);
        self.add(LOAD_32, regs(8, 6), CONTEXT_DATA_END, 0);
        self.add(MOVE_REGISTER, regs(1, 7), 0, 0);
        self.add(ADD, regs(1, 0), 0, len);
        self.jump(IF_GREATER_REGISTER, regs(1, 8), 0, shorter);
    }

    /// Asks the kernel for the tag it keeps beside the frame; if there is one, moves the addresses forward and puts it
    /// behind them.
    fn put_tag_back(&mut self, function: i32) {
        const TPID: i16 = -2;
        const TCI: i16 = -4;
        // Who may not read what the kernel left there must write first.
        self.add(MOVE, regs(1, 0), 0, 0);
        self.add(STORE_32, regs(FRAME_POINTER, 1), TCI, 0);
        self.add(MOVE_REGISTER, regs(1, 6), 0, 0);
        self.add(MOVE_REGISTER, regs(2, FRAME_POINTER), 0, 0);
        self.add(ADD, regs(2, 0), 0, i32::from(TPID));
        self.add(MOVE_REGISTER, regs(3, FRAME_POINTER), 0, 0);
        self.add(ADD, regs(3, 0), 0, i32::from(TCI));
        self.add(CALL, regs(0, PSEUDO_FUNCTION), 0, function);
        self.jump(UNLESS_EQUAL_32, regs(0, 0), 0, Target::Divert);
        self.add(MOVE_REGISTER, regs(1, 6), 0, 0);
        self.add(MOVE, regs(2, 0), 0, -LEN_TAG);
        self.call(ADJUST_HEAD);
        self.jump(UNLESS_EQUAL, regs(0, 0), 0, Target::Drop);
        self.frame(LEN_ETHERNET + LEN_TAG, Target::Drop);
        self.add(LOAD_64, regs(1, 7), 4, 0);
        self.add(LOAD_32, regs(2, 7), 12, 0);
        self.add(STORE_64, regs(7, 1), 0, 0);
        self.add(STORE_32, regs(7, 2), 8, 0);
        self.add(LOAD_16, regs(1, FRAME_POINTER), TPID, 0);
        self.add(STORE_16, regs(7, 1), 12, 0);
        self.add(LOAD_16, regs(1, FRAME_POINTER), TCI, 0);
        self.add(TO_NETWORK, regs(1, 0), 0, 16);
        self.add(STORE_16, regs(7, 1), 14, 0);
    }
}

/// The first four and the last two octets of an address, as loading them gives.
fn halves(mac: MacAddr) -> (i32, i32) {
    let [a, b, c, d, e, f] = mac.octets();
    (i32::from_ne_bytes([a, b, c, d]), i32::from(u16::from_ne_bytes([e, f])))
}

const LEN_ETHERNET: i32 = 14;
const LEN_ETHERTYPE: i32 = 2;
const LEN_TAG: i32 = 4;

// Fields of `struct xdp_md`.
const CONTEXT_DATA: i16 = 0;
const CONTEXT_DATA_END: i16 = 4;
const CONTEXT_QUEUE: i16 = 16;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use ether::Framing;

    use super::*;
    use crate::sys::bpf;

    /// Those that put tags back are for one interface alone: they are loaded where there is one.
    #[test]
    fn the_kernel_takes_it() {
        let sockets = bpf::sockets(4).expect("root");
        let plain = XdpOptions::default();
        let tags = |framing, down| Some(ChannelTags { framing, down, ingress_form: false });
        for options in [
            plain,
            XdpOptions { keep_probes: true, ..plain },
            XdpOptions { everything: true, ..plain },
            XdpOptions { tags: tags(Framing::Etag, true), ..plain },
            XdpOptions { tags: tags(Framing::Etag, false), ..plain },
            XdpOptions { tags: tags(Framing::Vntag, false), ..plain },
        ] {
            let made = Made { sockets: sockets.as_fd(), mac: MacAddr::broadcast(), options, tag: None };
            bpf::load_xdp(&made.program(), None).unwrap();
        }
    }
}
