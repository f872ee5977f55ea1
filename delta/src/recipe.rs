//! What phase one of apply leaves behind: a compact edit script from the old file to the new one, in file order.
//!
//! Phase two walks it forward with a small buffer, so the new file is never held in memory.

use crate::budget::Held;
use crate::cursor::{Cursor, fold, put_varint, unfold};
use crate::error::Result;
use crate::file_view::FileView;
use crate::place::Off;

/// The recipes of a file, in file order, and their memory.
pub type Scripts<'b> = (Vec<Recipe>, Held<'b>);

/// An edit script: copies of old bytes with patches laid over them, and literals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The operations, none of them across two pieces: growing one long vector would hold much of it twice.
    pieces: Vec<Vec<u8>>,
    /// Bytes in all pieces.
    held: u64,
    copy: Copy,
    /// Where the last copy ended in the old file.
    old_end: Off,
    /// Bytes of the new file that the script makes.
    len: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Copy {
    old_at: Off,
    len: u32,
    /// Patches: gap and length, bytes.
    patches: Vec<u8>,
    /// End of the last patch.
    patched: u32,
}

/// Equal bytes between two patches that are cheaper to repeat than to skip.
const JOIN: usize = 3;

/// Bytes of a piece, and bytes that one operation copies or brings at most.
const PIECE: usize = 64 << 10;
const STRETCH: usize = 16 << 10;

/// Length of a patch that stands with the gap before it; 0 where it stands behind, as a number of its own.
const SHORT: u64 = 4;

/// How many bytes two slices begin with that are equal, in whole words.
fn equal(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8));
    8 * words.take_while(|(a, b)| a == b).count()
}

fn put_patch(out: &mut Vec<u8>, gap: u32, bytes: &[u8]) {
    let len = bytes.len() as u64;
    let short = if len < SHORT { len } else { 0 };
    put_varint(out, u64::from(gap) * SHORT + short);
    if short == 0 {
        put_varint(out, len);
    }
    out.extend_from_slice(bytes);
}

fn patch<'p>(patches: &mut Cursor<'p>) -> Result<(u64, &'p [u8])> {
    let head = patches.varint()?;
    let len = match head % SHORT {
        0 => patches.varint()?,
        short => short,
    };
    Ok((head / SHORT, patches.take(len as usize)?))
}

impl Recipe {
    /// A finished script of these bytes as they are; takes no memory beside theirs.
    pub fn of(mut bytes: Vec<u8>) -> Recipe {
        let len = bytes.len() as u64;
        let mut head = Vec::new();
        put_varint(&mut head, len << 1);
        bytes.splice(..0, head);
        bytes.shrink_to_fit();
        Recipe {
            held: bytes.len() as u64,
            pieces: vec![bytes],
            len,
            ..Recipe::default()
        }
    }

    /// Appends bytes that stand at `old_at` in the old file as `old`, but for what differs.
    pub fn copy(&mut self, old_at: Off, old: &[u8], new: &[u8]) {
        let mut at = old_at;
        for (old, new) in old.chunks(STRETCH).zip(new.chunks(STRETCH)) {
            self.stretch(at, old, new);
            at = at.wrapping_add(new.len() as u32);
        }
    }

    fn stretch(&mut self, old_at: Off, old: &[u8], new: &[u8]) {
        let full = self.copy.patches.len() > STRETCH;
        if full || self.copy.len == 0 || self.copy.old_at + self.copy.len != old_at {
            self.flush();
            self.copy.old_at = old_at;
        }
        let base = self.copy.len;
        let mut i = 0;
        while i < new.len() {
            if old[i] == new[i] {
                i += 1 + equal(&old[i + 1..], &new[i + 1..]);
                continue;
            }
            let from = i;
            let mut to = i + 1;
            let mut j = to;
            while j < new.len() && j - to <= JOIN {
                if old[j] != new[j] {
                    to = j + 1;
                }
                j += 1;
            }
            let at = base + from as u32;
            put_patch(&mut self.copy.patches, at - self.copy.patched, &new[from..to]);
            self.copy.patched = base + to as u32;
            i = to;
        }
        self.copy.len += new.len() as u32;
        self.len += new.len() as u64;
    }

    /// Appends bytes as they are.
    pub fn literal(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.flush();
        for bytes in bytes.chunks(STRETCH) {
            let ops = self.room(bytes.len());
            put_varint(ops, (bytes.len() as u64) << 1);
            ops.extend_from_slice(bytes);
            self.done();
        }
        self.len += bytes.len() as u64;
    }

