//! Old file and patch in, new file out, written forward.

use crate::code::{ColumnReader, ModelledReader, StreamReader};
use crate::container::{Coding, Method, Stream as Entry, WHOLE};
use crate::data::code_file;
use crate::file_view::FileView;
use crate::image::{OldImage, Streams, code_image};
use crate::recipe::Recipe;
use crate::{Error, Limits, Patch, Progress, ReadAt, error::Result};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

impl Patch<'_> {
    /// Rebuilds the new file into `sink`. On an error what was written is not the new file.
    ///
    /// Fails with [`Error::WrongOldFile`] before a byte is written if `old` is not the file that the patch
    /// was made from.
    pub fn apply(
        &self,
        old: &dyn ReadAt,
        sink: &mut dyn Write,
        limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.check_old(old, progress)?;
        let mut output = Output {
            sink,
            digest: Sha256::new(),
            left: self.header().new_len,
            progress,
            done: 0,
        };
        match self.header().method {
            Method::Whole => self.whole(&mut output)?,
            Method::Bytes | Method::Image => {
                let view = FileView::new(old)?;
                let recipes = self.recipes(&view, limits)?;
                progress.stage("write", self.header().new_len);
                for recipe in recipes {
                    recipe.run(&view, &mut |piece| output.write(piece))?;
                }
            }
        }
        if output.left != 0 || <[u8; 32]>::from(output.digest.finalize()) != self.header().new_digest {
            return Err(Error::DamagedPatch("the rebuilt file has another digest"));
        }
        Ok(())
    }

    /// Phase one: everything that the streams say, as scripts in file order.
    fn recipes(&self, view: &FileView, limits: &Limits) -> Result<Vec<Recipe>> {
        let header = self.header();
        let work = limits
            .work_per_byte
            .saturating_mul(header.old_len.saturating_add(header.new_len) + 4096);
        let mut streams = Streams::new(|id| self.reader(id, work, limits))?;
        if header.method == Method::Bytes {
            return Ok(vec![code_file(&mut streams, view, header.new_len, None)?]);
        }
        let old = OldImage::read(view)?;
        let old = old.ok_or(Error::DamagedPatch(
            "it takes the old file for an ELF file that it is not",
        ))?;
        code_image(&mut streams, &old, header.new_len, None)
    }

    fn reader(&self, id: u8, work: u64, limits: &Limits) -> Result<StreamReader<'_>> {
        let absent = Entry {
            id,
            coding: Coding::Modelled,
            decoded: 0,
            bytes: &[],
        };
        let entry = self.streams().iter().find(|s| s.id == id).unwrap_or(&absent);
        Ok(match entry.coding {
            Coding::Modelled => StreamReader::Modelled(ModelledReader::new(entry.bytes, work)),
            Coding::Stored => StreamReader::Columns(ColumnReader::new(entry.bytes.to_vec())?),
            Coding::Zstd => {
                if entry.decoded > limits.memory {
                    let (what, needed, allowed) = ("bytes of memory", entry.decoded, limits.memory);
                    return Err(Error::OverLimit {
                        what,
                        needed,
                        allowed,
                    });
                }
                let mut columns = Vec::new();
                zstd::Decoder::with_buffer(entry.bytes)?
                    .take(entry.decoded)
                    .read_to_end(&mut columns)?;
                StreamReader::Columns(ColumnReader::new(columns)?)
            }
        })
    }

    fn whole(&self, output: &mut Output) -> Result<()> {
        let entry = self.streams().iter().find(|s| s.id == WHOLE);
        let entry = entry.ok_or(Error::DamagedPatch("the whole file is missing"))?;
        if entry.coding == Coding::Stored {
            return output.write(entry.bytes);
        }
        let mut buffer = vec![0; 1 << 16];
        let mut reader = zstd::Decoder::with_buffer(entry.bytes)?;
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => output.write(&buffer[..n])?,
                Err(_) => return Err(Error::DamagedPatch("a zstd frame is damaged")),
            }
        }
    }

    fn check_old(&self, old: &dyn ReadAt, progress: &dyn Progress) -> Result<()> {
        let header = self.header();
        let len = old.size()?;
        if len != header.old_len {
            return Err(Error::WrongOldFile(format!(
                "it has {len} bytes, not {}",
                header.old_len
            )));
        }
        progress.stage("check the old file", len);
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut at = 0;
        while at < len {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let n = (len - at).min(buffer.len() as u64) as usize;
            old.read_at(at, &mut buffer[..n])?;
            digest.update(&buffer[..n]);
            at += n as u64;
            progress.at(at);
        }
        if <[u8; 32]>::from(digest.finalize()) != header.old_digest {
            return Err(Error::WrongOldFile("its SHA-256 differs".into()));
        }
        Ok(())
    }
}

/// The new file on its way out: counted, hashed, written.
struct Output<'a> {
    sink: &'a mut dyn Write,
    digest: Sha256,
    left: u64,
    progress: &'a dyn Progress,
    done: u64,
}

impl Output<'_> {
    fn write(&mut self, piece: &[u8]) -> Result<()> {
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        let left = self.left.checked_sub(piece.len() as u64);
        self.left = left.ok_or(Error::DamagedPatch("more output than declared"))?;
        self.digest.update(piece);
        self.sink.write_all(piece)?;
        self.done += piece.len() as u64;
        self.progress.at(self.done);
        Ok(())
    }
}
