//! Old file and patch in, new file out, written forward.

mod insides;

use crate::budget::Budget;
use crate::code::{ColumnReader, ModelledReader, SEGMENTED, StreamReader, Streams};
use crate::container::{Coding, Method, WHOLE};
use crate::file_view::FileView;
use crate::layout::OldImage;
use crate::packed::{Scratch, has_encoder};
use crate::pipeline::{Io, Segments, code_file, code_image};
use crate::recipe::Scripts;
use crate::{Error, Limits, Part, Patch, Progress, ReadAt, Silent, Stage, error::Result};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

/// Largest window of the zstd frame of a whole file, as a power of two, and the memory to unpack one.
const WHOLE_WINDOW: u32 = 23;
pub(crate) const WHOLE_MEMORY: u64 = 10 << 20;

/// Work allowed for each byte of the two files counts as if they had this many more.
const LEAST_LENGTH: u64 = 1 << 16;

/// What one run took.
pub(crate) struct Applied {
    /// The most memory held at once, in bytes.
    pub memory: u64,
    /// Scratch space written, in bytes.
    pub scratch: u64,
    /// Bytes of the patch by section, but for what no section took.
    pub sections: Vec<Part>,
    /// Work for each byte that it may be counted for, rounded up.
    pub work_per_byte: u64,
    /// Units of work, packing as usual text takes it.
    pub work: u64,
}

/// Rebuilds the new file into `sink` with the default limits: [`Patch::parse`] and [`Patch::applier`] in one.
///
/// On an error what was written is not the new file.
pub fn apply(old: &dyn ReadAt, patch: &[u8], sink: &mut dyn Write) -> Result<()> {
    Patch::parse(patch)?.applier().apply(old, sink)
}

impl Patch<'_> {
    /// How the patch is applied: within [`Limits::default`], silently, without scratch space, until told otherwise.
    pub fn applier(&self) -> Applier<'_> {
        Applier {
            patch: self,
            limits: Limits::default(),
            scratch: None,
            progress: &Silent,
        }
    }
}

/// A patch with what applying it may use, and who hears of it.
#[derive(Clone, Copy)]
pub struct Applier<'a> {
    patch: &'a Patch<'a>,
    limits: Limits,
    scratch: Option<&'a dyn Scratch>,
    progress: &'a dyn Progress,
}

impl<'a> Applier<'a> {
    /// Sets the limits.
    pub fn limits(self, limits: Limits) -> Self {
        Applier { limits, ..self }
    }
    /// Gives space for what a packed old file holds: without it, that is held in memory, within the limit for
    /// memory.
    pub fn scratch(self, scratch: &'a dyn Scratch) -> Self {
        let scratch = Some(scratch);
        Applier { scratch, ..self }
    }
    /// Says who hears of progress and may end the call.
    pub fn progress(self, progress: &'a dyn Progress) -> Self {
        Applier { progress, ..self }
    }

    /// Fails where the patch declares more than the limits allow, or packs with an encoder that is not there.
    pub fn check(&self) -> Result<()> {
        let (header, limits) = (self.patch.header(), &self.limits);
        let within = |what, needed, allowed| match needed > allowed {
            true => Err(Error::OverLimit {
                what,
                needed,
                allowed,
            }),
            false => Ok(()),
        };
        within("bytes of memory", header.memory, limits.memory)?;
        within("bytes of output", header.new_len, limits.output)?;
        let Some(packing) = &header.packing else {
            return Ok(());
        };
        within("bytes of scratch space", packing.scratch, limits.scratch)?;
        if let Some(name) = packing.encoders.iter().find(|name| !has_encoder(name)) {
            return Err(Error::MissingEncoder(name.clone()));
        }
        if self.scratch.is_none() {
            let what = "bytes of memory where there is no scratch space";
            within(what, header.memory.saturating_add(packing.scratch), limits.memory)?;
        }
        Ok(())
    }

    /// Rebuilds the new file into `sink`. On an error what was written is not the new file.
    ///
    /// Fails with [`Error::WrongOldFile`] before a byte is written if `old` is not the file that the patch
    /// was made from.
    pub fn apply(&self, old: &dyn ReadAt, sink: &mut dyn Write) -> Result<()> {
        self.run(old, sink).map(drop)
    }

    /// As [`Applier::apply`]; tells the units of work that it took, as [`Limits::work_per_byte`] counts them, but packing
    /// as usual text takes it, not the worst there is: as many on every machine, however busy, at one thread.
    pub fn counted(&self, old: &dyn ReadAt, sink: &mut dyn Write) -> Result<u64> {
        Ok(self.run(old, sink)?.work)
    }

