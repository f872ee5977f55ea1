//! Builds one step: the deltas and bundles between two manifests, their pack and their table.

use super::blobs;
use super::deltas::{self, Made, SLOW};
use super::groups::Together;
use super::pack::Pack;
use super::pairs::{Pair, pairs};
use super::plan::Job;
use super::proof::Item;
use crate::manifest::{Content, Manifest};
use crate::step::{self, Applying, BundleRow, DeltaRow, Release, StepRef, Table};
use crate::store::Store;
use crate::watch::Heed;
use crate::{Digest, Jobs, PROTOCOL, Result, Watch, compress, limits, names, speed};
use elfdelta::Profile;
use std::collections::BTreeSet;

/// Files up to this size travel in bundles: what they have in common is told once.
const SMALL: u64 = 16 << 10;
/// So do those up to this size that are packed, which are opened there, or whose change takes few bytes: digests,
/// headers and rows of the table cost more than what they tell.
const MEDIUM: u64 = 256 << 10;
const FEW: u64 = 1 << 10;
/// Whole files up to this stored size travel in bundles when no delta pays: a request would cost more.
const SMALL_STORED: u64 = 48 << 10;
/// Plain bytes after which a bundle is full.
const BUNDLE: u64 = 1 << 20;
/// Bytes that a piece of its own must save over the whole file: about what it costs in the table.
pub(super) const ROW: u64 = 64;
/// Bytes of frames that may wait until it is known whether their files are told from other new ones.
const HELD: u64 = 64 << 20;
/// How a gzip file begins, and how many times its size it has once opened, about.
const GZIP: &[u8] = b"\x1f\x8b\x08";
const OPENED: u64 = 5;

/// One manifest with its bytes.
pub struct Side<'a> {
    /// Parsed.
    pub manifest: &'a Manifest,
    /// Canonical bytes.
    pub bytes: &'a [u8],
}

/// What a step is made with.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// Where blobs and finished jobs are, and the step goes.
    pub store: &'a dyn Store,
    /// Threads and memory.
    pub jobs: &'a Jobs,
    /// Hears of progress.
    pub watch: &'a dyn Watch,
}

/// The deltas that making the step will try.
pub fn jobs(tools: Tools, from: &Manifest, to: &Manifest) -> Result<Vec<Job>> {
    let maker = Maker {
        tools,
        from: Some(from),
        to,
    };
    let tried = pairs(from, to, tools)?
        .into_iter()
        .filter(|p| maker.delta_first(p));
    let job = |p: Pair| Some(Job::of(maker.base(&p)?, maker.content(&p)?, maker.need(&p)));
    Ok(tried.filter_map(job).collect())
}

/// Makes the step and stores pack and step file.
pub fn build(tools: Tools, from: Option<&Side>, to: &Side) -> Result<StepRef> {
    let maker = Maker {
        tools,
        from: from.map(|s| s.manifest),
        to: to.manifest,
    };
    let all = match from {
        Some(from) => pairs(from.manifest, to.manifest, tools)?,
        None => fresh(to.manifest),
    };
    let (store, watch) = (tools.store, tools.watch);
    let (large, mut small): (Vec<Pair>, Vec<Pair>) = all.iter().partition(|p| maker.delta_first(p));
    let mut output = Output {
        store,
        watch,
        pack: Pack::new(store)?,
        deltas: Vec::new(),
        bundles: Vec::new(),
        faster: Vec::new(),
    };
    let (mut members, mut leaning, mut done) = (Vec::new(), Vec::new(), 0);
    let mut held = 0;
    let take = |tried: Tried| {
        done += 1;
        watch.progress("deltas", done, large.len() as u64);
        let holds = tried.plain.as_ref().map_or(0, |p| p.len() as u64);
        if maker.may_lean(&tried) && held + holds <= HELD {
            held += holds;
            leaning.push(tried);
        } else if maker.may_join(&tried) {
            members.push(tried);
        } else {
            output.alone(&maker, tried, &mut small)?;
        }
        Ok(())
    };
    let need = |p: &Pair| maker.need(p);
    tools.jobs.run(&large, need, |p| maker.try_all(p), take)?;
    let mut joined = Vec::new();
    for (tried, patch) in maker.lean_all(leaning, &all)? {
        match patch {
            Some(patch) => joined.push(output.join(vec![tried], patch)),
            None if maker.may_join(&tried) => members.push(tried),
            None => output.alone(&maker, tried, &mut small)?,
        }
    }
    for (group, patch) in maker.together_all(members)? {
        match patch {
            Some(patch) => joined.push(output.join(group, patch)),
            None => group
                .into_iter()
                .try_for_each(|tried| output.alone(&maker, tried, &mut small))?,
        }
    }
    output.pack.close();
    for (pairs, patch) in joined {
        output.add_packed(patch.bases, &pairs, &patch.bytes, Some(patch.cost))?;
    }
    let plainer = output.small(&maker, small)?;
    // Rarely fetched, so after everything else: the usual site reads the front of the pack in one go.
    for (pair, made) in &std::mem::take(&mut output.faster) {
        output.add_delta(pair, Profile::Fast, made)?;
    }
    for bundle in plainer {
        output.add_packed(bundle.bases, &bundle.group, &bundle.packed, None)?;
    }
    output.finish(from, to)
}

