//! Old and new file in, patch out.

mod needs;
mod packed;
mod pairs;
mod whole;

pub use needs::Needs;

use crate::apply::Applied;
use crate::budget::{Budget, MORE_MEMORY};
use crate::code::{
    ColumnWriter, FewWriter, MAX_SEGMENTS, ModelledWriter, SEGMENTED, Stream, StreamWriter, Streams,
};
use crate::container::{self, Body, Coding, Header, Method};
use crate::data::Cover;
use crate::file_view::FileView;
use crate::layout::OldImage;
use crate::matching::{
    bytes::{ByteIndex, PLAIN},
    plan::plan,
    rough,
};
use crate::packed::MAGIC;
use crate::pipeline::{Io, code_file, code_image};
use crate::{Error, Limits, Options, Part, Patch, Profile, Progress, Report, Stage, Way, error::Result};
use needs::Room;
use sha2::{Digest, Sha256};
use std::cell::{Cell, RefCell};
use whole::Frame;

/// A finished patch and the account of its bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delta {
    /// The patch, ready to be stored.
    pub bytes: Vec<u8>,
    /// Where the bytes went.
    pub report: Report,
    /// The way in which it was made.
    pub way: Way,
    /// Ways that the limit on memory kept from being tried, or from being tried in full, in order.
    pub skipped: Vec<Way>,
}

/// What a process may hold beside what is counted: a part of that, as one in so many, and bytes.
const SPARE_PART: u64 = 16;
const SPARE: u64 = 4 << 20;

/// The ways in the order in which they are tried.
const WAYS: [Way; 5] = [Way::Packed, Way::InPlace, Way::Elf, Way::Generic, Way::Whole];

/// Makes a patch from `old` to `new`, and applies it once before handing it out.
///
/// Fails with [`Error::OverLimit`] where the limit on memory is below what any patch takes; see [`Options::needs`].
pub fn diff(old: &[u8], new: &[u8], options: &Options, progress: &dyn Progress) -> Result<Delta> {
    let (old_len, new_len) = (old.len() as u64, new.len() as u64);
    let (allowed, least) = (options.memory, options.needs(old_len, new_len).least);
    if let Some(allowed) = allowed.filter(|&allowed| allowed < least) {
        return Err(Error::OverLimit {
            what: "bytes of memory to make the patch",
            needed: least,
            allowed,
        });
    }
    let room = allowed.map_or(u64::MAX, |all| all - options.files(old_len, new_len));
    let task = Task {
        options,
        progress,
        lacked: Cell::new(false),
        skipped: RefCell::default(),
    };
    let best = Job::new(old, new, room, &task).best(&WAYS)?;
    let (way, (bytes, sections)) =
        best.ok_or(Error::SelfCheck("no way of making the patch gives the new file"))?;
    let patch = Patch::parse(&bytes)?;
    let report = Report {
        sections: patch.with_rest(sections),
        ..patch.report()
    };
    let mut skipped = task.skipped.into_inner();
    skipped.sort_unstable();
    skipped.dedup();
    Ok(Delta {
        bytes,
        report,
        way,
        skipped,
    })
}

/// A patch without its declared memory.
type Draft = (Header, Vec<Body>);

/// A patch that gives the new file back, and its bytes by section.
type Sealed = (Vec<u8>, Vec<Part>);

/// What is asked for, who hears of progress, and what memory did not allow.
struct Task<'t> {
    options: &'t Options<'t>,
    progress: &'t dyn Progress,
    /// The way in work was refused memory.
    lacked: Cell<bool>,
    /// Ways that were left out for that, or would have been.
    skipped: RefCell<Vec<Way>>,
}

/// Two files, or stretches of two.
struct Job<'j> {
    old: &'j [u8],
    new: &'j [u8],
    /// Bytes of memory that may be held beside them.
    room: u64,
    task: &'j Task<'j>,
    header: Header,
}

