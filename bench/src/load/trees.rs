//! Trees of any size, the same in every run.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
    path::Path,
};

/// Words in the texts.
const WORDS: u64 = 4096;
/// Bytes of a block of a large file.
const BLOCK: u64 = 64 << 10;
/// Blocks after which a large file repeats itself, but for a mark in each.
const PERIOD: u64 = 64;

/// Numbers by a multiplication and a shift (splitmix64), of which every seed gives others.
pub struct Numbers(u64);

impl Numbers {
    /// From a seed.
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }
    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Text of made-up words that packs to about a third.
fn text(numbers: &mut Numbers, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + 16);
    while out.len() < len {
        // Short numbers are common words, as in any language.
        let word = (numbers.next() % WORDS).min(numbers.next() % WORDS);
        let mut letters = Numbers::new(word);
        for _ in 0..2 + word % 8 {
            out.push(b'a' + (letters.next() % 26) as u8);
        }
        out.push(b' ');
    }
    out.truncate(len);
    out
}

/// `count` texts of `len` bytes, a hundred in a folder; of one in ten the second half is of this release alone.
pub fn texts(at: &Path, count: u64, len: usize, release: u64) -> Result<(), String> {
    for number in 0..count {
        let folder = at.join(format!("{:04}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder).map_err(crate::text)?;
        }
        let mut bytes = text(&mut Numbers::new(number << 8), len);
        if number % 10 == release % 10 && release > 1 {
            let changed = text(&mut Numbers::new(number << 8 | release), len - len / 2);
            bytes[len / 2..].copy_from_slice(&changed);
        }
        fs::write(folder.join(format!("{:02}.txt", number % 100)), bytes).map_err(crate::text)?;
    }
    Ok(())
}

/// A file of `len` bytes: four MiB of noise over and over, a mark of its own in each block; of one block in ten the
/// mark is of this release alone.
pub fn large(at: &Path, len: u64, release: u64) -> Result<(), String> {
    let mut noise = vec![0u8; (BLOCK * PERIOD) as usize];
    let mut numbers = Numbers::new(7);
    for word in noise.chunks_exact_mut(8) {
        word.copy_from_slice(&numbers.next().to_le_bytes());
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(at).map_err(crate::text)?);
    for block in 0..len.div_ceil(BLOCK) {
        let begin = (block % PERIOD * BLOCK) as usize;
        let mut bytes = noise[begin..begin + BLOCK as usize].to_vec();
        let own = if block % 10 == 3 {
            block << 8 | release
        } else {
            block << 8
        };
        bytes[..8].copy_from_slice(&Numbers::new(own).next().to_le_bytes());
        bytes.truncate((len - block * BLOCK).min(BLOCK) as usize);
        file.write_all(&bytes).map_err(crate::text)?;
    }
    file.flush().map_err(crate::text)
}

/// A file of `len` bytes that is sparse but for a MiB of noise in each 512 MiB.
pub fn sparse(at: &Path, len: u64) -> Result<(), String> {
    let file = File::create(at).map_err(crate::text)?;
    file.set_len(len).map_err(crate::text)?;
    let mut numbers = Numbers::new(11);
    for begin in (0..len).step_by(512 << 20) {
        let noise: Vec<u8> = (0..1 << 17).flat_map(|_| numbers.next().to_le_bytes()).collect();
        let n = (len - begin).min(noise.len() as u64) as usize;
        file.write_all_at(&noise[..n], begin).map_err(crate::text)?;
    }
    Ok(())
}
