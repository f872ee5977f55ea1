//! The jobs themselves, in whatever process: also what a child runs.

use super::scratch::Lent;
use crate::watch::{ForEngine, Heed};
use crate::{Error, Result, Watch, compress, limits};
use elfdelta::{Limits, Patch, ReadAt};
use std::io::{self, Read, Write};

/// What a patch may take.
pub(super) struct Within<'a> {
    /// Bytes that come out.
    pub size: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Scratch space, where there is some.
    pub scratch: Option<&'a Lent>,
}

/// Applies a patch.
pub(super) fn patch(
    watch: &dyn Watch,
    patch: &[u8],
    base: &dyn ReadAt,
    within: &Within,
    sink: &mut dyn Write,
) -> Result<()> {
    let scratch = within.scratch;
    let space = scratch.map_or(limits::SCRATCH, |lent| lent.most);
    let limits = Limits::new()
        .memory(within.memory)
        .output(within.size)
        .scratch(space)
        .threads(1);
    let progress = ForEngine(watch);
    told_apart(sink, |sink| {
        let done = Patch::parse(patch).and_then(|patch| {
            let mut applier = patch.applier().limits(limits).progress(&progress);
            if let Some(lent) = scratch {
                applier = applier.scratch(lent);
            }
            applier.apply(base, sink)
        });
        done.map_err(|e| match e {
            elfdelta::Error::Cancelled => Error::Cancelled,
            e => Error::Decode(e.to_string()),
        })
    })
}

/// Unpacks a zstd frame to exactly `size` bytes.
pub(super) fn unpack(
    watch: &dyn Watch,
    packed: impl Read,
    prefix: &[u8],
    size: u64,
    sink: &mut dyn Write,
) -> Result<()> {
    told_apart(&mut Heed::new(sink, watch), |sink| {
        compress::unpack_to(packed, prefix, size, sink).map_err(|e| Error::Decode(e.to_string()))
    })
}

/// Runs a job; where the sink failed, that is the error, as another option would not help.
fn told_apart(sink: &mut dyn Write, run: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut failed = None;
    let mut sink = Sink {
        sink,
        failed: &mut failed,
    };
    let result = run(&mut sink);
    match failed {
        Some(e) => Err(Error::io("write what was rebuilt", e)),
        None => result,
    }
}

/// Tells a full disk from bad input.
struct Sink<'a> {
    sink: &'a mut dyn Write,
    failed: &'a mut Option<io::Error>,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sink.write(bytes).map_err(|e| {
            if is_input(&e) {
                return e;
            }
            let copy = io::Error::new(e.kind(), e.to_string());
            *self.failed = Some(e);
            copy
        })
    }
    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// Whether a sink's error is the input's fault: "more bytes than the file has".
pub(super) fn is_input(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::InvalidData
}
