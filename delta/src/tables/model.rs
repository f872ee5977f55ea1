//! What a model of tables is asked, and the list of them as one.

use super::{Choices, Made, World};
use crate::code::{Stream, Streams, Symbols};
use crate::elf::Elf;
use crate::error::Result;
use crate::layout::OldImage;
use crate::place::{Off, SectionId, Span};
use crate::predict::UnitView;
use crate::tables::Table;

/// Memory of models of bytes, and of tables that are coded one by one before them.
pub const BYTE_MODELS: u64 = 8 << 20;

/// What the bytes of a stream went into, for reports.
#[derive(Clone, Copy, Debug)]
pub enum Spent {
    /// The sections with these models.
    Sections(&'static [Table]),
    /// Parts of other sections, called so.
    Parts(&'static str),
}

/// A file, for whoever writes a patch.
#[derive(Clone, Copy)]
pub struct Image<'f> {
    /// What is read of it.
    pub image: &'f OldImage<'f>,
    /// Its bytes.
    pub bytes: &'f [u8],
}

impl<'f> Image<'f> {
    /// The bytes of a section that is in the file.
    pub fn section(&self, section: SectionId) -> &'f [u8] {
        let s = &self.image.elf[section];
        &self.bytes[s.offset as usize..(s.offset + s.size) as usize]
    }
}

/// A grammar of sections, or of words in others, at work on one file.
///
/// What it makes is left in [`Made`]: recipes of whole sections, or bytes in sections that go through covers.
pub trait TableModel<'w>: Sized {
    /// Its streams, and what their bytes go into.
    const STREAMS: &'static [(Stream, Spent)];
    /// Whether all is coded with the last unit of code; its streams end there.
    const WITH_CODE: bool = false;
    /// Memory of what it codes with behind the code, in bytes, where that is more than a little.
    const MODELS: u64 = 0;

    /// The table that a section in the file has by its type.
    fn by_type(_elf: &Elf, _section: SectionId) -> Option<Table> {
        None
    }
    /// The table that a section in the file has by its name, where no type says.
    fn by_name(_elf: &Elf, _section: SectionId) -> Option<Table> {
        None
    }
    /// E: reads a new file, and says of its candidates whether the model gives them back byte for byte.
    fn fits(_new: Image<'_>) -> impl Fn(SectionId, Table) -> bool {
        |_, _| false
    }
    /// E: places of what it makes inside sections that go through covers; matching sees zeros there.
    fn makes(_of: Image<'_>) -> Vec<Span<Off>> {
        Vec::new()
    }

    /// Begins before the first unit of code, where the file has something to tell.
    fn start<S: Symbols>(streams: &mut Streams<S>, world: &mut World<'w>) -> Result<Option<Self>>;
    /// Codes what belongs to a unit, while its code is at hand; `index`: its number.
    fn unit<S: Symbols>(
        &mut self,
        _streams: &mut Streams<S>,
        _world: &mut World<'w>,
        _view: &mut UnitView,
        _index: u32,
        _made: &mut Made,
    ) -> Result<()> {
        Ok(())
    }
    /// Codes the rest, and leaves what it made.
    fn finish<S: Symbols>(
        self,
        streams: &mut Streams<S>,
        world: &mut World<'w>,
        made: &mut Made,
    ) -> Result<()>;
    /// Bytes of memory held from unit to unit.
    fn memory(&self) -> u64 {
        0
    }
    /// Work done since this was asked last, beside what the streams count.
    fn work(&mut self) -> u64 {
        0
    }
}

/// Says for a model what its streams were spent on.
pub fn account<'w, S: Symbols, M: TableModel<'w>>(streams: &mut Streams<S>, choices: &Choices, elf: &Elf) {
    for &(stream, spent) in M::STREAMS {
        match spent {
            Spent::Parts(name) => streams.account(&[stream], name),
            Spent::Sections(tables) => {
                let name = choices.shown(tables, elf);
                if !name.is_empty() {
                    streams.account(&[stream], &name);
                }
            }
        }
    }
}

