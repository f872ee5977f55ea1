//! `FORMAT-models.md` lists the symbols of each grammar as the source declares them.
//!
//! Where they differ the test leaves the new list in a file, and says where: whoever changes a declaration copies it.

use std::{fmt::Write, fs, path::Path, path::PathBuf};

const HEAD: &str = "\
# Models of the elfdelta patch format

Printed from the declarations in the source (`delta/tests/models.rs`), which are what the coder runs; do not edit.
FORMAT.md says what models, symbols and contexts are.

Contexts are written as in the source, in 32 bits: `hash(seed, part)` as FORMAT.md defines it, `two(s, a, b)` is
`hash(hash(s, a), b)`, `u32::from(yes or no)` is 1 or 0, `x as u32` cuts to 32 bits, `x.min(y)` is the lower one;
`<<` binds closer than `&`, that closer than `^`, and that closer than `|`. A model has 2^bits counters.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// All source files of a language, by name.
fn sources(folder: &Path, language: &str, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        match path.is_dir() {
            true => sources(&path, language, found),
            false if path.extension().is_some_and(|e| e == language) => found.push(path),
            false => {}
        }
    }
}

/// The text between an opening bracket at the start of `text` and the one that closes it.
fn bracketed(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return &text[1..at];
        }
    }
    panic!("a bracket is not closed: {text}");
}

/// A text without comments, and the comments for readers among them.
fn without_comments(text: &str) -> (String, String) {
    let (mut code, mut about) = (String::new(), String::new());
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("///") {
            Some(comment) => about.push_str(comment),
            None => write!(code, "{line} ").unwrap(),
        }
    }
    (code.trim().into(), about.trim().into())
}

/// The parts between commas that stand in no bracket.
fn parts(list: &str) -> Vec<String> {
    let (mut depth, mut all) = (0, vec![String::new()]);
    for c in list.chars() {
        depth += match c {
            '(' | '[' => 1,
            ')' | ']' => -1,
            _ => 0,
        };
        if c == ',' && depth == 0 {
            all.push(String::new());
        } else {
            all.last_mut().unwrap().push(c);
        }
    }
    let all = all
        .iter()
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    all.filter(|part| !part.is_empty()).collect()
}

/// The declarations of a model's symbols.
fn symbols(body: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in body.lines() {
        writeln!(all.last_mut().unwrap(), "{line}").unwrap();
        if line.ends_with(';') && !line.trim_start().starts_with("///") {
            all.push(String::new());
        }
    }
    all.retain(|symbol| !symbol.trim().is_empty());
    all
}

/// A text in lines of at most 116 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if String::len(line) + word.len() < 116 => *line = format!("{line} {word}"),
            _ => lines.push(word.into()),
        }
    }
    lines
}

/// A kind with the value of the constant that its width names, if it names one of the file's.
fn with_value(kind: &str, file: &str) -> String {
    let width = kind.strip_prefix("tree(").and_then(|rest| rest.strip_suffix(')'));
    let begun = width.map(|name| format!("\nconst {name}: u32 = "));
    let found = begun.and_then(|begun| file.split_once(&begun)?.1.split_once(';'));
    found.map_or(kind.into(), |(value, _)| format!("tree({value})"))
}

