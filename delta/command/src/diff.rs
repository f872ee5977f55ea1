//! `elfdelta diff`: both files into memory, a patch out.

use crate::{
    args::DiffArgs,
    exit::Failure,
    input,
    log::Voice,
    output::{Target, say, say_json},
    progress::Bar,
};
use elfdelta::{Options, Part, Way};

#[derive(serde::Serialize)]
struct Summary<'a> {
    old_bytes: u64,
    new_bytes: u64,
    patch_bytes: u64,
    way: Way,
    /// Ways that the limit on memory left out.
    skipped: &'a [Way],
    streams: &'a [Part],
    sections: &'a [Part],
}

pub fn run(args: &DiffArgs, voice: Voice) -> Result<(), Failure> {
    if args.json && args.output == Target::Stdout {
        return Err(Failure::Usage("--json and -o - both want standard output"));
    }
    if input::piped(&args.old) && input::piped(&args.new) {
        return Err(Failure::Usage("OLD and NEW cannot both come from standard input"));
    }
    args.output.free(args.keep.force)?;
    let (old, new) = (input::read(&args.old)?, input::read(&args.new)?);
    let symbols = match &args.symbols {
        Some(files) => Some((input::read(&files.old)?, input::read(&files.new)?)),
        None => None,
    };
    let mut options = Options::default()
        .profile(args.profile.into())
        .threads(args.threads)
        .segments(usize::from(args.segments))
        .apply_memory(args.apply_memory);
    options.memory = args.memory;
    if let Some((old, new)) = &symbols {
        options = options.symbols(old, new);
    }
    let delta = elfdelta::diff(&old, &new, &options, &Bar::new(voice))?;
    args.output
        .write(args.keep.force, None, |sink| Ok(sink.write_all(&delta.bytes)?))?;
    if args.json {
        let summary = Summary {
            old_bytes: old.len() as u64,
            new_bytes: new.len() as u64,
            patch_bytes: delta.bytes.len() as u64,
            way: delta.way,
            skipped: &delta.skipped,
            streams: &delta.report.streams,
            sections: &delta.report.sections,
        };
        return say_json(&summary);
    }
    if args.output == Target::Stdout || voice == Voice::Quiet {
        return Ok(());
    }
    let (old, new, patch) = (old.len(), new.len(), delta.report.total);
    let skipped: Vec<&str> = delta.skipped.iter().map(|way| way.name()).collect();
    let skipped = match skipped.is_empty() {
        true => String::new(),
        false => format!("; left out for memory: {}", skipped.join(", ")),
    };
    let way = delta.way.name();
    say(&format!(
        "old {old} bytes, new {new} bytes, patch {patch} bytes ({way}{skipped})\n"
    ))
}
