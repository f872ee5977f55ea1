//! A repository in a bucket. What lies where, and which puts are conditional, is in PROTOCOL.md.

use super::cache::Cache;
use super::lease::Lease;
use super::remote::{Expect, Outcome, Remote, TRIES};
use super::{Fill, Held, Hold, Store, Stream};
use crate::error::{Doing, Stopped, Unreached};
use crate::{Error, Result, Watch};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::{GetResult, MultipartUpload, ObjectStoreExt, PutPayload};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::NamedTempFile;

/// Bytes of a part; what is not longer goes in one request.
const PART: u64 = 8 << 20;
/// Parts that an upload may have.
const PARTS: u64 = 9000;

/// A repository in a bucket.
pub struct S3Store<'a> {
    remote: Arc<Remote>,
    cache: Cache,
    watch: &'a dyn Watch,
    /// Versions of what may change, as they were last read or written; none: it was not there.
    seen: Mutex<BTreeMap<String, Option<String>>>,
}

/// Signing is optimistic: there is nothing to hold.
struct Nothing;

impl Hold for Nothing {}

impl<'a> S3Store<'a> {
    /// Opens `s3://bucket/prefix`; endpoint, region and credentials come from the usual `AWS_*` variables, else
    /// from the files below `~/.aws`.
    pub fn open(name: &str, watch: &'a dyn Watch) -> Result<S3Store<'a>> {
        Ok(S3Store {
            remote: Arc::new(Remote::open(name)?),
            cache: Cache::new()?,
            watch,
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, path: &str, version: Option<String>) {
        if changes(path) {
            self.seen().insert(path.to_owned(), version);
        }
    }

    /// A conditional put of a small file; [`Error::Busy`] if something else is there.
    fn put_if(&self, path: &str, bytes: &[u8], expect: Expect) -> Result<()> {
        match self
            .remote
            .wait(self.watch, self.remote.put(path, bytes, expect))??
        {
            Outcome::Done(version) => {
                self.see(path, Some(version));
                Ok(())
            }
            Outcome::Other => {
                self.seen().remove(path);
                Err(Error::Busy(format!("{}/{path}", self.remote.name)))
            }
        }
    }

    fn begin(&self, path: &str) -> Result<Option<(GetResult, u64)>> {
        let result = self.remote.wait(self.watch, self.remote.get(path))??;
        let Some(result) = result else {
            self.see(path, None);
            return Ok(None);
        };
        self.see(path, result.meta.e_tag.clone());
        let length = result.meta.size;
        Ok(Some((result, length)))
    }

    fn read<'s>(&'s self, path: &str, result: GetResult) -> Body<'s, 'a> {
        Body {
            store: self,
            path: path.to_owned(),
            stream: Mutex::new(result.into_stream()),
            chunk: Vec::new(),
            at: 0,
        }
    }

    /// Sends a file from its beginning.
    fn send(&self, path: &str, file: &mut File, length: u64) -> Result<()> {
        if length <= PART {
            file.rewind().doing("read", path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).doing("read", path)?;
            // If something is there by now, it is what its name says.
            let put = self.remote.put(path, &bytes, Expect::Nothing);
            return self.remote.wait(self.watch, put)?.map(drop);
        }
        for _ in 1..TRIES {
            match self.send_whole(path, file, length) {
                Err(Error::Unreachable(why)) => self.watch.detail(&why),
                done => return done,
            }
        }
        self.send_whole(path, file, length)
    }

    /// Sends a file in parts.
    fn send_whole(&self, path: &str, file: &mut File, length: u64) -> Result<()> {
        tracing::debug!(path, bytes = length, "put in parts");
        file.rewind().doing("read", path)?;
        let key = self.remote.key(path)?;
        let failed = |e| self.remote.failed(path, &e);
        let began = self.remote.store().put_multipart(&key);
        let mut upload = self.remote.wait(self.watch, began)?.map_err(failed)?;
        let sent = self.send_parts(&mut *upload, path, file, length);
        if sent.is_err() {
            // Whoever cancelled does not wait for it; the bucket's own rule drops what is left.
            let _ = self.remote.wait(self.watch, upload.abort());
            return sent;
        }
        match self.remote.wait(self.watch, upload.complete())? {
            Ok(_) => Ok(()),
            // Only the answer may have been lost.
            Err(_) if self.size(path)? == Some(length) => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        path: &str,
        file: &mut File,
        length: u64,
    ) -> Result<()> {
        let part = PART.max(length / PARTS + 1);
        let mut left = length;
        while left > 0 {
            let mut bytes = Vec::new();
            (&mut *file)
                .take(part.min(left))
                .read_to_end(&mut bytes)
                .doing("read", path)?;
            if bytes.is_empty() {
                let short = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(Error::io(format!("read {path}"), short));
            }
            left -= bytes.len() as u64;
            let sent = upload.put_part(PutPayload::from(bytes));
            let sent = self.remote.wait(self.watch, sent)?;
            sent.map_err(|e| self.remote.failed(path, &e))?;
        }
        Ok(())
    }
}

/// Whether a path may get another content: everything else is named by what it is.
fn changes(path: &str) -> bool {
    path.starts_with("tuf/") || path.starts_with("work/") && !path.starts_with("work/deltas/")
}

impl Store for S3Store<'_> {
    fn name(&self) -> String {
        self.remote.name.clone()
    }
    fn write(&self, path: &str, fill: Fill) -> Result<u64> {
        if let Some(length) = self.size(path)? {
            return Ok(length);
        }
        let mut file = BufWriter::with_capacity(64 << 10, self.cache.begin()?);
        fill(&mut file)?;
        let file = file.into_inner().map_err(|e| e.into_error());
        let mut file: NamedTempFile = file.doing("write", path)?;
        let length = file.as_file().metadata().doing("read", path)?.len();
        self.send(path, file.as_file_mut(), length)?;
        self.cache.keep(path, file)?;
        Ok(length)
    }
    fn scratch(&self) -> Result<File> {
        tempfile::tempfile().doing("make a file in", std::env::temp_dir())
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let seen = self.seen().get(path).cloned();
        let seen = match seen {
            Some(seen) => seen,
            None => self.begin(path)?.and_then(|(result, _)| result.meta.e_tag),
        };
        self.put_if(path, bytes, seen.map_or(Expect::Nothing, Expect::Version))
    }
    fn create(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.put_if(path, bytes, Expect::Nothing)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    fn open(&self, path: &str) -> Result<Option<File>> {
        if let Some(copy) = self.cache.open(path) {
            return Ok(Some(copy));
        }
        let Some((result, _)) = self.begin(path)? else {
            return Ok(None);
        };
        let mut file = self.cache.begin()?;
        io::copy(&mut self.read(path, result), &mut file).doing("fetch", path)?;
        let open = File::open(file.path()).doing("read", path)?;
        if !changes(path) {
            self.cache.keep(path, file)?;
        }
        Ok(Some(open))
    }
    fn stream(&self, path: &str) -> Result<Option<Stream<'_>>> {
        let Some((result, length)) = self.begin(path)? else {
            return Ok(None);
        };
        let bytes = Box::new(self.read(path, result));
        Ok(Some(Stream { length, bytes }))
    }
    fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let too_long = |length| {
            let why = format!("{path} (it has {length} bytes, more than {limit})");
            Error::DamagedRepository(why)
        };
        let mut bytes = Vec::new();
        if !changes(path) {
            let Some(mut file) = self.open(path)? else {
                return Ok(None);
            };
            let length = file.metadata().doing("read", path)?.len();
            if length > limit {
                return Err(too_long(length));
            }
            file.read_to_end(&mut bytes).doing("read", path)?;
            return Ok(Some(bytes));
        }
        let Some((result, length)) = self.begin(path)? else {
            return Ok(None);
        };
        if length > limit {
            return Err(too_long(length));
        }
        self.read(path, result)
            .read_to_end(&mut bytes)
            .doing("read", path)?;
        Ok(Some(bytes))
    }
    fn size(&self, path: &str) -> Result<Option<u64>> {
        self.remote.wait(self.watch, self.remote.size(path))?
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.remote.wait(self.watch, self.remote.list(dir))?
    }
    fn remove(&self, path: &str) -> Result<()> {
        self.cache.forget(path);
        self.remote.wait(self.watch, self.remote.remove(path))??;
        self.see(path, None);
        Ok(())
    }
    fn hold(&self, path: &str, patient: bool, watch: &dyn Watch) -> Result<Held> {
        Ok(Box::new(Lease::take(&self.remote, path, patient, watch)?))
    }
    fn lock_signing(&self, _watch: &dyn Watch) -> Result<Held> {
        Ok(Box::new(Nothing))
    }
}

/// An object as it arrives.
struct Body<'s, 'a> {
    store: &'s S3Store<'a>,
    path: String,
    stream: Mutex<BoxStream<'static, object_store::Result<Bytes>>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Body<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            let stream = self.stream.get_mut().unwrap_or_else(PoisonError::into_inner);
            let next = self.store.remote.wait(self.store.watch, stream.next());
            let next = next.map_err(|_| io::Error::other(Stopped))?;
            match next {
                None => return Ok(0),
                Some(Ok(chunk)) => (self.chunk, self.at) = (chunk.to_vec(), 0),
                Some(Err(e)) => {
                    let why = self.store.remote.failed(&self.path, &e).to_string();
                    return Err(io::Error::other(Unreached(why)));
                }
            }
        }
        let n = into.len().min(self.chunk.len() - self.at);
        into[..n].copy_from_slice(&self.chunk[self.at..][..n]);
        self.at += n;
        Ok(n)
    }
}
