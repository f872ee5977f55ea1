//! Packed files: opened, compared and closed exactly; what cannot be goes the plain way; what lies is found out.

use elfdelta::container::{self, Method};
use elfdelta::packed::deflate::{Style, Writer};
use elfdelta::packed::{Bounds, Codec, Op, Side, Trailer, ZstdEffort, look};
use elfdelta::{Error, Limits, Options, Patch, Silent};
use flate2::{Compression, write::DeflateEncoder};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::process::{Command, Stdio};

fn words(len: usize, mut state: u64) -> Vec<u8> {
    let lines = [
        "the option is given",
        "a file that is not there",
        "returns zero on success",
        "see also",
    ];
    let mut text = Vec::new();
    while text.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(text, "{} {:x}", lines[(state >> 62) as usize], state >> 48).unwrap();
    }
    text
}

/// Two versions of a text.
fn texts(len: usize) -> [Vec<u8>; 2] {
    let old = words(len, 1);
    let mut new = old.clone();
    new.splice(len / 3..len / 3 + 5, *b"something else");
    new.splice(len / 2..len / 2, words(len / 200, 2));
    [old, new]
}

fn deflated(text: &[u8], style: Style) -> Vec<u8> {
    let mut encoder = Codec::deflate(Trailer::None, style).encoder().unwrap();
    let mut packed = Vec::new();
    for piece in text.chunks(10_007) {
        encoder.push(piece, &mut packed).unwrap();
    }
    encoder.finish(&mut packed).unwrap();
    packed
}

fn gzip(text: &[u8], stream: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    file.extend_from_slice(stream);
    file.extend(crc32fast::hash(text).to_le_bytes());
    file.extend((text.len() as u32).to_le_bytes());
    file
}

fn gnu(text: &[u8]) -> Vec<u8> {
    gzip(text, &deflated(text, Style::default()))
}

fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    let delta = elfdelta::diff(old, new, &Options::default(), &Silent);
    let delta = delta.expect("every pair has a patch");
    assert_eq!(apply(old, &delta.bytes, Limits::new()).expect("it applies"), new);
    delta.bytes
}

fn apply(old: &[u8], patch: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    let mut new = Vec::new();
    Patch::parse(patch)?
        .applier()
        .limits(limits)
        .apply(&old, &mut new)?;
    Ok(new)
}

fn method(patch: &[u8]) -> Method {
    Patch::parse(patch).unwrap().header().method
}

#[test]
fn every_style_is_closed_again() {
    let [old, new] = texts(120_000);
    for style in Style::all() {
        let patch = diff(&gnu(&old), &gzip(&new, &deflated(&new, style)));
        assert_eq!(method(&patch), Method::Packed, "{style:?}");
        assert!(patch.len() < 1200, "{} bytes for {style:?}", patch.len());
        // Where both write the same, what is frozen was tried before.
        let named = Patch::parse(&patch)
            .unwrap()
            .header()
            .packing
            .clone()
            .unwrap()
            .encoders;
        match style.writer {
            frozen if frozen.is_frozen() => assert!(named.is_empty(), "{style:?}"),
            Writer::ZlibRs if named.is_empty() => {}
            _ => assert_eq!(named, ["zlib-rs 0.6.8"], "{style:?}"),
        }
    }
}

#[test]
fn one_side_may_be_packed_alone() {
    let [old, new] = texts(60_000);
    for (old, new) in [(gnu(&old), new.clone()), (old, gnu(&new))] {
        let patch = diff(&old, &new);
        assert_eq!(method(&patch), Method::Packed);
        assert!(patch.len() < 800, "{} bytes", patch.len());
    }
}

/// Files one after the other, such as a bundle of them: a member may begin anywhere, and one that cannot be closed
/// does not hide those behind it.
#[test]
fn members_are_found_anywhere() {
    let [old, new] = texts(60_000);
    let mut foreign = DeflateEncoder::new(Vec::new(), Compression::new(9));
    foreign.write_all(&new[..20_000]).unwrap();
    let foreign = gzip(&new[..20_000], &foreign.finish().unwrap());
    let files = |text: &[u8], other: &[u8]| {
        let [a, b, c] = [&text[..30_000], &text[30_000..50_000], &text[50_000..]];
        [
            b"\x1f\x8b",
            &gnu(a)[..],
            other,
            &gnu(b),
            b"\x1f\x8b\x08\x08 plain \x1f",
            &gnu(c),
        ]
        .concat()
    };
    let patch = diff(&files(&old, b""), &files(&new, b""));
    assert!(patch.len() < 900, "{} bytes", patch.len());
    let patch = diff(&files(&old, &foreign), &files(&new, &foreign));
    assert!(patch.len() < 1000, "{} bytes", patch.len());
    // Every byte might begin a member, and none does.
    let decoys = b"\x1f\x8b\x08\x08\0\0\0\0\x02\x03".repeat(40_000);
    diff(&files(&old, &decoys), &files(&new, &decoys));
}

