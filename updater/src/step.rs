//! Channel files and steps: what a repository says about releases, and about the ways from one to another.

use crate::compress;
use crate::manifest::{self, Change, Content, Manifest};
use crate::names::Follow;
use crate::{Digest, Error, PROTOCOL, Result, Watch, limits};
use elfdelta::Profile;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// The releases of one product, channel and architecture; its digest is signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Version of the protocol.
    pub protocol: u32,
    /// What it is about; must be what the site follows.
    #[serde(flatten)]
    pub follow: Follow,
    /// Lowest sequence that a site may go to.
    pub floor: u64,
    /// In ascending order of sequence; the last is the head.
    pub releases: Vec<Release>,
}

/// One release of a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Release {
    /// Id, for people.
    pub release: String,
    /// Position in the channel.
    pub sequence: u64,
    /// Whether a policy may apply it at once.
    pub urgent: bool,
    /// When it was published, RFC 3339.
    pub published: String,
    /// Digest of the manifest's plain bytes.
    pub manifest: Digest,
    /// Length of the manifest's plain bytes.
    pub manifest_size: u64,
    /// Length of the manifest's file in the repository.
    pub manifest_stored: u64,
    /// Ways to this release.
    pub steps: Vec<StepRef>,
}

/// Names a step file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRef {
    /// Manifest that it starts from; none: from an empty site.
    pub from: Option<Digest>,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Length of the file.
    pub size: u64,
}

impl Channel {
    /// Parses a channel file whose digest was checked, and checks that it is about `follow`.
    pub fn parse(bytes: &[u8], follow: &Follow) -> Result<Channel> {
        #[derive(Deserialize)]
        struct Only {
            protocol: u32,
        }
        let bad = |e: serde_json::Error| Error::malformed("channel file", e.to_string());
        let only: Only = serde_json::from_slice(bytes).map_err(bad)?;
        if only.protocol != PROTOCOL {
            return Err(Error::TooNew(format!(
                "a repository of protocol {}",
                only.protocol
            )));
        }
        let channel: Channel = serde_json::from_slice(bytes).map_err(bad)?;
        if channel.follow != *follow {
            return Err(Error::Untrusted(format!(
                "the channel file is about {:?}",
                channel.follow
            )));
        }
        if !channel.releases.is_sorted_by(|a, b| a.sequence < b.sequence) {
            return Err(Error::malformed("channel file", "sequences do not ascend"));
        }
        Ok(channel)
    }

    /// A release by id.
    pub fn find(&self, release: &str) -> Option<&Release> {
        self.releases.iter().find(|r| r.release == release)
    }

    /// The newest release.
    pub fn head(&self) -> Option<&Release> {
        self.releases.last()
    }
}

/// Bytes of a pack that are fetched and checked together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Length in bytes; pieces follow each other without gaps.
    #[serde(rename = "n")]
    pub length: u64,
    /// SHA-256.
    #[serde(rename = "h")]
    pub digest: Digest,
}

/// One delta inside a piece.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeltaRow {
    /// Entry of the `from` manifest that is the base.
    pub from: usize,
    /// Entry of the target manifest that comes out.
    pub to: usize,
    /// Piece that holds it.
    pub piece: usize,
    /// Offset in the piece.
    pub at: u64,
    /// Length of the delta.
    #[serde(rename = "n")]
    pub length: u64,
    /// Engine profile.
    pub profile: Profile,
    /// Apply time on the nominal machine, microseconds.
    #[serde(rename = "us")]
    pub micros: u64,
    /// Memory needed beyond the delta, bytes.
    pub memory: u64,
    /// Scratch space for what is packed in the base, bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch: u64,
    /// Encoders of the engine without which the target cannot be packed again, by name and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encoders: Vec<String>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What applying the patch of a bundle takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applying {
    /// Apply time on the nominal machine, microseconds.
    #[serde(rename = "us")]
    pub micros: u64,
    /// Memory needed beyond the patch, bytes.
    pub memory: u64,
    /// Scratch space for what is packed in the bases, bytes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub scratch: u64,
}

