//! Writes one step: its pack and its table.

use super::deltas::Form;
use super::job::Made;
use super::pack::Pack;
use super::pairs::Pair;
use super::parts::{Maker, Parts, Tools, Tried};
use super::proof::Item;
use crate::manifest::Manifest;
use crate::step::{self, Applying, BundleRow, DeltaRow, Release, StepRef, Table};
use crate::store::Store;
use crate::watch::Heed;
use crate::{Digest, Error, PROTOCOL, Result, Watch, names, speed};
use elfdelta::Profile;

/// Bytes that a piece of its own must save over the whole file: about what it costs in the table.
pub(super) const ROW: u64 = 64;
/// Apply times below this (microseconds of the nominal machine) are too short for a second, faster way to gain.
pub(super) const SLOW: u64 = 20_000;

/// One manifest with its bytes.
pub struct Side<'a> {
    /// Parsed.
    pub manifest: &'a Manifest,
    /// Canonical bytes.
    pub bytes: &'a [u8],
}

/// Makes the step and stores pack and step file.
pub fn build(tools: Tools, from: Option<&Side>, to: &Side) -> Result<StepRef> {
    let maker = Maker::new(tools, from.map(|s| s.manifest), to.manifest)?;
    let parts = maker.parts()?;
    let parts = parts.ok_or_else(|| Error::Usage("a worker writes no steps".into()))?;
    let Parts {
        alone,
        joined,
        bundles,
    } = parts;
    let mut output = Output {
        store: tools.store,
        watch: tools.watch,
        pack: Pack::new(tools.store)?,
        deltas: Vec::new(),
        bundles: Vec::new(),
        faster: Vec::new(),
    };
    alone.into_iter().try_for_each(|tried| output.alone(tried))?;
    // What of a group is fast stays on offer, for sites that have more bandwidth than time.
    for (group, _) in &joined {
        for Tried { pair, made } in group {
            let fast = made.iter().filter(|m| m.measured.form == Form::Fast);
            output.faster.extend(fast.map(|m| (*pair, m.clone())));
        }
    }
    output.pack.close();
    for (group, together) in joined {
        let pairs: Vec<Pair> = group.iter().map(|tried| tried.pair).collect();
        output.add_bundle(together.bases, &pairs, &together.patch)?;
    }
    let mut plainer = Vec::new();
    for bundle in bundles {
        let made = bundle.patch.as_ref().unwrap_or(&bundle.frame);
        output.add_bundle(bundle.bases.clone(), &bundle.group, made)?;
        if made.measured.micros >= SLOW {
            plainer.push(bundle);
        }
    }
    // Rarely fetched, so after everything else: the usual site reads the front of the pack in one go.
    for (pair, made) in &std::mem::take(&mut output.faster) {
        output.add_delta(pair, Profile::Fast, made)?;
    }
    for bundle in plainer {
        output.add_bundle(bundle.bases, &bundle.group, &bundle.frame)?;
    }
    let step = output.finish(from, to)?;
    maker.cost.get().keep(tools.store, &step.digest)?;
    Ok(step)
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
            nominal_micros: speed::NOMINAL_MICROS,
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

    /// Adds what was made for one pair by itself.
    fn alone(&mut self, tried: Tried) -> Result<()> {
        let pair = tried.pair;
        if let Some(frame) = tried.frame() {
            // Deltas are beaten by it in bytes and in time.
            return self.add_bundle(pair.from.into_iter().collect(), &[pair], frame);
        }
        for made in tried.made {
            match made.measured.form {
                Form::Fast => self.faster.push((pair, made)),
                _ => self.add_delta(&pair, Profile::Default, &made)?,
            }
        }
        Ok(())
    }

    fn add_delta(&mut self, pair: &Pair, profile: Profile, made: &Made) -> Result<()> {
        let bytes = Heed::new(made.open(self.store)?, self.watch);
        let measured = &made.measured;
        let place = self.pack.add(bytes, measured.size, &measured.digest)?;
        self.deltas.push(DeltaRow {
            from: pair.from.unwrap_or_default(),
            to: pair.to,
            piece: place.piece,
            at: place.at,
            length: place.length,
            profile,
            micros: measured.micros,
            memory: measured.memory,
            scratch: measured.scratch,
            encoders: measured.encoders.clone(),
        });
        Ok(())
    }

    fn add_bundle(&mut self, bases: Vec<usize>, group: &[Pair], made: &Made) -> Result<()> {
        let measured = &made.measured;
        let patch = measured.form.profile().map(|_| Applying {
            micros: measured.micros,
            memory: measured.memory,
            scratch: measured.scratch,
        });
        let piece = self.pack.add_piece(&made.load(self.store)?)?;
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
