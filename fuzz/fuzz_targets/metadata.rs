//! Signed files of a repository, changed and signed again, or not: refused, or believed, and never is an older root.
#![no_main]

mod farm;
mod repository;

use elfup::trust::{State, refresh, target};
use libfuzzer_sys::fuzz_target;
use repository::Repository;
use serde_json::Value;

/// Lines of an input that are heeded.
const LINES: usize = 64;

/// The version of the root that is believed.
fn version(state: &State) -> u64 {
    let (_, root) = state.files()[0];
    let root: Value = serde_json::from_str(root).expect("it was parsed before");
    root["signed"]["version"].as_u64().expect("it was read before")
}

// An input is lines of words. From now on: `set ROLE POINTER JSON` has a value, `drop ROLE POINTER` has none,
// `sign ROLE KEY...` has these keys sign; `raw ROLE BYTES`, `gone ROLE` and `portal ROLE` stand in place of its file;
// `good ROLE` ends all that. `root` publishes the root as it is, `trust N` begins with root N, `refresh` and
// `find PATH` are what a site does, which begins with the first root. `farm ROLE PLACE BYTE` is a site of its own, at
// what the farm's signer makes.
fuzz_target!(|data: &[u8]| {
    let _ = State::from_root(data);
    let mut repository = Repository::new();
    let mut state = None;
    for line in data.split(|b| *b == b'\n').take(LINES) {
        let mut words = line
            .splitn(4, |b| *b == b' ')
            .map(|w| std::str::from_utf8(w).unwrap_or_default());
        let mut word = || words.next().unwrap_or_default();
        let (what, role, pointer, value) = (word(), word(), word(), word());
        match what {
            "set" => {
                if let Ok(value) = serde_json::from_str(value) {
                    repository.set(role, pointer, Some(value));
                }
            }
            "drop" => repository.set(role, pointer, None),
            "sign" => {
                let keys = [pointer, value].into_iter().flat_map(|words| words.split(' '));
                repository.signers(role, keys.filter_map(|n| n.parse().ok()).collect());
            }
            "raw" => repository.replace(role, line.get(what.len() + role.len() + 2..).unwrap_or_default()),
            "gone" => repository.remove(role),
            "portal" => repository.portal(role),
            "good" => repository.restore(role),
            "farm" => farm::visit(role, pointer.parse().ok(), value.parse().ok()),
            "root" => repository.publish_root(),
            "trust" => {
                let root = role.parse().ok().and_then(|n| repository.root(n));
                state = root.and_then(|root| State::from_root(root).ok());
            }
            "refresh" | "find" => {
                if repository.root(1).is_none() {
                    repository.publish_root();
                }
                repository.publish();
                if state.is_none() {
                    state = repository.root(1).and_then(|root| State::from_root(root).ok());
                }
                let Some(state) = &mut state else { continue };
                let before = version(state);
                let _ = match what {
                    "refresh" => refresh(state, &repository),
                    _ => target(state, role, &repository).map(drop),
                };
                assert!(version(state) >= before, "a root came back");
                let stored = serde_json::to_vec(state).expect("it can be stored");
                let again: State = serde_json::from_slice(&stored).expect("what was stored is read");
                assert_eq!(&again, state);
            }
            _ => {}
        }
    }
});
