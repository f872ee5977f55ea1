//! Proof of a release before it is signed: what a site with default limits does with it, from nothing and from each
//! base. A release that no site could take would be the head of its channel all the same.

use super::blobs;
use super::parts::Tools;
use super::steps::Side;
use crate::error::Doing;
use crate::manifest::{Content, Kind, Manifest};
use crate::step::{self, Applying, Base, BundleRow, Channel, DeltaRow, Release, Step, StepRef};
use crate::store::Store;
use crate::watch::{ForEngine, Heed};
use crate::{Digest, Error, Result, Watch, compress, limits, names};
use elfdelta::Patch;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// What sites take: the numbers of [`limits`], unless a farm promises smaller ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteLimits {
    /// Bytes of a path or link target.
    pub path: u64,
    /// Bytes of a component of a path.
    pub name: u64,
    /// Bytes of a file's extended attributes.
    pub xattrs: u64,
    /// Paths of a release.
    pub entries: u64,
    /// Plain bytes of a manifest.
    pub manifest: u64,
    /// Bytes of a step file.
    pub step: u64,
    /// Plain bytes of a step.
    pub step_plain: u64,
    /// Bytes of a channel file.
    pub channel: u64,
    /// Plain bytes of a bundle, and of its bases.
    pub bundle: u64,
    /// The same of one that is a patch.
    pub group: u64,
    /// Bytes of a piece.
    pub piece: u64,
    /// Bytes of the window of a zstd frame.
    pub window: u64,
    /// Bytes of memory for rebuilding one file.
    pub memory: u64,
}

impl Default for SiteLimits {
    fn default() -> Self {
        SiteLimits {
            path: limits::PATH as u64,
            name: limits::NAME as u64,
            xattrs: limits::XATTRS as u64,
            entries: limits::ENTRIES,
            manifest: limits::MANIFEST,
            step: limits::STEP,
            step_plain: limits::STEP_PLAIN,
            channel: limits::CHANNEL,
            bundle: limits::BUNDLE,
            group: limits::GROUP,
            piece: limits::PIECE,
            window: 1 << limits::WINDOW,
            memory: limits::MEMORY,
        }
    }
}

/// Fails where there is more than sites take.
fn within(what: &str, found: u64, limit: u64) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "no site could take this release: {what} is {found}, and sites take {limit}; nothing was published"
    )))
}

/// The manifest: its size, and all that it says of paths.
pub fn manifest(limits: &SiteLimits, side: &Side) -> Result<()> {
    within(
        "the size of its manifest",
        side.bytes.len() as u64,
        limits.manifest,
    )?;
    within(
        "the number of its paths",
        side.manifest.entries.len() as u64,
        limits.entries,
    )?;
    for entry in &side.manifest.entries {
        let shown = || entry.shown().chars().take(60).collect::<String>();
        let path = |what: &str, path: &[u8]| {
            within(
                &format!("the length of {what} {}...", shown()),
                path.len() as u64,
                limits.path,
            )
        };
        path("the path", &entry.path)?;
        let longest = entry.path.split(|b| *b == b'/').map(<[u8]>::len).max();
        within(
            &format!("the longest name in {}...", shown()),
            longest.unwrap_or(0) as u64,
            limits.name,
        )?;
        if let Kind::Symlink(target) | Kind::Hard(target) = &entry.kind {
            path("the target of", target)?;
        }
        let attributes: usize = entry
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        within(
            &format!("the attributes of {}", shown()),
            attributes as u64,
            limits.xattrs,
        )?;
    }
    Ok(())
}

