//! Old and new file in, patch out.

use crate::code::{ColumnWriter, ModelledWriter, StreamWriter};
use crate::container::{self, Body, Coding, Header, Method};
use crate::data::code_file;
use crate::file_view::FileView;
use crate::image::{OldImage, Streams, code_image};
use crate::matching::{bytes::ByteIndex, plan::plan};
use crate::recipe::Recipe;
use crate::{Error, Limits, Options, Patch, Profile, Progress, Report, Silent, error::Result};
use sha2::{Digest, Sha256};

/// A finished patch and the account of its bytes.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The patch, ready to be stored.
    pub bytes: Vec<u8>,
    /// Where the bytes went.
    pub report: Report,
}

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
    let mut bytes = match image(&header, old, new, options)? {
        Some(patch) => patch,
        None => plain(&header, old, new, options)?,
    };
    go_on("check")?;
    let kept = if checked(&bytes, old, new).is_ok() {
        Some(())
    } else {
        None
    };
    if kept.is_none() || may_lose(bytes.len(), new) {
        let whole = whole(&header, new)?;
        if kept.is_none() || whole.len() < bytes.len() {
            checked(&whole, old, new)?;
            bytes = whole;
        }
    }
    let report = Patch::parse(&bytes, &unlimited())?.report();
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

/// Applies the patch and compares.
fn checked(patch: &[u8], old: &[u8], new: &[u8]) -> Result<()> {
    let limits = unlimited();
    let mut rebuilt = Compare { expected: new };
    Patch::parse(patch, &limits)?.apply(&old, &mut rebuilt, &limits, &Silent)?;
    if rebuilt.expected.is_empty() {
        Ok(())
    } else {
        Err(Error::SelfCheck("the rebuilt file is too short"))
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
        memory: 16 << 20,
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
    Streams::new(|_| {
        Ok(match options.profile {
            Profile::Fast => StreamWriter::Columns(ColumnWriter::default()),
            Profile::Default | Profile::Max => StreamWriter::Modelled(ModelledWriter::default()),
        })
    })
}

fn finish(
    header: &Header,
    method: Method,
    streams: Streams<StreamWriter>,
    recipes: &[Recipe],
) -> Result<Vec<u8>> {
    let mut bodies: Vec<Body> = Vec::new();
    for (id, writer) in streams.into_iter() {
        match writer {
            StreamWriter::Modelled(writer) => {
                let bytes = writer.finish();
                if !bytes.is_empty() {
                    bodies.push((id, Coding::Modelled, 0, bytes));
                }
            }
            StreamWriter::Columns(writer) => {
                let columns = writer.finish();
                if columns.is_empty() {
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
    let memory = recipes.iter().map(Recipe::memory).sum::<u64>() + (32 << 20);
    let header = Header {
        method,
        memory,
        ..header.clone()
    };
    Ok(container::write(&header, &bodies))
}

/// The patch by the stages for ELF files, if both are such.
fn image(header: &Header, old: &[u8], new: &[u8], options: &Options) -> Result<Option<Vec<u8>>> {
    let (old_view, new_view) = (FileView::new(&old)?, FileView::new(&new)?);
    let Some(old_image) = OldImage::read(&old_view)? else {
        return Ok(None);
    };
    let Some(plan) = plan(&old_image, old, &new_view, new)? else {
        return Ok(None);
    };
    let mut streams = writers(options)?;
    let recipes = code_image(&mut streams, &old_image, header.new_len, Some(&plan))?;
    finish(header, Method::Image, streams, &recipes).map(Some)
}

/// The patch by covers and bytes alone.
fn plain(header: &Header, old: &[u8], new: &[u8], options: &Options) -> Result<Vec<u8>> {
    if old.len() > u32::MAX as usize || new.len() > u32::MAX as usize {
        return whole(header, new);
    }
    let index = ByteIndex::new(old, &[0..old.len()]);
    let covers = index.covers(new, 0..new.len(), Some(0));
    drop(index);
    let view = FileView::new(&old)?;
    let mut streams = writers(options)?;
    let recipe = code_file(&mut streams, &view, header.new_len, Some((new, &covers)))?;
    finish(header, Method::Bytes, streams, &[recipe])
}
