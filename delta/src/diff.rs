//! Old and new file in, patch out.

mod packed;
mod pairs;

use crate::apply::{Run, WHOLE_MEMORY};
use crate::budget::Budget;
use crate::code::{ColumnWriter, MAX_SEGMENTS, ModelledWriter, SEGMENTED, Stream, StreamWriter, Streams};
use crate::container::{self, Body, Coding, Header, Method};
use crate::data::Cover;
use crate::file_view::FileView;
use crate::layout::OldImage;
use crate::matching::{bytes::ByteIndex, plan::plan};
use crate::pipeline::{Io, code_file, code_image};
use crate::{Error, Limits, Options, Part, Patch, Profile, Progress, Report, Stage, error::Result};
use sha2::{Digest, Sha256};

/// A finished patch and the account of its bytes.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The patch, ready to be stored.
    pub bytes: Vec<u8>,
    /// Where the bytes went.
    pub report: Report,
}

/// What a process may hold beside what is counted: a part of that, as one in so many, and bytes.
const SPARE_PART: u64 = 16;
const SPARE: u64 = 4 << 20;

/// A way of making a patch; of two patches of one size, that of the way named first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// By the models for ELF files.
    Elf,
    /// The old file with corrections in place.
    InPlace,
    /// By covers and bytes alone.
    Generic,
    /// The new file as it is.
    Whole,
    /// One of the others between the insides of packed files.
    Packed,
}

/// The ways in the order in which they are tried.
const WAYS: [Way; 5] = [Way::Packed, Way::InPlace, Way::Elf, Way::Generic, Way::Whole];

/// Makes a patch from `old` to `new`, and applies it once before handing it out.
pub fn diff(old: &[u8], new: &[u8], options: &Options, progress: &dyn Progress) -> Result<Delta> {
    let job = Job::new(old, new, options, progress);
    let best = job.best(&WAYS)?;
    let (bytes, sections) = best.ok_or(Error::SelfCheck("no way of making the patch gives the new file"))?;
    let patch = Patch::parse(&bytes)?;
    let report = Report {
        sections: patch.with_rest(sections),
        ..patch.report()
    };
    Ok(Delta { bytes, report })
}

/// A patch without its declared memory.
type Draft = (Header, Vec<Body>);

/// A patch that gives the new file back, and its bytes by section.
type Sealed = (Vec<u8>, Vec<Part>);

/// Both files, what is asked for, and who hears of progress.
struct Job<'j> {
    old: &'j [u8],
    new: &'j [u8],
    options: &'j Options<'j>,
    progress: &'j dyn Progress,
    header: Header,
}

impl<'j> Job<'j> {
    fn new(old: &'j [u8], new: &'j [u8], options: &'j Options<'j>, progress: &'j dyn Progress) -> Job<'j> {
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
            options,
            progress,
            header,
        }
    }

    /// The smallest patch of some ways.
    fn best(&self, ways: &[Way]) -> Result<Option<Sealed>> {
        let mut best: Option<(Way, Sealed)> = None;
        for &way in ways {
            if !self.may_win(way, best.as_ref()) {
                continue;
            }
            self.go_on(if way == Way::Whole {
                Stage::Compare
            } else {
                Stage::Match
            })?;
            // Where the reading as ELF files does not hold, a plainer way takes its place.
            let made = self.make(way, best.as_ref())?.map(|sealed| (way, sealed));
            best = [made, best]
                .into_iter()
                .flatten()
                .min_by_key(|(way, s)| (s.0.len(), *way));
        }
        Ok(best.map(|(_, sealed)| sealed))
    }

    /// Tells the stage that begins, and asks whether to go on.
    fn go_on(&self, stage: Stage) -> Result<()> {
        self.progress.stage(stage, 0);
        match self.progress.cancelled() {
            true => Err(Error::Cancelled),
            false => Ok(()),
        }
    }

    /// Whether a way is worth trying, going by the best patch so far.
    fn may_win(&self, way: Way, best: Option<&(Way, Sealed)>) -> bool {
        match way {
            Way::InPlace => self.differs_little(),
            Way::Elf => best.is_none() || self.old != self.new,
            // What is packed costs this way its size nearly.
            Way::Generic => {
                best.is_none_or(|(way, sealed)| *way == Way::Packed && sealed.0.len() > self.new.len() / 4)
            }
            Way::Packed => self.old != self.new,
            Way::Whole => best.is_none_or(|(_, sealed)| may_lose(sealed.0.len(), self.new)),
        }
    }

    /// Makes the patch of one way; `None` where that way is none.
    fn make(&self, way: Way, best: Option<&(Way, Sealed)>) -> Result<Option<Sealed>> {
        match way {
            Way::InPlace => self.sealed(self.in_place()?),
            Way::Elf => self.sealed(self.elf()?),
            Way::Generic => self.sealed(self.generic()?),
            Way::Packed => packed::packed(self),
            Way::Whole => self.whole(best.map(|(_, sealed)| sealed.0.len())),
        }
    }

