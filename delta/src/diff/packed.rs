//! The way of packed files: both opened, their insides compared, the new one closed.

use super::{Job, Sealed, WAYS, Way};
use crate::container::{self, Coding, INSIDES, Method, PACKED, PLANS, Packing};
use crate::packed::{Found, Leaf, Op, Plan, Side, look};
use crate::{Limits, Patch, error::Result};
use std::collections::HashMap;

/// An inside of the old file up to this size is held in memory, a larger one in scratch space.
const SMALL: usize = 4 << 20;

/// The patch between the insides of two files of which one at least is packed.
pub(super) fn packed(job: &Job) -> Result<Option<Sealed>> {
    let (old, new) = (job.old, job.new);
    let stop = || job.progress.cancelled();
    let memory = match job.options.memory {
        0 => Limits::default().memory,
        memory => memory,
    };
    let [before, after] = look(old, new, memory, &stop);
    if before.is_none() && after.is_none() {
        return Ok(None);
    }
    let (before, after) = (opened(before, old), opened(after, new));
    let Some(stretches) = stretches(job, &before, &after)? else {
        return Ok(None);
    };
    let mut plans = Vec::new();
    before.plan.write(Side::Old, &mut plans);
    after.plan.write(Side::New, &mut plans);
    let scratch = if before.inside.len() > SMALL {
        before.inside.len()
    } else {
        0
    };
    let header = container::Header {
        features: PACKED,
        method: Method::Packed,
        packing: Some(Packing {
            scratch: scratch as u64,
            old_inside: before.inside.len() as u64,
            new_inside: after.inside.len() as u64,
            encoders: encoders(&after.plan),
        }),
        ..job.header.clone()
    };
    let plan_len = plans.len() as u64;
    let frame = zstd::bulk::compress(&plans, 19)?;
    let plans = if frame.len() < plans.len() {
        (PLANS, Coding::Zstd, plan_len, frame)
    } else {
        (PLANS, Coding::Stored, 0, plans)
    };
    let bodies = vec![plans, (INSIDES, Coding::Stored, 0, stretches)];
    job.sealed(Some((header, bodies)))
}

/// Encoders that closing takes whose output no standard fixes.
fn encoders(plan: &Plan) -> Vec<String> {
    let mut names = Vec::new();
    for op in &plan.ops {
        if let Op::Open(codec) = op
            && let Some(name) = codec.encoder_name()
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// The new inside in terms of the old one: ELF files that have a base and are told as such stand out, everything else
/// is one stretch.
fn stretches(job: &Job, before: &Found, after: &Found) -> Result<Option<Vec<u8>>> {
    let (mut rest, mut apart, mut at) = (Vec::new(), Vec::new(), 0);
    for (leaf, base) in pairs(&before.leaves, &after.leaves) {
        let (old, new) = (&before.inside[base.clone()], &after.inside[leaf.clone()]);
        let pair = Job::new(old, new, job.options, job.progress);
        // What is the same is a cover of the rest.
        let ways: &[Way] = if old == new { &[] } else { &[Way::Elf] };
        let Some((patch, _)) = pair.best(ways)? else {
            continue;
        };
        let place = [leaf.start - at, leaf.len(), base.start, base.len()];
        container::write_stretch(&Patch::parse(&patch)?, Some(place.map(|n| n as u64)), &mut apart);
        rest.extend_from_slice(&after.inside[at..leaf.start]);
        at = leaf.end;
    }
    rest.extend_from_slice(&after.inside[at..]);
    let rest = Job::new(&before.inside, &rest, job.options, job.progress);
    let Some((patch, _)) = rest.best(&WAYS[1..])? else {
        return Ok(None);
    };
    let mut stretches = Vec::new();
    container::write_stretch(&Patch::parse(&patch)?, None, &mut stretches);
    stretches.extend(apart);
    Ok(Some(stretches))
}

type Span = std::ops::Range<usize>;

/// New ELF files with their bases, in order: of the same name, or else of one that differs in digits alone, the first
/// with the first; without a name, the one of most similar length among those at about the same place.
fn pairs<'l>(old: &'l [Leaf], new: &'l [Leaf]) -> Vec<(&'l Span, &'l Span)> {
    let mut exact: HashMap<&[u8], Vec<&Span>> = HashMap::new();
    let mut near: HashMap<Vec<u8>, Vec<&Span>> = HashMap::new();
    for leaf in old.iter().rev().filter(|leaf| !leaf.name.is_empty()) {
        exact.entry(&leaf.name).or_default().push(&leaf.range);
        near.entry(plain_name(&leaf.name)).or_default().push(&leaf.range);
    }
    let mut nameless: Vec<_> = old.iter().filter(|leaf| leaf.name.is_empty()).map(Some).collect();
    let (mut pairs, mut number) = (Vec::new(), 0);
    for leaf in new {
        let base = match leaf.name.is_empty() {
            true => {
                number += 1;
                take_similar(&mut nameless, number - 1, leaf.range.len())
            }
            false => exact
                .get_mut(&leaf.name[..])
                .and_then(Vec::pop)
                .or_else(|| near.get_mut(&plain_name(&leaf.name)).and_then(Vec::pop)),
        };
        pairs.extend(base.map(|base| (&leaf.range, base)));
    }
    pairs
}

/// How far from its place a file without a name is looked for.
const AROUND: usize = 64;

fn take_similar<'l>(old: &mut [Option<&'l Leaf>], place: usize, len: usize) -> Option<&'l Span> {
    let end = old.len().min(place + AROUND + 1);
    let around = place.saturating_sub(AROUND).min(end)..end;
    let unlike = |i: &usize| old[*i].map(|leaf| (leaf.range.len().abs_diff(len), i.abs_diff(place)));
    let best = around.filter(|i| old[*i].is_some()).min_by_key(unlike)?;
    old[best].take().map(|leaf| &leaf.range)
}

fn plain_name(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|b| !b.is_ascii_digit()).collect()
}

/// A file that nothing was found in is its own inside.
fn opened(found: Option<Found>, file: &[u8]) -> Found {
    found.unwrap_or_else(|| Found {
        plan: Plan {
            ops: vec![Op::Copy(None)],
        },
        inside: file.to_vec(),
        leaves: Vec::new(),
    })
}
