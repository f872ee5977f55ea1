//! What no patch may exceed: its own size on easy pairs, the memory that it declares, the work that is allowed.

use elfdelta::{Error, Limits, Options, Patch, Progress, Silent, container};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// Header, digests and directory, in bytes.
const OVERHEAD: usize = 160;

/// A program of some size: this test.
fn program() -> Vec<u8> {
    let path = std::env::current_exe().unwrap();
    std::fs::read(path).unwrap()
}

/// The end of a program's `.text`, so that changed programs keep their headers.
fn changed(program: &[u8]) -> Vec<u8> {
    let mut new = program.to_vec();
    let from = new.len() / 3;
    for at in (from..from + (new.len() / 20)).step_by(997) {
        new[at] ^= 1;
    }
    new
}

fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    let delta = elfdelta::diff(old, new, &Options::default(), &Silent).unwrap();
    delta.bytes
}

/// Bytes that a compressor shrinks by about a half.
fn words(len: usize, mut state: u64) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"etaoinshrdlucmfwypvbgkqjxz .,;!?"[(state >> 59) as usize]
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[test]
fn a_file_against_itself_costs_the_overhead() {
    for file in [program(), words(100_000, 1), b"x".to_vec(), Vec::new()] {
        let patch = diff(&file, &file);
        assert!(patch.len() <= OVERHEAD, "{} bytes of {}", patch.len(), file.len());
    }
}

#[test]
fn strangers_cost_no_more_than_a_whole_frame() {
    let program = program();
    let (a, b) = (words(150_000, 1), words(150_000, 2));
    let part = &program[program.len() / 2..][..200_000];
    let none: &[u8] = &[];
    for (old, new) in [
        (&a[..], &b[..]),
        (&b, part),
        (part, &a),
        (none, &b),
        (none, part),
        (&a, none),
    ] {
        let frame = zstd::bulk::compress(new, 19).unwrap();
        let patch = diff(old, new);
        assert!(
            patch.len() <= frame.len().min(new.len()) + OVERHEAD,
            "{} bytes against {}",
            patch.len(),
            frame.len()
        );
    }
}

/// A patch that declares other memory than its encoder found.
fn declaring(patch: &[u8], memory: u64) -> Vec<u8> {
    let parsed = Patch::parse(patch).unwrap();
    let mut header = parsed.header().clone();
    header.memory = memory;
    let bodies: Vec<_> = parsed
        .streams()
        .iter()
        .map(|s| (s.id, s.coding, s.decoded, s.bytes.to_vec()))
        .collect();
    container::write(&header, &bodies)
}

#[test]
fn a_patch_that_declares_too_little_is_damaged() {
    let old = program();
    let new = changed(&old);
    let patch = diff(&old, &new);
    let memory = Patch::parse(&patch).unwrap().header().memory;
    for part in [1, 2] {
        let short = declaring(&patch, memory * part / 3);
        let short = Patch::parse(&short).unwrap();
        let done = short.applier().apply(&old, &mut Vec::new());
        assert!(matches!(done, Err(Error::Damaged { .. })), "{done:?}");
    }
    let patch = Patch::parse(&patch).unwrap();
    let applier = patch.applier().limits(Limits::new().memory(memory - 1));
    assert!(matches!(applier.check(), Err(Error::OverLimit { .. })));
    let mut out = Vec::new();
    let done = applier.apply(&old, &mut out);
    assert!(matches!(done, Err(Error::OverLimit { .. })) && out.is_empty());
}

#[test]
fn work_above_the_limit_is_refused() {
    let old = program();
    let patch = diff(&old, &changed(&old));
    let limits = Limits::new().work_per_byte(0);
    let done = Patch::parse(&patch)
        .unwrap()
        .applier()
        .limits(limits)
        .apply(&old, &mut Vec::new());
    assert!(matches!(done, Err(Error::OverLimit { .. })), "{done:?}");
}

/// Asks for the end at the n-th question.
struct StopAt(u64, AtomicU64);
impl Progress for StopAt {
    fn cancelled(&self) -> bool {
        self.1.fetch_add(1, Ordering::Relaxed) >= self.0
    }
}

#[test]
fn a_run_may_be_ended_anywhere() {
    let old = program();
    let new = changed(&old);
    let patch = diff(&old, &new);
    let patch = Patch::parse(&patch).unwrap();
    let all = StopAt(u64::MAX, AtomicU64::new(0));
    patch
        .applier()
        .progress(&all)
        .apply(&old, &mut Vec::new())
        .unwrap();
    let questions = all.1.into_inner();
    for at in [0, questions / 4, questions / 2, questions - 1] {
        let stop = StopAt(at, AtomicU64::new(0));
        let done = patch.applier().progress(&stop).apply(&old, &mut Vec::new());
        assert!(
            matches!(done, Err(Error::Cancelled)),
            "question {at} of {questions}: {done:?}"
        );
    }
    for at in [1, 3, 20, 300] {
        let stop = StopAt(at, AtomicU64::new(0));
        let done = elfdelta::diff(&old, &new, &Options::default(), &stop);
        assert!(matches!(done, Err(Error::Cancelled)), "question {at}");
    }
}

#[test]
fn an_old_file_that_shrinks_is_an_error() {
    struct Shrinking(Vec<u8>, AtomicU64);
    impl elfdelta::ReadAt for Shrinking {
        fn size(&self) -> std::io::Result<u64> {
            Ok(self.0.len() as u64)
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
            // Whole while it is checked, shorter afterwards.
            let read = self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
            let len = self.0.len();
            let left = if read < len as u64 { len } else { len / 2 };
            (&self.0[..left]).read_at(offset, buf)
        }
    }
    let old = words(300_000, 3);
    let mut new = old.clone();
    new[299_000] = b'#';
    let patch = diff(&old, &new);
    let patch = Patch::parse(&patch).unwrap();
    let shrinking = Shrinking(old, AtomicU64::new(0));
    let done = patch.applier().apply(&shrinking, &mut Vec::new());
    assert!(matches!(done, Err(Error::Io(_))), "{done:?}");
    assert!(!Path::new("out").exists());
}
