//! A file of `partial/` made whole from the sources, going on at the byte where an earlier run stopped.
//!
//! Over bad links several sources together get through, so whoever answers goes on where another stopped. If the whole
//! is then not what was signed, nobody can tell who lied: it is dropped, and from then on, also in later runs, each
//! source has a part of its own, begun at its first byte.

use super::partial::{Part, Partial};
use crate::disk;
use crate::source::{Sources, Span};
use crate::{Digest, Error, Result, Watch};
use std::path::Path;

/// What has to be fetched.
pub(super) struct Download<'a> {
    /// Path in the repository.
    pub path: &'a str,
    /// What the part is named after.
    pub name: &'a Digest,
    /// Where it begins in that file.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

/// A request that broke off is made again at the same source if it brought so many bytes.
pub(super) const GAIN: u64 = 4 << 10;

/// How completing a part went.
enum Completed {
    Whole,
    /// The source does not have it.
    Missing,
    /// Some bytes are still missing.
    Broken(Error),
}

/// What fetches files of a repository into `partial/`.
#[derive(Clone, Copy)]
pub(super) struct Downloads<'a> {
    pub partial: &'a Partial,
    pub sources: &'a Sources,
    pub watch: &'a dyn Watch,
}

/// Says whether a file that is whole is what was signed, and takes it.
type Accept<'a, T> = &'a mut dyn FnMut(&Path) -> Result<T>;

impl Downloads<'_> {
    /// Makes a file whole, and hands it to `accept`, which says whether it is what was signed.
    ///
    /// What was refused is dropped and asked afresh from the next source.
    pub fn obtain<T>(&self, wanted: &Download, accept: Accept<T>) -> Result<T> {
        let mut last = Error::Network(wanted.path.into());
        let (parts, sources) = (self.partial.parts(wanted.name), self.sources);
        if !parts.are_apart() {
            match self.together(wanted, accept)? {
                Ok(accepted) => return Ok(accepted),
                Err(e @ (Error::Network(_) | Error::Portal(_))) => return Err(e),
                Err(e) => last = e,
            }
        }
        for source in sources.order() {
            let mut part = parts.open(sources.name(source))?;
            match self.complete(wanted, &mut part, source)? {
                Completed::Missing => continue,
                Completed::Broken(e) => last = e,
                Completed::Whole => match self.accepted(wanted, &part, accept)? {
                    Ok(accepted) => return Ok(accepted),
                    Err(e) => {
                        sources.lied(source, wanted.length);
                        last = Error::Untrusted(format!("{}: {e}", sources.name(source)));
                    }
                },
            }
        }
        Err(last)
    }

    /// One part that every source goes on with. The inner error: it is not whole yet, or was refused and dropped.
    fn together<T>(&self, wanted: &Download, accept: Accept<T>) -> Result<Result<T>> {
        let (parts, sources) = (self.partial.parts(wanted.name), self.sources);
        let mut last = Error::Network(wanted.path.into());
        for source in sources.order() {
            let mut part = parts.open("")?;
            let alone = part.length == 0 || part.length > wanted.length;
            match self.complete(wanted, &mut part, source)? {
                Completed::Missing => {}
                Completed::Broken(e) => last = e,
                Completed::Whole => {
                    let result = self.accepted(wanted, &part, accept)?;
                    if result.is_err() && alone {
                        sources.lied(source, wanted.length);
                    } else if result.is_err() {
                        sources.waste(wanted.length);
                    }
                    if result.is_err() {
                        parts.set_apart()?;
                    }
                    return Ok(result);
                }
            }
        }
        Ok(Err(last))
    }

    /// The inner error: it was refused and is dropped.
    fn accepted<T>(&self, wanted: &Download, part: &Part, accept: Accept<T>) -> Result<Result<T>> {
        match accept(&part.path) {
            Ok(accepted) => {
                self.partial.parts(wanted.name).forget()?;
                Ok(Ok(accepted))
            }
            Err(e @ (Error::Untrusted(_) | Error::Damaged(_))) => {
                disk::remove(&part.path)?;
                Ok(Err(e))
            }
            Err(e) => Err(e),
        }
    }

    /// Goes on with a part at one source, as long as that brings something.
    fn complete(&self, wanted: &Download, part: &mut Part, source: usize) -> Result<Completed> {
        let (sources, watch) = (self.sources, self.watch);
        if part.length > wanted.length {
            part.clear()?;
        }
        let end = wanted.offset + wanted.length;
        while part.length < wanted.length {
            let before = part.length;
            let span = Span::Range(wanted.offset + before, end);
            let result = sources.read_from(source, wanted.path, span, watch, &mut |bytes| {
                watch.check()?;
                part.write(bytes)
            });
            let failure = match result {
                Ok(false) => return Ok(Completed::Missing),
                Ok(true) => Error::Network(format!(
                    "{} ({}: it ends after {} of {} bytes)",
                    wanted.path,
                    sources.name(source),
                    part.length,
                    wanted.length
                )),
                Err(e @ (Error::Network(_) | Error::Portal(_))) => e,
                Err(e) => return Err(e),
            };
            if part.length < wanted.length && part.length - before < GAIN {
                return Ok(Completed::Broken(failure));
            }
        }
        Ok(Completed::Whole)
    }
}
