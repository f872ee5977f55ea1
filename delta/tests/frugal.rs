//! LZMA2 packed in scratch space: held against liblzma byte by byte, within less memory, which is declared.

use elfdelta::container::{Header, Method};
use elfdelta::{Error, Limits, Options, Patch, ReadAt, Scratch, ScratchFile, Silent};
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

const EXTREME: u32 = 1 << 31;
/// Smaller dictionaries are packed by liblzma itself.
const LEAST: u32 = 5 << 20;

fn xz(text: &[u8], preset: u32, dictionary: u32, filter: &str) -> Vec<u8> {
    let mut options = LzmaOptions::new_preset(preset).unwrap();
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    match filter {
        "x86" => drop(filters.x86()),
        "arm" => drop(filters.arm()),
        "sparc" => drop(filters.sparc()),
        _ => {}
    }
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
    let mut out = Vec::new();
    let mut encoder = liblzma::read::XzEncoder::new_stream(text, stream);
    encoder.read_to_end(&mut out).unwrap();
    out
}

/// Numbers that nothing foresees.
fn noise(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    }
}

/// Stretches that are noise, that repeat what was before with few bytes changed, and that are one byte.
fn mixed(len: usize, seed: u64) -> Vec<u8> {
    let (mut text, mut next) = (b"x".to_vec(), noise(seed));
    while text.len() < len {
        let n = next() % (1 + len / 12).min(20_000);
        match next() % 4 {
            0 => text.extend((0..n).map(|_| next() as u8)),
            1 | 2 => {
                let from = next() % text.len();
                let every = 1 + next() % 400;
                for i in 0..n {
                    let byte = text[from + i];
                    text.push(if i % every == every - 1 {
                        next() as u8
                    } else {
                        byte
                    });
                }
            }
            _ => {
                let byte = next() as u8;
                text.extend((0..n).map(|i| if i % 5 == 0 { 0xe8 } else { byte & 0xf }));
            }
        }
    }
    text.truncate(len);
    text
}

fn header(patch: &[u8]) -> Header {
    Patch::parse(patch).unwrap().header().clone()
}

fn apply(old: &[u8], patch: &[u8], limits: Limits, scratch: &dyn Scratch) -> Result<Vec<u8>, Error> {
    let mut new = Vec::new();
    let patch = Patch::parse(patch)?;
    patch
        .applier()
        .limits(limits)
        .scratch(scratch)
        .apply(&old, &mut new)?;
    Ok(new)
}

/// Scratch space that counts what goes into it.
#[derive(Default)]
struct Counted(AtomicU64);

struct CountedFile<'a>(Vec<u8>, &'a AtomicU64);

impl Scratch for &'static Counted {
    fn file(&self) -> io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(CountedFile(Vec::new(), &self.0)))
    }
}

impl Write for CountedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for CountedFile<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

fn counted() -> &'static Counted {
    Box::leak(Box::default())
}

/// A patch between two texts that liblzma packed like that; applied with scratch space, and told what that got.
fn patched(texts: [&[u8]; 2], preset: u32, dictionary: u32, filter: &str) -> (Vec<u8>, u64) {
    let [old, new] = texts.map(|text| xz(text, preset, dictionary, filter));
    let delta = elfdelta::diff(&old, &new, &Options::default(), &Silent).unwrap();
    let scratch = counted();
    let limits = Limits::new().memory(96 << 20);
    let made = apply(&old, &delta.bytes, limits, &scratch).unwrap();
    assert!(
        made == new,
        "preset {preset:x}, dictionary {dictionary}, {filter}"
    );
    (delta.bytes, scratch.0.load(Ordering::Relaxed))
}

#[test]
fn every_preset_that_weighs_is_closed_in_scratch_space() {
    let old = mixed(200_000, 1);
    let new = [&old[..50_000], b"something else", &old[50_000..]].concat();
    for preset in [4, 5, 6, 9, EXTREME, 5 | EXTREME, 9 | EXTREME] {
        for (dictionary, filter) in [(LEAST, ""), (64 << 20, "x86"), (32 << 20, "arm")] {
            let (patch, filled) = patched([&old, &new], preset, dictionary, filter);
            let (method, packing) = (header(&patch).method, header(&patch).packing.unwrap());
            assert_eq!(method, Method::Packed, "{preset:x}");
            assert!(packing.encoders.is_empty(), "{:?}", packing.encoders);
            assert!(filled > 0 && filled <= packing.scratch && packing.scratch - filled < 1 << 16);
            assert!(patch.len() < 1000, "{preset:x}: {} bytes", patch.len());
        }
    }
    // Not with another filter.
    let (patch, _) = patched([&old, &new], 6, LEAST, "sparc");
    assert_eq!(header(&patch).packing.unwrap().encoders, ["liblzma 5.8.4"]);
}

