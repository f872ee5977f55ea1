//! Code as tokens: one hash for each instruction, reference fields blanked.

use crate::layout::CodeMap;
use crate::machine::{Machine, Scanner};
use crate::place::Off;

/// The instructions of all units of a file.
#[derive(Debug, Default)]
pub struct Tokens {
    /// File offset of each instruction.
    pub at: Vec<Off>,
    /// Hash of its bytes without reference fields.
    pub hash: Vec<u32>,
    /// First token of each unit, and the count of all at the end.
    pub first: Vec<u32>,
    /// Hash of each unit's tokens.
    pub unit_hash: Vec<u64>,
}

fn mix(state: u64, value: u64) -> u64 {
    let x = (state ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^ (x >> 29)
}

impl Tokens {
    /// Scans all units.
    pub fn scan(machine: Machine, map: &CodeMap, data: &[u8]) -> Tokens {
        let mut tokens = Tokens::default();
        for unit in &map.units {
            tokens.first.push(tokens.at.len() as u32);
            let bytes = &data[unit.at.index()..unit.end().index()];
            let mut p = 0;
            let mut whole = u64::from(unit.size);
            let machine = machine.in_mode(unit.other_mode);
            let mut scanner = Scanner::in_place(machine);
            while p < bytes.len() {
                let here = u64::from(unit.at) + p as u64;
                let (insn, field) = scanner.look(&bytes[p..], here);
                scanner.pass(&insn, &bytes[p..], here);
                let len = usize::from(insn.len());
                let mut raw = [0u8; 16];
                raw[..len].copy_from_slice(&bytes[p..p + len]);
                if let Some((field, from)) = field {
                    let target = machine.read(field.kind, &bytes[p..], field.at, insn.len(), from);
                    let target = target.wrapping_sub(unit.at.into());
                    if machine.uses(field.kind).direct && target < u64::from(unit.size) {
                        // Jumps inside a unit are part of what makes it the same.
                        whole = mix(whole, target);
                    }
                    machine.blank(field.kind, &mut raw[..len], field.at);
                    raw[15] ^= 1 + field.kind.number();
                }
                raw[15] ^= insn.data_class() << 5;
                let low = u64::from_le_bytes(raw[..8].try_into().unwrap_or_default());
                let high = u64::from_le_bytes(raw[8..].try_into().unwrap_or_default());
                let hash = mix(mix(len as u64, low), high);
                whole = mix(whole, hash);
                tokens.at.push(unit.at + p as u32);
                tokens.hash.push((hash >> 32) as u32);
                p += len;
            }
            tokens.unit_hash.push(whole);
        }
        tokens.first.push(tokens.at.len() as u32);
        tokens
    }

    /// Token indices of a unit.
    pub fn of(&self, unit: usize) -> std::ops::Range<usize> {
        self.first[unit] as usize..self.first[unit + 1] as usize
    }
}
