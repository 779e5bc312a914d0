//! The two programs of the fast path, made from a few instructions.
//!
//! The filter of the packet socket decides on each frame first: taps come before `tcx`, on the same processor and for
//! the same frame. What goes fast it keeps from the socket, and leaves word for the forwarder in a row only this
//! processor has; the forwarder at `tcx` reads it, clears it, and sends the frame. So there is one decision for a frame:
//! it goes one way or the other. Without word the forwarder lets a frame go on as if it was not there.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::layout::{self, flow, row};
use crate::{
    assembler::Assembler,
    sys::bpf::{Index, Insn, Shared, code::*, kernel::*, regs},
};

/// Octets of the word the filter leaves: what to do, interface, octets of the frame.
pub(super) const WORD: u32 = 16;

/// What programs look into.
#[derive(Clone, Copy)]
pub(super) struct Tables<'a> {
    pub(super) shared: &'a Shared,
    pub(super) index: &'a Index,
    pub(super) words: BorrowedFd<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Untagged,
    SuperFrame,
    V4,
    Tcp,
    Fits,
    Misfit,
    Slow,
    Number,
    First(usize),
    Crowded,
    Refuse,
    Accept,
    Pass,
    KeepTag,
    Send,
    Drop,
    Next,
}

use Target::*;

