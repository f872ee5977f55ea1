//! Credentials for private repositories: each belongs to one origin, and is sent nowhere else and never shown.

use crate::{Error, Result};
use base64::Engine;
use percent_encoding::percent_decode_str;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use ureq::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ureq::http::{Uri, uri::Authority};

/// Scheme, host and port: what a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Of an absolute http URL.
    pub fn of(uri: &Uri) -> Option<Origin> {
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let usual = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some(Origin {
            scheme,
            host: uri.host()?.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(usual),
        })
    }
}

/// Headers that go to one origin.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(Origin, HeaderName, HeaderValue)>);

/// Headers that the transfer itself makes.
const TAKEN: [&str; 7] = [
    "host",
    "range",
    "accept-encoding",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];
const LIMIT: u64 = 64 << 10;

impl Secrets {
    /// The headers for a request to this URL.
    pub fn headers(&self, uri: &Uri) -> Vec<(HeaderName, HeaderValue)> {
        let Some(origin) = Origin::of(uri) else {
            return Vec::new();
        };
        let mine = self.0.iter().filter(|(o, _, _)| *o == origin);
        mine.map(|(_, name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn has(&self, origin: &Origin) -> bool {
        self.0
            .iter()
            .any(|(o, name, _)| o == origin && name == AUTHORIZATION)
    }

    /// `user:password` before the host of a source; both may be percent-encoded.
    pub fn add_userinfo(&mut self, origin: &Origin, userinfo: &str) -> Result<()> {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let (user, password) = (decoded(user), decoded(password));
        self.0
            .push((origin.clone(), AUTHORIZATION, basic(&user, &password)?));
        Ok(())
    }

    /// Lines `Name: value`. Those below a line `[https://host]` go there, those above the first such line to `only`.
    pub fn add_header_file(&mut self, path: &Path, only: Option<&Origin>) -> Result<()> {
        let text = private(path)?;
        let wrong = |n: usize, why: &str| Error::Usage(format!("{}, line {}: {why}", path.display(), n + 1));
        let mut origin = only.cloned();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(url) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                let found = url.parse().ok().as_ref().and_then(Origin::of);
                origin = Some(found.ok_or_else(|| wrong(n, "not an address like [https://host]"))?);
                continue;
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| wrong(n, "not a header like `Name: value`"))?;
            let name: HeaderName = name.trim().parse().map_err(|_| wrong(n, "not a header's name"))?;
            if TAKEN.contains(&name.as_str()) {
                return Err(wrong(n, "this header is not for a user to set"));
            }
            let to = origin.clone().ok_or_else(|| {
                wrong(
                    n,
                    "the sources are at several hosts: say by a line [https://host] which one this is for",
                )
            })?;
            let mut value =
                HeaderValue::from_str(value.trim()).map_err(|_| wrong(n, "not a header's value"))?;
            value.set_sensitive(true);
            self.0.push((to, name, value));
        }
        Ok(())
    }

    /// Basic credentials for those origins that have none yet.
    pub fn add_netrc(&mut self, path: &Path, origins: &[Origin]) -> Result<()> {
        let text = private(path)?;
        for origin in origins {
            if !self.has(origin)
                && let Some((user, password)) = netrc(&text, &origin.host)
            {
                self.0
                    .push((origin.clone(), AUTHORIZATION, basic(&user, &password)?));
            }
        }
        Ok(())
    }
}

/// The value of a header with user and password.
pub fn basic(user: &str, password: &str) -> Result<HeaderValue> {
    let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let value = HeaderValue::from_str(&format!("Basic {both}"));
    let mut value = value.map_err(|_| Error::Usage("credentials that no header can carry".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A source as it may be shown and logged: without what stands before the host.
pub fn shown(name: &str) -> String {
    let Some((scheme, rest)) = name.split_once("://").filter(|(s, _)| *s != "file") else {
        return name.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let begin = rest[..end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[begin..])
}

/// What stands before the host.
pub fn userinfo(authority: &Authority) -> Option<&str> {
    authority.as_str().rsplit_once('@').map(|(userinfo, _)| userinfo)
}

/// Percent-decodes.
pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A file that only its owner can read.
fn private(path: &Path) -> Result<String> {
    let shown = path.display();
    let fail = |e| Error::io(format!("read {shown}"), e);
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_file() {
        return Err(Error::Usage(format!("{shown} is not a regular file")));
    }
    let file = File::open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if meta.mode() & 0o077 != 0 {
        return Err(Error::Usage(format!(
            "{shown} holds credentials and others may read it: chmod 600 {shown}"
        )));
    }
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(fail)?;
    if meta.len() >= LIMIT {
        return Err(Error::Usage(format!("{shown} is too long")));
    }
    Ok(text)
}

/// Login and password for a host, else those of `default`.
fn netrc(text: &str, host: &str) -> Option<(String, String)> {
    let mut found: Option<(String, String)> = None;
    let mut here = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "machine" | "default" => {
                    if here && found.is_some() {
                        return found;
                    }
                    here = word == "default" || words.next().is_some_and(|h| h.eq_ignore_ascii_case(host));
                    if here {
                        found = Some(Default::default());
                    }
                }
                // A macro goes on to the next empty line.
                "macdef" => {
                    lines.by_ref().find(|l| l.trim().is_empty());
                    break;
                }
                "login" | "password" => {
                    let value = words.next().unwrap_or_default().to_owned();
                    if let Some((login, password)) = found.as_mut().filter(|_| here) {
                        *(if word == "login" { login } else { password }) = value;
                    }
                }
                _ if word.starts_with('#') => break,
                _ => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_stands_before_the_host() {
        for (name, is) in [
            ("https://u:p@host/x", "https://host/x"),
            ("http://u%40v:p@q@host:8/a@b", "http://host:8/a@b"),
            ("https://host/x@y", "https://host/x@y"),
            ("ftp://u:p@host", "ftp://host"),
            ("/some/dir@x", "/some/dir@x"),
        ] {
            assert_eq!(shown(name), is);
        }
        assert_eq!(decoded("a%40b%3Ac%zz%"), "a@b:c%zz%");
    }

    #[test]
    fn what_is_no_escape_stays_in_a_password() {
        let uri: Uri = "https://u%40v:p%+f%-1%41@host/x".parse().unwrap();
        let mut secrets = Secrets::default();
        let found = userinfo(uri.authority().unwrap()).unwrap();
        secrets.add_userinfo(&Origin::of(&uri).unwrap(), found).unwrap();
        let sent = secrets.headers(&uri);
        assert_eq!(sent[0].1, basic("u@v", "p%+f%-1A").unwrap());
    }

    #[test]
    fn a_netrc_names_machines_and_a_default() {
        let text = "# mine\nmachine a login x password 1\nmacdef m\nmachine b login no password no\n\nmachine B\n  login y\n  password 2\ndefault login z password 3";
        let both = |u: &str, p: &str| Some((u.to_owned(), p.to_owned()));
        assert_eq!(netrc(text, "a"), both("x", "1"));
        assert_eq!(netrc(text, "b"), both("y", "2"));
        assert_eq!(netrc(text, "c"), both("z", "3"));
        assert_eq!(netrc("machine a login x password 1", "c"), None);
    }
}
