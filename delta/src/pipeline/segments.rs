//! The code of the new file, in segments: each has streams, models and memory of its own, so that a decoder can
//! take several at once.

use super::{Facts, Io, Plan};
use crate::budget::{Budget, Held, Keep};
use crate::code::{StreamReader, Symbols};
use crate::file_view::FileView;
use crate::layout::{CodeMap, CodeSection, NewUnit, Unit};
use crate::machine::Machine;
use crate::place::UnitId;
use crate::text::{Listing, TextBody, TextCoder, TextModels, Truth};
use crate::{Error, Progress, Stage, error::Result, threads};
use std::ops::Range;

/// Where a decoder gets the streams of segments from.
pub trait Segments: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// How many to decode at once; 0 is one for each core.
    fn threads(&self) -> usize;
    /// Edits and literals of one.
    fn open<'b>(&'b self, segment: usize, budget: &'b Budget<'b>) -> Result<[StreamReader<'b>; 2]>;
}

/// Cuts the units, in file order, so that each segment tells about as much code.
fn cut(units: &[NewUnit], count: usize) -> Vec<Range<usize>> {
    let coded = |u: &NewUnit| if u.unchanged { 0 } else { u64::from(u.size) };
    let total: u64 = units.iter().map(coded).sum();
    let (mut from, mut done) = (0, 0);
    let mut segment = |k: usize| {
        let until = total * k as u64 / count as u64;
        let mut to = from;
        while to < units.len() && (done < until || k == count) {
            done += coded(&units[to]);
            to += 1;
        }
        std::mem::replace(&mut from, to)..to
    };
    (1..=count).map(&mut segment).collect()
}

/// The code of both files, as far as a segment needs it.
#[derive(Clone, Copy)]
struct Code<'c> {
    machine: Machine,
    old: &'c CodeMap,
    sections: &'c [CodeSection],
    units: &'c [NewUnit],
}

/// Bytes of the patch by index of the code section that they coded.
type Spent = Vec<(usize, u64)>;

/// The code of the new file without its references, and its memory.
pub struct Text<'b> {
    /// The code.
    pub body: TextBody,
    held: Held<'b>,
}

/// Codes the text of all units: one segment after the other, or those of `segments` at once.
pub fn code<'b, S: Symbols>(
    io: &mut Io<'b, S>,
    segments: Option<&dyn Segments>,
    facts: &Facts,
) -> Result<Text<'b>> {
    let (old, layout) = (facts.old, facts.layout);
    io.account.stage(Stage::Code, layout.units.len() as u64);
    let code = Code {
        machine: old.machine,
        old: &old.code,
        sections: &layout.code.sections,
        units: &layout.units,
    };
    let mut text = Text {
        body: TextBody::default(),
        held: io.account.held(),
    };
    let mut all = Vec::new();
    match segments.filter(|s| s.count() > 1) {
        Some(segments) => all = at_once(segments, code, facts, io.account, &mut text.body)?,
        None => {
            let ranges = cut(&layout.units, io.streams.segments());
            for (k, range) in ranges.into_iter().enumerate() {
                let coders = io.streams.segment(k);
                let reads = Reads {
                    old: old.file,
                    account: io.account,
                };
                all.extend(code.segment(range, coders, reads, facts.plan, &mut text)?);
            }
        }
    }
    for (section, bytes) in all {
        let section = &facts.new.elf[layout.code.sections[section].section];
        io.streams.spent(bytes, &section.shown());
    }
    text.held.set(text.body.memory())?;
    Ok(text)
}

/// The old file of a segment, and the account of who reads it.
#[derive(Clone, Copy)]
struct Reads<'r> {
    old: &'r FileView<'r>,
    account: &'r Budget<'r>,
}

