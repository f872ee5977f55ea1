//! Prints patch size, bytes per stream and times for release pairs: `pairs DIR NAME...`.
use elfdelta::{Limits, Options, Patch, Profile, Silent, diff};
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let profile = if std::env::var("FAST").is_ok() {
        Profile::Fast
    } else {
        Profile::Default
    };
    for name in &args[2..] {
        let old = std::fs::read(format!("{}/{name}/old", args[1])).unwrap();
        let new = std::fs::read(format!("{}/{name}/new", args[1])).unwrap();
        let t = Instant::now();
        let delta = diff(
            &old,
            &new,
            &Options {
                profile,
                ..Options::default()
            },
            &Silent,
        )
        .unwrap();
        let made = t.elapsed();
        let t = Instant::now();
        let limits = Limits::default();
        let patch = Patch::parse(&delta.bytes, &limits).unwrap();
        let mut out = Vec::new();
        patch.apply(&old, &mut out, &limits, &Silent).unwrap();
        assert!(out == new);
        let parts: Vec<String> = delta
            .report
            .streams
            .iter()
            .map(|p| format!("{} {}", p.name, p.bytes))
            .collect();
        println!(
            "{name:14} {:9}  {:.2}s {:.2}s  {:?} mem {}M  {}",
            delta.bytes.len(),
            made.as_secs_f64(),
            t.elapsed().as_secs_f64(),
            patch.header().method,
            patch.header().memory >> 20,
            parts.join(", ")
        );
    }
}
