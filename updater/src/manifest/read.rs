//! Reading a manifest that may be hostile: every rule of the protocol is checked here, before anything uses it.

use super::write::{Row, features, line};
use super::{Content, Entry, Header, Kind, Manifest, Time, unescape};
use crate::digest::unhex;
use crate::{Error, PROTOCOL, Result, limits};

/// Kinds of metadata that this version handles.
const KNOWN: [&str; 4] = ["hardlink", "mtime", "sparse", "xattr"];

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::malformed("manifest", why))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Manifest> {
    let Some(body) = bytes.strip_suffix(b"\n") else {
        return refuse("it does not end with a line");
    };
    let mut lines = body.split(|b| *b == b'\n');
    let first = lines.next().unwrap_or_default();
    let header = header(first)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut again = Vec::new();
    for (number, text) in lines.enumerate() {
        if entries.len() as u64 == header.entries {
            return refuse("the header does not fit the entries");
        }
        let entry = entry(text, header.mtime).or_else(|e| refuse(format!("line {}: {e}", number + 2)))?;
        again.clear();
        line(&entry, header.mtime, &mut again);
        if again.strip_suffix(b"\n") != Some(text) {
            return refuse(format!("line {} is not in canonical form", number + 2));
        }
        if entries.last().is_some_and(|last| last.path >= entry.path) {
            return refuse(format!("{} is a duplicate or out of order", entry.shown()));
        }
        place(&entry, &entries)?;
        entries.push(entry);
    }
    if entries.len() as u64 != header.entries || features(&entries) != header.features {
        return refuse("the header does not fit the entries");
    }
    Ok(Manifest { header, entries })
}

/// The first line.
pub(super) fn header(first: &[u8]) -> Result<Header> {
    version(first)?;
    let header: Header = match serde_json::from_slice(first) {
        Ok(h) => h,
        Err(e) => return refuse(format!("header: {e}")),
    };
    for name in &header.features {
        if !KNOWN.contains(&name.as_str()) {
            return Err(Error::TooNew(format!("a manifest with feature {name:?}")));
        }
    }
    if serde_json::to_vec(&header).unwrap_or_default() != first {
        return refuse("the header is not in canonical form");
    }
    for name in [
        &header.follow.product,
        &header.follow.channel,
        &header.follow.arch,
        &header.release,
    ] {
        crate::names::check(name).or_else(|_| refuse(format!("bad name {name:?}")))?;
    }
    if header.entries > limits::ENTRIES {
        return refuse(format!("{} paths, more than {}", header.entries, limits::ENTRIES));
    }
    Ok(header)
}

/// The protocol version stands first, so that a newer manifest is called newer and not broken.
fn version(first: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Only {
        protocol: u32,
    }
    match serde_json::from_slice::<Only>(first) {
        Ok(o) if o.protocol == PROTOCOL => Ok(()),
        Ok(o) if o.protocol > PROTOCOL => {
            Err(Error::TooNew(format!("a manifest of protocol {}", o.protocol)))
        }
        _ => refuse("it does not begin with a header"),
    }
}

/// Checks where an entry stands among those before it.
fn place(entry: &Entry, before: &[Entry]) -> Result<()> {
    let earlier = |path: &[u8]| {
        let at = before.binary_search_by(|e| e.path.as_slice().cmp(path));
        at.ok().map(|at| &before[at].kind)
    };
    if entry.path.is_empty() {
        return match entry.kind {
            Kind::Dir => Ok(()),
            _ => refuse("the tree itself is not a directory"),
        };
    }
    let parent = match entry.path.iter().rposition(|b| *b == b'/') {
        Some(at) => &entry.path[..at],
        None => &[],
    };
    if earlier(parent) != Some(&Kind::Dir) {
        return refuse(format!("{} has no parent directory before it", entry.shown()));
    }
    if let Kind::Hard(to) = &entry.kind
        && !matches!(earlier(to), Some(Kind::File(_)))
    {
        return refuse(format!("{} is a hard link to no earlier file", entry.shown()));
    }
    Ok(())
}

/// The time of an entry: its own or the one for all.
fn time(row: &Row, common: Option<i64>) -> Result<Option<Time>> {
    if row.t == "h" && row.w.is_some() || row.w.is_none() && row.n != 0 {
        return refuse("a time where none belongs");
    }
    let (seconds, nanos) = match (common, row.w) {
        (Some(common), None) if row.t != "h" => (common, 0),
        (None, Some(own)) => (own, row.n),
        (_, None) => return Ok(None),
        (Some(_), Some(_)) => return refuse("a time of its own beside one for all"),
    };
    if !Time::RANGE.contains(&seconds) || nanos >= 1_000_000_000 {
        return refuse("time out of range");
    }
    Ok(Some(Time { seconds, nanos }))
}

fn entry(text: &[u8], common: Option<i64>) -> Result<Entry> {
    let row: Row = match serde_json::from_slice(text) {
        Ok(r) => r,
        Err(e) => return refuse(e.to_string()),
    };
    let path = if row.p == "." { Vec::new() } else { path(&row.p)? };
    if row.m > 0o7777 {
        return refuse("mode out of range");
    }
    let time = time(&row, common)?;
    let mut xattrs = super::Xattrs::new();
    let mut total = 0;
    for (name, value) in &row.x {
        let (Some(name), Some(value)) = (unescape(name), unhex(value)) else {
            return refuse("bad extended attribute");
        };
        total += name.len() + value.len();
        if name.is_empty() || name.len() > limits::NAME || name.contains(&0) || total > limits::XATTRS {
            return refuse("bad extended attribute");
        }
        xattrs.insert(name, value);
    }
    let link = || -> Result<Vec<u8>> {
        let target = row.l.as_deref().and_then(unescape);
        let fits = |t: &Vec<u8>| !t.is_empty() && t.len() <= limits::PATH && !t.contains(&0);
        target
            .filter(fits)
            .ok_or_else(|| Error::malformed("manifest", "bad link target"))
    };
    let kind = match row.t.as_str() {
        "d" => Kind::Dir,
        "l" => Kind::Symlink(link()?),
        "h" => Kind::Hard(link()?),
        "f" => {
            let (Some(digest), Some(size), Some(stored)) = (row.h, row.s, row.z) else {
                return refuse("a file without digest or size");
            };
            if size > i64::MAX as u64 || stored > i64::MAX as u64 {
                return refuse("size out of range");
            }
            let mut end = 0;
            for &(at, length) in &row.d {
                let next = at.checked_add(length).filter(|n| *n <= size);
                match next {
                    Some(next) if length > 0 && at >= end => end = next,
                    _ => return refuse("bad sparse map"),
                }
            }
            let holes = row.d;
            Kind::File(Content {
                digest,
                size,
                stored,
                holes,
            })
        }
        other => return Err(Error::TooNew(format!("an entry of type {other:?}"))),
    };
    Ok(Entry {
        path,
        kind,
        mode: row.m,
        uid: row.u,
        gid: row.g,
        xattrs,
        time,
    })
}

/// A relative path of plain components.
fn path(text: &str) -> Result<Vec<u8>> {
    let Some(bytes) = unescape(text) else {
        return refuse("bad path");
    };
    let plain =
        |c: &[u8]| !c.is_empty() && c != b"." && c != b".." && c.len() <= limits::NAME && !c.contains(&0);
    if bytes.len() > limits::PATH || !bytes.split(|b| *b == b'/').all(plain) {
        return refuse(format!("bad path {text:?}"));
    }
    Ok(bytes)
}
