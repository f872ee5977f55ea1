//! Symbols as plain columns for a general compressor: the fast profile.

use super::Symbols;
use super::bytes::{ByteContext, ByteModel};
use super::model::Model;
use crate::budget::{Budget, Held};
use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};
use std::borrow::Cow;

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

/// Reads what a [`ColumnWriter`] wrote; past an end it reads zeros and is exhausted. The columns take memory
/// from the first symbol until the stream is closed.
pub struct ColumnReader<'a> {
    /// What is not yet decompressed, with its length then.
    frame: Option<(&'a [u8], u64)>,
    /// Bytes of the patch that all columns take.
    coded: u64,
    stream: Cow<'a, [u8]>,
    /// Position and end of each column: flags, bytes, numbers.
    columns: [(usize, usize); 3],
    short: bool,
    budget: &'a Budget<'a>,
    held: Held<'a>,
}

impl<'a> ColumnReader<'a> {
    /// Columns as they are.
    pub fn stored(stream: &'a [u8], budget: &'a Budget<'a>) -> Result<Self> {
        let mut reader = ColumnReader::zstd(&[], 0, budget);
        reader.frame = None;
        reader.coded = stream.len() as u64;
        reader.stream = Cow::Borrowed(stream);
        reader.find()?;
        Ok(reader)
    }

    /// Columns in a zstd frame, `decoded` bytes long.
    pub fn zstd(frame: &'a [u8], decoded: u64, budget: &'a Budget<'a>) -> Self {
        ColumnReader {
            frame: Some((frame, decoded)),
            coded: frame.len() as u64,
            stream: Cow::Borrowed(&[]),
            columns: [(0, 0); 3],
            short: false,
            budget,
            held: budget.held(),
        }
    }

    /// Finds the columns.
    fn find(&mut self) -> Result<()> {
        if self.stream.is_empty() {
            return Ok(());
        }
        let mut cursor = Cursor::new(&self.stream);
        let mut lengths = [0usize; 3];
        for length in &mut lengths {
            *length =
                usize::try_from(cursor.varint()?).map_err(|_| Error::damaged("a column is too long"))?;
        }
        for (length, column) in lengths.iter().zip(&mut self.columns) {
            let from = cursor.position();
            cursor.take(*length)?;
            *column = (from, from + length);
        }
        Ok(())
    }

    /// Decompresses the frame.
    fn open(&mut self, frame: &[u8], decoded: u64) -> Result<()> {
        let damaged = || Error::damaged("a zstd frame is damaged");
        self.held.set(decoded)?;
        self.budget.spend(decoded / 16);
        let len = usize::try_from(decoded).map_err(|_| damaged())?;
        let stream = zstd::bulk::decompress(frame, len).map_err(|_| damaged())?;
        if stream.len() != len {
            return Err(damaged());
        }
        self.stream = Cow::Owned(stream);
        self.find()
    }

    /// The next byte of a column.
    #[inline]
    fn next(&mut self, column: usize) -> u8 {
        let (at, end) = &mut self.columns[column];
        if at == end {
            return self.first(column);
        }
        *at += 1;
        self.stream[*at - 1]
    }

    /// The first byte of all, or none.
    #[cold]
    fn first(&mut self, column: usize) -> u8 {
        match self.frame.take() {
            Some((frame, decoded)) if self.open(frame, decoded).is_ok() => self.next(column),
            _ => {
                self.short = true;
                0
            }
        }
    }
}

impl Symbols for ColumnWriter {
    const READS: bool = false;
    fn is_modelled(&self) -> bool {
        false
    }
    fn flag<const N: usize>(&mut self, _: &mut Model, _: &[u32; N], value: bool) -> bool {
        self.flags.push(u8::from(value));
        value
    }
    fn tree<const N: usize>(&mut self, _: &mut Model, _: &[u32; N], width: u32, value: u32) -> u32 {
        for byte in (0..width.div_ceil(8)).rev() {
            self.bytes.push((value >> (8 * byte)) as u8);
        }
        value
    }
    fn number<const N: usize>(&mut self, _: &mut Model, _: &[u32; N], value: u64) -> u64 {
        put_varint(&mut self.numbers, value);
        value
    }
    fn raw(&mut self, value: u8) -> u8 {
        self.bytes.push(value);
        value
    }
    fn mixed_byte(&mut self, _: &mut ByteModel, _: &ByteContext, value: u8) -> u8 {
        self.bytes.push(value);
        value
    }
    fn exhausted(&self) -> bool {
        false
    }
}

impl Symbols for ColumnReader<'_> {
    const READS: bool = true;
    fn is_modelled(&self) -> bool {
        false
    }
    fn flag<const N: usize>(&mut self, _: &mut Model, _: &[u32; N], _: bool) -> bool {
        self.budget.spend(1);
        self.next(FLAGS) & 1 != 0
    }
    fn tree<const N: usize>(&mut self, _: &mut Model, _: &[u32; N], width: u32, _: u32) -> u32 {
        self.budget.spend(1);
        let value = (0..width.div_ceil(8)).fold(0, |value, _| value << 8 | u32::from(self.next(BYTES)));
        value & ((1 << width) - 1)
    }
    fn number<const N: usize>(&mut self, _: &mut Model, _: &[u32; N], _: u64) -> u64 {
        self.budget.spend(1);
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
        self.budget.spend(1);
        self.next(BYTES)
    }
    fn position(&self) -> u64 {
        // The columns are packed together: each symbol counts as what its column's bytes come to on average.
        let left: usize = self.columns.iter().map(|(at, end)| end - at).sum();
        match self.stream.len() as u64 {
            0 if self.frame.is_some() => 0,
            0 => self.coded,
            all => (u128::from(self.coded) * u128::from(all - left as u64) / u128::from(all)) as u64,
        }
    }
    fn mixed_byte(&mut self, _: &mut ByteModel, _: &ByteContext, _: u8) -> u8 {
        self.budget.spend(1);
        self.next(BYTES)
    }
    fn exhausted(&self) -> bool {
        self.short || self.budget.is_over()
    }
    fn close(&mut self) {
        self.frame = None;
        self.columns = [(0, 0); 3];
        self.stream = Cow::Borrowed(&[]);
        let _ = self.held.set(0);
    }
}
