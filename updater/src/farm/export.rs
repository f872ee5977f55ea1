//! The part of a repository that brings sites of one channel from a release, or from nothing, to the head.

use super::carry::{Origin, Stand};
use crate::names::Follow;
use crate::store::Store;
use crate::{Error, Result, Watch};
use std::collections::BTreeSet;
use std::path::Path;

/// Copies signed metadata, the head's steps from `since` and later, and the whole files that these lack.
///
/// Without `since` everything that an empty site needs. The copy is a repository like any other; what is wrong in it
/// is replaced, and what was written is read back. Returns its bytes.
pub fn export(
    from_store: &dyn Store,
    follow: &Follow,
    since: Option<&str>,
    to: &Path,
    watch: &dyn Watch,
) -> Result<u64> {
    let origin = Origin::open(from_store)?;
    let channel = origin.channel(follow)?;
    let stand = |release| Stand { release, memory: 0 };
    let stands: BTreeSet<Stand> = match since {
        None => [stand(None)].into(),
        Some(id) => {
            let since = channel.find(id);
            let since = since.ok_or_else(|| Error::NotFound(format!("release {id}")))?;
            let later = channel.releases.iter().filter(|r| r.sequence >= since.sequence);
            later.map(|r| stand(Some(r.release.as_str()))).collect()
        }
    };
    let mut needs = origin.needs(&channel, &stands)?;
    needs.least.append(&mut needs.spare);
    origin.copy(&needs.least, to, watch)
}
