//! Finds what is packed in a file, and how it can be closed again exactly. The encoder's alone.

use super::codec::{Codec, Decoder, Trailer};
use super::deflate::{Deflate, Style};
use super::gzip;
use super::plan::{DEPTH, Op, Plan, Side};
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
pub struct Found {
    /// How it is opened (old side) or closed (new side).
    pub plan: Plan,
    /// Its inside.
    pub inside: Vec<u8>,
}

/// Opens both files; `None` where nothing in one is packed, or nothing that can be closed again. `stop` is asked between
/// pieces.
///
/// A stream that both files hold stays closed in both, as does one of the old file that the new file holds and that
/// nothing closes there: it is what it was.
pub fn look(old: &[u8], new: &[u8], stop: &dyn Fn() -> bool) -> [Option<Found>; 2] {
    let none = BTreeSet::new();
    let mut before = Search::new(old, Side::Old, &none, stop);
    before.level(old, 0);
    let met = std::mem::take(&mut before.met);
    let mut after = Search::new(new, Side::New, &met, stop);
    after.level(new, 0);
    if met.intersection(&after.closed).next().is_none() {
        return [before.finish(), after.finish()];
    }
    let mut again = Search::new(old, Side::Old, &after.closed, stop);
    again.level(old, 0);
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

/// A place where a packed stream begins, if it does.
struct Spot {
    /// Where its header begins, and the stream behind that.
    header: usize,
    at: usize,
    trailer: Trailer,
    /// Styles to try first.
    likely: Vec<Style>,
}

/// The next place in this level's bytes where something packed may begin, from `at` on.
fn spot(bytes: &[u8], mut at: usize) -> Option<Spot> {
    let (header, level) = loop {
        at += bytes.get(at..)?.iter().position(|&b| b == gzip::MAGIC[0])?;
        match gzip::header(&bytes[at..]) {
            Some(found) => break found,
            None => at += 1,
        }
    };
    let level = match level {
        2 => 9,
        4 => 1,
        _ => 6,
    };
    let style = |gnu| Style {
        gnu,
        level,
        large: false,
    };
    Some(Spot {
        header: at,
        at: at + header,
        trailer: Trailer::Gzip,
        likely: vec![style(true), style(false)],
    })
}

/// Names a packed stream among few: its length and a checksum.
type Stream = (usize, u32);

struct Search<'s> {
    side: Side,
    /// Streams that stay closed.
    keep: &'s BTreeSet<Stream>,
    stop: &'s dyn Fn() -> bool,
    found: Found,
    /// Streams that there are, and those of them that stayed closed.
    met: BTreeSet<Stream>,
    closed: BTreeSet<Stream>,
    /// Bytes that may still be unpacked, and unpacked or packed in vain.
    room: usize,
    tries: usize,
    /// There was enough trying.
    ended: bool,
    /// Styles that were right before in this file, the last one first.
    styles: Vec<Style>,
}

