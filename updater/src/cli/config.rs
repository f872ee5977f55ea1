//! `farm.toml`: what a farm's operator would say again with each command. What the command line says is stronger.

use super::Args;
use super::say::say;
use clap::{ArgMatches, Command, CommandFactory};
use elfup::commented::{self, Key};
use elfup::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml_edit::Value;

/// Names the file where no option does.
const VARIABLE: &str = "ELFUP_FARM";
/// Where it is looked for in the end.
const HERE: &str = "farm.toml";

/// What may stand in the file; each key is an option of commands of the farm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FarmConfig {
    repo: Option<String>,
    keys: Option<PathBuf>,
    offline: Vec<PathBuf>,
    product: Option<String>,
    channel: String,
    arch: String,
    last: u64,
    from: Vec<String>,
    every: u64,
    keep: u64,
    named: Vec<String>,
    config: Vec<String>,
    owner: Option<String>,
    mtime: Option<i64>,
    no_xattrs: bool,
    timestamp_days: u64,
    threads: u64,
    memory: u64,
    sample: u64,
}

impl Default for FarmConfig {
    fn default() -> FarmConfig {
        FarmConfig {
            repo: None,
            keys: None,
            offline: Vec::new(),
            product: None,
            channel: "stable".into(),
            arch: env::consts::ARCH.into(),
            last: 2,
            from: Vec::new(),
            every: 0,
            keep: 10,
            named: Vec::new(),
            config: Vec::new(),
            owner: None,
            mtime: None,
            no_xattrs: false,
            timestamp_days: 7,
            threads: 0,
            memory: 0,
            sample: 100,
        }
    }
}

const HEAD: &str = "\
The configuration of a farm. Its commands take from here what their command line does not say, from the file
that --farm names, else that of the variable ELFUP_FARM, else farm.toml in the current folder.
A key behind `#` has the value that is shown, or none where it says so. Folders are relative to this file.";

const fn key(name: &'static str, about: &'static str, example: &'static str) -> Key {
    Key { name, about, example }
}

const KEYS: [Key; 19] = [
    key(
        "repo",
        "Repository: a folder, or s3://BUCKET/PREFIX. Without it each command has to be told.",
        "\"repo\"",
    ),
    key(
        "keys",
        "Folder with the release, snapshot and timestamp keys. Without it each command has to be told.",
        "\"keys\"",
    ),
    key("offline", "Folders of offline keys, such as sticks.", ""),
    key(
        "product",
        "Product that is published. Without it each command has to be told.",
        "\"app\"",
    ),
    key("channel", "Its channel.", ""),
    key("arch", "Its architecture.", ""),
    key(
        "last",
        "Deltas are made from and to so many of the last releases.",
        "",
    ),
    key("from", "Releases from and to which deltas are made, too.", ""),
    key(
        "every",
        "Every K-th release is a checkpoint, in `publish` as in `farm gc`; 0: none is.",
        "",
    ),
    key("keep", "How many of the newest releases `farm gc` keeps.", ""),
    key("named", "Releases that `farm gc` keeps, too.", ""),
    key(
        "config",
        "Patterns of paths whose local changes sites keep, such as \"etc/**\".",
        "",
    ),
    key(
        "owner",
        "UID:GID that is recorded as owner of everything. Without it owners are those of the tree.",
        "\"0:0\"",
    ),
    key(
        "mtime",
        "One modification time for everything, seconds since 1970. Without it times are those of the tree.",
        "1700000000",
    ),
    key("no_xattrs", "Leave extended attributes out.", ""),
    key(
        "timestamp_days",
        "Days until a site that sees no newer timestamp calls itself stale.",
        "",
    ),
    key("threads", "Threads; 0: one a core.", ""),
    key(
        "memory",
        "MiB that files in work may need at once; 0: three quarters of the machine's.",
        "",
    ),
    key(
        "sample",
        "Percent of the files that `farm verify` reads, others each time.",
        "",
    ),
];

/// `elfup farm config`: a new file with all defaults.
pub fn print() -> Result<u8> {
    say!("{}", template()?.trim_end());
    Ok(0)
}

fn template() -> Result<String> {
    let defaults = commented::values(&FarmConfig::default())?;
    Ok(commented::write(HEAD, &KEYS, &BTreeMap::new(), &defaults))
}

/// Commands that a farm's operator gives.
const OF_FARM: [&str; 5] = ["farm", "keys", "publish", "repo", "stick"];
/// Options that are called like a key and are something else.
const OTHERS: [(&str, &str); 2] = [("export", "repo"), ("repair", "from")];

