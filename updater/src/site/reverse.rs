//! Reverse deltas: the way back kept in little room, made on the site, needing no network.

use super::deployments::Deployments;
use super::index::{Index, Name};
use super::objects::{Objects, Shipped};
use super::reserve::Reservation;
use crate::apart::{Apart, Patching};
use crate::digest::Hasher;
use crate::disk::{self, Sync};
use crate::error::Doing;
use crate::manifest::{Content, Manifest};
use crate::watch::{ForEngine, Heed};
use crate::{Digest, Error, Result, Watch, compress, limits};
use elfdelta::{Limits, Options, Patch};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// One content of the old release that the new one lacks.
#[derive(Serialize, Deserialize)]
struct WayRow {
    /// What comes out.
    to: Digest,
    /// Content of the new release that is the base; none: the bytes are zstd.
    from: Option<Digest>,
    /// Place in the pack.
    at: u64,
    /// Length.
    #[serde(rename = "n")]
    length: u64,
    /// SHA-256 of the bytes.
    #[serde(rename = "h")]
    digest: Digest,
}

/// What a kept way back is, readable before it is needed.
#[derive(Serialize, Deserialize)]
struct WayTable {
    /// [`elfdelta::FORMAT_ID`] of the deltas; tables from before there was one have none.
    #[serde(default)]
    format: String,
    /// Release it leads back to.
    release: String,
    /// Release it starts from.
    from: Digest,
    rows: Vec<WayRow>,
}

/// Level at which files are packed that no delta describes better.
const LEVEL: i32 = 9;
/// Files above this are kept whole: diffing would need too much memory on a site.
const DIFF_LIMIT: u64 = 64 << 20;

/// The file that the deltas are written to, one after the other.
struct WayPack {
    file: File,
    path: PathBuf,
    at: u64,
}

impl WayPack {
    fn create(dir: &Path) -> Result<WayPack> {
        let path = dir.join("pack");
        let file = disk::create_new(&path, 0o600)?;
        Ok(WayPack { file, path, at: 0 })
    }

    /// Adds what `fill` writes.
    fn add(
        &mut self,
        to: Digest,
        from: Option<Digest>,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<WayRow> {
        let mut hasher = Hasher::new(&self.file);
        fill(&mut hasher)?;
        let (digest, length) = hasher.finish();
        let at = self.at;
        self.at += length;
        Ok(WayRow {
            to,
            from,
            at,
            length,
            digest,
        })
    }

    fn finish(self) -> Result<()> {
        disk::sync_file(&self.file, Sync::State, &self.path)
    }
}

/// A kept way back, as it is stored.
pub(super) struct WayBack {
    dir: PathBuf,
    table: WayTable,
}

impl WayBack {
    /// The way back from the running release of a site, if there is one.
    pub fn from(dir: &Path, current: Option<Digest>) -> Result<Option<WayBack>> {
        for entry in disk::list(dir)? {
            let dir = entry.path();
            let bytes = disk::read(&dir.join("table.json"), 64 << 20)?;
            let Some(table) = bytes.and_then(|b| serde_json::from_slice::<WayTable>(&b).ok()) else {
                continue;
            };
            if Some(table.from) == current {
                return Ok(Some(WayBack { dir, table }));
            }
        }
        Ok(None)
    }

    /// The release it leads to.
    pub fn release(&self) -> &str {
        &self.table.release
    }

    /// Whether this elfup can read its deltas.
    pub fn is_readable(&self) -> bool {
        self.table.format == elfdelta::FORMAT_ID
    }

    /// The release it leads to, with its digest, which its directory is named by.
    pub fn target(&self) -> Result<(Digest, Manifest)> {
        if !self.is_readable() {
            return Err(Error::Usage(format!(
                "the kept way back to {0} is in another delta format than this elfup reads: `elfup site downgrade {0}` \
                 fetches that release instead",
                self.release()
            )));
        }
        let file = self.dir.join("manifest");
        let bytes = disk::read(&file, limits::MANIFEST)?.unwrap_or_default();
        let digest = Digest::of(&bytes);
        if self.dir.file_name().and_then(|n| n.to_str()) != Some(&digest.to_string()) {
            return Err(Error::Damaged(format!("{}", file.display())));
        }
        Ok((digest, Manifest::parse(&bytes)?))
    }