    /// Bytes of the patch for each section of the new file, the most expensive first: the patch is applied for
    /// it, into nothing. None for a file that is not coded as an ELF file.
    pub fn sections(&self, old: &dyn ReadAt) -> Result<Vec<Part>> {
        let run = self.run(old, &mut std::io::sink())?;
        Ok(self.patch.with_rest(run.sections))
    }

    /// Applies the patch; tells what that took.
    pub(crate) fn run(&self, old: &dyn ReadAt, sink: &mut dyn Write) -> Result<Applied> {
        self.check()?;
        let (patch, limits) = (self.patch, &self.limits);
        let header = patch.header();
        patch.check_old(old, self.progress)?;
        let insides = header.packing.as_ref();
        let space = insides.map_or(0, |p| p.scratch);
        let insides = insides.map_or(0, |p| p.old_inside.saturating_add(p.new_inside));
        let lengths = header.old_len.saturating_add(header.new_len);
        let counted = lengths.saturating_add(insides).saturating_add(LEAST_LENGTH);
        let work = limits.work_per_byte.saturating_mul(counted);
        let budget = Budget::new(header.memory.min(limits.memory), work, self.progress).with_space(space);
        let done = patch.rebuild(old, sink, &budget, limits.threads, self.scratch);
        // A loop that ended because work or patience did may have called it damage.
        match (done, budget.cause()) {
            (Err(Error::Io(error)), _) => Err(Error::Io(error)),
            (Err(_), Some(cause)) => Err(cause),
            (done, _) => done.map(|sections| Applied {
                memory: budget.peak(),
                scratch: budget.filled(),
                sections,
                work_per_byte: budget.spent().div_ceil(counted),
                work: budget.usual(),
            }),
        }
    }
}

