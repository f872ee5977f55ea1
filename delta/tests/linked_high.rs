//! Files linked above 2^32, as kernels are, are read as programs: a base is subtracted.

use elfdelta::{Options, Patch, Silent};
use std::{fs, path::Path};

/// A program with every loaded section, and every symbol in one, moved by `base`. Code that counts from itself is
/// right wherever it stands.
fn moved(name: &str, base: u64) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    let mut bytes = fs::read(folder.join(name)).unwrap();
    let long = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let add = |bytes: &mut [u8], at: usize| {
        let value = long(bytes, at) + base;
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    let table = long(&bytes, 0x28) as usize;
    let count = usize::from(u16::from_le_bytes([bytes[0x3c], bytes[0x3d]]));
    for row in (0..count).map(|i| table + 64 * i) {
        let (kind, flags) = (
            u32::from_le_bytes(bytes[row + 4..row + 8].try_into().unwrap()),
            long(&bytes, row + 8),
        );
        if flags & 2 != 0 && long(&bytes, row + 16) != 0 {
            add(&mut bytes, row + 16);
        }
        if kind == 2 || kind == 11 {
            let (at, size) = (long(&bytes, row + 24) as usize, long(&bytes, row + 32) as usize);
            for symbol in (at..at + size).step_by(24) {
                let section = u16::from_le_bytes([bytes[symbol + 6], bytes[symbol + 7]]);
                if section != 0 && section < 0xff00 && bytes[symbol + 4] & 15 != 6 {
                    add(&mut bytes, symbol + 8);
                }
            }
        }
    }
    bytes
}

#[test]
fn a_program_linked_high_is_read_as_one() {
    for kind in ["cxx", "arm64"] {
        let size = |base: u64, other: u64| {
            let (old, new) = (
                moved(&format!("{kind}-1"), base),
                moved(&format!("{kind}-2"), other),
            );
            let delta = elfdelta::diff(&old, &new, &Options::default(), &Silent).unwrap();
            let mut made = Vec::new();
            let patch = Patch::parse(&delta.bytes).unwrap();
            patch.applier().apply(&old, &mut made).unwrap();
            assert!(made == new, "{kind} at {base:x}, {other:x}");
            delta.bytes.len()
        };
        let low = size(0, 0);
        for (base, other) in [
            (1 << 40, 1 << 40),
            (0xffff_ffff_8000_0000, 0xffff_ffff_8000_0000),
            (1 << 40, 1 << 41),
        ] {
            let high = size(base, other);
            assert!(
                high < low + low / 4,
                "{kind} at {base:x}, {other:x}: {high} bytes, not about {low}"
            );
        }
    }
}

/// Words that hold addresses move with what they lead to, in a program without relocations: pointers, distances from
/// where they stand, and low halves, some hundred of them, cost next to nothing.
#[test]
fn words_without_relocations_move_with_what_they_lead_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    let [old, new] = [1, 2].map(|n| fs::read(folder.join(format!("linked-{n}"))).unwrap());
    let delta = elfdelta::diff(&old, &new, &Options::default(), &Silent).unwrap();
    let mut made = Vec::new();
    let patch = Patch::parse(&delta.bytes).unwrap();
    patch.applier().apply(&old, &mut made).unwrap();
    assert!(made == new);
    assert!(delta.bytes.len() < 250, "{} bytes", delta.bytes.len());
}
