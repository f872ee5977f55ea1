//! Finds what is packed in a file, and how it can be closed again exactly. The encoder's alone.

use super::codec::Codec;
use super::deflate::Style;
use super::leaf::{self, Leaf, Names};
use super::plan::{DEPTH, Op, Plan, Side};
use super::spots::{Next, Spot, images, sections, spot};
use std::cell::Cell;
use std::collections::BTreeSet;

/// The most that an inside may have: at all, beside so many times the size of the file, and these. A farm compares many
/// files at once, and what is packed better than that is no text.
const MOST: usize = 1 << 30;
const ALWAYS: usize = 16 << 20;
const GROWTH: usize = 16;

/// Text that is packed in vain for a file before no further guess is made, beside so many times its size.
const TRIES: usize = 64 << 20;

const PIECE: usize = 64 << 10;

/// A file, opened.
#[derive(Default)]
pub struct Found {
    /// How it is opened (old side) or closed (new side).
    pub plan: Plan,
    /// Its inside.
    pub inside: Vec<u8>,
    /// The ELF files in it.
    pub leaves: Vec<Leaf>,
}

/// What opening both files may take.
pub struct Bounds<'s> {
    /// Bytes of memory for what is held at once beside both files and their copies: a codec, insides, texts on their way.
    pub memory: u64,
    /// Bytes of memory for a codec that are wanted, and are not there where that is more.
    pub wanted: u64,
    /// Bytes of a file that may be unpacked.
    pub inside: usize,
    /// Something was left packed for lack of memory.
    pub lacked: Cell<bool>,
    /// Asked between pieces; `true` ends it.
    pub stop: &'s dyn Fn() -> bool,
}

impl<'s> Bounds<'s> {
    /// As much as there is to find, by codecs that take no more than `codec` bytes.
    pub fn of(codec: u64, stop: &'s dyn Fn() -> bool) -> Bounds<'s> {
        Bounds {
            memory: u64::MAX,
            wanted: codec,
            inside: usize::MAX,
            lacked: Cell::new(false),
            stop,
        }
    }

    /// Whether a codec may take so much memory beside what is held, if it takes `later` bytes when it is asked again.
    fn allow(&self, (memory, later): (u64, u64), held: u64) -> bool {
        let allowed = memory.saturating_add(held) <= self.memory;
        if !allowed && later <= self.wanted {
            self.lacked.set(true);
        }
        allowed && later <= self.wanted
    }
}

/// Opens both files; `None` where nothing in one is packed, or nothing that can be closed again within the bounds.
///
/// A stream that both files hold stays closed in both, as does one of the old file that the new file holds and that
/// nothing closes there: it is what it was.
pub fn look(old: &[u8], new: &[u8], bounds: &Bounds) -> [Option<Found>; 2] {
    let none = BTreeSet::new();
    let mut before = Search::new((old, Side::Old), &none, 0, bounds);
    before.level(old, b"", 0);
    let met = std::mem::take(&mut before.met);
    let mut after = Search::new((new, Side::New), &met, before.unpacked(), bounds);
    after.level(new, b"", 0);
    if met.intersection(&after.closed).next().is_none() {
        return [before.finish(), after.finish()];
    }
    let beside = before.unpacked().saturating_add(after.unpacked());
    let mut again = Search::new((old, Side::Old), &after.closed, beside, bounds);
    again.level(old, b"", 0);
    [again.finish(), after.finish()]
}

/// Leaves lengths out that follow: of a copy before the end of its level, and on the new side of the last one only.
fn shorten(ops: &mut [Op], side: Side) {
    for i in 0..ops.len() {
        let ends = match side {
            Side::Old => ops.get(i + 1).is_none_or(|next| *next == Op::Close),
            Side::New => ops[i + 1..].iter().all(|next| *next == Op::Close),
        };
        if ends && matches!(ops[i], Op::Copy(_)) {
            ops[i] = Op::Copy(None);
        }
    }
}

/// Names a packed stream among few: its length and a checksum.
type Stream = (usize, u32);

struct Search<'s> {
    side: Side,
    /// Streams that stay closed.
    keep: &'s BTreeSet<Stream>,
    bounds: &'s Bounds<'s>,
    /// Bytes that other searches hold.
    beside: u64,
    found: Found,
    /// Streams that there are, and those of them that stayed closed.
    met: BTreeSet<Stream>,
    closed: BTreeSet<Stream>,
    /// Bytes that may be unpacked, those that still may, and those that may be unpacked or packed in vain.
    most: usize,
    room: usize,
    /// That is less than it would be with more memory.
    short: bool,
    tries: usize,
    /// There was enough trying.
    ended: bool,
    /// Styles that were right before in this file, the last one first.
    styles: Vec<Style>,
    /// The codec that was right last.
    last: Option<Codec>,
}