/// Many small files in one piece: a zstd frame with the bases as its prefix, or a patch of the engine from the bases,
/// one after the other, to the targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleRow {
    /// The piece.
    pub piece: usize,
    /// Entries of the `from` manifest, and behind the last of them those of the target manifest, whose contents one
    /// after the other are the prefix: see [`Step::base`].
    pub bases: Vec<usize>,
    /// Entries of the target manifest, whose contents one after the other come out.
    pub targets: Vec<usize>,
    /// What applying takes, of a patch; none: a zstd frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Applying>,
}

impl BundleRow {
    /// The most plain bytes that it may have, and its bases.
    pub fn most(&self) -> u64 {
        match self.patch {
            Some(_) => limits::GROUP,
            None => limits::BUNDLE,
        }
    }
}

/// How to go from one manifest to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Version of the protocol.
    pub protocol: u32,
    /// Digest of the pack that holds the pieces; none if there are none.
    pub pack: Option<Digest>,
    /// Time that the nominal machine needs for the speed test, microseconds.
    #[serde(rename = "reference_us")]
    pub nominal_micros: u64,
    /// The pack's pieces in order.
    pub pieces: Vec<Piece>,
    /// Deltas in pieces.
    pub deltas: Vec<DeltaRow>,
    /// Bundles in pieces.
    pub bundles: Vec<BundleRow>,
}

impl Table {
    fn parse(bytes: &[u8]) -> Result<Table> {
        let table: Table =
            serde_json::from_slice(bytes).map_err(|e| Error::malformed("step", e.to_string()))?;
        match table.protocol {
            PROTOCOL => Ok(table),
            newer => Err(Error::TooNew(format!("a step of protocol {newer}"))),
        }
    }

    /// The table of a step file whose digest was checked, without the manifests.
    pub fn of(mut file: &[u8]) -> Result<Table> {
        let plain = compress::unpack(frame(&mut file)?, &[], limits::STEP_PLAIN);
        Table::parse(&plain.map_err(|e| Error::malformed("step", e.to_string()))?)
    }

    /// Offset of every piece in the pack.
    pub fn offsets(&self) -> Result<Vec<u64>> {
        let mut end = 0u64;
        let offset = |piece: &Piece| {
            let begin = end;
            end = end
                .checked_add(piece.length)
                .filter(|_| piece.length <= limits::PIECE)?;
            Some(begin)
        };
        let offsets: Option<Vec<u64>> = self.pieces.iter().map(offset).collect();
        offsets.ok_or_else(|| Error::malformed("step", "piece too long"))
    }
}

/// A step as read: both manifests and the table between them.
#[derive(Clone, Debug)]
pub struct Step {
    /// The manifest it starts from.
    pub from: Option<Manifest>,
    /// The manifest it leads to.
    pub to: Arc<Manifest>,
    /// Digest of `to`.
    pub to_digest: Digest,
    /// Deltas and bundles.
    pub table: Table,
    /// Offset of every piece in the pack.
    pub offsets: Vec<u64>,
    /// How many rows one after the other lead to a content, where any of them begins from a new one.
    pub levels: HashMap<Digest, u8>,
}

/// A base of a bundle.
#[derive(Clone, Copy, Debug)]
pub enum Base<'a> {
    /// A content of the manifest that the step starts from.
    Old(&'a Content),
    /// A content of the target manifest, which must be made before.
    New(&'a Content),
}

impl<'a> Base<'a> {
    /// The content.
    pub fn content(self) -> &'a Content {
        match self {
            Base::Old(content) | Base::New(content) => content,
        }
    }
}

/// Rows that may follow on each other before all of a new base is there.
pub const LEVELS: u8 = 4;

