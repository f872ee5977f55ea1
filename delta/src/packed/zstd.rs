//! Frames of zstd: what their headers say, and their coders, which are libzstd's.
//!
//! A frame is opened as a whole: its header and its check follow from the text and from how the encoder is asked. What
//! the encoder writes hangs on how it is fed, too: piece by piece, all at once, or by a worker, which makes parts of
//! it by themselves.

use super::codec::{Decode, Encode, NONE, UNKNOWN};
use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};
use ::zstd::zstd_safe::zstd_sys::ZSTD_EndDirective as End;
use ::zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer};
use std::ops::RangeInclusive;

/// Name and version of the encoder: of the source that comes with the crate, whose version is fixed.
pub const ENCODER: &str = "libzstd 1.5.7";
/// The same where it starts a thread.
pub const THREADED: &str = "libzstd 1.5.7 with threads";

/// What a frame begins with.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Windows that are opened, as powers of two.
const WINDOWS: RangeInclusive<u8> = 10..=27;

/// The largest text that is packed all at once, in bytes.
const WHOLE: u64 = 64 << 20;

const PIECE: usize = 64 << 10;
/// Text of a block; the last of it is held back until it is known to be the last.
const BLOCK: usize = 128 << 10;

/// Text up to this size is not given to a worker where its size is told before.
const PART: u64 = 512 << 10;

/// The window of `zstd --long`, as a power of two: where long repeats are looked for, it is nobody's own.
const LONG_WINDOW: u8 = 27;

/// The most that a worker may set aside for text before any has come, in bytes: twice that is more than a host of 32 bits has.
const ASIDE: u64 = 1 << 30;

/// The most memory of a decoder beside the window, and of an encoder beside window, tables and text, in bytes.
const BESIDE: u64 = 1 << 20;
const ENCODER_BESIDE: u64 = 6 << 20;

/// Window, and tables of chains and hashes, of each level from 1 on for large texts, as powers of two (libzstd's
/// `clevels.h`).
const TABLES: [[u8; 3]; 22] = [
    [19, 13, 14],
    [20, 15, 16],
    [21, 16, 17],
    [21, 18, 18],
    [21, 18, 19],
    [21, 18, 19],
    [21, 19, 20],
    [21, 19, 20],
    [22, 20, 21],
    [22, 21, 22],
    [22, 21, 22],
    [22, 22, 23],
    [22, 22, 22],
    [22, 22, 23],
    [22, 23, 23],
    [22, 22, 22],
    [23, 23, 22],
    [23, 23, 22],
    [23, 24, 22],
    [25, 25, 23],
    [26, 26, 24],
    [27, 27, 25],
];

/// How the encoder is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    /// Piece by piece.
    #[default]
    Stream,
    /// All at once.
    Whole,
    /// By a worker.
    Worker,
}

/// What an encoder must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// 1 to 22.
    pub level: u8,
    /// How it is fed.
    pub feed: Feed,
    /// A check of the text stands behind the blocks.
    pub checked: bool,
    /// Size of the text.
    pub size: u64,
    /// It is told to the encoder before, and stands in the header.
    pub told: bool,
    /// The window as a power of two, if it is not the level's own.
    pub window: Option<u8>,
    /// Long repeats are looked for.
    pub long: bool,
}

const CHECKED: u8 = 4;
const LONG: u8 = 8;
const TOLD: u8 = 16;

impl Effort {
    /// Appends it to a plan.
    pub fn write(&self, out: &mut Vec<u8>) {
        let said = [(self.checked, CHECKED), (self.long, LONG), (self.told, TOLD)];
        let flags: u8 = said.into_iter().map(|(said, bit)| u8::from(said) * bit).sum();
        out.extend([self.level, self.feed as u8 + flags, self.window.unwrap_or(0)]);
        put_varint(out, self.size);
    }

    /// Reads one.
    pub fn read(cursor: &mut Cursor) -> Result<Effort> {
        let [level, flags, window] = cursor.array()?;
        let effort = Effort {
            level,
            feed: match flags & 3 {
                0 => Feed::Stream,
                1 => Feed::Whole,
                2 => Feed::Worker,
                _ => return Err(UNKNOWN),
            },
            checked: flags & CHECKED != 0,
            size: cursor.varint()?,
            told: flags & TOLD != 0,
            window: (window != 0).then_some(window),
            long: flags & LONG != 0,
        };
        let whole = effort.feed != Feed::Whole || effort.told && effort.size <= WHOLE;
        let known = (1..=TABLES.len() as u8).contains(&level)
            && flags & !(3 | CHECKED | LONG | TOLD) == 0
            && effort.window.is_none_or(|log| WINDOWS.contains(&log));
        (known && whole && effort.is_modest())
            .then_some(effort)
            .ok_or(UNKNOWN)
    }

