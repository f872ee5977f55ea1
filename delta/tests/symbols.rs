//! Symbol tables through the whole engine: small files made here, real libraries, and damaged ones.

use elfdelta::elf::Elf;
use elfdelta::file_view::FileView;
use elfdelta::tables::{Table, Tables, symbols};
use elfdelta::{Limits, Options, Patch, Silent, diff};
use proptest::prelude::*;

/// A symbol: name, offset in `.text`, size, and whether it is a function.
type Symbol = (String, u64, u64, bool);

/// Name, type, flags, link, entry size, bytes.
type Section<'b> = (u32, u32, u64, u32, u64, &'b [u8]);

const TEXT: u64 = 0x1000;
const TEXT_SIZE: usize = 0x4000;

/// A file with code, a symbol table, its names, and the section names.
fn file(symbols: &[Symbol], share: bool) -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut rows = vec![0u8; 24];
    for (name, value, size, is_function) in symbols {
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let known = strings
            .windows(text.len())
            .position(|w| w == text)
            .filter(|_| share);
        let at = known.unwrap_or(strings.len()) as u32;
        if known.is_none() {
            strings.extend_from_slice(&text);
        }
        rows.extend_from_slice(&at.to_le_bytes());
        rows.extend_from_slice(&[0x10 | if *is_function { 2 } else { 1 }, 0, 1, 0]);
        rows.extend_from_slice(&(TEXT + value).to_le_bytes());
        rows.extend_from_slice(&size.to_le_bytes());
    }
    let names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0".to_vec();
    let code: Vec<u8> = (0..TEXT_SIZE as u32)
        .map(|i| (i.wrapping_mul(0x9E37_79B1) >> 24) as u8)
        .collect();
    let mut file = vec![0u8; TEXT as usize];
    let sections: [Section; 4] = [
        (1, 1, 6, 0, 0, &code),
        (7, 2, 0, 3, 24, &rows),
        (15, 3, 0, 0, 0, &strings),
        (23, 3, 0, 0, 0, &names),
    ];
    let mut table = vec![0u8; 64];
    for (name, kind, flags, link, entsize, bytes) in sections {
        let addr = if flags != 0 { TEXT } else { 0 };
        let at = file.len() as u64;
        file.extend_from_slice(bytes);
        for word in [name, kind] {
            table.extend_from_slice(&word.to_le_bytes());
        }
        for long in [flags, addr, at, bytes.len() as u64] {
            table.extend_from_slice(&long.to_le_bytes());
        }
        table.extend_from_slice(&link.to_le_bytes());
        table.extend_from_slice(&0u32.to_le_bytes());
        for long in [1, entsize] {
            table.extend_from_slice(&u64::to_le_bytes(long));
        }
    }
    let header_at = file.len() as u64;
    file.extend_from_slice(&table);
    file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file[16..20].copy_from_slice(&[3, 0, 62, 0]);
    file[20] = 1;
    file[40..48].copy_from_slice(&header_at.to_le_bytes());
    for (at, half) in [(52, 64u16), (54, 56), (56, 0), (58, 64), (60, 5), (62, 4)] {
        file[at..at + 2].copy_from_slice(&half.to_le_bytes());
    }
    file
}

/// Makes a patch, applies it, and returns it.
fn patch(old: &[u8], new: &[u8]) -> Vec<u8> {
    let patch = diff(old, new, &Options::default(), &Silent).unwrap().bytes;
    let limits = Limits::default();
    let mut out = Vec::new();
    Patch::parse(&patch)
        .unwrap()
        .applier()
        .limits(limits)
        .apply(&old, &mut out)
        .unwrap();
    assert!(out == new);
    patch
}