/// Writes a step file: the table, then the target manifest, in terms of the first if there is one. Each column is a zstd
/// frame with its length before it; digests stand behind them as they are.
pub fn write(table: &Table, from: &[u8], to: &[u8], watch: &dyn Watch) -> Result<Vec<u8>> {
    let table = serde_json::to_vec(table).map_err(|e| Error::io("encode step", std::io::Error::from(e)))?;
    let change = match from {
        [] => Change {
            lines: to.to_vec(),
            ..Change::default()
        },
        _ => Change::between(&Manifest::parse(from)?, &Manifest::parse(to)?),
    };
    let mut file = Vec::new();
    for column in [
        &table,
        &change.lines,
        &change.ops,
        &change.times,
        &change.sizes,
        &change.again,
    ] {
        let frame = compress::pack(column, &[], compress::LEVEL, watch)?;
        manifest::put(&mut file, frame.len() as u64);
        file.extend_from_slice(&frame);
    }
    file.extend_from_slice(&change.digests);
    Ok(file)
}

/// Columns of a step file.
const COLUMNS: usize = 6;

/// Takes the frame of the next column of a step file.
fn frame<'f>(file: &mut &'f [u8]) -> Result<&'f [u8]> {
    let len = manifest::take(file).and_then(|len| usize::try_from(len).ok());
    let split = len.and_then(|len| file.split_at_checked(len));
    let (frame, rest) = split.ok_or_else(|| Error::malformed("step", "a column is cut off"))?;
    *file = rest;
    Ok(frame)
}

/// The largest window of a step file's frames, and what all of it has in plain bytes.
pub fn extent(mut file: &[u8]) -> Result<(u64, u64)> {
    let (mut window, mut plain) = (0, 0);
    for _ in 0..COLUMNS {
        let frame = frame(&mut file)?;
        window = compress::window(frame).max(window);
        let length = compress::length(frame).map_err(|e| Error::malformed("step", e.to_string()))?;
        plain += length;
    }
    Ok((window, plain + file.len() as u64))
}

/// Reads a step file whose digest was checked. `from` are the bytes of the manifest it starts from (empty: none).
pub fn read(file: &[u8], from: &[u8], release: &Release) -> Result<Step> {
    read_with(file, from, release, None)
}

/// As [`read`], with the manifest of the release that the step leads to if it was read before: of one release there is
/// one in memory, however many steps lead there.
pub fn read_with(file: &[u8], from: &[u8], release: &Release, to: Option<&Arc<Manifest>>) -> Result<Step> {
    let bad = |why: String| Error::malformed("step", why);
    let (mut rest, mut room) = (file, limits::STEP_PLAIN);
    let mut column = || -> Result<Vec<u8>> {
        let plain = compress::unpack(frame(&mut rest)?, &[], room).map_err(|e| bad(e.to_string()))?;
        room -= plain.len() as u64;
        Ok(plain)
    };
    let table = Table::parse(&column()?)?;
    let mut change = Change {
        lines: column()?,
        ops: column()?,
        times: column()?,
        sizes: column()?,
        again: column()?,
        digests: Vec::new(),
    };
    change.digests = rest.to_vec();
    // Not kept until the end: for a moment there are the bytes and entries of one manifest and the bytes of the other.
    let to_bytes = match from {
        [] => Some(std::mem::take(&mut change.lines)),
        _ => change.apply(&Manifest::parse(from)?, release.manifest_size),
    };
    let to_bytes = to_bytes.ok_or_else(|| bad("it does not fit the manifest that it starts from".into()))?;
    let to_digest = Digest::of(&to_bytes);
    if to_digest != release.manifest {
        return Err(bad("it leads to another manifest".into()));
    }
    let to = match to {
        Some(to) => to.clone(),
        None => Arc::new(Manifest::parse(&to_bytes)?),
    };
    drop(to_bytes);
    drop(change);
    let from = match from {
        [] => None,
        _ => Some(Manifest::parse(from)?),
    };
    let offsets = table.offsets()?;
    let mut step = Step {
        from,
        to,
        to_digest,
        table,
        offsets,
        levels: HashMap::new(),
    };
    step.check().map_err(|why| bad(why.into()))?;
    step.levels = step.levels().map_err(|why| bad(why.into()))?;
    Ok(step)
}

