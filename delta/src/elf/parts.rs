//! The bytes that a file's section map is read from.

use super::Elf;
use crate::{error::Result, file_view::FileView};

/// The three parts of a file that its section map is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// ELF and program headers.
    pub head: Vec<u8>,
    /// Section headers.
    pub table: Vec<u8>,
    /// Section names.
    pub names: Vec<u8>,
}

impl Parts {
    /// Bytes of memory held, with the sections that they describe.
    pub fn memory(&self) -> u64 {
        2 * (self.head.len() + self.table.len() + self.names.len()) as u64
    }

    /// Reads them from a file that [`Elf::read`] accepts.
    pub fn read(file: &FileView, elf: &Elf) -> Result<Parts> {
        let names = &elf[elf.names];
        Ok(Parts {
            head: file.bytes(0, elf.head_len)?,
            table: file.bytes(elf.table.0, elf.table.1)?,
            names: file.bytes(names.offset, names.size)?,
        })
    }

    /// The skeleton that they make.
    pub fn elf(&self) -> Option<Elf> {
        Elf::from_parts(&self.head, &self.table, &self.names)
    }
}