/// The manifest's own file, and every content as a whole file: the way that a site takes when all others fail.
pub fn whole_files(tools: Tools, limits: &SiteLimits, release: &Release, to: &Manifest) -> Result<()> {
    let name = names::manifest(&release.manifest);
    let packed = tools.store.get(&name, release.manifest_stored)?;
    let packed = packed.ok_or_else(|| Error::NotFound(name.clone()))?;
    within(
        "the window of its manifest",
        compress::window(&packed),
        limits.window,
    )?;
    let bytes =
        compress::unpack(&packed, &[], release.manifest_size.min(limits.manifest)).doing("unpack", &name)?;
    if Digest::of(&bytes) != release.manifest {
        return Err(Error::Damaged(format!("{name} in the repository")));
    }
    drop((bytes, packed));
    within(
        "the memory for a whole file",
        compress::UNPACK_MEMORY,
        limits.memory,
    )?;
    let mut contents: Vec<&Content> = to.files().map(|(_, c)| c).filter(|c| c.size > 0).collect();
    contents.sort_unstable_by_key(|c| c.digest);
    contents.dedup_by_key(|c| c.digest);
    let look = |content: &&Content| {
        tools.watch.check()?;
        let (name, file) = blobs::open(tools.store, &content.digest)?;
        if file.metadata().doing("read", &name)?.len() != content.stored {
            return Err(Error::Damaged(format!("{name} in the repository")));
        }
        let mut start = Vec::new();
        file.take(compress::WINDOW_BYTES)
            .read_to_end(&mut start)
            .doing("read", &name)?;
        within("the window of a file", compress::window(&start), limits.window)?;
        Ok(((), 0))
    };
    tools.jobs.run(&contents, |_| 0, look, |()| Ok(()))
}

/// A step, read as a site reads it; every piece of its pack by digest, every bundle unpacked, every delta's header.
pub fn step(
    tools: Tools,
    limits: &SiteLimits,
    reference: &StepRef,
    from: Option<&Side>,
    release: &Release,
) -> Result<()> {
    let name = names::step(&reference.digest);
    let file = tools.store.get(&name, reference.size)?;
    let file = file.ok_or_else(|| Error::NotFound(name.clone()))?;
    within("the size of a step", file.len() as u64, limits.step)?;
    let (window, plain) = step::extent(&file)?;
    within("the window of a step", window, limits.window)?;
    within("the plain size of a step", plain, limits.step_plain)?;
    let step = step::read(&file, from.map_or(&[], |s| s.bytes), release)?;
    drop(file);
    let mut pieces: Vec<Held> = (step.table.pieces.iter().zip(&step.offsets))
        .map(|(piece, at)| Held {
            at: *at,
            length: piece.length,
            digest: piece.digest,
            deltas: Vec::new(),
            bundles: Vec::new(),
        })
        .collect();
    for delta in &step.table.deltas {
        pieces[delta.piece].deltas.push(delta);
    }
    for bundle in &step.table.bundles {
        pieces[bundle.piece].bundles.push(bundle);
    }
    let Some(pack) = &step.table.pack else {
        return Ok(());
    };
    let name = names::pack(pack);
    let pack = tools
        .store
        .open(&name)?
        .ok_or_else(|| Error::NotFound(name.clone()))?;
    let proof = Proof {
        store: tools.store,
        watch: tools.watch,
        limits,
        step: &step,
        pack,
        name,
    };
    let need = |piece: &Held| {
        let patches = piece.bundles.iter().filter_map(|b| b.patch);
        let takes = patches.map(|p| 2 * limits.group + p.memory + p.scratch);
        piece.length + takes.max().unwrap_or(2 * limits.bundle) + compress::UNPACK_MEMORY
    };
    let prove = |piece: &Held| {
        tools.watch.check()?;
        Ok((proof.piece(piece)?, 0))
    };
    tools.jobs.run(&pieces, need, prove, |()| Ok(()))
}

/// One piece and what the table says lies in it.
struct Held<'a> {
    at: u64,
    length: u64,
    digest: Digest,
    deltas: Vec<&'a DeltaRow>,
    bundles: Vec<&'a BundleRow>,
}

struct Proof<'a> {
    store: &'a dyn Store,
    watch: &'a dyn Watch,
    limits: &'a SiteLimits,
    step: &'a Step,
    pack: File,
    name: String,
}