fn names(hash: &str) -> Vec<Symbol> {
    let name = |i: u64| match i % 4 {
        0 => format!("_RNvNtCs{hash}_4core3ptr{i}NtB4_3foo"),
        1 => format!("_ZN4core3fmt{i}17h{:016x}E", 0x0123_4567_89ab_cdefu64),
        2 => format!("GCC_except_table{i}"),
        _ => format!("anon.{}.{i}.llvm.{}", "0123456789abcdef".repeat(2), 1u64 << 60),
    };
    (0..400).map(|i| (name(i), i * 32, 32, i % 2 == 0)).collect()
}

#[test]
fn new_hashes_cost_little() {
    let (old, new) = (
        file(&names("abcdefghijk"), false),
        file(&names("ABCDEFGHIJKL"), false),
    );
    let size = patch(&old, &new).len();
    assert!(size < 260, "{size}");
}

#[test]
fn a_row_more_or_less_costs_little() {
    let symbols = names("abcdefghijk");
    let mut fewer = symbols.clone();
    fewer.drain(100..104);
    fewer.rotate_left(50);
    let (all, some) = (file(&symbols, false), file(&fewer, false));
    assert!(patch(&all, &some).len() < 300);
    assert!(patch(&some, &all).len() < 360);
}

/// Libraries whose tables the model must reproduce, where they are there.
const LIBRARIES: [&str; 4] = [
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib/x86_64-linux-gnu/libm.so.6",
    "/usr/bin/env",
    "/lib64/libc.so.6",
];

#[test]
fn real_tables_are_reproduced() {
    for path in LIBRARIES {
        let Ok(bytes) = std::fs::read(path) else { continue };
        let budget = elfdelta::budget::Budget::default();
        let view = FileView::new(&bytes, &budget).unwrap();
        let Some(elf) = Elf::read(&view).unwrap() else {
            continue;
        };
        for section in elf.ids() {
            let table = Tables::candidate(&elf, section);
            if let Some(table @ (Table::Symbols | Table::Names | Table::Versions)) = table {
                assert!(symbols::fits(&elf, &bytes, table, section), "{path} {section:?}");
            }
            if elf[section].name == b".gnu.hash" {
                assert!(
                    symbols::fits(&elf, &bytes, Table::Hash, section),
                    "{path} .gnu.hash"
                );
            }
        }
    }
}

#[test]
fn damage_never_panics() {
    let (old, new) = (
        file(&names("abcdefghijk"), true),
        file(&names("ABCDEFGHIJKL"), false),
    );
    let whole = patch(&old, &new);
    let limits = Limits::default();
    for at in 0..whole.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            if let Ok(patch) = Patch::parse(&bytes) {
                let _ = patch.applier().limits(limits).apply(&old, &mut Vec::new());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_tables_come_back(
        old in prop::collection::vec(("(_R)?(Cs[a-z]{3,4}_|a|B[0-3]_|\\.[0-9]{1,3}){0,5}", 0u64..0x3000, 0u64..64, any::<bool>()), 0..80),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[a-c.0-9]{0,9}", 0u64..0x3000), 0..20),
        moves in (any::<prop::sample::Index>(), any::<bool>(), any::<bool>()),
    ) {
        let mut new = old.clone();
        for (at, name, value) in edits {
            if new.is_empty() || value % 3 == 0 {
                new.push((name, value, value % 64, value % 2 == 0));
            } else if value % 3 == 1 {
                new.remove(at.index(new.len()));
            } else {
                let at = at.index(new.len());
                new[at] = (name, value, 1, true);
            }
        }
        if !new.is_empty() {
            let middle = moves.0.index(new.len());
            new.rotate_left(middle);
        }
        patch(&file(&old, moves.1), &file(&new, moves.2));
    }

    #[test]
    fn garbage_in_old_tables_is_no_matter(garbage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..200)) {
        let new = file(&names("abcdefghijk"), false);
        let mut old = new.clone();
        for (at, byte) in garbage {
            // Behind the file header: code, symbols, names and section headers.
            let at = 64 + at.index(old.len() - 64);
            old[at] = byte;
        }
        patch(&old, &new);
        patch(&new, &old);
    }
}