impl<'s> Search<'s> {
    fn new(
        (file, side): (&[u8], Side),
        keep: &'s BTreeSet<Stream>,
        beside: u64,
        bounds: &'s Bounds<'s>,
    ) -> Search<'s> {
        let most = MOST.min(file.len().saturating_mul(GROWTH).saturating_add(ALWAYS));
        Search {
            side,
            keep,
            bounds,
            beside,
            found: Found::default(),
            met: BTreeSet::new(),
            closed: BTreeSet::new(),
            most: most.min(bounds.inside),
            room: most.min(bounds.inside),
            short: bounds.inside < most,
            tries: TRIES.saturating_add(file.len().saturating_mul(8)),
            ended: false,
            styles: Vec::new(),
            last: None,
        }
    }

    /// Bytes that were unpacked and not found to be in vain.
    fn unpacked(&self) -> u64 {
        (self.most - self.room) as u64
    }

    /// What is held: text in an inside and on its way, with what an allocator keeps of how it grew.
    fn held(&self) -> u64 {
        self.beside.saturating_add(self.unpacked().saturating_mul(3))
    }

    fn finish(mut self) -> Option<Found> {
        let Found { plan, leaves, .. } = &mut self.found;
        let ops = &mut plan.ops;
        // Programs one behind the other are no program.
        let several = leaves.len() > 1 || ops.iter().any(|op| matches!(op, Op::Open(_)));
        if (self.bounds.stop)() || !several {
            return None;
        }
        shorten(ops, self.side);
        Some(self.found)
    }

    /// Opens what is packed in the bytes of one level; what cannot be closed again stays as it is.
    fn level(&mut self, bytes: &[u8], name: &[u8], depth: usize) {
        let mut names = Names::new(bytes, name);
        let images = images(bytes);
        let (mut copied, mut at, mut next) = (0, 0, None::<Next>);
        while depth < DEPTH && !self.ended {
            let following = next.take().and_then(|next| next.spot(bytes, at));
            let Some(spot) = following.or_else(|| spot(bytes, at, &images)) else {
                break;
            };
            // What is inside a program is the program's, and would move what its headers tell of.
            let part = &bytes[..spot.header];
            if let Some(end) = self.leaves(part, (at, &mut copied), (bytes, &mut names), depth) {
                at = end;
                continue;
            }
            (at, next) = match self.stream(bytes, &spot, &mut copied, depth) {
                Some(end) => (end, spot.next),
                None => (spot.header + 1, None),
            };
        }
        self.leaves(bytes, (at, &mut copied), (bytes, &mut names), depth);
        self.copy(&bytes[copied..]);
    }

    /// Where the stream ends that begins at a spot, if one does; opened, if it can be closed again.
    fn stream(&mut self, bytes: &[u8], spot: &Spot, copied: &mut usize, depth: usize) -> Option<usize> {
        let (text, packed) = self.unpack(&bytes[spot.at..], &spot.codec)?;
        let end = spot.at + packed;
        match self.choose(spot, &text, &bytes[spot.at..end]) {
            Some(codec) => {
                self.copy(&bytes[*copied..spot.at]);
                self.found.plan.ops.push(Op::Open(codec));
                self.level(&text, &spot.name, depth + 1);
                self.found.plan.ops.push(Op::Close);
                *copied = end;
            }
            None => self.room += text.len(),
        }
        Some(end)
    }

    /// Opens what is packed in the sections of the ELF file that begins here; whether there was any.
    ///
    /// What its headers say is wrong then, so it can be coded as a program no more.
    fn sections(&mut self, bytes: &[u8], at: usize, copied: &mut usize, depth: usize) -> bool {
        let before = *copied;
        for spot in sections(&bytes[at..]) {
            let (header, from) = (at + spot.header, at + spot.at);
            let spot = Spot {
                header,
                at: from,
                ..spot
            };
            if header >= *copied && !self.ended {
                self.stream(bytes, &spot, copied, depth);
            }
        }
        *copied > before
    }

    /// Notes the ELF files that begin in `part`, from `at` on; where one reaches beyond it, its end. What was not
    /// `copied` yet will follow the inside as it is.
    fn leaves(
        &mut self,
        part: &[u8],
        (mut at, copied): (usize, &mut usize),
        (bytes, names): (&[u8], &mut Names),
        depth: usize,
    ) -> Option<usize> {
        while let Some(ahead) = part.get(at..).and_then(|rest| leaf::find(rest, &leaf::MAGIC)) {
            at += ahead;
            let Some(len) = leaf::elf_len(&bytes[at..]) else {
                at += 1;
                continue;
            };
            let file = &bytes[at..at + len];
            // A loose file is held against what its models make of it; one without code they tell no better.
            let opens = depth < DEPTH && (depth == 0 && len == bytes.len() || !leaf::has_code(file));
            if !opens || !self.sections(&bytes[..at + len], at, copied, depth) {
                let from = self.found.inside.len() + at - *copied;
                self.found.leaves.push(Leaf {
                    range: from..from + len,
                    name: names.at(at),
                });
            }
            at += len;
            if at > part.len() {
                return Some(at);
            }
        }
        None
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.found.plan.copy(bytes.len() as u64);
        self.found.inside.extend_from_slice(bytes);
    }

    /// The text of a stream, and the length of that with what follows from it.
    fn unpack(&mut self, bytes: &[u8], codec: &Codec) -> Option<(Vec<u8>, usize)> {
        let (memory, held) = (codec.decoder_memory(), self.held());
        if !self.bounds.allow((memory, memory), held) {
            return None;
        }
        let left = (self.bounds.memory - memory - held) / 3;
        let room = self.room.min(usize::try_from(left).unwrap_or(usize::MAX));
        let short = self.short || room < self.room;
        let mut decoder = codec.decoder().ok()?;
        let (mut text, mut at, mut piece) = (Vec::new(), 0, Vec::new());
        loop {
            piece.clear();
            let Ok((taken, ended)) = decoder.step(&bytes[at..], &mut piece) else {
                break;
            };
            at += taken;
            text.extend_from_slice(&piece);
            if text.len() > room {
                self.bounds.lacked.set(self.bounds.lacked.get() || short);
                break;
            }
            if ended {
                return codec.ends_with(&text, &bytes[..at]).then(|| {
                    self.room -= text.len();
                    (text, at)
                });
            }
            if (self.bounds.stop)() || taken == 0 && piece.is_empty() {
                break;
            }
        }
        self.in_vain(text.len());
        None
    }

    /// Counts work that came to nothing; enough of that ends the search.
    fn in_vain(&mut self, bytes: usize) {
        let left = self.tries.checked_sub(bytes.saturating_add(PIECE / 16));
        self.tries = left.unwrap_or(0);
        self.ended |= left.is_none() || (self.bounds.stop)();
    }

    /// The codec that makes this stream of the text; `None` where it stays closed.
    fn choose(&mut self, spot: &Spot, text: &[u8], stream: &[u8]) -> Option<Codec> {
        let name = (stream.len(), crc32fast::hash(stream));
        self.met.insert(name);
        let codec = match self.side {
            _ if self.keep.contains(&name) => None,
            Side::Old => Some(spot.codec.clone()),
            Side::New => self.encoder(spot, text, stream),
        };
        if codec.is_none() {
            self.closed.insert(name);
        }
        codec
    }

    fn encoder(&mut self, spot: &Spot, text: &[u8], stream: &[u8]) -> Option<Codec> {
        let mut all = Vec::new();
        if let Codec::Deflate { trailer, .. } = spot.codec {
            all.extend(self.styles.iter().map(|&style| Codec::deflate(trailer, style)));
            all.extend(spot.likely.iter().cloned());
            all.extend(Style::all().map(|style| Codec::deflate(trailer, style)));
        } else {
            let likely = spot.likely.iter().cloned();
            all.extend(likely.map(|codec| codec.of_text(text.len() as u64)));
        }
        // As the last one was, most likely.
        all.sort_by_key(|codec| !self.last.as_ref().is_some_and(|last| codec.is_like(last)));
        let mut wrong: Vec<&Codec> = Vec::new();
        for number in 0..all.len() {
            let (tried, codec) = (&all[..number], &all[number]);
            let begins_wrong = wrong.iter().any(|wrong| codec.begins_like(wrong));
            let memory = (codec.encoder_memory(), codec.clone().frugal().encoder_memory());
            if begins_wrong || tried.contains(codec) || !self.bounds.allow(memory, self.held()) {
                continue;
            }
            match self.closes(codec, text, stream) {
                Ok(()) => {
                    if let Codec::Deflate { style, .. } = *codec {
                        self.styles.retain(|&s| s != style);
                        self.styles.insert(0, style);
                    }
                    self.last = Some(codec.clone());
                    return Some(codec.clone().frugal());
                }
                Err(0) => wrong.push(codec),
                Err(_) => {}
            }
            if self.ended {
                break;
            }
        }
        None
    }

    /// Whether a codec makes this stream of the text; else how much of it, in the pieces that it writes.
    fn closes(&mut self, codec: &Codec, text: &[u8], stream: &[u8]) -> Result<(), usize> {
        let mut encoder = codec.encoder().map_err(|_| 0usize)?;
        let (mut packed, mut done, mut tried) = (Vec::new(), 0, 0);
        let mut same = |packed: &mut Vec<u8>| {
            let same = stream[done..].starts_with(packed);
            done += if same { packed.len() } else { 0 };
            packed.clear();
            same
        };
        let mut right = text.chunks(PIECE).all(|piece| {
            tried += PIECE;
            !(self.bounds.stop)() && encoder.push(piece, &mut packed).is_ok() && same(&mut packed)
        });
        right = right && encoder.finish(&mut packed).is_ok() && same(&mut packed) && done == stream.len();
        if right {
            return Ok(());
        }
        self.in_vain(tried);
        Err(done)
    }
}
