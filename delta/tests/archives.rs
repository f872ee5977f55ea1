//! Archives as programs write them: what is in them is opened and told as what it is, wherever and however it stands.

use elfdelta::container::Method;
use elfdelta::packed::deflate::{Style, Writer};
use elfdelta::packed::{Codec, Trailer};
use elfdelta::{Limits, Options, Patch, Scratch, ScratchFile, Silent};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Both versions of three programs, and of a text.
fn files(version: usize) -> Vec<(&'static str, Vec<u8>)> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    let seed = |name: &str| fs::read(seeds.join(format!("{name}-{version}"))).unwrap();
    let mut text = String::new();
    for line in 0..3000u32 {
        let changed = version == 2 && line % 500 == 0;
        text += &format!(
            "{} of {}{}\n",
            line * line % 977,
            line,
            if changed { ", or so" } else { "" }
        );
    }
    vec![
        ("usr/bin/shapes", seed("cxx")),
        ("usr/lib/plain.so", seed("arm64")),
        ("usr/lib/names.so", seed("rust")),
        ("usr/share/text", text.into_bytes()),
    ]
}

/// The second version, in another folder and another order, one file under another name.
fn moved() -> Vec<(&'static str, Vec<u8>)> {
    let names = [
        "usr/bin/figures",
        "opt/lib/plain.so",
        "opt/lib/names.so",
        "opt/share/text",
    ];
    let mut files: Vec<_> = names.into_iter().zip(files(2).into_iter().map(|f| f.1)).collect();
    files.reverse();
    files
}

/// What a shell makes of the files, in a folder `tree` and in the order of the list `order`.
fn made(files: &[(&str, Vec<u8>)], command: &str) -> Option<Vec<u8>> {
    let folder = TempDir::new().unwrap();
    let mut order = Vec::new();
    for (name, bytes) in files {
        let path = folder.path().join("tree").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        writeln!(order, "{name}").unwrap();
    }
    fs::write(folder.path().join("order"), order).unwrap();
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(&folder)
        .output()
        .unwrap();
    if !done.status.success() {
        println!("skipped: {command}: {}", String::from_utf8_lossy(&done.stderr));
        return None;
    }
    Some(fs::read(folder.path().join("out")).unwrap())
}

fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    let delta = elfdelta::diff(old, new, &Options::default(), &Silent).unwrap();
    let mut back = Vec::new();
    let patch = Patch::parse(&delta.bytes).unwrap();
    patch
        .applier()
        .limits(Limits::new())
        .scratch(&Folder)
        .apply(&old, &mut back)
        .unwrap();
    assert_eq!(back, new);
    delta.bytes
}

/// Scratch space in the folder for temporary files.
struct Folder;

impl Scratch for Folder {
    fn file(&self) -> std::io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(tempfile::tempfile()?))
    }
}

const TAR: &str = "tar -C tree --no-recursion --mtime=@1 --owner=0 --group=0 --numeric-owner -T order -c";
/// Each way of packing: the archive's name, and how it is made.
const WAYS: [(&str, &str); 7] = [
    ("tar", "TAR > out"),
    ("tar.gz", "TAR | gzip -n > out"),
    ("tgz of level 9", "TAR | gzip -9n > out"),
    ("tar.xz", "TAR | xz > out"),
    (
        "deb",
        "TAR | xz > data.tar.xz; echo 2.0 > debian-binary; (echo Package: shapes; date -u -d @1) > control; \
         tar --mtime=@1 --owner=0 --group=0 -c control | xz > control.tar.xz; \
         ar rcD out debian-binary control.tar.xz data.tar.xz",
    ),
    (
        "apk",
        "echo pkgname = shapes > .PKGINFO; (tar --mtime=@1 --owner=0 --group=0 -c .PKGINFO | gzip -n; TAR | gzip -n) > out",
    ),
    (
        "jar",
        "cd tree; python3 -c 'import sys, zipfile\n\
         with zipfile.ZipFile(\"../out\", \"w\", zipfile.ZIP_DEFLATED) as archive:\n\
         \x20for name in open(\"../order\").read().split():\n\
         \x20 archive.writestr(zipfile.ZipInfo(name), open(name, \"rb\").read(), zipfile.ZIP_DEFLATED)'",
    ),
];

