//! Builds one step: the deltas and bundles between two manifests, their pack and their table.

use super::deltas::{self, Made};
use super::pairs::{Pair, pairs};
use super::{Store, blobs};
use crate::manifest::{Content, Manifest};
use crate::step::{self, BundleRow, DeltaRow, Piece, Release, StepRef, Table};
use crate::{Digest, PROTOCOL, Result, Watch, compress, names};
use elfdelta::Profile;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// Plain files up to this size travel in bundles.
const SMALL: u64 = 16 << 10;
/// Whole files up to this stored size travel in bundles when no delta pays: a request would cost more.
const SMALL_STORED: u64 = 48 << 10;
/// Plain bytes after which a bundle is full.
const BUNDLE: u64 = 1 << 20;
/// Bytes after which a piece of small deltas is full: what is lost if one byte of it is wrong.
const PIECE: usize = 64 << 10;
/// Bytes that a piece of its own must save over the whole file: about what it costs in the table.
const ROW: u64 = 64;
/// Apply times below this (microseconds) are too short for a second, faster delta to gain.
const SLOW: u64 = 20_000;

/// One manifest with its bytes.
pub struct Side<'a> {
    /// Parsed.
    pub manifest: &'a Manifest,
    /// Canonical bytes.
    pub bytes: &'a [u8],
}

/// Makes the step and stores pack and step file.
pub fn build(
    store: &dyn Store,
    from: Option<&Side>,
    to: &Side,
    reference_us: u64,
    watch: &dyn Watch,
) -> Result<StepRef> {
    let load = |c: &Content| blobs::load(store, &c.digest, c.size);
    let empty = Vec::new();
    let all = match from {
        Some(from) => pairs(from.manifest, to.manifest, &load)?,
        None => fresh(to.manifest),
    };
    let mut builder = Builder {
        store,
        from: from.map(|s| s.manifest),
        to: to.manifest,
        pack: Vec::new(),
        table: Table {
            protocol: PROTOCOL,
            pack: None,
            reference_us,
            pieces: Vec::new(),
            deltas: Vec::new(),
            bundles: Vec::new(),
        },
    };
    let (jobs, mut small): (Vec<Pair>, Vec<Pair>) = all.into_iter().partition(|p| builder.delta_first(p));
    let total = jobs.len() as u64;
    let done = AtomicU64::new(0);
    let made: Vec<Tried> = jobs
        .into_par_iter()
        .map(|pair| {
            let result = builder.deltas(&pair, watch)?;
            let plain = builder.plain(&pair, result.first().map(|(_, m)| m.measured.size))?;
            watch.progress("deltas", done.fetch_add(1, Ordering::Relaxed) + 1, total);
            Ok(Tried {
                pair,
                options: result,
                plain,
            })
        })
        .collect::<Result<_>>()?;
    let mut faster = Vec::new();
    for Tried { pair, options, plain } in &made {
        if let Some(packed) = plain {
            builder.close();
            builder.add_packed(pair.from.into_iter().collect(), &[*pair], packed);
        } else if options.is_empty() && builder.content(pair).is_some_and(|c| c.stored <= SMALL_STORED) {
            small.push(*pair);
        }
        for (profile, made) in options {
            match profile {
                // Beaten by the bundle in bytes and in time.
                _ if plain.is_some() => {}
                Profile::Fast => faster.push((pair, made)),
                profile => builder.add_delta(pair, *profile, made),
            }
        }
    }
    builder.close();
    // What packs well may still be large, such as a sparse file: no site would take a bundle of it.
    let fits = |c: &Content| c.stored <= SMALL_STORED && c.size <= BUNDLE;
    small.retain(|p| builder.content(p).is_some_and(fits));
    builder.add_bundles(&small)?;
    // Rarely fetched, so after everything else: the usual site reads the front of the pack in one go.
    for (pair, made) in faster {
        builder.add_delta(pair, Profile::Fast, made);
    }
    builder.close();
    let Builder { pack, mut table, .. } = builder;
    if !pack.is_empty() {
        let digest = Digest::of(&pack);
        store.put(&names::pack(&digest), &pack)?;
        table.pack = Some(digest);
    }
    let file = step::write(&table, from.map_or(&empty, |s| s.bytes), to.bytes)?;
    let digest = Digest::of(&file);
    store.put(&names::step(&digest), &file)?;
    Ok(StepRef {
        from: from.map(|s| Digest::of(s.bytes)),
        digest,
        size: file.len() as u64,
    })
}

