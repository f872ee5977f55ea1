//! Old and new file in, patch out.

use crate::container::{self, Coding, Header};
use crate::{Error, Limits, Options, Patch, Progress, Report, Silent, error::Result};
use sha2::{Digest, Sha256};

/// A finished patch and the account of its bytes.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The patch, ready to be stored.
    pub bytes: Vec<u8>,
    /// Where the bytes went.
    pub report: Report,
}

/// Makes a patch from `old` to `new`, and applies it once before handing it out.
pub fn diff(old: &[u8], new: &[u8], _options: &Options, progress: &dyn Progress) -> Result<Delta> {
    let whole = zstd::bulk::compress(new, 19)?;
    if progress.cancelled() {
        return Err(Error::Cancelled);
    }
    let header = Header {
        features: 0,
        old_len: old.len() as u64,
        old_digest: Sha256::digest(old).into(),
        new_len: new.len() as u64,
        new_digest: Sha256::digest(new).into(),
        memory: 16 << 20,
    };
    let bytes = container::write(
        &header,
        &[(container::WHOLE, Coding::Zstd, new.len() as u64, whole)],
    );
    let limits = Limits {
        memory: u64::MAX,
        output: u64::MAX,
        ..Limits::default()
    };
    let patch = Patch::parse(&bytes, &limits)?;
    let mut check = Vec::new();
    patch.apply(&old, &mut check, &limits, &Silent)?;
    if check != new {
        return Err(Error::SelfCheck("the rebuilt file differs"));
    }
    let report = patch.report();
    Ok(Delta { bytes, report })
}
