//! `.BTF`: a kernel's types. Each continues an old one, and what it names and leads to goes where that went.
//!
//! First the strings, then which old type each new one continues, then the records: so that numbers of types and
//! offsets of strings that only shifted cost nothing. Source: Linux documentation, "BPF Type Format (BTF)".

mod bases;
mod fields;
mod order;
mod pair;
mod types;

use self::bases::{Bases, Moves, WHOLE};
use self::fields::{Fields, Side};
use self::order::Order;
use self::types::Types;
use super::{BYTE_MODELS, Image, Made, Spent, Table, TableModel, World, names};
use crate::budget::Keep;
use crate::code::{Stream, Streams, Symbols, hash, symbols};
use crate::elf::Elf;
use crate::place::SectionId;
use crate::{Error, error::Result};

/// The tables of types of a file.
#[derive(Debug)]
pub struct Btf;

impl<'w> TableModel<'w> for Btf {
    const STREAMS: &'static [(Stream, Spent)] = &[(Stream::Symbols, Spent::Sections(&[Table::Btf]))];
    const MODELS: u64 = BYTE_MODELS;

    fn by_name(elf: &Elf, section: SectionId) -> Option<Table> {
        (elf[section].name == b".BTF").then_some(Table::Btf)
    }

    fn fits(new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        move |section, _| parts(new.section(section)).is_some()
    }

    fn start<S: Symbols>(_: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Btf>> {
        Ok(world.choices.sections(Table::Btf).next().map(|_| Btf))
    }

    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()> {
        for section in world.choices.sections(Table::Btf) {
            let mut known = world.account.lend::<Known>();
            let bytes = table(streams.get(Stream::Symbols), world, &mut known, section)?;
            drop(known);
            made.section(world, section, bytes)?;
        }
        Ok(())
    }
}

/// Bytes of the header that is modelled.
const HEADER: usize = 24;
/// What it begins with: magic number, version, flags, its length, offset of the types.
const FIRST: [u8; 12] = [0x9f, 0xeb, 1, 0, HEADER as u8, 0, 0, 0, 0, 0, 0, 0];

/// Types and strings of a table that the model reproduces.
fn parts(bytes: &[u8]) -> Option<(Types, &[u8])> {
    let word = |at: usize| {
        let word = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes([word[0], word[1], word[2], word[3]]) as usize)
    };
    let (types, at, strings) = (word(12)?, word(16)?, word(20)?);
    let behind = bytes.get(HEADER..)?;
    let whole = bytes.starts_with(&FIRST) && at == types && types.checked_add(strings) == Some(behind.len());
    let (types, strings) = behind.split_at_checked(types).filter(|_| whole)?;
    let named = strings.is_empty() || names::fits(strings);
    named.then_some((Types::read(types)?, strings))
}

symbols! {
    /// Where a table begins, and how large it is.
    struct HeadModels {
        based(4, 255) {
            /// Both tables count on from where the last ones did, or the first ones from nothing.
            based: flag by() [0];
        }
        number(12, 255) {
            /// Words of all types, and how many there are, against the old table's: `i` is 0 and 1.
            size: signed by(i: u32) [hash(1, i)];
            /// First type and first string of the old table.
            base: number by(i: u32) [hash(2, i)];
            /// Those of the new table, against the old one's.
            moved: signed by(i: u32) [hash(3, i)];
        }
    }
}

/// What goes from table to table of a group.
#[derive(Debug, Default)]
struct Known {
    head: HeadModels,
    order: order::OrderModels,
    fields: fields::FieldModels,
    bases: Bases,
    /// Where types and strings went that tables only refer to.
    types: Moves,
    strings: Moves,
}

impl Keep for Known {
    fn memory(&self) -> u64 {
        let models = self.head.memory() + self.order.memory() + self.fields.memory();
        models + self.types.memory() + self.strings.memory()
    }
}

/// A number and what was coded against it.
fn sum(from: u32, away: i64) -> Result<u32> {
    let sum = u32::try_from(i64::from(from).saturating_add(away));
    sum.map_err(|_| Error::damaged("a number of its types is out of range"))
}

