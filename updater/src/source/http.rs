//! A repository on a plain web server, read with ranges over one kept-alive connection.

use super::client::Client;
use super::secrets::{Secrets, shown};
use super::transfer::{Ended, Failure, Head, Inbox, Message, pump};
use super::{LINK_HEADER, Outcome, Patience, Sink, Source, Span, Transfer, link_of};
use crate::{Error, Result, Watch};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use ureq::http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, RANGE};
use ureq::http::{Response, Uri};

/// Reads below one URL.
pub struct HttpSource {
    name: String,
    client: Arc<Client>,
    secrets: Arc<Secrets>,
    patience: Patience,
    /// It answered a range with another one: from then on it is asked for whole files.
    no_ranges: AtomicBool,
    /// What it last said of a link behind it.
    behind: Mutex<Option<(f64, f64)>>,
    /// Requests in a row that ended because nothing, or too little, came.
    silent: AtomicU32,
}

/// After so many silent requests in a row a source is not asked again in this run.
const MAX_SILENT: u32 = 3;
/// Redirects that are followed for one file.
const MAX_REDIRECTS: usize = 5;

/// How one request ended.
enum Answer {
    Done(Outcome),
    /// A range was answered with something else.
    Unranged,
}

impl HttpSource {
    /// Uses a URL; nothing is connected yet.
    pub fn new(url: &str, patience: Patience, client: Arc<Client>, secrets: Arc<Secrets>) -> HttpSource {
        HttpSource {
            name: shown(url.trim_end_matches('/')),
            client,
            secrets,
            patience,
            no_ranges: AtomicBool::new(false),
            behind: Mutex::default(),
            silent: AtomicU32::new(0),
        }
    }

    fn fail(&self, path: &str, why: &dyn std::fmt::Display) -> Error {
        Error::Network(format!("{path} ({}: {why})", self.name))
    }

    /// The next message that is no failure.
    fn next(&self, path: &str, inbox: &mut Inbox) -> Result<Message> {
        let (why, silent) = match inbox.next() {
            Ok(Message::Failed(Failure { why, silent })) => (why, silent),
            Ok(message) => return Ok(message),
            Err(Ended::Cancelled) => return Err(Error::Cancelled),
            Err(Ended::TooSlow(why)) => (why.to_owned(), true),
        };
        if silent {
            self.silent.fetch_add(1, Ordering::Relaxed);
        }
        Err(self.fail(path, &why))
    }

    fn ask(&self, path: &str, span: Span, watch: &dyn Watch, sink: Sink) -> Result<Answer> {
        let range = match span {
            Span::Range(from, to) if !self.no_ranges.load(Ordering::Relaxed) => {
                Some(format!("bytes={from}-{}", to.saturating_sub(1)))
            }
            _ => None,
        };
        let ranged = range.is_some();
        let total = self.patience.total(span);
        let job = Job {
            client: Arc::clone(&self.client),
            secrets: Arc::clone(&self.secrets),
            // `+` and `~` are allowed in names, and plain in a path.
            url: format!("{}/{path}", self.name),
            range,
            total,
        };
        let begin = Instant::now();
        let mut inbox = Inbox::start(self.patience, total, watch, move |sender| job.run(sender))?;
        let Message::Head(head) = self.next(path, &mut inbox)? else {
            return Err(self.fail(path, &"no answer"));
        };
        let wait = begin.elapsed();
        if let Ok(mut behind) = self.behind.lock() {
            *behind = head.link;
        }
        let skip = match head.status {
            200 => span.from(),
            206 if head.start == Some(span.from()) => 0,
            206 | 416 if ranged => return Ok(Answer::Unranged),
            404 | 410 => {
                // The error page is not read: the connection is given up instead.
                self.silent.store(0, Ordering::Relaxed);
                let transfer = Transfer {
                    wait,
                    ..Transfer::default()
                };
                return Ok(Answer::Done(Outcome::Missing(transfer)));
            }
            401 | 403 => {
                let why = format!(
                    "status {}: it wants other credentials, see --header-file and --netrc",
                    head.status
                );
                return Err(self.fail(path, &why));
            }
            511 => return Err(Error::Portal(self.name.clone())),
            status => return Err(self.fail(path, &format!("status {status}"))),
        };
        if let Some(encoding) = head.encoding.filter(|e| !is_plain(path, e)) {
            return Err(self.fail(path, &format!("it sends {encoding}, which was not asked for")));
        }
        let mut transfer = self.body(path, (head.status, skip, span), inbox, sink)?;
        self.silent.store(0, Ordering::Relaxed);
        transfer.wait = wait;
        Ok(Answer::Done(Outcome::Delivered(transfer)))
    }

