//! Blocks of the xz format: what their headers say, and their coders, which are liblzma's.
//!
//! Headers and the index behind the blocks stay as they are: what is opened is the LZMA2 stream of a block, and what
//! is behind it follows, padding to a multiple of four bytes and the check. So blocks may be many, of one thread or
//! of several, and no thread is needed to make them again.

use super::codec::{Decode, Encode, NONE, UNKNOWN};
use super::crc;
use super::lzma::{Filter, Means, Packer, Shape};
use crate::cursor::{Cursor, put_varint};
use crate::error::Result;
use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

const PIECE: usize = 64 << 10;

/// Dictionaries that are opened, in bytes.
const LEAST: u32 = 4096;
const MOST: u32 = 64 << 20;

/// Units of work for a byte that is packed.
const WORK: u64 = 24;

/// Name and version of the encoder: of the source that comes with the crate, whose version is fixed.
pub const ENCODER: &str = "liblzma 5.8.4";

/// How a block is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Number of the check behind it: 0 none, 1 CRC-32, 4 CRC-64.
    check: u8,
    /// Number of the filter before LZMA2: 0 none, else as in the format (4 is x86).
    filter: u8,
    /// Size of the dictionary.
    dictionary: u32,
}

/// What an encoder must know beside: preset 0 to 9, whether it is an extreme one, and whether it works in scratch space.
/// The dictionary of the preset does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort(u8);

/// The number of the filter for x86.
const X86: u8 = 4;

const EXTREME: u8 = 16;
const SCRATCH: u8 = 32;

/// Memory of liblzma above which a block is packed in scratch space, in bytes.
const LARGE: u64 = 64 << 20;

/// Memory of an encoder in scratch space while it takes its text in.
const TAKING: u64 = 1 << 20;

impl Effort {
    /// As a byte of a plan.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// Read from a plan; `None` where there is no such preset.
    pub fn from_byte(byte: u8) -> Option<Effort> {
        let effort = Effort(byte);
        let known = byte & !(EXTREME | SCRATCH) < 10;
        (known && (!effort.in_scratch() || effort.is_slow())).then_some(effort)
    }

    /// Whether it is one for [`Packer`].
    pub fn in_scratch(self) -> bool {
        self.0 & SCRATCH != 0
    }

    fn preset(self) -> u32 {
        u32::from(self.0 & 15)
    }

    fn is_extreme(self) -> bool {
        self.0 & EXTREME != 0
    }

    /// Whether liblzma weighs what it tells, and finds matches by trees.
    fn is_slow(self) -> bool {
        self.is_extreme() || self.preset() > 3
    }

    /// Sixteenths of a unit of work that liblzma takes for a byte of usual text.
    pub fn usual_work(self) -> u64 {
        if self.is_slow() { 86 } else { 18 }
    }

    /// How liblzma looks for matches, of those efforts.
    fn shape(self, dictionary: u32) -> Shape {
        let (nice, depth) = match (self.is_extreme(), self.preset()) {
            (true, 3 | 5) => (192, 112),
            (true, _) => (273, 512),
            (false, 4) => (16, 24),
            (false, 5) => (32, 32),
            (false, _) => (64, 48),
        };
        Shape {
            dictionary,
            nice,
            depth,
        }
    }
}

