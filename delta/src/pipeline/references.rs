//! The references of the code, unit by unit, and with each unit the tables that need its code at hand.

use super::pads::{Gap, Pads};
use super::segments::Text;
use super::{Facts, Io};
use crate::Stage;
use crate::budget::{Held, Lent};
use crate::code::{Stream, Symbols};
use crate::error::Result;
use crate::layout::CodeSection;
use crate::predict::{CodePass, NewCode, TargetModels};
use crate::recipe::Recipe;
use crate::tables::{Made, Unwind, World, go, jumps};

/// What the units left behind: recipes of code, and tables that are told up to their last unit.
pub struct Units<'b> {
    /// Recipes and known bytes.
    pub made: Made,
    /// Unwind and exception tables.
    pub unwind: Unwind,
    /// Go's function table, where it is modelled.
    pub functions: Option<go::Functions>,
    /// The memory of all that.
    pub held: Held<'b>,
}

impl Units<'_> {
    /// Bytes of memory that Go's function table holds.
    pub fn go_memory(&self) -> u64 {
        self.functions.as_ref().map_or(0, |f| f.memory())
    }
}

/// What goes from unit to unit.
struct Pass<'p> {
    code: CodePass<'p>,
    targets: Lent<'p, TargetModels>,
    jumps: Lent<'p, jumps::JumpModels>,
}

/// Codes the references of all units.
pub fn code<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    facts: &Facts,
    world: &mut World,
    text: Text,
) -> Result<Units<'b>> {
    let mut units = Units {
        made: Made::default(),
        unwind: Unwind::start(&mut io.streams, world)?,
        functions: None,
        held: io.account.held(),
    };
    io.account.stage(Stage::References, facts.new.len);
    units.functions = go::Functions::begin(io.streams.get(Stream::Go), world)?;
    let mut pass = Pass {
        code: CodePass::new(facts.old_code(), &text.body),
        targets: io.account.lend(),
        jumps: io.account.lend(),
    };
    pass.jumps.turn();
    for section in &facts.layout.code.sections {
        let recipe = units.section(io, facts, world, &mut pass, section)?;
        let name = facts.new.elf.sections[section.section].shown();
        io.streams.account(&[Stream::Layout, Stream::Targets], &name);
        units.made.sections.push((section.section, recipe));
    }
    drop(pass);
    drop(text);
    let mut stage = io.stage(&[Stream::Layout, Stream::Targets, Stream::Jumps]);
    stage.spent_on("(jump tables)", &[Stream::Jumps]);
    Ok(units)
}

impl Units<'_> {
    /// Codes the units of one section and the padding between them.
    fn section<S: Symbols>(
        &mut self,
        io: &mut Io<S>,
        facts: &Facts,
        world: &mut World,
        pass: &mut Pass,
        section: &CodeSection,
    ) -> Result<Recipe> {
        let mut recipe = Recipe::default();
        let mut pads = Pads::new(io.account);
        let mut gap = Gap {
            from: section.at,
            to: section.at,
            before: None,
        };
        for index in section.units.0..section.units.1 {
            let unit = &facts.layout.units[index as usize];
            gap.to = unit.at;
            pads.fill(io.streams.get(Stream::Layout), facts, gap, &mut recipe)?;
            self.unit(io, facts, world, pass, index, &mut recipe)?;
            gap = Gap {
                from: unit.at + unit.size,
                to: unit.at,
                before: Some(unit),
            };
        }
        gap.to = section.at + section.len;
        pads.fill(io.streams.get(Stream::Layout), facts, gap, &mut recipe)?;
        recipe.finish();
        Ok(recipe)
    }

    /// Codes the references of one unit and its part of every table.
    fn unit<S: Symbols>(
        &mut self,
        io: &mut Io<S>,
        facts: &Facts,
        world: &mut World,
        pass: &mut Pass,
        index: u32,
        recipe: &mut Recipe,
    ) -> Result<()> {
        let unit = &facts.layout.units[index as usize];
        let end = unit.at + unit.size;
        let streams = &mut io.streams;
        let new = NewCode {
            unit,
            addr: facts.layout.addr(unit),
            truth: facts.plan.map(|p| &p.bytes[unit.at as usize..end as usize]),
        };
        let (s, m) = (streams.get(Stream::Targets), &mut pass.targets);
        pass.code.unit(s, m, &mut world.targets, new, recipe)?;
        let mut view = pass.code.view(unit, new.addr);
        let s = streams.get(Stream::Jumps);
        jumps::unit(s, &mut pass.jumps, world, &mut view, &mut self.made)?;
        if let Some(functions) = &mut self.functions {
            functions.unit(streams.get(Stream::Go), world.targets.map(), &mut view)?;
        }
        self.unwind.unit(streams, world, &mut view, index)?;
        let tables = self.made.memory() + self.unwind.memory() + self.go_memory();
        let code = recipe.memory() + pass.code.memory() + world.targets.memory();
        self.held.set(pass.targets.memory() + tables + code)?;
        io.account
            .go_on(1 + self.functions.as_mut().map_or(0, |f| f.work()))?;
        io.account.at(u64::from(unit.at));
        Ok(())
    }
}