/// What a program makes of its standard input; `None` where it is not installed.
fn piped(program: &str, arguments: &[&str], text: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    let text = text.to_vec();
    let feeder = std::thread::spawn(move || input.write_all(&text));
    let output = child.wait_with_output().ok()?;
    feeder.join().ok()?.ok()?;
    Some(output.stdout)
}

#[test]
fn what_programs_write_is_closed_again() {
    let [old, new] = texts(300_000);
    let closed = |program: &str, level: u8, arguments: &[&str]| {
        let files = [&old, &new].map(|text| piped(program, arguments, text));
        let [Some(old), Some(new)] = files else {
            return println!("skipped: there is no {program} here");
        };
        let patch = diff(&old, &new);
        assert_eq!(method(&patch), Method::Packed, "{program} at level {level}");
        assert!(
            patch.len() < 2000,
            "{} bytes, {program} at level {level}",
            patch.len()
        );
    };
    for level in 1..=9 {
        closed("gzip", level, &["-nc", &format!("-{level}")]);
        let packs = format!(
            "process.stdin.pipe(require('zlib').createGzip({{level: {level}}})).pipe(process.stdout)"
        );
        closed("node", level, &["-e", &packs]);
    }
}

/// What each encoder makes of a fixed text: both sides compute it, so it must never change.
#[test]
fn encoders_are_frozen() {
    let text = words(200_000, 7);
    let mut all = Sha256::new();
    let mut sizes = Vec::new();
    for style in Style::all().filter(|style| style.writer.is_frozen()) {
        let stream = deflated(&text, style);
        all.update(&stream);
        sizes.push(stream.len());
    }
    let digest: String = all.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(digest, FROZEN, "sizes {sizes:?}");
}

const FROZEN: &str = "1485adb71b858461082104cec354c52c7a33e558e47b2c89247fd992ccb09147";

#[test]
fn archives_that_lie_go_a_plainer_way() {
    let [old_text, new_text] = texts(30_000);
    let (old, new) = (gnu(&old_text), gnu(&new_text));
    let mut foreign = DeflateEncoder::new(Vec::new(), Compression::new(9));
    foreign.write_all(&new_text).unwrap();
    let mut other_sum = new.clone();
    let at = other_sum.len() - 6;
    other_sum[at] ^= 1;
    let mut named = new.clone();
    named[3] = 8;
    let mut flags = new.clone();
    flags[3] = 0xff;
    for new in [
        gzip(&new_text, &foreign.finish().unwrap()),
        other_sum,
        named,
        flags,
        new[..new.len() - 3].to_vec(),
        new[..new.len() / 2].to_vec(),
        new[..11].to_vec(),
        [&new[..], b"and more"].concat(),
        [&new[..], &old[..]].concat(),
        [&new[..10], &[0xff; 400]].concat(),
        gzip(b"", &deflated(b"", Style::default())),
        gnu(&gnu(&new)),
    ] {
        diff(&old, &new);
        diff(&new, &old);
    }
}

#[test]
fn levels_of_packing_are_opened_to_a_depth() {
    let [mut old, mut new] = texts(40_000);
    for _ in 0..9 {
        (old, new) = (gnu(&old), gnu(&new));
        diff(&old, &new);
    }
}

/// The patch with another header.
fn rewritten(patch: &[u8], change: impl FnOnce(&mut container::Header)) -> Vec<u8> {
    let patch = Patch::parse(patch).unwrap();
    let mut header = patch.header().clone();
    change(&mut header);
    let bodies: Vec<container::Body> = patch
        .streams()
        .iter()
        .map(|s| (s.id, s.coding, s.decoded, s.bytes.to_vec()))
        .collect();
    container::write(&header, &bodies)
}

#[test]
fn sizes_that_lie_are_damage() {
    let [old, new] = texts(60_000).map(|text| gnu(&text));
    let patch = diff(&old, &new);
    for by in [-40_000, -1, 1, 40_000] {
        let changes: [fn(&mut container::Packing) -> &mut u64; 2] = [
            |packing| &mut packing.old_inside,
            |packing| &mut packing.new_inside,
        ];
        for of in changes {
            let lying = rewritten(&patch, |header| {
                let size = of(header.packing.as_mut().unwrap());
                *size = size.saturating_add_signed(by);
            });
            let done = apply(&old, &lying, Limits::new()).map(drop);
            assert!(matches!(done, Err(Error::Damaged { .. })), "{by}: {done:?}");
        }
    }
}

