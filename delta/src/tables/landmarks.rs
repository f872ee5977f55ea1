//! The instructions that unwind tables talk about: calls, and what moves the stack pointer or ends a block.

use crate::code::{digest, hash};
use crate::machine::{Flow, Insn, Machine, Scanner};
use crate::predict::UnitView;

/// A call.
pub const CALL: u8 = 15;
/// An instruction that does nothing.
const NOP: u8 = 16;
/// An instruction of no role before the start of a call site.
const BEFORE_SITE: u8 = 17;
/// An instruction of no role at the end of a call site.
const END_OF_SITE: u8 = 18;

/// What an instruction does to the frame; 0 for nothing that is known here.
fn role(machine: Machine, insn: &Insn, bytes: &[u8]) -> u8 {
    match insn.flow() {
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
            0b11_0101_0100 if word == 0xd503_201f => NOP,
            0b11_0101_0100 if word == 0xd503_233f || word == 0xd503_23bf => 14,
            _ => 0,
        };
    }
    let opcode = bytes.get(usize::from(insn.opcode_at())).copied().unwrap_or(0);
    let modrm = bytes.get(usize::from(insn.modrm_at())).copied().unwrap_or(0);
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
        (0x90, _) => NOP,
        (0x0f, _) if bytes.get(usize::from(insn.opcode_at()) + 1) == Some(&0x1f) => NOP,
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
    /// What each instruction looks like; of a call, whom it calls.
    pub heads: Vec<u32>,
    /// Start and end of each call site.
    pub sites: Vec<(u32, u32)>,
}

/// Hash of an instruction without its longer operands.
fn head(machine: Machine, insn: &Insn, bytes: &[u8]) -> u32 {
    if machine == Machine::AArch64 {
        let word = bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let registers = word >> 25 & 7 == 5;
        return hash(6, word & if registers { 0xffff_03ff } else { 0xffc0_03ff });
    }
    let last = if insn.modrm_at() == crate::machine::ABSENT {
        insn.opcode_at()
    } else {
        insn.modrm_at()
    };
    digest(&bytes[..bytes.len().min(usize::from(last) + 1)])
}

impl Landmarks {
    /// Forgets the unit.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.roles.clear();
        self.heads.clear();
        self.sites.clear();
    }

    /// Reads the unit, if that was not done yet.
    pub fn fill(&mut self, view: &UnitView) {
        if !self.starts.is_empty() {
            return;
        }
        let (machine, bytes) = (view.machine(), view.bytes);
        let mut scanner = Scanner::new(machine);
        let mut p = 0;
        for &insn in view.shapes {
            let here = u64::from(view.addr) + p as u64;
            let field = scanner.field(&insn, &bytes[p..], here);
            scanner.pass(&bytes[p..], here);
            let role = role(machine, &insn, &bytes[p..]);
            let head = match field {
                Some((field, from)) if role == CALL => {
                    let target = machine.read(field.kind, &bytes[p..], field.at, insn.len(), from);
                    hash(field.kind as u32, target as u32)
                }
                _ => head(machine, &insn, &bytes[p..]),
            };
            self.starts.push(p as u32);
            self.roles.push(role);
            self.heads.push(head);
            p += usize::from(insn.len());
        }
        self.starts.push(p as u32);
    }

    /// Instructions behind which the frame may change, from one on: index and role.
    pub fn events(&self, from: usize) -> impl Iterator<Item = (usize, u8)> + '_ {
        let mut sites = self.sites.iter().peekable();
        (from..self.roles.len()).filter_map(move |k| {
            let behind = self.starts[k + 1];
            while sites.peek().is_some_and(|s| s.1 < behind) {
                sites.next();
            }
            let role = match (self.roles[k], sites.peek()) {
                (0 | CALL, Some(site)) if site.0 == behind => BEFORE_SITE,
                (0 | CALL, Some(site)) if site.1 == behind => END_OF_SITE,
                (role, _) => role,
            };
            (!matches!(role, 0 | CALL)).then_some((k, role))
        })
    }

    /// The instruction that starts at an offset (the one behind the last counts).
    pub fn index(&self, offset: u32) -> Option<usize> {
        self.starts.binary_search(&offset).ok()
    }

    /// The first instruction that starts at an offset or later.
    pub fn from(&self, offset: u32) -> usize {
        self.starts.partition_point(|&s| s < offset)
    }

    /// The calls from an instruction on.
    pub fn calls(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        (from..self.roles.len()).filter(|&k| self.roles[k] == CALL)
    }
}
