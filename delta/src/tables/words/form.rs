//! The forms in which a word holds an address.

use crate::elf::{Elf, Numbers, address::Addresses};
use crate::place::{Addr, Place};

/// How a word holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of it, in a word of the file's class.
    Pointer,
    /// Its distance from where the word stands, in four bytes.
    Distance,
    /// Its low half, from which the whole follows by its sign.
    Half,
}

impl Form {
    /// In the order in which they are tried.
    pub const ALL: [Form; 3] = [Form::Pointer, Form::Distance, Form::Half];
}

/// A file, as far as its words go by it.
#[derive(Clone, Copy)]
pub struct Side<'f> {
    addresses: &'f Addresses,
    base: u64,
    numbers: Numbers,
}

impl<'f> Side<'f> {
    /// Of the file with this section map.
    pub fn of(elf: &Elf, addresses: &'f Addresses) -> Self {
        Side {
            addresses,
            base: elf.base,
            numbers: elf.numbers,
        }
    }

    /// Bytes of a word.
    pub fn size(&self, form: Form) -> usize {
        if form == Form::Pointer && self.numbers.is_64 {
            8
        } else {
            4
        }
    }

    /// The word of a form at the start of `bytes`.
    pub fn read(&self, form: Form, bytes: &[u8]) -> Option<u64> {
        bytes.get(..self.size(form)).map(|word| self.numbers.get(word))
    }

    /// Where a word that stands at `place` leads, if it leads into the file; not if it is zero.
    pub fn target(&self, form: Form, word: u64, place: Option<Addr>) -> Option<Addr> {
        let target = match form {
            _ if word == 0 => return None,
            Form::Pointer => Addr::try_from(word.wrapping_sub(self.base)).ok()?,
            Form::Distance => place?.wrapping_add(word as u32),
            Form::Half if self.numbers.is_64 => {
                let whole = word as u32 as i32 as i64 as u64;
                Addr::try_from(whole.wrapping_sub(self.base)).ok()?
            }
            Form::Half => return None,
        };
        self.addresses.range_of(target).map(|_| target)
    }

    /// The word at `place` that leads to a target.
    pub fn word(&self, form: Form, target: Addr, place: Option<Addr>) -> Option<u64> {
        let whole = self.base.wrapping_add(target.into());
        Some(match form {
            Form::Pointer if self.numbers.is_64 => whole,
            Form::Distance => target.since(place?).into(),
            _ => u64::from(whole as u32),
        })
    }
}
