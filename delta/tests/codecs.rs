//! Coders of packed streams take what they declare: memory, as the kernel counts it of a process that runs one, since
//! libraries in C ask no allocator of ours, and work.

use elfdelta::packed::deflate::{Style, Writer};
use elfdelta::packed::{Bounds, Codec, Op, Trailer, ZstdEffort, ZstdFeed, look};
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use std::fs;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

/// What tells a process which coder to run.
const ASKED: &str = "ELFDELTA_TEST_CODER";

/// What a process may hold beside a coder: pages of the program that it had not read before, and what its allocator
/// keeps.
const BESIDE: u64 = 512 << 10;

const PIECE: usize = 64 << 10;

/// Text that leaves nothing unused: noise that comes again far away, changed a little.
struct Text {
    state: u64,
    noise: Vec<u8>,
}

impl Text {
    fn new() -> Text {
        let (state, noise) = (1, Vec::with_capacity(11 * PIECE));
        let mut text = Text { state, noise };
        for _ in 0..11 * PIECE {
            let byte = text.next() as u8;
            text.noise.push(byte);
        }
        text
    }

    fn next(&mut self) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) as usize
    }

    /// Hands out so many bytes of it.
    fn pieces(&mut self, len: u64, mut to: impl FnMut(&[u8])) {
        let mut left = len as usize;
        while left > 0 {
            let at = self.next() % self.noise.len();
            self.noise[at] ^= 1;
            for piece in self.noise.chunks(PIECE) {
                let piece = &piece[..piece.len().min(left)];
                to(piece);
                left -= piece.len();
            }
        }
    }
}

/// Packs a text of that length; gives what becomes of it away, piece by piece.
fn pack(codec: &Codec, len: u64, text: &mut Text, mut to: impl FnMut(&[u8])) {
    let mut encoder = codec.encoder().unwrap();
    text.pieces(len, |piece| {
        let mut out = Vec::new();
        encoder.push(piece, &mut out).unwrap();
        to(&out);
    });
    let mut out = Vec::new();
    encoder.finish(&mut out).unwrap();
    to(&out);
}

fn unpack(codec: &Codec, packed: &[u8]) {
    let (mut decoder, mut out) = (codec.decoder().unwrap(), Vec::new());
    let (mut at, mut ended) = (0, false);
    while !ended && at < packed.len() {
        out.clear();
        let taken;
        let piece = &packed[at..packed.len().min(at + PIECE)];
        (taken, ended) = decoder.step(piece, &mut out).unwrap();
        at += taken;
    }
}

fn zstd(effort: ZstdEffort, len: u64) -> (Codec, u64) {
    let (window, size) = (27, len);
    let effort = ZstdEffort { size, ..effort };
    (Codec::Zstd { window, effort }, len)
}

/// Encoders of zstd: each level, and the ways to feed one, each with a text that fills what it has.
fn of_zstd() -> Vec<(Codec, u64)> {
    let feeds = [ZstdFeed::Stream, ZstdFeed::Whole, ZstdFeed::Worker];
    let mut all = Vec::new();
    let mut add = |effort: ZstdEffort, len| {
        for (long, told) in [(false, false), (false, true), (true, false), (true, true)] {
            if told || effort.feed != ZstdFeed::Whole {
                all.push(zstd(ZstdEffort { long, told, ..effort }, len));
            }
        }
    };
    let of = |level, feed, window| ZstdEffort {
        level,
        feed,
        window,
        ..ZstdEffort::default()
    };
    for feed in feeds {
        for level in [1, 13, 19] {
            for window in [10, 27] {
                add(of(level, feed, Some(window)), 9 << 20);
            }
        }
        // Tables are others for each of these sizes.
        for len in [1_000, 16_385, 140_000, 300_000] {
            for level in [3, 19] {
                add(of(level, feed, None), len);
            }
        }
    }
    for level in 1..=22 {
        let effort = of(level, ZstdFeed::Stream, None);
        all.extend([false, true].map(|long| zstd(ZstdEffort { long, ..effort }, 100_000)));
    }
    // The windows of workers, and of decoders, are filled.
    all.push(zstd(of(1, ZstdFeed::Worker, Some(27)), 140 << 20));
    all
}

