//! Reverse deltas: the way back kept in little room, made on the site, needing no network.

use super::fetch::Run;
use super::reserve::Reservation;
use super::ways::Ways;
use super::{Runs, Site};

use crate::apart::{Apart, Patching};
use crate::disk::{self, Sync};
use crate::error::Doing;
use crate::manifest::{Content, Manifest};
use crate::watch::ForEngine;
use crate::{Digest, Error, Result, Watch, compress};
use elfdelta::{Limits, Options, Patch};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

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

/// Files above this are kept whole: diffing would need too much memory on a site.
const DIFF_LIMIT: u64 = 64 << 20;

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
        let (mut pack, mut rows) = (Vec::new(), Vec::new());
        for (entry, content) in old_manifest.files() {
            if content.size == 0 || known.contains(&content.digest) || !done.insert(content.digest) {
                continue;
            }
            watch.check()?;
            let target = self.read_object(&index, content)?;
            let base = new_manifest.find(&entry.path).and_then(|e| e.content());
            let base = base.filter(|b| b.size > 0 && b.size.max(content.size) <= DIFF_LIMIT);
            let mut bytes = compress::pack(&target, &[], 9)?;
            let mut from = None;
            if let Some(base) = base {
                let plain = self.read_object(&index, base)?;
                let options = Options::default().threads(1);
                let delta = elfdelta::diff(&plain, &target, &options, &ForEngine(watch))?;
                if delta.bytes.len() < bytes.len() && can_be_undone(&delta.bytes)? {
                    bytes = delta.bytes;
                    from = Some(base.digest);
                }
            }
            rows.push(Row {
                to: content.digest,
                from,
                at: pack.len() as u64,
                n: bytes.len() as u64,
                h: Digest::of(&bytes),
            });
            pack.extend_from_slice(&bytes);
        }
        let table = Table {
            format: elfdelta::FORMAT_ID.into(),
            release: old_manifest.header.release.clone(),
            from: *new,
            rows,
        };
        let text = serde_json::to_vec(&table).map_err(|e| Error::io("encode", std::io::Error::from(e)))?;
        let dir = self.reverse(old);
        disk::remove(&dir)?;
        disk::make_dirs(&dir)?;
        disk::replace(&dir.join("manifest"), &old_bytes, 0o600, Sync::State)?;
        disk::replace(&dir.join("pack"), &pack, 0o600, Sync::State)?;
        // The table last: without it the way back does not exist, and the old tree is still whole.
        disk::replace(&dir.join("table.json"), &text, 0o600, Sync::State)?;
        disk::sync_dir(&self.path("reverse"))?;
        for entry in disk::list(&self.path("reverse"))? {
            if entry.path() != dir {
                disk::remove(&entry.path())?;
            }
        }
        disk::remove(&self.path("previous"))?;
        let gone = self.path("deployments").join(format!(".old-{old}"));
        disk::rename(&self.deployment(old), &gone)?;
        disk::remove(&gone)
    }

    fn read_object(&self, index: &super::objects::Index, content: &Content) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.open_base(index, &content.digest)?;
        std::io::copy(&mut file, &mut bytes).doing("read", "an object")?;
        if Digest::of(&bytes) != content.digest {
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
        let pack = disk::read(&dir.join("pack"), 4 << 30)?.unwrap_or_default();
        let mut rows: HashMap<Digest, Row> = table.rows.into_iter().map(|r| (r.to, r)).collect();
        let sources = crate::source::Sources::new(Vec::new());
        let ways = Ways {
            target: manifest,
            bytes,
            digest,
            steps: Vec::new(),
        };
        let size: u64 = ways
            .target
            .files()
            .filter(|(_, c)| rows.contains_key(&c.digest))
            .map(|(_, c)| c.size)
            .sum();
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
            if content.size == 0 || run.index.exact(&content.digest, &entry.attributes()).is_some() {
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
                None => self.copy_object(&mut run.index, entry, content)?,
            }
        }
        for (entry, content) in ways.target.files() {
            if run.index.exact(&content.digest, &entry.attributes()).is_none() {
                self.copy_object(&mut run.index, entry, content)?;
            }
        }
        drop(run);
        self.keep_built()?;
        self.deploy(&ways.target, &digest, watch)?;
        let configuration = self.bring(&digest, watch)?;
        self.switch(&digest)?;
        disk::remove(&dir)?;
        Ok(Runs {
            release: ways.target.header.release,
            configuration,
        })
    }

    fn undo(
        &self,
        run: &mut Run,
        entry: &crate::manifest::Entry,
        content: &Content,
        row: &Row,
        pack: &[u8],
    ) -> Result<()> {
        let range = row
            .at
            .checked_add(row.n)
            .and_then(|end| pack.get(row.at as usize..usize::try_from(end).ok()?));
        let bytes = range
            .filter(|b| Digest::of(b) == row.h)
            .ok_or_else(|| Error::Damaged("a reverse delta".into()))?;
        match row.from {
            None => self.build(&mut run.index, entry, content, &mut |sink| {
                run.apart.unpack(run.watch, bytes, &[], content.size, sink)
            }),
            Some(base) => {
                let patching = Patching {
                    patch: bytes,
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
