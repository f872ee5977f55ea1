//! What jobs take of memory: what the engine says of files of their sizes, with room for what is packed in them. The
//! engine keeps to it, so that what is declared holds whatever the files are.

use super::blobs;
use super::deltas;
use super::job::{Job, Kind};
use crate::manifest::Content;
use crate::store::Store;
use crate::{compress, limits};

/// How files begin that the engine opens: gzip, xz, zstd, lz4 as kernels use it, zip, ar, the boot wrapper of a kernel.
const PACKED: [&[u8]; 7] = [
    b"\x1f\x8b\x08",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"\x02\x21\x4c\x18",
    b"PK\x03\x04",
    b"!<arch>\n",
    b"MZ",
];
/// Bytes of a file that tell.
const START: usize = 8;
/// How many times its size such a file has once it is opened, about; kernels come to eight.
const OPENED: u64 = 8;
/// What closing a file holds beside for each byte of it, and at most: the tables of a packer are bounded.
const CLOSING: u64 = 8;
const CLOSING_MOST: u64 = 768 << 20;

/// What a job takes of the memory that there is. One that would take more gets that, and no less than the engine can do
/// with: its patch is plainer then.
pub fn of(store: &dyn Store, job: &Job, most: u64) -> u64 {
    let plain = |side: &[Content]| side.iter().map(|c| c.size).sum::<u64>();
    // Of several files in one job each is an inside, too.
    let inside = u64::from(job.kind != Kind::Pair);
    let opened = |side: &[Content]| {
        let times = |c: &Content| if is_packed(store, c) { OPENED } else { inside };
        side.iter().map(|c| c.size.saturating_mul(times(c))).sum::<u64>()
    };
    let (old, new) = (plain(&job.olds), plain(&job.news));
    let (old_opened, new_opened) = (opened(&job.olds), opened(&job.news));
    let closing = old_opened
        .max(new_opened)
        .saturating_mul(CLOSING)
        .min(CLOSING_MOST);
    let engine = deltas::needs(old + old_opened, new + new_opened);
    let least = deltas::needs(old, new).least;
    let frame = match old.max(new) <= limits::BUNDLE {
        true => compress::memory(old + new) + 2 * (old + new),
        false => 0,
    };
    engine.all.saturating_add(closing).min(most).max(least).max(frame)
}

fn is_packed(store: &dyn Store, content: &Content) -> bool {
    let start = blobs::start(store, content, START);
    start.is_some_and(|start| PACKED.iter().any(|magic| start.starts_with(magic)))
}
