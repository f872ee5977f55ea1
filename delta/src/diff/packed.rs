//! The way of packed files: both opened, their insides compared, the new one closed.

use super::pairs::{Pair, Span, pairs};
use super::{Job, Outcome, Sealed, WAYS};
use crate::budget::Budget;
use crate::container::{self, Body, Coding, INSIDES, Method, PACKED, PLANS, Packing, Stretches};
use crate::packed::{Bounds, Found, Op, Plan, Side, look};
use crate::pipeline::Io;
use crate::{Patch, Stage, Way, error::Result};

/// An inside of the old file up to this size is held in memory, a larger one in scratch space.
const SMALL: usize = 4 << 20;

/// Scratch space that closing takes for a byte of text, at most: the text, and matches of all its places.
const FILLED: usize = 12;

/// What an allocator keeps of a search for packed files, beside half of what was found.
const LEFT: u64 = 8 << 20;

/// The patch between the insides of two files of which one at least is packed.
pub(super) fn packed(job: &Job) -> Result<Option<Sealed>> {
    let (old, new) = (job.old, job.new);
    let stop = || job.task.progress.cancelled();
    let bounds = Bounds {
        stop: &stop,
        ..job.bounds()
    };
    let [before, after] = look(old, new, &bounds);
    job.task.lacked.set(bounds.lacked.get());
    if before.is_none() && after.is_none() {
        return Ok(None);
    }
    let (before, after) = (opened(before, old), opened(after, new));
    let held = (before.inside.len() + after.inside.len()) as u64;
    let job = &Job {
        room: job.room.saturating_sub(held + held / 2 + LEFT),
        header: job.header.clone(),
        ..*job
    };
    let pairs = pairs(&before, &after);
    let together = together(job, (&before, &after), &pairs)?;
    let mut made = seal(job, (&before, &after), &pairs, &together)?;
    if made.is_none() && !together.members.is_empty() {
        // One of them may defeat a model: each for itself is held against its file.
        made = seal(job, (&before, &after), &pairs, &Group::default())?;
    }
    let coded = made.as_ref().map_or(usize::MAX, |(patch, _)| patch.len());
    if pairs.is_empty() || !job.task.may_be_plainer((&before.inside, &after.inside), coded) {
        return Ok(made);
    }
    let plain = seal(job, (&before, &after), &[], &Group::default())?;
    Ok([made, plain]
        .into_iter()
        .flatten()
        .min_by_key(|(patch, _)| patch.len()))
}

