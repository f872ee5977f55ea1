//! Seconds and memory of one command, measured by a small process of its own.
//!
//! The bench never starts an engine itself: it starts this program once more as `bench measured`, which starts
//! the engine and waits. So the children's resource usage is that of one engine alone, and its peak memory is
//! not that of the process it was forked from.

use crate::interrupt;
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How the figures come about; printed under every table.
pub const METHOD: &str = "\
CPU: user and system seconds of the child process (getrusage); of several runs the median counts, and of memory the \
most: deltas of pairs are applied three times at least. Peak: its ru_maxrss, which counts mapped file pages too. Anon: the largest RssAnon of /proc/PID/status, sampled every millisecond. MB are 10^6 bytes.";

/// What one command used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu: f64,
    /// Wall time, in seconds.
    pub wall: f64,
    /// Peak resident memory, in bytes.
    pub peak: u64,
    /// Peak anonymous memory as sampled, in bytes.
    pub anon: u64,
}

impl Usage {
    /// What two commands used that ran one after the other.
    pub fn then(self, next: Usage) -> Usage {
        Usage {
            cpu: self.cpu + next.cpu,
            wall: self.wall + next.wall,
            peak: self.peak.max(next.peak),
            anon: self.anon.max(next.anon),
        }
    }
}

/// What several runs of the same thing used: the median of their seconds, the most of their memory.
pub fn median(runs: &[Usage]) -> Usage {
    let most = |figure: fn(&Usage) -> u64| runs.iter().map(figure).max().unwrap_or(0);
    Usage {
        cpu: middle(runs.iter().map(|run| run.cpu)),
        wall: middle(runs.iter().map(|run| run.wall)),
        peak: most(|run| run.peak),
        anon: most(|run| run.anon),
    }
}

fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => at(count / 2),
        count => (at(count / 2 - 1) + at(count / 2)) / 2.0,
    }
}

/// The least and the most of a figure over runs; none where it was measured once.
pub fn spread(runs: &[Usage], figure: fn(&Usage) -> f64) -> Option<(f64, f64)> {
    let least = runs.iter().map(figure).min_by(f64::total_cmp)?;
    let most = runs.iter().map(figure).max_by(f64::total_cmp)?;
    (runs.len() > 1).then_some((least, most))
}

/// A command to be run and measured.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// File that takes its standard output.
    pub stdout: Option<PathBuf>,
    /// Whether its seconds count: `false` for what a peer needs only because its tools are separate.
    pub free: bool,
}

/// The hidden command line of the measuring process.
#[derive(Args)]
pub struct Request {
    #[arg(long)]
    report: PathBuf,
    #[arg(long)]
    stdout: Option<PathBuf>,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    argv: Vec<String>,
}

/// Runs the steps in order and adds up what they used.
pub fn steps(steps: &[Step]) -> Result<Usage, String> {
    let mut total = Usage::default();
    for step in steps {
        let usage = one(step)?;
        if !step.free {
            total = total.then(usage);
        }
    }
    Ok(total)
}

fn one(step: &Step) -> Result<Usage, String> {
    let report = tempfile::NamedTempFile::new().map_err(crate::text)?;
    let mut command = Command::new(std::env::current_exe().map_err(crate::text)?);
    command.arg("measured").arg("--report").arg(report.path());
    if let Some(path) = &step.stdout {
        command.arg("--stdout").arg(path);
    }
    command.arg("--").args(&step.argv).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = interrupt::output(&mut command).map_err(crate::text)?;
    interrupt::go_on()?;
    if !output.status.success() {
        // The last line is the measuring process's own, the one before it the command's.
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.trim().lines().rev().take(2).collect();
        return Err(format!("{}: {}", step.argv[0], said.join("; ")));
    }
    let json = fs::read(report.path()).map_err(crate::text)?;
    serde_json::from_slice(&json).map_err(crate::text)
}

/// The measuring process: starts the command, watches it, writes [`Usage`] as JSON.
pub fn child_main(request: &Request) -> Result<(), String> {
    let mut command = Command::new(&request.argv[0]);
    command.args(&request.argv[1..]);
    if let Some(path) = &request.stdout {
        command.stdout(File::create(path).map_err(crate::text)?);
    }
    let started = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", request.argv[0]))?;
    let status_file = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);
    let (status, anon) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut anon = 0;
            while !ended.load(Ordering::Relaxed) {
                anon = anon.max(rss_anon(&status_file));
                thread::sleep(Duration::from_millis(1));
            }
            anon
        });
        let status = child.wait();
        ended.store(true, Ordering::Relaxed);
        (status, watch.join().unwrap_or(0))
    });
    let wall = started.elapsed().as_secs_f64();
    let status = status.map_err(crate::text)?;
    if !status.success() {
        return Err(status.to_string());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(crate::text)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = Usage {
        cpu: seconds(usage.user_time()) + seconds(usage.system_time()),
        wall,
        peak: usage.max_rss() as u64 * 1024,
        anon,
    };
    fs::write(&request.report, serde_json::to_vec(&usage).map_err(crate::text)?).map_err(crate::text)
}

/// `RssAnon` in bytes; 0 where the process is gone or the kernel does not say.
fn rss_anon(status_file: &str) -> u64 {
    let text = fs::read_to_string(status_file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_adds_times_and_keeps_peaks() {
        let one = Usage {
            cpu: 1.0,
            wall: 2.0,
            peak: 30,
            anon: 4,
        };
        let two = Usage {
            cpu: 0.5,
            wall: 0.5,
            peak: 10,
            anon: 8,
        };
        assert_eq!(
            one.then(two),
            Usage {
                cpu: 1.5,
                wall: 2.5,
                peak: 30,
                anon: 8
            }
        );
    }

    #[test]
    fn runs_give_their_medians_and_their_spread() {
        let run = |cpu: f64, peak: u64| Usage {
            cpu,
            wall: 2.0 * cpu,
            peak,
            anon: peak / 2,
        };
        let odd = [run(3.0, 10), run(1.0, 30), run(2.0, 20)];
        assert_eq!(
            median(&odd),
            Usage {
                anon: 15,
                ..run(2.0, 30)
            }
        );
        let even = [run(3.0, 10), run(1.0, 30)];
        assert_eq!(median(&even).cpu, 2.0);
        assert_eq!(median(&[]), Usage::default());
        assert_eq!(spread(&odd, |run| run.wall), Some((2.0, 6.0)));
        assert_eq!(spread(&odd[..1], |run| run.wall), None);
    }

    #[test]
    fn own_anonymous_memory_is_seen() {
        assert!(rss_anon("/proc/self/status") > 0);
        assert_eq!(rss_anon("/proc/self/no-such-file"), 0);
    }
}
