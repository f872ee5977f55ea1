//! `elfdelta apply`: the old file by position, the patch in memory, the new file forward.

use crate::{
    args::ApplyArgs,
    exit::Failure,
    input,
    log::Voice,
    mapped::Mapped,
    output::{Target, say_json},
    progress::Bar,
    scratch::Folder,
};
use elfdelta::{Limits, Patch};
use std::{
    fs::{File, Permissions},
    io::Read,
    os::unix::fs::PermissionsExt,
};

#[derive(serde::Serialize)]
struct Summary {
    new_bytes: u64,
    new_sha256: String,
}

pub fn run(args: &ApplyArgs, voice: Voice) -> Result<(), Failure> {
    if args.json && args.output == Target::Stdout {
        return Err(Failure::Usage("--json and -o - both want standard output"));
    }
    if input::piped(&args.old) {
        return Err(Failure::Usage(
            "OLD is read by position, so it cannot come through a pipe: give a file",
        ));
    }
    args.output.free(args.keep.force)?;
    let limits = Limits::new()
        .memory(args.max_memory)
        .output(args.max_output)
        .scratch(args.max_scratch)
        .threads(args.threads);
    let bytes = input::read_patch(&args.patch)?;
    let patch = Patch::parse(&bytes).map_err(|error| swapped(args, &bytes).unwrap_or(error.into()))?;
    let applier = patch.applier().limits(limits);
    let old = File::open(&args.old).map_err(Failure::at(&args.old))?;
    let mode = old
        .metadata()
        .map_err(Failure::at(&args.old))?
        .permissions()
        .mode();
    // A program stays runnable; set-id bits are not handed on to a file that others may own.
    let permissions = Permissions::from_mode(mode & 0o777);
    let bar = Bar::new(voice);
    let old = Mapped::new(old).map_err(Failure::at(&args.old))?;
    let scratch = Folder::of(args.scratch.as_deref(), &args.output);
    let applier = applier.scratch(&scratch).progress(&bar);
    args.output.write(args.keep.force, Some(permissions), |sink| {
        applier.apply(&old, sink)
    })?;
    if args.json {
        let summary = Summary {
            new_bytes: patch.header().new_len,
            new_sha256: crate::inspect::hex(&patch.header().new_digest),
        };
        return say_json(&summary);
    }
    Ok(())
}

/// What is wrong if the file in the patch's place is none: the two may be swapped.
fn swapped(args: &ApplyArgs, patch: &[u8]) -> Option<Failure> {
    if Patch::begins(patch) {
        return None;
    }
    let mut start = [0; 8];
    let old = File::open(&args.old).and_then(|mut old| old.read_exact(&mut start));
    let what = match old.is_ok() && Patch::begins(&start) {
        true => "OLD is a patch, and PATCH is none: elfdelta apply OLD PATCH -o NEW",
        false => "PATCH is no patch of elfdelta: elfdelta apply OLD PATCH -o NEW",
    };
    Some(Failure::NoPatch(what))
}
