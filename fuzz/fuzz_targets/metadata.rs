//! Arbitrary bytes in place of a repository's signed files: refused, and the stored trust stays as it was or grows.
#![no_main]

use elfup::store::LocalStore;
use elfup::trust::{Fetch, Lifetimes, Signer, State, refresh, target};
use elfup::{Error, Result};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A good repository's metadata by path.
static GOOD: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
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
    let good = files.map(read).collect();
    std::fs::remove_dir_all(&dir).expect("what was made goes");
    good
});

/// The good files but for one.
struct Mirror<'a> {
    which: usize,
    bytes: &'a [u8],
}

impl Fetch for Mirror<'_> {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(number) = GOOD.keys().position(|k| k == path) else {
            return Ok(None);
        };
        let bytes = if number == self.which {
            self.bytes
        } else {
            &GOOD[path]
        };
        if bytes.len() as u64 > limit {
            return Err(Error::Untrusted("too long".into()));
        }
        Ok(Some(bytes.to_vec()))
    }
}

// The first byte chooses the file; the second whether the rest replaces it or edits it: place (2), value.
fuzz_target!(|data: &[u8]| {
    let Some(([which, how], rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let which = usize::from(*which) % GOOD.len();
    let mut bytes = rest.to_vec();
    if how & 1 == 0 {
        bytes = GOOD.values().nth(which).expect("it is there").clone();
        for edit in rest.chunks_exact(3) {
            let place = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % bytes.len();
            bytes[place] = edit[2];
        }
    }
    let _ = State::from_root(&bytes);
    let mut state = State::from_root(&GOOD["tuf/1.root.json"]).expect("the root is good");
    let bytes = &bytes[..];
    if refresh(&mut state, &Mirror { which, bytes }).is_ok() {
        let _ = target(&mut state, "channels/a/b/c.json", &Mirror { which, bytes });
    }
});
