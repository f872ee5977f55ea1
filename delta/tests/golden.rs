//! Patches that were made once and must decode for ever, from the first published version of the format on.
//!
//! While the format is version 0, whoever changes it makes them anew:
//! `cargo test -p elfdelta --test golden -- --ignored`

#[path = "golden/refused.rs"]
mod refused;

use elfdelta::packed::deflate::{Style, Writer};
use elfdelta::packed::{Codec, Trailer};
use elfdelta::{Method, Options, Patch, Profile, Silent};
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use sha2::{Digest, Sha256};
use std::{fs, io::Read, path::PathBuf, process::Command};

fn text(len: usize, mut state: u64) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b"etaoinshrdlucmfwypvbgkqjxz .,;!?"[(state >> 59) as usize]
    };
    std::iter::repeat_with(next).take(len).collect()
}

struct Golden {
    name: String,
    old: Vec<u8>,
    new: Vec<u8>,
    options: Options<'static>,
}

fn golden() -> Vec<Golden> {
    let old = text(5000, 1);
    let mut new = old.clone();
    new[700] = b'#';
    new.splice(2000..2010, text(90, 2));
    new.extend_from_slice(&old[1000..1500]);
    let other = text(700, 9);
    let longer = [&text(20_000, 1)[..], &other].concat();
    let noise = noise(5000);
    let words: Vec<u32> = (0..5000).map(|i| i * 37 % 3001 + 70_000).collect();
    let moved = words.iter().map(|&w| if w > 71_000 { w + 0x34 } else { w });
    let moved: Vec<u8> = moved.flat_map(u32::to_le_bytes).collect();
    let words: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let plain = Options::default();
    let fast = Options::default().profile(Profile::Fast);
    let segments = Options::default().segments(3);
    let mut all = Vec::new();
    let mut add = |name: &str, old: &[u8], new: &[u8], options| {
        all.push(Golden {
            name: name.into(),
            old: old.into(),
            new: new.into(),
            options,
        });
    };
    add("edited", &old, &new, plain);
    add("edited-fast", &old, &new, fast);
    add("same", &old, &old, plain);
    add("other", &old, &other, plain);
    add("empty-old", &[], &other, plain);
    add("empty-new", &other, &[], plain);
    add("words", &words, &moved, plain);
    add("words-fast", &words, &moved, fast);
    add("noise", &old, &[&old[..], &noise, &noise[..900]].concat(), plain);
    let gnu = Style::default();
    add("gzip", &gzip(&text(20_000, 1), gnu), &gzip(&longer, gnu), plain);
    let node = Style::new(Writer::Chromium, 9);
    add("node", &gzip(&text(20_000, 1), node), &gzip(&longer, node), plain);
    let rust = Style::new(Writer::ZlibRsCopied, 6);
    add(
        "rust-gzip",
        &gzip(&text(20_000, 1), rust),
        &gzip(&longer, rust),
        plain,
    );
    // All but the first are packed in scratch space.
    for (name, preset) in [("xz", 3), ("xz-scratch", 6)] {
        let xz = |text: &[u8]| xz(text, preset, &mut Filters::new());
        add(name, &xz(&text(20_000, 1)), &xz(&longer), plain);
    }
    let calls = |text: &[u8]| {
        let calls: Vec<u8> = text.chunks(3).flat_map(|to| [to, b"\xeb"].concat()).collect();
        xz(&calls, 6, Filters::new().arm())
    };
    add("xz-arm", &calls(&text(20_000, 1)), &calls(&longer), plain);
    add("lz4", &lz4(&text(20_000, 1)), &lz4(&longer), plain);
    let zstd = |text: &[u8]| zstd::bulk::compress(text, 3).unwrap();
    add("zstd", &zstd(&text(20_000, 1)), &zstd(&longer), plain);
    for kind in [
        "elf/tiny",
        "kinds/cxx",
        "kinds/rust",
        "kinds/go",
        "kinds/arm64",
        "kinds/arm",
        "kinds/thumb",
        "kinds/riscv",
        "kinds/ppc64",
        "kinds/loong64",
        "kinds/mips64",
        "kinds/z",
        "kinds/object",
        "kinds/module",
        "kinds/go-apart",
        "kinds/go-pie",
        "kinds/unwind",
        "kinds/names",
        "kinds/frames",
        "kinds/linked",
        "kinds/types",
        "kinds/split",
        "kinds/btf",
        "kinds/orc",
    ] {
        let [old, new] = [1, 2].map(|n| fs::read(seeds.join(format!("{kind}-{n}"))).unwrap());
        let name = kind.split('/').next_back().unwrap();
        add(name, &old, &new, plain);
        add(&format!("{name}-fast"), &old, &new, fast);
        add(&format!("{name}-segments"), &old, &new, segments);
    }
    // Programs behind each other, with something between: a group, whose models go on from one to the next.
    let kinds = [
        "elf/tiny",
        "kinds/cxx",
        "kinds/rust",
        "kinds/arm64",
        "kinds/arm",
        "kinds/thumb",
        "kinds/riscv",
        "kinds/ppc64",
        "kinds/go",
        "kinds/types",
        "kinds/split",
        "kinds/split",
    ];
    let [old, new] = [1, 2].map(|n| {
        let file = |kind: &str| fs::read(seeds.join(format!("{kind}-{n}"))).unwrap();
        kinds.map(|kind| [text(512, 7), file(kind)].concat()).concat()
    });
    add("group", &old, &new, plain);
    add("group-fast", &old, &new, fast);
    let objects = |n| fs::read(seeds.join(format!("kinds/object-{n}"))).unwrap();
    let [old, new] =
        [1, 2].map(|n| [archive(&objects(n), "/", 4), archive(&objects(n), "/SYM64/", 8)].concat());
    add("archive", &old, &new, plain);
    // Code that nothing explains, so much of it that old and new code are looked up for what follows.
    let seed = |name: &str| fs::read(seeds.join(name)).unwrap();
    add("strangers", &seed("elf/tiny-1"), &seed("kinds/go-2"), plain);
    add("strangers-code", &seed("kinds/cxx-1"), &seed("kinds/go-2"), plain);
    all
}

