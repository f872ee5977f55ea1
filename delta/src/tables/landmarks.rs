//! The instructions that unwind tables talk about: calls, and what moves the stack pointer or ends a block.

use crate::machine::{Flow, Insn, Machine, Scanner};

/// A call.
pub const CALL: u8 = 15;

/// What an instruction does to the frame; 0 for nothing that is known here.
fn role(machine: Machine, insn: &Insn, bytes: &[u8]) -> u8 {
    match insn.flow {
        Flow::Call => return CALL,
        Flow::Return => return 1,
        Flow::Jump => return 2,
        Flow::Trap => return 3,
        Flow::Next | Flow::CondJump => {}
    }
    if machine == Machine::AArch64 {
        let Some(word) = bytes.first_chunk().map(|b| u32::from_le_bytes(*b)) else {
            return 0;
        };
        let (to, from) = (word & 31, word >> 5 & 31);
        return match word >> 22 {
            // add, sub with an immediate
            0b10_0100_0100 | 0b10_0100_0101 if to == 31 || from == 31 && to == 29 => 4,
            0b11_0100_0100 | 0b11_0100_0101 if to == 31 => 5,
            // stp, ldp with write-back
            0b10_1010_0110 if from == 31 => 6,
            0b10_1010_0011 if from == 31 => 7,
            0b01_1011_0110 if from == 31 => 8,
            0b01_1011_0011 if from == 31 => 9,
            // stp, ldp of saved registers
            0b10_1010_0100 if from == 31 => 10,
            0b10_1010_0101 if from == 31 => 11,
            // str, ldr with write-back
            0b11_1110_0000 if from == 31 && word >> 10 & 3 == 3 => 12,
            0b11_1110_0001 if from == 31 && word >> 10 & 3 == 1 => 13,
            // paciasp, autiasp
            0b11_0101_0100 if word == 0xd503_233f || word == 0xd503_23bf => 14,
            _ => 0,
        };
    }
    let opcode = bytes.get(usize::from(insn.opcode_at)).copied().unwrap_or(0);
    let modrm = bytes.get(usize::from(insn.modrm_at)).copied().unwrap_or(0);
    match (opcode, modrm) {
        (0x50..=0x57, _) => 4,
        (0x58..=0x5f, _) => 5,
        (0x81 | 0x83, 0xec) => 6,
        (0x81 | 0x83, 0xc4) => 7,
        (0x8d, 0x64 | 0x65 | 0xa4 | 0xa5) => 8,
        (0x89, 0xe5) | (0x8b, 0xec) => 9,
        (0x89, 0xec) | (0x8b, 0xe5) => 10,
        (0xc9, _) => 11,
        (0x68 | 0x6a, _) => 12,
        (0xff, 0x30..=0x37 | 0x70..=0x77 | 0xb0..=0xb7) => 13,
        (0x81 | 0x83, 0xe4) => 14,
        _ => 0,
    }
}

/// The instructions of one unit; made when they are first asked for.
#[derive(Clone, Debug, Default)]
pub struct Landmarks {
    /// Start of each instruction, and the end of the last.
    pub starts: Vec<u32>,
    /// Role of each instruction.
    pub roles: Vec<u8>,
}

impl Landmarks {
    /// Forgets the unit.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.roles.clear();
    }

    /// Reads the unit, if that was not done yet.
    pub fn fill(&mut self, machine: Machine, bytes: &[u8]) {
        if !self.starts.is_empty() {
            return;
        }
        let mut scanner = Scanner::new(machine);
        let mut p = 0;
        while p < bytes.len() {
            let (insn, _) = scanner.look(&bytes[p..], p as u64);
            scanner.pass(&bytes[p..], p as u64);
            self.starts.push(p as u32);
            self.roles.push(role(machine, &insn, &bytes[p..]));
            p += usize::from(insn.len);
        }
        self.starts.push(p as u32);
    }

    /// The instruction that starts at an offset (the one behind the last counts).
    pub fn index(&self, offset: u32) -> Option<usize> {
        self.starts.binary_search(&offset).ok()
    }

    /// The first instruction that starts at an offset or later.
    pub fn from(&self, offset: u32) -> usize {
        self.starts.partition_point(|&s| s < offset)
    }

    /// The first call at an instruction or later.
    pub fn call_from(&self, index: usize) -> Option<usize> {
        let rest = self.roles.get(index..)?;
        rest.iter().position(|&r| r == CALL).map(|k| index + k)
    }

    /// Number of calls among some instructions.
    pub fn calls(&self, range: std::ops::Range<usize>) -> usize {
        let roles = self.roles.get(range).unwrap_or_default();
        roles.iter().filter(|&&r| r == CALL).count()
    }

    /// The call at an instruction or later that has `skipped` others before it.
    pub fn call_after(&self, index: usize, skipped: u64) -> Option<usize> {
        let skipped = usize::try_from(skipped).ok()?;
        let rest = self.roles.get(index..)?.iter().enumerate();
        rest.filter(|(_, r)| **r == CALL)
            .nth(skipped)
            .map(|(k, _)| index + k)
    }
}
