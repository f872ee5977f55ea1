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
use crate::tables::{Made, Tables, World};

/// What the units left behind: recipes of code, and tables that are coded up to their last unit.
pub struct Units<'b, 'w> {
    /// Recipes and known bytes.
    pub made: Made<'b>,
    /// The tables.
    pub tables: Tables<'w>,
    /// The memory of the tables, and of what goes from unit to unit.
    pub held: Held<'b>,
}

/// What goes from unit to unit.
struct Pass<'p> {
    code: CodePass<'p>,
    targets: Lent<'p, TargetModels>,
}

/// Codes the references of all units.
pub fn code<'b, 'w, S: Symbols>(
    io: &mut Io<'b, S>,
    facts: &Facts,
    world: &mut World<'w>,
    text: Text,
) -> Result<Units<'b, 'w>> {
    let mut units = Units {
        made: Made::new(io.account),
        tables: Tables::start(&mut io.streams, world)?,
        held: io.account.held(),
    };
    io.account.stage(Stage::References, facts.new.len);
    let mut pass = Pass {
        code: CodePass::new(facts.old_code(), &text.body),
        targets: io.account.lend(),
    };
    for section in &facts.layout.code.sections {
        let recipe = units.section(io, facts, world, &mut pass, section)?;
        let name = facts.new.elf[section.section].shown();
        io.streams.account(&[Stream::Layout, Stream::Targets], &name);
        units.made.keep(world, section.section, recipe)?;
    }
    drop(pass);
    let mut closes = Tables::streams(true);
    closes.extend([Stream::Layout, Stream::Targets]);
    let mut stage = io.stage(closes);
    units.tables.code_ends(stage.streams(), world, &mut units.made)?;
    drop(text);
    drop(stage);
    Ok(units)
}

impl<'w> Units<'_, 'w> {
    /// Codes the units of one section and the padding between them.
    fn section<S: Symbols>(
        &mut self,
        io: &mut Io<S>,
        facts: &Facts,
        world: &mut World<'w>,
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
        for index in section.units.clone() {
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
        world: &mut World<'w>,
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
            truth: facts.plan.map(|p| &p.bytes[unit.at.index()..end.index()]),
        };
        let (s, m) = (streams.get(Stream::Targets), &mut pass.targets);
        pass.code.unit(s, m, &mut world.targets, new, recipe)?;
        let mut view = pass.code.view(unit, new.addr);
        let (tables, made) = (&mut self.tables, &mut self.made);
        tables.unit(streams, world, &mut view, index, made)?;
        self.made.count(world)?;
        let code = recipe.memory() + pass.code.memory();
        self.held
            .set(pass.targets.memory() + self.tables.memory() + code)?;
        io.account.go_on(1 + self.tables.work())?;
        io.account.at(u64::from(unit.at));
        Ok(())
    }
}
