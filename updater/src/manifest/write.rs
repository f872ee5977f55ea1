//! The canonical spelling of a manifest: one JSON object a line, fields in fixed order.

use super::{Entry, Kind, Manifest, escape};
use crate::Digest;
use crate::digest::hex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of the file. Short names: there are thousands of lines on a slow link.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Path, escaped.
    pub p: String,
    /// Type: `d`, `f`, `l` (symlink), `h` (hard link).
    pub t: String,
    /// Mode.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub m: u32,
    /// Owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub u: u32,
    /// Group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub g: u32,
    /// Size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s: Option<u64>,
    /// Digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h: Option<Digest>,
    /// Stored size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z: Option<u64>,
    /// Link target or earlier path, escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l: Option<String>,
    /// Extended attributes: escaped name, hex value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub x: BTreeMap<String, String>,
    /// Modification time, seconds since 1970; not where the header has one for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<i64>,
    /// Its nanoseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub n: u32,
    /// Holes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub d: Vec<(u64, u64)>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The features that the entries use, sorted.
pub(super) fn features(entries: &[Entry]) -> Vec<String> {
    let any = |test: &dyn Fn(&Entry) -> bool| entries.iter().any(test);
    let mut names = Vec::new();
    if any(&|e| matches!(e.kind, Kind::Hard(_))) {
        names.push("hardlink".to_owned());
    }
    if any(&|e| e.time.is_some()) {
        names.push("mtime".to_owned());
    }
    if any(&|e| e.content().is_some_and(|c| !c.holes.is_empty())) {
        names.push("sparse".to_owned());
    }
    if any(&|e| !e.xattrs.is_empty()) {
        names.push("xattr".to_owned());
    }
    names
}

pub(super) fn write(manifest: &Manifest) -> Vec<u8> {
    let mut header = manifest.header.clone();
    header.entries = manifest.entries.len() as u64;
    header.features = features(&manifest.entries);
    let mut out = serde_json::to_vec(&header).unwrap_or_default();
    out.push(b'\n');
    for entry in &manifest.entries {
        line(entry, header.mtime, &mut out);
    }
    out
}

/// Appends one entry's line. `common` is the header's time for all.
pub(super) fn line(entry: &Entry, common: Option<i64>, out: &mut Vec<u8>) {
    let mut row = Row {
        p: entry.shown(),
        m: entry.mode,
        u: entry.uid,
        g: entry.gid,
        x: entry.xattrs.iter().map(|(n, v)| (escape(n), hex(v))).collect(),
        ..Row::default()
    };
    if let (Some(time), None) = (entry.time, common) {
        (row.w, row.n) = (Some(time.seconds), time.nanos);
    }
    match &entry.kind {
        Kind::Dir => row.t = "d".into(),
        Kind::File(c) => {
            row.t = "f".into();
            row.s = Some(c.size);
            row.h = Some(c.digest);
            row.z = Some(c.stored);
            row.d = c.holes.clone();
        }
        Kind::Symlink(target) => {
            row.t = "l".into();
            row.l = Some(escape(target));
        }
        Kind::Hard(path) => {
            row.t = "h".into();
            row.l = Some(escape(path));
        }
    }
    // A struct of strings and numbers always encodes.
    out.extend_from_slice(&serde_json::to_vec(&row).unwrap_or_default());
    out.push(b'\n');
}
