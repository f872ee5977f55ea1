//! What the names of a repository stand for, as far as signed metadata tells a box.

use super::unit::Unit;
use crate::names::{self, Follow};
use crate::step::{Channel, Table};
use crate::{Digest, Result};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A small file that the box holds: metadata, or a channel file.
    Held,
    /// Bytes that lie one behind the other.
    Units(Arc<[Unit]>),
}

/// What is signed of the channels that a box serves.
#[derive(Default)]
pub(super) struct Signed {
    steps: HashMap<String, Unit>,
    manifests: HashMap<String, Unit>,
    packs: HashMap<String, Arc<[Unit]>>,
    channels: HashSet<String>,
}

impl Signed {
    /// Takes a channel file in whose digest was checked.
    pub fn add_channel(&mut self, follow: &Follow, digest: Digest, channel: &Channel) {
        self.channels
            .insert(names::target_file(&follow.target(), &digest));
        for release in &channel.releases {
            let path = names::manifest(&release.manifest);
            let unit = Unit::packed(path.clone(), release.manifest, Some(release.manifest_stored));
            self.manifests.insert(path, unit);
            for step in &release.steps {
                let path = names::step(&step.digest);
                let unit = Unit {
                    path: path.clone(),
                    offset: 0,
                    length: Some(step.size),
                    digest: step.digest,
                    packed: false,
                };
                self.steps.insert(path, unit);
            }
        }
    }

    /// Takes a step file in whose digest was checked: only then is it known what lies in its pack.
    pub fn add_step(&mut self, file: &[u8]) -> Result<()> {
        let table = Table::of(file)?;
        let Some(pack) = table.pack else { return Ok(()) };
        let path = names::pack(&pack);
        let offsets = table.offsets()?;
        let units = table.pieces.iter().zip(offsets).map(|(piece, offset)| Unit {
            path: path.clone(),
            offset,
            length: Some(piece.length),
            digest: piece.digest,
            packed: false,
        });
        self.packs.insert(path.clone(), units.collect());
        Ok(())
    }

    /// Steps of the newest metadata, by path.
    pub fn steps(&self) -> impl Iterator<Item = &Unit> {
        self.steps.values()
    }

    /// Whether a channel file, by path, is one of them.
    pub fn has_channel(&self, path: &str) -> bool {
        self.channels.contains(path)
    }

    /// What a path of the repository is; none: nothing that was signed.
    pub fn named(&self, path: &str) -> Option<Named> {
        if path.starts_with("tuf/") {
            let name = path.strip_prefix("tuf/")?.strip_suffix(".json")?;
            return names::check(name).is_ok().then_some(Named::Held);
        }
        if self.has_channel(path) {
            return Some(Named::Held);
        }
        if let Some(unit) = self.steps.get(path).or_else(|| self.manifests.get(path)) {
            return Some(Named::Units([unit.clone()].into()));
        }
        if let Some(units) = self.packs.get(path) {
            return Some(Named::Units(Arc::clone(units)));
        }
        let blob = path.rsplit('/').next()?.strip_suffix(".zst")?;
        let digest = Digest::parse(blob)?;
        (names::blob(&digest) == path).then(|| Named::Units([Unit::packed(path.into(), digest, None)].into()))
    }
}