#[test]
fn a_bomb_is_damage_before_it_has_gone_off() {
    let bomb = gnu(&vec![0; 60 << 20]);
    let [old, new] = texts(60_000).map(|text| gnu(&text));
    let patch = diff(&old, &new);
    let armed = rewritten(&patch, |header| {
        header.old_len = bomb.len() as u64;
        header.old_digest = Sha256::digest(&bomb).into();
    });
    let done = apply(&bomb, &armed, Limits::new()).map(drop);
    assert!(matches!(done, Err(Error::Damaged { .. })), "{done:?}");
}

#[test]
fn an_encoder_that_is_not_there_is_told_of_first() {
    let [old, new] = texts(30_000).map(|text| gnu(&text));
    let patch = rewritten(&diff(&old, &new), |header| {
        header.packing.as_mut().unwrap().encoders = vec!["liblzma 0.0.1".into()];
    });
    // Not even the old file is looked at.
    let done = apply(b"another file", &patch, Limits::new());
    assert!(matches!(&done, Err(Error::MissingEncoder(name)) if name == "liblzma 0.0.1"));
}

#[test]
fn scratch_space_and_work_have_limits() {
    let [old, new] = texts(5 << 20).map(|text| gnu(&text));
    let patch = diff(&old, &new);
    let header = Patch::parse(&patch).unwrap().header().clone();
    let scratch = header.packing.unwrap().scratch;
    assert!(scratch > 5 << 20);
    let refused = |limits: Limits| {
        let done = apply(&old, &patch, limits).map(drop);
        assert!(matches!(done, Err(Error::OverLimit { .. })), "{done:?}");
    };
    refused(Limits::new().scratch(scratch - 1));
    // In memory it counts as such.
    refused(Limits::new().memory(header.memory + scratch - 1));
    refused(Limits::new().work_per_byte(0));
}

/// An encoder of zstd has tables of many megabytes to clear, were it to pack a byte: a patch of a few bytes could ask for
/// that a million times.
#[test]
fn streams_of_a_byte_are_work() {
    let [old, new] = texts(20_000).map(|text| gnu(&text));
    let patch = diff(&old, &new);
    let parsed = Patch::parse(&patch).unwrap();
    let zstd = Codec::Zstd {
        window: 0,
        effort: ZstdEffort {
            level: 19,
            size: 1,
            ..ZstdEffort::default()
        },
    };
    for codec in [zstd, Codec::Lz4 { blocks: 1, level: 9 }] {
        let bodies = parsed.streams().iter().map(|stream| {
            if stream.id != container::PLANS {
                return (stream.id, stream.coding, stream.decoded, stream.bytes.to_vec());
            }
            let [before, mut after] =
                look(&old, &new, &Bounds::of(u64::MAX, &|| false)).map(|found| found.unwrap().plan);
            let byte = [Op::Open(codec.clone()), Op::Copy(Some(1)), Op::Close];
            after.ops.splice(0..0, std::iter::repeat_n(byte, 3000).flatten());
            let mut plans = Vec::new();
            before.write(Side::Old, &mut plans);
            after.write(Side::New, &mut plans);
            (stream.id, container::Coding::Stored, 0, plans)
        });
        let mut header = parsed.header().clone();
        header.memory = 200 << 20;
        let asking = container::write(&header, &bodies.collect::<Vec<_>>());
        let done = apply(&old, &asking, Limits::new()).map(drop);
        assert!(matches!(done, Err(Error::OverLimit { .. })), "{done:?}");
    }
}

#[test]
fn altered_patches_are_errors() {
    let [old, new] = texts(8000).map(|text| gnu(&text));
    let patch = diff(&old, &new);
    let limits = Limits::new().memory(64 << 20).output(1 << 20).scratch(1 << 20);
    for at in 0..patch.len() {
        for bit in [1 << (at % 8), 0xff] {
            let mut altered = patch.clone();
            altered[at] ^= bit;
            if let Ok(made) = apply(&old, &altered, limits) {
                assert_eq!(made, new, "byte {at}");
            }
        }
        assert!(apply(&old, &patch[..at], limits).is_err(), "cut at {at}");
    }
}

/// A program, and the same with other data behind its code.
fn programs(name: &str) -> [Vec<u8>; 2] {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    [1, 2].map(|n| std::fs::read(seeds.join(format!("{name}-{n}"))).unwrap())
}