/// The patch that tells the ELF files of a group together, and each of the others for itself.
fn seal(
    job: &Job,
    (before, after): (&Found, &Found),
    pairs: &[Pair],
    group: &Group,
) -> Result<Option<Sealed>> {
    let Some(stretches) = stretches(job, (before, after), pairs, group)? else {
        return Ok(None);
    };
    let mut plans = Vec::new();
    before.plan.write(Side::Old, &mut plans);
    after.plan.write(Side::New, &mut plans);
    let closing = match after.plan.needs_scratch() {
        // The check tells how much it is.
        true => after.inside.len().saturating_mul(FILLED),
        false => 0,
    };
    let scratch = if before.inside.len() > SMALL || closing > 0 {
        before.inside.len().saturating_add(closing)
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
    let mut bodies = group.bodies.clone();
    bodies.extend([plans, (INSIDES, Coding::Stored, 0, stretches)]);
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

/// The largest ELF file that is coded in a group: of a larger one the models know enough soon.
const MEMBER: usize = 8 << 20;

/// ELF files whose models go on from one to the next, by where they begin in the new inside, and their streams.
#[derive(Default)]
struct Group {
    members: Vec<usize>,
    bodies: Vec<Body>,
}

/// Times that telling a group begins anew without a file that defeated a model.
const AGAIN: usize = 8;

/// Tells the ELF files of two insides together; none where there are no two of them.
fn together(job: &Job, (before, after): (&Found, &Found), pairs: &[Pair]) -> Result<Group> {
    let small = |(leaf, base): &&Pair| leaf.len().max(base.len()) <= MEMBER;
    let mut all: Vec<Pair> = pairs.iter().filter(small).copied().collect();
    for _ in 0..AGAIN {
        if all.len() < 2 {
            break;
        }
        let account = Budget::new(job.room, u64::MAX, job.task.progress);
        let mut io = Io {
            streams: super::writers(job.task.options.profile, super::FEW_OF_MANY, 1)?,
            account: &account,
        };
        account.keep(true);
        // What was coded of members before is held in streams: as a rule less than half of them.
        let (mut members, mut plainer, mut defeated, mut coded) = (Vec::new(), Vec::new(), None, 0);
        for (number, &(leaf, base)) in all.iter().enumerate() {
            job.go_on(Stage::Match)?;
            let (old, new) = (&before.inside[base.clone()], &after.inside[leaf.clone()]);
            let member = Job::new(old, new, job.room.saturating_sub(coded), job.task);
            coded += new.len() as u64 / 2;
            let before = io.streams.position();
            if !member.fits(Way::Elf) {
                job.task.skipped.borrow_mut().push(Way::Elf);
                continue;
            }
            match member.image(&mut io)? {
                Outcome::Image if member.is_plainer(io.streams.position() - before)? => plainer.push(number),
                Outcome::Image => members.push(leaf.start),
                Outcome::Nothing => {}
                // The streams hold half of it.
                Outcome::Half => defeated = Some(number),
            }
            if defeated.is_some() {
                break;
            }
        }
        if defeated.is_some() || !plainer.is_empty() {
            for number in plainer.into_iter().chain(defeated).rev() {
                all.remove(number);
            }
            continue;
        }
        if members.len() < 2 {
            break;
        }
        let (_, bodies) = super::finish(&job.header, Method::Packed, io.streams)?;
        return Ok(Group { members, bodies });
    }
    Ok(Group::default())
}

/// The new inside in terms of the old one: ELF files that have a base and are coded as such stand out, everything else
/// is one stretch.
fn stretches(
    job: &Job,
    (before, after): (&Found, &Found),
    pairs: &[Pair],
    group: &Group,
) -> Result<Option<Vec<u8>>> {
    let (mut rest, mut apart, mut at) = (Vec::with_capacity(after.inside.len()), Vec::new(), 0);
    let coded: u64 = group.bodies.iter().map(|body| body.3.len() as u64).sum();
    let mut room = job.room.saturating_sub(after.inside.len() as u64 + coded);
    for &(leaf, base) in pairs {
        let (old, new) = (&before.inside[base.clone()], &after.inside[leaf.clone()]);
        let mut patch = None;
        if group.members.binary_search(&leaf.start).is_err() {
            let pair = Job::new(old, new, room, job.task);
            // What plain covers tell better is coded with everything else.
            let Some((Way::Elf, (own, _))) = pair.best(&[Way::InPlace, Way::Elf, Way::Generic])? else {
                continue;
            };
            room = room.saturating_sub(own.len() as u64);
            patch = Some(own);
        }
        apart.push((base, leaf, patch));
        rest.extend_from_slice(&after.inside[at..leaf.start]);
        at = leaf.end;
    }
    rest.extend_from_slice(&after.inside[at..]);
    let rest = Job::new(&before.inside, &rest, room, job.task);
    let Some((_, (patch, _))) = rest.best(&WAYS[1..])? else {
        return Ok(None);
    };
    let mut stretches = Stretches::new(&Patch::parse(&patch)?);
    let place = |span: &Span| span.start as u64..span.end as u64;
    for (base, leaf, own) in &apart {
        let own = own.as_ref().map(|own| Patch::parse(own)).transpose()?;
        stretches.add((place(base), place(leaf)), own.as_ref());
    }
    Ok(Some(stretches.bytes))
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
