//! What is on the site by digest: a hundred thousand rows must be small, so paths are made when they are asked for.

use super::Site;
use super::objects::holds;
use crate::disk;
use crate::manifest::{Attributes, Content, Entry};
use crate::watch::Heed;
use crate::{Digest, Result, Watch};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Name of an object: its content and what it is dressed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Digest of the content.
    pub digest: Digest,
    /// Mode, owner, extended attributes and time.
    pub attributes: Attributes,
}

impl Name {
    /// The name of a shipped file's object.
    pub fn of(entry: &Entry, content: &Content) -> Name {
        Name {
            digest: content.digest,
            attributes: entry.attributes(),
        }
    }

    /// Reads a file's name; `None` for what is no object.
    pub fn parse(text: &str) -> Option<Name> {
        let (digest, attributes) = text.split_once('.')?;
        Some(Name {
            digest: Digest::parse(digest)?,
            attributes: Attributes::parse(attributes)?,
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}.{}", self.digest, self.attributes)
    }
}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Kept in `objects/`.
    Objects,
    /// Just made, in `built/`.
    Built,
}

/// What is on the site by digest.
#[derive(Default)]
pub struct Index {
    root: PathBuf,
    objects: BTreeMap<Name, Place>,
    /// Files outside that may help: never linked, always verified.
    seeds: HashMap<Digest, PathBuf>,
    /// Once the filesystem has refused to share blocks, it is not asked again.
    pub(super) no_reflinks: bool,
}

impl Index {
    fn new(root: &Path) -> Index {
        Index {
            root: root.to_owned(),
            ..Index::default()
        }
    }

    fn objects(&self, digest: &Digest) -> impl Iterator<Item = (&Name, &Place)> {
        let digest = *digest;
        let [first, last] = Attributes::ALL.map(|attributes| Name { digest, attributes });
        self.objects.range(first..=last)
    }

    fn path(&self, name: &Name, place: Place) -> PathBuf {
        let name = name.to_string();
        match place {
            Place::Objects => self.root.join("objects").join(&name[..2]).join(name),
            Place::Built => self.root.join("built").join(name),
        }
    }

    /// Any file that should have this content; the reader verifies it.
    pub fn any(&self, digest: &Digest) -> Option<PathBuf> {
        let object = self.objects(digest).next();
        let object = object.map(|(name, place)| self.path(name, *place));
        object.or_else(|| self.seeds.get(digest).cloned())
    }

    /// Whether there is any file that should have this content.
    pub fn has(&self, digest: &Digest) -> bool {
        self.has_object(digest) || self.seeds.contains_key(digest)
    }

    /// Whether there is an object with this content, whatever its attributes.
    pub fn has_object(&self, digest: &Digest) -> bool {
        self.objects(digest).next().is_some()
    }

    /// Whether there is an object with this content and these attributes.
    pub fn has_exact(&self, name: &Name) -> bool {
        self.objects.contains_key(name)
    }

    /// The object with this content and these attributes.
    pub fn exact(&self, name: &Name) -> Option<PathBuf> {
        let place = self.objects.get(name)?;
        Some(self.path(name, *place))
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, digest: Digest) {
        let [attributes, _] = Attributes::ALL;
        self.add(Name { digest, attributes }, Place::Objects);
    }

    pub(super) fn add(&mut self, name: Name, place: Place) {
        self.objects.insert(name, place);
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Seen {
    size: u64,
    changed: (i64, i64),
    digest: Digest,
}

impl Site {
    /// Looks at `objects/`, `built/` (whose files are hashed, as a power cut may have torn them) and the seeds.
    pub fn index(&self, watch: &dyn Watch) -> Result<Index> {
        let mut index = Index::new(&self.root);
        for dir in disk::list(&self.path("objects"))? {
            watch.check()?;
            for entry in disk::list(&dir.path())? {
                if let Some(name) = Name::parse(&entry.file_name().to_string_lossy()) {
                    index.add(name, Place::Objects);
                }
            }
        }
        for entry in disk::list(&self.path("built"))? {
            watch.check()?;
            match Name::parse(&entry.file_name().to_string_lossy()) {
                Some(name) if holds(&entry.path(), &name.digest, watch)? => index.add(name, Place::Built),
                _ => disk::remove(&entry.path())?,
            }
        }
        self.seeds(&mut index, watch)?;
        Ok(index)
    }

    fn seeds(&self, index: &mut Index, watch: &dyn Watch) -> Result<()> {
        if self.config.seeds.is_empty() {
            return Ok(());
        }
        let mut cache: HashMap<String, Seen> = self.read_state("seeds.json")?.unwrap_or_default();
        let mut todo = self.config.seeds.clone();
        while let Some(dir) = todo.pop() {
            for entry in disk::list(&dir).unwrap_or_default() {
                watch.check()?;
                let (path, Ok(meta)) = (entry.path(), entry.metadata()) else {
                    continue;
                };
                if meta.is_dir() {
                    todo.push(path);
                } else if meta.is_file() && meta.len() > 0 {
                    let key = crate::manifest::escape(path.as_os_str().as_encoded_bytes());
                    let changed = (meta.ctime(), meta.ctime_nsec());
                    let known = cache
                        .get(&key)
                        .filter(|s| s.size == meta.len() && s.changed == changed);
                    let digest = match known {
                        Some(seen) => seen.digest,
                        None => match seed(&path).and_then(|f| Digest::of_reader(Heed::new(f, watch))) {
                            Ok((digest, size)) => {
                                cache.insert(
                                    key,
                                    Seen {
                                        size,
                                        changed,
                                        digest,
                                    },
                                );
                                digest
                            }
                            Err(_) => {
                                watch.check()?;
                                continue;
                            }
                        },
                    };
                    index.seeds.insert(digest, path);
                }
            }
        }
        self.write_state("seeds.json", &cache)
    }
}

/// Opens a file that others may have replaced since it was looked at.
fn seed(path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(openat(CWD, path, flags, Mode::empty())?))
}
