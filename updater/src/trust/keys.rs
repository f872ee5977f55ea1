//! Ed25519 key pairs, each in a file of its own.

use super::canonical::canonical;
use super::roles::{Key, KeyValue};
use crate::digest::{hex, unhex};
use crate::disk::{self, Sync};
use crate::{Digest, Error, Result, random};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A key that can sign.
pub struct KeyPair {
    secret: SigningKey,
    public: Key,
    id: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    keytype: String,
    public: String,
    private: String,
}

impl KeyPair {
    /// A new key from the operating system's randomness.
    pub fn generate() -> Result<KeyPair> {
        Ok(KeyPair::from_secret(SigningKey::from_bytes(&random::bytes()?)))
    }

    fn from_secret(secret: SigningKey) -> KeyPair {
        let public = Key {
            keytype: "ed25519".into(),
            scheme: "ed25519".into(),
            keyval: KeyValue {
                public: hex(secret.verifying_key().as_bytes()),
            },
        };
        let value = serde_json::json!({
            "keytype": public.keytype, "scheme": public.scheme, "keyval": {"public": public.keyval.public},
        });
        let id = Digest::of(&canonical(&value).unwrap_or_default()).to_string();
        KeyPair { secret, public, id }
    }

    /// Writes the key, readable by its owner only; once this returns it outlasts a power cut.
    pub fn save(&self, path: &Path) -> Result<()> {
        let stored = serde_json::json!({
            "keytype": "ed25519", "public": self.public.keyval.public, "private": hex(self.secret.as_bytes()),
        });
        disk::replace(path, format!("{stored:#}\n").as_bytes(), 0o600, Sync::Key)
    }

    /// Reads a key file.
    pub fn load(path: &Path) -> Result<KeyPair> {
        let shown = path.display().to_string();
        let bytes = disk::read(path, 4096)?.ok_or_else(|| Error::NotFound(format!("key {shown}")))?;
        let bad = || Error::Usage(format!("{shown} is not a key file"));
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let seed: [u8; 32] = unhex(&stored.private)
            .and_then(|b| b.try_into().ok())
            .ok_or_else(bad)?;
        let pair = KeyPair::from_secret(SigningKey::from_bytes(&seed));
        if stored.keytype != "ed25519" || pair.public.keyval.public != stored.public {
            return Err(bad());
        }
        Ok(pair)
    }

    /// The key's id: the digest of its canonical public form.
    pub fn id(&self) -> &str {
        &self.id
    }
    pub(super) fn public(&self) -> &Key {
        &self.public
    }
    pub(super) fn sign(&self, message: &[u8]) -> String {
        hex(&self.secret.sign(message).to_bytes())
    }
}