impl<'j> Job<'j> {
    fn new(old: &'j [u8], new: &'j [u8], room: u64, task: &'j Task<'j>) -> Job<'j> {
        let header = Header {
            features: 0,
            method: Method::Whole,
            old_len: old.len() as u64,
            old_digest: Sha256::digest(old).into(),
            new_len: new.len() as u64,
            new_digest: Sha256::digest(new).into(),
            memory: 0,
            packing: None,
        };
        Job {
            old,
            new,
            room,
            task,
            header,
        }
    }

    /// The smallest patch of some ways.
    fn best(&self, ways: &[Way]) -> Result<Option<(Way, Sealed)>> {
        let mut best: Option<(Way, Sealed)> = None;
        for &way in ways {
            let held = best.as_ref().map_or(0, |(_, sealed)| sealed.0.len() as u64);
            let job = Job {
                room: self.room.saturating_sub(held),
                header: self.header.clone(),
                ..*self
            };
            let fits = job.fits(way);
            if !job.may_win(way, best.as_ref(), fits) {
                continue;
            }
            if !fits {
                self.task.skipped.borrow_mut().push(way);
                continue;
            }
            self.go_on(if way == Way::Whole {
                Stage::Compare
            } else {
                Stage::Match
            })?;
            // Where the reading as ELF files does not hold, a plainer way takes its place.
            let made = job.make(way, best.as_ref())?.map(|sealed| (way, sealed));
            if self.task.lacked.take() || !job.fits_in_full(way) {
                self.task.skipped.borrow_mut().push(way);
            }
            best = [made, best]
                .into_iter()
                .flatten()
                .min_by_key(|(way, s)| (s.0.len(), *way));
        }
        Ok(best)
    }

    /// Whether there is memory for a way.
    fn fits(&self, way: Way) -> bool {
        let (old, new) = (self.old.len() as u64, self.new.len() as u64);
        match way {
            Way::Whole => Frame::within(self.room, new).is_some(),
            Way::Elf => Room::within(self.task.options, self.room, (old, new)).is_some(),
            _ => Room::full(self.task.options).takes(way, old, new) <= self.room,
        }
    }

    /// Whether there is memory for a way as it is without a limit; threads change nothing.
    fn fits_in_full(&self, way: Way) -> bool {
        match way {
            Way::Whole => Frame::within(self.room, self.new.len() as u64) == Some(Frame::BEST),
            Way::Elf => self.room_as_elf().segments == Room::full(self.task.options).segments,
            _ => true,
        }
    }

    /// Tells the stage that begins, and asks whether to go on.
    fn go_on(&self, stage: Stage) -> Result<()> {
        self.task.progress.stage(stage, 0);
        match self.task.progress.cancelled() {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    /// Whether a way is worth trying, going by the best patch so far.
    fn may_win(&self, way: Way, best: Option<&(Way, Sealed)>, fits: bool) -> bool {
        match way {
            Way::InPlace => self.differs_little(),
            Way::Elf => self.are_elf() && (best.is_none() || self.old != self.new),
            Way::Generic => best.is_none_or(|(way, sealed)| match way {
                // What is packed costs this way its size nearly.
                Way::Packed => sealed.0.len() > self.new.len() / 4,
                Way::Elf => !fits || self.task.may_be_plainer((self.old, self.new), sealed.0.len()),
                _ => false,
            }),
            Way::Packed => self.old != self.new,
            Way::Whole => best.is_none_or(|(_, sealed)| !fits || may_lose(sealed.0.len(), self.new)),
        }
    }

    /// Whether plain covers tell in fewer bytes what the models for ELF files coded in about so many.
    fn is_plainer(&self, coded: u64) -> Result<bool> {
        let coded = usize::try_from(coded).unwrap_or(usize::MAX);
        if !self.task.may_be_plainer((self.old, self.new), coded) || !self.fits(Way::Generic) {
            return Ok(false);
        }
        let plain = self.generic()?.map(|(_, bodies)| bodies);
        let plain = plain.map(|bodies| bodies.iter().map(|body| body.3.len()).sum::<usize>());
        Ok(plain.is_some_and(|plain| plain < coded))
    }

    /// Makes the patch of one way; `None` where that way is none.
    fn make(&self, way: Way, best: Option<&(Way, Sealed)>) -> Result<Option<Sealed>> {
        match way {
            Way::InPlace => self.sealed(self.in_place()?),
            Way::Elf => self.sealed(self.elf()?),
            Way::Generic => self.sealed(self.generic()?),
            Way::Packed => packed::packed(self),
            Way::Whole => match Frame::within(self.room, self.new.len() as u64) {
                Some(frame) => self.whole(frame, best.map(|(_, sealed)| sealed.0.len())),
                None => Ok(None),
            },
        }
    }

    /// Applies the patch and compares.
    fn checked(&self, patch: &[u8]) -> Result<Applied> {
        let patch = Patch::parse(patch)?;
        let mut rebuilt = Compare { expected: self.new };
        let applier = patch
            .applier()
            .limits(Limits::none())
            .progress(self.task.progress);
        let run = applier.run(&self.old, &mut rebuilt)?;
        if rebuilt.expected.is_empty() {
            Ok(run)
        } else {
            Err(Error::SelfCheck("the rebuilt file is too short"))
        }
    }

    /// Checks a patch and declares the memory that this took; `None` where it does not give the new file back.
    fn sealed(&self, draft: Option<Draft>) -> Result<Option<Sealed>> {
        let Some((mut header, bodies)) = draft else {
            return Ok(None);
        };
        let coded: u64 = bodies.iter().map(|body| body.3.len() as u64).sum();
        let beside = header.packing.as_ref().map_or(0, |packing| packing.scratch) + 2 * coded;
        header.memory = self.room.saturating_sub(beside).min(u64::MAX >> 1);
        let trial = container::write(&header, &bodies);
        let run = self.checked(&trial);
        drop(trial);
        match run {
            // More than half of what a reader allows as a rule: one of them might refuse it.
            Ok(run) if run.work_per_byte > Limits::default().work_per_byte / 2 => Ok(None),
            Ok(run) => {
                header.memory = run.memory + run.memory / SPARE_PART + SPARE;
                if let Some(packing) = &mut header.packing {
                    packing.scratch = run.scratch;
                }
                Ok(Some((container::write(&header, &bodies), run.sections)))
            }
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => {
                let lacked = matches!(error, Error::Damaged { why: MORE_MEMORY, .. });
                self.task.lacked.set(self.task.lacked.get() || lacked);
                Ok(None)
            }
        }
    }
}

/// A sink that holds what is written against what is expected.
struct Compare<'a> {
    expected: &'a [u8],
}

