//! Names of products and releases, and where each kind of file lies in a repository.

use crate::{Digest, Error, Result};

/// Version of the protocol that this crate speaks; a repository of a newer one is refused.
pub const PROTOCOL: u32 = 1;

/// What a site follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Follow {
    /// Product id.
    pub product: String,
    /// Channel, such as `stable`.
    pub channel: String,
    /// Architecture.
    pub arch: String,
}

impl Follow {
    /// Checks the three names.
    pub fn new(product: &str, channel: &str, arch: &str) -> Result<Follow> {
        let follow = Follow {
            product: product.into(),
            channel: channel.into(),
            arch: arch.into(),
        };
        for name in [product, channel, arch] {
            check(name)?;
        }
        Ok(follow)
    }

    /// The target path of the channel file, as signed.
    pub fn target(&self) -> String {
        format!("channels/{}/{}/{}.json", self.product, self.channel, self.arch)
    }
}

/// Accepts 1 to 64 letters, digits, `.`, `_`, `-`, `+`, `~`, not beginning with a dot or a dash.
pub fn check(name: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-+~".contains(&b);
    if name.is_empty() || name.len() > 64 || name.starts_with(['.', '-']) || !name.bytes().all(good) {
        return Err(Error::Usage(format!(
            "{name:?} is not a name: 1 to 64 of A-Z a-z 0-9 . _ - + ~"
        )));
    }
    Ok(())
}

/// Where the timestamp lies, which leads to everything else.
pub const TIMESTAMP: &str = "tuf/timestamp.json";

/// The file of a target under consistent snapshots: the digest stands before the last component.
pub fn target_file(target: &str, digest: &Digest) -> String {
    match target.rsplit_once('/') {
        Some((dir, file)) => format!("{dir}/{digest}.{file}"),
        None => format!("{digest}.{target}"),
    }
}

/// Where a manifest lies.
pub fn manifest(digest: &Digest) -> String {
    format!("manifests/{digest}.zst")
}
/// Where a step lies.
pub fn step(digest: &Digest) -> String {
    format!("steps/{digest}.zst")
}
/// Where a pack lies.
pub fn pack(digest: &Digest) -> String {
    format!("packs/{digest}.pack")
}
/// Where a whole file lies.
pub fn blob(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("blobs/{}/{hex}.zst", &hex[..2])
}
