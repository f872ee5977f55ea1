//! One content from one option: copy, delta, two deltas, bundle or whole file.

use super::Site;
use super::fetch::Run;
use super::obtain::Wanted;
use super::plan::{Item, Way};
use crate::apart::Patching;
use crate::digest::Hasher;
use crate::error::Doing;
use crate::manifest::{Content, Entry, Kind};
use crate::step::Step;
use crate::{Digest, Error, Result, limits, names};
use std::fs::File;

impl Site {
    /// Rebuilds the content by one way. Several contents may come out of a bundle.
    pub(super) fn rebuild(&self, run: &mut Run, item: &Item, way: &Way) -> Result<()> {
        let entry = run
            .ways
            .target
            .entries
            .get(item.entry)
            .ok_or_else(|| Error::NotFound(item.path.clone()))?;
        let content = entry
            .content()
            .ok_or_else(|| Error::NotFound(item.path.clone()))?;
        match *way {
            Way::Copy => self.copy_object(&mut run.index, entry, content, run.watch),
            Way::Blob => self.blob(run, entry, content),
            Way::Delta { step, row } => {
                let base = self.base_of(run, step, row)?;
                self.delta(run, (step, row), &base, (entry, content))
            }
            Way::Chain { first, second } => {
                let base = self.base_of(run, first.0, first.1)?;
                let between = self.between(run, first, &base)?;
                self.delta(run, second, &between, (entry, content))
            }
            Way::Bundle { step, row } => self.bundle(run, step, row),
        }
    }

    /// The piece that holds a delta, and where the delta lies in it.
    fn patch(&self, run: &Run, s: usize, row: usize) -> Result<(Vec<u8>, std::ops::Range<usize>)> {
        let d = &run.ways.steps[s].table.deltas[row];
        let piece = self.piece(run.ways, (s, d.piece), run.sources, run.watch)?;
        // Checked against the piece's length when the step was read.
        let begin = d.at as usize;
        Ok((piece, begin..begin + d.n as usize))
    }

    fn base_of(&self, run: &Run, s: usize, row: usize) -> Result<File> {
        let step = &run.ways.steps[s];
        let digest = base_digest(step, step.table.deltas[row].from)?;
        self.open_base(&run.index, &digest)
    }

    /// A file from a delta and its base.
    fn delta(
        &self,
        run: &mut Run,
        (step, row): (usize, usize),
        base: &File,
        (entry, content): (&Entry, &Content),
    ) -> Result<()> {
        let (patch, at) = self.patch(run, step, row)?;
        let scratch = run.ways.steps[step].table.deltas[row].scratch;
        let patching = Patching {
            patch: &patch[at],
            base,
            size: content.size,
            scratch: self.scratch_file(scratch)?,
        };
        self.build(&mut run.index, entry, content, &mut |sink| {
            run.apart.patch(run.watch, &patching, sink)
        })
    }

    /// A file without a name for what is packed in a base, where such space is asked for.
    pub(super) fn scratch_file(&self, bytes: u64) -> Result<Option<(File, u64)>> {
        match bytes {
            0 => Ok(None),
            _ => Ok(Some((self.unnamed()?, bytes.min(limits::SCRATCH)))),
        }
    }

    /// A file that nobody else sees.
    pub(super) fn unnamed(&self) -> Result<File> {
        let path = self.path("built").join(".tmp-unnamed");
        crate::disk::remove(&path)?;
        let file = crate::disk::create_new(&path, 0o600)?;
        crate::disk::remove(&path)?;
        Ok(file)
    }

    /// The middle of a chain.
    fn between(&self, run: &mut Run, (s, row): (usize, usize), base: &File) -> Result<File> {
        let (patch, at) = self.patch(run, s, row)?;
        let step = &run.ways.steps[s];
        let delta = &step.table.deltas[row];
        let wanted = step.to.entries.get(delta.to).and_then(|e| e.content());
        let wanted = wanted.ok_or_else(|| Error::NotFound("a delta's target".into()))?;
        let file = self.unnamed()?;
        let patching = Patching {
            patch: &patch[at],
            base,
            size: wanted.size,
            scratch: self.scratch_file(delta.scratch)?,
        };
        let mut hasher = Hasher::new(&file);
        run.apart.patch(run.watch, &patching, &mut hasher)?;
        if hasher.finish() != (wanted.digest, wanted.size) {
            return Err(Error::Damaged("the middle of a chain has another digest".into()));
        }
        Ok(file)
    }

    /// The whole file.
    pub(super) fn blob(&self, run: &mut Run, entry: &Entry, content: &Content) -> Result<()> {
        let path = names::blob(&content.digest);
        let wanted = Wanted {
            path: &path,
            name: &content.digest,
            offset: 0,
            length: content.stored,
        };
        let (index, apart, watch) = (&mut run.index, &mut run.apart, run.watch);
        self.obtain(&wanted, run.sources, watch, &mut |part| {
            let built = self.build(index, entry, content, &mut |sink| {
                let file = File::open(part).doing("open", part)?;
                let unpacked = apart.unpack_file(watch, &file, content.size, sink);
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

pub(super) fn base_digest(step: &Step, i: usize) -> Result<Digest> {
    let entry = step.from.as_ref().and_then(|m| m.entries.get(i));
    match entry.map(|e| &e.kind) {
        Some(Kind::File(c)) => Ok(c.digest),
        _ => Err(Error::malformed("step", "a base that is no file")),
    }
}
