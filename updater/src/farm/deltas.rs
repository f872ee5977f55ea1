//! From some bytes to others: patches of the engine and zstd frames, with what applying them takes, counted.

use crate::watch::{ForEngine, Heed};
use crate::{Digest, Error, Result, Watch, compress, limits, speed};
use elfdelta::{Limits, Needs, Options, Patch, Profile};
use serde::{Deserialize, Serialize};
use std::io;

/// How new bytes are told from older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A patch of the engine, the usual profile.
    Default,
    /// A patch that applies faster.
    Fast,
    /// A zstd frame with the older bytes as its prefix.
    Frame,
}

impl Form {
    /// The engine's profile, of a patch.
    pub fn profile(self) -> Option<Profile> {
        match self {
            Form::Default => Some(Profile::Default),
            Form::Fast => Some(Profile::Fast),
            Form::Frame => None,
        }
    }
}

/// What was found out about a patch or frame by applying it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// What it is.
    pub form: Form,
    /// Length in bytes.
    pub size: u64,
    /// Time of applying on the nominal machine, from counted work, microseconds; of patches.
    #[serde(rename = "us")]
    pub micros: u64,
    /// Memory that applying declares, which the engine enforces, bytes; of patches.
    pub memory: u64,
    /// Scratch space that applying declares, bytes.
    pub scratch: u64,
    /// Encoders that applying needs, by name and version.
    pub encoders: Vec<String>,
    /// SHA-256 of it.
    pub digest: Digest,
}

impl Measured {
    /// Whether sites take it as a piece of its own: one that none holds in memory is of no use to any, nor what packs
    /// by a thread.
    pub fn taken(&self) -> bool {
        let threads = self
            .encoders
            .iter()
            .any(|name| elfdelta::packed::needs_thread(name));
        self.size <= limits::PIECE && !threads
    }

    /// Whether every site takes it as a bundle: one that it could not read would cost it all the files.
    pub fn taken_as_bundle(&self) -> bool {
        let fits = self.memory + self.size <= limits::MEMORY && self.scratch <= limits::SCRATCH;
        self.taken() && fits && self.encoders.is_empty()
    }
}

/// Memory that a delta may take at a site: more than sites allow by themselves, as one may say so, but no more than that.
const MOST: u64 = 512 << 20;

/// Memory that making patches takes for sides of these sizes, in bytes.
pub fn needs(old: u64, new: u64) -> Needs {
    options(Profile::Default).needs(old, new)
}

fn options(profile: Profile) -> Options<'static> {
    Options::default().profile(profile).threads(1).apply_memory(MOST)
}

/// Tells the second from the first of both sides, in so many bytes of memory.
pub fn make(form: Form, sides: [&[u8]; 2], memory: u64, watch: &dyn Watch) -> Result<(Vec<u8>, Measured)> {
    let [old, new] = sides;
    let bytes = match form.profile() {
        Some(profile) => {
            let options = options(profile).memory(memory);
            elfdelta::diff(old, new, &options, &ForEngine(watch))?.bytes
        }
        None => compress::pack(new, old, compress::LEVEL, watch)?,
    };
    let measured = measure(form, &bytes, sides, watch)?;
    Ok((bytes, measured))
}

/// Times of what zstd's best frame takes that its quickest one takes, at most: 1.95 of 318 files of a Debian server.
const QUICKLY: u64 = 2;

/// Whether a frame may take no more than so many bytes, by one that is made in a hundredth of the time.
pub fn frame_may_take([old, new]: [&[u8]; 2], most: u64, watch: &dyn Watch) -> Result<bool> {
    let quick = compress::pack(new, old, compress::QUICK, watch)?;
    Ok(quick.len() as u64 <= most.saturating_mul(QUICKLY))
}

/// Applies it as a site would and compares every byte.
pub fn measure(form: Form, bytes: &[u8], sides: [&[u8]; 2], watch: &dyn Watch) -> Result<Measured> {
    let [old, new] = sides;
    let mut rebuilt = Compare { expected: new };
    let mut measured = Measured {
        form,
        size: bytes.len() as u64,
        micros: 0,
        memory: 0,
        scratch: 0,
        encoders: Vec::new(),
        digest: Digest::of(bytes),
    };
    let applied = if form == Form::Frame {
        compress::unpack_to(Heed::new(bytes, watch), old, new.len() as u64, &mut rebuilt).is_ok()
    } else {
        let limits = Limits::new()
            .memory(u64::MAX)
            .output(new.len() as u64)
            .scratch(limits::SCRATCH)
            .threads(1);
        let patch = Patch::parse(bytes)?;
        if let Some(packing) = &patch.header().packing {
            measured.scratch = packing.scratch;
            measured.encoders.clone_from(&packing.encoders);
        }
        measured.memory = patch.header().memory;
        let progress = ForEngine(watch);
        let applier = patch.applier().limits(limits).progress(&progress);
        let work = applier.counted(&old, &mut rebuilt);
        measured.micros = work.as_ref().map_or(0, |work| speed::nominal(*work));
        work.is_ok()
    };
    watch.check()?;
    match applied && rebuilt.expected.is_empty() {
        true => Ok(measured),
        false => Err(Error::Engine(elfdelta::Error::SelfCheck(
            "the delta does not rebuild its target",
        ))),
    }
}

/// A sink that holds what is written against what is expected.
struct Compare<'a> {
    expected: &'a [u8],
}

impl io::Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rest = self.expected.strip_prefix(bytes);
        self.expected = rest.ok_or_else(|| io::Error::other("the rebuilt file differs"))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quiet;
    use std::{fs, path::Path};

    #[test]
    fn no_frame_that_would_be_taken_is_left_out() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let mut tried = 0;
        for folder in ["elf", "kinds"] {
            for entry in fs::read_dir(seeds.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let Some(name) = path.to_str().and_then(|path| path.strip_suffix("-1")) else {
                    continue;
                };
                let [old, new] =
                    [path.clone(), format!("{name}-2").into()].map(|path| fs::read(path).unwrap());
                for sides in [[&old[..], &new], [&new, &old], [b"", &new], [&old, &old]] {
                    let frame = make(Form::Frame, sides, 0, &Quiet).unwrap().1.size;
                    assert!(frame_may_take(sides, frame, &Quiet).unwrap(), "{name} {frame}");
                    // One that is far too large is.
                    assert!(
                        !frame_may_take(sides, frame / 4, &Quiet).unwrap(),
                        "{name} {frame}"
                    );
                    tried += 1;
                }
            }
        }
        assert!(tried > 50, "{tried}");
    }
}