    /// Whether it is asked for as another one was, but for what each frame says of itself.
    pub fn is_like(&self, other: &Effort) -> bool {
        (self.level, self.feed, self.long) == (other.level, other.feed, other.long)
    }

    /// Whether the first block is as of another one that writes it by itself: how the encoder is fed matters behind
    /// it, but where long repeats are looked for.
    pub fn begins_like(&self, other: &Effort) -> bool {
        let feed = other.feed;
        feed != Feed::Whole && !other.long && Effort { feed, ..*self } == *other
    }

    /// The window of its frames, as a power of two, at most.
    fn window(&self) -> u8 {
        let own = match self.long {
            true => LONG_WINDOW,
            false => TABLES[usize::from(self.level) - 1][0],
        };
        let log = self.window.unwrap_or(own);
        if self.told { log.min(fits(self.size)) } else { log }
    }

    /// Entries of the tables of chains and of hashes, as powers of two, at most.
    fn tables(&self) -> [u8; 2] {
        let log = self.window();
        let [_, own @ ..] = TABLES[usize::from(self.level) - 1];
        // Short texts have tables of their own, and where the size is told the window bounds them; else nothing does.
        own.map(|table| match self.told {
            true if log <= 18 => log + 1,
            true => table.min(log + 1),
            false => table,
        })
    }

    /// Bytes of the table of long repeats, at most: eight for every sixteen of the window where a level tries hardest,
    /// and for each bucket of sixteen of its entries one more.
    fn repeats(&self) -> u64 {
        let log = self.window();
        // With the largest window they are looked for unasked from some level on.
        if !self.long && (log < LONG_WINDOW || self.level < 16) {
            return 0;
        }
        let every = match self.level {
            _ if log <= 18 => 4,
            0..=4 => 7,
            5..=12 => 6,
            13..=18 => 5,
            _ => 4,
        };
        let entries = 1 << (log - every);
        entries * 8 + entries / 16
    }

    /// Bytes of memory of an encoder.
    pub fn memory(&self) -> u64 {
        let log = self.window();
        let [chains, hashes] = self.tables().map(|table| 4u64 << table);
        let tables = chains + hashes + (hashes >> 2) + self.repeats();
        let text = match self.feed {
            // Text that comes piece by piece is held in a window.
            Feed::Stream => 1 << log,
            Feed::Whole => self.size * 3,
            // Of four parts the text is held, of three what becomes of it, and what is found of long repeats.
            Feed::Worker => {
                let part = (4u64 << log).max(self.part());
                self.size.min(4 * part) + 4 * self.size.min(part)
            }
        };
        tables + text + ENCODER_BESIDE
    }

    /// Bytes of text of which a worker makes a part by itself, at most.
    fn part(&self) -> u64 {
        let [chains, _] = self.tables();
        match self.long {
            true => (1 << (chains + 3)).max(2 << 20),
            false => (4 << self.window()).max(1 << 20),
        }
    }

    /// Bytes that a worker sets aside for text, at most, of which it uses what the text has.
    fn aside(&self) -> u64 {
        let window = if self.long { 1 << self.window() } else { 0 };
        self.part().max(window) + 3 * self.part()
    }

    /// Whether no more is set aside for it than hosts have, whatever the text has. A patch that asks for more is refused,
    /// as memory that nobody touches is counted nowhere.
    fn is_modest(&self) -> bool {
        self.feed != Feed::Worker || self.aside() <= ASIDE
    }

    /// The name of the encoder.
    pub fn encoder_name(&self) -> &'static str {
        match self.feed {
            Feed::Worker => THREADED,
            _ => ENCODER,
        }
    }

    /// Units of work for a byte that is packed.
    fn work(&self) -> u64 {
        match self.level {
            0..=4 => 2,
            5..=9 => 6,
            10..=15 => 16,
            _ => 32,
        }
    }

    /// Sixteenths of a unit for a byte of usual text.
    pub fn usual_work(&self) -> u64 {
        match self.level {
            0..=5 => 1,
            6..=9 => 4,
            10..=12 => 8,
            13..=15 => 34,
            16..=18 => 48,
            19 => 50,
            _ => 70,
        }
    }
}

/// The least window, as a power of two, that reaches over a text of that size.
fn fits(size: u64) -> u8 {
    (u64::BITS - size.saturating_sub(1).leading_zeros()).max(10) as u8
}

/// Bytes of memory of a decoder of that window.
pub fn decoder_memory(window: u8) -> u64 {
    (1 << window) + BESIDE
}

/// Reads a window of a plan.
pub fn read_window(cursor: &mut Cursor) -> Result<u8> {
    Some(cursor.byte()?)
        .filter(|log| WINDOWS.contains(log))
        .ok_or(UNKNOWN)
}

