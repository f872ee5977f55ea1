//! The files that changed between two trees, each with the old file that it is told from: as the farm pairs them.

use crate::interrupt;
use elfup::{
    Jobs, Watch,
    farm::{Pair, by_name},
    kind,
    manifest::{Entry, Header, Manifest, ScanOptions, join, scan},
    names::Follow,
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// One content that the old tree lacks.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Its path in the new tree, for people.
    pub path: String,
    /// What it is.
    pub kind: String,
    /// The old file, if any resembles it.
    pub old: Option<PathBuf>,
    /// The new one.
    pub new: PathBuf,
    /// Sizes of both in bytes.
    pub sizes: (u64, u64),
}

/// Both trees as the updater reads them.
pub struct Trees {
    /// What names the two contents: the same trees give the same name.
    pub name: String,
    /// Every content that the new one has and the old one lacks, once, the largest first.
    pub changed: Vec<Changed>,
}

/// Stops the scan when the user wants no more.
struct Stop;
impl Watch for Stop {
    fn cancelled(&self) -> bool {
        interrupt::go_on().is_err()
    }
}

/// Reads both trees and pairs their files.
pub fn read(old: &Path, new: &Path) -> Result<Trees, String> {
    let manifests = [manifest(old)?, manifest(new)?];
    let [before, after] = &manifests;
    let mut changed = by_name(before, after)
        .iter()
        .map(|pair| one(pair, (old, before), (new, after)))
        .collect::<Result<Vec<_>, String>>()?;
    changed.sort_by(|a, b| (b.sizes.1, &a.path).cmp(&(a.sizes.1, &b.path)));
    let mut bytes = before.to_bytes();
    bytes.extend(after.to_bytes());
    let name = elfup::Digest::of(&bytes).to_string()[..16].to_owned();
    Ok(Trees { name, changed })
}

fn manifest(tree: &Path) -> Result<Manifest, String> {
    let entries = scan(tree, &ScanOptions::default(), &Jobs::new(0, 0), &Stop).map_err(crate::text)?;
    let header = Header {
        mtime: None,
        protocol: elfup::PROTOCOL,
        follow: Follow {
            product: "tree".into(),
            channel: "stable".into(),
            arch: "any".into(),
        },
        release: "tree".into(),
        sequence: 1,
        urgent: false,
        features: Vec::new(),
        config: Vec::new(),
        entries: 0,
    };
    Ok(Manifest { header, entries })
}

fn one(pair: &Pair, old: (&Path, &Manifest), new: (&Path, &Manifest)) -> Result<Changed, String> {
    let size = |entry: &Entry| entry.content().map_or(0, |content| content.size);
    let entry = &new.1.entries[pair.to];
    let base = pair.from.map(|index| &old.1.entries[index]);
    let place = join(new.0, &entry.path);
    let mut head = Vec::new();
    let file = File::open(&place).and_then(|file| file.take(kind::HEAD as u64).read_to_end(&mut head));
    file.map_err(|error| format!("{}: {error}", place.display()))?;
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    Ok(Changed {
        path: entry.shown(),
        kind: kind::of(&name, &head),
        old: base.map(|base| join(old.0, &base.path)),
        new: place.clone(),
        sizes: (base.map_or(0, size), size(entry)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn changed_files_find_their_base_and_unchanged_ones_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("old/same", b"one");
        put("new/same", b"one");
        put("old/moved", b"two");
        put("new/elsewhere", b"two");
        put("old/text", b"three");
        put("new/text", b"three!");
        put("old/lib/6.1.0-1/a.ko", b"four");
        put("new/lib/6.1.0-2/a.ko", b"four!!");
        // Of names that differ in digits alone the same one counts, then the one in the most similar place.
        put("old/lib/6.1.0-1/cp85.ko", b"eight five");
        put("old/lib/6.1.0-1/cp5.ko", b"five");
        put("new/lib/6.1.0-2/cp5.ko", b"was five..");
        put("new/lib/6.1.0-2/cp85.ko", b"not 5");
        put("old/a/x/y/1.so", b"place");
        put("old/a/z/y/1.so", b"place 2");
        put("old/a/z/w/1.so", b"no 3");
        put("new/b/z/y/2.so", b"at place");
        put("new/b/z/w/1.so", b"1");
        put("new/fresh", b"nothing like it");
        let trees = read(&folder.path().join("old"), &folder.path().join("new")).unwrap();
        let found: Vec<_> = trees
            .changed
            .iter()
            .map(|c| {
                (
                    c.path.as_str(),
                    c.old.as_ref().map(|old| {
                        old.strip_prefix(folder.path())
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned()
                    }),
                )
            })
            .collect();
        let base = |path: &str| Some(path.to_owned());
        assert_eq!(
            found,
            [
                ("fresh", None),
                ("lib/6.1.0-2/cp5.ko", base("old/lib/6.1.0-1/cp5.ko")),
                ("b/z/y/2.so", base("old/a/z/y/1.so")),
                ("lib/6.1.0-2/a.ko", base("old/lib/6.1.0-1/a.ko")),
                ("text", base("old/text")),
                ("lib/6.1.0-2/cp85.ko", base("old/lib/6.1.0-1/cp85.ko")),
                ("b/z/w/1.so", base("old/a/z/w/1.so")),
            ]
        );
    }
}
