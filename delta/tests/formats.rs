//! Formats beside gzip: xz, lz4, zstd and zip, opened and closed exactly; encoders held to what they wrote; lies found out.

use elfdelta::container::Method;
use elfdelta::packed::deflate::{Deflate, Style, Writer};
use elfdelta::packed::{Codec, Encode, Trailer, ZstdEffort, ZstdFeed};
use elfdelta::{Error, Limits, Options, Patch, Silent};
use liblzma::stream::{Check, Filters, LzmaOptions, MtStreamBuilder, Stream};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

fn words(len: usize, mut state: u64) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(
            text,
            "{:x} {}",
            state >> 44,
            ["open", "close", "the", "packed"][(state >> 62) as usize]
        )
        .unwrap();
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

fn apply(old: &[u8], patch: &[u8], limits: &Limits) -> Result<Vec<u8>, Error> {
    let mut new = Vec::new();
    Patch::parse(patch)?
        .applier()
        .limits(*limits)
        .apply(&old, &mut new)?;
    Ok(new)
}

fn diff_with(old: &[u8], new: &[u8], options: &Options) -> Vec<u8> {
    let delta = elfdelta::diff(old, new, options, &Silent).expect("every pair has a patch");
    let applied = apply(old, &delta.bytes, &Limits::new().memory(1 << 30));
    assert!(applied.expect("it applies") == new);
    delta.bytes
}

fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    diff_with(old, new, &Options::default())
}

fn header(patch: &[u8]) -> elfdelta::container::Header {
    Patch::parse(patch).unwrap().header().clone()
}

/// The text as liblzma packs it.
fn xz(text: &[u8], stream: Stream) -> Vec<u8> {
    let (mut out, mut encoder) = (Vec::new(), liblzma::read::XzEncoder::new_stream(text, stream));
    encoder.read_to_end(&mut out).unwrap();
    out
}

fn filters(preset: u32, dictionary: u32, x86: bool) -> Filters {
    let mut options = LzmaOptions::new_preset(preset).unwrap();
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    if x86 {
        filters.x86();
    }
    filters.lzma2(&options);
    filters
}

fn single(preset: u32, dictionary: u32, x86: bool, check: Check) -> Stream {
    Stream::new_stream_encoder(&filters(preset, dictionary, x86), check).unwrap()
}

fn several(block: u64, check: Check) -> Stream {
    let mut builder = MtStreamBuilder::new();
    let builder = builder.threads(2).block_size(block).check(check);
    builder.filters(filters(6, 1 << 20, false)).encoder().unwrap()
}

#[test]
fn xz_is_closed_again() {
    let [old, new] = texts(300_000);
    let kinds: [fn() -> Stream; 6] = [
        || Stream::new_easy_encoder(6, Check::Crc64).unwrap(),
        || Stream::new_easy_encoder(6, Check::Crc32).unwrap(),
        || Stream::new_easy_encoder(0, Check::None).unwrap(),
        || single(6, 1 << 20, true, Check::Crc32),
        || several(1 << 20, Check::Crc32),
        || several(64 << 10, Check::Crc64),
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        let patch = diff(&xz(&old, kind()), &xz(&new, kind()));
        let header = header(&patch);
        assert_eq!(header.method, Method::Packed, "kind {number}");
        // What takes much memory is packed in scratch space, by what is frozen.
        let packing = header.packing.unwrap();
        let named: &[&str] = if number < 2 { &[] } else { &["liblzma 5.8.4"] };
        assert_eq!(packing.encoders, named, "kind {number}");
        assert_eq!(packing.scratch > 0, number < 2, "kind {number}");
        assert!(patch.len() < 3000, "{} bytes, kind {number}", patch.len());
    }
    // Streams one behind the other, with padding between them.
    let both = |text: &[u8]| {
        let parts = [&text[..100_000], &text[100_000..]]
            .map(|t| xz(t, Stream::new_easy_encoder(6, Check::Crc64).unwrap()));
        [&parts[0][..], &[0; 8], &parts[1]].concat()
    };
    let patch = diff(&both(&old), &both(&new));
    assert!(patch.len() < 3000, "{} bytes", patch.len());
}

fn packed_by(codec: &Codec, text: &[u8]) -> Vec<u8> {
    let (mut encoder, mut out) = (codec.encoder().unwrap(), Vec::new());
    for piece in text.chunks(50_000) {
        encoder.push(piece, &mut out).unwrap();
    }
    Encode::finish(&mut *encoder, &mut out).unwrap();
    out
}

