//! Symbols as plain columns for a general compressor: the fast profile.

use super::Symbols;
use super::bytes::{ByteContext, ByteModel};
use super::model::Model;
use crate::container::{Cursor, put_varint};
use crate::{Error, error::Result};

const FLAGS: usize = 0;
const BYTES: usize = 1;
const NUMBERS: usize = 2;

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
        if self.flags.is_empty() && self.bytes.is_empty() && self.numbers.is_empty() {
            return Vec::new();
        }
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
#[derive(Debug, Default)]
pub struct ColumnReader {
    stream: Vec<u8>,
    /// Position and end of each column: flags, bytes, numbers.
    columns: [(usize, usize); 3],
    short: bool,
}

impl ColumnReader {
    /// Finds the columns.
    pub fn new(stream: Vec<u8>) -> Result<Self> {
        let mut reader = ColumnReader::default();
        if stream.is_empty() {
            return Ok(reader);
        }
        let mut cursor = Cursor::new(&stream);
        let mut lengths = [0usize; 3];
        for length in &mut lengths {
            *length =
                usize::try_from(cursor.varint()?).map_err(|_| Error::DamagedPatch("a column is too long"))?;
        }
        for (length, column) in lengths.iter().zip(&mut reader.columns) {
            let from = cursor.position();
            cursor.take(*length)?;
            *column = (from, from + length);
        }
        reader.stream = stream;
        Ok(reader)
    }

    /// The next byte of a column.
    fn next(&mut self, column: usize) -> u8 {
        let (at, end) = &mut self.columns[column];
        if at == end {
            self.short = true;
            return 0;
        }
        *at += 1;
        self.stream[*at - 1]
    }
}

impl Symbols for ColumnWriter {
    const READS: bool = false;
    fn is_modelled(&self) -> bool {
        false
    }
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
    fn raw(&mut self, value: u8) -> u8 {
        self.bytes.push(value);
        value
    }
    fn written(&self) -> u64 {
        (self.flags.len() / 8 + self.bytes.len() + self.numbers.len()) as u64
    }
    fn mixed_byte(&mut self, _: &mut ByteModel, _: &ByteContext, value: u8) -> u8 {
        self.bytes.push(value);
        value
    }
    fn exhausted(&self) -> bool {
        false
    }
}

impl Symbols for ColumnReader {
    const READS: bool = true;
    fn is_modelled(&self) -> bool {
        false
    }
    fn flag(&mut self, _: &mut Model, _: &[u32], _: bool) -> bool {
        self.next(FLAGS) & 1 != 0
    }
    fn tree(&mut self, _: &mut Model, _: &[u32], width: u32, _: u32) -> u32 {
        let value = (0..width.div_ceil(8)).fold(0, |value, _| value << 8 | u32::from(self.next(BYTES)));
        value & ((1 << width) - 1)
    }
    fn number(&mut self, _: &mut Model, _: &[u32], _: u64) -> u64 {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.next(NUMBERS);
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    fn raw(&mut self, _: u8) -> u8 {
        self.next(BYTES)
    }
    fn mixed_byte(&mut self, _: &mut ByteModel, _: &ByteContext, _: u8) -> u8 {
        self.next(BYTES)
    }
    fn exhausted(&self) -> bool {
        self.short
    }
}
