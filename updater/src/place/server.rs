//! The box as a web server: whole files and ranges, sent on while they still come.

use super::cache::Why;
use super::{Answer, Place, Slice};
use crate::metrics::Metrics;
use crate::source::LINK_HEADER;
use crate::{Error, Result, Watch};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

/// Connections at once; more wait.
const CONNECTIONS: usize = 256;
/// Requests in work at once; more wait.
const REQUESTS: usize = 128;
/// How long a client may take over the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Parts of an answer that wait for a slow client.
const AHEAD: usize = 4;
/// How long a client may take nothing of what there is.
const SLOW: Duration = Duration::from_secs(60);
/// How often a wish to stop is looked for.
const TICK: Duration = Duration::from_millis(200);
/// When a site may ask again while the link rests, in seconds.
const LATER: u64 = 600;
/// Where a box tells how it is.
const STATUS: &str = "status.json";
/// The same for Prometheus.
const METRICS: &str = "metrics";

type Body = BoxBody<Bytes, io::Error>;

impl Place {
    /// Serves at an address until a stop is asked for; `ready` is told where it listens.
    pub fn serve(
        self: &Arc<Self>,
        listen: SocketAddr,
        watch: &Arc<dyn Watch + Send + Sync>,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Each request has one for its answer, then one for its bytes.
            .max_blocking_threads(REQUESTS)
            .build()
            .map_err(|e| Error::io("start the server", e))?;
        let link = {
            let (place, watch) = (Arc::clone(self), Arc::clone(watch));
            std::thread::spawn(move || place.fetch_wanted(&*watch))
        };
        let served = runtime.block_on(self.listen(listen, watch, ready));
        runtime.shutdown_background();
        self.cache.stop();
        let _ = link.join();
        served
    }