/// What was made for one pair.
struct Tried {
    pair: Pair,
    options: Vec<(Profile, Made)>,
    plain: Option<Vec<u8>>,
}

/// Every content of a manifest, from nothing.
fn fresh(to: &Manifest) -> Vec<Pair> {
    let mut seen = BTreeSet::new();
    let entries = to.entries.iter().enumerate();
    let new = entries.filter(|(_, e)| e.content().is_some_and(|c| c.size > 0 && seen.insert(c.digest)));
    new.map(|(to, _)| Pair { from: None, to }).collect()
}

struct Builder<'a> {
    store: &'a dyn Store,
    from: Option<&'a Manifest>,
    to: &'a Manifest,
    pack: Vec<u8>,
    table: Table,
}

impl Builder<'_> {
    fn content(&self, pair: &Pair) -> Option<&Content> {
        self.to.entries.get(pair.to)?.content()
    }
    fn base(&self, pair: &Pair) -> Option<&Content> {
        self.from?.entries.get(pair.from?)?.content()
    }

    /// Large files, and small programs, are tried as deltas; small plain files go into bundles.
    fn delta_first(&self, pair: &Pair) -> bool {
        let Some(content) = self.content(pair) else {
            return false;
        };
        let program = || {
            blobs::load(self.store, &content.digest, content.size).is_ok_and(|b| b.starts_with(b"\x7fELF"))
        };
        pair.from.is_some() && (content.size > SMALL || program())
    }

    fn deltas(&self, pair: &Pair, watch: &dyn Watch) -> Result<Vec<(Profile, Made)>> {
        let (Some(old), Some(new)) = (self.base(pair), self.content(pair)) else {
            return Ok(Vec::new());
        };
        let mut made = Vec::new();
        let usual = deltas::make(self.store, old, new, Profile::Default, watch)?;
        let slow = usual.as_ref().is_none_or(|m| m.measured.us >= SLOW);
        if slow
            && let Some(fast) = deltas::make(self.store, old, new, Profile::Fast, watch)?
            && usual
                .as_ref()
                .is_none_or(|m| fast.measured.us * 2 < m.measured.us)
        {
            made.push((Profile::Fast, fast));
        }
        if let Some(usual) = usual {
            made.insert(0, (Profile::Default, usual));
        }
        Ok(made)
    }

    /// One file as a bundle of its own, zstd with the old file as prefix, where that beats the engine's delta.
    fn plain(&self, pair: &Pair, engine: Option<u64>) -> Result<Option<Vec<u8>>> {
        let (Some(old), Some(new)) = (self.base(pair), self.content(pair)) else {
            return Ok(None);
        };
        if old.size.max(new.size) > step::BUNDLE_LIMIT {
            return Ok(None);
        }
        let prefix = blobs::load(self.store, &old.digest, old.size)?;
        let bytes = blobs::load(self.store, &new.digest, new.size)?;
        let packed = compress::pack(&bytes, &prefix, compress::LEVEL)?;
        let best = engine.unwrap_or(u64::MAX).min(new.stored.saturating_sub(ROW));
        Ok((packed.len() as u64 <= best).then_some(packed))
    }

    /// Appends a delta to the open piece, which begins where the closed pieces end.
    fn add_delta(&mut self, pair: &Pair, profile: Profile, made: &Made) {
        let begin = self.closed();
        if self.pack.len() - begin + made.bytes.len() > PIECE {
            self.close();
        }
        let row = DeltaRow {
            from: pair.from.unwrap_or_default(),
            to: pair.to,
            piece: self.table.pieces.len(),
            at: (self.pack.len() - self.closed()) as u64,
            n: made.bytes.len() as u64,
            profile,
            us: made.measured.us,
            memory: made.measured.memory,
        };
        self.pack.extend_from_slice(&made.bytes);
        self.table.deltas.push(row);
    }

    fn closed(&self) -> usize {
        self.table.pieces.iter().map(|p| p.n as usize).sum()
    }

    fn close(&mut self) {
        let begin = self.closed();
        if let Some(bytes) = self.pack.get(begin..).filter(|b| !b.is_empty()) {
            let (n, h) = (bytes.len() as u64, Digest::of(bytes));
            self.table.pieces.push(Piece { n, h });
        }
    }

    /// Puts small files together, each bundle with the older versions of its files as prefix.
    fn add_bundles(&mut self, pairs: &[Pair]) -> Result<()> {
        let mut pairs = pairs.to_vec();
        // Neighbours by kind of file compress best.
        let extension = |p: &Pair| {
            let path = &self.to.entries[p.to].path;
            path.rsplit(|b| *b == b'.')
                .next()
                .filter(|e| e.len() < 8)
                .unwrap_or_default()
                .to_vec()
        };
        pairs.sort_by_cached_key(|p| (extension(p), p.to));
        let mut group: Vec<Pair> = Vec::new();
        let (mut plain, mut base) = (0, 0);
        for pair in pairs {
            let size = self.content(&pair).map_or(0, |c| c.size);
            let old = self.base(&pair).map_or(0, |c| c.size);
            if !group.is_empty() && (plain + size > BUNDLE || base + old > BUNDLE) {
                self.add_bundle(&std::mem::take(&mut group))?;
                (plain, base) = (0, 0);
            }
            (plain, base) = (plain + size, base + old);
            group.push(pair);
        }
        if group.is_empty() {
            Ok(())
        } else {
            self.add_bundle(&group)
        }
    }

    fn add_bundle(&mut self, group: &[Pair]) -> Result<()> {
        let (mut prefix, mut plain) = (Vec::new(), Vec::new());
        let mut bases = BTreeSet::new();
        for pair in group {
            if let (Some(i), Some(old)) = (pair.from, self.base(pair))
                && old.size <= BUNDLE
            {
                bases.insert(i);
            }
            if let Some(new) = self.content(pair) {
                plain.extend_from_slice(&blobs::load(self.store, &new.digest, new.size)?);
            }
        }
        let mut kept = Vec::new();
        for i in bases {
            let old = self.from.and_then(|m| m.entries.get(i)?.content());
            if let Some(old) = old.filter(|o| prefix.len() as u64 + o.size <= step::BUNDLE_LIMIT) {
                prefix.extend_from_slice(&blobs::load(self.store, &old.digest, old.size)?);
                kept.push(i);
            }
        }
        let packed = compress::pack(&plain, &prefix, compress::LEVEL)?;
        self.add_packed(kept, group, &packed);
        Ok(())
    }

    fn add_packed(&mut self, bases: Vec<usize>, group: &[Pair], packed: &[u8]) {
        let (n, h) = (packed.len() as u64, Digest::of(packed));
        let piece = self.table.pieces.len();
        let targets = group.iter().map(|p| p.to).collect();
        self.table.bundles.push(BundleRow {
            piece,
            bases,
            targets,
        });
        self.table.pieces.push(Piece { n, h });
        self.pack.extend_from_slice(packed);
    }
}

/// Reads a step back as a site would, which also proves that it can be read.
pub fn load(store: &dyn Store, step: &StepRef, from: &[u8], release: &Release) -> Result<step::Step> {
    let name = names::step(&step.digest);
    let file = store.get(&name, step.size)?.ok_or(crate::Error::NotFound(name))?;
    step::read(&file, from, release)
}