/// Codes one table, and gives its bytes.
fn table<S: Symbols>(s: &mut S, world: &World, known: &mut Known, section: SectionId) -> Result<Vec<u8>> {
    let old_bytes = world.old_bytes(section)?;
    let mut held = world.account.held();
    // Words of the old types, and where they start, as if all of them were the shortest.
    held.set(old_bytes.len() as u64 * 7 / 3 + known.memory())?;
    let (old, old_strings) = parts(&old_bytes).unwrap_or_default();
    let truth = world.true_bytes(section).and_then(parts);
    let (true_types, true_strings) = truth.unzip();
    let size = world.elf[section].size;
    if size > 8 * old_bytes.len() as u64 + (1 << 24) {
        return Err(Error::damaged("a table of types is too long"));
    }

    let found = true_types
        .as_ref()
        .zip(true_strings)
        .map(|(types, strings)| Bases {
            old: base_of(&old, old_strings),
            new: base_of(types, strings),
        });
    known.bases(s, found)?;
    let t = true_types.as_ref();
    let words = known.head.size(
        s,
        0,
        t.map_or(0, |t| t.words.len() as i64 - old.words.len() as i64),
    );
    let words = sum(old.words.len() as u32, words)?;
    let count = known
        .head
        .size(s, 1, t.map_or(0, |t| t.len() as i64 - old.len() as i64));
    let count = sum(old.len() as u32, count)?;
    let (types_len, room) = (4 * u64::from(words), size.checked_sub(HEADER as u64));
    let strings_len = room.and_then(|room| room.checked_sub(types_len));
    let strings_len = strings_len.filter(|_| u64::from(count) * 12 <= types_len);
    let strings_len = strings_len.ok_or(Error::damaged("its types do not fit their section"))?;

    let (names, _) = names::table(s, world.account, (old_strings, 0), strings_len, true_strings)?;
    let strings = strings_len + 8 * (names.old.len() + names.starts.len()) as u64;
    let numbers = 8 * u64::from(count) + 4 * old.len() as u64;
    let both = old_bytes.len() as u64 + old.memory() + strings + numbers + size;
    held.set(both + known.memory())?;
    let pairs = t.zip(true_strings).map(|(types, strings)| {
        let side = |types, strings, base| pair::Side { types, strings, base };
        let bases = known.bases;
        pair::pair(
            &side(&old, old_strings, bases.old),
            &side(types, strings, bases.new),
        )
    });
    let order = Order::code(s, &mut known.order, (old.len(), count as usize), pairs.as_deref())?;
    let old_side = Side {
        types: &old,
        base: known.bases.old,
    };
    let mut fields = Fields::new(known, old_side, &order, &names);
    let mut bytes = Vec::with_capacity(size as usize);
    bytes.extend_from_slice(&FIRST);
    for word in [types_len, types_len, strings_len] {
        bytes.extend_from_slice(&(word as u32).to_le_bytes());
    }
    let end = HEADER as u64 + types_len;
    for index in 0..count as usize {
        let record = fields.record(s, index, t.map(|t| t.record(index)))?;
        if (bytes.len() + 4 * record.len()) as u64 > end || s.exhausted() {
            return Err(Error::damaged("the types end too early"));
        }
        bytes.extend(record.iter().flat_map(|word| word.to_le_bytes()));
        world.account.go_on(1 + record.len() as u64 / 8)?;
        if index % 1024 == 0 {
            held.set(both + fields.memory())?;
        }
    }
    fields.finish();
    if bytes.len() as u64 != end {
        return Err(Error::damaged("the types end too early"));
    }
    bytes.extend_from_slice(&names.table);
    Ok(bytes)
}

/// On the writing side: where types and strings of a table begin to count.
fn base_of(types: &Types, strings: &[u8]) -> (u32, u32) {
    if types.len() == 0 {
        return WHOLE;
    }
    let starts = names::Starts::of(strings);
    let last = starts.len().checked_sub(1).map_or(0, |last| starts.place(last).0);
    bases::find(types, last, strings.len() as u32)
}

impl Known {
    /// Codes where both tables begin to count.
    fn bases<S: Symbols>(&mut self, s: &mut S, truth: Option<Bases>) -> Result<()> {
        let t = truth.unwrap_or(self.bases);
        if self.head.based(s, t == self.bases) {
            return Ok(());
        }
        let wide =
            |n: u64| u32::try_from(n).map_err(|_| Error::damaged("a number of its types is out of range"));
        let old = (
            wide(self.head.base(s, 0, t.old.0.into()))?,
            wide(self.head.base(s, 1, t.old.1.into()))?,
        );
        let away = |new: u32, told: u32| i64::from(new) - i64::from(told);
        let new = (
            sum(old.0, self.head.moved(s, 0, away(t.new.0, old.0)))?,
            sum(old.1, self.head.moved(s, 1, away(t.new.1, old.1)))?,
        );
        // What counts its strings from elsewhere goes on from another kernel.
        if old.1 != self.bases.old.1 {
            (self.types, self.strings) = (Moves::default(), Moves::default());
        }
        self.bases = Bases { old, new };
        Ok(())
    }
}
