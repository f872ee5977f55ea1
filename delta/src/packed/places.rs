//! A list of places, such as an archive of `ar` begins with: big-endian words, coded as what each is more than the last.
//!
//! A member that grows moves all behind it; of the differences it changes one.

use super::codec::{Decode, Encode, NONE, UNKNOWN};
use crate::error::Result;

/// Bytes of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Four.
    Four = 4,
    /// Eight.
    Eight = 8,
}

impl Word {
    /// The word of so many bytes.
    pub fn of(bytes: u8) -> Option<Word> {
        [Word::Four, Word::Eight]
            .into_iter()
            .find(|&word| word as u8 == bytes)
    }
}

const PIECE: usize = 64 << 10;

/// Memory of a coder in bytes: a piece on both sides.
pub const MEMORY: u64 = 2 * PIECE as u64;

/// Bytes that are coded by one unit of work.
const BYTES_PER_WORK: u64 = 16;

/// Words as they come, whatever the pieces they come in.
struct Words {
    word: usize,
    /// The beginning of a word that goes on in the next piece.
    part: [u8; 8],
    filled: usize,
    last: u64,
}

impl Words {
    fn new(word: Word) -> Words {
        Words {
            word: word as usize,
            part: [0; 8],
            filled: 0,
            last: 0,
        }
    }

    /// Takes bytes; each word that they fill becomes what `of` makes of the last one and it, in `out`.
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, of: fn(&mut u64, u64) -> u64) {
        for &byte in bytes {
            self.part[self.filled] = byte;
            self.filled += 1;
            if self.filled == self.word {
                let word = self.part[..self.word]
                    .iter()
                    .fold(0, |n, &b| n << 8 | u64::from(b));
                let made = of(&mut self.last, word).to_be_bytes();
                out.extend_from_slice(&made[8 - self.word..]);
                self.filled = 0;
            }
        }
    }
}

/// What a word is more than the last one; of a narrow word the upper bytes are not looked at.
fn difference(last: &mut u64, word: u64) -> u64 {
    word.wrapping_sub(std::mem::replace(last, word))
}

fn sum(last: &mut u64, word: u64) -> u64 {
    *last = last.wrapping_add(word);
    *last
}

/// Tells so many words as differences.
pub struct Decoder {
    words: Words,
    left: u64,
}

impl Decoder {
    /// Of a list of that many.
    pub fn new(word: Word, count: u64) -> Result<Decoder> {
        let left = count.checked_mul(word as u64).ok_or(UNKNOWN)?;
        let words = Words::new(word);
        Ok(Decoder { words, left })
    }
}

impl Decode for Decoder {
    fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
        let taken = self.left.min(packed.len().min(PIECE) as u64) as usize;
        self.words.take(&packed[..taken], out, difference);
        self.left -= taken as u64;
        Ok((taken, self.left == 0))
    }
}

/// Gives the words of differences.
pub struct Encoder(Words);

impl Encoder {
    /// Of words of that size.
    pub fn new(word: Word) -> Encoder {
        Encoder(Words::new(word))
    }
}

impl Encode for Encoder {
    fn push(&mut self, text: &[u8], packed: &mut Vec<u8>) -> Result<u64> {
        self.0.take(text, packed, sum);
        Ok(1 + text.len() as u64 / BYTES_PER_WORK)
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<u64> {
        if self.0.filled == 0 { Ok(1) } else { Err(NONE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Through both, in pieces of that size.
    fn there_and_back(word: Word, bytes: &[u8], piece: usize) {
        let count = (bytes.len() / word as usize) as u64;
        let list = &bytes[..count as usize * word as usize];
        let mut decoder = Decoder::new(word, count).unwrap();
        let (mut text, mut at, mut ended) = (Vec::new(), 0, false);
        while !ended {
            let end = bytes.len().min(at + piece);
            let (taken, last) = decoder.step(&bytes[at..end], &mut text).unwrap();
            (at, ended) = (at + taken, last);
        }
        assert_eq!((at, text.len()), (list.len(), list.len()));
        let (mut encoder, mut packed) = (Encoder::new(word), Vec::new());
        for piece in text.chunks(piece) {
            encoder.push(piece, &mut packed).unwrap();
        }
        encoder.finish(&mut packed).unwrap();
        assert_eq!(packed, list);
    }

    proptest! {
        #[test]
        fn any_words_come_back(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
            there_and_back(Word::Four, &bytes, piece);
            there_and_back(Word::Eight, &bytes, piece);
        }
    }

    #[test]
    fn a_member_that_grows_changes_one_word() {
        let text = |places: [u32; 4]| {
            let list = places.map(u32::to_be_bytes).concat();
            let mut text = Vec::new();
            Decoder::new(Word::Four, 4)
                .unwrap()
                .step(&list, &mut text)
                .unwrap();
            text
        };
        let [old, new] = [text([96, 96, 400, 900]), text([96, 96, 432, 932])];
        assert_eq!(old[..8], new[..8]);
        assert_eq!(old[12..], new[12..]);
        assert_ne!(old, new);
    }

    #[test]
    fn part_of_a_word_is_none() {
        let mut encoder = Encoder::new(Word::Eight);
        encoder.push(&[0; 12], &mut Vec::new()).unwrap();
        assert!(encoder.finish(&mut Vec::new()).is_err());
        assert!(Decoder::new(Word::Four, u64::MAX).is_err());
    }
}