impl Chain {
    /// Appends it to a plan.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.check, self.filter]);
        put_varint(out, u64::from(self.dictionary));
    }

    /// Reads one.
    pub fn read(cursor: &mut Cursor) -> Result<Chain> {
        let [check, filter] = cursor.array()?;
        let dictionary = u32::try_from(cursor.varint()?).map_err(|_| UNKNOWN)?;
        let chain = Chain {
            check,
            filter,
            dictionary,
        };
        chain.is_known().then_some(chain).ok_or(UNKNOWN)
    }

    fn is_known(&self) -> bool {
        let (check, filter) = (matches!(self.check, 0 | 1 | 4), matches!(self.filter, 0 | 4..=10));
        check && filter && (LEAST..=MOST).contains(&self.dictionary)
    }

    fn check_len(&self) -> usize {
        match self.check {
            0 => 0,
            1 => 4,
            _ => 8,
        }
    }

    fn filters(&self, options: &mut LzmaOptions) -> Filters {
        options.dict_size(self.dictionary);
        let mut filters = Filters::new();
        match self.filter {
            X86 => filters.x86(),
            5 => filters.powerpc(),
            6 => filters.ia64(),
            7 => filters.arm(),
            8 => filters.arm_thumb(),
            9 => filters.sparc(),
            10 => filters.arm64(),
            _ => &mut filters,
        };
        filters.lzma2(options);
        filters
    }

    /// Bytes of memory of a decoder, its output buffer included.
    pub fn decoder_memory(&self) -> u64 {
        u64::from(self.dictionary) + (1 << 20)
    }

    /// Bytes of memory of an encoder, its output buffer included: eleven and a half times the dictionary, as
    /// liblzma documents it for its slower match finders. One in scratch space counts what it takes behind the text.
    pub fn encoder_memory(&self, effort: Effort) -> u64 {
        if effort.in_scratch() {
            return TAKING;
        }
        u64::from(self.dictionary.max(1 << 16)) * 23 / 2 + (6 << 20)
    }

    /// Whether there is an encoder for it with that effort.
    pub fn has(&self, effort: Effort) -> bool {
        !effort.in_scratch() || self.filter == 0 || Filter::new(self.filter).is_some()
    }

    /// The effort that makes the same in scratch space, where liblzma takes much memory.
    pub fn frugal(&self, effort: Effort) -> Effort {
        let frugal = Effort(effort.0 | SCRATCH);
        match effort.is_slow() && self.has(frugal) && self.encoder_memory(effort) > LARGE {
            true => frugal,
            false => effort,
        }
    }

    /// Whether padding and check at the end of a stream are those of the text.
    pub fn checked(&self, text: &[u8], stream: &[u8]) -> bool {
        let mut check = Check::new(self.check);
        check.update(text);
        let mut end = Vec::new();
        check.put(&mut end);
        stream.ends_with(&end)
    }
}

/// The check of a block as its text comes by.
struct Check {
    kind: u8,
    crc32: crc32fast::Hasher,
    crc64: u64,
}

impl Check {
    fn new(kind: u8) -> Check {
        Check {
            kind,
            crc32: crc32fast::Hasher::new(),
            crc64: !0,
        }
    }

    fn update(&mut self, text: &[u8]) {
        match self.kind {
            1 => self.crc32.update(text),
            4 => {
                for &byte in text {
                    self.crc64 = CRC64[usize::from(self.crc64 as u8 ^ byte)] ^ self.crc64 >> 8;
                }
            }
            _ => {}
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self.kind {
            1 => out.extend(self.crc32.clone().finalize().to_le_bytes()),
            4 => out.extend((!self.crc64).to_le_bytes()),
            _ => {}
        }
    }
}

/// Table of the CRC-64 of ECMA-182.
const CRC64: [u64; 256] = crc::table(0xc96c_5795_d787_0f42);

/// How each stream of the format begins.
pub const MAGIC: [u8; 6] = *b"\xfd7zXZ\0";
/// Bytes of the header of a stream.
pub const HEADER: usize = 12;

/// The number of the check that the header of a stream names.
pub fn header(bytes: &[u8]) -> Option<u8> {
    let head = bytes
        .get(..HEADER)
        .filter(|head| head.starts_with(&MAGIC) && head[6] == 0)?;
    (crc32fast::hash(&head[6..8]).to_le_bytes() == head[8..]).then_some(head[7])
}

/// The header of a block under a check: its length, and how the block is decoded.
pub fn block(bytes: &[u8], check: u8) -> Option<(usize, Chain)> {
    let words = usize::from(*bytes.first()?);
    let len = (words + 1) * 4;
    let head = bytes.get(..len).filter(|_| words > 0)?;
    let (head, sum) = head.split_at(len - 4);
    if crc32fast::hash(head).to_le_bytes() != sum {
        return None;
    }
    let flags = head[1];
    let mut cursor = Cursor::new(&head[2..]);
    for bit in [0x40, 0x80] {
        if flags & bit != 0 {
            cursor.varint().ok()?;
        }
    }
    let mut chain = Chain {
        check,
        filter: 0,
        dictionary: 0,
    };
    for _ in 0..=flags & 3 {
        let (id, len) = (cursor.varint().ok()?, cursor.varint().ok()?);
        match (id, cursor.take(usize::try_from(len).ok()?).ok()?) {
            (0x21, &[bits]) if bits < 40 => chain.dictionary = (2 | u32::from(bits) & 1) << (bits / 2 + 11),
            (4..=10, &[]) if chain.filter == 0 => chain.filter = id as u8,
            _ => return None,
        }
    }
    chain.is_known().then_some((len, chain))
}

/// The efforts that may have made a block of that chain, the likely ones first.
pub fn efforts(chain: &Chain) -> Vec<Effort> {
    let preset = match chain.dictionary {
        0x4_0000 => 0,
        0x10_0000 => 1,
        0x20_0000 => 2,
        0x40_0000 => 3,
        _ => 6,
    };
    [
        6,
        preset,
        6 | EXTREME,
        9 | EXTREME,
        preset | EXTREME,
        5,
        4,
        5 | EXTREME,
    ]
    .map(Effort)
    .to_vec()
}

/// Decodes one block.
pub struct Decoder {
    stream: Stream,
    chain: Chain,
    /// Bytes behind the stream that are still to come, once it has ended.
    behind: Option<usize>,
}

impl Decoder {
    /// Of that chain.
    pub fn new(chain: Chain) -> Result<Decoder> {
        let mut options = LzmaOptions::new_preset(0).map_err(|_| UNKNOWN)?;
        let filters = chain.filters(&mut options);
        Ok(Decoder {
            stream: Stream::new_raw_decoder(&filters).map_err(|_| UNKNOWN)?,
            chain,
            behind: None,
        })
    }
}

/// Bytes from here to the next multiple of four.
fn padding(len: u64) -> usize {
    (len.wrapping_neg() & 3) as usize
}

impl Decode for Decoder {
    fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
        if let Some(left) = self.behind {
            let taken = left.min(packed.len());
            self.behind = Some(left - taken);
            return Ok((taken, taken == left));
        }
        out.reserve(PIECE);
        let before = self.stream.total_in();
        let status = self.stream.process_vec(packed, out, Action::Run);
        let taken = (self.stream.total_in() - before) as usize;
        if status.map_err(|_| NONE)? == Status::StreamEnd {
            self.behind = Some(padding(self.stream.total_in()) + self.chain.check_len());
        }
        Ok((taken, self.behind == Some(0)))
    }
}