impl Step {
    /// A base of a bundle: numbers go on with the target manifest's entries behind the last one of the older manifest.
    pub fn base(&self, i: usize) -> Option<Base<'_>> {
        let olds = self.from.as_ref().map_or(&[][..], |m| &m.entries);
        match i.checked_sub(olds.len()) {
            None => olds.get(i)?.content().map(Base::Old),
            Some(i) => self.to.entries.get(i)?.content().map(Base::New),
        }
    }

    /// Plain bytes of a bundle's bases, and of what comes out of it.
    pub fn plain(&self, bundle: &BundleRow) -> (u64, u64) {
        let base = |i: &usize| self.base(*i).map(|base| base.content().size);
        let target = |i: &usize| self.to.entries.get(*i)?.content().map(|c| c.size);
        let bases = bundle.bases.iter().filter_map(base).sum();
        (bases, bundle.targets.iter().filter_map(target).sum())
    }

    /// Memory that a site gives to a delta, its piece included.
    pub fn delta_memory(&self, delta: &DeltaRow) -> u64 {
        delta.memory.saturating_add(self.piece(delta.piece))
    }

    /// Memory that a site gives to a bundle, its piece included.
    pub fn bundle_memory(&self, bundle: &BundleRow) -> u64 {
        let (bases, plain) = self.plain(bundle);
        let memory = match bundle.patch {
            Some(patch) => patch.memory,
            None => compress::UNPACK_MEMORY
                .saturating_add(bases)
                .saturating_add(plain),
        };
        memory.saturating_add(self.piece(bundle.piece))
    }

    fn piece(&self, piece: usize) -> u64 {
        self.table.pieces.get(piece).map_or(0, |p| p.length)
    }

    /// The level of each content that some bundle makes of new ones: one more than the highest of theirs, others
    /// being at 0. None is made of itself, as levels end.
    fn levels(&self) -> std::result::Result<HashMap<Digest, u8>, &'static str> {
        let mut levels = HashMap::new();
        loop {
            let mut changed = false;
            for bundle in &self.table.bundles {
                let news = bundle.bases.iter().filter_map(|i| match self.base(*i)? {
                    Base::New(content) => Some(levels.get(&content.digest).copied().unwrap_or(0)),
                    Base::Old(_) => None,
                });
                let Some(highest) = news.max() else { continue };
                if highest == LEVELS {
                    return Err("new files made of new ones without end");
                }
                for content in bundle
                    .targets
                    .iter()
                    .filter_map(|i| self.to.entries.get(*i)?.content())
                {
                    let level: &mut u8 = levels.entry(content.digest).or_default();
                    changed |= *level <= highest;
                    *level = (highest + 1).max(*level);
                }
            }
            if !changed {
                return Ok(levels);
            }
        }
    }

    /// Every number of the table points at something that exists.
    fn check(&self) -> std::result::Result<(), &'static str> {
        let table = &self.table;
        if table.pack.is_none() && !table.pieces.is_empty() {
            return Err("pieces without a pack");
        }
        let base = |i: usize| self.from.as_ref().and_then(|m| m.entries.get(i)?.content());
        let target = |i: usize| self.to.entries.get(i).and_then(|e| e.content());
        for d in &table.deltas {
            let piece = table.pieces.get(d.piece).ok_or("a delta in no piece")?;
            if d.at.checked_add(d.length).is_none_or(|end| end > piece.length) {
                return Err("a delta beyond its piece");
            }
            base(d.from).ok_or("a delta from no file")?;
            target(d.to).ok_or("a delta to no file")?;
        }
        for b in &table.bundles {
            table.pieces.get(b.piece).ok_or("a bundle in no piece")?;
            let (mut bases, mut targets) = (0u64, 0u64);
            for &i in &b.bases {
                let base = self.base(i).ok_or("a bundle from no file")?;
                bases = bases.saturating_add(base.content().size);
            }
            for &i in &b.targets {
                targets = targets.saturating_add(target(i).ok_or("a bundle to no file")?.size);
            }
            let most = b.most();
            if bases > most || targets > most {
                return Err("a bundle above the limit");
            }
        }
        Ok(())
    }
}