/// A legacy frame of lz4, as boot images hold it, with the length of the text behind.
fn lz4(text: &[u8], level: u8) -> Vec<u8> {
    let blocks = text.len().div_ceil(8 << 20) as u64;
    let frame = packed_by(&Codec::Lz4 { blocks, level }, text);
    [
        &b"boot sector"[..],
        &[0x02, 0x21, 0x4c, 0x18],
        &frame[..],
        &(text.len() as u32).to_le_bytes(),
    ]
    .concat()
}

#[test]
fn lz4_is_closed_again() {
    for len in [60_000, 9 << 20] {
        let [old, new] = texts(len);
        let patch = diff(&lz4(&old, 9), &lz4(&new, 9));
        let header = header(&patch);
        assert_eq!(header.packing.unwrap().encoders, ["lz4 1.10.0"]);
        assert!(patch.len() < 1000 + len / 200, "{} bytes of {len}", patch.len());
    }
}

/// A frame as programs write it by libzstd: the size told before or not, all at once, or by workers as `zstd` does.
fn zstd(text: &[u8], level: i32, how: &str) -> Vec<u8> {
    if how == "whole" {
        return zstd::bulk::compress(text, level).unwrap();
    }
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), level).unwrap();
    if how.contains("sized") {
        encoder.set_pledged_src_size(Some(text.len() as u64)).unwrap();
    }
    encoder.include_checksum(how.contains("checked")).unwrap();
    if how.contains("long") {
        encoder.window_log(24).unwrap();
        encoder.long_distance_matching(true).unwrap();
    }
    if how.contains("workers") {
        encoder.multithread(3).unwrap();
    }
    for piece in text.chunks(100_000) {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn zstd_is_closed_again() {
    let [short, middle, long] = [90_000, 700_000, 2_500_000].map(texts);
    let kinds = [
        (&short, 3, "whole"),
        (&short, 19, "sized"),
        (&short, 1, "checked"),
        (&short, 22, "sized checked"),
        (&long, 3, "whole"),
        (&long, 3, "stream"),
        (&long, 1, "sized checked"),
        (&long, 6, "sized workers"),
        (&long, 3, "checked workers"),
        (&long, 9, "long"),
        (&short, 19, "workers"),
        (&middle, 19, "sized workers"),
        (&middle, 19, "long workers"),
        (&middle, 6, "sized long workers"),
    ];
    for ([old, new], level, how) in kinds {
        let patch = diff(&zstd(old, level, how), &zstd(new, level, how));
        let header = header(&patch);
        assert_eq!(header.method, Method::Packed, "level {level}, {how}");
        let [named] = &header.packing.unwrap().encoders[..] else {
            panic!("level {level}, {how}")
        };
        assert!(
            ["libzstd 1.5.7", "libzstd 1.5.7 with threads"].contains(&&named[..]),
            "{named}"
        );
        // Where no block is cut short, all write the same.
        assert!(
            !named.ends_with("threads") || how.contains("workers"),
            "{level}, {how}"
        );
        assert!(
            patch.len() < 2000 + new.len() / 100,
            "{} bytes, level {level}, {how}",
            patch.len()
        );
    }
    // Several parts, each made by itself; frames one behind the other; text that fills its last block.
    let [old, new] = texts(11 << 20).map(|text| zstd(&text, 1, "workers"));
    assert_eq!(header(&diff(&old, &new)).method, Method::Packed);
    let both = |text: &[u8]| [zstd(text, 3, "sized"), zstd(&text[9..], 5, "checked")].concat();
    assert!(diff(&both(&short[0]), &both(&short[1])).len() < 4000);
    let full = &long[1][..512 << 10];
    for how in ["whole", "stream"] {
        let patch = diff(&zstd(&long[0], 3, "stream"), &zstd(full, 3, how));
        assert_eq!(header(&patch).method, Method::Packed, "{how}");
    }
}

/// An encoder that takes nearly all of the memory that `apply` has by default leaves none for what stands beside it.
#[test]
fn what_is_made_by_default_is_applied_by_default() {
    let [old, new] = texts(90_000).map(|text| {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 19).unwrap();
        encoder.window_log(27).unwrap();
        encoder.long_distance_matching(true).unwrap();
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap()
    });
    let patch = diff(&old, &new);
    assert!(header(&patch).memory <= Limits::new().memory);
}

