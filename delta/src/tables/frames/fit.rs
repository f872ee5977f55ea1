//! What the writing side models: only what comes out again byte for byte.

use super::read::FrameTable;
use crate::elf::Elf;
use crate::layout::CodeMap;
use crate::place::{Addr, SectionId};
use crate::tables::{Table, frame_index};

/// Which unwind tables of a new file their models reproduce.
#[derive(Clone, Copy, Debug)]
pub struct UnwindFit<'e> {
    elf: &'e Elf,
    bytes: &'e [u8],
    frames: Option<SectionId>,
}

impl<'e> UnwindFit<'e> {
    /// Looks at the frames of a file, on which all other tables depend.
    pub fn new(elf: &'e Elf, code: &CodeMap, bytes: &'e [u8]) -> Self {
        let mut fit = UnwindFit {
            elf,
            bytes,
            frames: None,
        };
        fit.frames = elf.section(b".eh_frame").filter(|&i| {
            let section = &elf[i];
            section.in_file() && {
                let table = FrameTable::read(
                    fit.section(i).to_vec(),
                    Addr(section.addr as u32),
                    elf.numbers,
                    code,
                );
                table.clean && table.strays as usize * 8 <= table.rows.len()
            }
        });
        fit
    }

    fn section(&self, index: SectionId) -> &'e [u8] {
        let s = &self.elf[index];
        &self.bytes[s.offset as usize..(s.offset + s.size) as usize]
    }

    /// Whether a section is reproduced by its model.
    pub fn holds(&self, index: SectionId, table: Table) -> bool {
        let Some(frames) = self.frames else {
            return false;
        };
        let section = &self.elf[index];
        match table {
            Table::Frames => index == frames,
            Table::FrameIndex => {
                let (addr, len) = (Addr(section.addr as u32), section.size as usize);
                let from = Addr(self.elf[frames].addr as u32);
                self.elf.section(&section.name) == Some(index)
                    && frame_index::build(self.elf.numbers, self.section(frames), from, (addr, len))
                        == self.section(index)
            }
            _ => self.elf.section(&section.name) == Some(index),
        }
    }
}
