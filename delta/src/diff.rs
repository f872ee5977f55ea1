//! Old and new file in, patch out.

use crate::apply::{Run, WHOLE_MEMORY};
use crate::budget::Budget;
use crate::code::{ColumnWriter, MAX_SEGMENTS, ModelledWriter, SEGMENTED, Stream, StreamWriter, Streams};
use crate::container::{self, Body, Coding, Header, Method};
use crate::data::Cover;
use crate::file_view::FileView;
use crate::layout::OldImage;
use crate::matching::{bytes::ByteIndex, plan::plan};
use crate::pipeline::{code_file, code_image};
use crate::{Error, Limits, Options, Part, Patch, Profile, Progress, Report, error::Result};
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

/// Makes a patch from `old` to `new`, and applies it once before handing it out.
pub fn diff(old: &[u8], new: &[u8], options: &Options, progress: &dyn Progress) -> Result<Delta> {
    let go_on = |stage| {
        progress.stage(stage, 0);
        if progress.cancelled() {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    };
    let header = Header {
        features: 0,
        method: Method::Whole,
        old_len: old.len() as u64,
        old_digest: Sha256::digest(old).into(),
        new_len: new.len() as u64,
        new_digest: Sha256::digest(new).into(),
        memory: 0,
    };
    go_on("match")?;
    // Where the reading as ELF files does not hold, the next plainer way takes its place.
    let files = (old, new, progress);
    let steady = sealed(steady(&header, files, options)?, files)?;
    let mut best = match steady {
        Some(patch) if old == new => Some(patch),
        other => {
            let modelled = sealed(image(&header, files, options)?, files)?;
            [modelled, other].into_iter().flatten().min_by_key(|s| s.0.len())
        }
    };
    if best.is_none() {
        go_on("match")?;
        best = sealed(plain(&header, files, options)?, files)?;
    }
    go_on("compare")?;
    if best.as_ref().is_none_or(|(patch, _)| may_lose(patch.len(), new)) {
        let whole = whole(&header, new)?;
        if best.as_ref().is_none_or(|(patch, _)| whole.len() < patch.len()) {
            let run = checked(&whole, files)?;
            best = Some((whole, run.sections));
        }
    }
    let best = best.ok_or(Error::SelfCheck("no way of making the patch gives the new file"))?;
    let (bytes, sections) = best;
    let patch = Patch::parse(&bytes, &unlimited())?;
    let report = Report {
        sections: patch.with_rest(sections),
        ..patch.report()
    };
    Ok(Delta { bytes, report })
}

fn unlimited() -> Limits {
    Limits {
        memory: u64::MAX,
        output: u64::MAX,
        work_per_byte: u64::MAX,
        threads: 0,
    }
}

/// Both files and who hears of progress.
type Files<'f> = (&'f [u8], &'f [u8], &'f dyn Progress);

/// A patch without its declared memory.
type Draft = (Header, Vec<Body>);

/// A patch that gives the new file back, and its bytes by section.
type Sealed = (Vec<u8>, Vec<Part>);

/// Applies the patch and compares.
fn checked(patch: &[u8], (old, new, progress): Files) -> Result<Run> {
    let limits = unlimited();
    let mut rebuilt = Compare { expected: new };
    let run = Patch::parse(patch, &limits)?.run(&old, &mut rebuilt, &limits, progress)?;
    if rebuilt.expected.is_empty() {
        Ok(run)
    } else {
        Err(Error::SelfCheck("the rebuilt file is too short"))
    }
}