/// Small files together.
struct Bundle {
    /// Entries of the older manifest.
    bases: Vec<usize>,
    group: Vec<Pair>,
    /// As a zstd frame.
    packed: Vec<u8>,
    /// As a patch, where that is smaller.
    patch: Option<(Vec<u8>, Applying)>,
}

/// What was made for one pair.
pub(super) struct Tried {
    pub pair: Pair,
    pub options: Vec<(Profile, Made)>,
    /// As a zstd frame, where that beats the deltas.
    pub plain: Option<Vec<u8>>,
}

impl Tried {
    /// Bytes of the smallest option.
    pub fn best(&self) -> Option<u64> {
        let sizes = self.options.iter().map(|(_, made)| made.measured.size);
        sizes.chain(self.plain.as_ref().map(|p| p.len() as u64)).min()
    }
}

/// Every content of a manifest, from nothing.
fn fresh(to: &Manifest) -> Vec<Pair> {
    let mut seen = BTreeSet::new();
    let entries = to.entries.iter().enumerate();
    let new = entries.filter(|(_, e)| e.content().is_some_and(|c| c.size > 0 && seen.insert(c.digest)));
    new.map(|(to, _)| Pair { from: None, to }).collect()
}

/// Makes what goes into the pack, on any thread.
pub(super) struct Maker<'a> {
    pub tools: Tools<'a>,
    from: Option<&'a Manifest>,
    pub to: &'a Manifest,
}