fn packed(way: &str, files: &[(&str, Vec<u8>)]) -> Option<Vec<u8>> {
    made(files, &way.replace("TAR", TAR))
}

/// What the patches of the files take one by one.
fn loose() -> usize {
    let pairs = files(1).into_iter().zip(files(2));
    pairs.map(|((_, old), (_, new))| diff(&old, &new).len()).sum()
}

/// The text and the programs of every archive are told as they would be without it, moved and renamed too.
#[test]
fn what_is_in_an_archive_costs_what_it_costs_loose() {
    let loose = loose();
    for (name, way) in WAYS {
        let [old, new, moved] = [files(1), files(2), moved()].map(|files| packed(way, &files));
        let (Some(old), Some(new), Some(moved)) = (old, new, moved) else {
            continue;
        };
        for (what, new) in [("in place", new), ("moved", moved)] {
            let patch = diff(&old, &new);
            println!("{name}, {what}: {} of {}; loose {loose}", patch.len(), new.len());
            assert_eq!(
                Patch::parse(&patch).unwrap().header().method,
                Method::Packed,
                "{name}"
            );
            assert!(patch.len() < loose, "{name}, {what}: {} bytes", patch.len());
        }
    }
}

/// A base is found in an archive of another kind, and loose.
#[test]
fn a_codec_may_change() {
    let loose = loose();
    let all: Vec<_> = WAYS
        .iter()
        .filter_map(|(_, way)| packed(way, &files(1)))
        .collect();
    let Some(new) = packed(WAYS[1].1, &files(2)) else {
        return;
    };
    for old in all {
        let patch = diff(&old, &new);
        assert!(patch.len() < loose, "{} bytes", patch.len());
    }
}

/// An archive of cpio, as the kernel takes its first files, one after another.
#[test]
fn initial_files_of_a_kernel_are_opened() {
    let cpio = |files: Vec<(&str, Vec<u8>)>| {
        let mut out = Vec::new();
        let pad = |out: &mut Vec<u8>| out.resize(out.len().next_multiple_of(4), 0);
        for (name, bytes) in files
            .iter()
            .map(|(n, b)| (*n, &b[..]))
            .chain([("TRAILER!!!", &b""[..])])
        {
            let numbers = [
                1,
                0o100_644,
                0,
                0,
                1,
                1,
                bytes.len(),
                0,
                0,
                0,
                0,
                name.len() + 1,
                0,
            ];
            out.extend(b"070701");
            numbers.iter().for_each(|n| write!(out, "{n:08X}").unwrap());
            out.extend(name.as_bytes());
            out.push(0);
            pad(&mut out);
            out.extend(bytes);
            pad(&mut out);
        }
        out
    };
    let loose = loose();
    let early = cpio(vec![("early", b"microcode".repeat(40))]);
    let [old, new] = [files(1), moved()].map(|files| {
        let main = made(&[("cpio", cpio(files))], "gzip -nc tree/cpio > out").unwrap();
        [&early[..], &main].concat()
    });
    let patch = diff(&old, &new);
    assert!(patch.len() < loose, "{} bytes; loose {loose}", patch.len());
}