/// Checks a patch and declares the memory that this took; `None` where it does not give the new file back.
fn sealed(draft: Option<Draft>, files: Files) -> Result<Option<Sealed>> {
    let Some((mut header, bodies)) = draft else {
        return Ok(None);
    };
    header.memory = u64::MAX >> 1;
    match checked(&container::write(&header, &bodies), files) {
        Ok(run) => {
            header.memory = run.memory + run.memory / SPARE_PART + SPARE;
            Ok(Some((container::write(&header, &bodies), run.sections)))
        }
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(_) => Ok(None),
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

fn whole(header: &Header, new: &[u8]) -> Result<Vec<u8>> {
    let frame = zstd::bulk::compress(new, 19)?;
    let header = Header {
        method: Method::Whole,
        memory: WHOLE_MEMORY,
        ..header.clone()
    };
    let (coding, bytes) = if frame.len() < new.len() {
        (Coding::Zstd, frame)
    } else {
        (Coding::Stored, new.to_vec())
    };
    Ok(container::write(
        &header,
        &[(container::WHOLE, coding, new.len() as u64, bytes)],
    ))
}

fn writers(options: &Options) -> Result<Streams<StreamWriter>> {
    Streams::new(options.segments.clamp(1, MAX_SEGMENTS), |id| {
        Ok(match options.profile {
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

/// The patch by the stages for ELF files, if both are such.
fn image(header: &Header, (old, new, progress): Files, options: &Options) -> Result<Option<Draft>> {
    let budget = Budget::unlimited(progress);
    let (old_view, new_view) = (FileView::new(&old, &budget)?, FileView::new(&new, &budget)?);
    let Some(old_image) = OldImage::read(&old_view)? else {
        return Ok(None);
    };
    let Some(plan) = plan(&old_image, old, &new_view, new, options, progress)? else {
        return Ok(None);
    };
    let mut streams = writers(options)?;
    let done = code_image(&mut streams, None, &old_image, header.new_len, Some(&plan)).map(drop);
    drop((plan, old_image));
    match (done, budget.cause()) {
        (_, Some(cause)) => Err(cause),
        (Ok(()), None) => finish(header, Method::Image, streams).map(Some),
        // A file that defeats a model is no reason to fail.
        (Err(_), None) => Ok(None),
    }
}

/// Bytes that may differ in place before a file is not worth telling as the old one with corrections.
const FEW: usize = 1 << 12;

/// The patch of a file that is the old one but for a few bytes in place: such need no model of what they are.
fn steady(header: &Header, (old, new, progress): Files, options: &Options) -> Result<Option<Draft>> {
    let pieces = || old.chunks(FEW).zip(new.chunks(FEW)).filter(|(o, n)| o != n);
    let differing = |(o, n): (&[u8], &[u8])| o.iter().zip(n).filter(|(o, n)| o != n).count();
    if old.len() != new.len() || pieces().take(FEW).map(differing).sum::<usize>() > FEW {
        return Ok(None);
    }
    let len = u32::try_from(new.len()).unwrap_or(0);
    let cover = Cover {
        len,
        ..Cover::default()
    };
    covered(
        header,
        (old, new, progress),
        options,
        &[cover][..usize::from(len > 0)],
    )
}

/// The patch by covers and bytes alone.
fn plain(header: &Header, (old, new, progress): Files, options: &Options) -> Result<Option<Draft>> {
    if old.len() > u32::MAX as usize || new.len() > u32::MAX as usize {
        return Ok(None);
    }
    let whole = 0..old.len();
    let index = ByteIndex::new(old, std::slice::from_ref(&whole));
    let covers = index.covers(new, 0..new.len(), Some(0));
    drop(index);
    covered(header, (old, new, progress), options, &covers)
}

/// The patch that these covers make.
fn covered(
    header: &Header,
    (old, new, progress): Files,
    options: &Options,
    covers: &[Cover],
) -> Result<Option<Draft>> {
    if old.len() > u32::MAX as usize || new.len() > u32::MAX as usize {
        return Ok(None);
    }
    let budget = Budget::unlimited(progress);
    let view = FileView::new(&old, &budget)?;
    let one = Options {
        segments: 1,
        ..options.clone()
    };
    let mut streams = writers(&one)?;
    code_file(&mut streams, &view, header.new_len, Some((new, covers)))?;
    finish(header, Method::Bytes, streams).map(Some)
}
