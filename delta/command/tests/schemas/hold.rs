//! Holds what commands print as JSON to the schemas in `docs/schemas`; shared by the tests of all programs.

use jsonschema::Validator;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The schemas of one program, by the words of its commands.
pub struct Schemas {
    by_words: BTreeMap<String, Validator>,
    seen: BTreeSet<String>,
}

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = here.ancestors().map(|above| above.join("docs/schemas"));
    found.into_iter().find(|folder| folder.is_dir()).unwrap()
}

impl Schemas {
    /// Reads them, and holds them to what every schema here is: of the draft it names, told key by key, and closed.
    pub fn of(program: &str) -> Schemas {
        let mut by_words = BTreeMap::new();
        for entry in fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let Some(words) = name.strip_prefix(program).and_then(|rest| rest.strip_prefix('-')) else {
                continue;
            };
            let schema: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
            closed(name, &schema);
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            by_words.insert(words.replace('-', " "), validator);
        }
        assert!(!by_words.is_empty());
        Schemas {
            by_words,
            seen: BTreeSet::new(),
        }
    }

    /// Holds a command's output to its schema, and the schema to the output: it must not fit any more once a key is
    /// added to one of its objects, or taken from it.
    pub fn check(&mut self, words: &str, output: &[u8]) {
        let told = String::from_utf8_lossy(output);
        let value: Value = serde_json::from_slice(output).unwrap_or_else(|e| panic!("{words}: {e}: {told}"));
        let validator = self
            .by_words
            .get(words)
            .unwrap_or_else(|| panic!("no schema of {words}"));
        let wrong: Vec<String> = validator
            .iter_errors(&value)
            .map(|e| format!("{} at {}", e, e.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{words}: {wrong:#?}: {told}");
        for changed in changes(&value) {
            assert!(!validator.is_valid(&changed), "{words} also fits {changed}");
        }
        self.seen.insert(words.to_owned());
    }

    #[allow(dead_code, reason = "some tests hold a part of a program's commands alone")]
    /// Holds that a program's every schema had an output, but for those that a test says it cannot have.
    pub fn end(self, but: &[&str]) {
        let unseen = self.by_words.keys().filter(|words| !self.seen.contains(*words));
        let unseen: Vec<&str> = unseen.map(String::as_str).collect();
        assert_eq!(unseen, but, "schemas that no output was held to");
    }
}

/// Objects of a schema say what each of their keys is, need all of them and allow no other.
fn closed(name: &str, schema: &Value) {
    match schema {
        Value::Object(keys) => {
            if let Some(properties) = keys.get("properties").and_then(Value::as_object) {
                assert_eq!(
                    keys.get("additionalProperties"),
                    Some(&Value::Bool(false)),
                    "{name}: {schema}"
                );
                let required = keys.get("required").and_then(Value::as_array).unwrap();
                let required: BTreeSet<&str> = required.iter().filter_map(Value::as_str).collect();
                assert_eq!(
                    required,
                    properties.keys().map(String::as_str).collect(),
                    "{name}"
                );
                for (key, about) in properties {
                    assert!(
                        about["description"].is_string(),
                        "{name}: {key} says nothing of itself"
                    );
                }
            }
            keys.values().for_each(|inner| closed(name, inner));
        }
        Value::Array(all) => all.iter().for_each(|inner| closed(name, inner)),
        _ => {}
    }
}

/// The value with a key more, and with one less, in the first object of each place; rows of a list are one place.
fn changes(value: &Value) -> Vec<Value> {
    let mut places = BTreeMap::new();
    objects(value, String::new(), String::new(), &mut places);
    let mut changed = Vec::new();
    for pointer in places.values() {
        let object = value.pointer(pointer).and_then(Value::as_object).unwrap();
        let mut with = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
            let mut copy = value.clone();
            change(copy.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap());
            changed.push(copy);
        };
        with(&|object| drop(object.insert("surprise".into(), Value::Null)));
        for key in object.keys() {
            with(&|object| drop(object.remove(key)));
        }
    }
    changed
}

fn objects(value: &Value, place: String, pointer: String, places: &mut BTreeMap<String, String>) {
    let inner: Vec<(String, String, &Value)> = match value {
        Value::Object(keys) => {
            places.entry(place.clone()).or_insert_with(|| pointer.clone());
            let inner = keys.iter().map(|(key, inner)| (key.clone(), key.clone(), inner));
            inner.collect()
        }
        Value::Array(all) => {
            let inner = all
                .iter()
                .enumerate()
                .map(|(i, inner)| ("-".into(), i.to_string(), inner));
            inner.collect()
        }
        _ => Vec::new(),
    };
    for (step, at, inner) in inner {
        objects(
            inner,
            format!("{place}/{step}"),
            format!("{pointer}/{at}"),
            places,
        );
    }
}