/// An archive of `ar` with the list of the places of its symbols, seven of each member; each fourth text is longer in the
/// second version.
fn listed(version: usize, list: bool) -> Vec<u8> {
    let member = |name: &str, bytes: &[u8]| {
        let head = format!("{name:<16}{:<32}{:<10}`\n", 0, bytes.len());
        [head.as_bytes(), bytes, &b"\n"[..bytes.len() % 2]].concat()
    };
    let text = |n: usize| {
        let more = if version == 2 && n % 4 == 1 { n % 23 + 1 } else { 0 };
        let lines = (0..7 + n * n % 5).map(|line| format!("{} of {n}\n", line * line * n % 977));
        lines
            .chain((0..more).map(|line| format!("and {line}\n")))
            .collect::<String>()
    };
    let members: Vec<_> = (0..400)
        .map(|n| member("member.o/", text(n).as_bytes()))
        .collect();
    let mut at = if list {
        8 + 60 + 4 * (1 + 7 * members.len())
    } else {
        8
    };
    let mut places = vec![7 * members.len() as u32];
    for member in &members {
        places.extend([at as u32; 7]);
        at += member.len();
    }
    let places: Vec<_> = places.into_iter().flat_map(u32::to_be_bytes).collect();
    let places = if list { member("/", &places) } else { Vec::new() };
    [b"!<arch>\n", &places[..], &members.concat()].concat()
}

/// A member that grows moves all behind it, and costs little more than without the list of where they are.
#[test]
fn the_places_of_an_archive_follow_its_members() {
    let [with, without] = [true, false].map(|list| diff(&listed(1, list), &listed(2, list)).len());
    println!("{with} bytes, {without} without the list");
    assert!(with < without + 400, "{with} bytes, {without} without the list");
}

/// An archive of objects, in that order; in the second version a function of some took more code.
fn objects(order: &[u32], version: u32) -> Option<Vec<u8>> {
    let source = |&number: &u32| {
        let mut all = String::new();
        for n in number * 30..number * 30 + 30 {
            let more = if version == 2 && n % 40 == 7 {
                "x ^= x >> 3; x *= 77;"
            } else {
                ""
            };
            all += &format!(
                "extern long other_{number}(long); long function_{n}(long x) {{ x = other_{number}(x * {n}); {more} \
                 return x % {} + {n}; }}\n",
                n * 7 + 3,
            );
        }
        (format!("a_name_of_some_length_{number}.c"), all.into_bytes())
    };
    let files: Vec<_> = order.iter().map(source).collect();
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&name[..], text.clone()))
        .collect();
    let command = "cd tree; for name in $(cat ../order); do cc -O1 -w -c $name; done; ar rcD ../out $(sed s/c$/o/ ../order)";
    made(&files, command)
}

/// Members are told by those of their name, wherever they stand now.
#[test]
fn members_are_known_by_name() {
    let order: Vec<u32> = (0..12).collect();
    let other: Vec<u32> = (0..12).map(|n| n * 7 % 12).collect();
    let all = || Some([objects(&order, 1)?, objects(&order, 2)?, objects(&other, 2)?]);
    let Some([old, new, moved]) = all() else { return };
    let (there, moved) = (diff(&old, &new).len(), diff(&old, &moved).len());
    println!("{there} bytes, {moved} in another order");
    assert!(moved < 2 * there + 200, "{there} bytes, {moved} in another order");
}

/// Two versions of a program's debug file, its sections packed in a way; `None` where there are no tools for it.
fn debug_files(way: &str) -> Option<[Vec<u8>; 2]> {
    let source = |version: usize| {
        let mut text = String::from("#include <stdio.h>\n");
        for n in 0..150 {
            let more = if version == 2 && n % 30 == 7 {
                "int more = a * 7; a += more;"
            } else {
                ""
            };
            text += &format!(
                "struct s{n} {{ int first; char name[{n} + 1]; struct s{n} *next; }};\n\
                 int f{n}(struct s{n} *s, int a) {{ {more} for (int i = 0; i < {n}; i++) a += s->first * i; return a; }}\n"
            );
        }
        text.into_bytes()
    };
    let command =
        format!("gcc -g -O1 -c -x c tree/source -o all.o && objcopy --only-keep-debug {way} all.o out");
    let made = |version| made(&[("source", source(version))], &command);
    Some([made(1)?, made(2)?])
}