/// Prints one `symbols!` block of a file.
fn table(block: &str, file: &str, out: &mut String) {
    let head = block
        .lines()
        .take_while(|line| line.trim().is_empty() || line.trim().starts_with("///"));
    let (_, title) = without_comments(&head.collect::<Vec<_>>().join("\n"));
    writeln!(out, "{}\n", wrapped(&title).join("\n")).unwrap();
    let mut models = bracketed(&block[block.find('{').unwrap()..]);
    while let Some(open) = models.find('{') {
        let (head, _) = without_comments(&models[..open]);
        let (model, size) = head.split_once('(').unwrap();
        let (bits, limit) = size.trim_end_matches(')').split_once(',').unwrap();
        let body = bracketed(&models[open..]);
        models = &models[open + body.len() + 2..];
        for symbol in symbols(body) {
            let (code, about) = without_comments(&symbol);
            let (name, rest) = code.split_once(':').unwrap();
            let (kind, rest) = rest.split_once(" by").unwrap();
            let arguments = bracketed(rest);
            let contexts = parts(bracketed(rest[arguments.len() + 2..].trim_start()));
            let limit = limit.trim();
            let bits = match bits.split_once(" or ") {
                None => format!("2^{bits} counters"),
                Some((bits, fewer)) => format!("2^{bits} counters (2^{fewer} of a small model)"),
            };
            let kind = with_value(kind.trim(), file);
            writeln!(out, "- **{name}**: {kind}; model {model}, {bits}, limit {limit}").unwrap();
            for line in wrapped(&about) {
                writeln!(out, "  {line}").unwrap();
            }
            for context in contexts {
                writeln!(out, "  1. `{context}`").unwrap();
            }
        }
    }
    out.push('\n');
}

/// The document, from the source.
fn printed() -> String {
    let (root, mut files, mut out) = (root(), Vec::new(), HEAD.to_string());
    sources(&root.join("src"), "rs", &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root.join("src")).unwrap().display().to_string();
        let mut begun = false;
        let mut begin = |out: &mut String| {
            if !std::mem::replace(&mut begun, true) {
                writeln!(out, "\n## {name}").unwrap();
            }
        };
        for (at, _) in text.match_indices("\nsymbols! {") {
            begin(&mut out);
            table(bracketed(&text[at + "\nsymbols! ".len()..]), &text, &mut out);
        }
        for (at, mark) in text.match_indices("// symbols: ") {
            begin(&mut out);
            let block = &text[at + mark.len()..];
            let (title, block) = block.split_once('\n').unwrap();
            let block = &block[..block.find("// end").expect("a list of contexts ends")];
            let indent = block.len() - block.trim_start_matches(' ').len();
            writeln!(out, "{title}\n\n```rust").unwrap();
            for line in block.lines().filter(|line| !line.trim().is_empty()) {
                writeln!(out, "{}", line.get(indent..).unwrap_or(line.trim_start())).unwrap();
            }
            writeln!(out, "```\n").unwrap();
        }
    }
    out
}

/// A grammar that made its models by hand would not be in the list.
#[test]
fn all_models_are_declared() {
    let (root, mut files) = (root().join("src"), Vec::new());
    sources(&root, "rs", &mut files);
    for path in files.iter().filter(|path| !path.starts_with(root.join("code"))) {
        let text = fs::read_to_string(path).unwrap();
        for (k, line) in text.lines().enumerate() {
            let by_hand = line
                .match_indices("Model::new(")
                .any(|(at, _)| !line[..at].ends_with("Byte"));
            assert!(!by_hand, "{}:{}: {line}", path.display(), k + 1);
        }
    }
}

#[test]
fn the_list_is_what_the_source_declares() {
    let (committed, printed) = (root().join("FORMAT-models.md"), printed());
    if fs::read_to_string(&committed).unwrap_or_default() != printed {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("FORMAT-models.md");
        fs::write(&fresh, &printed).unwrap();
        panic!(
            "symbols were changed: cp {} {}",
            fresh.display(),
            committed.display()
        );
    }
}

/// The decoder in Python finds models by the name of the file that declares them.
#[test]
fn the_second_decoder_names_files_that_declare_symbols() {
    let list = fs::read_to_string(root().join("FORMAT-models.md")).unwrap();
    let (mut files, mut named) = (Vec::new(), 0);
    sources(&root().join("tests/decoder"), "py", &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for file in text
            .split('"')
            .filter(|word| word.ends_with(".rs") && !word.contains('{'))
        {
            let there = list.contains(&format!("\n## {file}\n"));
            assert!(there, "{}: {file} declares no symbols", path.display());
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
}
