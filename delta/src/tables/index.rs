//! `.ARM.exidx`: for each function how it is unwound, and the personality routines that `.ARM.extab` names.
//!
//! A row has the function and, told from each other by their bits, nothing (1), instructions, or where its entry in
//! `.ARM.extab` is. An entry that has the highest bit clear begins with its personality routine. All are distances of
//! 31 bits from where they stand. Source: Exception Handling ABI for the Arm Architecture, sections 5 and 6.

use super::{Image, Made, Spent, Table, TableModel, World};
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::Elf;
use crate::elf::address::{Addresses, Range};
use crate::place::{Addr, Off, Place, SectionId, Span};
use crate::predict::{Guess, Locals, Site, TargetModels};
use crate::{Error, error::Result};

const SHT_ARM_EXIDX: u32 = 0x7000_0001;
const EM_ARM: u16 = 40;
/// Bytes of a row.
const ROW: usize = 8;
/// How a function is unwound that can't be.
const NOT: u32 = 1;
/// In a word that is no distance.
const INLINE: u32 = 1 << 31;

/// Kinds of site that target prediction tells apart.
const FUNCTION: u32 = 43;
const ENTRY: u32 = 44;
const PERSONALITY: u32 = 45;

/// Rows of the old table among which one is looked for that a new one continues.
const AHEAD: usize = 64;

/// Whether a section is such a table.
fn is_one(elf: &Elf, section: SectionId) -> bool {
    let s = &elf[section];
    elf.machine == EM_ARM && s.kind == SHT_ARM_EXIDX && s.is_loaded() && s.size.is_multiple_of(ROW as u64)
}

/// How a function is unwound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum How {
    /// Not at all.
    #[default]
    Not,
    /// By what the word itself says, which has the highest bit.
    Inline(u32),
    /// By an entry at an address.
    Entry(Addr),
}

impl How {
    fn number(self) -> u32 {
        match self {
            How::Not => 0,
            How::Inline(_) => 1,
            How::Entry(_) => 2,
        }
    }

    fn entry(self) -> Option<Addr> {
        match self {
            How::Entry(entry) => Some(entry),
            How::Not | How::Inline(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    function: Addr,
    how: How,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|w| u32::from_le_bytes(*w))
}

/// Where a distance of 31 bits at an address leads.
fn target(word: u32, at: Addr) -> Addr {
    at.wrapping_add(((word << 1) as i32 >> 1) as u32)
}

/// The distance of an address from another.
fn distance(target: Addr, at: Addr) -> u32 {
    target.since(at) & !INLINE
}

/// The rows of a table at `addr`.
fn rows(bytes: &[u8], addr: Addr) -> Vec<Row> {
    let row = |(row, k): (&[u8], u32)| {
        let at = addr.wrapping_add(k.wrapping_mul(ROW as u32));
        let (function, how) = (word(row, 0).unwrap_or(0), word(row, 4).unwrap_or(0));
        Row {
            function: target(function, at),
            how: match how {
                NOT => How::Not,
                how if how & INLINE != 0 => How::Inline(how),
                how => How::Entry(target(how, at.wrapping_add(4))),
            },
        }
    };
    bytes.chunks_exact(ROW).zip(0..).map(row).collect()
}

/// Whether the model reproduces a table: no distance to a function has the bit that none uses.
fn fits(bytes: &[u8]) -> bool {
    bytes
        .chunks_exact(ROW)
        .all(|row| word(row, 0).is_some_and(|w| w & INLINE == 0))
}

/// The personality routine that an entry at an address names, if it names one; `read` gives words of the file.
fn personality(addr: Addr, read: impl Fn(Addr) -> Option<u32>) -> Option<Addr> {
    read(addr).filter(|w| w & INLINE == 0).map(|w| target(w, addr))
}

/// The words that name personality routines.
fn personalities(elf: &Elf, addresses: &Addresses, bytes: &[u8]) -> Vec<Span<Off>> {
    let read = |addr: Addr| word(bytes, addresses.offset(addr)?.index());
    let tables = elf.ids().filter(|&i| is_one(elf, i) && elf[i].in_file());
    let mut found = Vec::new();
    for s in tables.map(|i| &elf[i]) {
        for row in rows(
            &bytes[s.offset as usize..(s.offset + s.size) as usize],
            Addr(s.addr as u32),
        ) {
            if let How::Entry(addr) = row.how
                && personality(addr, read).is_some()
            {
                found.extend(addresses.offset(addr).map(|at| Span::new(at, 4)));
            }
        }
    }
    found
}

symbols! {
    /// Rows of `.ARM.exidx`.
    struct RowModels {
        follows(8, 255) {
            /// A row continues the next old one. `h`: for each row so far whether it did, the last one lowest.
            follows: flag by(h: u32) [1, hash(2, h & 7)];
        }
        skip(10, 255) {
            /// The old row that it continues, by its distance from the next one; 0 for none.
            skip: number by() [0];
        }
        how(8, 255) {
            /// How the function is unwound: 0 not at all, 1 by the word itself, 2 and 3 by an entry. `state`: how the
            /// old one is, 3 without one.
            how: tree(2) by(state: u32) [1 + state, hash(2, state)];
        }
        same(4, 255) {
            /// The word is the old one.
            same: flag by() [0];
        }
        byte(14, 255) {
            /// Byte `n` of a word, the highest is 0. `before`: the bytes above it, as a number.
            byte: byte by(n: u32, before: u32) [n, hash(before, n)];
        }
        named(8, 255) {
            /// The entry names a personality routine. `state`: 1, one more with an old entry, and one more if that
            /// names one.
            named: flag by(state: u32) [state, hash(2, state)];
        }
    }
}

struct Models {
    own: RowModels,
    targets: TargetModels,
}

impl Default for Models {
    fn default() -> Self {
        Models {
            own: RowModels::default(),
            targets: TargetModels::small(),
        }
    }
}

/// All such tables of a file, and the personality routines of the entries that they lead to.
#[derive(Debug)]
pub struct Index;

impl<'w> TableModel<'w> for Index {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Unwind, Spent::Sections(&[Table::Index]))];