/// Encodes one block.
pub struct Encoder {
    stream: Stream,
    check: Check,
}

impl Encoder {
    /// Of that chain, with that effort.
    pub fn new(chain: Chain, effort: Effort) -> Result<Encoder> {
        let preset = effort.preset() | u32::from(effort.is_extreme()) << 31;
        let mut options = LzmaOptions::new_preset(preset).map_err(|_| UNKNOWN)?;
        let filters = chain.filters(&mut options);
        Ok(Encoder {
            stream: Stream::new_raw_encoder(&filters).map_err(|_| UNKNOWN)?,
            check: Check::new(chain.check),
        })
    }

    fn run(&mut self, mut text: &[u8], packed: &mut Vec<u8>, action: Action) -> Result<()> {
        loop {
            packed.reserve(PIECE);
            let before = self.stream.total_in();
            let status = self.stream.process_vec(text, packed, action).map_err(|_| NONE)?;
            text = &text[(self.stream.total_in() - before) as usize..];
            let full = packed.len() == packed.capacity();
            match action {
                Action::Run if text.is_empty() && !full => return Ok(()),
                _ if status == Status::StreamEnd => return Ok(()),
                _ => {}
            }
        }
    }
}

impl Encode for Encoder {
    fn push(&mut self, text: &[u8], packed: &mut Vec<u8>) -> Result<u64> {
        self.check.update(text);
        self.run(text, packed, Action::Run)?;
        Ok(text.len() as u64 * WORK)
    }

    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        self.run(&[], packed, Action::Finish)?;
        let padding = padding(self.stream.total_out());
        packed.extend(&[0; 3][..padding]);
        self.check.put(packed);
        Ok(0)
    }
}

/// Encodes one block in scratch space.
pub struct Frugal<'a> {
    packer: Packer<'a>,
    filter: Option<Filter>,
    check: Check,
    /// Bytes of the stream so far.
    out: u64,
}

