//! Follows the constants that stand between code, and what those that are addresses count from.
//!
//! As with the rules of the other machines, these are small and frozen with the format; where they are wrong about a
//! word, a patch is larger.
//!
//! 1. A load of a literal that lies ahead, a whole number of instruction units (4 bytes, in Thumb 2) away, makes the
//!    word there data; `ldrd` and `vldr` of a d register make two. The word begins where a walk comes to it; what
//!    would reach into it is cut, which leaves data of two bytes. Data ends where the unit does.
//! 2. A word loaded into a register to which the program counter is added, or that is loaded relative to it, is a
//!    distance from there (8 bytes behind the instruction, in Thumb 4).
//! 3. A word loaded into a register that is the index of a load is an address: a place in the global offset table.
//!    So is any other word from 2^15 to 2^27, where programs are linked.
//! 4. `bl` and `blx` end what r0 to r3, r12 and r14 hold; `mov` of a register hands it on; any other instruction ends
//!    what its first register held.

use super::super::bits::word_of;
use super::super::{Field, Insn};
use super::thumb::code_of;
use super::{ADDRESS, DISTANCE, class, data};

/// Where words of programs are linked that are no distance.
const LINKED: std::ops::Range<u32> = 1 << 15..1 << 27;

/// What is known of a word ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    at: u32,
    /// What it counts from, once that is known.
    from: Option<u32>,
    /// Whether it is the index of a load.
    index: bool,
}

/// The constants ahead, and the registers that hold one.
#[derive(Clone, Debug)]
pub struct Pools {
    thumb: bool,
    /// Address of the word that each register was loaded from.
    held: [Option<u32>; 16],
    /// Ascending; loads reach 4 KiB ahead, so they are few.
    ahead: Vec<Word>,
}

impl Pools {
    /// At the start of a unit.
    pub fn new(thumb: bool) -> Pools {
        Pools {
            thumb,
            held: [None; 16],
            ahead: Vec::new(),
        }
    }

    /// The data at the start of `bytes`, if it is data; `len` is that of the instruction that it would be.
    #[inline(never)]
    pub fn look(&self, bytes: &[u8], len: u8, address: u64) -> Option<Insn> {
        let next = self.ahead.first()?;
        let away = next.at.wrapping_sub(address as u32);
        if away >= u32::from(len) || away > 0 && away != 2 {
            return None;
        }
        if away == 2 {
            return data(class::HALF);
        }
        let value = word_of(bytes)?;
        let class = match next {
            Word { from: Some(_), .. } => class::DISTANCE,
            Word { index: true, .. } => class::ADDRESS,
            _ if LINKED.contains(&value) => class::ADDRESS,
            _ => class::WORD,
        };
        data(class)
    }

    /// The reference field of data or of an instruction, with what it counts from.
    #[inline(never)]
    pub fn field(&self, field: Field, address: u64) -> (Field, u64) {
        let from = match field.kind {
            ADDRESS => 0,
            DISTANCE => {
                let word = self.find(address as u32).ok().and_then(|i| self.ahead[i].from);
                word.map_or(address, u64::from)
            }
            _ => address,
        };
        (field, from)
    }

    fn find(&self, at: u32) -> Result<usize, usize> {
        self.ahead.binary_search_by_key(&at, |word| word.at)
    }

    /// Goes past what starts at `address`.
    #[inline(never)]
    pub fn step(&mut self, insn: &Insn, bytes: &[u8], address: u64) {
        let here = address as u32;
        if insn.data_class() == 0 {
            if self.thumb {
                self.step_thumb(bytes, here);
            } else {
                self.step_arm(bytes, here);
            }
        }
        let end = here.wrapping_add(u32::from(insn.len()));
        let passed = self.ahead.iter().take_while(|word| word.at < end).count();
        self.ahead.drain(..passed);
    }

    /// A load of `words` words from an address into a register, if it goes to one.
    fn loads(&mut self, here: u32, at: u32, words: u32, register: Option<u32>) {
        let unit = if self.thumb { 2 } else { 4 };
        let away = at.wrapping_sub(here);
        let ahead = away < 1 << 13 && away.is_multiple_of(unit);
        if ahead {
            for k in 0..words {
                let at = at.wrapping_add(4 * k);
                if let Err(place) = self.find(at) {
                    let word = Word {
                        at,
                        from: None,
                        index: false,
                    };
                    self.ahead.insert(place, word);
                }
            }
        }
        if let Some(register) = register {
            self.held[(register & 15) as usize] = Some(at).filter(|_| ahead);
        }
    }

    /// The word that a register holds, if it is still ahead.
    fn word(&mut self, register: u32) -> Option<&mut Word> {
        let at = self.held[(register & 15) as usize]?;
        let index = self.find(at).ok()?;
        self.ahead.get_mut(index)
    }

    /// The program counter is added to a register.
    fn counts(&mut self, register: u32, from: u32) {
        if let Some(word) = self.word(register) {
            word.from.get_or_insert(from);
        }
    }

    /// A load has this index.
    fn indexes(&mut self, register: u32) {
        if let Some(word) = self.word(register) {
            word.index = true;
        }
    }

    fn ends(&mut self, register: u32) {
        self.held[(register & 15) as usize] = None;
    }

    fn called(&mut self) {
        for register in [0, 1, 2, 3, 12, 14] {
            self.ends(register);
        }
    }

