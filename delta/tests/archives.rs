//! Archives as programs write them: what is in them is opened and told as what it is, wherever and however it stands.

use elfdelta::container::Method;
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
