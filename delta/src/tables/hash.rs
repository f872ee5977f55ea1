//! `.gnu.hash` and `.hash`: computed from the symbols, given the few numbers that the linker chose.
//!
//! Sources: "ELF: better symbol lookup via DT_GNU_HASH" (A. Roenky); System V
//! gABI, "Hash Table".

use super::names::Names;
use super::{Made, World};
use crate::code::{Symbols, hash as context, symbols};
use crate::elf::Numbers;
use crate::place::SectionId;
use crate::{Error, error::Result};

const SHT_HASH: u32 = 5;

/// Names of symbol rows.
fn names<'n>(
    numbers: Numbers,
    rows: &'n [u8],
    names: &'n Names,
) -> impl ExactSizeIterator<Item = &'n [u8]> + Clone {
    let width = if numbers.is_64 { 24 } else { 16 };
    rows.chunks_exact(width)
        .map(move |r| names.name(numbers.get(&r[..4]) as u32))
}

/// The numbers at the start of a table: `nbuckets, symoffset, bloom_size, bloom_shift` of `.gnu.hash`,
/// `nbucket, nchain` of `.hash`.
fn head(numbers: Numbers, bytes: &[u8]) -> [u32; 4] {
    [0, 1, 2, 3].map(|i| numbers.word(bytes, 4 * i).unwrap_or(0))
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter()
        .fold(5381u32, |h, &b| h.wrapping_mul(33).wrapping_add(b.into()))
}

fn system_v_hash(name: &[u8]) -> u32 {
    name.iter().fold(0u32, |h, &b| {
        let h = (h << 4).wrapping_add(b.into());
        (h ^ (h >> 24 & 0xf0)) & 0x0fff_ffff
    })
}

/// The `.gnu.hash` of these names; `None` where the numbers are out of all proportion.
fn gnu<'n>(
    numbers: Numbers,
    head: [u32; 4],
    names: impl ExactSizeIterator<Item = &'n [u8]>,
) -> Option<Vec<u8>> {
    let [buckets, first, words, shift] = head.map(|v| v as usize);
    let count = names.len();
    if buckets == 0 || words == 0 || buckets.max(words) > 4 * count + 1024 || first > count || shift > 31 {
        return None;
    }
    let bits = 8 * numbers.width();
    let mut bloom = vec![0u64; words];
    let mut heads = vec![0u32; buckets];
    let mut chain: Vec<u32> = Vec::with_capacity(count - first);
    let mut last = usize::MAX;
    for (i, name) in names.enumerate().skip(first) {
        let h = gnu_hash(name);
        bloom[h as usize / bits % words] |= 1 << (h as usize % bits) | 1 << ((h >> shift) as usize % bits);
        let bucket = h as usize % buckets;
        if bucket != last {
            if let Some(before) = chain.last_mut() {
                *before |= 1;
            }
            heads[bucket] = i as u32;
        }
        last = bucket;
        chain.push(h & !1);
    }
    if let Some(before) = chain.last_mut() {
        *before |= 1;
    }
    let mut out: Vec<u8> = head.iter().flat_map(|&v| numbers.of_word(v)).collect();
    for word in bloom {
        numbers.push(&mut out, word, bits / 8);
    }
    out.extend(heads.iter().chain(&chain).flat_map(|&v| numbers.of_word(v)));
    Some(out)
}

/// The `.hash` of these names, as a linker that adds symbols in order makes it.
fn system_v<'n>(
    numbers: Numbers,
    head: [u32; 4],
    names: impl ExactSizeIterator<Item = &'n [u8]>,
) -> Option<Vec<u8>> {
    let (buckets, count) = (head[0] as usize, names.len());
    if buckets == 0 || buckets > 4 * count + 1024 || head[1] as usize != count {
        return None;
    }
    let (mut heads, mut chain) = (vec![0u32; buckets], vec![0u32; count]);
    for (i, name) in names.enumerate().skip(1) {
        let bucket = system_v_hash(name) as usize % buckets;
        chain[i] = heads[bucket];
        heads[bucket] = i as u32;
    }
    Some(
        head[..2]
            .iter()
            .chain(&heads)
            .chain(&chain)
            .flat_map(|&v| numbers.of_word(v))
            .collect(),
    )
}

fn table<'n>(
    kind: u32,
    numbers: Numbers,
    head: [u32; 4],
    names: impl ExactSizeIterator<Item = &'n [u8]>,
) -> Option<Vec<u8>> {
    if kind == SHT_HASH {
        system_v(numbers, head, names)
    } else {
        gnu(numbers, head, names)
    }
}

/// Whether the model reproduces a table of this section type.
pub fn fits(kind: u32, numbers: Numbers, bytes: &[u8], rows: &[u8], strings: &[u8]) -> bool {
    let strings = Names {
        table: strings.to_vec(),
        ..Names::default()
    };
    table(
        kind,
        numbers,
        head(numbers, bytes),
        names(numbers, rows, &strings),
    )
    .is_some_and(|t| t == bytes)
}

symbols! {
    /// Models of a hash table, afresh for each.
    struct HashModels {
        number(10, 255) {
            /// Word `i` (0 to 3) against the old table's.
            word: signed by(i: u32) [context(1, i)];
        }
    }
}

/// Codes one table, given the symbols that it finds.
pub fn code<S: Symbols>(
    s: &mut S,
    world: &World,
    rows: &[u8],
    strings: &Names,
    section: SectionId,
    made: &mut Made,
) -> Result<()> {
    let mut models = world.account.lend::<HashModels>();
    let numbers = world.elf.numbers;
    let known = head(numbers, world.true_bytes(section).unwrap_or_default());
    let mut coded = head(world.old.elf.numbers, &world.old_bytes(section)?);
    for (i, value) in coded.iter_mut().enumerate() {
        let away = models.word(s, i as u32, i64::from(known[i]) - i64::from(*value));
        *value = i64::from(*value).saturating_add(away).clamp(0, u32::MAX.into()) as u32;
    }
    let made_table = table(
        world.elf[section].kind,
        numbers,
        coded,
        names(numbers, rows, strings),
    );
    let right_size = |t: &Vec<u8>| t.len() as u64 == world.elf[section].size;
    let bytes = made_table
        .filter(right_size)
        .ok_or(Error::damaged("a hash table does not fit its symbols"))?;
    made.section(world, section, bytes)
}
