//! Which sections are modelled: found by whoever writes, and sent.

use super::{Table, Tables};
use crate::budget::Budget;
use crate::code::{Symbols, symbols};
use crate::elf::Elf;
use crate::place::SectionId;
use crate::{Error, error::Result};

/// The one predictor that each kind of table has so far; a later one takes the next number.
const PREDICTOR: u64 = 1;

/// The sections that are modelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    chosen: Vec<Option<Table>>,
}

symbols! {
    /// Models of the choice.
    struct ChoiceModels {
        predictor(6, 255) {
            /// The predictor of a candidate, 0 for none; `table` counts the kinds of table by its number.
            predictor: number by(table: Table) [table as u32];
        }
    }
}

impl Choices {
    /// All candidates, for which `fits` says yes.
    pub fn new(elf: &Elf, mut fits: impl FnMut(SectionId, Table) -> bool) -> Choices {
        let pick = |i| Tables::candidate(elf, i).filter(|&t| fits(i, t));
        Choices {
            chosen: elf.ids().map(pick).collect(),
        }
    }

    /// The model of a section.
    pub fn of(&self, section: SectionId) -> Option<Table> {
        self.chosen.get(section.index()).copied().flatten()
    }

    /// The sections with a model.
    pub fn sections(&self, table: Table) -> impl Iterator<Item = SectionId> + '_ {
        SectionId::all(self.chosen.len()).filter(move |&id| self.of(id) == Some(table))
    }

    /// The names of the sections with these models, for reports.
    pub fn shown(&self, tables: &[Table], elf: &Elf) -> String {
        let among = |&id: &SectionId| self.of(id).is_some_and(|t| tables.contains(&t));
        let names = SectionId::all(self.chosen.len())
            .filter(among)
            .map(|i| elf[i].shown());
        names.collect::<Vec<_>>().join(" ")
    }

    /// Sends the choice: for each candidate the number of its predictor, 0 for none.
    pub fn code<S: Symbols>(
        s: &mut S,
        account: &Budget,
        elf: &Elf,
        truth: Option<&Choices>,
    ) -> Result<Choices> {
        let mut models = account.lend::<ChoiceModels>();
        let mut unknown = None;
        let choices = Choices::new(elf, |i, table| {
            let known = truth.and_then(|c| c.of(i)).map_or(0, |_| PREDICTOR);
            let predictor = models.predictor(s, table, known);
            if predictor > PREDICTOR {
                unknown = Some(predictor);
            }
            predictor == PREDICTOR
        });
        let refused = |n| Error::Unsupported(format!("predictor {n} of a table"));
        unknown.map_or(Ok(choices), |n| Err(refused(n)))
    }
}
