//! Files out of a bundle: a zstd frame in memory, or a patch whose both sides are files without a name.

use super::super::objects::Shipped;
use super::Fetcher;
use crate::apart::Patching;
use crate::digest::Hasher;
use crate::error::Doing;
use crate::step::{BundleRow, Step};
use crate::watch::Heed;
use crate::{Error, Result};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

impl Fetcher<'_> {
    /// Rebuilds what is wanted of a bundle.
    pub fn bundle(&mut self, step: &Step, row: usize) -> Result<()> {
        let bundle = &step.table.bundles[row];
        let piece = self.downloads.piece(step, bundle.piece)?;
        let entries = bundle.targets.iter().filter_map(|i| step.to.entries.get(*i));
        let targets: Vec<Shipped> = entries.filter_map(|e| Some((e, e.content()?))).collect();
        let total = targets.iter().map(|(_, c)| c.size).sum();
        if bundle.patch.is_some() {
            let mut made = self.patched((step, bundle), &piece, total)?;
            return self.parts(&targets, &mut made);
        }
        let (mut prefix, mut plain) = (Vec::new(), Vec::new());
        self.bases((step, bundle), &mut prefix)?;
        self.apart
            .unpack(self.downloads.watch, &piece, &prefix, total, &mut plain)?;
        self.parts(&targets, &mut &plain[..])
    }

    /// What a patch makes of the bases.
    fn patched(&mut self, of: (&Step, &BundleRow), patch: &[u8], total: u64) -> Result<File> {
        let (base, mut made) = (self.objects.unnamed()?, self.objects.unnamed()?);
        self.bases(of, &mut &base)?;
        let patching = Patching {
            patch,
            base: &base,
            size: total,
            scratch: self.objects.scratch(of.1.patch.map_or(0, |p| p.scratch))?,
        };
        let sink = &mut Bounded(&made, total);
        self.apart.patch(self.downloads.watch, &patching, sink)?;
        made.rewind().doing("read", "a bundle")?;
        Ok(made)
    }

    /// Writes the bases of a bundle, one after the other.
    fn bases(&self, (step, bundle): (&Step, &BundleRow), sink: &mut dyn Write) -> Result<()> {
        for &i in &bundle.bases {
            let base = step.base(i);
            let base = base.ok_or_else(|| Error::malformed("step", "a base that is no file"))?;
            let digest = base.content().digest;
            let mut file = Heed::new(self.index.open(&digest)?, self.downloads.watch);
            let mut hasher = Hasher::new(&mut *sink);
            io::copy(&mut file, &mut hasher).doing("read", "a base")?;
            if hasher.finish().0 != digest {
                return Err(Error::Damaged(format!("base {}", digest.short())));
            }
        }
        Ok(())
    }

    /// Makes objects of the files that stand one after the other in `plain`, and are wanted.
    fn parts(&mut self, targets: &[Shipped], plain: &mut dyn Read) -> Result<()> {
        for &shipped in targets {
            let content = shipped.1;
            let short = || Error::Damaged("a bundle is too short".into());
            let mut part = Heed::new(plain.take(content.size), self.downloads.watch);
            let wanted = self.wanted.contains(&content.digest) && !self.index.has_object(&content.digest);
            if !wanted {
                let passed = io::copy(&mut part, &mut io::sink()).doing("read", "a bundle")?;
                (passed == content.size).then_some(()).ok_or_else(short)?;
                continue;
            }
            self.reservation.give(content.size.next_multiple_of(4096));
            self.objects.build(&mut self.index, shipped, &mut |sink| {
                let copied = io::copy(&mut part, sink).doing("write", "an object")?;
                (copied == content.size).then_some(()).ok_or_else(short)
            })?;
        }
        Ok(())
    }
}

/// Takes so many bytes and no more.
struct Bounded<'a>(&'a File, u64);

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.1.checked_sub(bytes.len() as u64);
        self.1 =
            left.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "more bytes than a bundle has"))?;
        self.0.write_all(bytes)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
