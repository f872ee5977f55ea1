//! Stage 6, CODE: decisions to bytes and back, written once for both directions.
//!
//! A grammar calls [`Symbols`] with the value it knows; an encoder writes that value and returns it, a decoder
//! ignores it and returns the one it reads. So a grammar cannot drift between the two sides.

mod any;
mod bytes;
mod columns;
mod declare;
mod few;
mod logistic;
mod model;
mod modelled;
mod range;
mod states;
mod streams;

use crate::cursor::{fold, unfold};
pub use crate::hashing::{digest, hash};
pub use any::{StreamReader, StreamWriter};
pub use bytes::{ByteContext, ByteGuess, ByteModel, CONTEXTS, RUNS};
pub use columns::{ColumnReader, ColumnWriter};
pub use declare::assert_alike;
pub(crate) use declare::{symbol, symbols};
pub use few::FewWriter;
pub use model::Model;
pub use modelled::{ModelledReader, ModelledWriter};
pub use streams::{MAX_SEGMENTS, SEGMENTED, STREAMS, Stream, Streams};

/// A stream of symbols, being written or being read.
///
/// `contexts` are hashes under which the symbol is predicted; all calls on one [`Model`] pass the same number
/// of them. Codings without models ignore both.
pub trait Symbols {
    /// Whether the values passed in are ignored and read from the stream instead.
    const READS: bool;
    /// Whether contexts matter: a grammar may leave out work that serves them alone.
    fn is_modelled(&self) -> bool {
        true
    }
    /// A yes or no.
    fn flag<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: bool) -> bool;
    /// A number below `1 << width` with few enough values for a tree of decisions (width at most 24).
    fn tree<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], width: u32, value: u32)
    -> u32;
    /// A number of any size; small ones are cheap.
    fn number<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: u64) -> u64;
    /// A byte that no model can foresee: eight bits at their face value.
    fn raw(&mut self, value: u8) -> u8;
    /// Bytes of the stream read or written so far, about; 0 of columns that are written, as they are packed at last.
    fn position(&self) -> u64 {
        0
    }
    /// A byte under a [`ByteModel`].
    fn mixed_byte(&mut self, model: &mut ByteModel, known: &ByteContext, value: u8) -> u8;
    /// Whether more symbols were read than the caller's work limit, or than the stream holds.
    fn exhausted(&self) -> bool;
    /// Tells that nothing more is read, so that the memory of a stream need not be held.
    fn close(&mut self) {}

    /// A signed number; near zero is cheap.
    fn signed<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: i64) -> i64 {
        unfold(self.number(model, contexts, fold(value)))
    }
    /// A byte.
    fn byte<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: u8) -> u8 {
        self.tree(model, contexts, 8, u32::from(value)) as u8
    }
}