    fn by_type(elf: &Elf, section: SectionId) -> Option<Table> {
        is_one(elf, section).then_some(Table::Index)
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        move |section, _| fits(new.section(section))
    }

    fn makes(of: Image<'_>) -> Vec<Span<Off>> {
        personalities(&of.image.elf, &of.image.addresses, of.bytes)
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Index>> {
        Ok(world.choices.sections(Table::Index).next().map(|_| Index))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        let choices = world.choices;
        let (s, m) = (streams.get(Stream::Unwind), Models::default());
        let mut pass = Pass { s, m, world, made };
        for table in choices.sections(Table::Index) {
            let bytes = pass.rows(table)?;
            pass.made.section(pass.world, table, bytes)?;
        }
        Ok(())
    }
}

/// One way through the tables.
struct Pass<'p, 'w, 'b, S> {
    s: &'p mut S,
    m: Models,
    world: &'p mut World<'w>,
    made: &'p mut Made<'b>,
}

impl<S: Symbols> Pass<'_, '_, '_, S> {
    /// Codes the rows of one table, and gives its bytes.
    fn rows(&mut self, table: SectionId) -> Result<Vec<u8>> {
        let section = &self.world.elf[table];
        let (addr, count) = (Addr(section.addr as u32), section.size as u32 / ROW as u32);
        let old_section = self.world.pairs[table.index()].map(|i| &self.world.old.elf[i]);
        let old_addr = old_section.map_or(Addr(0), |s| Addr(s.addr as u32));
        let old = rows(&self.world.old_bytes(table)?, old_addr);
        let (known, mut held) = (size_of_val(&old[..]) as u64, self.world.account.held());
        held.set(known)?;
        let truth = self.world.true_bytes(table).map(|bytes| rows(bytes, addr));
        let (mut bytes, mut next, mut history) = (Vec::new(), 0usize, 0u32);
        for k in 0..count {
            let t = truth.as_ref().and_then(|t| t.get(k as usize)).copied();
            let partner = self.partner(&old, &mut next, &mut history, t)?;
            let (was, t) = (partner.map(|i| old[i]), t.unwrap_or_default());
            let at = addr.wrapping_add(k * ROW as u32);
            let function = self.reference((FUNCTION, at), was.map(|r| r.function), t.function)?;
            let how = self.how(at + 4, was.map(|r| r.how), t.how)?;
            let how = match how {
                How::Not => NOT,
                How::Inline(word) => word,
                How::Entry(entry) => {
                    self.personality(entry, was.and_then(|r| r.how.entry()))?;
                    distance(entry, at + 4)
                }
            };
            for word in [distance(function, at), how] {
                bytes.extend_from_slice(&word.to_le_bytes());
            }
            if self.s.exhausted() {
                return Err(Error::damaged("the unwind stream ends too early"));
            }
            if k % 1024 == 0 {
                held.set(known + bytes.len() as u64)?;
                self.made.count(self.world)?;
            }
        }
        Ok(bytes)
    }

    /// Codes which old row the next one continues: the `next` one, one further on, or none.
    fn partner(
        &mut self,
        old: &[Row],
        next: &mut usize,
        history: &mut u32,
        t: Option<Row>,
    ) -> Result<Option<usize>> {
        let ahead = t.and_then(|t| {
            let window = &old[*next..(*next + AHEAD).min(old.len())];
            let map = self.world.targets.map();
            window.iter().position(|r| map.guess(r.function) == t.function)
        });
        if *next >= old.len() {
            return Ok(None);
        }
        let here = self.m.own.follows(self.s, *history, ahead == Some(0));
        *history = *history << 1 | u32::from(here);
        let mut partner = Some(*next);
        if !here {
            let skip = self.m.own.skip(self.s, ahead.map_or(0, |a| a as u64));
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            partner = Some(next.saturating_add(skip)).filter(|_| skip > 0);
            if partner.is_some_and(|i| i >= old.len()) {
                return Err(Error::damaged("an unwind row continues one that is not there"));
            }
        }
        *next = partner.map_or(*next, |i| i + 1);
        Ok(partner)
    }

    /// Codes a target of the table, by kind and address of its site.
    fn reference(
        &mut self,
        (kind, addr): (u32, Addr),
        old_target: Option<Addr>,
        truth: Addr,
    ) -> Result<Addr> {
        let site = Site {
            kind,
            addr,
            ..Site::default()
        };
        let guess = Guess {
            old_target,
            ..Guess::default()
        };
        let (targets, mut none) = (&mut self.world.targets, Locals::default());
        targets.code(self.s, &mut self.m.targets, &site, guess, &mut none, truth)
    }

    /// Codes how a function is unwound.
    fn how(&mut self, at: Addr, was: Option<How>, t: How) -> Result<How> {
        let state = was.map_or(3, How::number);
        match self.m.own.how(self.s, state, t.number()) {
            0 => Ok(How::Not),
            1 => Ok(How::Inline(self.instructions(was, t))),
            _ => {
                let (old, known) = (was.and_then(How::entry), t.entry().unwrap_or_default());
                self.reference((ENTRY, at), old, known).map(How::Entry)
            }
        }
    }

    /// Codes a word of unwind instructions.
    fn instructions(&mut self, was: Option<How>, t: How) -> u32 {
        let inline = |how: How| match how {
            How::Inline(word) => Some(word),
            _ => None,
        };
        let known = inline(t).unwrap_or(INLINE);
        if let Some(old) = was.and_then(inline)
            && self.m.own.same(self.s, known == old)
        {
            return old;
        }
        let mut word = 0;
        for n in 0..4 {
            let byte = (known >> (24 - 8 * n)) as u8;
            let byte = self.m.own.byte(self.s, n, word, byte);
            word = word << 8 | u32::from(byte);
        }
        word | INLINE
    }

    /// Codes which personality routine an entry names, and makes the word of it; `was` is the old entry.
    fn personality(&mut self, entry: Addr, was: Option<Addr>) -> Result<()> {
        let world = &*self.world;
        let holds = |r: &&Range| entry - r.addr <= r.len.saturating_sub(4) && r.len >= 4;
        let range = world.addresses.range_of(entry).filter(holds);
        let Some(at) = range
            .and_then(|_| world.addresses.offset(entry))
            .filter(|_| world.is_generic(entry))
        else {
            return Ok(());
        };
        let known = world.truth.and_then(|truth| {
            let read = |addr: Addr| word(truth, world.addresses.offset(addr)?.index());
            personality(entry, read)
        });
        let old = was.and_then(|was| {
            let read = |addr: Addr| {
                let mut word = [0; 4];
                let at = world.old.addresses.offset(addr)?;
                world.old.file.read(at.into(), &mut word).ok()?;
                Some(u32::from_le_bytes(word))
            };
            personality(was, read)
        });
        let state = 1 + u32::from(was.is_some()) + u32::from(old.is_some());
        if self.m.own.named(self.s, state, known.is_some()) {
            let routine = self.reference((PERSONALITY, entry), old, known.unwrap_or_default())?;
            self.made.known.add(at, &distance(routine, entry).to_le_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Rows say where they lead, and what leads there again is the same row.
        #[test]
        fn rows_are_written_as_they_were_read(words in prop::collection::vec(any::<u32>(), 2..20), addr in 0u32..1 << 31) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
            for (k, row) in rows(&bytes, Addr(addr)).iter().enumerate() {
                let at = Addr(addr) + 8 * k as u32;
                prop_assert_eq!(distance(row.function, at), words[2 * k] & !INLINE);
                match row.how {
                    How::Not => prop_assert_eq!(words[2 * k + 1], NOT),
                    How::Inline(word) => prop_assert_eq!(words[2 * k + 1], word),
                    How::Entry(entry) => prop_assert_eq!(words[2 * k + 1], distance(entry, at + 4)),
                }
            }
        }
    }
}
