//! One content from one option: copy, delta, two deltas, bundle or whole file.

use super::super::objects::Shipped;
use super::super::obtain::Wanted;
use super::super::plan::{Item, Way};
use super::Fetcher;
use crate::apart::Patching;
use crate::digest::Hasher;
use crate::error::Doing;
use crate::manifest::Kind;
use crate::step::Step;
use crate::{Digest, Error, Result, names};
use std::fs::File;

impl Fetcher<'_> {
    /// Rebuilds the content by one way. Several contents may come out of a bundle.
    pub fn rebuild(&mut self, item: &Item, way: &Way) -> Result<()> {
        let lost = || Error::NotFound(item.path.clone());
        let entry = self.ways.target.entries.get(item.entry).ok_or_else(lost)?;
        let shipped = (entry, entry.content().ok_or_else(lost)?);
        match *way {
            Way::Copy => self.objects.copy(&mut self.index, shipped, self.downloads.watch),
            Way::Blob => self.blob(shipped),
            Way::Delta { step, row } => {
                let from = &self.ways.steps[step];
                let base = self
                    .index
                    .open(&base_digest(from, from.table.deltas[row].from)?)?;
                self.delta((step, row), &base, shipped)
            }
            Way::Chain { first, second } => {
                let from = &self.ways.steps[first.0];
                let base = self
                    .index
                    .open(&base_digest(from, from.table.deltas[first.1].from)?)?;
                let between = self.between(first, &base)?;
                self.delta(second, &between, shipped)
            }
            Way::Bundle { step, row } => self.bundle(&self.ways.steps[step], row),
        }
    }

    /// The piece that holds a delta, and where the delta lies in it.
    fn patch(&self, s: usize, row: usize) -> Result<(Vec<u8>, std::ops::Range<usize>)> {
        let step = &self.ways.steps[s];
        let d = &step.table.deltas[row];
        let piece = self.downloads.piece(step, d.piece)?;
        // Checked against the piece's length when the step was read.
        let begin = d.at as usize;
        Ok((piece, begin..begin + d.n as usize))
    }

    /// A file from a delta and its base.
    fn delta(&mut self, (step, row): (usize, usize), base: &File, shipped: Shipped) -> Result<()> {
        let (patch, at) = self.patch(step, row)?;
        let scratch = self.ways.steps[step].table.deltas[row].scratch;
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

    /// The middle of a chain.
    fn between(&mut self, (s, row): (usize, usize), base: &File) -> Result<File> {
        let (patch, at) = self.patch(s, row)?;
        let step = &self.ways.steps[s];
        let delta = &step.table.deltas[row];
        let wanted = step.to.entries.get(delta.to).and_then(|e| e.content());
        let wanted = wanted.ok_or_else(|| Error::NotFound("a delta's target".into()))?;
        let file = self.objects.unnamed()?;
        let patching = Patching {
            patch: &patch[at],
            base,
            size: wanted.size,
            scratch: self.objects.scratch(delta.scratch)?,
        };
        let mut hasher = Hasher::new(&file);
        self.apart.patch(self.downloads.watch, &patching, &mut hasher)?;
        if hasher.finish() != (wanted.digest, wanted.size) {
            return Err(Error::Damaged("the middle of a chain has another digest".into()));
        }
        Ok(file)
    }

    /// The whole file.
    pub fn blob(&mut self, shipped: Shipped) -> Result<()> {
        let content = shipped.1;
        let path = names::blob(&content.digest);
        let wanted = Wanted {
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

fn base_digest(step: &Step, i: usize) -> Result<Digest> {
    let entry = step.from.as_ref().and_then(|m| m.entries.get(i));
    match entry.map(|e| &e.kind) {
        Some(Kind::File(c)) => Ok(c.digest),
        _ => Err(Error::malformed("step", "a base that is no file")),
    }
}
