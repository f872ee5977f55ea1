//! The bytes of a region: literals between covers, corrections inside them, and bytes that are known already.

use super::corrections::Corrections;
use super::literals::LiteralData;
use super::{Cover, Known};
use crate::budget::{Budget, Held, Keep, Lent};
use crate::code::{Symbols, hash, symbols};
use crate::file_view::FileView;
use crate::place::{Off, Span};
use crate::recipe::Recipe;
use crate::{Error, error::Result};

symbols! {
    /// Whether pieces of literal bytes are raw.
    struct RawModels {
        raw(8, 255) {
            /// A piece is raw. `was_raw`: the last one was. `size`: bit length of its length.
            raw: flag by(was_raw: bool, size: u32) [hash(1, u32::from(was_raw)), hash(2, size)];
        }
    }
}

/// Models of the byte stream.
#[derive(Debug, Default)]
struct ByteModels {
    raw: RawModels,
    literals: LiteralData,
    corrections: Corrections,
    /// Whether the last piece was raw.
    was_raw: bool,
}

impl Keep for ByteModels {
    fn memory(&self) -> u64 {
        self.raw.memory() + self.literals.memory() + self.corrections.memory()
    }
}

const CHUNK: u32 = 1 << 16;
/// Shorter pieces are never raw.
const SHORTEST_RAW: usize = 128;

/// Consecutive bytes of the new file, and what is known of them.
#[derive(Clone, Copy)]
pub struct Piece<'p> {
    /// File offset of the first.
    pub at: Off,
    /// How many.
    pub len: u32,
    /// Their covers.
    pub covers: &'p [Cover],
    /// What tables have made already.
    pub known: &'p Known,
    /// The bytes, on the writing side.
    pub truth: Option<&'p [u8]>,
}

impl<'p> Piece<'p> {
    /// What is known of `n` bytes from `at`, by distance from there.
    fn known(&self, at: Off, n: u32) -> Vec<(usize, &'p [u8])> {
        self.known.within(at, n).collect()
    }

    /// The bytes from `at`, on the writing side.
    fn truth(&self, at: Off) -> Option<&'p [u8]> {
        self.truth.map(|t| &t[(at - self.at) as usize..])
    }
}

/// Codes the bytes of one region after the other.
pub struct ByteCoder<'o> {
    m: Lent<'o, ByteModels>,
    old: &'o FileView<'o>,
}

impl<'o> ByteCoder<'o> {
    /// At the first region.
    pub fn new(old: &'o FileView<'o>, account: &'o Budget) -> Self {
        let mut m = account.lend::<ByteModels>();
        m.literals.turn();
        ByteCoder { m, old }
    }

    /// Codes the bytes of a piece against its covers and appends them to `recipe`, whose memory is counted in
    /// `held`.
    pub fn piece<S: Symbols>(
        &mut self,
        s: &mut S,
        piece: &Piece,
        recipe: &mut Recipe,
        held: &mut Held,
    ) -> Result<()> {
        let (m, old) = (&mut *self.m, self.old);
        let mut cursor = piece.at;
        let end = piece.at + piece.len;
        let mut covers = piece.covers.iter();
        let mut buffer = Vec::new();
        while cursor < end {
            let cover = covers.next();
            let upto = cover.map_or(end, |c| c.new_at);
            while cursor < upto {
                let n = (upto - cursor).min(CHUNK);
                m.literals(s, old, piece, Span::new(cursor, n), &mut buffer)?;
                recipe.literal(&buffer);
                cursor += n;
                check(s, recipe, held)?;
            }
            let Some(cover) = cover else { break };
            let mut done = 0;
            while done < cover.len {
                let n = (cover.len - done).min(CHUNK);
                let mut base = vec![0; n as usize];
                old.read(u64::from(cover.old_at + done), &mut base)?;
                let from = cover.new_at + done;
                let skip = piece.known(from, n);
                buffer.clear();
                buffer.extend_from_slice(&base);
                m.corrections
                    .code(s, &base, from.0, &skip, piece.truth(from), &mut buffer)?;
                recipe.copy(cover.old_at + done, &base, &buffer);
                m.literals.skip(&buffer);
                done += n;
                check(s, recipe, held)?;
            }
            m.literals.beside(u64::from(cover.old_at) + u64::from(cover.len));
            cursor = cover.new_at + cover.len;
        }
        Ok(())
    }
}