/// How liblzma is asked for a stream of that preset and dictionary.
fn xz(preset: u32, dictionary: u32) -> Codec {
    let mut options = LzmaOptions::new_preset(preset).unwrap();
    let mut filters = Filters::new();
    filters.lzma2(options.dict_size(dictionary));
    let packed = |text: &[u8]| {
        let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
        let mut out = Vec::new();
        let mut encoder = liblzma::read::XzEncoder::new_stream(text, stream);
        encoder.read_to_end(&mut out).unwrap();
        out
    };
    let text = |last: &str| (1..999).map(|n| format!("{}", n * n % 331)).collect::<String>() + last;
    let [old, new] = ["old", "new"].map(|last| packed(text(last).as_bytes()));
    let [_, found] = look(&old, &new, &Bounds::of(u64::MAX, &|| false));
    let ops = found.unwrap().plan.ops.into_iter();
    let mut codecs = ops.filter_map(|op| match op {
        Op::Open(codec) => Some(codec),
        _ => None,
    });
    codecs.next().unwrap()
}

/// Encoders of everything else, by liblzma itself only where that holds little.
fn others() -> Vec<(Codec, u64)> {
    let mut all = Vec::new();
    for level in [1, 6, 9] {
        let style = |writer| Codec::deflate(Trailer::Gzip, Style::new(writer, level));
        all.extend(Writer::ALL.map(|writer| (style(writer), 3 << 20)));
    }
    for level in [3, 9, 12] {
        all.push((Codec::Lz4 { blocks: 2, level }, 16 << 20));
    }
    for (preset, dictionary) in [(0, 256 << 10), (1, 1 << 20), (3, 4 << 20), (6, 1 << 20)] {
        all.push((xz(preset, dictionary), 9 << 20));
    }
    all
}

fn cases() -> Vec<(Codec, u64)> {
    [of_zstd(), others()].concat()
}

/// What the kernel tells of this process in kB, in bytes.
fn told(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap() << 10
}

/// What this process holds more while it does something, and what it asks for, touched or not.
fn held(work: impl FnOnce()) -> [u64; 2] {
    // The peak of what it holds is counted from what there is now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let [held, has, asked] = ["VmHWM:", "VmSize:", "VmPeak:"].map(told);
    work();
    // That of what it asks for is not, and says nothing where more was asked for before.
    let peak = told("VmPeak:");
    [told("VmHWM:") - held, if peak > asked { peak - has } else { 0 }]
}

/// Prints what one encoder of these held, and its decoder, in a process of its own.
fn one_coder(number: &str) {
    let (codec, len) = cases().swap_remove(number.parse().unwrap());
    // What any such encoder takes at first is read before.
    let small = match &codec {
        Codec::Zstd { effort, .. } => {
            let (level, window) = (1, Some(10));
            let effort = ZstdEffort {
                level,
                window,
                ..*effort
            };
            zstd(effort, 1).0
        }
        codec => codec.clone(),
    };
    let mut text = Text::new();
    let mut packed = Vec::new();
    pack(&small, 1, &mut text, |piece| packed.extend_from_slice(piece));
    unpack(&small, &packed);
    let [held_by_encoder, asked] = held(|| pack(&codec, len, &mut text, |_| {}));
    // The room of a thread's stack and of its allocator is nobody's, nor is what a worker sets aside.
    let encoder = match codec.encoder_name() {
        Some("libzstd 1.5.7 with threads") => held_by_encoder,
        _ => held_by_encoder.max(asked),
    };
    packed.clear();
    pack(&codec, len, &mut text, |piece| packed.extend_from_slice(piece));
    let [decoder, _] = held(|| unpack(&codec, &packed));
    println!("held {encoder} {decoder}");
}

