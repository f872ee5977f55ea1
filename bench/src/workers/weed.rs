//! A real S3 server on loopback that counts the requests it answers; it ends with the run.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// The bucket.
pub const BUCKET: &str = "farm";

/// SeaweedFS with one bucket.
pub struct Weed {
    child: Child,
    s3: u16,
    metrics: u16,
}

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

impl Weed {
    /// Starts one with its files below `dir`; none where it is not installed.
    pub fn start(dir: &Path) -> Result<Option<Weed>, String> {
        let found = Command::new("weed")
            .arg("version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let dir = dir.join("weed");
        fs::create_dir_all(&dir).map_err(crate::text)?;
        let identity = r#"{"identities":[{"name":"farm","credentials":[{"accessKey":"key","secretKey":"secret"}],
            "actions":["Admin","Read","Write","List","Tagging"]}]}"#;
        fs::write(dir.join("s3.json"), identity).map_err(crate::text)?;
        let ports = free(9)?;
        let mut command = Command::new("weed");
        command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=8"]);
        command.args([
            "-volume.minFreeSpace=64MiB",
            "-master.volumeSizeLimitMB=64",
            "-filer",
            "-s3",
        ]);
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
        ];
        let names = names
            .iter()
            .chain(&["filer.port.grpc", "s3.port", "s3.port.grpc", "metricsPort"]);
        command.args(names.zip(&ports).map(|(name, port)| format!("-{name}={port}")));
        command.arg(format!("-dir={}", dir.display()));
        command.arg(format!("-s3.config={}", dir.join("s3.json").display()));
        let log = fs::File::create(dir.join("log")).map_err(crate::text)?;
        command.stdout(log.try_clone().map_err(crate::text)?).stderr(log);
        // Whatever starts it may be a script, so the process that serves is of the same group.
        let child = command.process_group(0).spawn().map_err(crate::text)?;
        let weed = Weed {
            child,
            s3: ports[6],
            metrics: ports[8],
        };
        let begin = Instant::now();
        loop {
            let made = request(ports[4], &format!("POST /buckets/{BUCKET}/"));
            let made = made.is_some_and(|answer| answer.contains(" 201 ") || answer.contains(" 409 "));
            if made && TcpStream::connect(("127.0.0.1", weed.s3)).is_ok() {
                return Ok(Some(weed));
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("weed does not start; see {}", dir.join("log").display()));
            }
            crate::interrupt::go_on()?;
            sleep(Duration::from_millis(100));
        }
    }

    /// Lets a command reach the bucket.
    pub fn reach(&self, command: &mut Command) {
        command
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.s3));
    }

    /// S3 requests that it answered so far, by its own count.
    pub fn requests(&self) -> Result<u64, String> {
        let text = request(self.metrics, "GET /metrics").ok_or("weed does not tell its metrics")?;
        let of = |line: &str| {
            line.starts_with("SeaweedFS_s3_request_seconds_count")
                .then(|| line.rsplit(' ').next()?.parse().ok())
        };
        let counts: Option<Vec<f64>> = text.lines().filter_map(of).collect();
        let counts = counts.ok_or("weed's metrics are not what they were")?;
        Ok(counts.iter().sum::<f64>() as u64)
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// Ports that nobody listens at.
fn free(count: usize) -> Result<Vec<u16>, String> {
    let bind = |_| TcpListener::bind(("127.0.0.1", 0)).map_err(crate::text);
    let held: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_, _>>()?;
    held.iter()
        .map(|l| l.local_addr().map(|a| a.port()).map_err(crate::text))
        .collect()
}

/// Asks and reads the whole answer.
fn request(port: u16, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let head = format!("{line} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}