impl Code<'_> {
    /// Codes the units of one segment into `text`.
    fn segment<S: Symbols>(
        self,
        range: Range<usize>,
        coders: (&mut S, &mut S),
        reads: Reads,
        plan: Option<&Plan>,
        text: &mut Text,
    ) -> Result<Spent> {
        let (ops, literals) = coders;
        let mut coder = TextCoder::new(self.machine, reads.old, self.old, reads.account);
        let mut models = reads.account.lend::<TextModels>();
        let mut listing = Listing::new(self.machine);
        let mut spent = Spent::new();
        let mut counted = match reads.account.keeps() {
            true => ops.position() + literals.position(),
            false => 0,
        };
        for index in range.clone() {
            let unit = &self.units[index];
            let mut truth = None;
            if let Some(plan) = plan
                && !unit.unchanged
            {
                let bounds = Unit {
                    at: unit.at,
                    size: unit.size,
                    other_mode: unit.other_mode,
                };
                listing.load(self.machine, plan.file, UnitId::of(index as u32), bounds)?;
                truth = Some(Truth {
                    listing: &listing,
                    plan: &plan.runs[index],
                });
            }
            let done = coder.code(
                (&mut *ops, &mut *literals),
                &mut models,
                unit,
                truth,
                &mut text.body,
            );
            done.map_err(|e| e.within("edits", ops.position()))?;
            text.held
                .set(models.memory() + coder.memory() + text.body.memory())?;
            reads.account.go_on(1)?;
            reads.account.at(index as u64);
            let ended = |s: &CodeSection| s.units.end as usize == index + 1 || index + 1 == range.end;
            let here = |s: &CodeSection| s.units.contains(&(index as u32));
            if let Some(section) = self.sections.iter().position(|s| here(s) && ended(s)) {
                let position = ops.position() + literals.position();
                spent.push((section, position - counted));
                counted = position;
            }
        }
        if !reads.account.keeps() {
            ops.close();
            literals.close();
        }
        Ok(spent)
    }
}

/// One segment decoded.
struct Decoded {
    body: TextBody,
    spent: Spent,
    /// The most memory that it held, and its work.
    peak: u64,
    work: u64,
}

/// Hears only whether the caller wants to go on.
struct Heard<'p>(&'p dyn Progress);

impl Progress for Heard<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Decodes all segments, each with an equal share of the memory and work that are left.
fn at_once(
    segments: &dyn Segments,
    code: Code,
    facts: &Facts,
    budget: &Budget,
    body: &mut TextBody,
) -> Result<Spent> {
    let count = segments.count();
    let source = facts.old.file.source();
    let (memory, work) = budget.left();
    let (memory, work) = (memory / count as u64, work / count as u64);
    let heard = Heard(budget.progress());
    let decode = |k: usize, range: Range<usize>| {
        let budget = Budget::new(memory, work, &heard);
        let run = || {
            let view = FileView::new(source, &budget)?;
            let [mut ops, mut literals] = segments.open(k, &budget)?;
            let mut text = Text {
                body: TextBody::default(),
                held: budget.held(),
            };
            let reads = Reads {
                old: &view,
                account: &budget,
            };
            let spent = code.segment(range, (&mut ops, &mut literals), reads, None, &mut text)?;
            Ok((text.body, spent))
        };
        match (run(), budget.cause()) {
            (Err(Error::Io(error)), _) => Err(Error::Io(error)),
            (Err(_), Some(cause)) => Err(cause),
            (Err(error), None) => Err(error),
            (Ok((body, spent)), _) => Ok(Decoded {
                body,
                spent,
                peak: budget.peak(),
                work: budget.spent(),
            }),
        }
    };
    let ranges = cut(code.units, count);
    let decoded = threads::each(segments.threads(), count, |k| decode(k, ranges[k].clone()));
    let decoded = decoded.into_iter().collect::<Result<Vec<_>>>()?;
    // Counted as if all ran at once, however many do.
    let most = decoded.iter().map(|d| d.peak).max().unwrap_or(0);
    budget.fits(most.saturating_mul(count as u64))?;
    let mut spent = Spent::new();
    for segment in decoded {
        budget.go_on(segment.work)?;
        body.append(segment.body);
        spent.extend(segment.spent);
    }
    Ok(spent)
}
