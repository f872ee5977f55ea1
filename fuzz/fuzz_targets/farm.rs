//! The signed files of a repository that a farm made, as they are or with a byte changed.

use elfup::store::LocalStore;
use elfup::trust::{Fetch, Lifetimes, Signer, State, refresh, target};
use elfup::{Error, Result};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a farm signs first, by path.
static SIGNED: LazyLock<Files> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("fuzz-metadata-{}", std::process::id()));
    let (keys, repo) = (dir.join("keys"), dir.join("repo"));
    Signer::make_keys(&keys, 1).expect("keys are made");
    let store = LocalStore::new(&repo);
    Signer::new(&store, &keys, Lifetimes::default())
        .init(1)
        .expect("a repository is made");
    let files = std::fs::read_dir(repo.join("tuf"))
        .expect("metadata is there")
        .flatten();
    let read = |e: std::fs::DirEntry| {
        let name = format!("tuf/{}", e.file_name().to_string_lossy());
        (name, std::fs::read(e.path()).expect("metadata is read"))
    };
    let signed = Files(files.map(read).collect());
    std::fs::remove_dir_all(&dir).expect("what was made goes");
    signed
});

#[derive(Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Fetch for Files {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.0.get(path) {
            Some(bytes) if bytes.len() as u64 > limit => Err(Error::Untrusted("too long".into())),
            bytes => Ok(bytes.cloned()),
        }
    }
}

/// What a site makes of the files: of those as they are, the metadata; where one has another byte at a place, anything
/// but a panic.
pub fn visit(role: &str, place: Option<usize>, byte: Option<u8>) {
    let mut files = SIGNED.clone();
    let mut same = true;
    let name = format!("{role}.json");
    let file = files.0.iter_mut().find(|(path, _)| path.ends_with(&name));
    if let (Some((_, bytes)), Some(place), Some(byte)) = (file, place, byte) {
        let at = place % bytes.len();
        same = bytes[at] == byte;
        bytes[at] = byte;
    }
    let first = &SIGNED.0["tuf/1.root.json"];
    let mut state = State::from_root(first).expect("the root is good");
    let taken = refresh(&mut state, &files);
    assert!(taken.is_ok() || !same, "{taken:?}");
    if taken.is_ok() {
        let found = target(&mut state, "channels/a/b/c.json", &files);
        assert!(found.is_err(), "nobody signed it");
    }
}
