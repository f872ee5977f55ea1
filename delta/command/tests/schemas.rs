//! What `elfdelta` prints as JSON, held to the schemas in `docs/schemas`.

#[path = "schemas/hold.rs"]
mod hold;

use std::{fs, path::Path, process::Command};

const ELFDELTA: &str = env!("CARGO_BIN_EXE_elfdelta");

#[test]
fn what_is_printed_as_json_is_as_its_schema_says() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut schemas = hold::Schemas::of("elfdelta");
    let mut run = |words: &str, args: &[&str]| {
        let output = Command::new(ELFDELTA)
            .args([words, "--json"])
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{words} {args:?}: {output:?}");
        schemas.check(words, &output.stdout);
    };
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/elf");
    let text = b"a line of text that is told as it is\n".repeat(400);
    let packed = |seed: u8| {
        let mut lines = text.clone();
        lines.extend(
            (0..2000).flat_map(|i: u32| format!("{} of {seed}\n", i.wrapping_mul(2654435761)).into_bytes()),
        );
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut packer, &lines).unwrap();
        packer.finish().unwrap()
    };
    let read = |name: &str| fs::read(seeds.join(name)).unwrap();
    let pairs = [
        ("elf", read("tiny-1"), read("tiny-2")),
        ("text", text.clone(), [&text[..], b"and more"].concat()),
        ("packed", packed(1), packed(2)),
        ("fresh", Vec::new(), b"nothing like it was there".to_vec()),
    ];
    for (name, old, new) in pairs {
        let [old_name, new_name, patch, out] = ["old", "new", "p", "out"].map(|end| format!("{name}.{end}"));
        fs::write(folder.path().join(&old_name), old).unwrap();
        fs::write(folder.path().join(&new_name), &new).unwrap();
        run("diff", &[&old_name, &new_name, "-o", &patch]);
        run("inspect", &[&patch]);
        run("inspect", &[&patch, &old_name]);
        run("apply", &[&old_name, &patch, "-o", &out]);
        assert_eq!(fs::read(folder.path().join(out)).unwrap(), new);
        run("diff", &[&old_name, &new_name, "-fo", &patch, "--memory", "40M"]);
    }
    schemas.end(&[]);
}
