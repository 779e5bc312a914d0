//! Keeps LLDP and ECP from crossing a Linux bridge that should have kept them.
//!
//! A Linux bridge that runs no spanning tree forwards frames to 01-80-C2-00-00-00, the nearest customer bridge, like any
//! multicast: a guest hears the switch's EVB and ECP, and the switch a guest's. Two programs at the interface's `tcx`
//! hooks drop them: on the way in after the packet sockets that tap every frame have had their copies and before the
//! bridge sees them, on the way out only when they came in by another interface, so that what this host sends passes.
//! They hang on descriptors: when the [`LeakBlock`] is dropped, or its process dies, they are gone.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ether::{EtherType, MacAddr, mac};

use crate::{
    error::{OpenError, Step},
    socket::at,
    sys,
    sys::bpf::{self, Direction, Insn, code::*, kernel::*, regs},
};

/// LLDP and ECP to the nearest customer bridge are stopped at one interface while this lives.
#[derive(Debug)]
pub struct LeakBlock {
    counters: OwnedFd,
    links: [OwnedFd; 2],
}

/// Frames a [`LeakBlock`] has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Blocked {
    /// That came in and would have gone on to other ports of the bridge.
    pub rx: u64,
    /// That came in by another port of the bridge and would have gone out here.
    pub tx: u64,
}

impl LeakBlock {
    /// Installs the programs at `interface` of the network namespace of the calling thread, beside others that may be
    /// there.
    ///
    /// # Errors
    /// No such interface, no `CAP_BPF` and `CAP_NET_ADMIN`, or a kernel older than 6.6.
    pub fn install(interface: &str) -> Result<Self, OpenError> {
        let fault = || at(interface, Step::Block);
        let index = sys::name_to_index(interface).map_err(at(interface, Step::Lookup))?;
        let counters = bpf::counters().map_err(fault())?;
        let link = |direction| {
            let program = bpf::load(&program(direction, counters.as_raw_fd()))?;
            bpf::attach(program.as_fd(), index, direction)
        };
        let links = [link(Direction::Ingress).map_err(fault())?, link(Direction::Egress).map_err(fault())?];
        Ok(Self { counters, links })
    }

    /// What was dropped up to now.
    #[must_use]
    pub fn blocked(&self) -> Blocked {
        // Reading our own table cannot fail.
        let [rx, tx] = bpf::read_counters(self.counters.as_fd()).unwrap_or_default();
        Blocked { rx, tx }
    }
}

impl Drop for LeakBlock {
    fn drop(&mut self) {
        for link in &self.links {
            // Fails only where the interface has gone before.
            let _ = bpf::detach(link.as_fd());
        }
    }
}

/// The program of one direction. `counters` is the table it counts in.
fn program(direction: Direction, counters: i32) -> Vec<Insn> {
    let [a, b, c, d, e, f] = GROUP.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
    let counter = match direction {
        Direction::Ingress => 0,
        Direction::Egress => 8,
    };
    let drop = [
        Insn::new(LOAD_MAP, regs(1, PSEUDO_MAP_VALUE), 0, counters),
        Insn::new(0, 0, 0, counter),
        Insn::new(MOVE, regs(2, 0), 0, 1),
        Insn::new(ATOMIC_ADD, regs(1, 2), 0, 0),
        Insn::new(MOVE, regs(0, 0), 0, TCX_DROP),
        Insn::new(EXIT, 0, 0, 0),
    ];
    let is = |ethertype: EtherType| i32::from(ethertype.0.to_be());
    // Conditions in a row; the last instruction of each that fails jumps over what is left of them and over `drop`.
    let came_in = vec![Insn::new(LOAD_32, regs(0, 6), SKB_INGRESS_IFINDEX, 0), Insn::new(IF_EQUAL, 0, 0, 0)];
    let control = vec![
        Insn::new(LOAD_32, regs(0, 6), SKB_PROTOCOL, 0),
        Insn::new(IF_EQUAL, 0, 1, is(EtherType::LLDP)),
        Insn::new(UNLESS_EQUAL_32, 0, 0, is(EtherType::ECP)),
    ];
    let to_low = vec![Insn::new(LOAD_FRAME_32, 0, 0, 2), Insn::new(UNLESS_EQUAL_32, 0, 0, low.cast_signed())];
    let to_high = vec![Insn::new(LOAD_FRAME_16, 0, 0, 0), Insn::new(UNLESS_EQUAL_32, 0, 0, i32::from(high))];
    let conditions = match direction {
        Direction::Ingress => vec![control, to_low, to_high],
        Direction::Egress => vec![came_in, control, to_low, to_high],
    };
    let mut left = conditions.iter().map(Vec::len).sum::<usize>() + drop.len();
    // Frames are loaded from the context in r6.
    let mut program = vec![Insn::new(MOVE_REGISTER, regs(6, 1), 0, 0)];
    for mut condition in conditions {
        left -= condition.len();
        if let Some(jump) = condition.last_mut() {
            jump.offset = i16::try_from(left).unwrap_or(i16::MAX);
        }
        program.extend(condition);
    }
    program.extend(drop);
    program.extend([Insn::new(MOVE, regs(0, 0), 0, TCX_NEXT), Insn::new(EXIT, 0, 0, 0)]);
    program
}

const GROUP: MacAddr = mac::NEAREST_CUSTOMER_BRIDGE;