    fn body(
        &self,
        path: &str,
        (status, mut skip, span): (u16, u64, Span),
        mut inbox: Inbox,
        sink: Sink,
    ) -> Result<Transfer> {
        let mut left = match span {
            Span::Range(..) => span.most(),
            // The sink says what is too long.
            Span::Whole(_) | Span::AtMost(_) => u64::MAX,
        };
        let mut transfer = Transfer::default();
        let begin = Instant::now();
        while left > 0 {
            let Message::Body(part) = self.next(path, &mut inbox)? else {
                break;
            };
            // No file of a repository begins like that.
            if status == 200 && transfer.bytes == 0 && is_page(&part) {
                return Err(Error::Portal(self.name.clone()));
            }
            transfer.bytes += part.len() as u64;
            let skipped = skip.min(part.len() as u64);
            skip -= skipped;
            transfer.skipped += skipped;
            let wanted = &part[skipped as usize..];
            let wanted = &wanted[..wanted.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            left -= wanted.len() as u64;
            if !wanted.is_empty() {
                sink(wanted)?;
            }
        }
        transfer.body = begin.elapsed();
        if left == 0 {
            inbox.finish();
        }
        Ok(transfer)
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &str, span: Span, watch: &dyn Watch, sink: Sink) -> Result<Outcome> {
        if self.silent.load(Ordering::Relaxed) >= MAX_SILENT {
            return Err(self.fail(path, &"given up, as it was silent or too slow"));
        }
        // Nothing reached the sink when a range was refused, so the same bytes can be asked for again.
        for _ in 0..2 {
            match self.ask(path, span, watch, &mut *sink)? {
                Answer::Done(outcome) => return Ok(outcome),
                Answer::Unranged => {
                    tracing::debug!(source = self.name, "knows no ranges: whole files are asked for");
                    self.no_ranges.store(true, Ordering::Relaxed);
                }
            }
        }
        Err(self.fail(path, &"another range than asked for"))
    }

    fn behind(&self) -> Option<(f64, f64)> {
        self.behind.lock().ok().and_then(|behind| *behind)
    }
}

/// Whether a body under this `Content-Encoding` is the file itself: some servers name the file's own compression.
fn is_plain(path: &str, encoding: &str) -> bool {
    encoding.eq_ignore_ascii_case("identity")
        || path.ends_with(".zst") && encoding.eq_ignore_ascii_case("zstd")
}

/// Whether a body is a web page.
fn is_page(body: &[u8]) -> bool {
    let text = body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii_start();
    let begins = |tag: &[u8]| text.get(..tag.len()).is_some_and(|t| t.eq_ignore_ascii_case(tag));
    begins(b"<!doctype html") || begins(b"<html") || begins(b"<head") || begins(b"<script")
}

/// What the thread of a request needs.
struct Job {
    client: Arc<Client>,
    secrets: Arc<Secrets>,
    url: String,
    range: Option<String>,
    total: Duration,
}

impl Job {
    fn run(self, sender: &SyncSender<Message>) {
        let message = match self.follow() {
            Ok((head, mut response)) => {
                let body = matches!(head.status, 200 | 206);
                if sender.send(Message::Head(head)).is_ok() && body {
                    pump(&mut response.body_mut().as_reader(), sender);
                }
                return;
            }
            Err(why) => Message::Failed(why),
        };
        let _ = sender.send(message);
    }

    /// The first answer that is no redirect. Bodies of redirects are not read; credentials go to their own origin alone.
    fn follow(&self) -> std::result::Result<(Head, Response<ureq::Body>), Failure> {
        let mut url: Uri = self.url.parse().map_err(|_| "not a URL")?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.client.get(&url, &self.headers(&url)?, self.total)?;
            let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
            if let (301 | 302 | 303 | 307 | 308, Some(to)) = (response.status().as_u16(), header("location"))
            {
                url = redirected(&url, to).ok_or("it redirects to what is no http address")?;
                // Not where there: an address may be a key to what lies at it.
                tracing::debug!(
                    host = url.host(),
                    status = response.status().as_u16(),
                    "is sent on"
                );
                continue;
            }
            let start = header("content-range").and_then(range_start);
            let head = Head {
                status: response.status().as_u16(),
                start,
                encoding: header("content-encoding").map(str::to_owned),
                link: header(LINK_HEADER).and_then(link_of),
            };
            return Ok((head, response));
        }
        Err("too many redirects".into())
    }

    fn headers(&self, url: &Uri) -> std::result::Result<Vec<(HeaderName, HeaderValue)>, Failure> {
        let mut headers = self.secrets.headers(url);
        headers.push((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        if let Some(range) = &self.range {
            headers.push((RANGE, HeaderValue::from_str(range).map_err(|_| "a wrong range")?));
        }
        Ok(headers)
    }
}

fn range_start(header: &str) -> Option<u64> {
    header
        .trim()
        .strip_prefix("bytes")?
        .trim_start()
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}

/// Where a `Location` leads from `base`.
fn redirected(base: &Uri, to: &str) -> Option<Uri> {
    let to = to.split('#').next()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let absolute = if to.contains("://") && !to.starts_with(['/', '?', '.']) {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else if to.starts_with('/') {
        format!("{scheme}://{authority}{to}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{to}")
    };
    let uri: Uri = absolute.parse().ok()?;
    let known =
        uri.scheme_str() == Some("http") || cfg!(feature = "tls") && uri.scheme_str() == Some("https");
    (known && uri.authority().is_some()).then_some(uri)
}
