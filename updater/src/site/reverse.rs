//! Reverse deltas: the way back kept in little room, made on the site, needing no network.

use super::fetch::Run;
use super::index::Name;
use super::reserve::Reservation;
use super::ways::Ways;
use super::{Runs, Site};
use crate::apart::{Apart, Patching};
use crate::digest::Hasher;
use crate::disk::{self, Sync};
use crate::error::Doing;
use crate::manifest::{Content, Manifest};
use crate::watch::{ForEngine, Heed};
use crate::{Digest, Error, Result, Watch, compress};
use elfdelta::{Limits, Options, Patch};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One content of the old release that the new one lacks.
#[derive(Serialize, Deserialize)]
struct Row {
    /// What comes out.
    to: Digest,
    /// Content of the new release that is the base; none: the bytes are zstd.
    from: Option<Digest>,
    /// Place in the pack.
    at: u64,
    /// Length.
    n: u64,
    /// SHA-256 of the bytes.
    h: Digest,
}

/// What a kept way back is, readable before it is needed.
#[derive(Serialize, Deserialize)]
struct Table {
    /// [`elfdelta::FORMAT_ID`] of the deltas; tables from before there was one have none.
    #[serde(default)]
    format: String,
    /// Release it leads back to.
    release: String,
    /// Release it starts from.
    from: Digest,
    rows: Vec<Row>,
}

/// Level at which files are packed that no delta describes better.
const LEVEL: i32 = 9;
/// Files above this are kept whole: diffing would need too much memory on a site.
const DIFF_LIMIT: u64 = 64 << 20;

/// The file that the deltas are written to, one after the other.
struct Pack {
    file: File,
    path: PathBuf,
    at: u64,
}

impl Pack {
    fn create(dir: &Path) -> Result<Pack> {
        let path = dir.join("pack");
        let file = disk::create_new(&path, 0o600)?;
        Ok(Pack { file, path, at: 0 })
    }

    /// Adds what `fill` writes.
    fn add(
        &mut self,
        to: Digest,
        from: Option<Digest>,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<Row> {
        let mut hasher = Hasher::new(&self.file);
        fill(&mut hasher)?;
        let (h, n) = hasher.finish();
        let at = self.at;
        self.at += n;
        Ok(Row { to, from, at, n, h })
    }

    fn finish(self) -> Result<()> {
        disk::sync_file(&self.file, Sync::State, &self.path)
    }
}

impl Site {
    fn reverse(&self, digest: &Digest) -> PathBuf {
        self.path("reverse").join(digest.to_string())
    }

    /// Release that a kept way back leads to, and whether this elfup can read it.
    pub fn way_back(&self) -> Result<Option<(String, bool)>> {
        let Some(current) = self.current()? else {
            return Ok(None);
        };
        for entry in disk::list(&self.path("reverse"))? {
            let Some(table) = self.read_reverse(&entry.path())? else {
                continue;
            };
            if table.from == current {
                let readable = table.format == elfdelta::FORMAT_ID;
                return Ok(Some((table.release, readable)));
            }
        }
        Ok(None)
    }

    fn read_reverse(&self, dir: &std::path::Path) -> Result<Option<Table>> {
        let bytes = disk::read(&dir.join("table.json"), 64 << 20)?;
        Ok(bytes.and_then(|b| serde_json::from_slice(&b).ok()))
    }

    /// Replaces the previous deployment by a kept way back; it stays whole if that cannot be made.
    pub(super) fn replace_by_reverse(&self, old: &Digest, watch: &dyn Watch) -> Result<bool> {
        let Some(current) = self.current()? else {
            return Ok(false);
        };
        match self.make_reverse(old, &current, watch) {
            Ok(()) => Ok(true),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(e) => {
                watch.note(&format!(
                    "no reverse delta, so the previous release stays whole: {e}"
                ));
                Ok(false)
            }
        }
    }

