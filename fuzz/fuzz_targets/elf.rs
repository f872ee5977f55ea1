//! Arbitrary bytes as an ELF file: it is read or left alone, and regions never leave the file.
#![no_main]

use elfdelta::elf::Elf;
use elfdelta::file_view::FileView;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let budget = elfdelta::budget::Budget::default();
    let view = FileView::new(&bytes, &budget).expect("memory has a size");
    if let Ok(Some(elf)) = Elf::read(&view) {
        let _ = elf.regions(bytes.len() as u64);
        for index in 0..elf.sections.len() {
            let _ = elfdelta::elf::frames::functions(&elf, index, bytes);
        }
    }
});
