//! The chunks of LZMA2: what the parse tells, coded, or text as it is where that takes no more bytes.

use super::finder::{Finder, LONGEST};
use super::models::{FIRST_SLOT, LAST_SLOT, Models, Range, State, behind, matched, slot};
use super::optimum::{Choice, LITERAL, Optimum, PLACES, REPEATED, remember};
use crate::error::Result;

/// The most bytes of a chunk, and of its text.
const MOST: u64 = 1 << 16;
const MOST_TEXT: usize = 1 << 21;
/// Three bits of literal context, two of position.
const PROPERTIES: u8 = 93;

/// The text on its way into chunks.
pub struct Chunks<'t> {
    finder: Finder<'t>,
    dictionary: u32,
    optimum: Optimum,
    models: Models,
    range: Range,
    state: State,
    last: [u32; REPEATED],
    position: usize,
    begun: bool,
    told_properties: bool,
    reset: bool,
}

impl<'t> Chunks<'t> {
    /// At the start of the text.
    pub fn new(finder: Finder<'t>, dictionary: u32) -> Chunks<'t> {
        Chunks {
            dictionary,
            optimum: Optimum::new(dictionary),
            models: Models::new(finder.nice()),
            finder,
            range: Range::default(),
            state: State::default(),
            last: [0; REPEATED],
            position: 0,
            begun: false,
            told_properties: false,
            reset: false,
        }
    }

    /// Appends the next chunk, or the end; tells how many bytes of the text it took.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<usize> {
        let from = self.finder.at - self.finder.ahead;
        if self.finder.left() + self.finder.ahead == 0 {
            out.push(0);
            return Ok(0);
        }
        if self.reset {
            self.models = Models::new(self.finder.nice());
            self.optimum = Optimum::new(self.dictionary);
            (self.state, self.last) = (State::default(), [0; REPEATED]);
        }
        let limit = from + MOST_TEXT - LONGEST;
        if from == 0 && !self.begun {
            self.first()?;
        }
        while self.finder.at - self.finder.ahead < limit
            && self.range.len() < MOST - (PLACES as u64 + 1)
            && self.finder.left() + self.finder.ahead > 0
        {
            let last = (self.state, &self.last);
            let choice = self
                .optimum
                .next(&self.models, &mut self.finder, last, self.position)?;
            self.code(choice);
            self.finder.ahead -= choice.len;
            self.position += choice.len;
        }
        let packed = self.range.finish();
        let text = self.finder.at - self.finder.ahead - from;
        if packed.len() >= text {
            return Ok(self.stored(text, out));
        }
        let control = match (self.told_properties, from == 0) {
            (false, true) => 0xe0,
            (false, false) => 0xc0,
            (true, _) => 0x80 + (u8::from(self.reset) << 5),
        };
        let size = text as u32 - 1;
        out.extend([control + (size >> 16) as u8, (size >> 8) as u8, size as u8]);
        out.extend((packed.len() as u16).wrapping_sub(1).to_be_bytes());
        if !self.told_properties {
            out.push(PROPERTIES);
        }
        out.extend(packed);
        (self.told_properties, self.reset) = (true, false);
        Ok(text)
    }

    /// Tells text as it is, and forgets what was told ahead.
    fn stored(&mut self, text: usize, out: &mut Vec<u8>) -> usize {
        let text = text + std::mem::take(&mut self.finder.ahead);
        let end = self.finder.here() + 1;
        let is_first = self.finder.at == text;
        out.push(if is_first { 1 } else { 2 });
        out.extend((text as u16).wrapping_sub(1).to_be_bytes());
        out.extend(&self.finder.window.bytes[end - text..end]);
        self.reset = true;
        text
    }

    /// The first byte is a literal, of which no models are asked.
    fn first(&mut self) -> Result<()> {
        self.finder.skip(1)?;
        self.finder.ahead = 0;
        let byte = self.finder.window.bytes[self.finder.here()];
        self.range.bit(&mut self.models.is_match[0][0], false);
        self.range.tree(&mut self.models.literals[0], 8, u32::from(byte));
        self.position = 1;
        self.begun = true;
        Ok(())
    }

    fn code(&mut self, choice: Choice) {
        let (s, at) = (self.state.number(), self.position & 3);
        let (models, range) = (&mut self.models, &mut self.range);
        range.bit(&mut models.is_match[s][at], choice.back != LITERAL);
        if choice.back == LITERAL {
            return self.literal();
        }
        let number = choice.back as usize;
        range.bit(&mut models.is_repeated[s], number < REPEATED);
        if number >= REPEATED {
            self.distance(choice, at);
        } else {
            for (before, other) in models.is_other.iter_mut().enumerate() {
                if number >= before {
                    range.bit(&mut other[s], number > before);
                }
            }
            if number == 0 {
                range.bit(&mut models.is_long[s][at], choice.len > 1);
            }
            self.state = match choice.len {
                1 => self.state.short(),
                len => {
                    models.repeated_lengths.code(range, len, at);
                    self.state.repeated()
                }
            };
        }
        remember(&mut self.last, choice.back);
    }

    fn literal(&mut self) {
        let at = self.finder.here() + 1 - self.finder.ahead;
        let bytes = &self.finder.window.bytes[..];
        let (before, byte) = (bytes[at - 1], bytes[at]);
        let model = &mut self.models.literals[usize::from(before >> 5)];
        if self.state.is_literal() {
            self.range.tree(model, 8, u32::from(byte));
        } else {
            let other = bytes[at - self.last[0] as usize - 1];
            for (index, bit) in matched(byte, other) {
                self.range.bit(&mut model[index], bit);
            }
        }
        self.state = self.state.literal();
    }

    fn distance(&mut self, choice: Choice, at: usize) {
        let (models, range) = (&mut self.models, &mut self.range);
        self.state = self.state.matched();
        models.lengths.code(range, choice.len, at);
        let distance = choice.back - REPEATED as u32;
        let slot = slot(distance);
        range.tree(&mut models.slots[(choice.len - 2).min(3)], 6, slot);
        if slot >= FIRST_SLOT {
            let (bits, base) = behind(slot);
            let rest = distance - base;
            if slot < LAST_SLOT {
                range.reverse(&mut models.near[(base - slot) as usize..], bits, rest);
            } else {
                range.direct(rest >> 4, bits - 4);
                range.reverse(&mut models.aligned, 4, rest & 15);
                self.optimum.far += 1;
            }
        }
        self.optimum.matches += 1;
    }
}