impl Maker<'_> {
    pub fn content(&self, pair: &Pair) -> Option<&Content> {
        self.to.entries.get(pair.to)?.content()
    }
    pub fn base(&self, pair: &Pair) -> Option<&Content> {
        self.old(pair.from?)
    }
    /// Entries of the older manifest; as bases of bundles, the newer one's are numbered behind them.
    pub fn olds(&self) -> usize {
        self.from.map_or(0, |from| from.entries.len())
    }
    fn old(&self, entry: usize) -> Option<&Content> {
        self.from?.entries.get(entry)?.content()
    }

    /// Large files, and small programs, are tried as deltas; small plain files go into bundles.
    fn delta_first(&self, pair: &Pair) -> bool {
        let Some(content) = self.content(pair) else {
            return false;
        };
        let begins = |start: &[u8]| blobs::begins_with(self.tools.store, content, start);
        let plain = || match content.size {
            0..=SMALL => !begins(b"\x7fELF"),
            _ => content.size <= MEDIUM && begins(GZIP),
        };
        pair.from.is_some() && !plain()
    }

    /// Memory that trying a pair takes, in bytes.
    fn need(&self, pair: &Pair) -> u64 {
        match (self.base(pair), self.content(pair)) {
            (Some(old), Some(new)) => deltas::memory(old.size, new.size + self.opened(&[*pair])),
            _ => 0,
        }
    }

    fn try_all(&self, pair: &Pair) -> Result<(Tried, u64)> {
        let options = self.deltas(pair)?;
        let plain = self.plain(pair, options.first().map(|(_, m)| m.measured.size))?;
        let holds = plain.as_ref().map_or(0, |p| p.len() as u64);
        let pair = *pair;
        Ok((Tried { pair, options, plain }, holds))
    }

    fn deltas(&self, pair: &Pair) -> Result<Vec<(Profile, Made)>> {
        let (Some(old), Some(new)) = (self.base(pair), self.content(pair)) else {
            return Ok(Vec::new());
        };
        deltas::options(self.tools.store, old, new, self.tools.watch)
    }

    /// One file as a bundle of its own, zstd with the old file as prefix, where that beats the engine's delta.
    fn plain(&self, pair: &Pair, engine: Option<u64>) -> Result<Option<Vec<u8>>> {
        let (Some(old), Some(new)) = (self.base(pair), self.content(pair)) else {
            return Ok(None);
        };
        if old.size.max(new.size) > limits::BUNDLE {
            return Ok(None);
        }
        let prefix = blobs::load(self.tools.store, old, self.tools.watch)?;
        let bytes = blobs::load(self.tools.store, new, self.tools.watch)?;
        let packed = compress::pack(&bytes, &prefix, compress::LEVEL, self.tools.watch)?;
        let best = engine.unwrap_or(u64::MAX).min(new.stored.saturating_sub(ROW));
        Ok((packed.len() as u64 <= best).then_some(packed))
    }

    /// Puts small files together, neighbours by kind of file, which compress best.
    fn groups(&self, mut pairs: Vec<Pair>) -> Vec<Vec<Pair>> {
        let extension = |p: &Pair| {
            let path = &self.to.entries[p.to].path;
            path.rsplit(|b| *b == b'.')
                .next()
                .filter(|e| e.len() < 8)
                .unwrap_or_default()
                .to_vec()
        };
        pairs.sort_by_cached_key(|p| (extension(p), p.to));
        let mut groups: Vec<Vec<Pair>> = Vec::new();
        let (mut plain, mut base) = (0, 0);
        for pair in pairs {
            let size = self.content(&pair).map_or(0, |c| c.size);
            let old = self.base(&pair).map_or(0, |c| c.size);
            match groups.last_mut() {
                Some(group) if plain + size <= BUNDLE && base + old <= BUNDLE => group.push(pair),
                _ => {
                    groups.push(vec![pair]);
                    (plain, base) = (0, 0);
                }
            }
            (plain, base) = (plain + size, base + old);
        }
        groups
    }

    /// Memory that a bundle takes, in bytes.
    fn group_need(&self, group: &[Pair]) -> u64 {
        let size = |c: Option<&Content>| c.map_or(0, |c| c.size);
        let bytes: u64 = group
            .iter()
            .map(|p| size(self.content(p)) + size(self.base(p)))
            .sum();
        compress::memory(bytes).max(deltas::memory(bytes, self.opened(group))) + 2 * bytes
    }

    /// Bytes that the packed files of a group have more once opened, about.
    fn opened(&self, group: &[Pair]) -> u64 {
        let packed = |content: &&Content| blobs::begins_with(self.tools.store, content, GZIP);
        let both = group.iter().flat_map(|p| [self.content(p), self.base(p)]);
        both.flatten().filter(packed).map(|c| c.size * OPENED).sum()
    }

    /// The bases of some pairs, entries of the older manifest, and both sides' contents one after the other. A base
    /// with which they would have more than so many bytes is left out, as is one that is there, unless `each` file
    /// is to stand opposite its own.
    pub fn contents(&self, group: &[Pair], most: u64, each: bool) -> Result<(Vec<usize>, [Vec<u8>; 2])> {
        let Tools { store, watch, .. } = self.tools;
        watch.check()?;
        let (mut prefix, mut plain) = (Vec::new(), Vec::new());
        // In the order of the files that they are the bases of, so that the engine finds them there.
        let (mut bases, mut seen) = (Vec::new(), BTreeSet::new());
        for pair in group {
            let fits = |o: &&Content| prefix.len() as u64 + o.size <= most;
            if let (Some(i), Some(old)) = (pair.from, self.base(pair).filter(fits))
                && (seen.insert(i) || each)
            {
                blobs::copy(store, old, &mut prefix, watch)?;
                bases.push(i);
            }
            if let Some(new) = self.content(pair) {
                blobs::copy(store, new, &mut plain, watch)?;
            }
        }
        Ok((bases, [prefix, plain]))
    }

    /// Packs small files with the older versions of them as prefix, and makes a patch of them.
    fn bundle(&self, group: &[Pair]) -> Result<(Bundle, u64)> {
        let (kept, [prefix, plain]) = self.contents(group, limits::BUNDLE, false)?;
        let packed = compress::pack(&plain, &prefix, compress::LEVEL, self.tools.watch)?;
        let patch = match kept.is_empty() {
            true => None,
            false => self.bundled_patch(&prefix, &plain, packed.len() as u64)?,
        };
        let holds = packed.len() + patch.as_ref().map_or(0, |(patch, _)| patch.len());
        let bundle = Bundle {
            bases: kept,
            group: group.to_vec(),
            packed,
            patch,
        };
        Ok((bundle, holds as u64))
    }

    /// The patch between files, one after the other, where it is smaller than `packed` and sites can take it.
    pub fn bundled_patch(&self, old: &[u8], new: &[u8], packed: u64) -> Result<Option<(Vec<u8>, Applying)>> {
        let (patch, measured) = deltas::measured(old, new, Profile::Default, packed, self.tools.watch)?;
        let cost = Applying {
            us: measured.us,
            memory: measured.memory,
            scratch: measured.scratch,
        };
        let fits = cost.memory + measured.size <= limits::MEMORY && cost.scratch <= limits::SCRATCH;
        // A bundle that some site cannot read would cost it all the files.
        let fits = fits && measured.encoders.is_empty();
        Ok((measured.pays && fits).then_some((patch, cost)))
    }
}

