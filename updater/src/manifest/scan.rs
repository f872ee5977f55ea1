//! A release tree on disk becomes entries; what cannot be carried whole is refused, never dropped.

use super::{Content, Entry, Kind, Time, Xattrs};
use crate::error::Doing;
use crate::watch::Heed;
use crate::{Digest, Error, Jobs, Result, Watch};
use rustix::fs::{SeekFrom, seek};
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How to read a tree.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Record this owner and group for everything instead of the files' own.
    pub owner: Option<(u32, u32)>,
    /// Do not record extended attributes.
    pub no_xattrs: bool,
    /// Record this modification time for everything, seconds since 1970, instead of the files' own.
    pub mtime: Option<i64>,
}

/// Reads a whole tree. `stored` of every file is 0: the caller knows its store.
///
/// Fails if anything cannot be read, is a device, socket or FIFO, or changes twice while it is read.
pub fn scan(tree: &Path, options: &ScanOptions, jobs: &Jobs, watch: &dyn Watch) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    walk(tree, &mut found, &mut problems, watch)?;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let total = found.len() as u64;
    let mut first: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    for (path, meta) in &found {
        if meta.is_file() && meta.nlink() > 1 {
            first
                .entry((meta.dev(), meta.ino()))
                .or_insert_with(|| path.clone());
        }
    }
    let read = |(path, meta): &(Vec<u8>, Metadata)| {
        watch.check()?;
        let earlier = first.get(&(meta.dev(), meta.ino())).filter(|p| *p != path);
        match one((tree, path), meta, earlier, options, watch) {
            Err(Error::Cancelled) => Err(Error::Cancelled),
            entry => Ok((entry, 0)),
        }
    };
    let mut entries = Vec::with_capacity(found.len());
    let mut done = 0;
    let take = |entry: Result<Entry>| {
        done += 1;
        watch.progress("scan", done, total);
        match entry {
            Ok(entry) => entries.push(entry),
            Err(e) => problems.push(e.to_string()),
        }
        Ok(())
    };
    jobs.run(&found, |_| 0, read, take)?;
    if !problems.is_empty() {
        let more = problems.len().saturating_sub(10);
        problems.truncate(10);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        return Err(Error::Usage(format!(
            "the tree cannot be published:\n  {}",
            problems.join("\n  ")
        )));
    }
    Ok(entries)
}

type Found = Vec<(Vec<u8>, Metadata)>;

/// Lists everything below a tree, one directory open at a time however deep it is.
fn walk(tree: &Path, found: &mut Found, problems: &mut Vec<String>, watch: &dyn Watch) -> Result<()> {
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        watch.check()?;
        let full = join(tree, &path);
        let meta = fs::symlink_metadata(&full).doing("read", &full)?;
        if path.is_empty() && !meta.is_dir() {
            return Err(Error::Usage(format!("{} is not a directory", full.display())));
        }
        if meta.is_dir() {
            match fs::read_dir(&full) {
                Ok(entries) => {
                    for entry in entries {
                        watch.check()?;
                        let name = entry.doing("list", &full)?.file_name();
                        todo.push(below(&path, name.as_bytes()));
                    }
                }
                Err(e) => problems.push(format!("list {}: {e}", full.display())),
            }
        }
        found.push((path, meta));
    }
    Ok(())
}

/// A path and a name below it.
pub fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut child = Vec::with_capacity(path.len() + 1 + name.len());
    child.extend_from_slice(path);
    if !path.is_empty() {
        child.push(b'/');
    }
    child.extend_from_slice(name);
    child
}

/// The path of an entry below a tree.
pub fn join(tree: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() {
        tree.to_owned()
    } else {
        tree.join(std::ffi::OsStr::from_bytes(path))
    }
}

fn one(
    (tree, path): (&Path, &[u8]),
    meta: &Metadata,
    earlier: Option<&Vec<u8>>,
    o: &ScanOptions,
    watch: &dyn Watch,
) -> Result<Entry> {
    let full = join(tree, path);
    let kind = meta.file_type();
    let (uid, gid) = o.owner.unwrap_or((meta.uid(), meta.gid()));
    let mut entry = Entry {
        path: path.to_owned(),
        kind: Kind::Dir,
        mode: meta.mode() & 0o7777,
        uid,
        gid,
        xattrs: Xattrs::new(),
        time: Some(time(meta, &full, o)?),
    };
    if kind.is_symlink() {
        entry.kind = Kind::Symlink(
            fs::read_link(&full)
                .doing("read link", &full)?
                .into_os_string()
                .into_vec(),
        );
        entry.mode = 0;
        return Ok(entry);
    }
    if let Some(earlier) = earlier {
        entry.kind = Kind::Hard(earlier.clone());
        (entry.mode, entry.uid, entry.gid, entry.time) = (0, 0, 0, None);
        return Ok(entry);
    }
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        return Err(Error::Usage(format!(
            "{}: devices, sockets and FIFOs are not carried",
            full.display()
        )));
    }
    if !o.no_xattrs {
        entry.xattrs = xattrs(&full)?;
    }
    if kind.is_file() {
        entry.kind = Kind::File(match stable(&full, watch)? {
            Some(content) => content,
            None => stable(&full, watch)?.ok_or_else(|| {
                Error::Usage(format!(
                    "{} changes while it is read; publish a tree at rest",
                    full.display()
                ))
            })?,
        });
    }
    Ok(entry)
}

