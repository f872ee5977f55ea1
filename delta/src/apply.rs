//! Old file and patch in, new file out, written forward.

use crate::{Error, Limits, Patch, Progress, ReadAt, error::Result};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

impl Patch<'_> {
    /// Rebuilds the new file into `sink`. On an error what was written is not the new file.
    ///
    /// Fails with [`Error::WrongFileView`] before a byte is written if `old` is not the file that the patch
    /// was made from.
    pub fn apply(
        &self,
        old: &dyn ReadAt,
        sink: &mut dyn Write,
        _limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<()> {
        self.check_old(old, progress)?;
        let mut digest = Sha256::new();
        let mut left = self.header().new_len;
        let mut buffer = vec![0; 1 << 16];
        for stream in self.streams() {
            let mut reader = zstd::Decoder::with_buffer(stream.bytes)?;
            loop {
                let n = reader.read(&mut buffer)?;
                if n == 0 {
                    break;
                }
                left = left
                    .checked_sub(n as u64)
                    .ok_or(Error::DamagedPatch("more output than declared"))?;
                digest.update(&buffer[..n]);
                sink.write_all(&buffer[..n])?;
            }
        }
        if left != 0 || <[u8; 32]>::from(digest.finalize()) != self.header().new_digest {
            return Err(Error::DamagedPatch("the rebuilt file has another digest"));
        }
        Ok(())
    }

    fn check_old(&self, old: &dyn ReadAt, progress: &dyn Progress) -> Result<()> {
        let header = self.header();
        let len = old.size()?;
        if len != header.old_len {
            return Err(Error::WrongFileView(format!(
                "it has {len} bytes, not {}",
                header.old_len
            )));
        }
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
        }
        if <[u8; 32]>::from(digest.finalize()) != header.old_digest {
            return Err(Error::WrongFileView("its SHA-256 differs".into()));
        }
        Ok(())
    }
}