    /// Replaces an old deployment by deltas from the new one.
    fn make_reverse(&self, old: &Digest, new: &Digest, watch: &dyn Watch) -> Result<()> {
        let (old_bytes, new_manifest) = (self.manifest_bytes(old)?, self.manifest_of(new)?);
        let old_manifest = Manifest::parse(&old_bytes)?;
        let index = self.index(watch)?;
        let known: HashSet<Digest> = new_manifest.files().map(|(_, c)| c.digest).collect();
        let mut done = HashSet::new();
        let dir = self.reverse(old);
        disk::remove(&dir)?;
        disk::make_dirs(&dir)?;
        let mut pack = Pack::create(&dir)?;
        let mut rows = Vec::new();
        for (entry, content) in old_manifest.files() {
            if content.size == 0 || known.contains(&content.digest) || !done.insert(content.digest) {
                continue;
            }
            watch.check()?;
            if content.size > DIFF_LIMIT {
                rows.push(self.whole(&index, content, &mut pack, watch)?);
                continue;
            }
            let target = self.read_object(&index, content, watch)?;
            let base = new_manifest.find(&entry.path).and_then(|e| e.content());
            let base = base.filter(|b| b.size > 0 && b.size <= DIFF_LIMIT);
            let mut bytes = compress::pack(&target, &[], LEVEL, watch)?;
            let mut from = None;
            if let Some(base) = base {
                let plain = self.read_object(&index, base, watch)?;
                let options = Options::default().threads(1);
                let delta = elfdelta::diff(&plain, &target, &options, &ForEngine(watch))?;
                if delta.bytes.len() < bytes.len() && can_be_undone(&delta.bytes)? {
                    bytes = delta.bytes;
                    from = Some(base.digest);
                }
            }
            rows.push(pack.add(content.digest, from, &mut |sink| {
                sink.write_all(&bytes).doing("write", "a reverse delta")
            })?);
        }
        pack.finish()?;
        let table = Table {
            format: elfdelta::FORMAT_ID.into(),
            release: old_manifest.header.release.clone(),
            from: *new,
            rows,
        };
        let text = serde_json::to_vec(&table).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
        disk::replace(&dir.join("manifest"), &old_bytes, 0o600, Sync::State)?;
        // The table last: without it the way back does not exist, and the old tree is still whole.
        disk::replace(&dir.join("table.json"), &text, 0o600, Sync::State)?;
        disk::sync_dir(&self.path("reverse"))?;
        for entry in disk::list(&self.path("reverse"))? {
            if entry.path() != dir {
                disk::remove(&entry.path())?;
            }
        }
        disk::remove(&self.path("previous"))?;
        let gone = format!(".old-{old}");
        self.remove_deployment(&gone, watch)?;
        disk::rename(&self.deployment(old), &self.path("deployments").join(&gone))?;
        self.remove_deployment(&gone, watch)
    }

    /// Keeps a file that is too large for a delta as it is, packed.
    fn whole(
        &self,
        index: &super::index::Index,
        content: &Content,
        pack: &mut Pack,
        watch: &dyn Watch,
    ) -> Result<Row> {
        let file = self.open_base(index, &content.digest)?;
        let (digest, _) = Digest::of_reader(Heed::new(&file, watch)).doing("read", "an object")?;
        if digest != content.digest {
            return Err(Error::Damaged(format!("object {}", content.digest.short())));
        }
        (&file).rewind().doing("read", "an object")?;
        pack.add(content.digest, None, &mut |sink| {
            let packed = compress::pack_to(Heed::new(&file, watch), content.size, LEVEL, sink);
            packed.doing("pack", "an object")
        })
    }

    fn read_object(
        &self,
        index: &super::index::Index,
        content: &Content,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let file = self.open_base(index, &content.digest)?;
        let mut hasher = Hasher::new(Vec::new());
        std::io::copy(&mut Heed::new(file, watch), &mut hasher).doing("read", "an object")?;
        let (digest, _, bytes) = hasher.into_parts();
        if digest != content.digest {
            return Err(Error::Damaged(format!("object {}", content.digest.short())));
        }
        Ok(bytes)
    }