#[test]
fn a_large_dictionary_takes_little_memory() {
    let old: Vec<u8> = mixed(3 << 20, 3).repeat(2);
    let new = [&old[9..5 << 19], b"else", &old[5 << 19..]].concat();
    let (patch, filled) = patched([&old, &new], 6, 32 << 20, "x86");
    let header = header(&patch);
    assert_eq!(header.method, Method::Packed);
    // liblzma holds 370 MiB.
    assert!(header.memory < 80 << 20, "{}", header.memory);
    let packing = header.packing.unwrap();
    let tight = |memory, scratch| {
        let (old, scratch_space) = (xz(&old, 6, 32 << 20, "x86"), counted());
        let limits = Limits::new().memory(memory).scratch(scratch);
        apply(&old, &patch, limits, &scratch_space).map(drop)
    };
    assert!(filled <= packing.scratch);
    assert!(tight(header.memory, packing.scratch).is_ok());
    let refused = |done| assert!(matches!(done, Err(Error::OverLimit { .. })), "{done:?}");
    refused(tight(header.memory - 1, packing.scratch));
    refused(tight(header.memory, packing.scratch - 1));
}

/// A small patch does not fill a disk: more than it declares is damage.
#[test]
fn no_more_scratch_space_is_taken_than_declared() {
    let old = mixed(300_000, 5);
    let new = [&old[..100_000], b"else", &old[100_000..]].concat();
    let (patch, _) = patched([&old, &new], 6, LEAST, "");
    let file = xz(&old, 6, LEAST, "");
    let mut header = header(&patch);
    header.packing.as_mut().unwrap().scratch -= 1 << 16;
    let parsed = Patch::parse(&patch).unwrap();
    let bodies: Vec<_> = parsed
        .streams()
        .iter()
        .map(|s| (s.id, s.coding, s.decoded, s.bytes.to_vec()))
        .collect();
    let less = elfdelta::container::write(&header, &bodies);
    let scratch = counted();
    let done = apply(&file, &less, Limits::new(), &scratch);
    assert!(matches!(done, Err(Error::Damaged { .. })), "{done:?}");
    assert!(scratch.0.load(Ordering::Relaxed) <= header.packing.unwrap().scratch);
}

/// Whoever waits is heard while matches are found and coded, too.
#[test]
fn it_ends_when_asked() {
    struct After(AtomicU64);
    impl elfdelta::Progress for After {
        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 0
        }
    }
    let old = mixed(1_500_000, 7);
    let new = [&old[..100_000], b"else", &old[100_000..]].concat();
    let [old, new] = [old, new].map(|text| xz(&text, 6, LEAST, ""));
    let delta = elfdelta::diff(&old, &new, &Options::default(), &Silent).unwrap();
    let patch = Patch::parse(&delta.bytes).unwrap();
    let asked = |after: u64| {
        let watch = After(AtomicU64::new(after));
        let done = patch.applier().progress(&watch).apply(&old, &mut io::sink());
        (after - watch.0.load(Ordering::Relaxed).min(after), done)
    };
    let (times, done) = asked(u64::MAX >> 1);
    done.unwrap();
    // Each stands for at most 16,384 units of work, of which a byte takes some twenty here.
    assert!(times > 300, "{times}");
    for part in 1..20 {
        let (_, done) = asked(times * part / 20);
        assert!(matches!(done, Err(Error::Cancelled)), "{part}: {done:?}");
    }
}

/// Sites weigh what closing takes: where liblzma would take as long, it weighs as much, however its steps are counted.
#[test]
fn scratch_space_weighs_no_more_than_memory() {
    let old = mixed(3 << 20, 8);
    let mut new = old.clone();
    new[1 << 20] ^= 1;
    let weighed = |dictionary: u32| {
        let (patch, _) = patched([&old, &new], 6, dictionary, "");
        let is_own = header(&patch).packing.unwrap().encoders.is_empty();
        let packed = xz(&old, 6, dictionary, "");
        let patch = Patch::parse(&patch).unwrap();
        let scratch = counted();
        let applier = patch.applier().scratch(&scratch);
        (applier.counted(&packed, &mut Vec::new()).unwrap(), is_own)
    };
    let (memory, scratch) = (weighed(4 << 20), weighed(LEAST));
    assert!(!memory.1 && scratch.1, "one of each kind");
    let (memory, scratch) = (memory.0, scratch.0);
    assert!(
        scratch < memory + memory / 4,
        "{scratch} units, {memory} in memory"
    );
    assert!(
        scratch > memory - memory / 4,
        "{scratch} units, {memory} in memory"
    );
}
