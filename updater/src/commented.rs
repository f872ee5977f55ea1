//! Configuration files for people: TOML in which every key stands with its meaning, also those that are not set.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::Path;
use toml_edit::{Array, Document, DocumentMut, InlineTable, Item, Value};

/// A key and what people should know of it.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it means, in lines without `#`.
    pub about: &'static str,
    /// A value to show where there is no default, as TOML.
    pub example: &'static str,
}

/// The values of a structure by key; what is not set is left out.
pub fn values(of: &impl Serialize) -> Result<BTreeMap<String, Value>> {
    let encoded =
        serde_json::to_value(of).map_err(|e| Error::io("encode configuration", std::io::Error::from(e)))?;
    let serde_json::Value::Object(all) = encoded else {
        return Ok(BTreeMap::new());
    };
    Ok(all
        .iter()
        .filter_map(|(k, v)| Some((k.clone(), value(v)?)))
        .collect())
}

/// TOML has no numbers above 2^63; as bounds they mean the same.
fn value(json: &serde_json::Value) -> Option<Value> {
    Some(match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(b) => (*b).into(),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => n.into(),
            (_, Some(n)) if !json.is_u64() => n.into(),
            _ => i64::MAX.into(),
        },
        serde_json::Value::String(s) => s.into(),
        serde_json::Value::Array(all) => all.iter().filter_map(value).collect::<Array>().into(),
        serde_json::Value::Object(all) => {
            let pairs = all.iter().filter_map(|(k, v)| Some((k.as_str(), value(v)?)));
            pairs.collect::<InlineTable>().into()
        }
    })
}

/// A new file: what differs from the defaults is set, everything else stands behind `#`.
pub fn write(
    head: &str,
    keys: &[Key],
    set: &BTreeMap<String, Value>,
    defaults: &BTreeMap<String, Value>,
) -> String {
    let mut text: String = head.lines().map(|line| format!("# {line}\n")).collect();
    for key in keys {
        text.push('\n');
        text.extend(key.about.lines().map(|line| format!("# {line}\n")));
        let default = defaults.get(key.name);
        let line = match set.get(key.name) {
            Some(value) if !default.is_some_and(|d| same(d, value)) => {
                format!("{} = {}\n", key.name, shown(value))
            }
            _ => {
                let default = default.map(shown).unwrap_or_else(|| key.example.to_owned());
                format!("# {} = {default}\n", key.name)
            }
        };
        text += &line;
    }
    text
}

/// Whether two values are the same, however they are written.
pub fn same(a: &Value, b: &Value) -> bool {
    shown(a) == shown(b)
}

fn shown(value: &Value) -> String {
    let mut plain = value.clone();
    plain.decor_mut().clear();
    plain.to_string().trim().to_owned()
}

/// Reads a file; what is wrong in it is told by name and line, and never with a value, which may be secret.
pub fn read<T: DeserializeOwned>(text: &str, file: &Path) -> Result<T> {
    toml_edit::de::from_str(text).map_err(|e| {
        let line = e
            .span()
            .map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
        let line = line.map_or(String::new(), |n| format!(", line {n}"));
        Error::Usage(format!("{}{line}: {}", file.display(), why(e.message())))
    })
}

fn why(message: &str) -> String {
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    if let Some((unknown, known)) = message
        .strip_prefix("unknown field ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        let (unknown, known) = (quoted(unknown).concat(), quoted(known));
        let like = |k: &String| strsim::jaro_winkler(k, &unknown);
        let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let hint = match nearest.filter(|k| like(k) > 0.8) {
            Some(name) => format!("is `{name}` meant?"),
            None => format!("there are {}", known.join(", ")),
        };
        return format!("unknown key `{unknown}`; {hint}");
    }
    for wrong in ["invalid type: string ", "invalid value: string "] {
        if let Some((_, wanted)) = message
            .strip_prefix(wrong)
            .and_then(|m| m.rsplit_once(", expected "))
        {
            return format!("a text stands there, and {wanted} is wanted");
        }
    }
    message.replace('\n', ", ")
}

/// Sets or takes back a key in a file and leaves everything else as it stands, remarks above all.
pub fn change(text: &str, name: &str, to: Option<&Value>) -> String {
    let changed = match to {
        Some(value) => set(text, name, value),
        None => comment_out(text, name),
    };
    changed.unwrap_or_else(|| text.to_owned())
}

