//! Several sources as one: the next is tried when one fails, every byte and request is counted.

use super::{Outcome, Source, Span, Transfer};
use crate::trust::Fetch;
use crate::{Digest, Error, Result, Watch};
use std::sync::Mutex;
use std::time::Instant;

/// What all transfers of a run cost.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Account {
    /// Bytes of content received.
    pub bytes: u64,
    /// Requests made.
    pub requests: u64,
    /// Bytes received that turned out useless.
    pub wasted: u64,
    /// Seconds spent waiting and receiving.
    pub seconds: f64,
    /// The first transfers, for the measurements.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// One transfer that went well.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Number of its source.
    pub source: usize,
    /// Bytes of content.
    pub bytes: u64,
    /// Seconds until the first one.
    pub wait: f64,
    /// Seconds from there to the last one.
    pub body: f64,
}

/// How a source behaved in this run; the better ones are asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// It sent something else than what was signed.
    lied: bool,
    /// The last request to it failed.
    failed: bool,
}

/// The configured sources.
pub struct Sources {
    all: Vec<Box<dyn Source>>,
    account: Mutex<Account>,
    standing: Mutex<Vec<Standing>>,
}

impl Sources {
    /// In order of preference.
    pub fn new(all: Vec<Box<dyn Source>>) -> Sources {
        let account = Mutex::default();
        let standing = Mutex::new(vec![Standing::default(); all.len()]);
        Sources {
            all,
            account,
            standing,
        }
    }

