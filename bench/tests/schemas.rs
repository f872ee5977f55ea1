//! What `bench` writes as JSON, held to the schemas in `docs/schemas`.

#[path = "../../delta/command/tests/schemas/hold.rs"]
mod hold;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const BENCH: &str = env!("CARGO_BIN_EXE_bench");

fn put(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn gzip(bytes: &[u8], at: PathBuf) {
    let (plain, packed) = (at.with_extension(""), at);
    put(plain.clone(), bytes);
    let done = Command::new("gzip").args(["-nf"]).arg(&plain).status();
    assert!(done.unwrap().success() && packed.is_file());
}

#[test]
fn what_is_written_as_json_is_as_its_schema_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/elf");
    for (side, seed) in [("old", "tiny-1"), ("new", "tiny-2")] {
        let text = format!("a line of a page\n{side}\n").repeat(300);
        put(path(side).join("page.txt"), &text);
        put(path(side).join("tiny"), fs::read(seeds.join(seed)).unwrap());
        gzip(text.as_bytes(), path("packed").join(format!("{side}.gz")));
    }
    put(path("new/fresh"), "nothing is like it");
    // Where the whole workspace was built, the program need not be built once more.
    let built = Path::new(BENCH).with_file_name("elfup");
    let elfup: Vec<&str> = match built.exists() {
        true => vec!["--elfup", built.to_str().unwrap()],
        false => Vec::new(),
    };
    let mut schemas = hold::Schemas::of("bench");
    let mut run = |words: &str, args: &[&str]| {
        let mut command = Command::new(BENCH);
        command.arg("--cache").arg(path("cache")).arg(words).args(args);
        command
            .args(["--json", "figures.json"])
            .current_dir(folder.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        schemas.check(words, &fs::read(path("figures.json")).unwrap());
    };
    run(
        "tree",
        &[
            &["old", "new", "--engines", "elfdelta", "--ways", "elfup,casync"],
            &elfup[..],
        ]
        .concat(),
    );
    run(
        "table",
        &["old", "new", "--engines", "elfdelta,xz-9e", "--runs", "2"],
    );
    run("table", &["old/tiny", "new/tiny", "--engines", "elfdelta"]);
    run("formats", &["packed"]);
    // Those that are kept.
    run("history", &[]);
    run("farm", &[&["old", "new"], &elfup[..]].concat());
    // Those that want a network, root or minutes are held to theirs where their rows are, `load` in its own test.
    schemas.end(&["fleet", "load", "place"]);
}
