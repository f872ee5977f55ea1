//! Requests to a bucket, for threads that know nothing of asynchronous work: one thread of its own drives them all.

use super::profile::Profile;
use crate::{Error, Result, Watch};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetResult, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig, UpdateVersion,
};
use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How often who waits asks whether to stop.
const ASK: Duration = Duration::from_millis(100);
/// Longest silence of a server.
const SILENCE: Duration = Duration::from_secs(60);
/// Tries of a put whose answer was lost, and the pause before the second.
pub(super) const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

/// What says who asks before a file does.
const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"];

/// A bucket and a prefix in it.
pub(super) struct Remote {
    store: AmazonS3,
    prefix: String,
    /// As people say it.
    pub name: String,
    driver: Driver,
}

/// The thread on which requests make progress.
struct Driver {
    handle: Handle,
    end: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end.notify_one();
        // Whatever ran there last may have been the last to hold this.
        let other = |t: &JoinHandle<()>| t.thread().id() != std::thread::current().id();
        let _ = self.thread.take().filter(other).map(JoinHandle::join);
    }
}

impl Driver {
    fn start() -> std::io::Result<Driver> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, end) = (runtime.handle().clone(), Arc::new(Notify::new()));
        let ended = Arc::clone(&end);
        let work = move || runtime.block_on(ended.notified());
        let thread = std::thread::Builder::new().name("bucket".into()).spawn(work)?;
        Ok(Driver {
            handle,
            end,
            thread: Some(thread),
        })
    }
}

/// What a conditional put wants to find.
#[derive(Clone, Debug)]
pub(super) enum Expect {
    Nothing,
    Version(String),
}

/// How a conditional put ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is there, in this version.
    Done(String),
    /// Something else is there, or nothing where something was expected.
    Other,
}

