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

#[cfg(test)]
mod tests {
    use super::super::roles::KeyValue;
    use super::*;
    use crate::digest::hex;
    use ed25519_dalek::{Signer, SigningKey};

    const SIGNED: &str = r#"{"_type":"targets","spec_version":"1.0.31","version":1}"#;

    fn secret(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(n: u8) -> Key {
        Key {
            keytype: "ed25519".into(),
            scheme: "ed25519".into(),
            keyval: KeyValue {
                public: hex(secret(n).verifying_key().as_bytes()),
            },
        }
    }

    /// Metadata that these keys have signed, each under an id.
    fn envelope(signed: &str, signers: &[(&str, u8)]) -> Result<Envelope> {
        let message = canonical(&serde_json::from_str(signed).unwrap()).unwrap_or_default();
        let signatures: Vec<String> = signers
            .iter()
            .map(|(id, n)| {
                let signature = hex(&secret(*n).sign(&message).to_bytes());
                format!(r#"{{"keyid":"{id}","sig":"{signature}"}}"#)
            })
            .collect();
        let text = format!(r#"{{"signed":{signed},"signatures":[{}]}}"#, signatures.join(","));
        Envelope::parse(text.as_bytes(), "targets")
    }

    fn role(ids: &[&str], threshold: u64) -> RoleKeys {
        RoleKeys {
            keyids: ids.iter().map(|id| (*id).to_owned()).collect(),
            threshold,
        }
    }

    fn keys() -> BTreeMap<String, Key> {
        [("a", 1), ("b", 2), ("c", 3), ("again", 1)]
            .map(|(id, n)| (id.to_owned(), public(n)))
            .into()
    }

    #[test]
    fn only_enough_keys_of_the_role_itself_count() {
        let accepted = |signers: &[(&str, u8)], role: &RoleKeys| {
            envelope(SIGNED, signers)
                .unwrap()
                .verify::<Value>(&keys(), role)
                .is_ok()
        };
        let two = role(&["a", "b"], 2);
        assert!(accepted(&[("a", 1), ("b", 2)], &two));
        assert!(accepted(&[("x", 9), ("a", 1), ("c", 3), ("b", 2)], &two));
        assert!(!accepted(&[("a", 1)], &two), "one of two");
        assert!(!accepted(&[("a", 1), ("c", 3)], &two), "one of another role");
        assert!(!accepted(&[("a", 1), ("b", 9)], &two), "under a stranger's id");
        let twice = role(&["a", "again"], 2);
        assert!(
            !accepted(&[("a", 1), ("again", 1)], &twice),
            "one key by two names"
        );
        for threshold in [0, u64::MAX] {
            assert!(!accepted(&[("a", 1)], &role(&["a"], threshold)), "{threshold}");
        }
        assert!(!accepted(&[], &role(&["a"], 0)), "nobody");
        assert!(
            !accepted(&[("x", 9)], &role(&["x"], 1)),
            "a key that is not there"
        );
    }

    #[test]
    fn other_kinds_of_keys_sign_nothing() {
        let signed = envelope(SIGNED, &[("a", 1)]).unwrap();
        let changed = |change: fn(&mut Key)| {
            let mut keys = keys();
            keys.get_mut("a").into_iter().for_each(change);
            signed.verify::<Value>(&keys, &role(&["a"], 1)).is_ok()
        };
        assert!(changed(|_| ()));
        assert!(!changed(|k| k.keytype = "rsa".into()));
        assert!(!changed(|k| k.scheme = "ed25519ph".into()));
        assert!(!changed(|k| k.keyval.public.truncate(62)));
    }

    #[test]
    fn what_is_not_metadata_of_the_kind_is_refused() {
        assert!(envelope(SIGNED, &[]).is_ok());
        for (from, to) in [
            ("targets", "snapshot"),
            ("1.0.31", "2.0.0"),
            ("1.0.31", "10.0"),
            ("\"version\":1", "\"version\":1.5"),
        ] {
            assert!(envelope(&SIGNED.replace(from, to), &[]).is_err(), "{to}");
        }
        assert!(
            envelope(SIGNED, &[("a", 1), ("a", 1)]).is_err(),
            "a key signs twice"
        );
    }
}