impl Patch<'_> {
    /// Accounts for what no section took: header, directory, ends of streams.
    pub(crate) fn with_rest(&self, mut sections: Vec<Part>) -> Vec<Part> {
        if self.header().method == Method::Image {
            let named: u64 = sections.iter().map(|p| p.bytes).sum();
            sections.push(Part {
                name: "(container)".into(),
                bytes: self.report().total.saturating_sub(named),
            });
        }
        sections
    }

    /// Writes the new file; gives the bytes of the patch by section.
    fn rebuild(
        &self,
        old: &dyn ReadAt,
        sink: &mut dyn Write,
        budget: &Budget,
        threads: usize,
        scratch: Option<&dyn Scratch>,
    ) -> Result<Vec<Part>> {
        let mut output = Output {
            sink,
            digest: Sha256::new(),
            left: self.header().new_len,
            budget,
            done: 0,
        };
        let sink = &mut |piece: &[u8]| output.write(piece);
        let sections = match self.header().method {
            Method::Packed => insides::rebuild(self, old, budget, (threads, scratch), sink)?,
            _ => self.write(old, budget, threads, sink)?,
        };
        if output.left != 0 || <[u8; 32]>::from(output.digest.finalize()) != self.header().new_digest {
            return Err(Error::damaged("the rebuilt file has another digest"));
        }
        Ok(sections)
    }

    /// Hands the new file to `sink`, by the methods that know no packing.
    fn write(
        &self,
        old: &dyn ReadAt,
        budget: &Budget,
        threads: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Vec<Part>> {
        if self.header().method == Method::Whole {
            self.whole(budget, sink)?;
            return Ok(Vec::new());
        }
        let view = FileView::new(old, budget)?;
        let ((recipes, _held), parts) = self.recipes(&view, budget, threads)?;
        budget.stage(Stage::Write, self.header().new_len);
        for recipe in recipes {
            recipe.run(&view, sink)?;
        }
        Ok(parts)
    }

    /// Phase one: everything that the streams say, as scripts in file order, and what its bytes went into.
    fn recipes<'b>(
        &'b self,
        view: &FileView,
        account: &'b Budget<'b>,
        threads: usize,
    ) -> Result<(Scripts<'b>, Vec<Part>)> {
        let header = self.header();
        let mut io = self.tellers(account)?;
        if header.method == Method::Bytes {
            let scripts = code_file(&mut io, view, header.new_len, None);
            return Ok((scripts.map_err(|e| io.streams.locate(e))?, Vec::new()));
        }
        let old = OldImage::read(view)?;
        let old = old.ok_or(Error::damaged(
            "it takes the old file for an ELF file that it is not",
        ))?;
        let segments = PatchSegments { patch: self, threads };
        let scripts = code_image(&mut io, Some(&segments), &old, header.new_len, None);
        Ok((
            scripts.map_err(|e| io.streams.locate(e))?,
            io.streams.take_parts(),
        ))
    }

    /// The streams of an image, or of all images of a group, from their start.
    fn tellers<'b>(&'b self, account: &'b Budget<'b>) -> Result<Io<'b, StreamReader<'b>>> {
        let streams = Streams::new(1, |id| self.reader(id, 0, account))?;
        Ok(Io { streams, account })
    }

    /// A reader of a stream, of which there is one for each segment if it is of that kind.
    fn reader<'b>(&'b self, id: u8, segment: usize, budget: &'b Budget<'b>) -> Result<StreamReader<'b>> {
        let entry = self.streams().iter().filter(|s| s.id == id).nth(segment);
        let (coding, decoded, bytes) = entry.map_or((Coding::Modelled, 0, &[][..]), |entry| {
            (entry.coding, entry.decoded, &entry.bytes[..])
        });
        Ok(match coding {
            Coding::Modelled => StreamReader::Modelled(ModelledReader::new(bytes, budget)),
            Coding::Stored => StreamReader::Columns(ColumnReader::stored(bytes, budget)?),
            Coding::Zstd => StreamReader::Columns(ColumnReader::zstd(bytes, decoded, budget)),
        })
    }

    fn whole(&self, budget: &Budget, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let entry = self.streams().iter().find(|s| s.id == WHOLE);
        let entry = entry.ok_or(Error::damaged("the whole file is missing"))?;
        if entry.coding == Coding::Stored {
            return sink(&entry.bytes);
        }
        budget.fits(WHOLE_MEMORY)?;
        let mut buffer = vec![0; 1 << 16];
        let mut reader = zstd::Decoder::with_buffer(&entry.bytes[..])?;
        reader.window_log_max(WHOLE_WINDOW)?;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => sink(&buffer[..n])?,
                Err(_) => return Err(Error::damaged("a zstd frame is damaged")),
            }
        }
    }

    fn check_old(&self, old: &dyn ReadAt, progress: &dyn Progress) -> Result<()> {
        let header = self.header();
        let wrong = |what, expected, found| Error::WrongOldFile {
            what,
            expected,
            found,
        };
        let len = old.size()?;
        if len != header.old_len {
            return Err(wrong("size", header.old_len.to_string(), len.to_string()));
        }
        progress.stage(Stage::Check, len);
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        while at < len {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let n = (len - at).min(buffer.len() as u64) as usize;
            match old
                .in_memory()
                .and_then(|all| all.get(at as usize..at as usize + n))
            {
                Some(piece) => digest.update(piece),
                None => {
                    old.read_at(at, &mut buffer[..n])?;
                    digest.update(&buffer[..n]);
                }
            }
            at += n as u64;
            progress.at(at);
        }
        let digest: [u8; 32] = digest.finalize().into();
        if digest != header.old_digest {
            let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(wrong("SHA-256", hex(&header.old_digest), hex(&digest)));
        }
        Ok(())
    }
}

/// The segments of a patch.
struct PatchSegments<'p> {
    patch: &'p Patch<'p>,
    threads: usize,
}

impl Segments for PatchSegments<'_> {
    fn count(&self) -> usize {
        self.patch.segments()
    }
    fn threads(&self) -> usize {
        self.threads
    }
    fn open<'b>(&'b self, segment: usize, budget: &'b Budget<'b>) -> Result<[StreamReader<'b>; 2]> {
        let [edits, literals] = SEGMENTED.map(|s| self.patch.reader(s as u8, segment, budget));
        Ok([edits?, literals?])
    }
}

/// The new file on its way out: counted, hashed, written.
struct Output<'a> {
    sink: &'a mut dyn Write,
    digest: Sha256,
    left: u64,
    budget: &'a Budget<'a>,
    done: u64,
}

impl Output<'_> {
    fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.budget.go_on(1 + piece.len() as u64 / 64)?;
        let left = self.left.checked_sub(piece.len() as u64);
        self.left = left.ok_or(Error::damaged("more output than declared"))?;
        self.digest.update(piece);
        self.sink.write_all(piece)?;
        self.done += piece.len() as u64;
        self.budget.at(self.done);
        Ok(())
    }
}
