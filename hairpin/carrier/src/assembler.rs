//! Writes eBPF programs: instructions one after the other, and jumps that are resolved once it is known where they lead.

use crate::sys::bpf::{
    Insn,
    code::{CALL, EXIT, LOAD_MAP, MOVE, PSEUDO_MAP, PSEUDO_MAP_VALUE},
    regs,
};

/// A program in the making; `T` names the places jumps lead to.
pub(crate) struct Assembler<T> {
    instructions: Vec<Insn>,
    /// Jumps that are not resolved yet.
    jumps: Vec<(usize, T)>,
}

impl<T: Copy + PartialEq> Assembler<T> {
    pub(crate) const fn new() -> Self {
        Self { instructions: Vec::new(), jumps: Vec::new() }
    }

    pub(crate) fn add(&mut self, code: u8, registers: u8, offset: i16, value: i32) {
        self.instructions.push(Insn::new(code, registers, offset, value));
    }

    pub(crate) fn jump(&mut self, code: u8, registers: u8, value: i32, to: T) {
        self.jumps.push((self.instructions.len(), to));
        self.add(code, registers, 0, value);
    }

    /// Lets the jumps to `here` lead here.
    pub(crate) fn land(&mut self, here: T) {
        let now = self.instructions.len();
        let instructions = &mut self.instructions;
        self.jumps.retain(|&(from, to)| {
            if to == here
                && let Some(jump) = instructions.get_mut(from)
            {
                // No program here is longer than a jump can be.
                jump.offset = i16::try_from(now - from - 1).unwrap_or(i16::MAX);
            }
            to != here
        });
    }

    /// Has `register` be the table of descriptor `map`.
    pub(crate) fn map(&mut self, register: u8, map: i32) {
        self.add(LOAD_MAP, regs(register, PSEUDO_MAP), 0, map);
        self.add(0, 0, 0, 0);
    }

    /// Has `register` point to the octet `at` of the only row of the table of descriptor `map`.
    pub(crate) fn inside(&mut self, register: u8, map: i32, at: usize) {
        self.add(LOAD_MAP, regs(register, PSEUDO_MAP_VALUE), 0, map);
        // No table here is as large as that.
        self.add(0, 0, 0, i32::try_from(at).unwrap_or(i32::MAX));
    }

    pub(crate) fn call(&mut self, function: i32) {
        self.add(CALL, 0, 0, function);
    }

    /// Ends the program here, with this verdict, for jumps to `here`.
    pub(crate) fn end(&mut self, here: T, verdict: i32) {
        self.land(here);
        self.finish(verdict);
    }

    /// Ends the program with this verdict.
    pub(crate) fn finish(&mut self, verdict: i32) {
        self.add(MOVE, regs(0, 0), 0, verdict);
        self.add(EXIT, 0, 0, 0);
    }

    pub(crate) fn done(self) -> Vec<Insn> {
        self.instructions
    }
}
