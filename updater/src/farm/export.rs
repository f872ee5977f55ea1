//! The part of a repository that a stick must carry to bring a site from one release to the head.

use super::publish::{load_channel, load_manifest};
use super::steps;
use crate::error::Doing;
use crate::manifest::Manifest;
use crate::names::{self, Follow};
use crate::store::{LocalStore, Store};
use crate::watch::Heed;
use crate::{Error, Result, Watch};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

const TIMESTAMP: &str = "tuf/timestamp.json";
/// Most bytes of a file of metadata.
const METADATA: u64 = 64 << 20;

/// Copies signed metadata, the head's steps from `since` and later, and the whole files that `since` lacks.
///
/// Without `since` everything that an empty site needs. The stick is a repository like any other. Returns bytes.
pub fn export(
    repo: &Path,
    follow: &Follow,
    since: Option<&str>,
    to: &Path,
    watch: &dyn Watch,
) -> Result<u64> {
    let (from_store, to_store) = (LocalStore::new(repo), LocalStore::new(to));
    // Read first: what it leads to stays, also while a publish goes on.
    let stamp = from_store.get(TIMESTAMP, METADATA)?;
    let stamp = stamp.ok_or_else(|| Error::NotFound(format!("a repository in {}", repo.display())))?;
    let channel = load_channel(&from_store, follow)?;
    let head = channel
        .head()
        .ok_or_else(|| Error::NotFound("a release in the channel".into()))?;
    let target = follow.target();
    let mut files = BTreeSet::new();
    if let Some(digest) = crate::trust::Signer::signed(&from_store, &target)? {
        files.insert(names::target_file(&target, &digest));
    }
    files.insert(names::manifest(&head.manifest));
    let since = match since {
        Some(id) => Some(
            channel
                .find(id)
                .ok_or_else(|| Error::NotFound(format!("release {id}")))?,
        ),
        None => None,
    };
    let mut known = BTreeSet::new();
    if let Some(since) = since {
        let manifest = Manifest::parse(&load_manifest(&from_store, since)?)?;
        known.extend(manifest.files().map(|(_, c)| c.digest));
    }
    let manifest = Manifest::parse(&load_manifest(&from_store, head)?)?;
    let lacking = manifest
        .files()
        .filter(|(_, c)| c.size > 0 && !known.contains(&c.digest));
    files.extend(lacking.map(|(_, c)| names::blob(&c.digest)));
    for step in &head.steps {
        let base = channel.releases.iter().find(|r| Some(r.manifest) == step.from);
        let wanted = match (base, since) {
            (Some(base), Some(since)) => base.sequence >= since.sequence,
            (None, None) => step.from.is_none(),
            _ => false,
        };
        if wanted {
            files.insert(names::step(&step.digest));
            let from = base
                .map(|r| load_manifest(&from_store, r))
                .transpose()?
                .unwrap_or_default();
            let table = steps::load(&from_store, step, &from, head)?.table;
            files.extend(table.pack.map(|p| names::pack(&p)));
        }
    }
    let mut total = 0;
    let mut copy = |path: &str, fixed: bool| -> Result<()> {
        watch.check()?;
        let lacking = || Error::DamagedRepository(path.into());
        if !fixed {
            let bytes = from_store.get(path, METADATA)?.ok_or_else(lacking)?;
            total += bytes.len() as u64;
            return to_store.replace(path, &bytes);
        }
        let file = from_store.open(path)?.ok_or_else(lacking)?;
        total += to_store.write(path, &mut |sink| {
            let copied = io::copy(&mut Heed::new(&file, watch), sink);
            copied.map(drop).doing("copy", path)
        })?;
        Ok(())
    };
    for path in &files {
        copy(path, true)?;
    }
    // Metadata last and the timestamp at the very end, as when publishing.
    for path in from_store.list("tuf")?.iter().filter(|p| *p != TIMESTAMP) {
        copy(path, false)?;
    }
    to_store.replace(TIMESTAMP, &stamp)?;
    Ok(total + stamp.len() as u64)
}
