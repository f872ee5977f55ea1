//! Symbols as binary decisions under adaptive models.

use super::Symbols;
use super::bytes::{ByteContext, ByteModel};
use super::model::Model;
use super::range::{BitReader, BitWriter, Bits};
use crate::budget::Budget;

/// Writes a modelled stream.
#[derive(Debug, Default)]
pub struct ModelledWriter {
    bits: BitWriter,
}

impl ModelledWriter {
    /// The stream.
    pub fn finish(self) -> Vec<u8> {
        self.bits.finish()
    }
}

/// Reads a modelled stream.
pub struct ModelledReader<'a> {
    bits: BitReader<'a>,
    budget: &'a Budget<'a>,
}

impl<'a> ModelledReader<'a> {
    /// Reads `bytes`; every symbol is work.
    pub fn new(bytes: &'a [u8], budget: &'a Budget<'a>) -> Self {
        ModelledReader {
            bits: BitReader::new(bytes),
            budget,
        }
    }
}

/// Units of work of one decision, and of a byte under a byte model.
const FLAG_WORK: u64 = 1;
const BYTE_WORK: u64 = 16;

/// Mantissa bits of a number that are predicted from those above them.
const PREFIX_BITS: u32 = 12;

#[inline]
fn code_flag<const N: usize, B: Bits>(
    bits: &mut B,
    model: &mut Model,
    contexts: &[u32; N],
    value: bool,
) -> bool {
    model.code(bits, contexts, 0, 0, value)
}

fn code_tree<const N: usize, B: Bits>(
    bits: &mut B,
    model: &mut Model,
    contexts: &[u32; N],
    width: u32,
    value: u32,
) -> u32 {
    let mut node = 1u32;
    for i in (0..width).rev() {
        let bit = model.code(
            bits,
            contexts,
            node,
            1 + (width - 1 - i) as usize,
            value >> i & 1 != 0,
        );
        node = node << 1 | u32::from(bit);
    }
    node & ((1 << width) - 1)
}

fn code_number<const N: usize, B: Bits>(
    bits: &mut B,
    model: &mut Model,
    contexts: &[u32; N],
    value: u64,
) -> u64 {
    // The bit length in unary, then the bits below the leading one.
    let length = 64 - value.leading_zeros();
    let mut read = 0;
    while read < 64
        && model.code(
            bits,
            contexts,
            0x20_0000 + read,
            32 + read as usize,
            length > read,
        )
    {
        read += 1;
    }
    if read < 2 {
        return u64::from(read);
    }
    let mut result = 1u64;
    for i in (0..read - 1).rev() {
        let above = read - 1 - i;
        let prefix = if above <= PREFIX_BITS {
            result as u32 & 0xffff
        } else {
            1
        };
        let node = 0x40_0000
            + (read << 16)
            + if above <= PREFIX_BITS {
                prefix
            } else {
                0x8000 + above
            };
        let bit = model.code(
            bits,
            contexts,
            node,
            98 + above.min(28) as usize,
            value >> i & 1 != 0,
        );
        result = result << 1 | u64::from(bit);
    }
    result
}

impl Symbols for ModelledWriter {
    const READS: bool = false;
    #[inline]
    fn flag<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: bool) -> bool {
        code_flag(&mut self.bits, model, contexts, value)
    }
    fn tree<const N: usize>(
        &mut self,
        model: &mut Model,
        contexts: &[u32; N],
        width: u32,
        value: u32,
    ) -> u32 {
        code_tree(&mut self.bits, model, contexts, width, value)
    }
    fn number<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: u64) -> u64 {
        code_number(&mut self.bits, model, contexts, value)
    }
    fn raw(&mut self, value: u8) -> u8 {
        self.bits.raw(value)
    }
    fn position(&self) -> u64 {
        self.bits.written()
    }
    fn mixed_byte(&mut self, model: &mut ByteModel, known: &ByteContext, value: u8) -> u8 {
        model.code(&mut self.bits, known, value)
    }
    fn exhausted(&self) -> bool {
        false
    }
}

impl Symbols for ModelledReader<'_> {
    const READS: bool = true;
    #[inline]
    fn flag<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], _value: bool) -> bool {
        self.budget.spend(FLAG_WORK);
        code_flag(&mut self.bits, model, contexts, false)
    }
    fn tree<const N: usize>(
        &mut self,
        model: &mut Model,
        contexts: &[u32; N],
        width: u32,
        _value: u32,
    ) -> u32 {
        self.budget.spend(1 + u64::from(width));
        code_tree(&mut self.bits, model, contexts, width, 0)
    }
    fn number<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], _value: u64) -> u64 {
        let value = code_number(&mut self.bits, model, contexts, 0);
        self.budget.spend(1 + 2 * u64::from(64 - value.leading_zeros()));
        value
    }
    fn raw(&mut self, _value: u8) -> u8 {
        self.budget.spend(FLAG_WORK);
        self.bits.raw(0)
    }
    fn position(&self) -> u64 {
        self.bits.position()
    }
    fn mixed_byte(&mut self, model: &mut ByteModel, known: &ByteContext, _value: u8) -> u8 {
        self.budget.spend(BYTE_WORK);
        model.code(&mut self.bits, known, 0)
    }
    fn exhausted(&self) -> bool {
        self.budget.is_over() || self.bits.is_past_end()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ByteGuess, hash};
    use super::*;
    use proptest::prelude::*;

    fn grammar<S: Symbols>(s: &mut S, values: &[u64], out: &mut Vec<u64>) {
        let mut model = Model::new(2, 12, 127);
        let mut bytes = ByteModel::new(12);
        let mut last = 0;
        for &v in values {
            let contexts = [hash(1, last as u32), hash(2, 0)];
            last = s.number(&mut model, &contexts, v);
            out.push(last);
            out.push(s.signed(&mut model, &contexts, v as i64) as u64);
            out.push(u64::from(s.tree(&mut model, &contexts, 9, v as u32 & 511)));
            out.push(u64::from(s.flag(&mut model, &contexts, v & 4 != 0)));
            let guess = ByteGuess {
                byte: last as u8 & 0xf0,
                confidence: last as u8 & 63,
            };
            let known = ByteContext {
                contexts: std::array::from_fn(|i| (last as u32) >> i),
                runs: [last as u32, 1, 2],
                guesses: [guess; 3],
                class: last as u32,
            };
            out.push(u64::from(s.mixed_byte(&mut bytes, &known, v as u8)));
            out.push(u64::from(s.raw((v >> 3) as u8)));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(any::<u64>().prop_map(|v| v >> (v % 64)), 0..200)) {
            let (mut written, mut read) = (Vec::new(), Vec::new());
            let mut writer = ModelledWriter::default();
            grammar(&mut writer, &values, &mut written);
            let bytes = writer.finish();
            let budget = Budget::default();
            let mut reader = ModelledReader::new(&bytes, &budget);
            grammar(&mut reader, &vec![0; values.len()], &mut read);
            prop_assert_eq!(written, read);
        }
    }
}
