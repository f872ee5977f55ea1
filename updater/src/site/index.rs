//! What is on the site by digest: a hundred thousand rows must be small, so paths are made when they are asked for.

use super::files::open_nofollow;
use crate::manifest::{Attributes, Content, Entry};
use crate::{Digest, Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
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

    /// What the object was called before names had all digits: as now, without the last sixteen.
    pub(super) fn short(&self) -> String {
        let mut name = self.to_string();
        name.truncate(name.len() - 16);
        name
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

impl Place {
    /// Where an object of a site is.
    pub fn path(self, site: &Path, name: &Name) -> PathBuf {
        let name = name.to_string();
        match self {
            Place::Objects => site.join("objects").join(&name[..2]).join(name),
            Place::Built => site.join("built").join(name),
        }
    }
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
    pub(super) fn new(root: &Path) -> Index {
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

    /// Any file that should have this content; the reader verifies it.
    pub fn any(&self, digest: &Digest) -> Option<PathBuf> {
        let object = self.objects(digest).next();
        let object = object.map(|(name, place)| place.path(&self.root, name));
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
        Some(place.path(&self.root, name))
    }

    /// Opens a file that should have this content, as a base: whoever applies to it checks its digest.
    pub fn open(&self, digest: &Digest) -> Result<File> {
        let path = self
            .any(digest)
            .ok_or_else(|| Error::NotFound(format!("base {}", digest.short())))?;
        open_nofollow(&path)
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, digest: Digest) {
        let [attributes, _] = Attributes::ALL;
        self.add(Name { digest, attributes }, Place::Objects);
    }

    pub(super) fn add(&mut self, name: Name, place: Place) {
        self.objects.insert(name, place);
    }

    /// A file outside that may help.
    pub(super) fn add_seed(&mut self, digest: Digest, path: PathBuf) {
        self.seeds.insert(digest, path);
    }
}
