//! Puts a function table together in the order of the linker: everything that is shared stands where it is
//! first used, so contents in order give all positions.
//!
//! Source: `cmd/link/internal/ld/pcln.go`.

use super::reader::{
    GROUPS, GoTable, INLINE_INDEX, INLINE_TREE, NONE, RECORD, Record, Step, index_len, write_table,
};
use crate::elf::Numbers;
use crate::elf::go::{MAGIC, header_len};
use crate::maps::HashMap;

/// A place in the data of functions: group, and offset in it.
pub type Place = (u8, u32);

/// The group of places whose offset is all there is to tell: the data stands in another section.
pub const ELSEWHERE: u8 = u8::MAX;

/// A function table in the making.
#[derive(Debug)]
pub struct Builder {
    quantum: u8,
    /// How the file writes numbers.
    numbers: Numbers,
    /// The names.
    pub names: Vec<u8>,
    name_index: HashMap<Vec<u8>, Vec<u32>>,
    tables: Vec<u8>,
    table_index: HashMap<Vec<u8>, u32>,
    entries: Vec<(u32, u32)>,
    records: Vec<u8>,
    /// Words of `records` that hold places.
    fixups: Vec<(u32, Place)>,
    groups: Vec<Vec<u8>>,
    blob_index: HashMap<Vec<u8>, Vec<Place>>,
    buffer: Vec<u8>,
}

/// What stands beside the functions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Number of files that the header tells.
    pub files: u32,
    /// Address of the code that the header tells.
    pub text: u64,
    /// File lists.
    pub units: Vec<u32>,
    /// File names.
    pub file_names: Vec<u8>,
    /// Where the code ends.
    pub end: u32,
    /// Alignment of the parts: that of pointers in Go 1.26, 32 before.
    pub align: u32,
    /// Distance from the last record to the data.
    pub gap: u32,
    /// Whether the data and the index are in the section.
    pub with_data: bool,
}

/// One function, its contents in place of positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Position of its name.
    pub name: u32,
    /// See [`Record::scalars`].
    pub scalars: [u32; 7],
    /// Its tables.
    pub tables: Vec<Option<Vec<Step>>>,
    /// Its data.
    pub data: Vec<Option<Place>>,
}

/// An inline tree: its rows with names blank, and the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Group of its blob.
    pub group: u8,
    /// Rows of 16 bytes.
    pub rows: Vec<u8>,
    /// Position of the name of each row.
    pub names: Vec<u32>,
}

impl Builder {
    /// With no function.
    pub fn new(quantum: u8, numbers: Numbers) -> Builder {
        Builder {
            quantum,
            numbers,
            names: Vec::new(),
            name_index: HashMap::default(),
            tables: vec![0],
            table_index: HashMap::default(),
            entries: Vec::new(),
            records: Vec::new(),
            fixups: Vec::new(),
            groups: vec![Vec::new(); GROUPS],
            blob_index: HashMap::default(),
            buffer: Vec::new(),
        }
    }

    /// Bytes so far, about.
    pub fn len(&self) -> usize {
        let data: usize = self.groups.iter().map(Vec::len).sum();
        self.names.len() + self.tables.len() + self.records.len() + self.entries.len() * 8 + data
    }

    /// Bytes of memory held: contents stand in an index too, and an entry of one takes about as much as given.
    pub fn memory(&self) -> u64 {
        const INDEXED: usize = 96;
        let entries = self.name_index.len() + self.table_index.len() + self.blob_index.len();
        (2 * self.len() + entries * INDEXED + self.fixups.len() * 12) as u64
    }

    /// Positions of the names that read so. Several symbols may share a name.
    pub fn names_like(&self, name: &[u8]) -> &[u32] {
        self.name_index.get(name).map_or(&[], Vec::as_slice)
    }

    /// Adds a name.
    pub fn add_name(&mut self, name: &[u8]) -> u32 {
        let at = self.names.len() as u32;
        self.names.extend_from_slice(name);
        self.names.push(0);
        self.name_index.entry(name.to_vec()).or_default().push(at);
        at
    }

    fn table(&mut self, steps: &[Step]) -> u32 {
        self.buffer.clear();
        write_table(steps, self.quantum, &mut self.buffer);
        if let Some(&at) = self.table_index.get(&self.buffer) {
            return at;
        }
        let at = self.tables.len() as u32;
        self.tables.extend_from_slice(&self.buffer);
        self.table_index.insert(self.buffer.clone(), at);
        at
    }

    /// Where blobs with this content stand so far.
    pub fn blobs(&self, content: &[u8]) -> &[Place] {
        self.blob_index.get(content).map_or(&[], Vec::as_slice)
    }

