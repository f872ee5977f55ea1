//! The readers against the running test program, whole and damaged.

use super::cfa::{self, Distances};
use super::read::FrameTable;
use super::{frame_index, pointers};
use crate::elf::Numbers;
use crate::elf::encoded::Encoding;
use crate::elf::exceptions::Lsda;
use crate::file_view::FileView;
use crate::layout::{CodeMap, OldImage};
use crate::place::Addr;
use crate::tables::exceptions::ExceptionTable;
use proptest::prelude::*;

/// How the test program writes numbers.
const WIDE: Numbers = Numbers {
    is_64: true,
    big_endian: cfg!(target_endian = "big"),
};

/// Bytes and address of a section.
type Part = (Vec<u8>, Addr);

/// `.eh_frame`, `.eh_frame_hdr` and `.gcc_except_table` of the test program, and its code.
fn program() -> (Part, Part, Part, CodeMap) {
    let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let budget = crate::budget::Budget::default();
    let file = FileView::new(&bytes, &budget).unwrap();
    let image = OldImage::read(&file).unwrap().unwrap();
    let part = |name: &[u8]| {
        let s = &image.elf[image.elf.section(name).unwrap()];
        (file.bytes(s.offset, s.size).unwrap(), Addr(s.addr as u32))
    };
    let parts = (
        part(b".eh_frame"),
        part(b".eh_frame_hdr"),
        part(b".gcc_except_table"),
    );
    (parts.0, parts.1, parts.2, image.code.clone())
}

#[test]
fn a_real_program_is_of_the_modelled_form() {
    let (frames, header, exceptions, code) = program();
    let built = frame_index::build(WIDE, &frames.0, frames.1, (header.1, header.0.len()));
    assert!(built == header.0, "the search table follows from the frames");

    let table = FrameTable::read(frames.0, frames.1, WIDE, &code);
    assert!(table.clean);
    assert!(table.rows.len() > 1000 && (table.strays as usize) < table.rows.len() / 8);

    let mut ops = Vec::new();
    let mut again = Vec::new();
    for unit in 0..table.of_unit.len() as u32 {
        let Some(row) = table.row_of(unit) else { continue };
        let fde = table.fde(row).unwrap();
        let factor = table.kinds[usize::from(table.rows[row as usize].kind)].code_factor;
        let bytes = &table.bytes[fde.program];
        let distances = Distances {
            factor,
            numbers: WIDE,
        };
        let (program, understood) = cfa::strip(bytes, distances, &mut ops);
        assert!(understood && bytes[program.len()..].iter().all(|&b| b == 0));
        again.clear();
        let mut here = 0;
        for op in &ops {
            match op.place {
                Some(place) => {
                    cfa::put_advance(&mut again, WIDE, (place - here) / factor, op.wide);
                    here = place;
                }
                None => again.extend_from_slice(&program[op.bytes.0 as usize..op.bytes.1 as usize]),
            }
        }
        assert_eq!(again, program);
    }

    let tables = ExceptionTable::new(exceptions.0, exceptions.1, pointers(&table));
    assert!(tables.starts.len() > 100);
    for index in 0..tables.starts.len() {
        let (addr, bytes) = tables.extent(index);
        let (lsda, len) = Lsda::read(bytes, addr, WIDE).expect("a table of the usual form");
        let mut again = Vec::new();
        lsda.emit(&mut again, WIDE);
        lsda.fill_types(&mut again, addr, WIDE);
        assert_eq!(again, &bytes[..len]);
    }
}

#[test]
fn damaged_sections_are_read_without_harm() {
    let (frames, _, exceptions, code) = program();
    let (frames, addr) = (&frames.0[..frames.0.len().min(3000)], frames.1);
    let (exceptions, exceptions_addr) = (&exceptions.0[..exceptions.0.len().min(1500)], exceptions.1);
    let check = |frames: Vec<u8>, exceptions: Vec<u8>| {
        let table = FrameTable::read(frames, addr, WIDE, &code);
        let mut ops = Vec::new();
        for row in 0..table.rows.len() as u32 {
            if let Some(fde) = table.fde(row) {
                cfa::strip(&table.bytes[fde.program], Distances::default(), &mut ops);
            }
        }
        let tables = ExceptionTable::new(exceptions, exceptions_addr, pointers(&table));
        for index in 0..tables.starts.len() {
            let (addr, bytes) = tables.extent(index);
            Lsda::read(bytes, addr, WIDE);
        }
        for from in 0..tables.bytes.len().min(200) {
            Lsda::read(&tables.bytes[from..], Addr(from as u32), Numbers::default());
        }
    };
    for len in (0..frames.len()).step_by(7) {
        check(
            frames[..len].to_vec(),
            exceptions[..len.min(exceptions.len())].to_vec(),
        );
    }
    let any_change = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    let mut runner = proptest::test_runner::TestRunner::default();
    let result = runner.run(&any_change, |changes| {
        let (mut frames, mut exceptions) = (frames.to_vec(), exceptions.to_vec());
        for (at, byte) in changes {
            let (i, j) = (at.index(frames.len()), at.index(exceptions.len()));
            (frames[i], exceptions[j]) = (byte, byte);
        }
        check(frames, exceptions);
        Ok(())
    });
    result.unwrap();
}

proptest! {
    #[test]
    fn any_bytes_are_some_exception_table_or_none(mut bytes in prop::collection::vec(any::<u8>(), 0..300), is_64: bool, big_endian: bool) {
        let numbers = Numbers { is_64, big_endian };
        Lsda::read(&bytes, Addr(0x1000), numbers);
        if let Some(first) = bytes.first_mut() {
            *first = 0xff;
        }
        Lsda::read(&bytes, Addr(0x1000), numbers);
        if let Some(encoding) = bytes.get(1).and_then(|&b| Encoding::of(b, numbers)) {
            encoding.read(&bytes, 2, Addr(7));
        }
        cfa::strip(&bytes, Distances { factor: 1, numbers }, &mut Vec::new());
    }
}