impl std::io::Write for Compare<'_> {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        let rest = self.expected.strip_prefix(piece);
        self.expected = rest.ok_or_else(|| std::io::Error::other("the rebuilt file differs"))?;
        Ok(piece.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Times of what plain covers take that they are roughly held to take, at most.
const ROUGHLY: usize = 2;

impl Task<'_> {
    /// Whether plain covers might tell in fewer bytes what the models for ELF files coded in so many: those suffer where
    /// bytes change that follow from nothing.
    fn may_be_plainer(&self, (old, new): (&[u8], &[u8]), coded: usize) -> bool {
        !self.options.models && rough::may_take(old, new, coded.saturating_mul(ROUGHLY))
    }
}

/// Whether a whole-file frame might be smaller than a patch of this size: zstd's strongest level rarely
/// makes half of what its fastest does.
fn may_lose(patch: usize, new: &[u8]) -> bool {
    patch > 1 << 10 && zstd::bulk::compress(new, 1).is_ok_and(|quick| patch * 2 > quick.len())
        || patch <= 1 << 10 && new.len() <= 1 << 10
}

fn writers(profile: Profile, few: usize, segments: usize) -> Result<Streams<StreamWriter>> {
    Streams::new(segments.clamp(1, MAX_SEGMENTS), |id| {
        Ok(match profile {
            Profile::Fast if FEW_OR_MANY.iter().any(|&s| s as u8 == id) => {
                StreamWriter::Few(FewWriter::new(few))
            }
            Profile::Fast if !FAST_MODELS.iter().any(|&s| s as u8 == id) => {
                StreamWriter::Columns(ColumnWriter::default())
            }
            _ => StreamWriter::Modelled(ModelledWriter::default()),
        })
    })
}

/// Streams of few symbols, whose models the fast profile can afford.
const FAST_MODELS: [Stream; 5] = [
    Stream::Layout,
    Stream::Targets,
    Stream::Jumps,
    Stream::Unwind,
    Stream::Exceptions,
];

/// Streams that have few symbols in small files and many in large ones. No other stream is told under their models,
/// so that those of one that is given up can be left as they are.
const FEW_OR_MANY: [Stream; 2] = [Stream::Covers, Stream::Bytes];
/// Symbols of one of them that the fast profile models: of an ELF file, whose streams these are two of, and of a file
/// that has no others. So many take a twentieth of a second, and a third.
const FEW_OF_MANY: usize = 1 << 16;
const FEW_ALONE: usize = 1 << 19;

fn finish(header: &Header, method: Method, streams: Streams<StreamWriter>) -> Result<Draft> {
    let mut bodies: Vec<Body> = Vec::new();
    let segmented = streams.segments() > 1;
    for (id, writer) in streams.into_coders() {
        let (columns, modelled) = match writer {
            StreamWriter::Modelled(writer) => (None, Some(writer.finish())),
            StreamWriter::Columns(writer) => (Some(writer.finish()), None),
            StreamWriter::Few(writer) => {
                let (columns, modelled) = writer.finish();
                (Some(columns), modelled)
            }
        };
        let modelled = modelled.map(|bytes| (id, Coding::Modelled, 0, bytes));
        let packed = columns.map(|columns| packed(id, columns)).transpose()?;
        let body = [modelled, packed]
            .into_iter()
            .flatten()
            .min_by_key(|body| body.3.len());
        // Segments are counted by their rows.
        let counts = segmented && SEGMENTED.iter().any(|&s| s as u8 == id);
        bodies.extend(body.filter(|body| counts || !body.3.is_empty()));
    }
    let header = Header {
        method,
        features: if segmented { container::SEGMENTS } else { 0 },
        ..header.clone()
    };
    Ok((header, bodies))
}

