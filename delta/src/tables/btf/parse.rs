//! A section of BTF taken apart: its types as words, its strings by where they begin.
//!
//! Source: the Linux kernel's documentation, "BPF Type Format (BTF)".

/// What a word of a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A number of its own.
    Plain,
    /// The offset of a string.
    Name,
    /// The number of a type.
    Type,
}

use Role::{Name, Plain, Type};

/// Words of every type, before its items: name, kind and count, size or type.
pub const HEAD: usize = 3;

/// What the words of a type are, by its second one.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The third word.
    pub third: Role,
    /// The words of an item.
    pub item: &'static [Role],
    /// Items.
    pub count: usize,
}

/// The kind of a type, by its second word.
pub fn kind_of(info: u32) -> u32 {
    info >> 24 & 31
}

impl Shape {
    /// Of the second word of a type; `None` where its kind is not known.
    pub fn of(info: u32) -> Option<Shape> {
        let all = (info & 0xffff) as usize;
        let (third, item, count): (Role, &[Role], usize) = match kind_of(info) {
            1 => (Plain, &[Plain], 1),
            2 | 8..=12 | 18 => (Type, &[], 0),
            3 => (Plain, &[Type, Type, Plain], 1),
            4 | 5 => (Plain, &[Name, Type, Plain], all),
            6 => (Plain, &[Name, Plain], all),
            7 | 16 => (Plain, &[], 0),
            13 => (Type, &[Name, Type], all),
            14 | 17 => (Type, &[Plain], 1),
            15 => (Plain, &[Type, Plain, Plain], all),
            19 => (Plain, &[Name, Plain, Plain], all),
            _ => return None,
        };
        Some(Shape { third, item, count })
    }

    /// Words of the whole type.
    pub fn len(&self) -> usize {
        HEAD + self.item.len() * self.count
    }

    /// What a word is, counted from the first one of the type.
    pub fn role(&self, word: usize) -> Role {
        match word {
            0 => Name,
            1 => Plain,
            2 => self.third,
            _ => self.item[(word - HEAD) % self.item.len()],
        }
    }
}

/// Bytes of the header.
pub const HEADER: usize = 24;

/// The header before so many bytes of types and of strings.
pub fn header(types: u32, strings: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    for (at, word) in [0x0001_eb9f, HEADER as u32, 0, types, types, strings]
        .iter()
        .enumerate()
    {
        out[4 * at..4 * at + 4].copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// A section, taken apart.
#[derive(Debug, Default)]
pub struct Parsed<'b> {
    /// Bytes of the types.
    words: &'b [u8],
    /// Bytes of the strings.
    strings: &'b [u8],
    /// The first word of each type, and the end.
    types: Vec<u32>,
    /// Where each string begins, and the end.
    names: Vec<u32>,
}

impl<'b> Parsed<'b> {
    /// Takes it apart; `None` where it is not laid out as this module would.
    pub fn of(bytes: &'b [u8]) -> Option<Parsed<'b>> {
        let (head, rest) = bytes.split_at_checked(HEADER)?;
        let len = u32::from_le_bytes(head[12..16].try_into().ok()?);
        let (words, strings) = rest.split_at_checked(len as usize)?;
        if head != header(len, u32::try_from(strings.len()).ok()?) || strings.last() != Some(&0) {
            return None;
        }
        let mut parsed = Parsed {
            words,
            strings,
            ..Parsed::default()
        };
        let mut at = 0;
        while at < words.len() / 4 {
            parsed.types.push(at as u32);
            at += Shape::of(word(words, at + 1)?)?.len();
        }
        if at * 4 != words.len() {
            return None;
        }
        parsed.types.push(at as u32);
        parsed.names.push(0);
        let ends = strings.iter().enumerate().filter(|(_, b)| **b == 0);
        parsed.names.extend(ends.map(|(end, _)| end as u32 + 1));
        Some(parsed)
    }

    /// How many types there are.
    pub fn types(&self) -> usize {
        self.types.len().saturating_sub(1)
    }

    /// How many strings there are.
    pub fn names(&self) -> usize {
        self.names.len().saturating_sub(1)
    }

    /// How many types and strings there are, how many words the ones have and how many bytes the others.
    pub fn sizes(&self) -> [usize; 4] {
        [
            self.types(),
            self.names(),
            self.words.len() / 4,
            self.strings.len(),
        ]
    }

    /// A string with the zero at its end.
    pub fn name(&self, number: usize) -> &'b [u8] {
        let place = |n: usize| self.names.get(n).map_or(self.strings.len(), |&at| at as usize);
        &self.strings[place(number)..place(number + 1)]
    }

    /// The string that begins at an offset.
    pub fn name_at(&self, offset: u32) -> Option<usize> {
        let at = self.names.binary_search(&offset).ok()?;
        (at < self.names()).then_some(at)
    }

    /// Where a string begins.
    pub fn offset(&self, number: usize) -> u32 {
        self.names.get(number).copied().unwrap_or(0)
    }

    /// A word of a type; none beyond its end.
    pub fn word(&self, number: usize, at: usize) -> Option<u32> {
        let (&from, &end) = (self.types.get(number)?, self.types.get(number + 1)?);
        let at = (from as usize).checked_add(at).filter(|&at| at < end as usize)?;
        word(self.words, at)
    }

    /// The kind of a type.
    pub fn kind(&self, number: usize) -> Option<u32> {
        self.word(number, 1).map(kind_of)
    }

    /// The shape of a type.
    pub fn shape(&self, number: usize) -> Option<Shape> {
        Shape::of(self.word(number, 1)?)
    }

    /// Bytes of memory that the lists take.
    pub fn memory(&self) -> u64 {
        4 * (self.types.len() + self.names.len()) as u64
    }
}

fn word(words: &[u8], at: usize) -> Option<u32> {
    let bytes = words.get(4 * at..4 * at + 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