#[test]
fn models_go_on_from_program_to_program() {
    let alone: Vec<usize> = ["cxx", "rust"]
        .map(programs)
        .iter()
        .map(|[old, new]| diff(old, new).len())
        .collect();
    // A second one like each, which is another file all the same.
    let like = |file: &[u8]| {
        let mut file = file.to_vec();
        let end = file.len() - 1;
        file[end] ^= 1;
        file[9] ^= 1;
        file
    };
    let sides = [0, 1].map(|side| {
        let [cxx, rust] = ["cxx", "rust"].map(|name| programs(name)[side].clone());
        [&cxx[..], &like(&cxx), &rust, &like(&rust)].concat()
    });
    let patch = diff(&sides[0], &sides[1]);
    assert_eq!(method(&patch), Method::Packed);
    let once: usize = alone.iter().sum();
    assert!(patch.len() * 4 < once * 5, "{} bytes for {once}", patch.len());
}

/// The lengths of these would have each taken for the other.
#[test]
fn programs_that_stand_in_order_are_taken_in_order() {
    let names = ["go", "cxx"];
    let alone: usize = names
        .map(programs)
        .iter()
        .map(|[old, new]| diff(old, new).len())
        .sum();
    let [old, new] = [0, 1].map(|side| names.map(|name| programs(name)[side].clone()).concat());
    let patch = diff(&old, &new);
    assert!(patch.len() < alone, "{} bytes for {alone}", patch.len());
}

#[test]
fn a_group_that_lies_is_damage() {
    let [old, new] = [0, 1].map(|side| {
        ["cxx", "object", "rust"]
            .map(|name| programs(name)[side].clone())
            .concat()
    });
    let patch = diff(&old, &new);
    let parsed = Patch::parse(&patch).unwrap();
    let whole: Vec<_> = parsed
        .streams()
        .iter()
        .map(|s| (s.id, s.coding, s.decoded, s.bytes.to_vec()))
        .collect();
    assert!(whole.len() > 4, "its images are told in streams of the whole");
    for at in 0..whole.len() {
        let mut bodies = whole.clone();
        let half = bodies[at].3.len() / 2;
        bodies[at].3.truncate(half);
        let lying = container::write(parsed.header(), &bodies);
        assert!(
            apply(&old, &lying, Limits::new()).is_err(),
            "stream {}",
            bodies[at].0
        );
        bodies.remove(at);
        let lying = container::write(parsed.header(), &bodies);
        assert!(
            apply(&old, &lying, Limits::new()).is_err(),
            "without stream {}",
            whole[at].0
        );
    }
    let short = rewritten(&patch, |header| header.memory = 1 << 20);
    assert!(matches!(
        apply(&old, &short, Limits::new()),
        Err(Error::Damaged { .. })
    ));
}

/// The models for programs lose where bytes change that follow from nothing; what plain covers tell better is theirs.
#[test]
fn no_program_costs_more_than_its_bytes() {
    let changed = |file: &[u8], every: usize| {
        let mut new = file.to_vec();
        let end = new.len() - 1000;
        new[1000..end]
            .iter_mut()
            .step_by(every)
            .for_each(|byte| *byte ^= 8);
        [&new[..], b"and more behind it"].concat()
    };
    // The same bytes, and no program.
    let plain = |file: &[u8]| {
        let mut file = file.to_vec();
        let all = 0..file.len() - 3;
        all.filter(|&at| file[at..].starts_with(b"\x7fELF"))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|at| file[at] = b'-');
        file
    };
    for every in [41, 300, 2000] {
        let [cxx, rust, go] = ["cxx", "rust", "go"].map(|name| programs(name)[0].clone());
        let several = [&cxx[..], &rust, &go].concat();
        for old in [&cxx, &go, &several] {
            let new = changed(old, every);
            let bytes = diff(&plain(old), &plain(&new)).len();
            let loose = diff(old, &new).len();
            assert!(loose <= bytes + 40, "{loose} bytes, plain {bytes}, every {every}");
            let within = diff(&gnu(old), &gnu(&new)).len();
            assert!(
                within <= bytes + 80,
                "{within} bytes, plain {bytes}, every {every}"
            );
        }
    }
    // One of three alone: the others are told as programs.
    let [old, new] = [0, 1].map(|side| ["cxx", "rust", "go"].map(|name| programs(name)[side].clone()));
    let all = diff(&old.concat(), &new.concat()).len();
    let other = changed(&old[2], 41);
    let bytes = diff(&plain(&old[2]), &plain(&other)).len();
    let two = diff(&old[..2].concat(), &new[..2].concat()).len();
    let made = diff(&old.concat(), &[&new[0][..], &new[1], &other].concat()).len();
    assert!(
        made <= two + bytes + 80,
        "{made} bytes: {two} and {bytes}, of all {all}"
    );
}