/// A stream of columns, packed if that makes it smaller.
fn packed(id: u8, columns: Vec<u8>) -> Result<Body> {
    let frame = zstd::bulk::compress(&columns, 19)?;
    Ok(match frame.len() < columns.len() {
        true => (id, Coding::Zstd, columns.len() as u64, frame),
        false => (id, Coding::Stored, 0, columns),
    })
}

/// What became of an image that was to be coded.
enum Outcome {
    /// It was coded.
    Image,
    /// One of the files is not one, and no stream knows of it.
    Nothing,
    /// A model was defeated half-way.
    Half,
}

/// Bytes that may differ in place before a file is not worth telling as the old one with corrections.
const FEW: usize = 1 << 12;

impl Job<'_> {
    /// Whether the new file is the old one but for a few bytes in place: such need no model of what they are.
    fn differs_little(&self) -> bool {
        let (old, new) = (self.old, self.new);
        let pieces = || old.chunks(FEW).zip(new.chunks(FEW)).filter(|(o, n)| o != n);
        let differing = |(o, n): (&[u8], &[u8])| o.iter().zip(n).filter(|(o, n)| o != n).count();
        old.len() == new.len() && pieces().take(FEW).map(differing).sum::<usize>() <= FEW
    }

    /// Whether both begin as ELF files do.
    fn are_elf(&self) -> bool {
        [self.old, self.new].iter().all(|file| file.starts_with(&MAGIC))
    }

    /// The patch by the stages for ELF files, if both are such.
    fn elf(&self) -> Result<Option<Draft>> {
        let account = Budget::new(self.room, u64::MAX, self.task.progress);
        let mut io = Io {
            streams: writers(
                self.task.options.profile,
                FEW_OF_MANY,
                self.room_as_elf().segments,
            )?,
            account: &account,
        };
        match self.image(&mut io)? {
            Outcome::Image => finish(&self.header, Method::Image, io.streams).map(Some),
            Outcome::Nothing | Outcome::Half => Ok(None),
        }
    }

    /// How far there is memory for the models for ELF files.
    fn room_as_elf(&self) -> Room {
        let sizes = (self.old.len() as u64, self.new.len() as u64);
        let room = Room::within(self.task.options, self.room, sizes);
        room.unwrap_or_else(Room::least)
    }

    /// Tells the new file through the stages, if both are ELF files.
    fn image(&self, io: &mut Io<StreamWriter>) -> Result<Outcome> {
        let account = io.account;
        let (old, new) = (self.old, self.new);
        let (old_view, new_view) = (FileView::new(&old, account)?, FileView::new(&new, account)?);
        let Some(old_image) = OldImage::read(&old_view)? else {
            return Ok(Outcome::Nothing);
        };
        let options = self.task.options.threads(self.room_as_elf().threads);
        let Some(plan) = plan(&old_image, old, &new_view, new, &options, self.task.progress)? else {
            return Ok(Outcome::Nothing);
        };
        let done = code_image(io, None, &old_image, self.header.new_len, Some(&plan)).map(drop);
        if account.refused() {
            self.task.lacked.set(true);
        }
        match (done, account.cause()) {
            (_, Some(cause)) => Err(cause),
            (Ok(()), None) => Ok(Outcome::Image),
            // A file that defeats a model is no reason to fail.
            (Err(_), None) => Ok(Outcome::Half),
        }
    }

    /// The patch of corrections in place.
    fn in_place(&self) -> Result<Option<Draft>> {
        let len = u32::try_from(self.new.len()).unwrap_or(0);
        let cover = Cover {
            len,
            ..Cover::default()
        };
        self.covered(&[cover][..usize::from(len > 0)])
    }

    /// The patch by covers and bytes alone.
    fn generic(&self) -> Result<Option<Draft>> {
        if !self.is_below_4_gib() {
            return Ok(None);
        }
        let whole = 0..self.old.len();
        let index = ByteIndex::new(self.old, std::slice::from_ref(&whole), PLAIN);
        let covers = index.covers(self.new, 0..self.new.len(), 0);
        drop(index);
        self.covered(&covers)
    }

    fn is_below_4_gib(&self) -> bool {
        self.old.len().max(self.new.len()) <= u32::MAX as usize
    }

    /// The patch that these covers make.
    fn covered(&self, covers: &[Cover]) -> Result<Option<Draft>> {
        if !self.is_below_4_gib() {
            return Ok(None);
        }
        let account = Budget::new(self.room, u64::MAX, self.task.progress);
        let view = FileView::new(&self.old, &account)?;
        let mut io = Io {
            streams: writers(self.task.options.profile, FEW_ALONE, 1)?,
            account: &account,
        };
        let done = code_file(&mut io, &view, self.header.new_len, Some((self.new, covers))).map(drop);
        if account.refused() {
            self.task.lacked.set(true);
            return Ok(None);
        }
        done?;
        finish(&self.header, Method::Bytes, io.streams).map(Some)
    }
}