    /// Applies the patch and compares.
    fn checked(&self, patch: &[u8]) -> Result<Run> {
        let patch = Patch::parse(patch)?;
        let mut rebuilt = Compare { expected: self.new };
        let applier = patch.applier().limits(Limits::none()).progress(self.progress);
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
        header.memory = u64::MAX >> 1;
        match self.checked(&container::write(&header, &bodies)) {
            // More than half of what a reader allows as a rule: one of them might refuse it.
            Ok(run) if run.work_per_byte > Limits::default().work_per_byte / 2 => Ok(None),
            Ok(run) => {
                header.memory = run.memory + run.memory / SPARE_PART + SPARE;
                Ok(Some((container::write(&header, &bodies), run.sections)))
            }
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(_) => Ok(None),
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

/// Whether a whole-file frame might be smaller than a patch of this size: zstd's strongest level rarely
/// makes half of what its fastest does.
fn may_lose(patch: usize, new: &[u8]) -> bool {
    patch > 1 << 10 && zstd::bulk::compress(new, 1).is_ok_and(|quick| patch * 2 > quick.len())
        || patch <= 1 << 10 && new.len() <= 1 << 10
}

impl Job<'_> {
    /// The whole file, where that is smaller than `than`.
    fn whole(&self, than: Option<usize>) -> Result<Option<Sealed>> {
        let frame = zstd::bulk::compress(self.new, 19)?;
        let header = Header {
            method: Method::Whole,
            memory: WHOLE_MEMORY,
            ..self.header.clone()
        };
        let (coding, bytes) = if frame.len() < self.new.len() {
            (Coding::Zstd, frame)
        } else {
            (Coding::Stored, self.new.to_vec())
        };
        let body = (container::WHOLE, coding, self.new.len() as u64, bytes);
        let patch = container::write(&header, &[body]);
        if than.is_some_and(|than| patch.len() >= than) {
            return Ok(None);
        }
        let run = self.checked(&patch)?;
        Ok(Some((patch, run.sections)))
    }
}

fn writers(profile: Profile, segments: usize) -> Result<Streams<StreamWriter>> {
    Streams::new(segments.clamp(1, MAX_SEGMENTS), |id| {
        Ok(match profile {
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

fn finish(header: &Header, method: Method, streams: Streams<StreamWriter>) -> Result<Draft> {
    let mut bodies: Vec<Body> = Vec::new();
    let segmented = streams.segments() > 1;
    for (id, writer) in streams.into_coders() {
        // Segments are counted by their rows.
        let counts = segmented && SEGMENTED.iter().any(|&s| s as u8 == id);
        match writer {
            StreamWriter::Modelled(writer) => {
                let bytes = writer.finish();
                if counts || !bytes.is_empty() {
                    bodies.push((id, Coding::Modelled, 0, bytes));
                }
            }
            StreamWriter::Columns(writer) => {
                let columns = writer.finish();
                if columns.is_empty() && !counts {
                    continue;
                }
                let frame = zstd::bulk::compress(&columns, 19)?;
                if frame.len() < columns.len() {
                    bodies.push((id, Coding::Zstd, columns.len() as u64, frame));
                } else {
                    bodies.push((id, Coding::Stored, 0, columns));
                }
            }
        }
    }
    let header = Header {
        method,
        features: if segmented { container::SEGMENTS } else { 0 },
        ..header.clone()
    };
    Ok((header, bodies))
}

/// What became of an image that was to be told.
enum Told {
    /// It was told.
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

    /// The patch by the stages for ELF files, if both are such.
    fn elf(&self) -> Result<Option<Draft>> {
        let account = Budget::unlimited(self.progress);
        let mut io = Io {
            streams: writers(self.options.profile, self.options.segments)?,
            account: &account,
        };
        match self.image(&mut io)? {
            Told::Image => finish(&self.header, Method::Image, io.streams).map(Some),
            Told::Nothing | Told::Half => Ok(None),
        }
    }

    /// Tells the new file through the stages, if both are ELF files.
    fn image(&self, io: &mut Io<StreamWriter>) -> Result<Told> {
        let account = io.account;
        let (old, new) = (self.old, self.new);
        let (old_view, new_view) = (FileView::new(&old, account)?, FileView::new(&new, account)?);
        let Some(old_image) = OldImage::read(&old_view)? else {
            return Ok(Told::Nothing);
        };
        let Some(plan) = plan(&old_image, old, &new_view, new, self.options, self.progress)? else {
            return Ok(Told::Nothing);
        };
        let done = code_image(io, None, &old_image, self.header.new_len, Some(&plan)).map(drop);
        match (done, account.cause()) {
            (_, Some(cause)) => Err(cause),
            (Ok(()), None) => Ok(Told::Image),
            // A file that defeats a model is no reason to fail.
            (Err(_), None) => Ok(Told::Half),
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
        let index = ByteIndex::new(self.old, std::slice::from_ref(&whole));
        let covers = index.covers(self.new, 0..self.new.len(), Some(0));
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
        let account = Budget::unlimited(self.progress);
        let view = FileView::new(&self.old, &account)?;
        let mut io = Io {
            streams: writers(self.options.profile, 1)?,
            account: &account,
        };
        code_file(&mut io, &view, self.header.new_len, Some((self.new, covers)))?;
        finish(&self.header, Method::Bytes, io.streams).map(Some)
    }
}
