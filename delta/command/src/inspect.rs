//! `elfdelta inspect`: what a patch says of itself.

use crate::{
    args::InspectArgs,
    exit::Failure,
    input,
    log::Voice,
    output::{say, say_json},
    progress::Bar,
};
use elfdelta::{Part, Patch};
use std::{fmt::Write, fs::File};

#[derive(serde::Serialize)]
struct Summary {
    format_version: u8,
    features: u64,
    patch_bytes: u64,
    old_bytes: u64,
    old_sha256: String,
    new_bytes: u64,
    new_sha256: String,
    apply_memory_bytes: u64,
    apply_scratch_bytes: u64,
    old_inside_bytes: Option<u64>,
    new_inside_bytes: Option<u64>,
    encoders: Vec<String>,
    streams: Vec<Part>,
    sections: Vec<Part>,
}

pub fn run(args: &InspectArgs, voice: Voice) -> Result<(), Failure> {
    let bytes = input::read_patch(&args.patch)?;
    let patch = Patch::parse(&bytes)?;
    let (header, mut report) = (patch.header(), patch.report());
    if let Some(path) = &args.old {
        let old = File::open(path).map_err(Failure::at(path))?;
        report.sections = patch.applier().progress(&Bar::new(voice)).sections(&old)?;
    }
    let packing = header.packing.as_ref();
    let summary = Summary {
        format_version: elfdelta::VERSION,
        features: header.features,
        patch_bytes: report.total,
        old_bytes: header.old_len,
        old_sha256: hex(&header.old_digest),
        new_bytes: header.new_len,
        new_sha256: hex(&header.new_digest),
        apply_memory_bytes: header.memory,
        apply_scratch_bytes: packing.map_or(0, |p| p.scratch),
        old_inside_bytes: packing.map(|p| p.old_inside),
        new_inside_bytes: packing.map(|p| p.new_inside),
        encoders: packing.map_or(Vec::new(), |p| p.encoders.clone()),
        streams: report.streams,
        sections: report.sections,
    };
    if args.json {
        return say_json(&summary);
    }
    let mut text = String::new();
    tell(&summary, &mut text).expect("a string takes everything");
    say(&text)
}

fn tell(summary: &Summary, text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "format   version {}, features {:#x}",
        summary.format_version, summary.features
    )?;
    writeln!(text, "patch    {:>12} bytes", summary.patch_bytes)?;
    writeln!(
        text,
        "old      {:>12} bytes  sha256 {}",
        summary.old_bytes, summary.old_sha256
    )?;
    writeln!(
        text,
        "new      {:>12} bytes  sha256 {}",
        summary.new_bytes, summary.new_sha256
    )?;
    writeln!(text, "memory   {:>12} bytes to apply", summary.apply_memory_bytes)?;
    if let (Some(old), Some(new)) = (summary.old_inside_bytes, summary.new_inside_bytes) {
        writeln!(
            text,
            "opened   {old:>12} bytes in the old file, {new} in the new one"
        )?;
        writeln!(
            text,
            "scratch  {:>12} bytes to apply",
            summary.apply_scratch_bytes
        )?;
    }
    for encoder in &summary.encoders {
        writeln!(text, "encoder  {encoder}")?;
    }
    for (title, parts) in [("stream", &summary.streams), ("section", &summary.sections)] {
        for part in parts {
            writeln!(text, "{title:<8} {:>12} bytes  {}", part.bytes, part.name)?;
        }
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
