//! Symbols as plain columns for a general compressor: the fast profile.

use super::Symbols;
use super::model::Model;
use crate::container::{Cursor, put_varint};
use crate::{Error, error::Result};

/// Collects flags, bytes and numbers, each kind in its own column.
#[derive(Debug, Default)]
pub struct ColumnWriter {
    flags: Vec<u8>,
    bytes: Vec<u8>,
    numbers: Vec<u8>,
}

impl ColumnWriter {
    /// The three columns, behind their lengths.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        for column in [&self.flags, &self.bytes, &self.numbers] {
            put_varint(&mut out, column.len() as u64);
        }
        for column in [self.flags, self.bytes, self.numbers] {
            out.extend_from_slice(&column);
        }
        out
    }
}

/// Reads what a [`ColumnWriter`] wrote; past an end it reads zeros and is exhausted.
#[derive(Debug)]
pub struct ColumnReader<'a> {
    flags: Cursor<'a>,
    bytes: Cursor<'a>,
    numbers: Cursor<'a>,
    short: bool,
}

impl<'a> ColumnReader<'a> {
    /// Finds the columns.
    pub fn new(stream: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(stream);
        let mut lengths = [0usize; 3];
        for length in &mut lengths {
            *length = usize::try_from(cursor.varint()?).map_err(|_| Error::DamagedPatch("a column is too long"))?;
        }
        let [flags, bytes, numbers] = lengths;
        Ok(ColumnReader {
            flags: Cursor::new(cursor.take(flags)?),
            bytes: Cursor::new(cursor.take(bytes)?),
            numbers: Cursor::new(cursor.take(numbers)?),
            short: false,
        })
    }

    fn or_short<T: Default>(&mut self, result: Result<T>) -> T {
        result.unwrap_or_else(|_| {
            self.short = true;
            T::default()
        })
    }
}

impl Symbols for ColumnWriter {
    const READS: bool = false;
    fn flag(&mut self, _: &mut Model, _: &[u32], value: bool) -> bool {
        self.flags.push(u8::from(value));
        value
    }
    fn tree(&mut self, _: &mut Model, _: &[u32], width: u32, value: u32) -> u32 {
        for byte in (0..width.div_ceil(8)).rev() {
            self.bytes.push((value >> (8 * byte)) as u8);
        }
        value
    }
    fn number(&mut self, _: &mut Model, _: &[u32], value: u64) -> u64 {
        put_varint(&mut self.numbers, value);
        value
    }
    fn exhausted(&self) -> bool {
        false
    }
}

impl Symbols for ColumnReader<'_> {
    const READS: bool = true;
    fn flag(&mut self, _: &mut Model, _: &[u32], _: bool) -> bool {
        let byte = self.flags.byte();
        self.or_short(byte) & 1 != 0
    }
    fn tree(&mut self, _: &mut Model, _: &[u32], width: u32, _: u32) -> u32 {
        let mut value = 0;
        for _ in 0..width.div_ceil(8) {
            let byte = self.bytes.byte();
            value = value << 8 | u32::from(self.or_short(byte));
        }
        value & ((1 << width) - 1)
    }
    fn number(&mut self, _: &mut Model, _: &[u32], _: u64) -> u64 {
        let number = self.numbers.varint();
        self.or_short(number)
    }
    fn exhausted(&self) -> bool {
        self.short
    }
}