impl<'a> Frugal<'a> {
    /// Of that chain, with that effort.
    pub fn new(chain: Chain, effort: Effort, means: Means<'a>) -> Result<Frugal<'a>> {
        Ok(Frugal {
            packer: Packer::new(effort.shape(chain.dictionary), means)?,
            filter: Filter::new(chain.filter),
            check: Check::new(chain.check),
            out: 0,
        })
    }
}

impl Encode for Frugal<'_> {
    fn push(&mut self, text: &[u8], _: &mut Vec<u8>) -> Result<u64> {
        self.check.update(text);
        match &mut self.filter {
            Some(filter) => self.packer.push(&filter.push(text))?,
            None => self.packer.push(text)?,
        }
        Ok(text.len() as u64 / 16 + 1)
    }

    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        if let Some(filter) = &mut self.filter {
            self.packer.push(&filter.finish())?;
        }
        Ok(self.more(packed)?.unwrap_or(0))
    }

    fn more(&mut self, packed: &mut Vec<u8>) -> Result<Option<u64>> {
        let before = packed.len();
        let more = self.packer.next(packed)?;
        self.out += (packed.len() - before) as u64;
        if more == Some(0) {
            packed.extend(&[0; 3][..padding(self.out)]);
            self.check.put(packed);
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use proptest::prelude::*;

    fn packed(mut encoder: Box<dyn Encode + '_>, text: &[u8], piece: usize) -> Vec<u8> {
        let mut packed = Vec::new();
        for piece in text.chunks(piece) {
            encoder.push(piece, &mut packed).unwrap();
        }
        encoder.finish(&mut packed).unwrap();
        while encoder.more(&mut packed).unwrap().is_some() {}
        packed
    }

    /// A stretch of a text: noise, or what was so far back with every so many bytes changed.
    fn stretches() -> impl Strategy<Value = Vec<(u16, u32, u8, u8)>> {
        prop::collection::vec((any::<u16>(), any::<u32>(), any::<u8>(), any::<u8>()), 0..24)
    }

    fn text(stretches: &[(u16, u32, u8, u8)]) -> Vec<u8> {
        let mut text = b"e".to_vec();
        let mut state = 1u32;
        for &(len, back, every, byte) in stretches {
            let len = usize::from(len) >> (byte & 7);
            let from = text.len() - 1 - back as usize % text.len();
            for i in 0..len {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push(match every {
                    0..60 => (state >> 24) as u8,
                    60..100 if i % 6 == 0 => 0xe8,
                    60..100 => byte & 0x81,
                    100..140 => call(i, every, state >> 24),
                    _ if i % usize::from(every) == 0 => byte,
                    _ => text[from + i],
                });
            }
        }
        text
    }

    /// A byte of calls, one behind the other, as one of these machines has them; some lead near.
    fn call(i: usize, machine: u8, noise: u32) -> u8 {
        match (machine % 5, i % 4) {
            (0, 3) => 0xeb,
            (1, 3) => 0x94 | noise as u8 & 3,
            (2, 3) => 0x90 | noise as u8 & 0x60,
            (2, 2) => [0, 0xff, 0x1f, 0xe0][noise as usize & 3],
            (3, 0) => 0x48 | noise as u8 & 3,
            (3, 3) => 1 | noise as u8 & 0xfe & !(noise as u8 & 2),
            (4, 1) => 0xf0 | noise as u8 & 7,
            (4, 3) => 0xf8 | noise as u8 & 7,
            _ => noise as u8,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// Whatever the text: chunks that are stored and where chunks end, distances, the end of the dictionary.
        #[test]
        fn what_works_in_scratch_space_packs_as_liblzma_does(
            stretches in stretches(),
            preset in prop::sample::select(&[4u8, 5, 6, 9, 6 | EXTREME, 3 | EXTREME, 5 | EXTREME][..]),
            dictionary in prop::sample::select(&[4096u32, 5000, 1 << 16, 3 << 17, 1 << 20, 1 << 23, 1 << 26][..]),
            (check, filter, piece) in (prop::sample::select(&[0u8, 1, 4][..]), prop::sample::select(&[0, 4, 5, 7, 8, 10][..]), 1usize..9000),
        ) {
            let text = text(&stretches);
            let chain = Chain { check, filter, dictionary };
            let budget = Budget::default();
            let means = Means { budget: &budget, scratch: None };
            let frugal = Frugal::new(chain, Effort(preset | SCRATCH), means).unwrap();
            let ours = packed(Box::new(frugal), &text, piece);
            let theirs = packed(Box::new(Encoder::new(chain, Effort(preset)).unwrap()), &text, 50_000);
            prop_assert!(ours == theirs, "{} bytes, {} for {}", text.len(), ours.len(), theirs.len());
        }
    }
}