impl Remote {
    /// Reads `s3://bucket/prefix`; endpoint, region and credentials come from the usual variables, else from the usual
    /// files.
    pub fn open(name: &str) -> Result<Remote> {
        let wrong = |why: &str| Error::Usage(format!("{name}: {why}; a bucket is named s3://BUCKET/PREFIX"));
        let rest = name.strip_prefix("s3://").unwrap_or(name).trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong("no bucket"));
        }
        Path::parse(prefix).map_err(|e| wrong(&e.to_string()))?;
        // The same cryptography as for other sources; what was chosen before stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let variable = |names: &[&str]| names.iter().find_map(|n| std::env::var(n).ok());
        let told = Profile::load().map_err(|why| wrong(&why))?;
        let endpoint =
            variable(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]).or(told.endpoint);
        let plain = endpoint.as_ref().is_some_and(|e| e.starts_with("http://"));
        let options = ClientOptions::new()
            .with_allow_http(plain)
            .with_timeout_disabled()
            .with_connect_timeout(Duration::from_secs(10))
            .with_read_timeout(SILENCE);
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(options)
            .with_allow_http(plain)
            .with_bucket_name(bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: PAUSE,
                    max_backoff: Duration::from_secs(5),
                    base: 2.0,
                },
                max_retries: 8,
                retry_timeout: SILENCE,
            });
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = told.region
            && variable(&["AWS_REGION", "AWS_DEFAULT_REGION"]).is_none()
        {
            builder = builder.with_region(region);
        }
        if let Some((key, secret)) = told.key
            && variable(&KEYS).is_none()
        {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
            if let Some(token) = told.token {
                builder = builder.with_token(token);
            }
        }
        let store = builder.build().map_err(|e| wrong(&e.to_string()))?;
        Ok(Remote {
            store,
            prefix: prefix.to_owned(),
            name: format!("s3://{rest}"),
            driver: Driver::start().map_err(|e| Error::io("start a thread", e))?,
        })
    }

    /// Waits for requests, and asks meanwhile whether to stop.
    pub fn wait<T>(&self, watch: &dyn Watch, requests: impl Future<Output = T>) -> Result<T> {
        self.driver.handle.block_on(async {
            let mut requests = std::pin::pin!(requests);
            loop {
                watch.check()?;
                if let Ok(done) = timeout(ASK, &mut requests).await {
                    return Ok(done);
                }
            }
        })
    }

    /// Runs something beside everything else.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        self.driver.handle.spawn(work)
    }

    pub fn store(&self) -> &AmazonS3 {
        &self.store
    }

    /// The key of a path.
    pub fn key(&self, path: &str) -> Result<Path> {
        let whole = match self.prefix.is_empty() {
            true => path.to_owned(),
            false => format!("{}/{path}", self.prefix),
        };
        Path::parse(&whole).map_err(|e| Error::Usage(format!("{path} is no name for a bucket: {e}")))
    }

    /// The path of a key.
    pub fn path<'k>(&self, key: &'k Path) -> Option<&'k str> {
        match self.prefix.is_empty() {
            true => Some(key.as_ref()),
            false => key.as_ref().strip_prefix(&self.prefix)?.strip_prefix('/'),
        }
    }

    /// What went wrong with a path, in one line.
    pub fn failed(&self, path: &str, e: &object_store::Error) -> Error {
        Error::Unreachable(format!("{}/{path}: {}", self.name, short(e)))
    }

    /// Asks until there is an answer; `None` if what is asked for does not exist. The client behind this asks again
    /// where the server is busy or cannot be reached, but not where its answer breaks off.
    async fn again<'r, T>(
        &self,
        path: &str,
        request: impl Fn() -> BoxFuture<'r, object_store::Result<T>>,
    ) -> Result<Option<T>> {
        let (begin, mut tries) = (Instant::now(), 0);
        loop {
            tries += 1;
            match request().await {
                Ok(found) => return Ok(Some(found)),
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(e) if tries < TRIES && begin.elapsed() < SILENCE / 2 && !denied(&e) => {
                    tracing::debug!(path, tries, "is asked for again: {}", short(&e));
                    sleep(PAUSE * (1 << tries)).await;
                }
                Err(e) => return Err(self.failed(path, &e)),
            }
        }
    }

    /// An object; `None` if there is none.
    pub async fn get(&self, path: &str) -> Result<Option<GetResult>> {
        tracing::debug!(path, "get");
        let key = self.key(path)?;
        self.again(path, || self.store.get(&key).boxed()).await
    }

    /// The length of an object; `None` if there is none.
    pub async fn size(&self, path: &str) -> Result<Option<u64>> {
        let key = self.key(path)?;
        let head = self.again(path, || self.store.head(&key).boxed()).await;
        Ok(head?.map(|meta| meta.size))
    }

    /// The content and version of a small object.
    pub async fn read(&self, path: &str) -> Result<Option<(Vec<u8>, String)>> {
        let Some(result) = self.get(path).await? else {
            return Ok(None);
        };
        let version = result.meta.e_tag.clone().unwrap_or_default();
        let bytes = result.bytes().await.map_err(|e| self.failed(path, &e))?;
        Ok(Some((bytes.to_vec(), version)))
    }

    /// Writes an object in the place of what is expected. A put whose answer was lost is recognised by its content.
    pub async fn put(&self, path: &str, bytes: &[u8], expect: Expect) -> Result<Outcome> {
        tracing::debug!(path, bytes = bytes.len(), "put");
        let (key, begin, mut tries) = (self.key(path)?, Instant::now(), 0);
        loop {
            tries += 1;
            let mode = match &expect {
                Expect::Nothing => PutMode::Create,
                Expect::Version(version) => PutMode::Update(UpdateVersion {
                    e_tag: Some(version.clone()),
                    version: None,
                }),
            };
            let payload = PutPayload::from(bytes.to_vec());
            let put = self.store.put_opts(&key, payload, PutOptions::from(mode));
            let error = match put.await {
                Ok(done) => return Ok(Outcome::Done(done.e_tag.unwrap_or_default())),
                Err(e) => e,
            };
            let refused = matches!(
                error,
                object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }
            );
            let more = tries < TRIES && begin.elapsed() < SILENCE / 2 && !denied(&error);
            let found = match self.read(path).await {
                Err(_) if !refused && more => None,
                found => found?,
            };
            match found {
                Some((found, version)) if found == bytes => return Ok(Outcome::Done(version)),
                _ if refused => return Ok(Outcome::Other),
                _ if more => sleep(PAUSE * (1 << tries)).await,
                _ => return Err(self.failed(path, &error)),
            }
        }
    }

    /// Paths below a directory, in order.
    pub async fn list(&self, dir: &str) -> Result<Vec<String>> {
        tracing::debug!(path = dir, "list");
        let key = self.key(dir.trim_end_matches('/'))?;
        let all = || self.store.list(Some(&key)).try_collect::<Vec<_>>().boxed();
        let found = self.again(dir, all).await?.unwrap_or_default();
        let paths = found.iter().filter_map(|meta| self.path(&meta.location));
        let mut paths: Vec<String> = paths.map(String::from).collect();
        paths.sort();
        Ok(paths)
    }

    /// Removes an object, which need not exist.
    pub async fn remove(&self, path: &str) -> Result<()> {
        let key = self.key(path)?;
        tracing::debug!(path, "remove");
        let removed = self.again(path, || self.store.delete(&key).boxed()).await;
        removed.map(drop)
    }
}

/// Whether asking again is of no use.
fn denied(e: &object_store::Error) -> bool {
    matches!(
        e,
        object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. }
            | object_store::Error::NotFound { .. }
    )
}

/// The cause without the markup that servers send along.
fn short(e: &object_store::Error) -> String {
    let mut last: &dyn std::error::Error = e;
    while let Some(source) = last.source() {
        last = source;
    }
    let mut whole = last.to_string();
    if let Some((_, code)) = whole.split_once("<Code>")
        && let Some((code, _)) = code.split_once("</Code>")
    {
        whole = format!("the bucket says {code}");
    }
    whole.retain(|c| !c.is_control());
    match whole.char_indices().nth(200) {
        Some((at, _)) => whole[..at].to_owned() + "...",
        None => whole,
    }
}
