//! A packed patch: the old file opened, its inside made into the new one stretch by stretch, and that closed.

use crate::budget::{Budget, Held};
use crate::code::StreamReader;
use crate::container::{Coding, INSIDES, PLANS, Packing, Patch, Stretch, stream_name, stretches};
use crate::cursor::Cursor;
use crate::file_view::FileView;
use crate::layout::OldImage;
use crate::packed::{Closer, Inside, Means, Op, Plan, Scratch, Section, Side, open};
use crate::pipeline::{Io, code_image};
use crate::{Error, Part, ReadAt, Stage, error::Result};

/// Writes the new file; gives the bytes of the patch by section.
pub(super) fn rebuild(
    patch: &Patch,
    old: &dyn ReadAt,
    budget: &Budget,
    (threads, scratch): (usize, Option<&dyn Scratch>),
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Vec<Part>> {
    let packing = patch.header().packing.as_ref();
    let packing = packing.ok_or(Error::damaged("it does not say what is packed"))?;
    let ([opening, closing], _held) = plans(patch, budget)?;
    let insides = patch.streams().iter().find(|s| s.id == INSIDES);
    let insides = insides.filter(|s| s.coding == Coding::Stored);
    let insides = insides.ok_or(Error::damaged("its insides are missing"))?;
    let stretches = stretches(&insides.bytes, packing)?;
    let inside = opened(&opening, old, packing, scratch, budget)?;
    let mut writer = Writer {
        patch,
        group: None,
        old: inside.read(),
        at: 0,
        stretches: stretches[1..].iter(),
        next: None,
        closer: Closer::new(&closing, Means { budget, scratch }),
        budget,
        threads,
        sink,
        parts: Vec::new(),
    };
    writer.go_on();
    let rest = stretches.first().and_then(|s| s.patch.as_ref());
    let rest = rest.ok_or(Error::damaged("its insides are missing"))?;
    let parts = rest.write(inside.read(), budget, threads, &mut |piece| writer.rest(piece))?;
    writer.parts.extend(parts);
    writer.stretches()?;
    writer.closer.finish(writer.sink)?;
    Ok(writer.parts)
}

/// The plans of both files, and their memory.
fn plans<'b>(patch: &Patch, budget: &'b Budget<'b>) -> Result<([Plan; 2], Held<'b>)> {
    let damaged = Error::damaged("its plans of packed files are damaged");
    let stream = patch.streams().iter().find(|s| s.id == PLANS);
    let mut held = budget.held();
    let bytes = match stream {
        Some(s) if s.coding == Coding::Stored => s.bytes.to_vec(),
        Some(s) if s.coding == Coding::Zstd => {
            held.set(s.decoded)?;
            zstd::bulk::decompress(&s.bytes, s.decoded as usize).map_err(|_| damaged)?
        }
        _ => return Err(damaged),
    };
    held.set(bytes.len() as u64 * (1 + size_of::<Op>() as u64))?;
    let mut cursor = Cursor::new(&bytes);
    let read = |cursor: &mut Cursor| {
        let plans = [Plan::read(Side::Old, cursor)?, Plan::read(Side::New, cursor)?];
        match cursor.is_empty() {
            true => Ok(plans),
            false => Err(Error::damaged("bytes after its plans")),
        }
    };
    let plans = read(&mut cursor).map_err(|e| e.within(stream_name(PLANS), cursor.position() as u64))?;
    Ok((plans, held))
}

/// The inside of the old file.
fn opened<'b>(
    plan: &Plan,
    old: &dyn ReadAt,
    packing: &Packing,
    scratch: Option<&dyn Scratch>,
    budget: &'b Budget<'b>,
) -> Result<Inside<'b>> {
    let other = || Error::damaged("the inside of the old file has another size than declared");
    let mut inside = Inside::new(
        packing.old_inside,
        (packing.scratch > 0).then_some(scratch),
        budget,
    )?;
    if packing.scratch > 0 {
        budget.fill(packing.old_inside)?;
    }
    let mut left = packing.old_inside;
    budget.stage(Stage::Open, left);
    open(plan, old, budget, &mut |piece| {
        left = left.checked_sub(piece.len() as u64).ok_or_else(other)?;
        inside.push(piece)?;
        budget.at(packing.old_inside - left);
        Ok(())
    })?;
    if left > 0 {
        return Err(other());
    }
    inside.finish()?;
    Ok(inside)
}

/// Makes the next image of a group.
fn member<'b>(
    group: &mut Io<'b, StreamReader<'b>>,
    old: &dyn ReadAt,
    len: u64,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Vec<Part>> {
    let budget = group.account;
    let view = FileView::new(old, budget)?;
    let image = OldImage::read(&view)?;
    let image = image.ok_or(Error::damaged(
        "it takes a part of the old file for an ELF file that it is not",
    ))?;
    budget.keep(true);
    let made = code_image(group, None, &image, len, None);
    budget.keep(false);
    let (recipes, _held) = made.map_err(|e| group.streams.locate(e))?;
    drop(image);
    budget.stage(Stage::Write, len);
    for recipe in recipes {
        recipe.run(&view, sink)?;
    }
    Ok(group.streams.take_parts())
}

/// The new inside on its way to be closed, put together from its stretches.
struct Writer<'a, 's> {
    patch: &'a Patch<'a>,
    /// The streams of the group, once an image of it was coded.
    group: Option<Io<'a, StreamReader<'a>>>,
    old: &'a dyn ReadAt,
    at: u64,
    stretches: std::slice::Iter<'a, Stretch<'a>>,
    next: Option<&'a Stretch<'a>>,
    closer: Closer<'a>,
    budget: &'a Budget<'a>,
    threads: usize,
    sink: &'s mut dyn FnMut(&[u8]) -> Result<()>,
    parts: Vec<Part>,
}

impl Writer<'_, '_> {
    fn go_on(&mut self) {
        self.next = self.stretches.next();
    }

    /// Takes bytes of what no stretch stands out of.
    fn rest(&mut self, mut piece: &[u8]) -> Result<()> {
        while !piece.is_empty() {
            self.stretches()?;
            let room = self.next.map_or(u64::MAX, |next| next.new.start - self.at);
            let n = room.min(piece.len() as u64) as usize;
            self.closer.push(&piece[..n], self.sink)?;
            self.at += n as u64;
            piece = &piece[n..];
        }
        Ok(())
    }

    /// Makes the stretches that begin here.
    fn stretches(&mut self) -> Result<()> {
        while let Some(stretch) = self.next.filter(|next| next.new.start == self.at) {
            let section = Section {
                of: self.old,
                from: stretch.old.start,
                len: stretch.old.end - stretch.old.start,
            };
            let (closer, sink) = (&mut self.closer, &mut *self.sink);
            let mut left = stretch.new.end - stretch.new.start;
            let len = left;
            let mut write = |piece: &[u8]| {
                let damaged = Error::damaged("a stretch is longer than declared");
                left = left.checked_sub(piece.len() as u64).ok_or(damaged)?;
                closer.push(piece, sink)
            };
            let parts = match &stretch.patch {
                Some(patch) => patch.write(&section, self.budget, self.threads, &mut write)?,
                None => {
                    let group = match &mut self.group {
                        Some(group) => group,
                        none => none.insert(self.patch.tellers(self.budget)?),
                    };
                    member(group, &section, len, &mut write)?
                }
            };
            if left > 0 {
                return Err(Error::damaged("a stretch is shorter than declared"));
            }
            self.parts.extend(parts);
            self.at = stretch.new.end;
            self.go_on();
        }
        Ok(())
    }
}