fn set(text: &str, name: &str, value: &Value) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let line = format!("{name} = {}", shown(value));
    let Some(item) = document.get_mut(name) else {
        if let Some(uncommented) = uncomment(text, name, &line) {
            return Some(uncommented);
        }
        document.insert(name, Item::Value(value.clone()));
        return Some(document.to_string());
    };
    let mut new = value.clone();
    match &*item {
        // What stands behind it on the line stays.
        Item::Value(old) => *new.decor_mut() = old.decor().clone(),
        // A table with a header of its own: what stands above that stays.
        Item::Table(old) => {
            let above = old.decor().prefix().cloned();
            *item = Item::Value(new);
            if let (Some(mut key), Some(above)) = (document.key_mut(name), above) {
                key.leaf_decor_mut().set_prefix(above);
            }
            return Some(document.to_string());
        }
        _ => {}
    }
    *item = Item::Value(new);
    Some(document.to_string())
}

/// Puts a line in the place of the one that shows the key behind `#`.
fn uncomment(text: &str, name: &str, line: &str) -> Option<String> {
    let is_it = |l: &&str| {
        let key = l
            .strip_prefix('#')
            .map(str::trim_start)
            .and_then(|l| l.strip_prefix(name));
        key.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let old = text.split_inclusive('\n').find(is_it)?;
    let at = old.as_ptr() as usize - text.as_ptr() as usize;
    let new = format!("{}{line}\n{}", &text[..at], &text[at + old.len()..]);
    // Below the header of a table it would be another key.
    new.parse::<DocumentMut>().ok()?.get(name)?;
    Some(new)
}

fn comment_out(text: &str, name: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let (key, item) = document.as_table().get_key_value(name)?;
    if let (Some(key), Some(value)) = (key.span(), item.as_value().and_then(Value::span)) {
        let begin = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[value.end..]
            .find('\n')
            .map_or(text.len(), |at| value.end + at);
        let lines: Vec<String> = text[begin..end].lines().map(|line| format!("# {line}")).collect();
        let new = format!("{}{}{}", &text[..begin], lines.join("\n"), &text[end..]);
        if new.parse::<DocumentMut>().is_ok_and(|d| d.get(name).is_none()) {
            return Some(new);
        }
    }
    let mut document = document.into_mut();
    document.remove(name);
    Some(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# head\n\n# What it is.\nname = \"a\"  # mine\n\n# How many.\n# many = 3\n\n# List.\nlist = [\n  \"x\", # one\n]\n\n# Deep.\n[deep]\n# inside\nkey = 1\n";

    #[test]
    fn what_is_changed_leaves_remarks_as_they_are() {
        let set =
            |name: &str, json: &str| change(TEXT, name, value(&serde_json::from_str(json).unwrap()).as_ref());
        assert_eq!(set("name", "\"b\""), TEXT.replace("\"a\"", "\"b\""));
        assert_eq!(set("many", "4"), TEXT.replace("# many = 3", "many = 4"));
        assert_eq!(set("name", "null"), TEXT.replace("name =", "# name ="));
        let gone = set("list", "null");
        assert_eq!(
            gone,
            TEXT.replace("list = [\n  \"x\", # one\n]", "# list = [\n#   \"x\", # one\n# ]")
        );
        // Not shown anywhere, or in another form.
        for (name, json) in [("new", "[1, 2]"), ("deep", "{\"key\": 2}"), ("list", "[\"y\"]")] {
            let text = set(name, json);
            let found: BTreeMap<String, serde_json::Value> = toml_edit::de::from_str(&text).unwrap();
            assert_eq!(
                found[name],
                serde_json::from_str::<serde_json::Value>(json).unwrap(),
                "{text}"
            );
            assert!(
                text.contains("# What it is.") && text.contains("# Deep.") && text.contains("# mine"),
                "{text}"
            );
        }
        let gone = set("deep", "null");
        assert!(!gone.contains("[deep]") && gone.contains("# many = 3"), "{gone}");
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Small {
        #[serde(rename = "sources")]
        _sources: Vec<String>,
        #[serde(rename = "memory")]
        _memory: u64,
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_without_values() {
        let told = |text: &str| match read::<Small>(text, Path::new("f.toml")) {
            Err(Error::Usage(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            told("\nsorces = []"),
            "f.toml, line 2: unknown key `sorces`; is `sources` meant?"
        );
        assert_eq!(
            told("zzz = 1"),
            "f.toml, line 1: unknown key `zzz`; there are sources, memory"
        );
        let secret = told("memory = 1\nsources = \"http://me:s3cret@host\"");
        assert!(
            secret.starts_with("f.toml, line 2: a text stands there, and ") && !secret.contains("s3cret"),
            "{secret}"
        );
        assert!(told("sources = [").starts_with("f.toml, line 1: "));
        assert!(told("memory = -1\nsources = []").contains("line 1"));
    }
}