fn check<S: Symbols>(s: &S, recipe: &Recipe, held: &mut Held) -> Result<()> {
    if s.exhausted() {
        return Err(Error::damaged("a byte stream ends too early"));
    }
    held.set(recipe.memory())
}

impl ByteModels {
    /// Codes bytes of a piece that no cover explains.
    fn literals<S: Symbols>(
        &mut self,
        s: &mut S,
        old: &FileView,
        piece: &Piece,
        Span { at, len: n }: Span<Off>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let skip = piece.known(at, n);
        let n = n as usize;
        let truth = piece.truth(at).map(|t| &t[..n]);
        out.clear();
        let mut raw = false;
        if n >= SHORTEST_RAW && skip.is_empty() {
            let size = usize::BITS - n.leading_zeros();
            raw = self.raw.raw(s, self.was_raw, size, truth.is_some_and(is_noise));
            self.was_raw = raw;
        }
        let mut skip = skip.iter().peekable();
        while out.len() < n {
            let i = out.len();
            if let Some((from, bytes)) = skip.peek()
                && i >= *from
            {
                out.extend_from_slice(&bytes[i - from..]);
                self.literals.skip(&bytes[i - from..]);
                skip.next();
                continue;
            }
            let byte = truth.map_or(0, |t| t[i]);
            out.push(if raw {
                s.raw(byte)
            } else {
                self.literals.code(s, old, at.0.wrapping_add(i as u32), byte)?
            });
        }
        if raw {
            self.literals.skip(out);
        }
        Ok(())
    }
}

/// Whether a model would not make these bytes shorter: no byte stands out, and zstd finds nothing either.
fn is_noise(bytes: &[u8]) -> bool {
    let mut counts = [0u64; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    // Chance makes two of n bytes equal n * n / 256 times; a fortieth more is worth about half a percent.
    let n = bytes.len() as u64;
    let equal: u64 = counts.iter().map(|c| c * c).sum();
    let expected = n * n / 256 + n;
    equal < expected + expected / 40 + 4 * n / 16
        && zstd::bulk::compress(bytes, 1).is_ok_and(|frame| frame.len() + bytes.len() / 256 >= bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Silent;
    use crate::code::{ModelledReader, ModelledWriter};

    fn code<S: Symbols>(s: &mut S, old: &[u8], covers: &[Cover], len: u32, truth: Option<&[u8]>) -> Recipe {
        let budget = Budget::unlimited(&Silent);
        let (view, mut recipe) = (FileView::new(&old, &budget).unwrap(), Recipe::default());
        let piece = Piece {
            at: Off(0),
            len,
            covers,
            known: &Known::default(),
            truth,
        };
        let mut coder = ByteCoder::new(&view, &budget);
        coder.piece(s, &piece, &mut recipe, &mut budget.held()).unwrap();
        recipe.finish();
        recipe
    }

    fn round_trip(old: &[u8], new: &[u8], covers: &[Cover]) -> usize {
        let budget = Budget::unlimited(&Silent);
        let mut writer = ModelledWriter::default();
        let written = code(&mut writer, old, covers, new.len() as u32, Some(new));
        let stream = writer.finish();
        let read = code(
            &mut ModelledReader::new(&stream, &budget),
            old,
            covers,
            new.len() as u32,
            None,
        );
        assert_eq!(read, written);
        let mut made = Vec::new();
        let sink = &mut |piece: &[u8]| -> Result<()> {
            made.extend_from_slice(piece);
            Ok(())
        };
        read.run(&FileView::new(&old, &budget).unwrap(), sink).unwrap();
        assert_eq!(made, new);
        stream.len()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn noise_costs_its_size() {
        let new = noise(200_000);
        assert!(round_trip(&[], &new, &[]) <= new.len() + 8);
    }

    #[test]
    fn repeated_noise_costs_once() {
        let mut new = noise(1000);
        new.extend_from_within(..);
        assert!(round_trip(&[], &new, &[]) < 1100);
    }

    #[test]
    fn words_that_move_alike_cost_little() {
        let old: Vec<u8> = (0..20_000u32)
            .flat_map(|i| (i * 37 % 3001 + 70_000).to_le_bytes())
            .collect();
        let moved = |w: u32| if w > 71_000 { w + 0x34 } else { w };
        let words = old
            .chunks(4)
            .map(|w| moved(u32::from_le_bytes(w.try_into().unwrap())));
        let new: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        let cover = Cover {
            new_at: Off(0),
            old_at: Off(0),
            len: old.len() as u32,
        };
        assert!(round_trip(&old, &new, &[cover]) < 4000);
    }
}
