//! Matches of a text, found a part of all places at a time: liblzma's match finder of binary trees, which takes eleven
//! times the dictionary where all of it is held at once.
//!
//! Places with the same hash of four bytes are in one tree, and no tree knows of another: so each part of the hashes is
//! gone through by itself, and what was found is told to scratch space in the order of places.

use super::window::{Window, same};
use crate::budget::Budget;
use crate::cursor::put_varint;
use crate::packed::crc;
use crate::{Error, error::Result};
use std::ops::Range;

/// How liblzma is asked to look for matches.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes that a match may reach back.
    pub dictionary: u32,
    /// Length of a match that is good enough.
    pub nice: usize,
    /// Nodes of a tree that are looked at.
    pub depth: u32,
}

/// Groups of hashes, of which a part takes some that stand together.
pub const GROUPS: usize = 1 << GROUP_BITS;
const GROUP_BITS: u32 = 12;

/// Nodes that a part may have at once, and heads of trees.
const NODES: usize = 2 << 20;
const HEADS: usize = 3 << 19;

/// Places between two looks at whether to go on.
const BLOCK: usize = 1 << 12;
/// Blocks of the text by which places are counted.
const COUNTED: usize = 1 << 22;

/// Bytes that a hash is of.
pub const LEAST: usize = 4;

const NOBODY: u32 = u32::MAX;

/// Bytes of memory that looking for the matches of a part takes, the window apart.
pub const fn memory(text: usize) -> u64 {
    let nodes = if text < NODES { text } else { NODES };
    (nodes * size_of::<Node>() + HEADS * size_of::<Head>()) as u64 + OTHERS
}

/// What else is held then: counts of places, and matches on their way.
const OTHERS: u64 = 3 << 20;

/// The table of the CRC-32 of IEEE 802.3.
const CRC32: [u32; 256] = {
    let (wide, mut table, mut i) = (crc::table(0xedb8_8320), [0; 256], 0);
    while i < 256 {
        table[i] = wide[i] as u32;
        i += 1;
    }
    table
};

/// Hashes of the first two, three and four bytes, none of them masked.
pub fn hashes(bytes: &[u8; LEAST]) -> [u32; 3] {
    let two = CRC32[usize::from(bytes[0])] ^ u32::from(bytes[1]);
    let three = two ^ u32::from(bytes[2]) << 8;
    [two, three, three ^ CRC32[usize::from(bytes[3])] << 5]
}

impl Shape {
    /// The bits of a hash of four bytes.
    fn bits(&self) -> u32 {
        let half = u32::BITS - (self.dictionary - 1).leading_zeros() - 1;
        match half.max(16) {
            25.. => half.max(16) - 1,
            bits => bits,
        }
    }

    /// The group of a hash of four bytes.
    pub fn group(&self, hash: u32) -> usize {
        self.slot(hash) >> (self.bits() - GROUP_BITS)
    }

    fn slot(&self, hash: u32) -> usize {
        (hash & ((1 << self.bits()) - 1)) as usize
    }
}

/// Parts of the groups that can be gone through within the memory that there is.
pub fn parts(mut window: Window, shape: &Shape, budget: &Budget) -> Result<Vec<Range<usize>>> {
    let len = window.len;
    let mut counts = vec![vec![0u32; GROUPS]; len.div_ceil(COUNTED)];
    let (mut run, mut last) = (0, 0u8);
    for at in 0..len.saturating_sub(LEAST - 1) {
        if at % BLOCK == 0 {
            budget.go_on(BLOCK as u64 / 8)?;
            window.seek(at)?;
        }
        let bytes = window.bytes[window.index(at)..].first_chunk();
        let bytes: &[u8; LEAST] = bytes.ok_or(Error::damaged("a text is too short"))?;
        run = if bytes[0] == last { run + 1 } else { 0 };
        last = bytes[0];
        // In a run of one byte a place takes the node of the one before.
        if run <= shape.nice + 1 {
            counts[at / COUNTED][shape.group(hashes(bytes)[2])] += 1;
        }
    }
    let reach = shape.dictionary as usize / COUNTED + 2;
    let most = |groups: Range<usize>| {
        let of = |counts: &Vec<u32>| counts[groups.clone()].iter().map(|&n| n as usize).sum::<usize>();
        let blocks: Vec<usize> = counts.iter().map(of).collect();
        let windows = blocks.windows(reach.min(blocks.len()).max(1));
        windows.map(|w| w.iter().sum::<usize>()).max().unwrap_or(0)
    };
    let heads = HEADS >> (shape.bits() - GROUP_BITS);
    let (mut parts, mut from) = (Vec::new(), 0);
    while from < GROUPS {
        let mut to = from + 1;
        while to < GROUPS && to - from < heads && most(from..to + 1) <= NODES {
            to += 1;
        }
        parts.push(from..to);
        from = to;
    }
    Ok(parts)
}

/// A place in a tree, with the trees of what is smaller and greater.
#[derive(Clone, Copy)]
struct Node {
    at: u32,
    below: [u32; 2],
}

/// The newest place of a hash, and the node that it has as long as that is its.
#[derive(Clone, Copy)]
struct Head {
    at: u32,
    node: u32,
}

/// The trees of one part.
struct Trees {
    shape: Shape,
    nodes: Vec<Node>,
    heads: Vec<Head>,
    /// The first of the nodes that are free, each of which names the next.
    free: u32,
}

/// What is found at one place: length and distance, each longer and farther than the one before.
type Matches = Vec<(u32, u32)>;

