//! What every stage codes through: the streams, and the account of the run.

use crate::budget::Budget;
use crate::code::{Stream, Streams, Symbols};

/// The streams of a patch, being written or being read, and the account of whoever does it.
pub struct Io<'b, S> {
    /// One coder for each stream.
    pub streams: Streams<S>,
    /// Memory, work and progress.
    pub account: &'b Budget<'b>,
}

impl<'b, S: Symbols> Io<'b, S> {
    /// Begins a stage behind which nothing more is coded in `closes`.
    pub fn stage(&mut self, closes: impl Into<Vec<Stream>>) -> Stage<'_, 'b, S> {
        Stage {
            io: self,
            closes: closes.into(),
        }
    }
}

/// A stage under way. Dropped, it closes the streams that end with it, unless another image follows;
/// what it made holds its own memory.
pub struct Stage<'i, 'b, S: Symbols> {
    io: &'i mut Io<'b, S>,
    closes: Vec<Stream>,
}

impl<'b, S: Symbols> Stage<'_, 'b, S> {
    /// The account of the run.
    pub fn account(&self) -> &'b Budget<'b> {
        self.io.account
    }

    /// The coder of a stream.
    pub fn get(&mut self, stream: Stream) -> &mut S {
        self.io.streams.get(stream)
    }

    /// All coders.
    pub fn streams(&mut self) -> &mut Streams<S> {
        &mut self.io.streams
    }

    /// Says that what these streams coded since the last word about them went into the part `name`.
    pub fn spent_on(&mut self, name: &str, streams: &[Stream]) {
        self.io.streams.account(streams, name);
    }
}

impl<S: Symbols> Drop for Stage<'_, '_, S> {
    fn drop(&mut self) {
        let ends = !self.io.account.keeps();
        for &stream in self.closes.iter().filter(|_| ends) {
            self.io.streams.get(stream).close();
        }
    }
}