/// The arguments of this process, with what a farm's file says for what they leave open.
pub fn arguments() -> Result<ArgMatches> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let command = match named(&line) {
        Some(path) => with(Args::command(), &FarmConfig::load(&path)?.values()?),
        None => Args::command(),
    };
    Ok(command.get_matches_from(line))
}

/// The file, where a command of a farm is asked for and there is one.
fn named(line: &[OsString]) -> Option<PathBuf> {
    let (mut told, mut words) = (None, Vec::new());
    let mut rest = line.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = rest.next() {
        match word.strip_prefix("--farm") {
            Some("") => told = rest.next().map(PathBuf::from),
            Some(path) if path.starts_with('=') => told = Some(PathBuf::from(&path[1..])),
            _ if word == "--" => break,
            _ if !word.starts_with('-') => words.push(word),
            _ => {}
        }
    }
    let [first, second] = [0, 1].map(|at| words.get(at).copied().unwrap_or_default());
    if !OF_FARM.contains(&first) || (first, second) == ("farm", "config") {
        return None;
    }
    let variable = || env::var_os(VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
    let here = || Some(PathBuf::from(HERE)).filter(|p| p.exists());
    told.or_else(variable).or_else(here)
}

/// A command and its parts, in which options have these values unless they are given.
fn with(command: Command, values: &BTreeMap<String, Vec<&'static str>>) -> Command {
    let name = command.get_name().to_owned();
    let is_key = |id: &str| values.contains_key(id) && !OTHERS.contains(&(&name, id));
    let options: Vec<_> = command.get_arguments().map(|a| a.get_id().clone()).collect();
    let parts = parts(&command);
    let options = options.into_iter().filter(|id| is_key(id.as_str()));
    let command = options.fold(command, |command, id| {
        let set = values[id.as_str()].clone();
        command.mut_arg(id, |option| option.required(false).default_values(set))
    });
    parts.into_iter().fold(command, |command, part| {
        command.mut_subcommand(part, |c| with(c, values))
    })
}

/// The parts of a command that a farm's file speaks to.
fn parts(command: &Command) -> Vec<String> {
    let whole = command.get_name() == env!("CARGO_PKG_NAME");
    let all = command.get_subcommands().map(|part| part.get_name().to_owned());
    all.filter(|part| !whole || OF_FARM.contains(&part.as_str()))
        .collect()
}

impl FarmConfig {
    fn load(path: &Path) -> Result<FarmConfig> {
        let text =
            std::fs::read_to_string(path).map_err(|e| Error::io(format!("read {}", path.display()), e))?;
        let mut config: FarmConfig = commented::read(&text, path)?;
        let beside = |folder: &mut PathBuf| {
            if let Some(parent) = path.parent() {
                *folder = parent.join(&*folder);
            }
        };
        config.keys.iter_mut().chain(&mut config.offline).for_each(beside);
        if let Some(repo) = config.repo.as_mut().filter(|r| !r.starts_with("s3://")) {
            let mut folder = PathBuf::from(&*repo);
            beside(&mut folder);
            *repo = folder.to_string_lossy().into_owned();
        }
        Ok(config)
    }

    /// What is set, by option and as the command line would have it. It is wanted as long as the process lives.
    fn values(&self) -> Result<BTreeMap<String, Vec<&'static str>>> {
        let defaults = commented::values(&FarmConfig::default())?;
        let set = commented::values(self)?.into_iter();
        let set = set.filter(|(key, value)| !defaults.get(key).is_some_and(|d| commented::same(d, value)));
        let text = |value: &Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string().trim().to_owned(),
        };
        let words = |value: &Value| -> Vec<&'static str> {
            let all = value.as_array().map(|all| all.iter().map(text).collect());
            let all: Vec<String> = all.unwrap_or_else(|| vec![text(value)]);
            all.into_iter().map(|word| &*word.leak()).collect()
        };
        Ok(set.map(|(key, value)| (key, words(&value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::FromArgMatches;

    /// All options of commands of a farm, by name.
    fn options(command: &Command) -> Vec<(String, clap::Arg)> {
        let own = command
            .get_arguments()
            .map(|arg| (command.get_name().to_owned(), arg.clone()));
        let parts = parts(command);
        let parts = parts.iter().filter_map(|part| command.find_subcommand(part));
        own.chain(parts.flat_map(options)).collect()
    }

    #[test]
    fn every_key_is_an_option_with_the_same_default() {
        let defaults = commented::values(&FarmConfig::default()).unwrap();
        let mut command = Args::command();
        command.build();
        let all = options(&command);
        for key in &KEYS {
            let mut found = 0;
            for (command, option) in all.iter().filter(|(_, o)| o.get_id().as_str() == key.name) {
                if OTHERS.contains(&(command, key.name)) {
                    continue;
                }
                found += 1;
                let default = option
                    .get_default_values()
                    .iter()
                    .map(|v| v.to_str().unwrap().to_owned());
                let default: Vec<String> = default.collect();
                let ours = defaults.get(key.name).filter(|v| v.as_array().is_none());
                let ours: Vec<String> = ours
                    .map(|v| v.as_str().map_or(v.to_string(), str::to_owned))
                    .into_iter()
                    .collect();
                assert_eq!(default, ours, "{command} --{}", key.name);
            }
            assert!(found > 0, "{}", key.name);
            let page = include_str!("../../OPERATING.md");
            let section = page
                .split("\n## ")
                .find(|s| s.starts_with("What a farm is told once\n"))
                .unwrap();
            assert!(
                section.contains(&format!("\n| `{}` |", key.name)),
                "{} in OPERATING.md",
                key.name
            );
        }
        let of_json = serde_json::to_value(FarmConfig::default()).unwrap();
        assert_eq!(of_json.as_object().unwrap().len(), KEYS.len());
    }

    #[test]
    fn a_new_file_is_the_defaults_behind_a_sign_and_before_it() {
        let text = template().unwrap();
        let read = |text: &str| commented::read::<FarmConfig>(text, Path::new("farm.toml")).unwrap();
        assert_eq!(read(&text), FarmConfig::default());
        let defaults = commented::values(&FarmConfig::default()).unwrap();
        let uncommented = |all: bool| -> String {
            let lines = text.lines().map(|line| {
                let set = line.strip_prefix("# ").filter(|l| {
                    let key = l.split_once(" = ").map(|(key, _)| key);
                    key.is_some_and(|k| {
                        KEYS.iter().any(|key| key.name == k) && (all || defaults.contains_key(k))
                    })
                });
                format!("{}\n", set.unwrap_or(line))
            });
            lines.collect()
        };
        assert_eq!(read(&uncommented(false)), FarmConfig::default());
        assert_eq!(
            commented::values(&read(&uncommented(true))).unwrap().len(),
            KEYS.len()
        );
    }

    #[test]
    fn what_the_file_says_is_said_to_each_command_and_the_line_is_stronger() {
        let text = "repo = \"s3://b/c\"\nkeys = \"k\"\noffline = [\"x\", \"y\"]\nproduct = \"p\"\nfrom = [\"r0\"]\nlast = 5\nevery = 3\nkeep = 4\n\
                    config = [\"etc/**\", \"var/**\"]\nowner = \"0:0\"\nmtime = -1\nno_xattrs = true\nmemory = 7\nsample = 9";
        let config: FarmConfig = commented::read(text, Path::new("farm.toml")).unwrap();
        let command = with(Args::command(), &config.values().unwrap());
        command.clone().debug_assert();
        let parse = |line: &str| {
            let matches = command.clone().try_get_matches_from(line.split(' ')).unwrap();
            Args::from_arg_matches(&matches).unwrap();
            matches
        };
        let matches = parse("elfup publish --release 1 --last 1 --config a tree");
        let publish = matches.subcommand_matches("publish").unwrap();
        assert_eq!(publish.get_one::<usize>("last"), Some(&1));
        assert_eq!(publish.get_one::<u64>("every"), Some(&3));
        assert_eq!(
            publish.get_many::<String>("config").unwrap().collect::<Vec<_>>(),
            ["a"]
        );
        assert!(publish.get_flag("no_xattrs"));
        for line in [
            "farm gc",
            "farm verify",
            "farm plan --release 1 tree",
            "farm work --release 1",
            "farm stats",
            "farm report",
            "farm repair --from mirror",
            "keys rotate timestamp",
            "keys finish",
            "repo init",
            "repo refresh",
            "repo export repo stick",
            "stick prepare --follow p stick",
        ] {
            parse(&format!("elfup {line}"));
        }
        let repair = parse("elfup farm repair");
        let repair = repair
            .subcommand_matches("farm")
            .unwrap()
            .subcommand_matches("repair")
            .unwrap();
        assert!(
            repair.get_many::<String>("from").is_none(),
            "a mirror is no release"
        );
    }

    #[test]
    fn the_file_is_named_by_the_line_for_commands_of_a_farm() {
        let of = |line: &str| named(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let is = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of("elfup publish --farm a/f.toml --release 1 t"), is("a/f.toml"));
        assert_eq!(of("elfup -q --farm=f farm gc"), is("f"));
        assert_eq!(of("elfup --farm f farm config"), None);
        assert_eq!(of("elfup --farm f site update"), None);
    }
}
