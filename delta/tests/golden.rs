//! Patches that were made once and must decode for ever, from the first published version of the format on.
//!
//! While the format is version 0, whoever changes it makes them anew:
//! `cargo test -p elfdelta --test golden -- --ignored`

use elfdelta::packed::deflate::{Deflate, Style};
use elfdelta::{Options, Patch, Profile, Silent};
use sha2::{Digest, Sha256};
use std::{fs, path::PathBuf};

fn text(len: usize, mut state: u64) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"etaoinshrdlucmfwypvbgkqjxz .,;!?"[(state >> 59) as usize]
    };
    std::iter::repeat_with(next).take(len).collect()
}

struct Golden {
    name: &'static str,
    old: Vec<u8>,
    new: Vec<u8>,
    options: Options<'static>,
}

fn golden() -> Vec<Golden> {
    let old = text(5000, 1);
    let mut new = old.clone();
    new[700] = b'#';
    new.splice(2000..2010, text(90, 2));
    new.extend_from_slice(&old[1000..1500]);
    let other = text(700, 9);
    let seed = |name: &str| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/elf");
        fs::read(folder.join(name)).unwrap()
    };
    let longer = [&text(20_000, 1)[..], &other].concat();
    let (elf_1, elf_2) = (seed("tiny-1"), seed("tiny-2"));
    let segments = Options::default().segments(3);
    let fast = Options::default().profile(Profile::Fast);
    let all = [
        ("edited", &old, &new, Options::default()),
        ("edited-fast", &old, &new, fast),
        ("same", &old, &old, Options::default()),
        ("other", &old, &other, Options::default()),
        ("empty-old", &Vec::new(), &other, Options::default()),
        ("empty-new", &other, &Vec::new(), Options::default()),
        ("elf", &elf_1, &elf_2, Options::default()),
        ("elf-fast", &elf_1, &elf_2, fast),
        ("elf-segments", &elf_1, &elf_2, segments),
        (
            "gzip",
            &gzip(&text(20_000, 1)),
            &gzip(&longer),
            Options::default(),
        ),
    ];
    let owned = all.map(|(name, old, new, options)| Golden {
        name,
        old: old.clone(),
        new: new.clone(),
        options,
    });
    owned.into()
}

/// A file as GNU gzip writes it at its highest level.
fn gzip(text: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    let mut deflate = Deflate::new(Style::default());
    deflate.push(text);
    deflate.finish();
    deflate.take(&mut file);
    file.extend(crc32fast::hash(text).to_le_bytes());
    file.extend((text.len() as u32).to_le_bytes());
    file
}

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("{name}.eldp"))
}

/// The committed file: the id, made from the lines below it, then the digest of every golden patch.
fn format_id() -> String {
    let hex = |bytes: &[u8]| -> String {
        let digest = Sha256::digest(bytes);
        digest.iter().map(|b| format!("{b:02x}")).collect()
    };
    let line = |g: Golden| format!("{} {}\n", hex(&fs::read(path(g.name)).unwrap()), g.name);
    let lines: String = golden().into_iter().map(line).collect();
    format!("{}-{}\n{lines}", elfdelta::VERSION, &hex(lines.as_bytes())[..16])
}

fn id_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-id")
}

#[test]
fn golden_patches_decode() {
    for Golden { name, old, new, .. } in golden() {
        let bytes = fs::read(path(name)).unwrap();
        let patch = Patch::parse(&bytes).unwrap();
        let mut made = Vec::new();
        patch
            .applier()
            .apply(&old, &mut made)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(made == new, "{name}");
    }
}

/// Other golden patches mean another format: sites and farms tell by the id that what they kept is of no use.
#[test]
fn the_format_id_is_that_of_the_golden_patches() {
    let committed = fs::read_to_string(id_path()).unwrap();
    assert_eq!(
        committed,
        format_id(),
        "make the golden patches and the id anew, as said above"
    );
    assert_eq!(Some(elfdelta::FORMAT_ID), committed.lines().next());
}

#[test]
#[ignore = "makes the golden patches and the format's id anew"]
fn make_golden_patches() {
    for Golden {
        name,
        old,
        new,
        options,
    } in golden()
    {
        let delta = elfdelta::diff(&old, &new, &options, &Silent).unwrap();
        fs::write(path(name), delta.bytes).unwrap();
    }
    fs::write(id_path(), format_id()).unwrap();
}
