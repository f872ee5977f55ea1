//! Notes: the small files of `state/`, each replaced whole and durably.

use crate::disk::{self, Sync};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file of lines is cut to half of this when it is longer: years of daily updates.
const LINES: u64 = 1 << 20;

/// One file of `state/`; PROTOCOL.md lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Last accepted metadata and high-water marks, in a format of its own.
    Trust,
    /// The channel file that was accepted last.
    Channel,
    /// The manifest of a release that was fetched and waits.
    Ready,
    /// A switch under way.
    Switch,
    /// A trial under way.
    Trial,
    /// Releases that failed their health check here.
    Bad,
    /// Releases that `gc` keeps.
    Pins,
    /// What was measured of links and machine.
    Measures,
    /// Digests of the files that may help.
    Seeds,
    /// That objects have their names of today.
    Objects,
    /// Bytes that came today over a link with a budget.
    Spent,
    /// The number under which the site reports.
    Number,
    /// Which `site.toml` and `site.json` say the same.
    Agreed,
    /// A line for each update, the newest ones.
    History,
}

impl Note {
    #[cfg(test)]
    const ALL: [Note; 14] = [
        Note::Trust,
        Note::Channel,
        Note::Ready,
        Note::Switch,
        Note::Trial,
        Note::Bad,
        Note::Pins,
        Note::Measures,
        Note::Seeds,
        Note::Objects,
        Note::Spent,
        Note::Number,
        Note::Agreed,
        Note::History,
    ];

    fn file(self) -> &'static str {
        match self {
            Note::Trust => "trust",
            Note::Channel => "channel",
            Note::Ready => "ready",
            Note::Switch => "switch",
            Note::Trial => "trial",
            Note::Bad => "bad.json",
            Note::Pins => "pins.json",
            Note::Measures => "measures.json",
            Note::Seeds => "seeds.json",
            Note::Objects => "objects",
            Note::Spent => "spent",
            Note::Number => "number",
            Note::Agreed => "agreed",
            Note::History => "history",
        }
    }
}

/// The files of `state/`.
pub(super) struct Notes {
    dir: PathBuf,
}

impl Notes {
    /// Those of a site.
    pub fn of(site: &Path) -> Notes {
        let dir = site.join("state");
        Notes { dir }
    }

    /// Where one is.
    pub fn path(&self, note: Note) -> PathBuf {
        self.dir.join(note.file())
    }

    /// What one says; `None` if there is none, or what cannot be read any more.
    pub fn read<T: DeserializeOwned>(&self, note: Note) -> Result<Option<T>> {
        let bytes = self.bytes(note, 16 << 20)?;
        Ok(bytes.and_then(|b| serde_json::from_slice(&b).ok()))
    }

    /// Its bytes, at most `limit`.
    pub fn bytes(&self, note: Note, limit: u64) -> Result<Option<Vec<u8>>> {
        disk::read(&self.path(note), limit)
    }

    /// Writes one as JSON.
    pub fn write(&self, note: Note, value: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|e| Error::io("encode state", std::io::Error::from(e)))?;
        bytes.push(b'\n');
        self.put(note, &bytes)
    }

    /// Writes one as it is.
    pub fn put(&self, note: Note, bytes: &[u8]) -> Result<()> {
        disk::replace(&self.path(note), bytes, 0o600, Sync::State)
    }

    /// Appends a line; losing it costs nothing but knowledge. Of many lines the newest stay.
    pub fn append(&self, note: Note, line: &serde_json::Value) -> Result<()> {
        let path = self.path(note);
        let mut line = serde_json::to_vec(line).unwrap_or_default();
        line.push(b'\n');
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LINES) {
            let kept = self.tail(note, LINES / 2)?;
            let whole = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.put(note, &kept[whole..])?;
        }
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let written = open.and_then(|mut f| f.write_all(&line));
        written.map_err(|e| Error::io(format!("write {}", path.display()), e))
    }

    /// The end of one, of so many bytes at most; the first line may be cut.
    pub fn tail(&self, note: Note, most: u64) -> Result<Vec<u8>> {
        let path = self.path(note);
        let read = || {
            let mut file = std::fs::File::open(&path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
            let mut bytes = Vec::new();
            file.take(most).read_to_end(&mut bytes).map(|_| bytes)
        };
        match read() {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|e| Error::io(format!("read {}", path.display()), e)),
        }
    }

    /// Removes one; the caller syncs where the removal must last.
    pub fn remove(&self, note: Note) -> Result<()> {
        disk::remove(&self.path(note))
    }

    /// Waits until removals last.
    pub fn sync(&self) -> Result<()> {
        disk::sync_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_the_newest_stay() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::of(dir.path());
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let line = |number: usize| serde_json::json!({"number": number, "text": "x".repeat(5000)});
        for number in 0..500 {
            notes.append(Note::History, &line(number)).unwrap();
            let length = std::fs::metadata(notes.path(Note::History)).unwrap().len();
            assert!(length <= LINES + 6000, "{length}");
        }
        let text = notes.bytes(Note::History, u64::MAX).unwrap().unwrap();
        let lines: Vec<serde_json::Value> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let first = 500 - lines.len();
        assert!(lines.len() >= 100, "{}", lines.len());
        for (at, found) in lines.iter().enumerate() {
            assert_eq!(*found, line(first + at));
        }
    }

    #[test]
    fn every_note_is_in_the_protocol() {
        let protocol = include_str!("../../PROTOCOL.md");
        for note in Note::ALL {
            let path = format!("state/{}", note.file());
            let told = protocol
                .split_whitespace()
                .any(|word| word.trim_matches('`') == path);
            assert!(told, "{path}");
        }
    }
}
