//! The streams of an image, by name.

use super::Symbols;
use crate::{Error, Part};

/// What a stream holds. The number is its identifier in the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stream {
    /// Headers and section map.
    Skeleton = 1,
    /// Units of code.
    Layout = 2,
    /// Edits of the code.
    Edits = 3,
    /// Instructions that nothing explains.
    Literals = 4,
    /// Covers of everything else.
    Covers = 5,
    /// Targets of references in code.
    Targets = 6,
    /// Jump tables.
    Jumps = 7,
    /// Pointers in data, and relocations.
    Pointers = 8,
    /// Unwind tables.
    Unwind = 9,
    /// Exception tables.
    Exceptions = 10,
    /// Symbol tables.
    Symbols = 11,
    /// Go's tables.
    Go = 12,
    /// Bytes of everything else.
    Bytes = 13,
}

/// All of them, by identifier.
pub const STREAMS: [(Stream, &str); 13] = [
    (Stream::Skeleton, "skeleton"),
    (Stream::Layout, "layout"),
    (Stream::Edits, "edits"),
    (Stream::Literals, "literals"),
    (Stream::Covers, "covers"),
    (Stream::Targets, "targets"),
    (Stream::Jumps, "jumps"),
    (Stream::Pointers, "pointers"),
    (Stream::Unwind, "unwind"),
    (Stream::Exceptions, "exceptions"),
    (Stream::Symbols, "symbols"),
    (Stream::Go, "go"),
    (Stream::Bytes, "bytes"),
];

/// Those of which each segment has its own.
pub const SEGMENTED: [Stream; 2] = [Stream::Edits, Stream::Literals];

/// Most segments of a patch.
pub const MAX_SEGMENTS: usize = 16;

/// One coder for each stream, and what the bytes of the patch were spent on.
#[derive(Debug)]
pub struct Streams<S> {
    coders: [S; STREAMS.len()],
    /// Edits and literals of the segments behind the first.
    more: Vec<(S, S)>,
    /// Up to where each stream is accounted for.
    counted: [u64; STREAMS.len()],
    parts: Vec<Part>,
    /// Which coder was asked for last.
    last: usize,
}

impl<S> Streams<S> {
    /// Makes each coder from its identifier, for so many segments.
    pub fn new<E>(segments: usize, mut make: impl FnMut(u8) -> Result<S, E>) -> Result<Self, E> {
        let mut coders = Vec::with_capacity(STREAMS.len());
        for (stream, _) in STREAMS {
            coders.push(make(stream as u8)?);
        }
        let mut more = Vec::new();
        for _ in 1..segments {
            more.push((make(Stream::Edits as u8)?, make(Stream::Literals as u8)?));
        }
        let coders = <[S; STREAMS.len()]>::try_from(coders);
        Ok(Streams {
            coders: coders.unwrap_or_else(|_| unreachable!("one coder was made for each stream")),
            more,
            counted: [0; STREAMS.len()],
            parts: Vec::new(),
            last: 0,
        })
    }

    /// The coder of a stream.
    pub fn get(&mut self, stream: Stream) -> &mut S {
        self.last = stream as usize - 1;
        &mut self.coders[self.last]
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        1 + self.more.len()
    }

    /// The coders of edits and literals of a segment.
    pub fn segment(&mut self, segment: usize) -> (&mut S, &mut S) {
        match segment.checked_sub(1) {
            Some(behind) => {
                let (edits, literals) = &mut self.more[behind];
                (edits, literals)
            }
            None => self.two(SEGMENTED[0], SEGMENTED[1]),
        }
    }

    /// The coders of two different streams.
    pub fn two(&mut self, a: Stream, b: Stream) -> (&mut S, &mut S) {
        self.last = a as usize - 1;
        let pair = self.coders.get_disjoint_mut([a as usize - 1, b as usize - 1]);
        let [a, b] = pair.unwrap_or_else(|_| unreachable!("two names are two streams"));
        (a, b)
    }

    /// The coders with their identifiers, in the order of a patch.
    pub fn into_coders(self) -> impl Iterator<Item = (u8, S)> {
        let first = STREAMS.iter().map(|(stream, _)| *stream as u8).zip(self.coders);
        let [edits, literals] = SEGMENTED.map(|stream| stream as u8);
        let more = self
            .more
            .into_iter()
            .flat_map(move |(e, l)| [(edits, e), (literals, l)]);
        let mut all: Vec<_> = first.chain(more).collect();
        all.sort_by_key(|(id, _)| *id);
        all.into_iter()
    }

    /// What was accounted for, the most expensive first.
    pub fn take_parts(&mut self) -> Vec<Part> {
        let mut parts = std::mem::take(&mut self.parts);
        parts.retain(|p| p.bytes > 0);
        parts.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
        parts
    }
}

impl<S: Symbols> Streams<S> {
    /// Bytes of all streams so far, about.
    pub fn position(&self) -> u64 {
        self.coders.iter().map(S::position).sum()
    }

    /// Says of damage that it was found in the stream that was asked for last.
    pub fn locate(&self, error: Error) -> Error {
        error.within(STREAMS[self.last].1, self.coders[self.last].position())
    }

    /// Says that what was read of these streams since the last word about them went into a part of the new file.
    pub fn account(&mut self, streams: &[Stream], name: &str) {
        let mut bytes = 0;
        for &stream in streams {
            let at = stream as usize - 1;
            let position = self.coders[at].position();
            bytes += position.saturating_sub(self.counted[at]);
            self.counted[at] = position;
        }
        self.spent(bytes, name);
    }
}

impl<S> Streams<S> {
    /// Says that so many bytes went into a part of the new file.
    pub fn spent(&mut self, bytes: u64, name: &str) {
        match self.parts.iter_mut().find(|p| p.name == name) {
            Some(part) => part.bytes += bytes,
            None => self.parts.push(Part {
                name: name.into(),
                bytes,
            }),
        }
    }
}