fn zip(members: &[(&str, &[u8])], flags: u16) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in members {
        let style = Style::new(Writer::Zlib, 6);
        let mut deflate = Deflate::new(style);
        let mut packed = Vec::new();
        deflate.push(text);
        deflate.finish();
        deflate.take(&mut packed);
        let mut sizes = crc32fast::hash(text).to_le_bytes().to_vec();
        sizes.extend((packed.len() as u32).to_le_bytes());
        sizes.extend((text.len() as u32).to_le_bytes());
        let mut head = vec![20, 0];
        head.extend(flags.to_le_bytes());
        head.extend([8, 0, 0, 0, 0x21, 0x58]);
        let mut local = head.clone();
        // With a data descriptor the sizes stand behind the member.
        local.extend(if flags & 8 != 0 {
            vec![0; 12]
        } else {
            sizes.clone()
        });
        let names = [name.len() as u16, 0].map(u16::to_le_bytes).concat();
        directory.extend([b"PK\x01\x02\x14\x00", &head[..], &sizes, &names, &[0; 10]].concat());
        directory.extend((out.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        out.extend([b"PK\x03\x04", &local[..], &names, name.as_bytes(), &packed].concat());
        if flags & 8 != 0 {
            out.extend([b"PK\x07\x08", &sizes[..]].concat());
        }
    }
    let at = out.len() as u32;
    out.extend(&directory);
    let count = (members.len() as u16).to_le_bytes();
    out.extend(
        [
            b"PK\x05\x06\0\0\0\0",
            &count[..],
            &count,
            &(directory.len() as u32).to_le_bytes(),
            &at.to_le_bytes(),
            &[0; 2],
        ]
        .concat(),
    );
    out
}

const ELF: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/elf/tiny-1"),
    include_bytes!("../../fuzz/seeds/elf/tiny-2"),
];

const PROGRAM: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/cxx-1"),
    include_bytes!("../../fuzz/seeds/kinds/cxx-2"),
];

#[test]
fn members_of_zip_archives_are_opened_and_programs_told_as_such() {
    let [old, new] = texts(50_000);
    for flags in [0, 8] {
        let archives = [
            zip(
                &[
                    ("a-1.0/text", &old),
                    ("a-1.0/lib.so", PROGRAM[0]),
                    ("a-1.0/same", b"it stays, it stays, it stays"),
                ],
                flags,
            ),
            zip(
                &[
                    ("a-1.1/lib.so", PROGRAM[1]),
                    ("a-1.1/same", b"it stays, it stays, it stays"),
                    ("a-1.1/text", &new),
                ],
                flags,
            ),
        ];
        let patch = diff(&archives[0], &archives[1]);
        let parsed = Patch::parse(&patch).unwrap();
        assert!(
            parsed
                .report()
                .streams
                .iter()
                .any(|part| part.name == "edits" || part.name == "skeleton")
        );
        let apart = elfdelta::diff(PROGRAM[0], PROGRAM[1], &Options::default(), &Silent).unwrap();
        assert!(patch.len() < apart.bytes.len() + 1200, "{} bytes", patch.len());
    }
}

/// Programs one behind the other, as in an archive that packs nothing or a bundle, are told as such.
#[test]
fn programs_without_packing_are_found() {
    let files = |first: &[u8], second: &[u8], text: &[u8]| [text, first, second].concat();
    let [old, new] = texts(3000);
    let patch = diff(&files(ELF[0], ELF[1], &old), &files(ELF[1], ELF[1], &new));
    assert_eq!(header(&patch).method, Method::Packed);
    let apart = elfdelta::diff(ELF[0], ELF[1], &Options::default(), &Silent).unwrap();
    assert!(patch.len() < apart.bytes.len() + 700, "{} bytes", patch.len());
}