#[test]
fn coders_hold_what_they_declare() {
    if let Ok(number) = std::env::var(ASKED) {
        return one_coder(&number);
    }
    let program = std::env::current_exe().unwrap();
    let mut wrong = Vec::new();
    for (number, (codec, len)) in cases().into_iter().enumerate() {
        let mut child = Command::new(&program);
        child.args(["--exact", "coders_hold_what_they_declare", "--nocapture"]);
        let output = child.env(ASKED, number.to_string()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let line = said.lines().find_map(|line| line.split("held ").nth(1));
        let line = line.unwrap_or_else(|| panic!("{codec:?}: {output:?}"));
        let held: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
        let declared = [codec.encoder_memory(), codec.decoder_memory()];
        println!("{held:?} of {declared:?}: {codec:?}, {len}");
        if (0..2).any(|i| held[i] > declared[i] + BESIDE) {
            wrong.push(format!("{held:?} held, {declared:?} declared: {codec:?}, {len}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The least time that packing a text took, for each unit of work that it counted, in nanoseconds.
fn unit(codec: &Codec, text: &[u8]) -> f64 {
    let (took, work) = packing(codec, text);
    took / work
}

/// The least time that packing a text took, in nanoseconds, and the units of work that it counted.
fn packing(codec: &Codec, text: &[u8]) -> (f64, f64) {
    let run = || {
        let (start, mut out, mut work) = (Instant::now(), Vec::new(), 0);
        let mut encoder = codec.encoder().unwrap();
        for piece in text.chunks(PIECE) {
            work += encoder.push(piece, &mut out).unwrap();
        }
        work += encoder.finish(&mut out).unwrap();
        (start.elapsed(), work)
    };
    let runs = [run(), run(), run()];
    let least: Duration = runs.iter().map(|(took, _)| *took).min().unwrap();
    (least.as_nanos() as f64, runs[0].1 as f64)
}

fn deflate(writer: Writer, level: u8) -> Codec {
    Codec::deflate(Trailer::Gzip, Style::new(writer, level))
}

/// Encoders that tell of no steps.
fn of_libraries(len: u64) -> Vec<Codec> {
    let mut codecs = [1, 6, 9].map(|level| deflate(Writer::ZlibRs, level)).to_vec();
    codecs.extend([3, 9, 10, 11, 12].map(|level| Codec::Lz4 { blocks: 1, level }));
    codecs.extend([(0, 1 << 20), (6, 1 << 20), (9 | 1 << 31, 4 << 20)].map(|(p, d)| xz(p, d)));
    let zstds = [1, 4, 9, 12, 15, 19, 22].map(|level| ZstdEffort {
        level,
        told: true,
        ..ZstdEffort::default()
    });
    codecs.extend(zstds.map(|effort| zstd(effort, len).0));
    codecs
}

/// What ends a run is work. Where it is counted by bytes, as libraries tell of no steps, a unit takes at most twice the
/// time that it has where every step is counted, also for text that takes far longer than any other. Sites weigh the
/// same units as seconds, so there are no more of them than that.
#[test]
fn no_text_takes_longer_than_it_counts() {
    let mut text = Text::new();
    let letters: Vec<u8> = (0..256 << 10).map(|_| b"ab"[text.next() >> 5 & 1]).collect();
    let counted = unit(&deflate(Writer::Zlib, 9), &letters);
    let mut codecs = of_libraries(letters.len() as u64);
    codecs.retain(|codec| !matches!(codec, Codec::Deflate { style, .. } if style.level < 9));
    for codec in codecs {
        let took = unit(&codec, &letters);
        println!("{took:.0} ns for a unit, {counted:.0} where steps are counted: {codec:?}");
        assert!(took < 2.0 * counted, "{took} of {counted}: {codec:?}");
    }
}

/// Times that something is measured that other work on the machine may disturb.
const TRIES: usize = 5;

/// What sites weigh as seconds is work that usual text takes: a program's packing takes a quarter to four times of that,
/// where steps are counted it takes a unit.
#[test]
fn a_program_takes_as_long_as_sites_weigh() {
    let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
    program.truncate(2 << 20);
    let mut wrong = Vec::new();
    for codec in of_libraries(program.len() as u64) {
        let codec = codec.of_text(program.len() as u64);
        let usual = codec.usual_work().unwrap() as f64 / 16.0 * program.len() as f64;
        // Other work on the machine makes one of two times longer now and then, not each of many.
        let weighed = (0..TRIES).any(|_| {
            let counted = unit(&deflate(Writer::Zlib, 6), &program);
            let (took, units) = packing(&codec, &program);
            let took = took / counted;
            println!("{took:.0} of {usual:.0} units, {units:.0} counted: {codec:?}");
            (0.25..4.0).contains(&(took / usual)) && usual <= units
        });
        if !weighed {
            wrong.push(codec);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
