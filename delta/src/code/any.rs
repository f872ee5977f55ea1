//! A stream in whichever coding its directory entry names.

use super::{
    ByteContext, ByteModel, ColumnReader, ColumnWriter, FewWriter, Model, ModelledReader, ModelledWriter,
    Symbols,
};

/// A stream being read.
pub enum StreamReader<'a> {
    /// Adaptive binary models.
    Modelled(ModelledReader<'a>),
    /// Columns behind a general compressor.
    Columns(ColumnReader<'a>),
}

/// A stream being written.
#[derive(Debug)]
pub enum StreamWriter {
    /// Adaptive binary models.
    Modelled(ModelledWriter),
    /// Columns for a general compressor.
    Columns(ColumnWriter),
    /// Either, by how many symbols there are.
    Few(FewWriter),
}

macro_rules! forward {
    ($type:ty, $reads:expr, $($coding:ident),+) => {
        impl Symbols for $type {
            const READS: bool = $reads;
            #[inline]
            fn is_modelled(&self) -> bool {
                match self {
                    $(Self::$coding(s) => s.is_modelled(),)+
                }
            }
            #[inline]
            fn flag<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: bool) -> bool {
                match self {
                    $(Self::$coding(s) => s.flag(model, contexts, value),)+
                }
            }
            fn tree<const N: usize>(
                &mut self,
                model: &mut Model,
                contexts: &[u32; N],
                width: u32,
                value: u32,
            ) -> u32 {
                match self {
                    $(Self::$coding(s) => s.tree(model, contexts, width, value),)+
                }
            }
            fn number<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: u64) -> u64 {
                match self {
                    $(Self::$coding(s) => s.number(model, contexts, value),)+
                }
            }
            fn mixed_byte(&mut self, model: &mut ByteModel, known: &ByteContext, value: u8) -> u8 {
                match self {
                    $(Self::$coding(s) => s.mixed_byte(model, known, value),)+
                }
            }
            fn raw(&mut self, value: u8) -> u8 {
                match self {
                    $(Self::$coding(s) => s.raw(value),)+
                }
            }
            fn position(&self) -> u64 {
                match self {
                    $(Self::$coding(s) => s.position(),)+
                }
            }
            fn close(&mut self) {
                match self {
                    $(Self::$coding(s) => s.close(),)+
                }
            }
            fn exhausted(&self) -> bool {
                match self {
                    $(Self::$coding(s) => s.exhausted(),)+
                }
            }
        }
    };
}

forward!(StreamReader<'_>, true, Modelled, Columns);
forward!(StreamWriter, false, Modelled, Columns, Few);