    /// Rebuilds the old release from the running one and switches to it.
    pub(super) fn rollback_reverse(&self, watch: &dyn Watch) -> Result<Runs> {
        let current = self.current()?;
        let mut found = None;
        for entry in disk::list(&self.path("reverse"))? {
            if let Some(table) = self.read_reverse(&entry.path())?
                && Some(table.from) == current
                && let Some(digest) = entry.file_name().to_str().and_then(Digest::parse)
            {
                found = Some((digest, table));
            }
        }
        let (digest, table) =
            found.ok_or_else(|| Error::NotFound("an earlier release on the disk".into()))?;
        if table.format != elfdelta::FORMAT_ID {
            return Err(Error::Usage(format!(
                "the kept way back to {0} is in another delta format than this elfup reads: `elfup site downgrade {0}` \
                 fetches that release instead",
                table.release
            )));
        }
        let dir = self.reverse(&digest);
        let bytes = disk::read(&dir.join("manifest"), crate::limits::MANIFEST)?.unwrap_or_default();
        if Digest::of(&bytes) != digest {
            return Err(Error::Damaged(format!("{}", dir.join("manifest").display())));
        }
        let manifest = Manifest::parse(&bytes)?;
        let pack = File::open(dir.join("pack")).doing("open", dir.join("pack"))?;
        let mut rows: HashMap<Digest, Row> = table.rows.into_iter().map(|r| (r.to, r)).collect();
        let sources = crate::source::Sources::new(Vec::new());
        let ways = Ways {
            target: manifest.into(),
            digest,
            steps: Vec::new(),
        };
        let size: u64 = rows.values().map(|r| r.n).max().unwrap_or_default();
        let size = size
            + ways
                .target
                .files()
                .filter(|(_, c)| rows.contains_key(&c.digest))
                .map(|(_, c)| c.size)
                .sum::<u64>();
        let mut run = Run {
            ways: &ways,
            index: self.index(watch)?,
            sources: &sources,
            watch,
            reservation: Reservation::take(&self.path("partial"), size, self.config.reserve)?,
            apart: Apart::new(self.decoder.clone(), Limits::default().memory),
            wanted: HashSet::new(),
        };
        for (entry, content) in ways.target.files() {
            if content.size == 0 || run.index.has_exact(&Name::of(entry, content)) {
                continue;
            }
            let row = rows
                .remove(&content.digest)
                .filter(|_| !run.index.has_object(&content.digest));
            match row {
                Some(row) => {
                    run.reservation.give(content.size);
                    self.undo(&mut run, entry, content, &row, &pack)?;
                }
                None => self.copy_object(&mut run.index, entry, content, watch)?,
            }
        }
        for (entry, content) in ways.target.files() {
            if !run.index.has_exact(&Name::of(entry, content)) {
                self.copy_object(&mut run.index, entry, content, watch)?;
            }
        }
        drop(run);
        self.keep_built(watch)?;
        self.deploy(&ways.target, &digest, watch)?;
        let configuration = self.bring(&digest, watch)?;
        self.switch(&digest)?;
        disk::remove(&dir)?;
        Ok(Runs {
            release: ways.target.header.release.clone(),
            configuration,
        })
    }

    fn undo(
        &self,
        run: &mut Run,
        entry: &crate::manifest::Entry,
        content: &Content,
        row: &Row,
        pack: &File,
    ) -> Result<()> {
        let watch = run.watch;
        let range = || -> Result<_> {
            let mut pack = pack;
            pack.seek(SeekFrom::Start(row.at))
                .doing("read", "a reverse delta")?;
            Ok(Heed::new(pack.take(row.n), watch))
        };
        let (digest, _) = Digest::of_reader(range()?).doing("read", "a reverse delta")?;
        if digest != row.h {
            return Err(Error::Damaged("a reverse delta".into()));
        }
        match row.from {
            None => {
                // As large as the file may be, it never is in memory.
                run.reservation.give(row.n);
                let mut packed = self.unnamed()?;
                std::io::copy(&mut range()?, &mut packed).doing("copy", "a reverse delta")?;
                packed.rewind().doing("read", "a reverse delta")?;
                self.build(&mut run.index, entry, content, &mut |sink| {
                    run.apart.unpack_file(run.watch, &packed, content.size, sink)
                })
            }
            Some(base) => {
                let mut bytes = Vec::new();
                range()?
                    .read_to_end(&mut bytes)
                    .doing("read", "a reverse delta")?;
                let patching = Patching {
                    patch: &bytes,
                    base: &self.open_base(&run.index, &base)?,
                    size: content.size,
                    scratch: None,
                };
                self.build(&mut run.index, entry, content, &mut |sink| {
                    run.apart.patch(run.watch, &patching, sink)
                })
            }
        }
    }
}

/// Whether the way back may hold what the patch needs, scratch space being memory there.
fn can_be_undone(bytes: &[u8]) -> Result<bool> {
    let patch = Patch::parse(bytes)?;
    let header = patch.header();
    let scratch = header.packing.as_ref().map_or(0, |p| p.scratch);
    let needed = header
        .memory
        .saturating_add(scratch)
        .saturating_add(bytes.len() as u64);
    Ok(needed <= Limits::default().memory)
}