/// Debug files are opened section by section, in an archive, too; what packs them writes what zlib or libzstd does.
#[test]
fn packed_sections_of_debug_files_are_opened() {
    let Some([old, new]) = debug_files("") else { return };
    let plain = diff(&old, &new).len();
    for kind in ["zlib", "zlib-gnu", "zlib-gabi", "zstd"] {
        let Some([old, new]) = debug_files(&format!("--compress-debug-sections={kind}")) else {
            continue;
        };
        let loose = diff(&old, &new);
        let method = Patch::parse(&loose).unwrap().header().method;
        // Another version of libzstd writes other bytes.
        if kind == "zstd" && method != Method::Packed {
            continue;
        }
        assert_eq!(method, Method::Packed, "{kind}");
        assert!(
            loose.len() < plain + 1500,
            "{kind}: {} bytes, plain {plain}",
            loose.len()
        );
        let [old, new] = [old, new].map(|file| vec![("usr/lib/debug/all.debug", file)]);
        let Some((old, new)) = packed(WAYS[1].1, &old).zip(packed(WAYS[1].1, &new)) else {
            continue;
        };
        let within = diff(&old, &new).len();
        assert!(
            within < loose.len() + 300,
            "{kind}: {within} bytes, loose {}",
            loose.len()
        );
    }
}

/// An image of squashfs of one file, in blocks of 4 KiB.
fn image(file: &[u8]) -> Vec<u8> {
    let mut all = vec![0; 96];
    all[..4].copy_from_slice(b"hsqs");
    all[20] = 1;
    all[22] = 12;
    all[28] = 4;
    for block in file.chunks(4096) {
        let style = Style::new(Writer::Zlib, 9);
        let mut encoder = Codec::deflate(Trailer::Zlib, style).encoder().unwrap();
        all.extend([0x78, 0xda]);
        encoder.push(block, &mut all).unwrap();
        encoder.finish(&mut all).unwrap();
    }
    let used = all.len() as u64;
    all[40..48].copy_from_slice(&used.to_le_bytes());
    all
}

/// Blocks of squashfs are opened, behind a program, as in an AppImage, too.
#[test]
fn blocks_of_squashfs_are_opened() {
    let [old, new] = [files(1), files(2)].map(|mut files| files.remove(3).1);
    let loose = diff(&old, &new).len();
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds/rust-1");
    let runtime = fs::read(seed).unwrap();
    for front in [&[][..], &runtime] {
        let [old, new] = [&old, &new].map(|file| [front, &image(file)[..], b"padding"].concat());
        let patch = diff(&old, &new);
        assert_eq!(Patch::parse(&patch).unwrap().header().method, Method::Packed);
        assert!(patch.len() < loose + 400, "{} bytes, loose {loose}", patch.len());
        // Images that lie go a plainer way.
        for at in (front.len()..front.len() + 100).chain([new.len() - 9, new.len() / 2 + front.len() / 2]) {
            let mut lying = new.clone();
            lying[at] ^= 0x55;
            diff(&old, &lying);
            diff(&lying, &new);
        }
        diff(&old, &new[..new.len() - 300]);
    }
}

/// What mksquashfs writes is closed again: of gzip and xz, which it packs by libraries that have not changed.
#[test]
fn images_as_programs_write_them_are_closed_again() {
    let alone = |number: usize| {
        let [old, new] = [1, 2].map(|version| files(version).remove(number).1);
        diff(&old, &new).len()
    };
    let loose: usize = (0..4).map(alone).sum();
    for packs in ["gzip", "xz"] {
        let command = format!(
            "mksquashfs tree out -comp {packs} -noappend -quiet -no-progress -mkfs-time 1 -all-time 1 -all-root"
        );
        let Some((old, new)) = made(&files(1), &command).zip(made(&files(2), &command)) else {
            continue;
        };
        let patch = diff(&old, &new);
        assert_eq!(Patch::parse(&patch).unwrap().header().method, Method::Packed);
        assert!(
            patch.len() < loose + 600,
            "{packs}: {} bytes, loose {loose}",
            patch.len()
        );
    }
}
