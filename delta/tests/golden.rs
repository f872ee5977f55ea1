//! Patches that were made once and must decode for ever, from the first published version of the format on.
//!
//! While the format is version 0, whoever changes it makes them anew:
//! `cargo test -p elfdelta --test golden -- --ignored`

use elfdelta::{Limits, Options, Patch, Profile, Silent};
use std::{fs, path::PathBuf};

fn text(len: usize, mut state: u64) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"etaoinshrdlucmfwypvbgkqjxz .,;!?"[(state >> 59) as usize]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Name, old file, new file, profile.
fn pairs() -> Vec<(&'static str, Vec<u8>, Vec<u8>, Profile)> {
    let old = text(5000, 1);
    let mut new = old.clone();
    new[700] = b'#';
    new.splice(2000..2010, text(90, 2));
    new.extend_from_slice(&old[1000..1500]);
    let other = text(700, 9);
    vec![
        ("edited", old.clone(), new.clone(), Profile::Default),
        ("edited-fast", old.clone(), new, Profile::Fast),
        ("same", old.clone(), old.clone(), Profile::Default),
        ("other", old, other.clone(), Profile::Default),
        ("empty-old", Vec::new(), other.clone(), Profile::Default),
        ("empty-new", other, Vec::new(), Profile::Default),
    ]
}

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("{name}.eldp"))
}

#[test]
fn golden_patches_decode() {
    for (name, old, new, _) in pairs() {
        let bytes = fs::read(path(name)).unwrap();
        let patch = Patch::parse(&bytes, &Limits::default()).unwrap();
        let mut made = Vec::new();
        patch
            .apply(&old, &mut made, &Limits::default(), &Silent)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(made == new, "{name}");
    }
}

#[test]
#[ignore = "makes the golden patches anew"]
fn make_golden_patches() {
    for (name, old, new, profile) in pairs() {
        let options = Options {
            profile,
            ..Options::default()
        };
        let delta = elfdelta::diff(&old, &new, &options, &Silent).unwrap();
        fs::write(path(name), delta.bytes).unwrap();
    }
}
