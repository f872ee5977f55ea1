//! Opening a file: its inside, forward, by a plan.

use super::codec::{Codec, Decode};
use super::plan::{Op, Plan};
use crate::budget::{Budget, Held};
use crate::{Error, ReadAt, error::Result};

const PIECE: u64 = 64 << 10;

/// One level of packing: what was decoded of it and not yet used.
struct Level<'b> {
    bytes: Vec<u8>,
    at: usize,
    /// Nothing comes behind the bytes at hand.
    ended: bool,
    /// How it is decoded from the level below; the lowest is the file.
    decoder: Option<Box<dyn Decode>>,
    _held: Held<'b>,
}

impl Level<'_> {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

struct Opener<'a> {
    file: &'a dyn ReadAt,
    len: u64,
    at: u64,
    budget: &'a Budget<'a>,
}

impl<'a> Opener<'a> {
    fn level(&self, codec: Option<&Codec>) -> Result<Level<'a>> {
        let mut held = self.budget.held();
        held.set(codec.map_or(PIECE, Codec::decoder_memory))?;
        Ok(Level {
            bytes: Vec::new(),
            at: 0,
            ended: false,
            decoder: codec.map(Codec::decoder).transpose()?,
            _held: held,
        })
    }

    /// Has the highest level hold bytes, or know that it has ended.
    fn fill(&mut self, levels: &mut [Level]) -> Result<()> {
        let Some((top, below)) = levels.split_last_mut() else {
            return Ok(());
        };
        while top.rest().is_empty() && !top.ended {
            top.bytes.clear();
            top.at = 0;
            let Some(decoder) = &mut top.decoder else {
                let n = (self.len - self.at).min(PIECE);
                self.budget.go_on(1 + n / 64)?;
                top.bytes.resize(n as usize, 0);
                self.file.read_at(self.at, &mut top.bytes)?;
                self.at += n;
                top.ended = self.at == self.len;
                continue;
            };
            self.fill(below)?;
            let Some(lower) = below.last_mut() else {
                return Ok(());
            };
            let (taken, ended) = decoder.step(lower.rest(), &mut top.bytes)?;
            self.budget.go_on(1 + (taken + top.bytes.len()) as u64 / 16)?;
            lower.at += taken;
            top.ended = ended;
            if taken == 0 && top.bytes.is_empty() && !ended && lower.ended {
                return Err(Error::damaged("a packed stream has no end"));
            }
        }
        Ok(())
    }
}

/// Hands the inside of a file to `sink`, piece by piece.
pub fn open(
    plan: &Plan,
    file: &dyn ReadAt,
    budget: &Budget,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let damaged = || Error::damaged("its plan does not fit the old file");
    let mut opener = Opener {
        file,
        len: file.size()?,
        at: 0,
        budget,
    };
    let mut levels = vec![opener.level(None)?];
    for op in &plan.ops {
        match op {
            Op::Open(codec) => levels.push(opener.level(Some(codec))?),
            Op::Close => {
                opener.fill(&mut levels)?;
                let closed = levels.pop().filter(|top| top.ended && top.rest().is_empty());
                closed.filter(|_| !levels.is_empty()).ok_or_else(damaged)?;
            }
            Op::Copy(len) => {
                let mut left = len.unwrap_or(u64::MAX);
                while left > 0 {
                    opener.fill(&mut levels)?;
                    let top = levels.last_mut().ok_or_else(damaged)?;
                    let n = (top.rest().len() as u64).min(left);
                    if n == 0 {
                        break;
                    }
                    sink(&top.rest()[..n as usize])?;
                    top.at += n as usize;
                    left -= n;
                }
                if left > 0 && len.is_some() {
                    return Err(damaged());
                }
            }
        }
    }
    opener.fill(&mut levels)?;
    let whole = levels.len() == 1 && levels[0].ended && levels[0].rest().is_empty();
    whole.then_some(()).ok_or_else(damaged)
}