impl<'s> Search<'s> {
    fn new(file: &[u8], side: Side, keep: &'s BTreeSet<Stream>, stop: &'s dyn Fn() -> bool) -> Search<'s> {
        Search {
            side,
            keep,
            stop,
            found: Found {
                plan: Plan::default(),
                inside: Vec::new(),
            },
            met: BTreeSet::new(),
            closed: BTreeSet::new(),
            room: MOST.min(file.len().saturating_mul(GROWTH).saturating_add(ALWAYS)),
            tries: TRIES.saturating_add(file.len().saturating_mul(8)),
            ended: false,
            styles: Vec::new(),
        }
    }

    fn finish(mut self) -> Option<Found> {
        let ops = &mut self.found.plan.ops;
        if (self.stop)() || !ops.iter().any(|op| matches!(op, Op::Open(_))) {
            return None;
        }
        shorten(ops, self.side);
        Some(self.found)
    }

    /// Opens what is packed in the bytes of one level; what cannot be closed again stays as it is.
    fn level(&mut self, bytes: &[u8], depth: usize) {
        let (mut copied, mut at) = (0, 0);
        while depth < DEPTH
            && !self.ended
            && let Some(spot) = spot(bytes, at)
        {
            let Some((text, packed)) = self.unpack(&bytes[spot.at..], spot.trailer) else {
                at = spot.header + 1;
                continue;
            };
            at = spot.at + packed;
            let stream = &bytes[spot.at..at];
            let name = (stream.len(), crc32fast::hash(stream));
            self.met.insert(name);
            let codec = (!self.keep.contains(&name)).then(|| self.codec(&spot, &text, stream));
            let Some(codec) = codec.flatten() else {
                self.closed.insert(name);
                self.room += text.len();
                continue;
            };
            self.copy(&bytes[copied..spot.at]);
            self.found.plan.ops.push(Op::Open(codec));
            self.level(&text, depth + 1);
            self.found.plan.ops.push(Op::Close);
            copied = at;
        }
        self.copy(&bytes[copied..]);
    }

    fn copy(&mut self, bytes: &[u8]) {
        self.found.plan.copy(bytes.len() as u64);
        self.found.inside.extend_from_slice(bytes);
    }

    /// The text of a stream, and the length of that with what follows from it.
    fn unpack(&mut self, bytes: &[u8], trailer: Trailer) -> Option<(Vec<u8>, usize)> {
        let mut decoder = Decoder::new(&Codec::deflate(trailer, Style::default()));
        let (mut text, mut at, mut piece) = (Vec::new(), 0, Vec::new());
        loop {
            piece.clear();
            let Ok((taken, ended)) = decoder.step(&bytes[at..], &mut piece) else {
                break;
            };
            at += taken;
            text.extend_from_slice(&piece);
            if text.len() > self.room {
                break;
            }
            if ended {
                let whole = trailer.checked(&text, &bytes[..at]).is_some();
                return whole.then(|| {
                    self.room -= text.len();
                    (text, at)
                });
            }
            if (self.stop)() || taken == 0 && piece.is_empty() {
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
        self.ended |= left.is_none() || (self.stop)();
    }

    /// The codec that makes this stream of the text.
    fn codec(&mut self, spot: &Spot, text: &[u8], stream: &[u8]) -> Option<Codec> {
        if self.side == Side::Old {
            return Some(Codec::deflate(spot.trailer, Style::default()));
        }
        let body = spot.trailer.checked(text, stream)?;
        let known: Vec<Style> = self.styles.iter().chain(&spot.likely).copied().collect();
        let mut tried = Vec::new();
        for style in known.into_iter().chain(Style::all()) {
            if tried.contains(&style) {
                continue;
            }
            tried.push(style);
            if self.closes(style, text, body) {
                self.styles.retain(|&s| s != style);
                self.styles.insert(0, style);
                return Some(Codec::deflate(spot.trailer, style));
            }
            if self.ended {
                break;
            }
        }
        None
    }

    /// Whether a style makes this stream of the text.
    fn closes(&mut self, style: Style, text: &[u8], stream: &[u8]) -> bool {
        let mut deflate = Deflate::new(style);
        let (mut packed, mut done) = (Vec::new(), 0);
        let mut differs = |deflate: &mut Deflate| {
            packed.clear();
            deflate.take(&mut packed);
            let same = stream.get(done..done + packed.len()) == Some(&packed[..]);
            done += packed.len();
            !same
        };
        for (number, piece) in text.chunks(PIECE).enumerate() {
            deflate.push(piece);
            if differs(&mut deflate) || (self.stop)() {
                self.in_vain((number + 1) * PIECE);
                return false;
            }
        }
        deflate.finish();
        let right = !differs(&mut deflate) && done == stream.len();
        if !right {
            self.in_vain(text.len());
        }
        right
    }
}