/// The filter of a socket. `number` is the socket's row; it lets no flow add to what waits when that are `room` frames.
pub(super) fn filter(tables: &Tables<'_>, number: usize, room: i32) -> Vec<Insn> {
    let mut p = Assembler::new();
    let shared = tables.shared.as_raw_fd();
    let my_row = layout::row(number);
    // r6 stays the frame.
    p.add(MOVE_REGISTER, regs(6, 1), 0, 0);
    word(&mut p, tables, Accept);
    p.add(STORE_VALUE_64, regs(0, 0), 0, 0);
    p.add(STORE_64, regs(FRAME_POINTER, 0), AT_WORD, 0);

    // The key: addresses, then tag and row in one number.
    p.add(MOVE, regs(9, 0), 0, 0);
    p.add(LOAD_32, regs(1, 6), SKB_VLAN_PRESENT, 0);
    p.jump(IF_EQUAL, regs(1, 0), 0, Untagged);
    p.add(LOAD_32, regs(1, 6), SKB_VLAN_PROTO, 0);
    p.jump(UNLESS_EQUAL, regs(1, 0), i32::from(0x8100_u16.to_be()), Pass);
    p.add(LOAD_32, regs(9, 6), SKB_VLAN_TCI, 0);
    p.add(OR, regs(9, 0), 0, layout::TAGGED);
    p.land(Untagged);
    p.add(OR, regs(9, 0), 0, layout::row_in_key(number).cast_signed());
    p.add(STORE_32, regs(FRAME_POINTER, 9), AT_KEY + 12, 0);
    octets(&mut p, None, AT_KEY, 12);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Pass);
    p.map(1, tables.index.as_raw_fd());
    p.add(MOVE_REGISTER, regs(2, FRAME_POINTER), 0, 0);
    p.add(ADD, regs(2, 0), 0, i32::from(AT_KEY));
    p.call(MAP_LOOKUP);
    p.jump(IF_EQUAL, regs(0, 0), 0, Pass);

    // r8 becomes the flow. The table may have given the entry's place to another one at this moment.
    p.add(LOAD_64, regs(1, 0), 0, 0);
    p.add(AND, regs(1, 0), 0, layout::FLOWS_MASK);
    p.inside(8, shared, layout::FLOWS);
    p.add(ADD_REGISTER, regs(8, 1), 0, 0);
    for (of_flow, of_key) in [(flow::KEY, AT_KEY), (flow::KEY + 8, AT_KEY + 8)] {
        p.add(LOAD_64, regs(1, 8), of_flow, 0);
        p.add(LOAD_64, regs(2, FRAME_POINTER), of_key, 0);
        p.jump(UNLESS_EQUAL_REGISTER, regs(1, 2), 0, Pass);
    }

    // Whether the decision still holds.
    p.inside(7, shared, 0);
    p.add(LOAD_64, regs(1, 8), flow::GENERATION, 0);
    p.add(LOAD_64, regs(2, 7), layout::GENERATION, 0);
    p.jump(UNLESS_EQUAL_REGISTER, regs(1, 2), 0, Pass);
    for (at, epoch) in [(flow::SOURCE, flow::SOURCE_EPOCH), (flow::DESTINATION, flow::DESTINATION_EPOCH)] {
        p.add(LOAD_64, regs(1, 8), at, 0);
        p.add(AND, regs(1, 0), 0, layout::EPOCHS_MASK);
        p.add(MOVE_REGISTER, regs(2, 7), 0, 0);
        p.add(ADD_REGISTER, regs(2, 1), 0, 0);
        p.add(LOAD_64, regs(1, 2), layout::EPOCHS, 0);
        p.add(LOAD_64, regs(2, 8), epoch, 0);
        p.jump(UNLESS_EQUAL_REGISTER, regs(1, 2), 0, Pass);
    }
    fits(&mut p);

    // Whether all of the flow that went to the socket has been sent.
    p.land(Fits);
    p.inside(7, shared, my_row);
    p.add(LOAD_64, regs(1, 8), flow::FENCE, 0);
    p.add(LOAD_64, regs(2, 7), row::DONE, 0);
    p.jump(IF_GREATER_REGISTER, regs(1, 2), 0, Slow);

    p.add(MOVE, regs(1, 0), 0, 1);
    // Fetching orders what is read after it behind what was read before.
    p.add(ATOMIC_ADD, regs(8, 1), flow::FRAMES, FETCH);
    p.add(LOAD_32, regs(2, 6), SKB_LEN, 0);
    p.add(ATOMIC_ADD, regs(8, 2), flow::OCTETS, 0);
    p.add(LOAD_64, regs(3, FRAME_POINTER), AT_WORD, 0);
    p.add(STORE_32, regs(3, 2), 12, 0);
    p.add(LOAD_32, regs(1, 6), SKB_IFINDEX, 0);
    p.add(STORE_32, regs(3, 1), 8, 0);
    p.add(LOAD_64, regs(1, 8), flow::ACTION, 0);
    p.add(STORE_64, regs(3, 1), 0, 0);
    p.finish(REFUSE);

    p.land(Slow);
    p.add(LOAD_64, regs(1, 8), flow::DRAINS, 0);
    p.jump(UNLESS_EQUAL, regs(1, 0), 0, Refuse);
    p.add(LOAD_64, regs(1, 7), row::DELIVERED, 0);
    p.add(MOVE_REGISTER, regs(3, 1), 0, 0);
    p.add(SUBTRACT_REGISTER, regs(3, 2), 0, 0);
    p.jump(IF_GREATER, regs(3, 0), room, Crowded);
    p.jump(GO, 0, 0, Number);

    // Not for the forwarder, but of the flow: those after it wait for it.
    p.land(Misfit);
    p.inside(7, shared, my_row);
    p.add(STORE_VALUE_64, regs(8, 0), flow::DRAINS, 0);
    p.land(Number);
    // The fence is this frame's number, unless another processor has put it higher.
    p.add(MOVE, regs(9, 0), 0, 1);
    p.add(ATOMIC_ADD, regs(7, 9), row::DELIVERED, FETCH);
    p.add(ADD, regs(9, 0), 0, 1);
    for attempt in 0..2 {
        p.add(LOAD_64, regs(0, 8), flow::FENCE, 0);
        p.jump(IF_EQUAL, regs(0, 0), -1, First(attempt));
        p.jump(IF_GREATER_REGISTER, regs(0, 9), 0, Accept);
        p.land(First(attempt));
        p.add(MOVE_REGISTER, regs(1, 9), 0, 0);
        p.add(ATOMIC_ADD, regs(8, 1), flow::FENCE, EXCHANGE_IF_EQUAL);
    }
    p.jump(GO, 0, 0, Accept);

    // The socket is behind: the flow waits until it has caught up, which is when it would have lost frames anyway.
    p.land(Crowded);
    p.add(STORE_64, regs(8, 1), flow::FENCE, 0);
    p.add(STORE_VALUE_64, regs(8, 0), flow::DRAINS, 1);
    p.land(Refuse);
    p.add(MOVE, regs(1, 0), 0, 1);
    p.add(ATOMIC_ADD, regs(7, 1), row::REFUSED, 0);
    p.finish(REFUSE);

    p.land(Pass);
    p.inside(7, shared, my_row);
    p.add(MOVE, regs(1, 0), 0, 1);
    p.add(ATOMIC_ADD, regs(7, 1), row::DELIVERED, 0);
    p.end(Accept, ACCEPT);
    p.done()
}

