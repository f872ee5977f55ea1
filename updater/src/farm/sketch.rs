//! Features of contents: hashes of chunks cut where the content says so, of which files with common stretches share some.

use super::blobs;
use super::parts::Tools;
use crate::Result;
use crate::manifest::Content;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// Which features of a content are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The smallest ones, as many of every content: they tell what is alike as a whole.
    Smallest,
    /// About one for 2 KiB: they tell what is a part of another, too.
    Sampled,
}

/// Features of a sketch of the smallest ones.
const FEATURES: usize = 64;
/// One of so many features is sampled; a chunk has 128 bytes, about.
const SAMPLED: u64 = 16;
/// The largest content that is looked at, in bytes.
const MOST: u64 = 64 << 20;

/// Whether a content is looked at.
pub fn may(content: &Content) -> bool {
    (2048..=MOST).contains(&content.size)
}

/// Sketches contents of the store, on all threads; hands the features of each, ascending, over in order.
pub fn all(kept: Kept, contents: &[&Content], tools: Tools, mut take: impl FnMut(Vec<u64>)) -> Result<()> {
    let sketch = |content: &&Content| {
        tools.watch.check()?;
        let mut sketch = Sketch::new(kept);
        blobs::copy(tools.store, content, &mut sketch, tools.watch)?;
        let features: Vec<u64> = sketch.features.into_iter().collect();
        let holds = features.len() as u64 * 8;
        Ok((features, holds))
    };
    let mut done = 0;
    tools.jobs.run(
        contents,
        |_| MEMORY,
        sketch,
        |features| {
            done += 1;
            tools.watch.progress("sketches", done, contents.len() as u64);
            take(features);
            Ok(())
        },
    )
}

/// Memory of unpacking a file forward and of a sketch, in bytes.
const MEMORY: u64 = 14 << 20;

struct Sketch {
    kept: Kept,
    rolling: u64,
    chunk: u64,
    features: BTreeSet<u64>,
}

const CHUNK_START: u64 = 0xcbf2_9ce4_8422_2325;

impl Sketch {
    fn new(kept: Kept) -> Sketch {
        Sketch {
            kept,
            rolling: 0,
            chunk: CHUNK_START,
            features: BTreeSet::new(),
        }
    }

    fn feature(&mut self, chunk: u64) {
        match self.kept {
            Kept::Sampled => {
                if chunk.wrapping_mul(0x9e37_79b9_7f4a_7c15) <= u64::MAX / SAMPLED {
                    self.features.insert(chunk);
                }
            }
            Kept::Smallest => {
                let full = self.features.len() == FEATURES;
                if !full || self.features.last().is_some_and(|&last| chunk < last) {
                    self.features.insert(chunk);
                    if self.features.len() > FEATURES {
                        self.features.pop_last();
                    }
                }
            }
        }
    }
}

impl Write for Sketch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &b in bytes {
            let mixed = u64::from(b).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.rolling = (self.rolling << 1).wrapping_add(mixed);
            self.chunk = (self.chunk ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
            if self.rolling >> 57 == 0 {
                let chunk = std::mem::replace(&mut self.chunk, CHUNK_START);
                self.feature(chunk);
            }
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
