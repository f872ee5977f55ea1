//! What a child process for decoding costs: `cargo run --release -p elfup --example apart -- OLD NEW`.
//!
//! Applies a patch of the pair, and 1,000 times one of a small file: in this process, in one child, and in a child
//! for each job. Also an example of a program that is not `elfup` and has its sites decode apart.

use elfup::apart::{Apart, Patching, Program, Sandbox, serve};
use elfup::{Quiet, Result};
use std::fs::File;
use std::io::Write;

/// Above what the patches of large programs declare.
const MEMORY: u64 = 256 << 20;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [mode, memory] if mode == "decode-apart" => Ok(serve(Sandbox::Full, memory.parse()?)?),
        [old, new] => {
            let (old, new) = (std::fs::read(old)?, std::fs::read(new)?);
            measure("the pair", &old, &new, 1)?;
            let end = old.len().min(20_000);
            let mut edited = old[..end].to_vec();
            edited[end / 2] ^= 1;
            measure("20 kB", &old[..end], &edited, 1000)
        }
        _ => Err("OLD NEW".into()),
    }
}

fn measure(
    name: &str,
    old: &[u8],
    new: &[u8],
    times: u32,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let patch = elfdelta::diff(old, new, &elfdelta::Options::default(), &elfdelta::Silent)?.bytes;
    let path = std::env::temp_dir().join(format!("apart-{}", std::process::id()));
    File::create(&path)?.write_all(old)?;
    let base = File::open(&path)?;
    std::fs::remove_file(&path)?;
    let program = Some(Program {
        path: "/proc/self/exe".into(),
        arguments: vec!["decode-apart".into()],
    });
    for (way, program, each) in [
        ("in this process", None, false),
        ("in one child", program.clone(), false),
        ("in a child each", program, true),
    ] {
        let mut apart = Apart::new(program, MEMORY);
        let begin = seconds()?;
        for _ in 0..times {
            apply(&mut apart, &patch, &base, new)?;
            if each {
                apart.renew();
            }
        }
        // The child counts once it is gone.
        drop(apart);
        println!(
            "{name}, {times} times {way}: {:.2} s of processor time",
            seconds()? - begin
        );
    }
    Ok(())
}

fn apply(apart: &mut Apart, patch: &[u8], base: &File, new: &[u8]) -> Result<()> {
    let mut out = Vec::with_capacity(new.len());
    let patching = Patching {
        patch,
        base,
        size: new.len() as u64,
        scratch: None,
    };
    apart.patch(&Quiet, &patching, &mut out)?;
    assert!(out == new);
    Ok(())
}

/// Processor time of this process and of its children that are gone, in seconds.
fn seconds() -> std::io::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(4)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / 100.0)
}
