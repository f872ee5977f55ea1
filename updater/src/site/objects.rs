//! Rebuilt files by digest and attributes in `objects/` and `built/`, verified before they get their name.

use super::files::{self, open_nofollow, set_attributes};
use super::index::{Index, Name, Place};
use crate::digest::Hasher;
use crate::disk;
use crate::error::Doing;
use crate::manifest::{Content, Entry, Manifest};
use crate::watch::Heed;
use crate::{Digest, Error, Result, Watch, limits};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A shipped file: its entry and its content.
pub(super) type Shipped<'a> = (&'a Entry, &'a Content);

/// The directories `objects/` and `built/`.
pub(super) struct Objects {
    site: PathBuf,
    /// What needs root is left out.
    pub unprivileged: bool,
}

impl Objects {
    /// Those of a site.
    pub fn of(site: &Path, unprivileged: bool) -> Objects {
        Objects {
            site: site.to_owned(),
            unprivileged,
        }
    }

    /// Looks at `objects/` and `built/`, whose files are hashed, as a power cut may have torn them.
    pub fn index(&self, watch: &dyn Watch) -> Result<Index> {
        let mut index = Index::new(&self.site);
        for dir in disk::list(&self.site.join("objects"))? {
            watch.check()?;
            for entry in disk::list(&dir.path())? {
                if let Some(name) = Name::parse(&entry.file_name().to_string_lossy()) {
                    index.add(name, Place::Objects);
                }
            }
        }
        for entry in disk::list(&self.site.join("built"))? {
            watch.check()?;
            match Name::parse(&entry.file_name().to_string_lossy()) {
                Some(name) if holds(&entry.path(), &name.digest, watch)? => index.add(name, Place::Built),
                _ => disk::remove(&entry.path())?,
            }
        }
        Ok(index)
    }

    /// Writes one object into `built/`: `fill` delivers the bytes, which must have the entry's digest and size.
    pub fn build(
        &self,
        index: &mut Index,
        file: Shipped,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let name = Name::of(file.0, file.1);
        let path = Place::Built.path(&self.site, &name);
        let temporary = disk::beside(&path);
        disk::remove(&temporary)?;
        let result = self.write(&temporary, file, fill);
        if let Err(e) = result {
            let _ = fs::remove_file(&temporary);
            return Err(e);
        }
        disk::rename(&temporary, &path)?;
        index.add(name, Place::Built);
        Ok(())
    }

    fn write(
        &self,
        temporary: &Path,
        (entry, content): Shipped,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        let mut file = disk::create_new(temporary, 0o600)?;
        let sparse = Sparse {
            file: &mut file,
            holes: &content.holes,
            at: 0,
            limit: content.size,
        };
        let mut hasher = Hasher::new(sparse);
        fill(&mut hasher)?;
        let (digest, size) = hasher.finish();
        if digest != content.digest || size != content.size {
            return Err(Error::Damaged(format!(
                "what came out for {} has another digest",
                entry.shown()
            )));
        }
        file.set_len(size).doing("size", temporary)?;
        set_attributes(&file, entry, self.unprivileged)
    }

    /// Where the object of a shipped file is.
    pub fn path(&self, (entry, content): Shipped) -> PathBuf {
        Place::Objects.path(&self.site, &Name::of(entry, content))
    }

    /// Gives an object the attributes of its name again: a change through a tree that is linked to it changed it too.
    pub fn mend(&self, object: &Path, entry: &Entry) -> Result<bool> {
        let stat = rustix::fs::lstat(object).doing("read", object)?;
        let owner = (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid) || self.unprivileged;
        let mode = stat.st_mode & 0o7777;
        let mode = mode == entry.mode || self.unprivileged && mode == entry.mode & 0o1777;
        let time = entry.time.is_none_or(|t| t.is(files::times_of(&stat).0));
        if owner && mode && time {
            return Ok(false);
        }
        set_attributes(open_nofollow(object)?, entry, self.unprivileged).map(|()| true)
    }

    /// Makes a second object of the same content with other attributes.
    pub fn copy(&self, index: &mut Index, shipped: Shipped, watch: &dyn Watch) -> Result<()> {
        let (entry, content) = shipped;
        let from = match index.any(&content.digest) {
            Some(path) => path,
            None if content.size == 0 => PathBuf::from("/dev/null"),
            None => return Err(Error::NotFound(format!("content of {}", entry.shown()))),
        };
        let source = File::open(&from).doing("open", &from)?;
        if !index.no_reflinks && content.size > 0 {
            if self.share(index, &source, shipped, watch)? {
                return Ok(());
            }
            index.no_reflinks = true;
        }
        self.build(index, shipped, &mut |sink| {
            let copied = io::copy(&mut Heed::new(&source, watch), sink);
            copied.map(drop).doing("copy", &from)
        })
    }

    /// Makes an object of the blocks of a file that has its content. `false`: it must be copied.
    fn share(
        &self,
        index: &mut Index,
        source: &File,
        (entry, content): Shipped,
        watch: &dyn Watch,
    ) -> Result<bool> {
        let name = Name::of(entry, content);
        let path = Place::Built.path(&self.site, &name);
        let temporary = disk::beside(&path);
        disk::remove(&temporary)?;
        let file = disk::create_new(&temporary, 0o600)?;
        let whole = || File::open(&temporary).and_then(|f| Digest::of_reader(Heed::new(f, watch)));
        if !files::reflink(source, &file) || whole().doing("read", &temporary)?.0 != content.digest {
            disk::remove(&temporary)?;
            return Ok(false);
        }
        set_attributes(&file, entry, self.unprivileged)?;
        disk::rename(&temporary, &path)?;
        index.add(name, Place::Built);
        Ok(true)
    }

