//! The bytes of a region: literals between covers, mismatches inside them, and bytes that are known already.

use super::Cover;
use crate::budget::Held;
use crate::code::{Model, Symbols, hash};
use crate::file_view::FileView;
use crate::recipe::Recipe;
use crate::tables::Known;
use crate::{Error, error::Result};

/// Models of the byte stream.
#[derive(Debug)]
pub struct ByteModels {
    clean: Model,
    gap: Model,
    mismatch: Model,
    literal: Model,
    last: u64,
}

impl Default for ByteModels {
    fn default() -> Self {
        ByteModels {
            clean: Model::new(2, 10, 255),
            gap: Model::new(3, 16, 255),
            mismatch: Model::new(4, 18, 255),
            literal: Model::new(6, 20, 255),
            last: 0,
        }
    }
}

const CHUNK: u32 = 1 << 16;

/// Codes the new bytes `at..at + len` against their covers and appends them to `recipe`, whose memory is
/// counted in `held`.
#[allow(clippy::too_many_arguments)]
pub fn code_bytes<S: Symbols>(
    s: &mut S,
    m: &mut ByteModels,
    old: &FileView,
    (at, len): (u32, u32),
    covers: &[Cover],
    known: &Known,
    truth: Option<&[u8]>,
    recipe: &mut Recipe,
    held: &mut Held,
) -> Result<()> {
    let mut cursor = at;
    let end = at + len;
    let mut covers = covers.iter();
    let mut buffer = Vec::new();
    while cursor < end {
        let cover = covers.next();
        let upto = cover.map_or(end, |c| c.new_at);
        if upto > cursor {
            let truth = truth.map(|t| &t[(cursor - at) as usize..(upto - at) as usize]);
            let mut from = cursor;
            while from < upto {
                let n = (upto - from).min(CHUNK);
                let skip = known.within(from, n).collect::<Vec<_>>();
                literals(
                    s,
                    m,
                    from,
                    n,
                    &skip,
                    truth.map(|t| &t[(from - cursor) as usize..]),
                    &mut buffer,
                );
                recipe.literal(&buffer);
                from += n;
                check(s, recipe, held)?;
            }
        }
        let Some(cover) = cover else { break };
        let mut done = 0;
        while done < cover.len {
            let n = (cover.len - done).min(CHUNK);
            let mut base = vec![0; n as usize];
            old.read(u64::from(cover.old_at + done), &mut base)?;
            let from = cover.new_at + done;
            let skip = known.within(from, n).collect::<Vec<_>>();
            let truth = truth.map(|t| &t[(from - at) as usize..]);
            mismatches(s, m, &base, from, &skip, truth, &mut buffer)?;
            recipe.copy(cover.old_at + done, &base, &buffer);
            done += n;
            check(s, recipe, held)?;
        }
        m.last = buffer
            .iter()
            .rev()
            .take(8)
            .rev()
            .fold(m.last, |l, &b| l << 8 | u64::from(b));
        cursor = cover.new_at + cover.len;
    }
    Ok(())
}

fn check<S: Symbols>(s: &S, recipe: &Recipe, held: &mut Held) -> Result<()> {
    if s.exhausted() {
        return Err(Error::DamagedPatch("a byte stream ends too early"));
    }
    held.set(recipe.memory())
}

fn literals<S: Symbols>(
    s: &mut S,
    m: &mut ByteModels,
    at: u32,
    n: u32,
    skip: &[(usize, &[u8])],
    truth: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    out.clear();
    let mut skip = skip.iter().peekable();
    while out.len() < n as usize {
        let i = out.len();
        if let Some((from, bytes)) = skip.peek()
            && i >= *from
        {
            out.extend_from_slice(&bytes[i - from..]);
            skip.next();
            continue;
        }
        let l = m.last;
        let phase = (at + i as u32) & 7;
        let tail = |k: u32| (l & ((1u64 << (8 * k)) - 1)) as u32;
        let contexts = [
            hash(1, tail(1)),
            hash(2, tail(2)),
            hash(3, tail(3)),
            hash(hash(4, tail(4)), (l >> 32) as u32 & 0xff),
            hash(5, (l >> 56) as u32 | phase << 8),
            hash(6, tail(1) | phase << 8),
        ];
        let value = s.byte(&mut m.literal, &contexts, truth.map_or(0, |t| t[i]));
        m.last = l << 8 | u64::from(value);
        out.push(value);
    }
}

fn mismatches<S: Symbols>(
    s: &mut S,
    m: &mut ByteModels,
    base: &[u8],
    at: u32,
    skip: &[(usize, &[u8])],
    truth: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    out.extend_from_slice(base);
    for (from, bytes) in skip {
        out[*from..from + bytes.len()].copy_from_slice(bytes);
    }
    let differs = |i: usize, out: &[u8]| truth.is_some_and(|t| t[i] != out[i]);
    let clean = !(0..base.len()).any(|i| differs(i, out));
    let size = 32 - (base.len() as u32).leading_zeros();
    if s.flag(&mut m.clean, &[1, hash(2, size)], clean) {
        return Ok(());
    }
    let mut i = 0;
    let mut last_gap = 0;
    let mut last_change = 0u32;
    loop {
        let next = (i..base.len()).find(|&k| differs(k, out));
        let gap = next.map_or(0, |k| (k - i) as u64 + 1);
        let phase = (at + i as u32) & 7;
        let gap = s.number(
            &mut m.gap,
            &[hash(1, last_gap), hash(2, phase), hash(hash(3, phase), last_gap)],
            gap,
        );
        if gap == 0 {
            return Ok(());
        }
        last_gap = 64 - gap.leading_zeros();
        i = i.saturating_add(gap as usize - 1);
        let Some(&old) = out.get(i) else {
            return Err(Error::DamagedPatch("a correction lies outside its cover"));
        };
        let phase = (at + i as u32) & 7;
        let before = i.checked_sub(1).map_or(0, |k| u32::from(out[k]));
        let contexts = [
            hash(1, u32::from(old)),
            hash(2, last_change),
            hash(hash(3, u32::from(old)), before),
            hash(hash(4, phase), last_change),
        ];
        let value = s.byte(
            &mut m.mismatch,
            &contexts,
            truth.map_or(0, |t| t[i].wrapping_sub(old)),
        );
        last_change = u32::from(value);
        out[i] = old.wrapping_add(value);
        i += 1;
        if s.exhausted() {
            return Err(Error::DamagedPatch("a byte stream ends too early"));
        }
    }
}