fn time(meta: &Metadata, full: &Path, o: &ScanOptions) -> Result<Time> {
    let own = Time {
        seconds: meta.mtime(),
        nanos: u32::try_from(meta.mtime_nsec()).unwrap_or_default(),
    };
    let common = o.mtime.map(|seconds| Time { seconds, nanos: 0 });
    let time = common.unwrap_or(own);
    if !Time::RANGE.contains(&time.seconds) {
        let shown = full.display();
        return Err(Error::Usage(format!(
            "{shown}: its modification time is beyond what is carried"
        )));
    }
    Ok(time)
}

/// Size and digest of a file; `None` if it changed meanwhile.
fn stable(full: &Path, watch: &dyn Watch) -> Result<Option<Content>> {
    let file = File::open(full).doing("open", full)?;
    let before = file.metadata().doing("read", full)?;
    let holes = holes(&file, &before, full, watch)?;
    seek(&file, SeekFrom::Start(0)).doing("seek", full)?;
    let (digest, size) = Digest::of_reader(Heed::new(&file, watch)).doing("read", full)?;
    let after = fs::symlink_metadata(full).doing("read", full)?;
    let state = |m: &Metadata| {
        (
            m.ino(),
            m.len(),
            m.mtime(),
            m.mtime_nsec(),
            m.ctime(),
            m.ctime_nsec(),
        )
    };
    let same = state(&before) == state(&after) && size == before.len();
    let stored = 0;
    Ok(same.then_some(Content {
        digest,
        size,
        stored,
        holes,
    }))
}

/// Holes of a sparse file; a file with all its blocks is not asked.
fn holes(file: &File, meta: &Metadata, full: &Path, watch: &dyn Watch) -> Result<Vec<(u64, u64)>> {
    let mut holes = Vec::new();
    let size = meta.len();
    // Filesystems that compress also have few blocks: only holes of a page and more count.
    if meta.blocks() * 512 >= size {
        return Ok(holes);
    }
    let mut at = 0;
    while at < size {
        watch.check()?;
        let hole = seek(file, SeekFrom::Hole(at)).doing("map", full)?;
        if hole >= size {
            break;
        }
        let data = match seek(file, SeekFrom::Data(hole)) {
            Ok(d) => d.min(size),
            Err(rustix::io::Errno::NXIO) => size,
            Err(e) => return Err(e).doing("map", full),
        };
        if data - hole >= 4096 {
            holes.push((hole, data - hole));
        }
        at = data.max(hole + 1);
    }
    Ok(holes)
}

/// Attributes that belong to a release: capabilities, ACLs and the user's. Labels are the site's own policy.
fn carried(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_")
}

/// Extended attributes of a path that is not a symlink; none where the filesystem has none.
pub fn xattrs(full: &Path) -> Result<Xattrs> {
    let list = |names: &mut [u8]| rustix::fs::llistxattr(full, names);
    let get = |name: &[u8], value: &mut [u8]| rustix::fs::lgetxattr(full, name, value);
    carried_xattrs(full, &list, &get)
}

/// The same of an open file, whatever its path leads to by now.
pub fn file_xattrs(file: &File, shown: &Path) -> Result<Xattrs> {
    let list = |names: &mut [u8]| rustix::fs::flistxattr(file, names);
    let get = |name: &[u8], value: &mut [u8]| rustix::fs::fgetxattr(file, name, value);
    carried_xattrs(shown, &list, &get)
}

type Listing<'a> = &'a dyn Fn(&mut [u8]) -> rustix::io::Result<usize>;
type Getting<'a> = &'a dyn Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>;

fn carried_xattrs(full: &Path, list: Listing, get: Getting) -> Result<Xattrs> {
    use rustix::io::Errno;
    let mut names = vec![0u8; 64 << 10];
    let used = match list(&mut names) {
        Ok(n) => n,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Xattrs::new()),
        Err(e) => return Err(e).doing("list attributes of", full),
    };
    let mut all = Xattrs::new();
    for name in names[..used].split(|b| *b == 0).filter(|n| carried(n)) {
        let mut value = vec![0u8; 64 << 10];
        match get(name, &mut value) {
            Ok(n) => {
                value.truncate(n);
                all.insert(name.to_owned(), value);
            }
            Err(Errno::NODATA) => {}
            Err(e) => return Err(e).doing("read attributes of", full),
        }
    }
    Ok(all)
}
