//! Two files say how a site is configured, one for people and one for programs; here they are brought together.
//!
//! A note says which of them agreed last. The file that was changed since is what counts, `site.toml` if both were,
//! and `site.toml` is always written first: whatever is cut off, the next command comes to the same values.

use super::config::{Config, LIMIT};
use super::notes::{Note, Notes};
use crate::disk::{self, Sync};
use crate::{Digest, Error, Result};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file for people.
pub const TOML: &str = "site.toml";
/// The file for programs.
pub const JSON: &str = "site.json";

/// Digests of two files that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Agreed {
    toml: Digest,
    json: Digest,
}

/// Fails where there is no site.
pub fn exists(dir: &Path) -> Result<()> {
    match [TOML, JSON].iter().any(|name| dir.join(name).exists()) {
        true => Ok(()),
        false => Err(Error::NotFound(format!("a site in {}", dir.display()))),
    }
}

/// Writes both files of a new site.
pub(super) fn create(dir: &Path, config: &Config, notes: &Notes) -> Result<()> {
    let text = config.to_toml()?;
    let path = dir.join(TOML);
    match disk::read(&path, LIMIT)? {
        Some(there) if there != text.as_bytes() => {
            let shown = path.display();
            return Err(Error::Usage(format!(
                "{shown} is there and says something else: remove it, or use the site as it is"
            )));
        }
        _ => {}
    }
    let pair = Pair { dir, notes };
    pair.write_toml(&text)?;
    pair.write_json(&text, config)
}

/// Reads what counts and brings the other file to it. Also what people should be told; a full disk only keeps the files
/// as they are, as the commands that make room have to work on it.
pub(super) fn read(dir: &Path, notes: &Notes) -> Result<(Config, Vec<String>)> {
    let pair = Pair { dir, notes };
    let mut told = Vec::new();
    let (config, written) = pair.read(&mut told)?;
    match written {
        Err(Error::Io { what, source }) if is_full(source.kind()) => {
            told.push(format!(
                "the configuration is not written anew yet: {what}: {source}"
            ));
        }
        written => written?,
    }
    Ok((config, told))
}

fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Both files of a site.
#[derive(Clone, Copy)]
struct Pair<'a> {
    dir: &'a Path,
    notes: &'a Notes,
}

impl Pair<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write_toml(&self, text: &str) -> Result<()> {
        disk::replace(&self.path(TOML), text.as_bytes(), 0o600, Sync::State)
    }

    /// Writes the file for programs behind that for people, and notes that they agree.
    fn write_json(&self, text: &str, config: &Config) -> Result<()> {
        let json = config.to_json()?;
        disk::replace(&self.path(JSON), &json, 0o600, Sync::State)?;
        self.agree(text.as_bytes(), &json)
    }

    fn agree(&self, toml: &[u8], json: &[u8]) -> Result<()> {
        let [toml, json] = [toml, json].map(Digest::of);
        self.notes.write(Note::Agreed, &Agreed { toml, json })
    }

    /// What counts, and how bringing the files together went.
    fn read(&self, told: &mut Vec<String>) -> Result<(Config, Result<()>)> {
        let bytes = |name: &str| disk::read(&self.path(name), LIMIT);
        let (Some(toml), json) = (bytes(TOML)?, bytes(JSON)?) else {
            // A site of an older elfup, or one whose file for people was removed.
            let text = Config::load(&self.path(JSON))?.to_toml()?;
            let config = Config::of_people(&text, &self.path(TOML))?;
            let written = self
                .write_toml(&text)
                .and_then(|()| self.write_json(&text, &config));
            tracing::info!("site.toml is made of site.json");
            return Ok((config, written));
        };
        let text = String::from_utf8(toml);
        let text = text.map_err(|_| Error::Usage(format!("{} is no text", self.path(TOML).display())))?;
        let people = || Config::of_people(&text, &self.path(TOML));
        let Some(json) = json else {
            let config = people()?;
            let written = self.write_json(&text, &config);
            return Ok((config, written));
        };
        let now = Agreed {
            toml: Digest::of(text.as_bytes()),
            json: Digest::of(&json),
        };
        let before: Option<Agreed> = self.notes.read(Note::Agreed)?;
        if before == Some(now) {
            return Ok((people()?, Ok(())));
        }
        if before.is_some_and(|before| before.toml == now.toml) {
            return self.by_program(text, &json);
        }
        let config = people()?;
        let program = Config::of_programs(&json, &self.path(JSON));
        if program.is_ok_and(|program| program == config) {
            return Ok((config, self.agree(text.as_bytes(), &json)));
        }
        if before.is_none_or(|before| before.json != now.json) {
            told.push("site.json said something else: site.toml is what counts".into());
        }
        tracing::info!("site.json is made of site.toml");
        let written = self.write_json(&text, &config);
        Ok((config, written))
    }

    /// Only the file for programs was changed: its values are set in the other one, where remarks stay.
    fn by_program(&self, text: String, json: &[u8]) -> Result<(Config, Result<()>)> {
        let config = Config::of_programs(json, &self.path(JSON))?;
        let path = self.path(TOML);
        let was = Config::of_people(&text, &path)?;
        let mut new = config.set_in(text.clone(), &was)?;
        if Config::of_people(&new, &path).ok().as_ref() != Some(&config) {
            // Written in a way that could not be edited: better without remarks than with other values.
            new = config.to_toml()?;
        }
        tracing::info!(
            changed = new != text,
            "site.json was changed, and site.toml follows"
        );
        let written = match new == text {
            true => Ok(()),
            false => self.write_toml(&new),
        };
        let written = written.and_then(|()| self.agree(new.as_bytes(), json));
        Ok((config, written))
    }
}
