//! The way of packed files: both opened, their insides compared, the new one closed.

use super::{Job, Sealed, WAYS};
use crate::container::{self, Coding, INSIDES, Method, PACKED, PLANS, Packing};
use crate::packed::{Found, Op, Plan, Side, look};
use crate::{Patch, error::Result};

/// An inside of the old file up to this size is held in memory, a larger one in scratch space.
const SMALL: usize = 4 << 20;

/// The patch between the insides of two files of which one at least is packed.
pub(super) fn packed(job: &Job) -> Result<Option<Sealed>> {
    let (old, new) = (job.old, job.new);
    let stop = || job.progress.cancelled();
    let [before, after] = look(old, new, &stop);
    if before.is_none() && after.is_none() {
        return Ok(None);
    }
    let (before, after) = (opened(before, old), opened(after, new));
    let insides = Job::new(&before.inside, &after.inside, job.options, job.progress);
    let Some((inner, _)) = insides.best(&WAYS[1..])? else {
        return Ok(None);
    };
    let mut stretches = Vec::new();
    container::write_stretch(&Patch::parse(&inner)?, None, &mut stretches);
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
            encoders: Vec::new(),
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

/// A file that nothing was found in is its own inside.
fn opened(found: Option<Found>, file: &[u8]) -> Found {
    found.unwrap_or_else(|| Found {
        plan: Plan {
            ops: vec![Op::Copy(None)],
        },
        inside: file.to_vec(),
    })
}