    async fn listen(
        self: &Arc<Self>,
        listen: SocketAddr,
        watch: &Arc<dyn Watch + Send + Sync>,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<()> {
        let at = |e| Error::io(format!("listen on {listen}"), e);
        let listener = TcpListener::bind(listen).await.map_err(at)?;
        ready(listener.local_addr().map_err(at)?);
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if watch.cancelled() {
                        return Ok(());
                    }
                }
                accepted = listener.accept() => {
                    // What fails here is the client's, or passes: too many open files.
                    let Ok((stream, _)) = accepted else { continue };
                    let Ok(permit) = Arc::clone(&room).acquire_owned().await else { continue };
                    let (place, watch) = (Arc::clone(self), Arc::clone(watch));
                    tokio::spawn(async move {
                        let service = service_fn(move |request| {
                            respond(Arc::clone(&place), Arc::clone(&watch), request)
                        });
                        let mut http = hyper::server::conn::http1::Builder::new();
                        http.timer(TokioTimer::new()).header_read_timeout(HEAD);
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

async fn respond(
    place: Arc<Place>,
    watch: Arc<dyn Watch + Send + Sync>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Body>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Ok(small(StatusCode::METHOD_NOT_ALLOWED, Vec::new()));
    }
    let path = request.uri().path().trim_start_matches('/').to_owned();
    if path == STATUS {
        let tally = serde_json::to_vec(&place.tally()).unwrap_or_default();
        return Ok(small(StatusCode::OK, tally));
    }
    if path == METRICS {
        let mut response = small(StatusCode::OK, place.tally().metrics().into_bytes());
        let kind = hyper::header::HeaderValue::from_static(Metrics::TYPE);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return Ok(response);
    }
    let range = request.headers().get(RANGE).and_then(|range| range.to_str().ok());
    let range = range.and_then(bytes_of);
    let answered = {
        let (place, watch) = (Arc::clone(&place), Arc::clone(&watch));
        let path = path.clone();
        tokio::task::spawn_blocking(move || place.answer(&path, range, &*watch)).await
    };
    let (rate, wait) = place.link.told();
    let mut response = match answered {
        Ok(Ok(Answer::Missing)) => small(StatusCode::NOT_FOUND, Vec::new()),
        Ok(Ok(Answer::Small(bytes))) => cut(bytes, range),
        Ok(Ok(Answer::Slices(slices))) => large(place, slices, range),
        Ok(Ok(Answer::Later(why))) => later(why),
        Ok(Err(e)) => {
            watch.note(&format!("{path}: {e}"));
            small(StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
        Err(_) => small(StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
    };
    tracing::debug!(path, ?range, status = response.status().as_u16(), "answered");
    // Sites choose by what the place pays for, not by the network between them and the box.
    if let Ok(link) = format!("{rate:.0} {wait:.2}").parse() {
        response.headers_mut().insert(LINK_HEADER, link);
    }
    Ok(response)
}

/// From which byte to before which one a `Range` asks; other forms are answered with the whole file, as is allowed.
fn bytes_of(range: &str) -> Option<(u64, Option<u64>)> {
    let (from, to) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let from = from.trim().parse::<u64>().ok()?;
    if to.trim().is_empty() {
        return Some((from, None));
    }
    let to = to.trim().parse::<u64>().ok()?;
    (to >= from).then(|| (from, to.checked_add(1)))
}

fn small(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let length = bytes.len();
    let body = Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-cache"));
    headers.insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/json"),
    );
    response
}

/// A small file, or a range of it.
fn cut(mut bytes: Vec<u8>, range: Option<(u64, Option<u64>)>) -> Response<Body> {
    let Some((from, to)) = range else {
        return small(StatusCode::OK, bytes);
    };
    let length = bytes.len() as u64;
    let to = to.unwrap_or(length).min(length);
    if from >= to {
        return small(StatusCode::RANGE_NOT_SATISFIABLE, Vec::new());
    }
    // Both are at most the length of a vector.
    bytes.truncate(to as usize);
    bytes.drain(..from as usize);
    let mut response = small(StatusCode::PARTIAL_CONTENT, bytes);
    content_range(&mut response, from, Some(to), Some(length));
    response
}

fn content_range(response: &mut Response<Body>, from: u64, to: Option<u64>, length: Option<u64>) {
    let Some(to) = to else { return };
    let length = length.map_or("*".into(), |n| n.to_string());
    let value = format!("bytes {from}-{}/{length}", to.saturating_sub(1));
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
}

fn later(why: Why) -> Response<Body> {
    let mut response = small(StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    if why == Why::Resting {
        response.headers_mut().insert(RETRY_AFTER, LATER.into());
    }
    response
}

/// Slices as they come. What ends too soon breaks the connection, so that nobody takes it for all.
fn large(place: Arc<Place>, slices: Vec<Slice>, range: Option<(u64, Option<u64>)>) -> Response<Body> {
    let Some(first) = slices.first() else {
        return small(StatusCode::RANGE_NOT_SATISFIABLE, Vec::new());
    };
    let begin = first.unit.offset + first.from;
    let lengths = slices.iter().map(|slice| slice.to.map(|to| to - slice.from));
    let length: Option<u64> = lengths.sum();
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Handle::current();
        let send = |part| runtime.block_on(sender.send_timeout(part, SLOW)).is_ok();
        if let Err(e) = place.pour(&slices, &mut |bytes| send(Ok(bytes.into()))) {
            send(Err(io::Error::other(e.to_string())));
        }
    });
    let parts = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|part| (part, receiver))
    });
    let body = StreamBody::new(parts.map(|part| part.map(Frame::data)));
    let mut response = Response::new(BodyExt::boxed(body));
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    let headers = response.headers_mut();
    headers.insert(ACCEPT_RANGES, hyper::header::HeaderValue::from_static("bytes"));
    if range.is_some() && length.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        content_range(&mut response, begin, length.map(|n| begin + n), None);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::bytes_of;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        assert_eq!(bytes_of("bytes=0-0"), Some((0, Some(1))));
        assert_eq!(bytes_of("bytes=5-"), Some((5, None)));
        for other in [
            "bytes=-5",
            "bytes=5-4",
            "bytes=a-b",
            "lines=1-2",
            "bytes=1-2,4-5",
            "",
        ] {
            assert_eq!(bytes_of(other), None, "{other}");
        }
        assert_eq!(bytes_of("bytes=5-18446744073709551615"), Some((5, None)));
    }
}
