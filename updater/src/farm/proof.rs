//! Reads back what signed metadata refers to, and holds every byte against its digest.

use super::publish::{base_of, load_manifest};
use super::steps;
use crate::digest::Hasher;
use crate::error::Unreached;
use crate::jobs::Jobs;
use crate::manifest::Manifest;
use crate::names;
use crate::step::Channel;
use crate::store::{Store, Stream};
use crate::watch::Heed;
use crate::{Digest, Error, Result, Watch, compress};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};

/// One file that metadata refers to.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where it lies.
    pub path: String,
    /// SHA-256 of the file, or of what it unpacks to.
    pub digest: Digest,
    /// Length of the file, where something signed tells it.
    pub length: Option<u64>,
    /// Length of what it unpacks to; none: the digest is that of the file itself.
    pub plain: Option<u64>,
}

/// A file that is not what it must be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wrong {
    /// Where it lies.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

/// Memory for reading one file back: the largest window and some buffers.
const MEMORY: u64 = 9 << 20;

impl Item {
    /// A pack or a step: the digest is that of the file.
    pub fn raw(path: String, digest: Digest, length: Option<u64>) -> Item {
        Item {
            path,
            digest,
            length,
            plain: None,
        }
    }

    /// A release's manifest.
    pub fn manifest(digest: &Digest, length: u64, plain: u64) -> Item {
        Item {
            path: names::manifest(digest),
            digest: *digest,
            length: Some(length),
            plain: Some(plain),
        }
    }

    /// A whole file of a release; `stored` where a manifest tells it.
    pub fn blob(digest: &Digest, plain: u64, stored: Option<u64>) -> Item {
        Item {
            path: names::blob(digest),
            digest: *digest,
            length: stored,
            plain: Some(plain),
        }
    }

    /// A channel file.
    pub fn channel(target: &str, digest: &Digest) -> Item {
        Item::raw(names::target_file(target, digest), *digest, None)
    }

    /// What is wrong with the stored file, if anything.
    pub fn check(&self, store: &dyn Store, watch: &dyn Watch) -> Result<Option<String>> {
        let Some(file) = store.stream(&self.path)? else {
            return Ok(Some("missing".into()));
        };
        let judged = self.judge(file, watch);
        watch.check()?;
        if let Some(e) = judged.as_ref().err().and_then(Unreached::of) {
            return Err(e);
        }
        Ok(judged.err().map(|e| e.to_string()))
    }

    /// Removes a file that is about to be written and stands there wrong, as a killed run may have left it: the store
    /// writes no file twice.
    pub fn drop_wrong(&self, store: &dyn Store, watch: &dyn Watch) -> Result<()> {
        match store.size(&self.path)?.is_some() && self.check(store, watch)?.is_some() {
            true => store.remove(&self.path),
            false => Ok(()),
        }
    }

    /// Fails, with the reason, unless these are the right bytes. Reads forward from where the file is.
    pub fn judge(&self, file: Stream, watch: &dyn Watch) -> io::Result<()> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let Stream { length, bytes } = file;
        if let Some(expected) = self.length.filter(|l| *l != length) {
            return Err(wrong(format!("{length} bytes long instead of {expected}")));
        }
        let mut hasher = Hasher::new(Heed::new(io::sink(), watch));
        match self.plain {
            Some(plain) => compress::unpack_to(bytes, &[], plain, &mut hasher)?,
            None => drop(io::copy(&mut bytes.take(length), &mut hasher)?),
        }
        match hasher.finish().0 == self.digest {
            true => Ok(()),
            false => Err(wrong("its digest is another".into())),
        }
    }
}

/// Everything that a channel's releases refer to, by path. What hangs on a file that cannot be read is left out: that
/// file itself is found wrong.
pub fn of_channel(store: &dyn Store, channel: &Channel, watch: &dyn Watch) -> Result<BTreeMap<String, Item>> {
    let mut all = BTreeMap::new();
    let add = |all: &mut BTreeMap<String, Item>, item: Item| drop(all.insert(item.path.clone(), item));
    for release in &channel.releases {
        watch.check()?;
        add(
            &mut all,
            Item::manifest(&release.manifest, release.manifest_stored, release.manifest_size),
        );
        let manifest = load_manifest(store, release).and_then(|bytes| Manifest::parse(&bytes));
        for (_, c) in manifest.iter().flat_map(Manifest::files) {
            add(&mut all, Item::blob(&c.digest, c.size, Some(c.stored)));
        }
        for step in &release.steps {
            watch.check()?;
            add(
                &mut all,
                Item::raw(names::step(&step.digest), step.digest, Some(step.size)),
            );
            let from = base_of(store, channel, step);
            if let (Some(digest), Ok(from)) = (&step.from, &from) {
                let plain = Some(from.len() as u64);
                let base = Item::manifest(digest, 0, 0);
                // Where a release has it, too, that says more.
                all.entry(base.path.clone()).or_insert(Item {
                    length: None,
                    plain,
                    ..base
                });
            }
            let read = from.and_then(|from| steps::load(store, step, &from, release));
            if let Ok(step) = read
                && let Some(pack) = step.table.pack
            {
                let length = step.table.pieces.iter().map(|p| p.length).sum();
                add(&mut all, Item::raw(names::pack(&pack), pack, Some(length)));
            }
        }
    }
    Ok(all)
}

/// Holds files against their digests on all threads; `wrong` hears of each that is not right, in order.
pub fn check_all(
    store: &dyn Store,
    items: &[&Item],
    jobs: &Jobs,
    watch: &dyn Watch,
    mut wrong: impl FnMut(Wrong) -> Result<()>,
) -> Result<()> {
    let work = |item: &&Item| {
        watch.check()?;
        let path = &item.path;
        let found = item.check(store, watch)?.map(|why| Wrong {
            path: path.clone(),
            why,
        });
        Ok((found, 0))
    };
    let take = |found: Option<Wrong>| found.map_or(Ok(()), &mut wrong);
    jobs.run(items, |_| MEMORY, work, take)
}

/// The files that were read back in this run.
#[derive(Default)]
pub struct Proven(HashSet<String>);

impl Proven {
    /// Whether a file was read back and right.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    /// Reads back what was not yet; fails at the first file that is not right.
    pub fn require(
        &mut self,
        store: &dyn Store,
        items: &BTreeMap<String, Item>,
        jobs: &Jobs,
        watch: &dyn Watch,
    ) -> Result<()> {
        let open: Vec<&Item> = items.values().filter(|i| !self.has(&i.path)).collect();
        check_all(store, &open, jobs, watch, |w| {
            Err(Error::DamagedRepository(format!("{} ({})", w.path, w.why)))
        })?;
        self.0.extend(open.iter().map(|i| i.path.clone()));
        Ok(())
    }
}