impl Proof<'_> {
    fn piece(&self, piece: &Held) -> Result<()> {
        within("the size of a piece", piece.length, self.limits.piece)?;
        let mut bytes = vec![0; usize::try_from(piece.length).unwrap_or(usize::MAX)];
        self.pack
            .read_exact_at(&mut bytes, piece.at)
            .doing("read", &self.name)?;
        let whole = Digest::of_reader(Heed::new(&bytes[..], self.watch)).doing("read", &self.name)?;
        if whole.0 != piece.digest {
            return Err(Error::Damaged(format!("{} in the repository", self.name)));
        }
        for delta in &piece.deltas {
            // Its range was checked against the piece when the step was read.
            self.delta(delta, &bytes[delta.at as usize..][..delta.length as usize])?;
        }
        piece
            .bundles
            .iter()
            .try_for_each(|bundle| self.bundle(bundle, &bytes))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::Damaged(format!("{what} in {}", self.name))
    }
    fn base(&self, entry: usize) -> Option<&Content> {
        self.step.from.as_ref()?.entries.get(entry)?.content()
    }
    fn target(&self, entry: usize) -> Option<&Content> {
        self.step.to.entries.get(entry)?.content()
    }

    /// The patch is of these two files. It was applied when it was made.
    fn delta(&self, row: &DeltaRow, bytes: &[u8]) -> Result<()> {
        let patch = Patch::parse(bytes)?;
        let header = patch.header();
        let (old, new) = (self.base(row.from), self.target(row.to));
        let same = old.is_some_and(|c| (c.digest.0, c.size) == (header.old_digest, header.old_len))
            && new.is_some_and(|c| (c.digest.0, c.size) == (header.new_digest, header.new_len));
        let packing = header.packing.clone().unwrap_or_default();
        let declared = (row.memory, row.scratch, &row.encoders);
        if same && (header.memory, packing.scratch, &packing.encoders) == declared {
            Ok(())
        } else {
            Err(self.wrong("a delta"))
        }
    }

    fn bundle(&self, row: &BundleRow, bytes: &[u8]) -> Result<()> {
        let bases = row.bases.iter().filter_map(|i| self.step.base(*i));
        let bases: Vec<&Content> = bases.map(Base::content).collect();
        let targets: Vec<&Content> = row.targets.iter().filter_map(|i| self.target(*i)).collect();
        let sum = |contents: &[&Content]| contents.iter().map(|c| c.size).sum::<u64>();
        let (base, plain) = (sum(&bases), sum(&targets));
        let most = match row.patch {
            Some(_) => self.limits.group,
            None => self.limits.bundle,
        };
        within("the size of a bundle", plain, most)?;
        within("the size of a bundle's bases", base, most)?;
        let mut prefix = Vec::new();
        bases
            .iter()
            .try_for_each(|c| blobs::copy(self.store, c, &mut prefix, self.watch))?;
        let unpacked = match row.patch {
            Some(declared) => self.bundled_patch(declared, bytes, &prefix, plain)?,
            None => {
                within(
                    "the window of a bundle",
                    compress::window(bytes),
                    self.limits.window,
                )?;
                let memory = compress::UNPACK_MEMORY + bytes.len() as u64 + base + plain;
                within("the memory for a bundle", memory, self.limits.memory)?;
                compress::unpack(bytes, &prefix, plain).doing("unpack a bundle of", &self.name)?
            }
        };
        let mut rest = &unpacked[..];
        for target in targets {
            let (part, after) = rest
                .split_at_checked(target.size as usize)
                .ok_or_else(|| self.wrong("a bundle"))?;
            if Digest::of(part) != target.digest {
                return Err(self.wrong("a bundle"));
            }
            rest = after;
        }
        Ok(())
    }

    /// Applies the patch of a bundle within what the table says of it.
    fn bundled_patch(&self, declared: Applying, bytes: &[u8], bases: &[u8], plain: u64) -> Result<Vec<u8>> {
        let memory = declared.memory + bytes.len() as u64;
        within("the memory for a bundle", memory, self.limits.memory)?;
        within(
            "the scratch space for a bundle",
            declared.scratch,
            limits::SCRATCH,
        )?;
        // In memory here, where scratch space counts as such.
        let allowed = elfdelta::Limits::new()
            .memory(declared.memory.saturating_add(declared.scratch))
            .scratch(declared.scratch)
            .output(plain)
            .threads(1);
        let progress = ForEngine(self.watch);
        let (patch, mut unpacked) = (Patch::parse(bytes)?, Vec::new());
        let applier = patch.applier().limits(allowed).progress(&progress);
        applier.apply(&bases, &mut unpacked)?;
        Ok(unpacked)
    }
}

/// The channel file.
pub fn channel(limits: &SiteLimits, channel: &Channel) -> Result<()> {
    let text =
        serde_json::to_vec(channel).map_err(|e| Error::io("encode channel", std::io::Error::from(e)))?;
    within("the size of the channel file", text.len() as u64, limits.channel)?;
    Channel::parse(&text, &channel.follow).map(drop)
}
