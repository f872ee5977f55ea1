//! One content from one option: copy, delta, bundle or whole file.

use super::super::objects::Shipped;
use super::super::obtain::Download;
use super::super::plan::{Item, StepRow, Way};
use super::Fetcher;
use crate::apart::Patching;
use crate::error::Doing;
use crate::manifest::Kind;
use crate::step::{DeltaRow, Step};
use crate::{Digest, Error, Result, names};
use std::fs::File;
use std::ops::Range;

impl Fetcher<'_> {
    /// Rebuilds the content by one way. Several contents may come out of a bundle.
    pub fn rebuild(&mut self, item: &Item, way: &Way) -> Result<()> {
        let lost = || Error::NotFound(item.path.clone());
        let entry = self.ways.target.entries.get(item.entry).ok_or_else(lost)?;
        let shipped = (entry, entry.content().ok_or_else(lost)?);
        match *way {
            Way::Copy => self.objects.copy(&mut self.index, shipped, self.downloads.watch),
            Way::Blob => self.blob(shipped),
            Way::Delta(at) => {
                let base = self.index.open(&base_digest(self.ways.delta(at))?)?;
                self.delta(at, &base, shipped)
            }
            Way::Bundle(at) => self.bundle(&self.ways.steps[at.step], at.row),
        }
    }

    /// The piece that holds a delta, and where the delta lies in it.
    fn patch(&self, at: StepRow) -> Result<(Vec<u8>, Range<usize>)> {
        let (step, d) = self.ways.delta(at);
        let piece = self.downloads.piece(step, d.piece)?;
        // Checked against the piece's length when the step was read.
        let begin = d.at as usize;
        Ok((piece, begin..begin + d.length as usize))
    }

    /// A file from a delta and its base.
    fn delta(&mut self, row: StepRow, base: &File, shipped: Shipped) -> Result<()> {
        let (patch, at) = self.patch(row)?;
        let scratch = self.ways.delta(row).1.scratch;
        let patching = Patching {
            patch: &patch[at],
            base,
            size: shipped.1.size,
            scratch: self.objects.scratch(scratch)?,
        };
        self.objects.build(&mut self.index, shipped, &mut |sink| {
            self.apart.patch(self.downloads.watch, &patching, sink)
        })
    }

    /// The whole file.
    pub fn blob(&mut self, shipped: Shipped) -> Result<()> {
        let content = shipped.1;
        let path = names::blob(&content.digest);
        let wanted = Download {
            path: &path,
            name: &content.digest,
            offset: 0,
            length: content.stored,
        };
        let (objects, index, apart) = (self.objects, &mut self.index, &mut self.apart);
        let downloads = self.downloads;
        downloads.obtain(&wanted, &mut |part| {
            let built = objects.build(index, shipped, &mut |sink| {
                let file = File::open(part).doing("open", part)?;
                let unpacked = apart.unpack_file(downloads.watch, &file, content.size, sink);
                unpacked.map_err(|e| match e {
                    Error::Decode(why) => Error::Untrusted(format!("{path}: {why}")),
                    e => e,
                })
            });
            if matches!(built, Err(Error::Untrusted(_) | Error::Damaged(_))) {
                apart.renew();
            }
            built
        })
    }
}

fn base_digest((step, delta): (&Step, &DeltaRow)) -> Result<Digest> {
    let entry = step.from.as_ref().and_then(|m| m.entries.get(delta.from));
    match entry.map(|e| &e.kind) {
        Some(Kind::File(c)) => Ok(c.digest),
        _ => Err(Error::malformed("step", "a base that is no file")),
    }
}
