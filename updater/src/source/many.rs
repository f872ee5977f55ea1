//! Several sources as one: the next is tried when one fails, every byte and request is counted.

use super::{Outcome, Source, Transfer};
use crate::trust::Fetch;
use crate::{Digest, Error, Result};
use std::sync::Mutex;

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

/// The configured sources.
pub struct Sources {
    all: Vec<Box<dyn Source>>,
    account: Mutex<Account>,
}

impl Sources {
    /// In order of preference.
    pub fn new(all: Vec<Box<dyn Source>>) -> Sources {
        let account = Mutex::default();
        Sources { all, account }
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
    /// A source's guess of bandwidth and wait.
    pub fn guess(&self, index: usize) -> (f64, f64) {
        self.all.get(index).map_or((64e3, 0.3), |s| s.guess())
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

    /// Reads a range from one source. `false`: it does not have the file.
    pub fn read_from(
        &self,
        index: usize,
        path: &str,
        from: u64,
        to: Option<u64>,
        sink: super::Sink,
    ) -> Result<bool> {
        let source = self.all.get(index).ok_or_else(|| Error::Network(path.into()))?;
        let mut got = 0u64;
        let result = source.read(path, from, to, &mut |bytes| {
            got += bytes.len() as u64;
            sink(bytes)
        });
        match result {
            Ok(Outcome::Delivered(t)) => {
                self.count(index, t);
                Ok(true)
            }
            Ok(Outcome::Missing(t)) => {
                self.count(index, t);
                Ok(false)
            }
            Err(e) => {
                // Its bytes are counted; how fast they came says nothing.
                if let Ok(mut a) = self.account.lock() {
                    a.bytes += got;
                    a.requests += 1;
                }
                Err(e)
            }
        }
    }

    /// A small file of known digest and length, from the first source that has it right.
    pub fn get(&self, path: &str, digest: &Digest, length: u64) -> Result<Vec<u8>> {
        let mut last = Error::Network(path.into());
        for index in 0..self.all.len() {
            match self.one(index).fetch(path, length) {
                Ok(Some(bytes)) if Digest::of(&bytes) == *digest => return Ok(bytes),
                Ok(Some(bytes)) => {
                    self.waste(bytes.len() as u64);
                    last =
                        Error::Untrusted(format!("{path} from {} is not what was signed", self.name(index)));
                }
                Ok(None) => {}
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// One source, for the trust module.
    pub fn one(&self, index: usize) -> One<'_> {
        One { sources: self, index }
    }
}

/// Reads small files from one source.
pub struct One<'a> {
    sources: &'a Sources,
    index: usize,
}

impl Fetch for One<'_> {
    fn fetch(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let found = self.sources.read_from(self.index, path, 0, None, &mut |part| {
            if (bytes.len() + part.len()) as u64 > limit {
                return Err(Error::Untrusted(format!(
                    "{path} is longer than the {limit} bytes allowed"
                )));
            }
            bytes.extend_from_slice(part);
            Ok(())
        })?;
        Ok(found.then_some(bytes))
    }
}
