//! Follows the registers of 32-bit x86 code that hold the address of the global offset table.
//!
//! Position-independent code asks where it is and adds a distance: `call` of a thunk that returns its own return
//! address, then `add` of a constant to the register that holds it. What is reached afterwards by `[register +
//! disp32]` counts from that sum (i386 psABI, "Position-Independent Function Prologue"). As with [`super::super::aarch64::Pages`],
//! the rules are small and frozen with the format; where they are wrong about an instruction, a patch is larger.
//!
//! 1. An `add` of a four-byte constant to a register, right behind a `call`, makes that register a base.
//! 2. `call` ends what eax, ecx and edx hold; `mov`, `lea` and zero extension end what they write; `pop` ends
//!    nothing, as what stands behind an epilogue belongs to other ways through the function.

use super::super::{ABSENT, Field, Insn, Machine};
use super::{GOT_ADD32, GOT_DISP32};

/// The registers that hold the table's address, and the address as each has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GotBase {
    after_call: bool,
    held: u8,
    bases: [u32; 8],
}

const SCRATCH: u8 = 0b111;
const STACK_POINTER: u8 = 4;

impl GotBase {
    /// The reference field of an instruction that has none by itself, with the address that it counts from.
    #[inline]
    pub fn field(&self, insn: &Insn, bytes: &[u8], address: u64) -> Option<(Field, u64)> {
        let byte = |at: u8| bytes.get(usize::from(at)).copied();
        if self.after_call && sum(bytes).is_some() && insn.imm_len() == 4 {
            let field = Field {
                kind: GOT_ADD32,
                at: insn.imm_at(),
            };
            return Some((field, address));
        }
        if self.held == 0 || insn.disp_len() != 4 || insn.modrm_at() == ABSENT {
            return None;
        }
        let modrm = byte(insn.modrm_at()).filter(|m| m >> 6 == 2)?;
        let register = match modrm & 7 {
            4 => byte(insn.modrm_at() + 1)? & 7,
            register => register,
        };
        let field = Field {
            kind: GOT_DISP32,
            at: insn.disp_at(),
        };
        (self.held >> register & 1 == 1).then(|| (field, self.bases[usize::from(register)].into()))
    }

    /// Goes past an instruction whose fields are final.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], address: u64) {
        let [a, b, c] = [0, 1, 2].map(|k| bytes.get(k).copied().unwrap_or(0));
        if self.after_call
            && let Some((register, at)) = sum(bytes)
        {
            let base = Machine::X86_32.read(GOT_ADD32, bytes, at, 0, address);
            self.bases[usize::from(register)] = base as u32;
            self.held |= 1 << register;
        } else {
            let reg = 1u8 << (b >> 3 & 7);
            self.held &= !match (a, b) {
                (0xe8, _) | (0xff, 0x10..=0x17 | 0x50..=0x57 | 0x90..=0x97 | 0xd0..=0xd7) => SCRATCH,
                (0x8b | 0x8d, _) => reg,
                (0x89 | 0x31, 0xc0..) => 1 << (b & 7),
                (0xb8..=0xbf, _) => 1 << (a & 7),
                (0x0f, 0xb6 | 0xb7 | 0xbe | 0xbf) => 1 << (c >> 3 & 7),
                _ => 0,
            };
        }
        self.after_call = a == 0xe8;
    }
}

/// The register to which an `add` adds four bytes, and where they are; not the stack pointer, whose sums are frames.
fn sum(bytes: &[u8]) -> Option<(u8, u8)> {
    match *bytes.first_chunk::<2>()? {
        [0x05, _] => Some((0, 1)),
        [0x81, modrm @ 0xc0..=0xc7] if modrm & 7 != STACK_POINTER => Some((modrm & 7, 2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{FieldKind, Scanner};
    use super::*;

    const CALL: &[u8] = &[0xe8, 0x10, 0, 0, 0]; // call thunk
    const ADD_EBX: &[u8] = &[0x81, 0xc3, 0, 0x20, 0, 0]; // add ebx, 0x2000
    const ADD_EAX: &[u8] = &[0x05, 0, 0x20, 0, 0]; // add eax, 0x2000
    const LEA: &[u8] = &[0x8d, 0x83, 0x10, 0xff, 0xff, 0xff]; // lea eax, [ebx - 0xf0]
    const INDEXED: &[u8] = &[0x8b, 0x84, 0x83, 4, 0, 0, 0]; // mov eax, [ebx + eax * 4 + 4]

    /// Kind and target of each reference, the code standing at 0x1000.
    fn run(code: &[&[u8]]) -> Vec<Option<(FieldKind, u64)>> {
        let machine = Machine::X86_32;
        let (mut scanner, mut at, mut found) = (Scanner::new(machine), 0x1000, Vec::new());
        for bytes in code {
            let (insn, field) = scanner.look(bytes, at);
            found.push(field.map(|(f, from)| (f.kind, machine.read(f.kind, bytes, f.at, insn.len(), from))));
            scanner.pass(&insn, bytes, at);
            at += bytes.len() as u64;
        }
        found
    }

    #[test]
    fn displacements_count_from_the_sum() {
        let found = run(&[CALL, ADD_EBX, LEA, INDEXED]);
        assert_eq!(found[1], Some((GOT_ADD32, 0x3005)));
        assert_eq!(found[2], Some((GOT_DISP32, 0x3005 - 0xf0)));
        assert_eq!(found[3], Some((GOT_DISP32, 0x3009)));
    }

    #[test]
    fn only_behind_a_call_and_until_the_register_is_written() {
        assert_eq!(run(&[ADD_EBX, LEA])[1], None);
        assert_eq!(
            run(&[CALL, ADD_EBX, &[0x5b], LEA])[3],
            Some((GOT_DISP32, 0x3005 - 0xf0))
        );
        assert_eq!(
            run(&[CALL, ADD_EBX, &[0x8b, 0x5d, 8], LEA])[3],
            None,
            "mov ebx, [ebp + 8]"
        );
        assert_eq!(
            run(&[CALL, &[0x81, 0xc4, 0, 1, 0, 0], LEA])[1],
            None,
            "add esp, 0x100"
        );
        assert_eq!(
            run(&[CALL, ADD_EAX, CALL, &[0x8b, 0x80, 0, 1, 0, 0]])[3],
            None,
            "a call ends eax"
        );
    }
}