/// Pack and table as they grow.
struct Output<'a> {
    store: &'a dyn Store,
    watch: &'a dyn Watch,
    pack: Pack,
    deltas: Vec<DeltaRow>,
    bundles: Vec<BundleRow>,
    /// Fast deltas, which come last.
    faster: Vec<(Pair, Made)>,
}

impl Output<'_> {
    /// Stores pack and step file.
    fn finish(self, from: Option<&Side>, to: &Side) -> Result<StepRef> {
        let (store, watch) = (self.store, self.watch);
        let (pack, pieces) = self.pack.finish(store, watch)?;
        let table = Table {
            protocol: PROTOCOL,
            pack,
            reference_us: speed::NOMINAL_US,
            pieces,
            deltas: self.deltas,
            bundles: self.bundles,
        };
        let file = step::write(&table, from.map_or(&[], |s| s.bytes), to.bytes, watch)?;
        let digest = Digest::of(&file);
        Item::raw(names::step(&digest), digest, Some(file.len() as u64)).drop_wrong(store, watch)?;
        store.put(&names::step(&digest), &file)?;
        Ok(StepRef {
            from: from.map(|s| Digest::of(s.bytes)),
            digest,
            size: file.len() as u64,
        })
    }

    /// Adds what was made for one pair by itself, or leaves it to the bundles of small files.
    fn alone(&mut self, maker: &Maker, tried: Tried, small: &mut Vec<Pair>) -> Result<()> {
        let few = tried.best().is_some_and(|best| best <= FEW);
        let Tried { pair, options, plain } = tried;
        let content = |fits: &dyn Fn(&Content) -> bool| maker.content(&pair).is_some_and(fits);
        if few && content(&|c| c.size <= MEDIUM) {
            small.push(pair);
            return Ok(());
        }
        if let Some(packed) = plain {
            // Deltas are beaten by it in bytes and in time.
            return self.add_packed(pair.from.into_iter().collect(), &[pair], &packed, None);
        }
        if options.is_empty() && content(&|c| c.stored <= SMALL_STORED) {
            small.push(pair);
        }
        for (profile, made) in options {
            match profile {
                Profile::Fast => self.faster.push((pair, made)),
                profile => self.add_delta(&pair, profile, &made)?,
            }
        }
        Ok(())
    }

    /// Adds the bundles of small files; gives those whose patch takes long.
    fn small(&mut self, maker: &Maker, mut small: Vec<Pair>) -> Result<Vec<Bundle>> {
        // What packs well may still be large, such as a sparse file: no site would take a bundle of it.
        // Those with a base were put there for what they hold, or for how little of them changes.
        let fits = |p: &Pair, c: &Content| match p.from {
            Some(_) if c.size <= MEDIUM => true,
            _ => c.stored <= SMALL_STORED && c.size <= BUNDLE,
        };
        small.retain(|p| maker.content(p).is_some_and(|c| fits(p, c)));
        let groups = maker.groups(small);
        let (mut done, mut plainer) = (0, Vec::new());
        let need = |g: &Vec<Pair>| maker.group_need(g);
        let take = |bundle: Bundle| {
            done += 1;
            self.watch.progress("bundles", done, groups.len() as u64);
            let Some((patch, cost)) = &bundle.patch else {
                return self.add_packed(bundle.bases, &bundle.group, &bundle.packed, None);
            };
            self.add_packed(bundle.bases.clone(), &bundle.group, patch, Some(*cost))?;
            if cost.us >= SLOW {
                plainer.push(bundle);
            }
            Ok(())
        };
        let make = |group: &Vec<Pair>| maker.bundle(group);
        maker.tools.jobs.run(&groups, need, make, take)?;
        Ok(plainer)
    }

    /// The pairs of a group; what of them is fast stays on offer, for sites that have more bandwidth than time.
    fn join(&mut self, group: Vec<Tried>, patch: Together) -> (Vec<Pair>, Together) {
        let pairs = group.iter().map(|tried| tried.pair).collect();
        for Tried { pair, options, .. } in group {
            let fast = options.into_iter().filter(|(p, _)| *p == Profile::Fast);
            self.faster.extend(fast.map(|(_, made)| (pair, made)));
        }
        (pairs, patch)
    }

    fn add_delta(&mut self, pair: &Pair, profile: Profile, made: &Made) -> Result<()> {
        let bytes = Heed::new(made.open(self.store)?, self.watch);
        let place = self.pack.add(bytes, made.measured.size, &made.measured.digest)?;
        self.deltas.push(DeltaRow {
            from: pair.from.unwrap_or_default(),
            to: pair.to,
            piece: place.piece,
            at: place.at,
            n: place.n,
            profile,
            us: made.measured.us,
            memory: made.measured.memory,
            scratch: made.measured.scratch,
            encoders: made.measured.encoders.clone(),
        });
        Ok(())
    }

    fn add_packed(
        &mut self,
        bases: Vec<usize>,
        group: &[Pair],
        packed: &[u8],
        patch: Option<Applying>,
    ) -> Result<()> {
        let piece = self.pack.add_piece(packed)?;
        let targets = group.iter().map(|p| p.to).collect();
        self.bundles.push(BundleRow {
            piece,
            bases,
            targets,
            patch,
        });
        Ok(())
    }
}

/// Reads a step back as a site would, which also proves that it can be read.
pub fn load(store: &dyn Store, step: &StepRef, from: &[u8], release: &Release) -> Result<step::Step> {
    let name = names::step(&step.digest);
    let file = store.get(&name, step.size)?;
    let file = file.filter(|f| Digest::of(f) == step.digest);
    let file = file.ok_or(crate::Error::DamagedRepository(name))?;
    step::read(&file, from, release)
}