/// Goes to `Fits` if the frame does by the flow's limit. Of super-frames, which are as long as they like, what they are
/// cut into counts; those of TCP alone are understood.
fn fits(p: &mut Assembler<Target>) {
    p.add(LOAD_64, regs(9, 8), flow::LIMIT, 0);
    p.add(LOAD_32, regs(7, 6), SKB_GSO_SIZE, 0);
    p.jump(UNLESS_EQUAL, regs(7, 0), 0, SuperFrame);
    p.add(LOAD_32, regs(1, 6), SKB_LEN, 0);
    p.add(ADD, regs(1, 0), 0, -LEN_ETHERNET);
    p.jump(IF_GREATER_REGISTER, regs(1, 9), 0, Misfit);
    p.jump(GO, 0, 0, Fits);

    // r7 becomes the octets of a segment's packet.
    p.land(SuperFrame);
    p.add(LOAD_32, regs(1, 6), SKB_PROTOCOL, 0);
    p.jump(IF_EQUAL, regs(1, 0), i32::from(0x0800_u16.to_be()), V4);
    p.jump(UNLESS_EQUAL, regs(1, 0), i32::from(0x86dd_u16.to_be()), Misfit);
    octet(p, Some(LEN_ETHERNET + 6));
    p.jump(UNLESS_EQUAL, regs(1, 0), TCP, Misfit);
    p.add(ADD, regs(7, 0), 0, 40);
    p.add(MOVE, regs(2, 0), 0, LEN_ETHERNET + 40 + TCP_HEADER_LEN);
    p.jump(GO, 0, 0, Tcp);
    p.land(V4);
    octet(p, Some(LEN_ETHERNET + 9));
    p.jump(UNLESS_EQUAL, regs(1, 0), TCP, Misfit);
    octet(p, Some(LEN_ETHERNET));
    p.add(AND, regs(1, 0), 0, 0xf);
    p.add(SHIFT_LEFT, regs(1, 0), 0, 2);
    p.add(ADD_REGISTER, regs(7, 1), 0, 0);
    p.add(MOVE_REGISTER, regs(2, 1), 0, 0);
    p.add(ADD, regs(2, 0), 0, LEN_ETHERNET + TCP_HEADER_LEN);
    p.land(Tcp);
    octet(p, None);
    p.add(SHIFT_RIGHT, regs(1, 0), 0, 4);
    p.add(SHIFT_LEFT, regs(1, 0), 0, 2);
    p.add(ADD_REGISTER, regs(7, 1), 0, 0);
    p.jump(IF_GREATER_REGISTER, regs(7, 9), 0, Misfit);
}