impl Trees {
    /// A node for a place; fails where too many are in use.
    fn node(&mut self, at: u32) -> Result<u32> {
        if self.free == NOBODY {
            if self.nodes.len() < NODES {
                self.nodes.push(Node {
                    at,
                    below: [NOBODY; 2],
                });
                return Ok(self.nodes.len() as u32 - 1);
            }
            let mut freed = 0;
            for number in 0..self.nodes.len() {
                if at - self.nodes[number].at > self.shape.dictionary {
                    self.release(number as u32);
                    freed += 1;
                }
            }
            if freed < NODES >> 6 {
                return Err(Error::damaged("a text has too many places of one kind"));
            }
        }
        let number = self.free;
        self.free = self.nodes[number as usize].below[0];
        self.nodes[number as usize] = Node {
            at,
            below: [NOBODY; 2],
        };
        Ok(number)
    }

    fn release(&mut self, number: u32) {
        // At a place behind all others: nobody's older place.
        self.nodes[number as usize] = Node {
            at: NOBODY,
            below: [self.free, NOBODY],
        };
        self.free = number;
    }

    /// The place of a node that another one, at `above`, names below itself; `None` where it is another's by now.
    fn place(&self, number: u32, above: u32) -> Option<u32> {
        let node = self.nodes.get(number as usize)?;
        (node.at < above).then_some(node.at)
    }

    /// Puts a place on top of its tree, and tells the matches on the way that are longer than three bytes.
    fn insert(&mut self, window: &Window, (at, slot): (u32, usize), matches: &mut Matches) -> Result<()> {
        let bytes = &window.bytes[..];
        let here = window.index(at as usize);
        let limit = self.shape.nice.min(window.len - at as usize);
        let head = self.heads[slot];
        let mut next = Some(head.node).filter(|&n| self.place(n, at) == Some(head.at));
        let top = self.node(at)?;
        self.heads[slot] = Head { at, node: top };
        // Links of which the next smaller and the next greater place go into, and what both begin with.
        let (mut links, mut known) = ([(top, 0), (top, 1)], [0; 2]);
        let (mut above, mut best) = (at, LEAST - 1);
        for _ in 0..self.shape.depth {
            let found = next.and_then(|n| Some((n, self.place(n, above)?)));
            let Some((number, place)) = found.filter(|&(_, p)| at - p <= self.shape.dictionary) else {
                break;
            };
            let there = here - (at - place) as usize;
            let mut len = known[0].min(known[1]);
            if bytes[there + len] == bytes[here + len] {
                len = same(bytes, there, here, len + 1, limit);
                if len > best {
                    best = len;
                    matches.push((len as u32, at - place - 1));
                }
                if len == limit {
                    self.take_over(number, place, links);
                    return Ok(());
                }
            }
            let greater = usize::from(bytes[there + len] > bytes[here + len]);
            self.link(links[greater], number);
            links[greater] = (number, 1 - greater);
            known[greater] = len;
            next = Some(self.nodes[number as usize].below[1 - greater]);
            above = place;
        }
        links.into_iter().for_each(|link| self.link(link, NOBODY));
        Ok(())
    }

    fn link(&mut self, (number, side): (u32, usize), to: u32) {
        self.nodes[number as usize].below[side] = to;
    }

    /// Has what is below a node, which goes, be where the links lead.
    fn take_over(&mut self, number: u32, place: u32, links: [(u32, usize); 2]) {
        for (side, link) in links.into_iter().enumerate() {
            let below = self.nodes[number as usize].below[side];
            let below = self.place(below, place).map_or(NOBODY, |_| below);
            self.link(link, below);
        }
        self.release(number);
    }
}

/// Tells the matches at all places of a part in their order.
pub fn find(
    part: &Range<usize>,
    mut window: Window,
    shape: &Shape,
    budget: &Budget,
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (len, group_bits) = (window.len, shape.bits() - GROUP_BITS);
    let nobody = Head {
        at: NOBODY,
        node: NOBODY,
    };
    let mut trees = Trees {
        shape: *shape,
        nodes: Vec::with_capacity(NODES.min(len)),
        heads: vec![nobody; part.len() << group_bits],
        free: NOBODY,
    };
    let (mut matches, mut told) = (Vec::new(), Vec::new());
    let mut taken = 0;
    for at in 0..len.saturating_sub(LEAST - 1) {
        if at % BLOCK == 0 {
            out(&told)?;
            told.clear();
            budget.go_on(BLOCK as u64 / 16 + taken * WORK)?;
            taken = 0;
            window.seek(at)?;
        }
        let bytes = window.bytes[window.index(at)..].first_chunk();
        let hash = hashes(bytes.ok_or(Error::damaged("a text is too short"))?)[2];
        if !part.contains(&shape.group(hash)) {
            continue;
        }
        taken += 1;
        let slot = shape.slot(hash) - (part.start << group_bits);
        matches.clear();
        trees.insert(&window, (at as u32, slot), &mut matches)?;
        tell(&matches, shape, &mut told);
    }
    out(&told)
}

/// Units of work for a place.
const WORK: u64 = 16;

/// Writes matches: how many, and each as so much longer and farther than the one before.
fn tell(matches: &Matches, shape: &Shape, out: &mut Vec<u8>) {
    // Where the last one is good enough, no other is asked for.
    let good = matches.last().is_some_and(|m| m.0 as usize == shape.nice);
    let matches = if good {
        &matches[matches.len() - 1..]
    } else {
        matches
    };
    put_varint(out, matches.len() as u64);
    let mut before = (LEAST as u32 - 1, 0);
    for &(len, distance) in matches {
        put_varint(out, u64::from(len - before.0));
        put_varint(out, u64::from(distance - before.1));
        before = (len, distance);
    }
}
