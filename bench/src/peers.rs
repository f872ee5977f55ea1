//! The command lines of engines that are not linked into the bench.

use crate::{
    child,
    engine::{Paths, Plan, arg},
    measure::Step,
    tools::Tools,
};
use std::path::Path;

fn step(argv: &[&str]) -> Step {
    Step {
        argv: argv.iter().map(|a| a.to_string()).collect(),
        ..Step::default()
    }
}

fn into(file: &Path, argv: &[&str]) -> Step {
    Step {
        stdout: Some(file.into()),
        ..step(argv)
    }
}

pub fn xz_whole(paths: &Paths) -> Plan {
    let (new, out, patch) = (arg(&paths.new), &paths.out, paths.file("patch"));
    Plan {
        diff: vec![into(&patch, &["xz", "-9e", "-T1", "-k", "-c", &new])],
        forms: vec![(
            patch.clone(),
            vec![into(out, &["xz", "-dc", "--format=xz", &arg(&patch)])],
        )],
    }
}

pub fn bsdiff(paths: &Paths) -> Plan {
    let (old, new, out, file) = (
        arg(&paths.old),
        arg(&paths.new),
        arg(&paths.out),
        paths.file("patch"),
    );
    let patch = arg(&file);
    Plan {
        diff: vec![step(&["bsdiff", &old, &new, &patch])],
        forms: vec![(file, vec![step(&["bspatch", &old, &out, &patch])])],
    }
}

pub fn xdelta3(paths: &Paths) -> Plan {
    let (old, new, out, file) = (
        arg(&paths.old),
        arg(&paths.new),
        arg(&paths.out),
        paths.file("patch"),
    );
    let (patch, window) = (arg(&file), "1073741824");
    Plan {
        diff: vec![step(&[
            "xdelta3", "-e", "-f", "-9", "-S", "lzma", "-B", window, "-s", &old, &new, &patch,
        ])],
        forms: vec![(
            file,
            vec![step(&[
                "xdelta3", "-d", "-f", "-B", window, "-s", &old, &patch, &out,
            ])],
        )],
    }
}

pub fn zstd_patch_from(paths: &Paths) -> Plan {
    let (new, out, file) = (arg(&paths.new), arg(&paths.out), paths.file("patch"));
    let (patch, from) = (arg(&file), format!("--patch-from={}", arg(&paths.old)));
    Plan {
        diff: vec![step(&[
            "zstd",
            "-q",
            "-f",
            "--ultra",
            "-22",
            "--long=31",
            &from,
            &new,
            "-o",
            &patch,
        ])],
        forms: vec![(
            file,
            vec![step(&[
                "zstd",
                "-q",
                "-f",
                "-d",
                "--long=31",
                &from,
                &patch,
                "-o",
                &out,
            ])],
        )],
    }
}

const HDIFF: &str = "
import sys, hdiffpatch
old, new, patch = sys.argv[1:]
delta = hdiffpatch.diff(open(old, 'rb').read(), open(new, 'rb').read(), hdiffpatch.COMPRESSION_LZMA2, validate=False)
open(patch, 'wb').write(delta)
";

const HPATCH: &str = "
import sys, hdiffpatch
old, patch, out = sys.argv[1:]
open(out, 'wb').write(hdiffpatch.apply(open(old, 'rb').read(), open(patch, 'rb').read()))
";

pub fn hdiffpatch(tools: &Tools, paths: &Paths) -> Plan {
    let (old, new, out, file) = (
        arg(&paths.old),
        arg(&paths.new),
        arg(&paths.out),
        paths.file("patch"),
    );
    let (python, patch) = (arg(&tools.hdiffpatch_python()), arg(&file));
    Plan {
        diff: vec![step(&[&python, "-c", HDIFF, &old, &new, &patch])],
        forms: vec![(file, vec![step(&[&python, "-c", HPATCH, &old, &patch, &out])])],
    }
}

pub fn zucchini(tools: &Tools, paths: &Paths) -> Plan {
    let (raw, back, xz, brotli) = (
        paths.file("raw"),
        paths.file("back"),
        paths.file("patch.xz"),
        paths.file("patch.br"),
    );
    let free = |step: Step| Step { free: true, ..step };
    let apply = child::zucchini_apply(paths, &back);
    let mut plan = Plan {
        diff: vec![
            child::zucchini_diff(paths, &raw),
            into(&xz, &["xz", "-9e", "-T1", "-k", "-c", &arg(&raw)]),
        ],
        forms: vec![(
            xz.clone(),
            vec![free(into(&back, &["xz", "-dc", &arg(&xz)])), apply.clone()],
        )],
    };
    if tools.lacks("brotli").is_none() {
        let pack = into(&brotli, &["brotli", "-q", "11", "-w", "24", "-c", &arg(&raw)]);
        let unpack = into(&back, &["brotli", "-dc", &arg(&brotli)]);
        plan.diff.push(free(pack));
        plan.forms.push((brotli, vec![free(unpack), apply]));
    }
    plan
}
