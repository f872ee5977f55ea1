//! Holds a program's commands to the names of the schemas in `docs/schemas`; shared by all programs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Holds that every command with `--json` has a schema, and every schema a command; `always` are those that print JSON
/// without being asked.
pub fn has_schemas(program: &str, command: &clap::Command, always: &[&str]) {
    let mut named: BTreeSet<String> = always.iter().map(|words| format!("{program}-{words}")).collect();
    named_below(command, program.into(), &mut named);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = here.ancestors().map(|above| above.join("docs/schemas"));
    let folder: PathBuf = folders.find(|folder| folder.is_dir()).unwrap();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let names = files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let ours: BTreeSet<String> = names
        .filter(|name| name.split('-').next() == Some(program))
        .collect();
    let without: Vec<_> = named.difference(&ours).collect();
    assert!(
        without.is_empty(),
        "commands that print JSON without a schema: {without:?}"
    );
    let gone: Vec<_> = ours.difference(&named).collect();
    assert!(
        gone.is_empty(),
        "schemas of commands that are not there: {gone:?}"
    );
}

fn named_below(command: &clap::Command, words: String, named: &mut BTreeSet<String>) {
    for below in command.get_subcommands() {
        named_below(below, format!("{words}-{}", below.get_name()), named);
    }
    if command
        .get_arguments()
        .any(|argument| argument.get_long() == Some("json"))
    {
        named.insert(words);
    }
}