    /// Adds a blob to a group.
    pub fn add_blob(&mut self, group: u8, content: &[u8]) -> Place {
        let group = group.min(GROUPS as u8 - 1);
        let at = self.groups[usize::from(group)].len() as u32;
        self.groups[usize::from(group)].extend_from_slice(content);
        self.blob_index
            .entry(content.to_vec())
            .or_default()
            .push((group, at));
        (group, at)
    }

    /// Adds an inline tree.
    pub fn add_tree(&mut self, tree: &Tree) -> Place {
        let group = tree.group.min(GROUPS as u8 - 1);
        let mut rows = tree.rows.clone();
        for (row, name) in rows.chunks_exact_mut(16).zip(&tree.names) {
            self.numbers.put(&mut row[4..8], (*name).into());
        }
        let blobs = &mut self.groups[usize::from(group)];
        let at = blobs.len() as u32;
        blobs.extend_from_slice(&rows);
        (group, at)
    }

    /// Adds the next function.
    pub fn function(&mut self, entry: u32, f: &Function) {
        // The linker lays the inline index, third of `pcdata`, behind the others.
        let mut positions = vec![0; f.tables.len()];
        let count = f.tables.len();
        let order = (0..count).filter(|&i| i != INLINE_INDEX);
        let order = order.chain((count > INLINE_INDEX).then_some(INLINE_INDEX));
        for index in order {
            if let Some(steps) = &f.tables[index] {
                positions[index] = self.table(steps);
            }
        }
        let (fixed, lists) = positions.split_at(positions.len().min(3));
        self.entries.push((entry, self.records.len() as u32));
        let s = &f.scalars;
        let numbers = self.numbers;
        let mut put = |w: u32| self.records.extend_from_slice(&numbers.of_word(w));
        for w in [entry, f.name, s[0], s[1]] {
            put(w);
        }
        (0..3).for_each(|i| put(fixed.get(i).copied().unwrap_or(0)));
        for w in [lists.len() as u32, s[2], s[3]] {
            put(w);
        }
        self.records
            .extend([s[4] as u8, s[5] as u8, s[6] as u8, f.data.len() as u8]);
        lists
            .iter()
            .for_each(|&w| self.records.extend_from_slice(&numbers.of_word(w)));
        for place in &f.data {
            if let Some(place) = place {
                self.fixups.push((self.records.len() as u32, *place));
            }
            self.records.extend_from_slice(&[0xff; 4]);
        }
        self.records
            .resize(self.records.len().next_multiple_of(numbers.width()), 0);
    }

    /// The section.
    pub fn finish(mut self, frame: &Frame) -> Vec<u8> {
        let (numbers, pointer) = (self.numbers, self.numbers.width());
        let mut starts = Vec::with_capacity(GROUPS);
        let mut at = 0u32;
        for group in &self.groups {
            starts.push(at);
            at += group.len() as u32;
        }
        for (word, (group, offset)) in &self.fixups {
            let word = *word as usize;
            let start = starts.get(usize::from(*group)).copied().unwrap_or(0);
            let place = start.wrapping_add(*offset);
            numbers.put(&mut self.records[word..word + 4], place.into());
        }
        let align = frame.align.clamp(1, 64) as usize;
        let even = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(align), 0);
        let mut out = vec![0u8; header_len(pointer)];
        even(&mut out);
        let mut parts = Vec::new();
        parts.push(out.len());
        out.append(&mut self.names);
        even(&mut out);
        parts.push(out.len());
        frame
            .units
            .iter()
            .for_each(|&w| out.extend_from_slice(&numbers.of_word(w)));
        even(&mut out);
        parts.push(out.len());
        out.extend_from_slice(&frame.file_names);
        even(&mut out);
        parts.push(out.len());
        out.append(&mut self.tables);
        even(&mut out);
        parts.push(out.len());
        let list = (self.entries.len() * 8 + 4).next_multiple_of(pointer) as u32;
        let records = out.len();
        for (entry, at) in &self.entries {
            out.extend_from_slice(&numbers.of_word(*entry));
            out.extend_from_slice(&numbers.of_word(at + list));
        }
        out.extend_from_slice(&numbers.of_word(frame.end));
        out.resize(records + list as usize, 0);
        out.append(&mut self.records);
        numbers.put(&mut out[..4], MAGIC.into());
        out[4..8].copy_from_slice(&[0, 0, self.quantum, pointer as u8]);
        let header = [self.entries.len() as u64, u64::from(frame.files), frame.text];
        let header = header.into_iter().chain(parts.into_iter().map(|p| p as u64));
        for (index, value) in header.enumerate() {
            numbers.put(&mut out[8 + pointer * index..][..pointer], value);
        }
        if frame.with_data {
            out.resize(out.len() + frame.gap as usize, 0);
            for group in &self.groups {
                out.extend_from_slice(group);
            }
            index(numbers, &self.entries, frame.end, &mut out);
        }
        out
    }
}