/// The program that sends what a filter left word of.
pub(super) fn forwarder(tables: &Tables<'_>) -> Vec<Insn> {
    let mut p = Assembler::new();
    p.add(MOVE_REGISTER, regs(6, 1), 0, 0);
    word(&mut p, tables, Next);
    p.add(LOAD_64, regs(7, 0), 0, 0);
    p.jump(IF_EQUAL, regs(7, 0), 0, Next);
    p.add(STORE_VALUE_64, regs(0, 0), 0, 0);
    // Another program may have kept the frame meant from coming here.
    for (at, field) in [(8, SKB_IFINDEX), (12, SKB_LEN)] {
        p.add(LOAD_32, regs(1, 0), at, 0);
        p.add(LOAD_32, regs(2, 6), field, 0);
        p.jump(UNLESS_EQUAL_REGISTER, regs(1, 2), 0, Next);
    }
    p.add(MOVE_REGISTER, regs(8, 7), 0, 0);
    p.add(SHIFT_RIGHT, regs(8, 0), 0, 48);
    p.add(MOVE_REGISTER, regs(1, 8), 0, 0);
    p.add(AND, regs(1, 0), 0, layout::POP);
    p.jump(IF_EQUAL, regs(1, 0), 0, KeepTag);
    p.add(MOVE_REGISTER, regs(1, 6), 0, 0);
    p.call(VLAN_POP);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Drop);
    p.land(KeepTag);
    p.add(AND, regs(8, 0), 0, layout::PUSH);
    p.jump(IF_EQUAL, regs(8, 0), 0, Send);
    p.add(MOVE_REGISTER, regs(1, 6), 0, 0);
    p.add(MOVE, regs(2, 0), 0, i32::from(0x8100_u16.to_be()));
    p.add(MOVE_REGISTER, regs(3, 7), 0, 0);
    p.add(SHIFT_RIGHT, regs(3, 0), 0, 32);
    p.add(AND, regs(3, 0), 0, 0xffff);
    p.call(VLAN_PUSH);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Drop);
    p.land(Send);
    p.add(MOVE_REGISTER_32, regs(1, 7), 0, 0);
    p.add(MOVE, regs(2, 0), 0, 0);
    p.call(REDIRECT);
    p.add(EXIT, 0, 0, 0);
    p.end(Drop, TCX_DROP);
    p.end(Next, TCX_NEXT);
    p.done()
}

/// Has r0 point to this processor's word; there always is one, but the kernel wants to see it tested.
fn word(p: &mut Assembler<Target>, tables: &Tables<'_>, none: Target) {
    p.add(STORE_VALUE_32, regs(FRAME_POINTER, 0), AT_KEY, 0);
    p.add(MOVE_REGISTER, regs(2, FRAME_POINTER), 0, 0);
    p.add(ADD, regs(2, 0), 0, i32::from(AT_KEY));
    p.map(1, tables.words.as_raw_fd());
    p.call(MAP_LOOKUP);
    p.jump(IF_EQUAL, regs(0, 0), 0, none);
}

/// Copies octets of the frame, from `from` on or from where r2 says, to the stack. r0 is 0 if there were as many.
fn octets(p: &mut Assembler<Target>, from: Option<i32>, to: i16, count: i32) {
    if let Some(from) = from.or((count > 1).then_some(0)) {
        p.add(MOVE, regs(2, 0), 0, from);
    }
    p.add(MOVE_REGISTER, regs(1, 6), 0, 0);
    p.add(MOVE_REGISTER, regs(3, FRAME_POINTER), 0, 0);
    p.add(ADD, regs(3, 0), 0, i32::from(to));
    p.add(MOVE, regs(4, 0), 0, count);
    p.call(LOAD_OCTETS);
}

/// Has r1 be an octet of the frame, at `from` or where r2 says.
fn octet(p: &mut Assembler<Target>, from: Option<i32>) {
    octets(p, from, AT_OCTET, 1);
    p.jump(UNLESS_EQUAL, regs(0, 0), 0, Misfit);
    p.add(LOAD_8, regs(1, FRAME_POINTER), AT_OCTET, 0);
}

// On the stack.
const AT_KEY: i16 = -16;
const AT_OCTET: i16 = -24;
const AT_WORD: i16 = -32;

const LEN_ETHERNET: i32 = 14;
const TCP: i32 = 6;
/// Where in a TCP header its length is.
const TCP_HEADER_LEN: i32 = 12;

/// Of the socket's filter: the whole frame, and none of it.
const ACCEPT: i32 = -1;
const REFUSE: i32 = 0;

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::bpf;

    #[test]
    fn the_kernel_takes_them() {
        let shared = Shared::new(layout::size(layout::ROWS_MOST)).expect("root");
        let index = Index::new(1).unwrap();
        let words = bpf::of_each_processor(WORD).unwrap();
        let tables = Tables { shared: &shared, index: &index, words: words.as_fd() };
        bpf::load_forwarder(&forwarder(&tables)).unwrap();
        for number in [0, 1, layout::ROWS_MOST - 1] {
            bpf::load_filter(&filter(&tables, number, 2048)).unwrap();
        }
    }
}
