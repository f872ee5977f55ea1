//! Finds what is packed in a file, and how it can be closed again exactly. The encoder's alone.

use super::codec::{Codec, Decoder, Trailer};
use super::deflate::{Deflate, Style};
use super::gzip;
use super::plan::{DEPTH, Op, Plan, Side};

/// The most that an inside may have, and how often it may have the size of the file.
const MOST: usize = 1 << 30;
const GROWTH: usize = 300;

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

/// Opens a file for one side; `None` where nothing in it is packed, or nothing that can be closed again.
/// `stop` is asked between pieces.
pub fn look(file: &[u8], side: Side, stop: &dyn Fn() -> bool) -> Option<Found> {
    let mut search = Search {
        side,
        stop,
        found: Found {
            plan: Plan::default(),
            inside: Vec::new(),
        },
        room: MOST.min(file.len().saturating_mul(GROWTH)),
        tries: TRIES.saturating_add(file.len().saturating_mul(8)),
        styles: Vec::new(),
    };
    search.level(file, 0);
    let mut found = search.found;
    if stop() || !found.plan.ops.iter().any(|op| matches!(op, Op::Open(_))) {
        return None;
    }
    shorten(&mut found.plan.ops, side);
    Some(found)
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
    at: usize,
    trailer: Trailer,
    /// Styles to try first.
    likely: Vec<Style>,
}

/// The next place in this level's bytes where something packed may begin, from `at` on.
fn spot(bytes: &[u8], at: usize) -> Option<Spot> {
    let (header, level) = gzip::header(bytes.get(at..)?)?;
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
        at: at + header,
        trailer: Trailer::Gzip,
        likely: vec![style(true), style(false)],
    })
}

struct Search<'s> {
    side: Side,
    stop: &'s dyn Fn() -> bool,
    found: Found,
    /// Bytes that may still be unpacked, and packed in trying.
    room: usize,
    tries: usize,
    /// Styles that were right before in this file, the last one first.
    styles: Vec<Style>,
}

impl Search<'_> {
    /// Opens what is packed in the bytes of one level.
    fn level(&mut self, bytes: &[u8], depth: usize) {
        let mut at = 0;
        while depth < DEPTH
            && let Some(spot) = spot(bytes, at)
        {
            let Some((text, packed)) = self.unpack(&bytes[spot.at..], spot.trailer) else {
                break;
            };
            let stream = &bytes[spot.at..spot.at + packed];
            let Some(codec) = self.codec(&spot, &text, stream) else {
                break;
            };
            self.copy(&bytes[at..spot.at]);
            self.found.plan.ops.push(Op::Open(codec));
            self.level(&text, depth + 1);
            self.found.plan.ops.push(Op::Close);
            at = spot.at + packed;
        }
        self.copy(&bytes[at..]);
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
            let (taken, ended) = decoder.step(&bytes[at..], &mut piece).ok()?;
            at += taken;
            text.extend_from_slice(&piece);
            self.room = self.room.checked_sub(piece.len())?;
            if ended {
                return Some((text, at));
            }
            if (self.stop)() || taken == 0 && piece.is_empty() {
                return None;
            }
        }
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
            if self.closes(style, text, body)? {
                self.styles.retain(|&s| s != style);
                self.styles.insert(0, style);
                return Some(Codec::deflate(spot.trailer, style));
            }
        }
        None
    }

    /// Whether a style makes this stream of the text; `None` where there was enough trying.
    fn closes(&mut self, style: Style, text: &[u8], stream: &[u8]) -> Option<bool> {
        let mut deflate = Deflate::new(style);
        let (mut packed, mut done) = (Vec::new(), 0);
        let mut differs = |deflate: &mut Deflate| {
            packed.clear();
            deflate.take(&mut packed);
            let same = stream.get(done..done + packed.len()) == Some(&packed[..]);
            done += packed.len();
            !same
        };
        for piece in text.chunks(PIECE) {
            self.tries = self.tries.checked_sub(piece.len())?;
            deflate.push(piece);
            if (self.stop)() {
                return None;
            }
            if differs(&mut deflate) {
                return Some(false);
            }
        }
        deflate.finish();
        let right = !differs(&mut deflate) && done == stream.len();
        if right {
            // What was not in vain does not count.
            self.tries += text.len();
        }
        Some(right)
    }
}