/// What a file says of itself may be wrong in every place: the patch is plainer then, and no error.
#[test]
fn archives_that_lie_go_a_plainer_way() {
    let [old, new] = texts(20_000);
    let good = [
        [&old, &new].map(|t| xz(t, Stream::new_easy_encoder(6, Check::Crc64).unwrap())),
        [&old, &new].map(|t| xz(t, several(64 << 10, Check::Crc32))),
        [&old, &new].map(|t| lz4(t, 9)),
        [&old, &new].map(|t| zstd(t, 3, "sized checked")),
        [&old, &new].map(|t| zstd(t, 1, "stream")),
        [&old, &new].map(|t| zip(&[("text", t), ("lib", ELF[0])], 0)),
        [&old, &new].map(|t| zip(&[("text", t), ("lib", ELF[1])], 8)),
    ];
    for [old, new] in good {
        let plain = diff(&old, &new);
        assert_eq!(header(&plain).method, Method::Packed);
        for at in (0..80)
            .chain((0..new.len()).step_by(997))
            .chain(new.len().saturating_sub(40)..new.len())
            .step_by(3)
        {
            let mut lying = new.clone();
            let Some(byte) = lying.get_mut(at) else { continue };
            *byte = !*byte;
            diff(&old, &lying);
            if at % 5 == 0 {
                diff(&lying, &new);
            }
        }
        for cut in [1, 3, new.len() / 2, new.len() - 13] {
            diff(&old, &new[..new.len() - cut]);
        }
        diff(&old, &[&new[..], b"and more"].concat());
        diff(&old, &[&new[..], &old[..], &new[..]].concat());
    }
    // Encrypted members are none that anything could read.
    diff(&zip(&[("text", &old)], 1), &zip(&[("text", &new)], 1));
    let mut huge = xz(&new, single(6, 1 << 16, false, Check::Crc32));
    // A dictionary of 4 GiB less one, with the sum of its header made right.
    let at = 12 + huge[12..24].iter().position(|&b| b == 0x21).unwrap() + 2;
    huge[at] = 40;
    let sum = crc32fast::hash(&huge[12..20]).to_le_bytes();
    huge[20..24].copy_from_slice(&sum);
    diff(&huge, &new);
    diff(&new, &huge);
}

#[test]
fn altered_patches_are_errors() {
    let [old, new] = texts(6000);
    let pairs = [
        [&old, &new].map(|t| xz(t, single(6, 1 << 16, true, Check::Crc64))),
        [&old, &new].map(|t| lz4(t, 9)),
        [&old, &new].map(|t| zstd(t, 3, "sized checked")),
        [&old, &new].map(|t| zstd(t, 3, "workers")),
        [&old, &new].map(|t| {
            zip(
                &[("text", t), ("lib", if t == &old { ELF[0] } else { ELF[1] })],
                0,
            )
        }),
    ];
    let limits = Limits::new().memory(64 << 20).output(1 << 20).scratch(1 << 20);
    for [old, new] in pairs {
        let patch = diff(&old, &new);
        for at in 0..patch.len() {
            let mut altered = patch.clone();
            altered[at] ^= 1 << (at % 8);
            if let Ok(made) = apply(&old, &altered, &limits) {
                assert!(made == new, "byte {at}");
            }
            if at % 7 == 0 {
                assert!(apply(&old, &patch[..at], &limits).is_err(), "cut at {at}");
            }
        }
    }
}

/// What each encoder makes of a fixed text: patches name them by version, so a change of a library that writes
/// otherwise must take another name.
#[test]
fn encoders_write_what_their_names_promise() {
    let text = [&words(400_000, 7)[..], ELF[0], ELF[1]].concat();
    let mut all = Sha256::new();
    for preset in 0..10 {
        for extreme in [0, 1 << 31] {
            all.update(xz(&text, single(preset | extreme, 1 << 20, true, Check::Crc32)));
        }
    }
    let liblzma = hex(all);
    let mut all = Sha256::new();
    for level in 3..=12 {
        all.update(packed_by(&Codec::Lz4 { blocks: 1, level }, &text));
    }
    let lz4 = hex(all);
    let mut all = Sha256::new();
    for style in Style::all().filter(|style| !style.writer.is_frozen()) {
        all.update(packed_by(&Codec::deflate(Trailer::None, style), &text));
    }
    let zlib_rs = hex(all);
    let mut all = Sha256::new();
    for level in 1..=19 {
        for (feed, told) in [
            (ZstdFeed::Stream, false),
            (ZstdFeed::Whole, true),
            (ZstdFeed::Worker, false),
        ] {
            let effort = ZstdEffort {
                level,
                feed,
                checked: true,
                size: text.len() as u64,
                told,
                window: None,
                long: level == 9,
            };
            all.update(packed_by(&Codec::Zstd { window: 0, effort }, &text));
        }
    }
    assert_eq!(
        [&liblzma[..], &lz4, &zlib_rs, &hex(all)],
        [LIBLZMA, LZ4, ZLIB_RS, LIBZSTD]
    );
}

fn hex(sum: Sha256) -> String {
    sum.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

const LIBLZMA: &str = "1773b8a0310659c88a9311869f6bc0739d6732bcb48297ff2fbb78a694cd5045";
const LIBZSTD: &str = "86cbe9167dd58341387ad31bb71af0c0040fb7a3b9872fd0edc815bd372e52ef";
const ZLIB_RS: &str = "0688a634b6db000fcb3bc1ded2c4fda4ead08c4cf5b02ea6774bf06e6a314f53";
const LZ4: &str = "cde4dc2f02ee739f724d361b62293a616662a1d3fff56b07c57f66a6920a202c";