/// Bytes that nothing foresees.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// An archive of `ar`: some texts and an object, behind the list of the places of their symbols.
fn archive(object: &[u8], name: &str, word: usize) -> Vec<u8> {
    let member = |name: &str, bytes: &[u8]| {
        let head = format!("{name:<16}{:<32}{:<10}`\n", 0, bytes.len()).into_bytes();
        let pad = &b"\n"[..bytes.len() % 2];
        [&head, bytes, pad].concat()
    };
    let members = [&text(301, 3)[..], object, &text(500, 4)].map(|bytes| member("member.o/", bytes));
    let mut list = vec![90u64];
    let mut at = 8 + 60 + 91 * word as u64;
    for member in &members {
        list.extend([at; 30]);
        at += member.len() as u64;
    }
    let list: Vec<_> = list
        .iter()
        .flat_map(|n| n.to_be_bytes()[8 - word..].to_vec())
        .collect();
    [b"!<arch>\n", &member(name, &list)[..], &members.concat()].concat()
}

/// A gzip file of that style.
fn gzip(text: &[u8], style: Style) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
    let mut encoder = Codec::deflate(Trailer::Gzip, style).encoder().unwrap();
    encoder.push(text, &mut file).unwrap();
    encoder.finish(&mut file).unwrap();
    file
}

/// A file of one block; presets up to 3 have dictionaries up to 4 MiB.
fn xz(text: &[u8], preset: u32, filters: &mut Filters) -> Vec<u8> {
    let mut file = Vec::new();
    filters.lzma2(&LzmaOptions::new_preset(preset).unwrap());
    let stream = Stream::new_stream_encoder(filters, Check::Crc64).unwrap();
    let mut encoder = liblzma::read::XzEncoder::new_stream(text, stream);
    encoder.read_to_end(&mut file).unwrap();
    file
}

/// A legacy frame.
fn lz4(text: &[u8]) -> Vec<u8> {
    let mut file = vec![0x02, 0x21, 0x4c, 0x18];
    let mut encoder = Codec::Lz4 { blocks: 1, level: 9 }.encoder().unwrap();
    encoder.push(text, &mut file).unwrap();
    encoder.finish(&mut file).unwrap();
    file
}

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("{name}.eldp"))
}