/// What the header of a frame says: the window as a power of two, and how it may have been made, likely ways first.
pub fn frame(bytes: &[u8]) -> Option<(u8, Vec<Effort>)> {
    let mut cursor = Cursor::new(bytes.strip_prefix(&MAGIC)?);
    let flags = cursor.byte().ok()?;
    let single = flags & 32 != 0;
    // No dictionary, and nothing that is not known.
    if flags & (3 | 8) != 0 {
        return None;
    }
    let told = match single {
        true => None,
        // An encoder writes powers of two.
        false => Some(cursor.byte().ok()?)
            .filter(|d| d & 7 == 0)
            .map(|d| 10 + (d >> 3)),
    };
    let size = match (flags >> 6, single) {
        (0, false) => None,
        (0, true) => Some(u64::from(cursor.byte().ok()?)),
        (1, _) => Some(u64::from(u16::from_le_bytes(cursor.array().ok()?)) + 256),
        (2, _) => Some(u64::from(u32::from_le_bytes(cursor.array().ok()?))),
        _ => Some(u64::from_le_bytes(cursor.array().ok()?)),
    };
    let window = match (told, size) {
        (Some(log), _) => log,
        (None, Some(size)) if single => fits(size),
        _ => return None,
    };
    WINDOWS.contains(&window).then(|| {
        let base = Effort {
            checked: flags & 4 != 0,
            size: size.unwrap_or(0),
            told: size.is_some(),
            ..Effort::default()
        };
        (window, efforts(base, told))
    })
}

/// Levels, the likely ones first.
const LEVELS: [u8; 22] = [
    3, 19, 1, 6, 9, 15, 12, 7, 5, 10, 18, 22, 2, 4, 8, 11, 13, 14, 16, 17, 20, 21,
];

fn efforts(base: Effort, told: Option<u8>) -> Vec<Effort> {
    let mut feeds = vec![Feed::Stream];
    feeds.extend((base.told && base.size <= WHOLE).then_some(Feed::Whole));
    // The last, as not everybody may start threads.
    feeds.extend((!base.told || base.size > PART).then_some(Feed::Worker));
    let own = |level: u8| told.is_none_or(|told| TABLES[usize::from(level) - 1][0] == told);
    let mut levels: Vec<Effort> = LEVELS
        .into_iter()
        .filter(|level| own(*level))
        .map(|level| Effort { level, ..base })
        .collect();
    // A window that was asked for, most often with a search for long repeats: none of the usual levels has it.
    // Where the text is one segment, the frame does not say it, and it matters with that search alone.
    let asked = match told {
        Some(told) => (told >= 24 || levels.is_empty()).then_some(told),
        None => (base.size > PART).then_some(LONG_WINDOW),
    };
    for long in [true, false] {
        let others = LEVELS.into_iter().filter(|&level| match told {
            Some(_) => asked.is_some() && !own(level),
            None => asked.is_some() && long,
        });
        levels.extend(others.map(|level| Effort {
            level,
            window: asked,
            long,
            ..base
        }));
    }
    let all = levels.into_iter().flat_map(|effort| {
        let feeds = feeds.clone();
        feeds.into_iter().map(move |feed| Effort { feed, ..effort })
    });
    all.filter(Effort::is_modest).collect()
}

/// Decodes one frame.
pub struct Decoder {
    context: DCtx<'static>,
}

impl Decoder {
    /// Of that window.
    pub fn new(window: u8) -> Result<Decoder> {
        let mut context = DCtx::try_create().ok_or(NO_MEMORY)?;
        let most = DParameter::WindowLogMax(window.into());
        context.set_parameter(most).map_err(|_| UNKNOWN)?;
        Ok(Decoder { context })
    }
}

/// What is said where the library finds no memory.
const NO_MEMORY: Error = Error::damaged("there is no memory for a coder");

impl Decode for Decoder {
    fn step(&mut self, packed: &[u8], out: &mut Vec<u8>) -> Result<(usize, bool)> {
        out.reserve(PIECE);
        let mut input = InBuffer::around(packed);
        let mut output = OutBuffer::around(out);
        let left = self.context.decompress_stream(&mut output, &mut input);
        Ok((input.pos(), left.map_err(|_| NONE)? == 0))
    }
}

/// Encodes one frame.
pub struct Encoder {
    context: CCtx<'static>,
    effort: Effort,
    /// Text that was not given to the library yet.
    text: Vec<u8>,
    /// Bytes of text that may still come.
    left: u64,
}

