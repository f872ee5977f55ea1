//! Arbitrary bytes, or a file of each kind with edits, as an ELF file: it is read or left alone, and regions never
//! leave the file.
#![no_main]

mod kinds;

use elfdelta::elf::{Elf, frames, go};
use elfdelta::file_view::FileView;
use libfuzzer_sys::fuzz_target;

// The first byte chooses a file, which edits of five bytes change (place, value), or none: then the rest is the file.
fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let mut bytes = rest.to_vec();
    if *kind < 0x80 {
        bytes = kinds::file(*kind).to_vec();
        for edit in rest.chunks_exact(5) {
            let place = u32::from_le_bytes([edit[0], edit[1], edit[2], edit[3]]) as usize % bytes.len();
            bytes[place] = edit[4];
        }
    }
    let bytes = &bytes[..];
    let budget = elfdelta::budget::Budget::default();
    let view = FileView::new(&bytes, &budget).expect("memory has a size");
    if let Ok(Some(elf)) = Elf::read(&view) {
        let _ = elf.regions(bytes.len() as u64);
        for section in elf.ids() {
            let _ = frames::functions(&elf, section, bytes);
        }
        let _ = go::functions(&view, &elf);
    }
});