    /// Moves everything built into `objects/`, once it is on the disk.
    pub fn keep_built(&self, watch: &dyn Watch) -> Result<()> {
        let built = disk::list(&self.site.join("built"))?;
        if built.is_empty() {
            return Ok(());
        }
        disk::sync_fs(&self.site)?;
        for entry in built {
            watch.check()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let dir = self.site.join("objects").join(name.get(..2).unwrap_or("xx"));
            if !dir.is_dir() {
                disk::make_dirs(&dir)?;
            }
            disk::rename(&entry.path(), &dir.join(name))?;
        }
        disk::sync_fs(&self.site)
    }

    /// A file that nobody else sees.
    pub fn unnamed(&self) -> Result<File> {
        let path = self.site.join("built/.tmp-unnamed");
        disk::remove(&path)?;
        let file = disk::create_new(&path, 0o600)?;
        disk::remove(&path)?;
        Ok(file)
    }

    /// A file without a name for what is packed in a base, where such space is asked for.
    pub fn scratch(&self, bytes: u64) -> Result<Option<(File, u64)>> {
        match bytes {
            0 => Ok(None),
            _ => Ok(Some((self.unnamed()?, bytes.min(limits::SCRATCH)))),
        }
    }

    /// Removes what was built and not kept, and the objects that are not needed; tells how many, and their bytes.
    pub fn retain(&self, needed: &HashSet<Name>, watch: &dyn Watch) -> Result<(u64, u64)> {
        for entry in disk::list(&self.site.join("built"))? {
            watch.check()?;
            disk::remove(&entry.path())?;
        }
        let (mut objects, mut bytes) = (0, 0);
        for dir in disk::list(&self.site.join("objects"))? {
            for entry in disk::list(&dir.path())? {
                watch.check()?;
                let name = Name::parse(&entry.file_name().to_string_lossy());
                if name.is_none_or(|name| !needed.contains(&name)) {
                    objects += 1;
                    bytes += entry.metadata().map(|m| m.len()).unwrap_or_default();
                    disk::remove(&entry.path())?;
                }
            }
        }
        Ok((objects, bytes))
    }
}

/// Gives the objects of a manifest that have their name of before (see [`Name::short`]) that of today.
pub(super) fn rename_short(objects: &Objects, manifest: &Manifest, watch: &dyn Watch) -> Result<()> {
    for shipped in manifest.files() {
        watch.check()?;
        let path = objects.path(shipped);
        let before = path.with_file_name(Name::of(shipped.0, shipped.1).short());
        if before.exists() && !path.exists() {
            disk::rename(&before, &path)?;
        }
    }
    Ok(())
}

/// Puts a private copy of an object into a tree; `true`: its blocks are shared, as the filesystem can.
pub(super) fn clone_into(from: &Path, to: &mut File, content: &Content, watch: &dyn Watch) -> Result<bool> {
    let source = File::open(from).doing("open", from)?;
    if files::reflink(&source, to) {
        return Ok(true);
    }
    let mut sparse = Sparse {
        file: to,
        holes: &content.holes,
        at: 0,
        limit: u64::MAX,
    };
    io::copy(&mut Heed::new(&source, watch), &mut sparse).doing("copy", from)?;
    let size = sparse.at;
    to.set_len(size).doing("size", from)?;
    Ok(false)
}

/// Whether a file of the site has the content that its name says.
///
/// What the disk cannot read any more is as bad as other bytes; any other failure says nothing of the file.
pub(super) fn holds(path: &Path, digest: &Digest, watch: &dyn Watch) -> Result<bool> {
    let whole = File::open(path).and_then(|file| Digest::of_reader(Heed::new(file, watch)));
    match whole {
        Ok((found, _)) => Ok(found == *digest),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).doing("read", path),
    }
}

/// Writes a file forward and leaves out the holes that the manifest names, where the bytes are zero indeed.
struct Sparse<'a> {
    file: &'a mut File,
    holes: &'a [(u64, u64)],
    at: u64,
    limit: u64,
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let end = self
            .at
            .checked_add(bytes.len() as u64)
            .filter(|e| *e <= self.limit);
        if end.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more bytes than the file has",
            ));
        }
        while self.holes.first().is_some_and(|(o, n)| o + n <= self.at) {
            self.holes = &self.holes[1..];
        }
        let (inside, until) = match self.holes.first() {
            Some((o, n)) if *o <= self.at => (true, o + n),
            Some((o, _)) => (false, *o),
            None => (false, u64::MAX),
        };
        let n = bytes
            .len()
            .min(usize::try_from(until - self.at).unwrap_or(usize::MAX));
        let part = &bytes[..n];
        if inside && part.iter().all(|b| *b == 0) {
            self.file.seek(SeekFrom::Current(n as i64))?;
        } else {
            self.file.write_all(part)?;
        }
        self.at += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