/// The committed file: the id, made from the lines below it, then the digest of every golden patch.
fn format_id() -> String {
    let hex = |bytes: &[u8]| -> String {
        let digest = Sha256::digest(bytes);
        digest.iter().map(|b| format!("{b:02x}")).collect()
    };
    let line = |g: Golden| format!("{} {}\n", hex(&fs::read(path(&g.name)).unwrap()), g.name);
    let lines: String = golden().into_iter().map(line).collect();
    format!("{}-{}\n{lines}", elfdelta::VERSION, &hex(lines.as_bytes())[..16])
}

fn id_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-id")
}

#[test]
fn golden_patches_decode() {
    for Golden { name, old, new, .. } in golden() {
        let bytes = fs::read(path(&name)).unwrap();
        let patch = Patch::parse(&bytes).unwrap();
        let packed = PACKED.contains(&name.as_str()) || name.starts_with("group");
        assert_eq!(patch.header().method == Method::Packed, packed, "{name}");
        let mut made = Vec::new();
        patch
            .applier()
            .apply(&old, &mut made)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(made == new, "{name}");
    }
}

/// Other golden patches mean another format: sites and farms tell by the id that what they kept is of no use.
#[test]
fn the_format_id_is_that_of_the_golden_patches() {
    let committed = fs::read_to_string(id_path()).unwrap();
    assert_eq!(
        committed,
        format_id(),
        "make the golden patches and the id anew, as said above"
    );
    assert_eq!(Some(elfdelta::FORMAT_ID), committed.lines().next());
}

/// What the decoder in Python exits with where encoders of this machine write otherwise than those that are named; it
/// leaves the inside of the new file then.
const NOT_CLOSED: i32 = 8;

/// Golden patches of packed files.
const PACKED: [&str; 9] = [
    "gzip",
    "node",
    "rust-gzip",
    "xz",
    "xz-scratch",
    "xz-arm",
    "lz4",
    "zstd",
    "archive",
];

/// The decoder in Python.
struct Second {
    folder: tempfile::TempDir,
}

/// None where what it needs is not installed.
fn decoder() -> Option<Second> {
    let missing = |tool: &&&str| Command::new(tool).arg("--version").output().is_err();
    if let Some(missing) = ["python3", "zstd"].iter().find(missing) {
        eprintln!("skipped: {missing} is not installed");
        return None;
    }
    let folder = tempfile::TempDir::new().unwrap();
    Some(Second { folder })
}

impl Second {
    /// Its exit code, the new file, and what it says.
    fn run(&mut self, old: &[u8], patch: &[u8]) -> (Option<i32>, Vec<u8>, String) {
        let at = |name: &str| self.folder.path().join(name);
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/decoder/decode");
        fs::write(at("old"), old).unwrap();
        fs::write(at("patch"), patch).unwrap();
        fs::write(at("new"), []).unwrap();
        let output = Command::new("python3")
            .args(["-B".as_ref(), script.as_os_str()])
            .args(["old", "patch", "new"].map(at))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), fs::read(at("new")).unwrap(), told)
    }
}

/// The decoder in Python is made from the documents alone: where the two differ, one of them is wrong.
#[test]
fn the_second_decoder_agrees() {
    let Some(mut second) = decoder() else { return };
    let other = text(700, 9);
    for Golden { name, old, new, .. } in golden() {
        let (code, made, told) = second.run(&old, &fs::read(path(&name)).unwrap());
        if code == Some(NOT_CLOSED) && PACKED.contains(&name.as_str()) {
            eprintln!("{name} was not closed: {told}");
            assert!(made.windows(other.len()).any(|piece| piece == other), "{name}");
            continue;
        }
        assert_eq!(code, Some(0), "{name}: {told}");
        assert!(made == new, "{name}");
    }
}

#[test]
#[ignore = "makes the golden patches and the format's id anew"]
fn make_golden_patches() {
    for Golden {
        name,
        old,
        new,
        options,
    } in golden()
    {
        let delta = elfdelta::diff(&old, &new, &options.models(), &Silent).unwrap();
        fs::write(path(&name), delta.bytes).unwrap();
    }
    fs::write(id_path(), format_id()).unwrap();
}
