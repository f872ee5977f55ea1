//! Names of the functions, where a symbol table tells them. Only the writing side looks at them.

use crate::budget::Budget;
use crate::elf::Elf;
use crate::file_view::FileView;
use crate::layout::CodeMap;
use crate::place::Span;
use crate::tables::names::tokens::template;
use crate::tables::symbols;

/// A hash of the name of each unit, tokens aside; 0 for none. `symbols` is a separate debug file.
pub fn of_units(elf: &Elf, code: &CodeMap, bytes: &[u8], symbols: Option<&[u8]>) -> Vec<u64> {
    let mut names = vec![0; code.units.len()];
    let mut spans = Vec::new();
    let mut add = |elf: &Elf, bytes: &[u8]| {
        symbols::functions(elf, bytes, |addr, name| {
            let section = code
                .sections
                .iter()
                .find(|s| Span::new(s.addr, s.len).holds(addr));
            let at = section.map(|s| s.at + (addr - s.addr));
            let unit = at.and_then(|at| code.unit_at(at).filter(|&i| code.units[i].at == at));
            if let Some(unit) = unit {
                // Of several names the one with the least hash, so that both files choose alike.
                let hash = template(name, &mut spans).max(1);
                names[unit] = if names[unit] == 0 {
                    hash
                } else {
                    hash.min(names[unit])
                };
            }
        });
    };
    add(elf, bytes);
    let budget = Budget::default();
    if let Some(debug) = symbols
        && let Ok(view) = FileView::new(&debug, &budget)
        && let Ok(Some(elf)) = Elf::read(&view)
    {
        add(&elf, debug);
    }
    names
}