impl Encoder {
    /// With that effort.
    pub fn new(effort: Effort) -> Result<Encoder> {
        let mut context = CCtx::try_create().ok_or(NO_MEMORY)?;
        let mut set = |parameter| context.set_parameter(parameter).map(drop).map_err(|_| UNKNOWN);
        set(CParameter::CompressionLevel(effort.level.into()))?;
        set(CParameter::ChecksumFlag(effort.checked))?;
        if let Some(log) = effort.window {
            set(CParameter::WindowLog(log.into()))?;
        }
        if effort.long {
            set(CParameter::EnableLongDistanceMatching(true))?;
        }
        if effort.feed == Feed::Worker {
            set(CParameter::NbWorkers(1))?;
        }
        let told = effort.told.then_some(effort.size);
        context.set_pledged_src_size(told).map_err(|_| UNKNOWN)?;
        Ok(Encoder {
            context,
            effort,
            text: Vec::new(),
            left: effort.size,
        })
    }

    /// Gives text to the library until that has taken all of it, and with `End` all that becomes of it is there.
    fn run(&mut self, text: &[u8], packed: &mut Vec<u8>, end: End) -> Result<()> {
        let mut input = InBuffer::around(text);
        loop {
            let mut piece = Vec::with_capacity(zstd_safe::compress_bound(BLOCK));
            let mut output = OutBuffer::around(&mut piece);
            let left = self.context.compress_stream2(&mut output, &mut input, end);
            let left = left.map_err(|_| NONE)?;
            packed.extend_from_slice(&piece);
            let ended = end == End::ZSTD_e_continue || left == 0;
            if input.pos() == text.len() && ended {
                return Ok(());
            }
        }
    }
}

impl Encode for Encoder {
    fn push(&mut self, text: &[u8], packed: &mut Vec<u8>) -> Result<u64> {
        let work = text.len() as u64 * self.effort.work();
        self.left = self.left.checked_sub(text.len() as u64).ok_or(NONE)?;
        match (self.effort.feed, self.effort.told) {
            (Feed::Whole, _) => {
                if self.text.is_empty() {
                    self.text.reserve_exact(self.effort.size as usize);
                }
                self.text.extend_from_slice(text);
            }
            // Whoever knows the size knows the last piece when it comes.
            (_, true) => {
                for piece in text.chunks(BLOCK) {
                    self.text.extend_from_slice(piece);
                    if self.text.len() > BLOCK {
                        let rest = self.text.split_off(BLOCK);
                        let full = std::mem::replace(&mut self.text, rest);
                        self.run(&full, packed, End::ZSTD_e_continue)?;
                    }
                }
            }
            (_, false) => self.run(text, packed, End::ZSTD_e_continue)?,
        }
        Ok(work)
    }

    fn finish(&mut self, packed: &mut Vec<u8>) -> Result<u64> {
        let text = std::mem::take(&mut self.text);
        if self.effort.feed != Feed::Whole {
            self.run(&text, packed, End::ZSTD_e_end)?;
            return Ok(0);
        }
        let mut all = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
        self.context.compress2(&mut all, &text).map_err(|_| NONE)?;
        packed.extend_from_slice(&all);
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_worker_sets_aside_what_a_small_host_has_not() {
        // A frame that names the largest window, and no size.
        let (window, efforts) = frame(&[&MAGIC[..], &[0, 17 << 3]].concat()).unwrap();
        let workers = || efforts.iter().filter(|effort| effort.feed == Feed::Worker);
        assert!(window == 27 && workers().all(|effort| effort.aside() <= ASIDE));
        // That of `zstd --long` is among them.
        assert!(workers().any(|effort| effort.long && effort.level == 3));
    }

    #[test]
    fn a_plan_is_read_as_written_but_for_a_worker_that_sets_too_much_aside() {
        let feeds = [Feed::Stream, Feed::Whole, Feed::Worker];
        let mut refused = 0;
        for level in 1..=TABLES.len() as u8 {
            for (feed, window) in feeds
                .into_iter()
                .flat_map(|f| [None, Some(10), Some(27)].map(|w| (f, w)))
            {
                for (long, told, size) in [(false, false, 9), (true, false, 9), (false, true, 60 << 20)] {
                    let effort = Effort {
                        level,
                        feed,
                        checked: true,
                        size,
                        told,
                        window,
                        long,
                    };
                    let mut plan = Vec::new();
                    effort.write(&mut plan);
                    let read = Effort::read(&mut Cursor::new(&plan));
                    let wanted = feed != Feed::Whole || told;
                    let modest = feed != Feed::Worker || effort.aside() <= ASIDE;
                    match read {
                        Ok(read) => assert!(read == effort && wanted && modest),
                        Err(_) => assert!(!wanted || !modest, "{effort:?}"),
                    }
                    refused += u32::from(!modest);
                }
            }
        }
        assert!(refused > 20, "{refused}");
    }
}
