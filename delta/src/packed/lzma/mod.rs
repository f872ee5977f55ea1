//! LZMA2 exactly as liblzma packs it in its slower mode, in memory that hardly grows with the dictionary.
//!
//! liblzma holds eleven times the dictionary. Here the text goes to scratch space first; then matches are found a part
//! of all places at a time, and written beside it; then text and matches are read once more, and coded.

mod chunks;
mod filter;
mod finder;
mod models;
mod optimum;
mod prices;
mod trees;
mod window;

pub use filter::Filter;
pub use trees::Shape;

use super::inside::{Inside, Scratch};
use crate::budget::{Budget, Held};
use crate::error::Result;
use chunks::Chunks;
use finder::{Finder, List};
use std::rc::Rc;
use window::Window;

/// Bytes of memory beside the window while text is coded.
const CODING: u64 = 4 << 20;

/// Units of work for a byte that is coded, matches apart.
const WORK: u64 = 12;

/// Where an encoder takes what it needs.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// The account of the run.
    pub budget: &'a Budget<'a>,
    /// Scratch space; without it, that is memory.
    pub scratch: Option<&'a dyn Scratch>,
}

impl<'a> Means<'a> {
    fn space(&self) -> Result<Inside<'a>> {
        Inside::new(0, Some(self.scratch), self.budget)
    }
}

/// Takes the text of a stream and gives the stream.
pub struct Packer<'a> {
    shape: Shape,
    means: Means<'a>,
    text: Option<Inside<'a>>,
    len: usize,
    /// Once the text has ended, with its memory.
    chunks: Option<(Chunks<'a>, Held<'a>)>,
}

impl<'a> Packer<'a> {
    /// Before the text.
    pub fn new(shape: Shape, means: Means<'a>) -> Result<Packer<'a>> {
        Ok(Packer {
            shape,
            means,
            text: Some(means.space()?),
            len: 0,
            chunks: None,
        })
    }

    /// Takes text.
    pub fn push(&mut self, text: &[u8]) -> Result<()> {
        self.len += text.len();
        self.means.budget.fill(text.len() as u64)?;
        self.text.as_mut().map_or(Ok(()), |space| space.push(text))
    }

    /// Appends the next piece of the stream once all text was taken, and gives the work it took; `None` behind the last.
    pub fn next(&mut self, packed: &mut Vec<u8>) -> Result<Option<u64>> {
        if let Some(text) = self.text.take() {
            self.begin(text)?;
        }
        let Some((chunks, _)) = &mut self.chunks else {
            return Ok(None);
        };
        let taken = chunks.next(packed)?;
        if taken == 0 {
            self.chunks = None;
        }
        Ok(Some(taken as u64 * WORK))
    }

    /// Finds all matches.
    fn begin(&mut self, mut text: Inside<'a>) -> Result<()> {
        text.finish()?;
        let (text, budget, shape) = (Rc::new(text), self.means.budget, &self.shape);
        let window = || Window::new(text.clone(), self.len, shape.dictionary);
        let mut held = budget.held();
        let around = Window::memory(shape.dictionary).min(self.len as u64);
        held.set(around + trees::memory(self.len))?;
        let parts = trees::parts(window(), shape, budget)?;
        let mut lists = Vec::new();
        for part in &parts {
            let (mut list, mut len) = (self.means.space()?, 0);
            trees::find(part, window(), shape, budget, &mut |piece| {
                len += piece.len() as u64;
                budget.fill(piece.len() as u64)?;
                list.push(piece)
            })?;
            list.finish()?;
            lists.push(List::new(list, len));
        }
        held.set(around + CODING)?;
        let finder = Finder::new(window(), *shape, lists, &parts);
        self.chunks = Some((Chunks::new(finder, shape.dictionary), held));
        Ok(())
    }
}