    /// Bytes of disk that going it takes.
    pub fn room(&self, target: &Manifest) -> u64 {
        let rows = &self.table.rows;
        let made: HashSet<Digest> = rows.iter().map(|r| r.to).collect();
        let contents = target.files().map(|(_, c)| c);
        let plain: u64 = contents
            .filter(|c| made.contains(&c.digest))
            .map(|c| c.size)
            .sum();
        plain + rows.iter().map(|r| r.length).max().unwrap_or_default()
    }

    /// Removes it.
    pub fn remove(self) -> Result<()> {
        disk::remove(&self.dir)
    }
}

/// What makes a way back of a deployment that is given up.
pub(super) struct Keeper<'a> {
    /// Where ways back are.
    pub dir: PathBuf,
    pub deployments: &'a Deployments,
    pub index: Index,
    pub watch: &'a dyn Watch,
}

impl Keeper<'_> {
    /// Writes the way back from the new release to the old one, and removes all others.
    pub fn keep(&self, old: &Digest, new: &Digest) -> Result<()> {
        let (old_bytes, new_manifest) = (
            self.deployments.manifest_bytes(old)?,
            self.deployments.manifest(new)?,
        );
        let old_manifest = Manifest::parse(&old_bytes)?;
        let dir = self.dir.join(old.to_string());
        disk::remove(&dir)?;
        disk::make_dirs(&dir)?;
        let rows = self.pack(&dir, &old_manifest, &new_manifest)?;
        let table = WayTable {
            format: elfdelta::FORMAT_ID.into(),
            release: old_manifest.header.release.clone(),
            from: *new,
            rows,
        };
        let text = serde_json::to_vec(&table).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
        disk::replace(&dir.join("manifest"), &old_bytes, 0o600, Sync::State)?;
        // The table last: without it the way back does not exist, and the old tree is still whole.
        disk::replace(&dir.join("table.json"), &text, 0o600, Sync::State)?;
        disk::sync_dir(&self.dir)?;
        for entry in disk::list(&self.dir)? {
            if entry.path() != dir {
                disk::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Packs every content of the old release that the new one lacks.
    fn pack(&self, dir: &Path, old: &Manifest, new: &Manifest) -> Result<Vec<WayRow>> {
        let known: HashSet<Digest> = new.files().map(|(_, c)| c.digest).collect();
        let mut done = HashSet::new();
        let mut pack = WayPack::create(dir)?;
        let mut rows = Vec::new();
        for (entry, content) in old.files() {
            if content.size == 0 || known.contains(&content.digest) || !done.insert(content.digest) {
                continue;
            }
            self.watch.check()?;
            let base = new.find(&entry.path).and_then(|e| e.content());
            rows.push(match content.size > DIFF_LIMIT {
                true => self.packed(content, &mut pack)?,
                false => self.delta(content, base, &mut pack)?,
            });
        }
        pack.finish()?;
        Ok(rows)
    }

    /// Packs a file as a delta to a base, where that is smaller than the file packed alone.
    fn delta(&self, content: &Content, base: Option<&Content>, pack: &mut WayPack) -> Result<WayRow> {
        let target = self.read(content)?;
        let mut bytes = compress::pack(&target, &[], LEVEL, self.watch)?;
        let mut from = None;
        if let Some(base) = base.filter(|b| b.size > 0 && b.size <= DIFF_LIMIT) {
            let plain = self.read(base)?;
            let options = Options::default().threads(1);
            let delta = elfdelta::diff(&plain, &target, &options, &ForEngine(self.watch))?;
            if delta.bytes.len() < bytes.len() && can_be_undone(&delta.bytes)? {
                bytes = delta.bytes;
                from = Some(base.digest);
            }
        }
        pack.add(content.digest, from, &mut |sink| {
            sink.write_all(&bytes).doing("write", "a reverse delta")
        })
    }

    /// Packs a file that is too large for a delta, never holding it in memory.
    fn packed(&self, content: &Content, pack: &mut WayPack) -> Result<WayRow> {
        let (file, watch) = (self.index.open(&content.digest)?, self.watch);
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

    fn read(&self, content: &Content) -> Result<Vec<u8>> {
        let file = self.index.open(&content.digest)?;
        let mut hasher = Hasher::new(Vec::new());
        std::io::copy(&mut Heed::new(file, self.watch), &mut hasher).doing("read", "an object")?;
        let (digest, _, bytes) = hasher.into_parts();
        if digest != content.digest {
            return Err(Error::Damaged(format!("object {}", content.digest.short())));
        }
        Ok(bytes)
    }
}

/// What rebuilds the objects of the release that a way back leads to.
pub(super) struct Undo<'a> {
    pub objects: &'a Objects,
    pub index: Index,
    pub reservation: Reservation,
    pub apart: Apart,
    pub watch: &'a dyn Watch,
}

impl Undo<'_> {
    /// Makes all objects of a release, out of a way back and of what is there.
    pub fn rebuild(mut self, target: &Manifest, way: &WayBack) -> Result<()> {
        let path = way.dir.join("pack");
        let pack = File::open(&path).doing("open", path)?;
        let mut rows: HashMap<Digest, &WayRow> = way.table.rows.iter().map(|r| (r.to, r)).collect();
        for shipped in target.files() {
            let content = shipped.1;
            if content.size == 0 || self.index.has_exact(&Name::of(shipped.0, content)) {
                continue;
            }
            let row = rows.remove(&content.digest);
            match row.filter(|_| !self.index.has_object(&content.digest)) {
                Some(row) => {
                    self.reservation.give(content.size);
                    self.undo(shipped, row, &pack)?;
                }
                None => self.objects.copy(&mut self.index, shipped, self.watch)?,
            }
        }
        for shipped in target.files() {
            if !self.index.has_exact(&Name::of(shipped.0, shipped.1)) {
                self.objects.copy(&mut self.index, shipped, self.watch)?;
            }
        }
        self.objects.keep_built(self.watch)
    }

    fn undo(&mut self, shipped: Shipped, row: &WayRow, pack: &File) -> Result<()> {
        let (watch, content) = (self.watch, shipped.1);
        let range = || -> Result<_> {
            let mut pack = pack;
            pack.seek(SeekFrom::Start(row.at))
                .doing("read", "a reverse delta")?;
            Ok(Heed::new(pack.take(row.length), watch))
        };
        let (digest, _) = Digest::of_reader(range()?).doing("read", "a reverse delta")?;
        if digest != row.digest {
            return Err(Error::Damaged("a reverse delta".into()));
        }
        match row.from {
            None => {
                // As large as the file may be, it never is in memory.
                self.reservation.give(row.length);
                let mut packed = self.objects.unnamed()?;
                std::io::copy(&mut range()?, &mut packed).doing("copy", "a reverse delta")?;
                packed.rewind().doing("read", "a reverse delta")?;
                self.objects.build(&mut self.index, shipped, &mut |sink| {
                    self.apart.unpack_file(watch, &packed, content.size, sink)
                })
            }
            Some(base) => {
                let mut bytes = Vec::new();
                range()?
                    .read_to_end(&mut bytes)
                    .doing("read", "a reverse delta")?;
                let patching = Patching {
                    patch: &bytes,
                    base: &self.index.open(&base)?,
                    size: content.size,
                    scratch: None,
                };
                self.objects.build(&mut self.index, shipped, &mut |sink| {
                    self.apart.patch(watch, &patching, sink)
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
