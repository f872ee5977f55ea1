//! Records of types as words: what each word of a kind means.
//!
//! Source: Linux documentation, "BPF Type Format (BTF)", and `include/uapi/linux/btf.h`.

/// What a word of a record means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A string, by its offset.
    Name,
    /// A type, by its number.
    Type,
    /// A number.
    Value,
}

/// Words before the elements of a type: name, info, size or type.
pub const HEAD: usize = 3;

/// What a kind has: the third word, the words of an element, and whether the record says how many there are.
type Shape = (Role, &'static [Role], bool);

use Role::{Name, Type, Value};

/// By kind, from 1: integer, pointer, array, structure, union, enumeration, forward, typedef, volatile, const,
/// restrict, function, prototype, variable, data section, float, tag of a declaration, tag of a type, enumeration of
/// 64 bits.
const SHAPES: [Shape; 19] = [
    (Value, &[Value], false),
    (Type, &[], false),
    (Value, &[Type, Type, Value], false),
    (Value, &[Name, Type, Value], true),
    (Value, &[Name, Type, Value], true),
    (Value, &[Name, Value], true),
    (Value, &[], false),
    (Type, &[], false),
    (Type, &[], false),
    (Type, &[], false),
    (Type, &[], false),
    (Type, &[], false),
    (Type, &[Name, Type], true),
    (Type, &[Value], false),
    (Value, &[Type, Value, Value], true),
    (Value, &[], false),
    (Type, &[Value], false),
    (Type, &[], false),
    (Value, &[Name, Value, Value], true),
];

/// Kinds that finding out where a split table begins asks for.
pub const FUNCTION: u32 = 12;
/// What a function leads to.
pub const PROTOTYPE: u32 = 13;

/// The kind in an info word.
pub fn kind(info: u32) -> u32 {
    info >> 24 & 31
}

/// What the third word means, and the words of an element; `None` for a kind that is unknown.
pub fn shape(info: u32) -> Option<(Role, &'static [Role])> {
    let shape = SHAPES.get(kind(info).checked_sub(1)? as usize)?;
    Some((shape.0, shape.1))
}

/// How many elements there are.
pub fn elements(info: u32) -> usize {
    match SHAPES.get((kind(info) as usize).wrapping_sub(1)) {
        Some((.., true)) => (info & 0xffff) as usize,
        Some((_, columns, false)) if !columns.is_empty() => 1,
        _ => 0,
    }
}

/// The types of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// All words.
    pub words: Vec<u32>,
    /// The first word of each.
    starts: Vec<u32>,
}

impl Types {
    /// Reads records; `None` where one is of no known kind, or does not end with the bytes.
    pub fn read(bytes: &[u8]) -> Option<Types> {
        let words = bytes.chunks_exact(4);
        let mut types = Types {
            words: words
                .map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
                .collect(),
            starts: Vec::new(),
        };
        let mut at = 0;
        while at < types.words.len() {
            let info = *types.words.get(at + 1)?;
            types.starts.push(at as u32);
            at += HEAD + elements(info) * shape(info)?.1.len();
        }
        (at == types.words.len() && bytes.len().is_multiple_of(4)).then_some(types)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of memory that they take.
    pub fn memory(&self) -> u64 {
        4 * (self.words.len() + self.starts.len()) as u64
    }

    /// The words of one.
    pub fn record(&self, index: usize) -> &[u32] {
        let end = self
            .starts
            .get(index + 1)
            .map_or(self.words.len(), |&e| e as usize);
        self.starts
            .get(index)
            .map_or(&[], |&from| &self.words[from as usize..end])
    }
}

/// Word by word what a record means and a small number for the place: 32 times its kind, and below that the column
/// of an element, 3 for the third word of the record, 4 for its name.
pub fn places(record: &[u32]) -> impl Iterator<Item = (u32, Role, u32)> + '_ {
    let info = record.get(1).copied().unwrap_or_default();
    let (third, columns) = shape(info).unwrap_or((Value, &[]));
    let site = kind(info) << 3;
    let head = record.iter().take(HEAD).zip([(4, Name), (5, Value), (3, third)]);
    let rest = record.iter().skip(HEAD).enumerate();
    let rest = rest.map(move |(i, &word)| {
        let column = i % columns.len().max(1);
        (word, columns[column], site | column as u32)
    });
    head.map(move |(&word, (place, role))| (word, role, site | place))
        .chain(rest)
}
