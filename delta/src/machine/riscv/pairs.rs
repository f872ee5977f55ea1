//! Pairs each RISC-V `auipc` with the instructions that add the lower twelve bits of the address.
//!
//! As with [`super::super::aarch64::Pages`], the rules are small and frozen with the format; where they are wrong
//! about an instruction, a patch is larger.
//!
//! 1. `auipc` sets the base of its register, unless that is the zero register.
//! 2. A [`super::LOW12`] or [`super::STORE12`] through a register that has a base makes a reference. Afterwards what
//!    the instruction writes has none.
//! 3. Calls clear ra, t0 to t6 and a0 to a7 (psABI, "Integer Register Convention"); any other instruction what it
//!    may write, as listed in [`written`].
//!
//! Jumps clear nothing. The target of an `auipc` is that of the first reference through its register among the next
//! [`AHEAD`] instructions, none of which writes the register, jumps for good, or calls.

use super::super::bases::{Bases, Registers};
use super::super::{FieldKind, Flow};
use super::decode::{base_of, code_of, decode, kind_of, result_of};
use super::field::value;
use super::{HIGH20, is_low};

/// Instructions behind an `auipc` that are looked at for the other half.
const AHEAD: usize = 6;

/// ra, t0 to t2, a0 to a7, t3 to t6.
const CALL: Registers = 0xf003_fce2;

/// The bases that registers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Bases);

impl Pairs {
    /// The base from which the field of an instruction counts.
    #[inline]
    pub fn base(&self, bytes: &[u8]) -> Option<u64> {
        self.0.get(base_of(code_of(bytes)?.0))
    }

    /// Goes past an instruction whose fields are final.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], address: u64) {
        let Some((code, len)) = code_of(bytes) else { return };
        if len == 4 && code & 0x7f == 0x17 {
            let base = address.wrapping_add_signed(value(HIGH20, code));
            self.0.set(result_of(code), base);
            self.0.clear(1);
        } else if !self.0.is_empty() {
            self.0.clear(written(code, len));
        }
    }
}

/// What the other half adds to an `auipc`, by what stands behind it; 0 where none is found.
pub fn low_part(high: u32, mut rest: &[u8]) -> i64 {
    let register = result_of(high);
    if register == 0 {
        return 0;
    }
    for _ in 0..AHEAD {
        let Some((code, len)) = code_of(rest) else { break };
        let kind = kind_of(code, len).filter(|&kind: &FieldKind| is_low(kind));
        if let Some(kind) = kind
            && base_of(code) == register
        {
            return value(kind, code);
        }
        let flow = decode(rest).flow();
        if written(code, len) >> register & 1 == 1 || !matches!(flow, Flow::Next | Flow::CondJump) {
            break;
        }
        rest = &rest[usize::from(len)..];
    }
    0
}

/// The registers that an instruction may write.
fn written(code: u32, len: u8) -> Registers {
    if len == 2 {
        return written_by_short(code);
    }
    let result = 1 << result_of(code);
    match code & 0x7f {
        // jal, jalr.
        0x6f | 0x67 if result & 0b10_0010 != 0 => CALL,
        // Loads, atomics, arithmetic, lui and auipc, jumps, control registers.
        0x03 | 0x13 | 0x17 | 0x1b | 0x2f | 0x33 | 0x37 | 0x3b | 0x67 | 0x6f | 0x73 => result,
        // From floating-point numbers: compares, conversions, moves.
        0x53 if matches!(code >> 27, 0x14 | 0x18 | 0x1c) => result,
        _ => 0,
    }
}

fn written_by_short(code: u32) -> Registers {
    let result = 1 << result_of(code);
    match (code & 3, code >> 13) {
        // c.addi4spn, c.lw, c.ld.
        (0, 0 | 2 | 3) => 0x100 << (code >> 2 & 7),
        // c.addi, c.addiw, c.li, c.lui and c.addi16sp.
        (1, 0..=3) => result,
        // Arithmetic of the eight registers.
        (1, 4) => 0x100 << (code >> 7 & 7),
        // c.slli, c.lwsp, c.ldsp.
        (2, 0 | 2 | 3) => result,
        // c.jalr; c.jr and c.ebreak; c.mv, c.add.
        (2, 4) if code & 0x107c == 0x1000 && result != 1 => CALL,
        (2, 4) if code & 0x7c == 0 => 0,
        (2, 4) => result,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Machine, Scanner};

    const HIGH: u32 = 0x0000_1517; // auipc a0, 1
    const ADD: u32 = 0xff85_0513; // addi a0, a0, -8
    const ADD_A1: u32 = 0xff85_0593; // addi a1, a0, -8
    const LOAD: u32 = 0x0105_3603; // ld a2, 16(a0)
    const STORE: u32 = 0x00c5_3823; // sd a2, 16(a0)
    const MOVE: u32 = 0x852e; // c.mv a0, a1
    const CALL: u32 = 0x0000_80e7; // jalr ra, 0(ra)

    /// The target of each reference, the code standing at 0x1000.
    fn run(codes: &[u32]) -> Vec<Option<u64>> {
        let lens = codes.iter().map(|code| if code & 3 == 3 { 4 } else { 2 });
        let code: Vec<u8> = codes
            .iter()
            .zip(lens)
            .flat_map(|(code, len)| code.to_le_bytes().into_iter().take(len))
            .collect();
        let machine = Machine::RiscV64;
        let (mut scanner, mut p, mut found) = (Scanner::new(machine), 0, Vec::new());
        while p < code.len() {
            let (bytes, here) = (&code[p..], 0x1000 + p as u64);
            let (insn, field) = scanner.look(bytes, here);
            found.push(field.map(|(f, from)| machine.read(f.kind, bytes, f.at, insn.len(), from)));
            scanner.pass(&insn, bytes, here);
            p += usize::from(insn.len());
        }
        found
    }

    #[test]
    fn both_halves_lead_to_the_whole_address() {
        assert_eq!(run(&[HIGH, ADD, LOAD]), [Some(0x1ff8), Some(0x1ff8), None]);
        assert_eq!(run(&[HIGH, LOAD, STORE]), [Some(0x2010); 3]);
        assert_eq!(
            run(&[HIGH, ADD_A1, LOAD]),
            [Some(0x1ff8), Some(0x1ff8), Some(0x2010)]
        );
    }

    #[test]
    fn only_until_the_register_is_written() {
        assert_eq!(run(&[HIGH, MOVE, LOAD]), [Some(0x2000), None, None]);
        assert_eq!(run(&[HIGH, CALL, LOAD]), [Some(0x2000), None, None]);
        assert_eq!(run(&[0x0000_1017, 0x0100_3603]), [Some(0x2000), None], "zero");
    }
}
