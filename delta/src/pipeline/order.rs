//! The order of the stages, for both directions.

use super::covers::{self, Covers};
use super::layout::{self, Layout};
use super::segments::{self, Segments};
use super::skeleton::{self, NewFile};
use super::{Io, Plan, bytes, projection, references, tables};
use crate::code::Symbols;
use crate::error::Result;
use crate::layout::OldImage;
use crate::place::Addr;
use crate::predict::{OldCode, Targets};
use crate::recipe::Scripts;
use crate::tables::World;

/// Memory of the models of each step but those that count their own, in bytes.
const SMALL_MODELS: u64 = 3 << 20;

/// What is known of both files once the layout is.
#[derive(Clone, Copy)]
pub struct Facts<'f> {
    /// The old file.
    pub old: &'f OldImage<'f>,
    /// Headers and regions of the new one.
    pub new: &'f NewFile,
    /// Its code.
    pub layout: &'f Layout<'f>,
    /// On the writing side: the new file.
    pub plan: Option<&'f Plan<'f>>,
}

/// Codes a new file of `len` bytes and leaves the recipes that make it, in file order. A decoder may give
/// `segments` of code to be decoded at once.
pub fn code_image<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    segments: Option<&dyn Segments>,
    old: &OldImage,
    len: u64,
    plan: Option<&Plan>,
) -> Result<Scripts<'b>> {
    let mut models = io.account.held();
    models.set(SMALL_MODELS + old.memory())?;
    let new = &skeleton::code(io, old, len, plan)?;
    let layout = &layout::code(io, old, new, plan)?;
    let facts = Facts {
        old,
        new,
        layout,
        plan,
    };
    let text = segments::code(io, segments, &facts)?;
    let covers = covers::code(io, &facts)?;
    let map = projection::of(io.account, &facts, &text, &covers)?;
    let starts: Vec<Addr> = layout.units.iter().map(|u| layout.addr(u)).collect();
    let targets = Targets::new(facts.old_code(), &map.map, &starts);
    let mut world = facts.world(&covers, targets, io.account);
    let units = references::code(io, &facts, &mut world, text)?;
    let finished = tables::rest(io, world, units)?;
    drop(map);
    bytes::code(io, &facts, &covers, finished)
}

impl<'f> Facts<'f> {
    /// The code of the old file.
    pub fn old_code(&self) -> OldCode<'f> {
        OldCode {
            machine: self.old.machine,
            file: self.old.file,
            map: &self.old.code,
            objects: self.new.elf.is_object(),
        }
    }

    /// What the tables may use of it.
    fn world<'w>(
        &self,
        covers: &'w Covers,
        targets: Targets<'w>,
        account: &'w crate::budget::Budget<'w>,
    ) -> World<'w>
    where
        'f: 'w,
    {
        World {
            old: self.old,
            elf: &self.new.elf,
            pairs: &self.new.pairs,
            choices: &self.new.choices,
            addresses: &self.new.addresses,
            covers: &covers.list,
            code: &self.layout.code,
            units: &self.layout.units,
            truth: self.plan.map(|p| p.bytes),
            targets,
            account,
        }
    }
}
