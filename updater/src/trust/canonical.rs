//! Canonical JSON and signed envelopes: what exactly is signed, and when enough keys have signed it.

use super::roles::{Key, RoleKeys};
use crate::digest::unhex;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Writes a value as canonical JSON (sorted keys, no spaces, only `"` and `\` escaped).
///
/// Fails on fractions, which have no canonical form.
pub(super) fn canonical(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    put(value, &mut out)?;
    Ok(out)
}

fn put(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Number(n) if n.is_f64() => return Err(Error::malformed("metadata", "it holds a fraction")),
        Value::Number(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::String(s) => put_string(s, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                put(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            out.push(b'{');
            for (i, (key, item)) in sorted.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                put_string(key, out);
                out.push(b':');
                put(item, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn put_string(s: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for b in s.bytes() {
        if b == b'"' || b == b'\\' {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

/// Signed metadata before it is believed.
pub(super) struct Envelope {
    role: &'static str,
    signed: Value,
    message: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Envelope {
    /// Parses metadata that should be of type `role`; nothing of it is trusted yet.
    pub fn parse(bytes: &[u8], role: &'static str) -> Result<Envelope> {
        #[derive(serde::Deserialize)]
        struct Signature {
            keyid: String,
            sig: String,
        }
        #[derive(serde::Deserialize)]
        struct Raw {
            signed: Value,
            signatures: Vec<Signature>,
        }
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|e| Error::malformed("metadata", format!("{role}: {e}")))?;
        let found = raw.signed.get("_type").and_then(Value::as_str);
        if found != Some(role) {
            return Err(Error::malformed("metadata", format!("it is not of type {role}")));
        }
        let spec = raw
            .signed
            .get("spec_version")
            .and_then(Value::as_str)
            .unwrap_or("");
        if spec != "1" && !spec.starts_with("1.") {
            return Err(Error::TooNew(format!("metadata of TUF version {spec:?}")));
        }
        let mut signatures = Vec::new();
        let mut seen = BTreeSet::new();
        for s in raw.signatures.into_iter().take(256) {
            if !seen.insert(s.keyid.clone()) {
                return Err(Error::malformed("metadata", format!("{role}: a key signs twice")));
            }
            signatures.push((s.keyid, unhex(&s.sig).unwrap_or_default()));
        }
        let message = canonical(&raw.signed)?;
        let signed = raw.signed;
        Ok(Envelope {
            role,
            signed,
            message,
            signatures,
        })
    }

    /// Hands out the content once at least `threshold` different keys of the role have signed it.
    pub fn verify<T: DeserializeOwned>(&self, keys: &BTreeMap<String, Key>, role: &RoleKeys) -> Result<T> {
        let mut signers = BTreeSet::new();
        for (id, signature) in &self.signatures {
            if !role.keyids.contains(id) {
                continue;
            }
            if let Some(public) = keys.get(id).and_then(|k| k.check(&self.message, signature)) {
                signers.insert(public);
            }
        }
        if role.threshold == 0 || (signers.len() as u64) < role.threshold {
            let (got, want) = (signers.len(), role.threshold);
            let name = self.role;
            return Err(Error::Untrusted(format!(
                "{name} metadata has {got} good signatures of {want} needed"
            )));
        }
        self.content()
    }

    /// The content without any check; only for what was verified when it was stored.
    pub(super) fn content<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.signed).map_err(|e| Error::malformed("metadata", format!("{}: {e}", self.role)))
    }
}
