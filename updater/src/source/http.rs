//! A repository on a plain web server, read with ranges over one kept-alive connection.

use super::{Outcome, Patience, Sink, Source, Transfer};
use crate::{Error, Result};
use std::io::Read;
use std::time::{Duration, Instant};

/// Reads below one URL.
pub struct HttpSource {
    name: String,
    agent: ureq::Agent,
    patience: Patience,
}

/// Bytes before the wanted range that are read and thrown away from a server that ignores ranges.
const MAX_SKIP: u64 = 1 << 20;

impl HttpSource {
    /// Uses a URL; nothing is connected yet.
    pub fn new(url: &str, patience: Patience) -> HttpSource {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(3)
            .timeout_connect(Some(patience.stall))
            .timeout_recv_response(Some(patience.stall))
            .timeout_per_read(Some(patience.stall))
            .max_response_header_size(32 << 10)
            .user_agent(concat!("elfup/", env!("CARGO_PKG_VERSION")))
            .build();
        HttpSource {
            name: url.trim_end_matches('/').to_owned(),
            agent: config.new_agent(),
            patience,
        }
    }

    fn too_slow(&self, bytes: u64, elapsed: Duration) -> bool {
        elapsed > self.patience.stall && (bytes as f64) < self.patience.least as f64 * elapsed.as_secs_f64()
    }
}

impl Source for HttpSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&self, path: &str, from: u64, to: Option<u64>, sink: Sink) -> Result<Outcome> {
        let fail = |why: &dyn std::fmt::Display| Error::Network(format!("{path} ({}: {why})", self.name));
        // `+` and `~` are allowed in names, and plain in a path.
        let mut request = self.agent.get(format!("{}/{path}", self.name));
        if from > 0 || to.is_some() {
            let end = to.map_or(String::new(), |t| t.saturating_sub(1).to_string());
            request = request.header("Range", format!("bytes={from}-{end}"));
        }
        let begin = Instant::now();
        let mut response = request.call().map_err(|e| fail(&e))?;
        let mut transfer = Transfer {
            wait: begin.elapsed(),
            ..Transfer::default()
        };
        let mut skip = match response.status().as_u16() {
            200 => from,
            206 => {
                let header = response
                    .headers()
                    .get("content-range")
                    .and_then(|v| v.to_str().ok());
                let start =
                    header.and_then(|v| v.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
                if start != Some(from) {
                    return Err(fail(&"another range than asked for"));
                }
                0
            }
            404 | 410 => {
                // A short error page is read to its end, so that the connection can be used again.
                let read = response
                    .body_mut()
                    .as_reader()
                    .take(8 << 10)
                    .read_to_end(&mut Vec::new());
                transfer.bytes = read.unwrap_or_default() as u64;
                return Ok(Outcome::Missing(transfer));
            }
            status => return Err(fail(&format!("status {status}"))),
        };
        if skip > MAX_SKIP {
            return Err(fail(&"the server ignores ranges"));
        }
        let mut left = to.map_or(u64::MAX, |t| t.saturating_sub(from));
        let mut reader = response.body_mut().as_reader();
        let mut buffer = vec![0; 16 << 10];
        let body = Instant::now();
        while left > 0 {
            let n = reader.read(&mut buffer).map_err(|e| fail(&e))?;
            if n == 0 {
                break;
            }
            transfer.bytes += n as u64;
            if self.too_slow(transfer.bytes, body.elapsed()) {
                return Err(fail(&"too slow"));
            }
            let skipped = skip.min(n as u64) as usize;
            skip -= skipped as u64;
            let wanted = &buffer[skipped..n];
            let wanted = &wanted[..wanted.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            left -= wanted.len() as u64;
            sink(wanted)?;
        }
        if left == 0 {
            // Takes the end of the body, so that the connection can be used again; a longer one is just dropped.
            let _ = reader.read(&mut buffer[..1]);
        }
        transfer.body = body.elapsed();
        Ok(Outcome::Delivered(transfer))
    }

    fn guess(&self) -> (f64, f64) {
        (64e3, 0.3)
    }
}