    /// Numbers of the sources in the order in which to ask them: as configured, but those that failed, and those that
    /// lied, after the others.
    pub fn order(&self) -> Vec<usize> {
        let standing = self.standing.lock().map(|s| s.clone()).unwrap_or_default();
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|i| standing.get(*i).copied().unwrap_or_default());
        order
    }

    /// A source sent so many bytes that are not what was signed: it is asked last from now on.
    pub fn lied(&self, index: usize, bytes: u64) {
        tracing::info!(
            source = self.name(index),
            bytes,
            "sent what was not signed, and is asked last from now on"
        );
        self.waste(bytes);
        self.stands(index, |s| s.lied = true);
    }

    fn stands(&self, index: usize, change: impl FnOnce(&mut Standing)) {
        if let Ok(mut standing) = self.standing.lock()
            && let Some(standing) = standing.get_mut(index)
        {
            change(standing);
        }
    }

    /// Number of sources.
    pub fn len(&self) -> usize {
        self.all.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
    /// A source's name.
    pub fn name(&self, index: usize) -> &str {
        self.all.get(index).map_or("", |s| s.name())
    }
    /// A source, for what it guesses or says of the way to it.
    pub fn source(&self, index: usize) -> Option<&dyn Source> {
        self.all.get(index).map(|source| &**source)
    }

    /// What is fetched from now on is urgent.
    pub fn hurry(&self) {
        self.all.iter().for_each(|source| source.hurry());
    }

    /// A copy of the account.
    pub fn account(&self) -> Account {
        self.account.lock().map(|a| a.clone()).unwrap_or_default()
    }

    /// Counts bytes that turned out useless.
    pub fn waste(&self, bytes: u64) {
        if let Ok(mut account) = self.account.lock() {
            account.wasted += bytes;
        }
    }

    fn count(&self, source: usize, t: Transfer) {
        if let Ok(mut a) = self.account.lock() {
            a.bytes += t.bytes;
            a.wasted += t.skipped;
            a.requests += 1;
            a.seconds += (t.wait + t.body).as_secs_f64();
            if a.samples.len() < 4096 {
                a.samples.push(Sample {
                    source,
                    bytes: t.bytes,
                    wait: t.wait.as_secs_f64(),
                    body: t.body.as_secs_f64(),
                });
            }
        }
    }

    /// Reads from one source. `false`: it does not have the file.
    pub fn read_from(
        &self,
        index: usize,
        path: &str,
        span: Span,
        watch: &dyn Watch,
        sink: super::Sink,
    ) -> Result<bool> {
        let source = self.all.get(index).ok_or_else(|| Error::Network(path.into()))?;
        let (name, begin) = (source.name(), Instant::now());
        let mut got = 0u64;
        let result = source.read(path, span, watch, &mut |bytes| {
            got += bytes.len() as u64;
            sink(bytes)
        });
        let short = matches!(span, Span::Range(..)) && got < span.most();
        let failed = match &result {
            Ok(Outcome::Delivered(_)) => short,
            Err(e) => matches!(e, Error::Network(_) | Error::Portal(_)),
            Ok(Outcome::Missing(_)) => false,
        };
        self.stands(index, |s| s.failed = failed);
        let ms = begin.elapsed().as_millis() as u64;
        match result {
            Ok(Outcome::Delivered(t)) => {
                let wait = t.wait.as_millis() as u64;
                tracing::debug!(source = name, path, %span, bytes = got, wait, ms, "fetched");
                self.count(index, t);
                Ok(true)
            }
            Ok(Outcome::Missing(t)) => {
                tracing::debug!(source = name, path, ms, "is not there");
                self.count(index, t);
                Ok(false)
            }
            Err(e) => {
                tracing::debug!(source = name, path, %span, bytes = got, ms, "{e}");
                // Its bytes are counted; how fast they came says nothing.
                if let Ok(mut a) = self.account.lock() {
                    a.bytes += got;
                    a.requests += 1;
                }
                Err(e)
            }
        }
    }

    /// A small file of known length, from the first source whose bytes `accept` takes.
    pub fn get<T>(
        &self,
        path: &str,
        span: Span,
        watch: &dyn Watch,
        accept: &dyn Fn(Vec<u8>) -> Option<T>,
    ) -> Result<T> {
        let mut last = Error::Network(path.into());
        for index in self.order() {
            let name = self.name(index);
            match self.whole(index, path, span, watch) {
                Ok(Some(bytes)) => {
                    let length = bytes.len() as u64;
                    match accept(bytes) {
                        Some(accepted) => return Ok(accepted),
                        None => self.lied(index, length),
                    }
                    last = Error::Untrusted(format!("{path} from {name} is not what was signed"));
                }
                Ok(None) => {}
                Err(e @ Error::Untrusted(_)) => {
                    self.lied(index, span.most());
                    last = e;
                }
                Err(e @ (Error::Network(_) | Error::Portal(_))) => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }

    /// A small file of known digest and length, from the first source that has it right.
    pub fn signed(&self, path: &str, digest: &Digest, length: u64, watch: &dyn Watch) -> Result<Vec<u8>> {
        self.get(path, Span::Whole(length), watch, &|bytes| {
            (Digest::of(&bytes) == *digest).then_some(bytes)
        })
    }

    fn whole(&self, index: usize, path: &str, span: Span, watch: &dyn Watch) -> Result<Option<Vec<u8>>> {
        let limit = span.most();
        let mut bytes = Vec::new();
        let found = self.read_from(index, path, span, watch, &mut |part| {
            if (bytes.len() + part.len()) as u64 > limit {
                let name = self.name(index);
                return Err(Error::Untrusted(format!(
                    "{path} from {name} is longer than the {limit} bytes allowed"
                )));
            }
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(found.then_some(bytes))
    }

    /// One source, for the trust module.
    pub fn one<'a>(&'a self, index: usize, watch: &'a dyn Watch) -> One<'a> {
        One {
            sources: self,
            index,
            watch,
        }
    }
}

/// Reads small files from one source.
pub struct One<'a> {
    sources: &'a Sources,
    index: usize,
    watch: &'a dyn Watch,
}

impl Fetch for One<'_> {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let span = Span::AtMost(limit);
        self.sources.whole(self.index, path, span, self.watch)
    }
}