/// Appends the index over the code (`findfunctab`): the function at the start of each bucket, then at the
/// start of each of its 16 parts how many functions later.
fn index(numbers: Numbers, entries: &[(u32, u32)], end: u32, out: &mut Vec<u8>) {
    let at = |code: u32| {
        let after = entries.partition_point(|e| e.0 <= code);
        after.saturating_sub(1) as u32
    };
    // Where functions begin inside a part, the part's first is the one that covers its start.
    let from = out.len();
    let mut code = 0;
    while code < end {
        let base = at(code);
        out.extend_from_slice(&numbers.of_word(base));
        for part in (code..end.min(code.saturating_add(4096))).step_by(256) {
            out.push(at(part).wrapping_sub(base) as u8);
        }
        let Some(next) = code.checked_add(4096) else { break };
        code = next;
    }
    debug_assert_eq!(out.len() - from, index_len(end));
}

/// What stands beside the functions of a table; `None` where it is not in the linker's order.
pub fn frame_of(table: &GoTable) -> Option<Frame> {
    let (numbers, pointer) = (table.head.numbers, table.head.numbers.width());
    let records: usize = (0..table.functions())
        .map(|i| {
            let r = table.record(i)?;
            Some((RECORD + 4 * (r.tables.len() - 3 + r.data.len())).next_multiple_of(pointer))
        })
        .sum::<Option<usize>>()?;
    let list = (table.functions() * 8 + 4).next_multiple_of(pointer);
    let end = table.head.records as usize + list + records;
    let with_data = table.data.0 < table.bytes.len();
    let gap = if with_data {
        u32::try_from(table.data.0.checked_sub(end)?).ok()?
    } else {
        0
    };
    Some(Frame {
        files: table.head.files,
        text: numbers.address(&table.bytes, 8 + 2 * pointer)?,
        units: table.unit_list(),
        file_names: table
            .file_names()
            .iter()
            .flat_map(|n| n.iter().chain(&[0]))
            .copied()
            .collect(),
        end: *table.entries.last()?,
        align: if table.head.names as usize == header_len(pointer) {
            pointer as u32
        } else {
            32
        },
        gap,
        with_data,
    })
}

/// The inline tree of a record.
pub fn tree_of(table: &GoTable, record: &Record) -> Option<Tree> {
    let (blob, content) = table.blob(*record.data.get(INLINE_TREE)?)?;
    let mut rows = content.to_vec();
    let mut names = Vec::new();
    for row in rows.chunks_exact_mut(16) {
        let at = table.head.numbers.get(&row[4..8]) as u32;
        names.push(at);
        row[4..8].fill(0);
    }
    let group = blob.group;
    (rows.len() % 16 == 0).then_some(Tree { group, rows, names })
}

/// Whether the contents of a table, put together anew, give it back.
pub fn rebuilds(table: &GoTable) -> bool {
    build(table).is_some_and(|made| made == table.bytes)
}

fn build(table: &GoTable) -> Option<Vec<u8>> {
    let frame = frame_of(table)?;
    let mut builder = Builder::new(table.head.quantum, table.head.numbers);
    let mut places: HashMap<u32, Place> = HashMap::default();
    let mut names: HashMap<u32, u32> = HashMap::default();
    if !frame.with_data {
        for text in table.texts((table.head.names, table.head.units)) {
            let at = builder.add_name(text);
            names.insert(at, at);
        }
    }
    let mut name = |builder: &mut Builder, at: u32| {
        *names
            .entry(at)
            .or_insert_with(|| builder.add_name(table.name(at)))
    };
    for index in 0..table.functions() {
        let record = table.record(index)?;
        let mut f = Function {
            name: name(&mut builder, record.name),
            scalars: record.scalars,
            ..Function::default()
        };
        for &at in &record.tables {
            f.tables.push(if at == 0 { None } else { Some(table.table(at)?) });
        }
        for (kind, &at) in record.data.iter().enumerate() {
            f.data.push(if at == NONE {
                None
            } else if !frame.with_data {
                Some((ELSEWHERE, at))
            } else if kind == INLINE_TREE {
                let mut tree = tree_of(table, &record)?;
                for at in &mut tree.names {
                    *at = name(&mut builder, *at);
                }
                Some(builder.add_tree(&tree))
            } else if let Some(place) = places.get(&at) {
                Some(*place)
            } else {
                let (blob, content) = table.blob(at)?;
                let place = builder.add_blob(blob.group, content);
                places.insert(at, place);
                Some(place)
            });
        }
        builder.function(table.entries[index], &f);
    }
    Some(builder.finish(&frame))
}
