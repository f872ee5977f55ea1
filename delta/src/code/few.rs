//! A stream that may turn out to have few symbols: those the fast profile can afford to model.

use super::{ByteContext, ByteModel, ColumnWriter, Model, ModelledWriter, Symbols};

/// Writes columns, and the same symbols under models for as long as they are few.
#[derive(Debug)]
pub struct FewWriter {
    columns: ColumnWriter,
    /// `None` once there were too many.
    modelled: Option<ModelledWriter>,
    symbols: usize,
    few: usize,
}

impl FewWriter {
    /// At the start of a stream; so many symbols are few.
    pub fn new(few: usize) -> Self {
        FewWriter {
            columns: ColumnWriter::default(),
            modelled: Some(ModelledWriter::default()),
            symbols: 0,
            few,
        }
    }

    /// The columns, and the modelled stream if the symbols were few.
    pub fn finish(self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.columns.finish(), self.modelled.map(ModelledWriter::finish))
    }

    /// Counts a symbol; the models, as long as it is one of few.
    fn next(&mut self) -> Option<&mut ModelledWriter> {
        self.symbols += 1;
        if self.symbols > self.few {
            self.modelled = None;
        }
        self.modelled.as_mut()
    }
}

impl Symbols for FewWriter {
    const READS: bool = false;
    fn is_modelled(&self) -> bool {
        self.modelled.is_some() && self.symbols < self.few
    }
    fn flag<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: bool) -> bool {
        if let Some(modelled) = self.next() {
            modelled.flag(model, contexts, value);
        }
        self.columns.flag(model, contexts, value)
    }
    fn tree<const N: usize>(
        &mut self,
        model: &mut Model,
        contexts: &[u32; N],
        width: u32,
        value: u32,
    ) -> u32 {
        if let Some(modelled) = self.next() {
            modelled.tree(model, contexts, width, value);
        }
        self.columns.tree(model, contexts, width, value)
    }
    fn number<const N: usize>(&mut self, model: &mut Model, contexts: &[u32; N], value: u64) -> u64 {
        if let Some(modelled) = self.next() {
            modelled.number(model, contexts, value);
        }
        self.columns.number(model, contexts, value)
    }
    fn raw(&mut self, value: u8) -> u8 {
        if let Some(modelled) = self.next() {
            modelled.raw(value);
        }
        self.columns.raw(value)
    }
    fn mixed_byte(&mut self, model: &mut ByteModel, known: &ByteContext, value: u8) -> u8 {
        if let Some(modelled) = self.next() {
            modelled.mixed_byte(model, known, value);
        }
        self.columns.mixed_byte(model, known, value)
    }
    fn exhausted(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ByteGuess, CONTEXTS, ColumnReader, ModelledReader, RUNS, hash};
    use super::*;
    use crate::budget::Budget;

    fn grammar<S: Symbols>(s: &mut S, symbols: u32) -> Vec<u64> {
        let (mut model, mut bytes) = (Model::new(1, 12, 127), ByteModel::new(12));
        let known = ByteContext {
            contexts: [0; CONTEXTS],
            runs: [0; RUNS],
            guesses: [ByteGuess::default(); 3],
            class: 0,
        };
        let mut told = Vec::new();
        for i in 0..symbols / 5 {
            let contexts = [hash(1, i & 3)];
            told.push(u64::from(s.flag(&mut model, &contexts, i % 3 == 0)));
            told.push(u64::from(s.tree(&mut model, &contexts, 3, i & 7)));
            told.push(s.number(&mut model, &contexts, u64::from(i)));
            told.push(u64::from(s.raw(i as u8)));
            told.push(u64::from(s.mixed_byte(&mut bytes, &known, i as u8)));
        }
        told
    }

    #[test]
    fn few_symbols_are_in_both_and_many_in_columns() {
        for (symbols, few) in [(100, true), (105, false)] {
            let mut writer = FewWriter::new(100);
            let told = grammar(&mut writer, symbols);
            let (columns, modelled) = writer.finish();
            let budget = Budget::default();
            let mut reader = ColumnReader::stored(&columns, &budget).unwrap();
            assert_eq!(grammar(&mut reader, symbols), told);
            assert_eq!(modelled.is_some(), few);
            if let Some(modelled) = modelled {
                assert_eq!(
                    grammar(&mut ModelledReader::new(&modelled, &budget), symbols),
                    told
                );
            }
        }
    }
}
