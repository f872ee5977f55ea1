//! Data that no cover explains, byte by byte.

use super::echo::Echo;
use crate::code::{ByteContext, ByteGuess, ByteModel, Symbols, hash};
use crate::error::Result;
use crate::file_view::FileView;

/// Memory of the contexts, as a power of two.
const MEMORY_BITS: u32 = 21;

/// The state behind spelled-out data.
#[derive(Debug, Default)]
pub struct LiteralData {
    model: Option<ByteModel>,
    echo: Echo,
    /// The last sixteen bytes, newest lowest.
    last: u128,
    /// Hash of the letters and digits up to here.
    word: u32,
}

impl LiteralData {
    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        self.model.as_ref().map_or(0, ByteModel::memory) + self.echo.memory()
    }

    /// Another old file begins.
    pub fn turn(&mut self) {
        self.echo.turn();
    }

    /// Sets the old bytes from `old_at` against those to come.
    pub fn beside(&mut self, old_at: u64) {
        self.echo.beside(old_at);
    }

    /// Goes past bytes that were coded otherwise.
    pub fn skip(&mut self, bytes: &[u8]) {
        for &byte in &bytes[bytes.len().saturating_sub(16)..] {
            self.remember(byte);
        }
    }

    fn remember(&mut self, byte: u8) {
        self.last = self.last << 8 | u128::from(byte);
        let letter = byte.is_ascii_alphanumeric() || byte >= 128;
        self.word = if letter {
            hash(self.word, u32::from(byte))
        } else {
            0
        };
    }

    /// Codes the byte at `at` of the new file.
    pub fn code<S: Symbols>(&mut self, s: &mut S, old: &FileView, at: u32, truth: u8) -> Result<u8> {
        let model = self.model.get_or_insert_with(|| ByteModel::new(MEMORY_BITS));
        let [new, beside] = self.echo.guesses(old)?;
        let l = self.last;
        // symbols: Contexts of the mixed byte of data, and what they are made of:
        let phase = at & 7;
        let byte = |k: u32| (l >> (8 * k)) as u32 & 0xff;
        let tail = |k: u32| (l & ((1 << (8 * k)) - 1)) as u32;
        let two = |seed: u32, a: u32, b: u32| hash(hash(seed, a), b);
        let expected = if beside.confidence > 0 {
            u32::from(beside.byte) | beside.confidence as u32 >> 2 << 8
        } else {
            0xffff
        };
        let text = byte(0).wrapping_sub(32) < 96;
        let contexts = [
            tail(1),
            tail(3),
            tail(4),
            two(6, self.word, byte(0)),
            two(7, byte(7) | byte(3) << 8, phase & 3),
            two(8, byte(7) | byte(15) << 8, phase | byte(0) << 3),
            two(9, expected, byte(0)),
        ];
        let runs = [
            two(1, tail(4), byte(4)),
            two(2, self.word, byte(1)),
            two(3, expected, tail(2)),
        ];
        let guesses = [new, beside, ByteGuess::default()];
        let class = phase | u32::from(text) << 3 | u32::from(byte(1) == 0) << 4;
        // end
        let known = ByteContext {
            contexts,
            runs,
            guesses,
            class,
        };
        let byte = s.mixed_byte(model, &known, truth);
        self.echo.pass(byte, [new, beside]);
        self.remember(byte);
        Ok(byte)
    }
}
