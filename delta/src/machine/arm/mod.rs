//! 32-bit ARM, little-endian: the ARM and the Thumb-2 instruction set, which change from function to function.
//!
//! Constants stand between the code, where `ldr` and `vldr` reach them: they are coded as data, word by word.
//! [`Pools`] finds them, and what those that are addresses count from.
//!
//! Sources: Arm ARM for ARMv7-A and R, chapters A5 and A6; relocations: ELF for the Arm Architecture, table 4-9;
//! function bounds: Exception Handling ABI for the Arm Architecture, section 5.

mod a32;
mod field;
mod find;
mod pools;
#[cfg(test)]
mod tests;
mod thumb;

pub use a32::Arm;
pub use find::functions;
pub use pools::Pools;
pub use thumb::Thumb;

use super::set::{Use, fits};
use super::{Field, FieldKind, Flow, Insn, Shape};

/// ARM `b` and `bl`: 24 bits, in words.
pub const BRANCH24: FieldKind = FieldKind::new(0);
/// ARM `blx` of an address: 24 bits in words, and one in halfwords.
pub const EXCHANGE25: FieldKind = FieldKind::new(1);
/// ARM load of a literal: 12 bits, on or back as the instruction says.
pub const LIT12: FieldKind = FieldKind::new(2);
/// ARM `vldr`: 8 bits, in words.
pub const LIT8: FieldKind = FieldKind::new(3);
/// ARM `ldrd`, `ldrh`, `ldrsb`, `ldrsh` of a literal: twice 4 bits.
pub const LIT44: FieldKind = FieldKind::new(4);
/// ARM `adr`: 8 bits, rotated as the instruction says.
pub const ADR8: FieldKind = FieldKind::new(5);
/// Thumb `b` with a condition: 8 bits, in halfwords.
pub const COND8: FieldKind = FieldKind::new(6);
/// Thumb `b`: 11 bits, in halfwords.
pub const JUMP11: FieldKind = FieldKind::new(7);
/// Thumb `cbz` and `cbnz`: 6 bits, in halfwords, only on.
pub const ZERO6: FieldKind = FieldKind::new(8);
/// Thumb `ldr` of a literal and `adr`: 8 bits, in words, only on.
pub const WORD8: FieldKind = FieldKind::new(9);
/// Thumb-2 `b` with a condition: 20 bits, in halfwords.
pub const COND20: FieldKind = FieldKind::new(10);
/// Thumb-2 `b` and `bl`: 24 bits, in halfwords.
pub const JUMP24: FieldKind = FieldKind::new(11);
/// Thumb-2 `blx` of an address: 24 bits, in halfwords, to a word.
pub const EXCHANGE24: FieldKind = FieldKind::new(12);
/// Thumb-2 loads of a literal: 12 bits, on or back as the instruction says.
pub const WIDE12: FieldKind = FieldKind::new(13);
/// Thumb-2 `adr`: 12 bits, on or back as the instruction says.
pub const ADR12: FieldKind = FieldKind::new(14);
/// Thumb-2 `ldrd` and `vldr` of a literal: 8 bits, in words, on or back as the instruction says.
pub const WIDE8: FieldKind = FieldKind::new(15);
/// Data word that is a distance, from where only [`Pools`] knows.
pub const DISTANCE: FieldKind = FieldKind::new(16);
/// Data word that is an address, or a place in the global offset table.
pub const ADDRESS: FieldKind = FieldKind::new(17);

const KINDS: u8 = 18;
const RELATIVE: u64 = 23;

const _: () = fits::<Arm>();
const _: () = fits::<Thumb>();

/// What kinds of data there are between instructions; 0 stands for an instruction.
pub mod class {
    /// A word of which nothing is known.
    pub const WORD: u8 = 1;
    /// A word with a [`super::DISTANCE`].
    pub const DISTANCE: u8 = 2;
    /// A word with an [`super::ADDRESS`].
    pub const ADDRESS: u8 = 3;
    /// Two bytes, cut off by data behind them.
    pub const HALF: u8 = 4;
}

/// Data of a class; `None` for 0 and what is no class.
pub const fn data(class: u8) -> Option<Insn> {
    let (len, kind) = match class {
        class::WORD => (4, None),
        class::DISTANCE => (4, Some(DISTANCE)),
        class::ADDRESS => (4, Some(ADDRESS)),
        class::HALF => (2, None),
        _ => return None,
    };
    let field = match kind {
        Some(kind) => Some(Field { kind, at: 0 }),
        None => None,
    };
    let shape = Shape {
        len,
        field,
        flow: Flow::Trap,
        known: true,
        ..Shape::raw(len)
    };
    Some(shape.pack().as_data(class))
}

fn uses(kind: FieldKind) -> Use {
    match kind {
        DISTANCE | ADDRESS => Use {
            direct: false,
            ..Use::BRANCH
        },
        _ => Use::BRANCH,
    }
}