/// The list of models: `name: its type [its tables, each with its number in the format];` in the order in which
/// they are coded.
macro_rules! tables {
    (<$w:lifetime> $( $name:ident: $model:ty [ $( $(#[$about:meta])* $table:ident = $number:literal ),* ]; )+) => {
        /// The kinds of section that have a model, by their number in the format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Table {
            $( $( $(#[$about])* $table = $number, )* )+
        }

        /// All models, at work on one file.
        pub struct Tables<$w> {
            $( $name: Option<$model>, )+
        }

        impl<$w> Tables<$w> {
            /// The table that a section of a file could have: by its type, else by its name.
            pub fn candidate(elf: &Elf, section: SectionId) -> Option<Table> {
                if !elf[section].in_file() {
                    return None;
                }
                let mut found = None;
                $( found = found.or_else(|| <$model>::by_type(elf, section)); )+
                $( found = found.or_else(|| <$model>::by_name(elf, section)); )+
                found
            }

            /// E: the sections of a new file that their models give back.
            #[allow(unused_variables, reason = "models without sections of their own are not asked")]
            pub fn fitting(new: Image<'_>) -> Choices {
                $( let $name = <$model>::fits(new); )+
                Choices::new(&new.image.elf, |section, table| match table {
                    $( $( Table::$table => $name(section, table), )* )+
                })
            }

            /// E: places of what models make inside sections that go through covers.
            pub fn makes(of: Image<'_>) -> Vec<Span<Off>> {
                let mut made = Vec::new();
                $( made.extend(<$model>::makes(of)); )+
                made
            }

            /// The streams that end with the code, or those that end behind it.
            pub fn streams(with_code: bool) -> Vec<Stream> {
                let mut streams = Vec::new();
                $( if <$model>::WITH_CODE == with_code {
                    streams.extend(<$model>::STREAMS.iter().map(|stream| stream.0));
                } )+
                streams
            }

            /// Begins before the first unit of code.
            pub fn start<S: Symbols>(streams: &mut Streams<S>, world: &mut World<$w>) -> Result<Self> {
                Ok(Tables { $( $name: <$model>::start(streams, world)?, )+ })
            }

            /// Codes what belongs to a unit.
            pub fn unit<S: Symbols>(
                &mut self,
                streams: &mut Streams<S>,
                world: &mut World<$w>,
                view: &mut UnitView,
                index: u32,
                made: &mut Made,
            ) -> Result<()> {
                $( if let Some(model) = &mut self.$name {
                    model.unit(streams, world, view, index, made)?;
                } )+
                Ok(())
            }

            /// Ends those that are coded with the code.
            pub fn code_ends<S: Symbols>(
                &mut self,
                streams: &mut Streams<S>,
                world: &mut World<$w>,
                made: &mut Made,
            ) -> Result<()> {
                $( if <$model>::WITH_CODE {
                    self.$name.take().map_or(Ok(()), |model| model.finish(streams, world, made))?;
                    account::<S, $model>(streams, world.choices, world.elf);
                } )+
                Ok(())
            }

            /// Ends all others, one after the other; `held` is the memory of all, beside what they make.
            pub fn finish<S: Symbols>(
                mut self,
                streams: &mut Streams<S>,
                world: &mut World<$w>,
                made: &mut Made,
                held: &mut Held,
            ) -> Result<()> {
                $( if !<$model>::WITH_CODE {
                    made.count(world)?;
                    held.set(self.memory() + <$model>::MODELS)?;
                    self.$name.take().map_or(Ok(()), |model| model.finish(streams, world, made))?;
                    account::<S, $model>(streams, world.choices, world.elf);
                } )+
                Ok(())
            }

            /// Bytes of memory held.
            pub fn memory(&self) -> u64 {
                let mut memory = 0;
                $( memory += self.$name.as_ref().map_or(0, |model| model.memory()); )+
                memory
            }

            /// Work done since this was asked last.
            pub fn work(&mut self) -> u64 {
                let mut work = 0;
                $( work += self.$name.as_mut().map_or(0, |model| model.work()); )+
                work
            }
        }
    };
}

pub(super) use tables;