    /// The piece for an operation with that many bytes; tell [`Recipe::done`] afterwards.
    fn room(&mut self, payload: usize) -> &mut Vec<u8> {
        const HEAD: usize = 32;
        let fits = |piece: &Vec<u8>| piece.len() + payload + HEAD <= PIECE;
        if !self.pieces.last().is_some_and(fits) {
            let first = self.pieces.is_empty();
            self.pieces
                .push(Vec::with_capacity(if first { 0 } else { PIECE }));
        }
        let last = self.pieces.len() - 1;
        self.held -= self.pieces[last].len() as u64;
        &mut self.pieces[last]
    }

    fn done(&mut self) {
        self.held += self.pieces.last().map_or(0, Vec::len) as u64;
    }

    fn flush(&mut self) {
        if self.copy.len == 0 {
            return;
        }
        let mut patches = std::mem::take(&mut self.copy.patches);
        let len = self.copy.len;
        let away = i64::from(self.copy.old_at) - i64::from(self.old_end);
        self.old_end = self.copy.old_at + len;
        let ops = self.room(patches.len());
        put_varint(ops, u64::from(len) << 1 | 1);
        put_varint(ops, fold(away));
        put_varint(ops, patches.len() as u64);
        ops.extend_from_slice(&patches);
        self.done();
        patches.clear();
        self.copy.patches = patches;
        self.copy.len = 0;
        self.copy.patched = 0;
    }

    /// Ends the script.
    pub fn finish(&mut self) {
        self.flush();
        self.copy.patches = Vec::new();
        if let Some(last) = self.pieces.last_mut() {
            last.shrink_to_fit();
        }
    }

    /// Bytes of the new file that it makes.
    pub fn output_len(&self) -> u64 {
        self.len
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> u64 {
        self.held + self.copy.patches.len() as u64
    }

    /// Runs a finished script and hands the new bytes over piece by piece.
    pub fn run(&self, old: &FileView, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut buffer = vec![0; 1 << 16];
        let mut old_end = 0u64;
        for piece in &self.pieces {
            Recipe::piece(piece, &mut old_end, &mut buffer, old, sink)?;
        }
        Ok(())
    }

    fn piece(
        piece: &[u8],
        old_end: &mut u64,
        buffer: &mut [u8],
        old: &FileView,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut ops = Cursor::new(piece);
        while !ops.is_empty() {
            let op = ops.varint()?;
            if op & 1 == 0 {
                for piece in ops.take((op >> 1) as usize)?.chunks(buffer.len()) {
                    sink(piece)?;
                }
                continue;
            }
            let len = op >> 1;
            let away = ops.varint()?;
            let old_at = (*old_end).wrapping_add_signed(unfold(away));
            *old_end = old_at.wrapping_add(len);
            let patches_len = ops.varint()? as usize;
            let mut patches = Cursor::new(ops.take(patches_len)?);
            let mut next: Option<(u64, &[u8])> = None;
            let mut patched = 0;
            let mut done = 0;
            while done < len {
                let n = (len - done).min(buffer.len() as u64);
                old.read(old_at + done, &mut buffer[..n as usize])?;
                loop {
                    if next.is_none() && !patches.is_empty() {
                        let (gap, bytes) = patch(&mut patches)?;
                        next = Some((patched + gap, bytes));
                        patched += gap + bytes.len() as u64;
                    }
                    let Some((at, bytes)) = next.filter(|p| p.0 < done + n) else {
                        break;
                    };
                    let from = (at - done) as usize;
                    let fits = bytes.len().min(n as usize - from);
                    buffer[from..from + fits].copy_from_slice(&bytes[..fits]);
                    next = (fits < bytes.len()).then(|| (at + fits as u64, &bytes[fits..]));
                }
                sink(&buffer[..n as usize])?;
                done += n;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_script_makes_what_was_put_in(
            old in prop::collection::vec(any::<u8>(), 1..4000),
            pieces in prop::collection::vec((any::<u16>(), any::<u8>(), any::<bool>(), any::<u8>()), 0..40),
        ) {
            let mut recipe = Recipe::default();
            let mut expected = Vec::new();
            for (at, len, is_copy, flip) in pieces {
                let at = at as usize % old.len();
                let from = &old[at..(at + len as usize).min(old.len())];
                let mut new = from.to_vec();
                for b in new.iter_mut().step_by(1 + flip as usize % 7) {
                    *b ^= flip & 3;
                }
                if is_copy {
                    recipe.copy(Off(at as u32), from, &new);
                } else {
                    recipe.literal(&new);
                }
                expected.extend_from_slice(&new);
            }
            recipe.finish();
            let mut made = Vec::new();
            let budget = crate::budget::Budget::default();
            let view = FileView::new(&old, &budget).unwrap();
            recipe.run(&view, &mut |piece| { made.extend_from_slice(piece); Ok(()) }).unwrap();
            prop_assert_eq!(made, expected);
        }
    }
}
