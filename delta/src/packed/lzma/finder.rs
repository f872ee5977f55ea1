//! Matches of each place in turn, from what was found of each part of the places.

use super::trees::{GROUPS, LEAST, Shape, hashes};
use super::window::{Window, same};
use crate::packed::inside::Inside;
use crate::{Error, error::Result};
use std::ops::Range;

/// The longest match there is.
pub const LONGEST: usize = 273;

/// Bytes of a list that are read at once.
const PIECE: usize = 32 << 10;

/// The list of one part, read forward.
pub struct List<'t> {
    of: Inside<'t>,
    len: u64,
    /// Bytes of it that were read, and those of them that were not used yet, from `at` on.
    read: u64,
    bytes: Vec<u8>,
    at: usize,
}

impl<'t> List<'t> {
    /// At the start of so many bytes.
    pub fn new(of: Inside<'t>, len: u64) -> List<'t> {
        List {
            of,
            len,
            read: 0,
            bytes: Vec::new(),
            at: 0,
        }
    }

    fn byte(&mut self) -> Result<u8> {
        if self.at == self.bytes.len() {
            let n = (self.len - self.read).min(PIECE as u64);
            self.bytes.resize(n as usize, 0);
            self.of.read().read_at(self.read, &mut self.bytes)?;
            self.read += n;
            self.at = 0;
        }
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte.ok_or(Error::damaged("matches are missing"))
    }

    fn varint(&mut self) -> Result<u32> {
        let (mut value, mut shift) = (0u32, 0);
        loop {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
    }
}

/// A length, and a distance that counts from zero.
#[derive(Clone, Copy, Debug, Default)]
pub struct Match {
    /// Bytes.
    pub len: u32,
    /// Bytes back, less one.
    pub distance: u32,
}

/// Where the text is read, and what was found there.
pub struct Finder<'t> {
    /// The text around.
    pub window: Window<'t>,
    /// The place that is next.
    pub at: usize,
    /// Places before it of which nothing was told yet.
    pub ahead: usize,
    /// Matches at the place before, the shortest first.
    pub matches: Vec<Match>,
    /// The length of the last of them.
    pub longest: usize,
    shape: Shape,
    lists: Vec<List<'t>>,
    list: Vec<u16>,
    twos: Vec<u32>,
    threes: Vec<u32>,
}

/// No place yet.
const NEVER: u32 = u32::MAX;

impl<'t> Finder<'t> {
    /// At the start of the text, with the lists of its parts.
    pub fn new(window: Window<'t>, shape: Shape, lists: Vec<List<'t>>, parts: &[Range<usize>]) -> Finder<'t> {
        let mut list = vec![0; GROUPS];
        for (number, part) in parts.iter().enumerate() {
            list[part.clone()].fill(number as u16);
        }
        Finder {
            window,
            at: 0,
            ahead: 0,
            matches: Vec::new(),
            longest: 0,
            shape,
            lists,
            list,
            twos: vec![NEVER; 1 << 10],
            threes: vec![NEVER; 1 << 16],
        }
    }

    /// Bytes of the text that were not read.
    pub fn left(&self) -> usize {
        self.window.len - self.at
    }

    /// Where the place stands that was read last.
    pub fn here(&self) -> usize {
        self.window.index(self.at - 1)
    }

    /// What is good enough.
    pub fn nice(&self) -> usize {
        self.shape.nice
    }

    /// Reads one place and its matches.
    pub fn find(&mut self) -> Result<()> {
        self.step(true)?;
        self.longest = self.matches.last().map_or(0, |m| m.len as usize);
        if self.longest == self.shape.nice {
            let (here, limit) = (self.here(), LONGEST.min(self.left() + 1));
            let there = here - self.matches[self.matches.len() - 1].distance as usize - 1;
            self.longest = same(&self.window.bytes, here, there, self.longest, limit);
        }
        Ok(())
    }

    /// Reads places whose matches nobody asks for.
    pub fn skip(&mut self, places: usize) -> Result<()> {
        (0..places).try_for_each(|_| self.step(false))
    }

    fn step(&mut self, wanted: bool) -> Result<()> {
        let (at, limit) = (self.at, self.left().min(self.shape.nice));
        self.window.seek(at)?;
        self.at += 1;
        self.ahead += 1;
        self.matches.clear();
        if limit < LEAST {
            return Ok(());
        }
        let here = self.window.index(at);
        let bytes = &self.window.bytes[..];
        let first = bytes[here..].first_chunk();
        let [two, three, four] = hashes(first.ok_or(Error::damaged("a text is too short"))?);
        let two = std::mem::replace(&mut self.twos[two as usize & 0x3ff], at as u32);
        let three = std::mem::replace(&mut self.threes[three as usize & 0xffff], at as u32);
        let mut best = 1;
        if wanted {
            let near = |place: u32| {
                let back = (at as u32).wrapping_sub(place);
                let is = place != NEVER && back <= self.shape.dictionary;
                (is && bytes[here - back as usize] == bytes[here]).then_some(back)
            };
            let mut add = |len, back: Option<u32>| {
                let distance = back? - 1;
                self.matches.push(Match { len, distance });
                Some(len as usize)
            };
            best = add(2, near(two)).unwrap_or(best);
            let other = near(three).filter(|_| two != three);
            best = add(3, other).unwrap_or(best);
            if let Some(last) = self.matches.last_mut() {
                let there = here - last.distance as usize - 1;
                best = same(bytes, here, there, best, limit);
                last.len = best as u32;
            }
        }
        let list = &mut self.lists[usize::from(self.list[self.shape.group(four)])];
        let mut found = Match {
            len: LEAST as u32 - 1,
            distance: 0,
        };
        for _ in 0..list.varint()? {
            found.len += list.varint()?;
            found.distance += list.varint()?;
            if wanted && best < limit && found.len as usize > best {
                self.matches.push(found);
            }
        }
        Ok(())
    }
}