    fn moved(&mut self, to: u32, from: u32) {
        self.held[(to & 15) as usize] = self.held[(from & 15) as usize];
    }

    fn step_arm(&mut self, bytes: &[u8], here: u32) {
        let Some(word) = word_of(bytes) else { return };
        let pc = here.wrapping_add(8);
        let (to, low) = (word >> 12 & 15, word & 15);
        let up = word >> 23 & 1 == 1;
        if word >> 28 == 15 {
            if word >> 25 & 7 == 5 {
                self.called();
            }
            return;
        }
        match word >> 20 & 0xff {
            // ldr of a literal.
            0x51 | 0x59 if word >> 16 & 15 == 15 => {
                let away = word & 0xfff;
                let at = if up {
                    pc.wrapping_add(away)
                } else {
                    pc.wrapping_sub(away)
                };
                self.loads(here, at, 1, Some(to));
            }
            // vldr of a literal.
            0xd1 | 0xd5 | 0xd9 | 0xdd if word & 0x000f_0e00 == 0x000f_0a00 && up => {
                let at = pc.wrapping_add((word & 0xff) << 2);
                self.loads(here, at, 1 + (word >> 8 & 1), None);
            }
            // add of the program counter and a register, either way round.
            0x08 if word & 0x000f_0ff0 == 0x000f_0000 => {
                self.counts(low, pc);
                self.ends(to);
            }
            0x08 if word & 0x0000_0fff == 15 => {
                self.counts(word >> 16, pc);
                self.ends(to);
            }
            // ldr by an index, from the program counter or another register.
            0x79 if word & 0x0000_0ff0 == 0 => {
                if word >> 16 & 15 == 15 {
                    self.counts(low, pc);
                } else {
                    self.indexes(low);
                }
                self.ends(to);
            }
            // mov of a register.
            0x1a if word & 0x0000_0ff0 == 0 => self.moved(to, low),
            0xb0..=0xbf => self.called(),
            // Branches, compares, stores and coprocessors write none.
            0xa0..=0xaf | 0x11 | 0x13 | 0x15 | 0x17 | 0x31 | 0x33 | 0x35 | 0x37 | 0xc0..=0xff => {}
            op @ 0x40..=0x7f if op & 1 == 0 => {}
            0x80..=0x9f => {}
            _ => self.ends(to),
        }
    }

    fn step_thumb(&mut self, bytes: &[u8], here: u32) {
        let Some((code, len)) = code_of(bytes) else { return };
        let pc = here.wrapping_add(4);
        if len == 4 {
            return self.step_wide(code, here, pc);
        }
        let low = code & 7;
        match code >> 8 {
            0x48..=0x4f => {
                let at = (pc & !3).wrapping_add((code & 0xff) << 2);
                self.loads(here, at, 1, Some(code >> 8 & 7));
            }
            // add of the program counter.
            0x44 if code & 0x78 == 0x78 => {
                let register = low | code >> 4 & 8;
                self.counts(register, pc);
                self.ends(register);
            }
            0x46 => self.moved(low | code >> 4 & 8, code >> 3),
            // ldr by an index.
            0x58 | 0x59 => {
                self.indexes(code >> 6 & 7);
                self.indexes(code >> 3 & 7);
                self.ends(low);
            }
            0x47 if code & 0x80 != 0 => self.called(),
            // Compares, stores, branches.
            0x28..=0x2f
            | 0x45
            | 0x47
            | 0x50..=0x55
            | 0x60..=0x67
            | 0x70..=0x77
            | 0x80..=0x87
            | 0x90..=0x97 => {}
            0xb0..=0xb1 | 0xb3..=0xb9 | 0xbb..=0xff => {}
            // movs, adds, subs of a constant; loads and sums with the stack pointer.
            0x20..=0x27 | 0x30..=0x3f | 0x98..=0xaf => self.ends(code >> 8 & 7),
            0x44 => self.ends(low | code >> 4 & 8),
            _ => self.ends(low),
        }
    }

    fn step_wide(&mut self, code: u32, here: u32, pc: u32) {
        let (to, sum) = (code >> 12 & 15, code >> 8 & 15);
        let from = pc & !3;
        match code >> 16 {
            0xf8df => self.loads(here, from.wrapping_add(code & 0xfff), 1, Some(to)),
            // ldrd and vldr ahead.
            0xe9df => {
                self.loads(here, from.wrapping_add((code & 0xff) << 2), 2, None);
                self.ends(to);
                self.ends(sum);
            }
            0xed9f | 0xeddf if matches!(code >> 8 & 15, 10 | 11) => {
                self.loads(
                    here,
                    from.wrapping_add((code & 0xff) << 2),
                    1 + (code >> 8 & 1),
                    None,
                );
            }
            // ldr by an index.
            0xf850..=0xf85f if code & 0xfc0 == 0 => {
                self.indexes(code);
                self.ends(to);
            }
            // bl, blx.
            0xf000..=0xf7ff if code & 0xc000 == 0xc000 => self.called(),
            0xf000..=0xf7ff if code & 0x8000 != 0 => {}
            // Sums.
            0xea00..=0xebff | 0xf000..=0xf7ff | 0xfb00..=0xfbff => self.ends(sum),
            // Loads of one register.
            0xf800..=0xf9ff if code >> 20 & 1 == 1 => self.ends(to),
            _ => {}
        }
    }
}
