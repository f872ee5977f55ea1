//! The commands that spread a release's jobs over machines, and what array jobs say of themselves.

use super::farm::{FollowArgs, KeepArgs};
use super::say::{say, tell};
use super::show::{bytes, json};
use super::terminal::Terminal;
use clap::Args;
use elfup::farm::{self, Planning, Share, Work};
use elfup::{Error, Result, Watch, store};
use std::path::PathBuf;

/// What both commands are about.
#[derive(Args)]
pub struct About {
    /// Repository: a directory, or s3://BUCKET/PREFIX.
    #[arg(long)]
    repo: PathBuf,
    #[command(flatten)]
    follow: FollowArgs,
    /// Release id.
    #[arg(long)]
    release: String,
    /// Threads (0: one a core).
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// MiB that files in work may need at once (0: three quarters of the machine's); one that needs more is worked on
    /// alone, in so much.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 30))]
    memory: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `farm plan`.
#[derive(Args)]
pub struct PlanArgs {
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    keep: KeepArgs,
    /// The release tree.
    tree: PathBuf,
}

/// Arguments of `farm work`.
#[derive(Args)]
pub struct WorkArgs {
    #[command(flatten)]
    about: About,
    /// First make the jobs of worker I, from 0, of N, then what others have left. Without it, as an array job of Slurm, Kubernetes or AWS Batch says;
    /// where that does not tell N, the variable ELFUP_SHARDS does.
    #[arg(long, value_name = "I/N", conflicts_with = "steal")]
    shard: Option<String>,
    /// Make the longest that no other worker is at, until nothing is left.
    #[arg(long)]
    steal: bool,
}

/// `elfup farm plan`.
pub fn plan(a: PlanArgs, watch: &Terminal) -> Result<u8> {
    let store = store::open(&a.about.repo, watch)?;
    let planning = Planning {
        follow: a.about.follow.get()?,
        release: a.about.release,
        tree: a.tree,
        keep: a.keep.get(),
        threads: a.about.threads,
        memory: a.about.memory << 20,
    };
    let planned = farm::plan(&*store, &planning, watch)?;
    watch.clear();
    if a.about.json {
        return json(&planned);
    }
    say!(
        "{} jobs, {} of them done; the rest takes about {} s of one core, the largest {} of memory; then groups and bundles",
        planned.jobs,
        planned.done,
        planned.seconds,
        bytes(planned.memory)
    );
    Ok(0)
}

/// Exit code for what the same command may do later.
const AGAIN: u8 = 75;

/// `elfup farm work`. Its exit codes are for schedulers: 0, 75 (try again), 1.
pub fn work(a: WorkArgs, watch: &Terminal) -> Result<u8> {
    match try_work(a, watch) {
        Err(e) => {
            watch.clear();
            tell!("elfup: {e}");
            tell!("{}", e.advice());
            Ok(if e.passes() { AGAIN } else { 1 })
        }
        code => code,
    }
}

fn try_work(a: WorkArgs, watch: &Terminal) -> Result<u8> {
    let share = share(a.shard.as_deref(), a.steal, &|name| std::env::var(name).ok())?;
    let store = store::open_shared(&a.about.repo, watch)?;
    let work = Work {
        follow: a.about.follow.get()?,
        release: a.about.release,
        share,
        threads: a.about.threads,
        memory: a.about.memory << 20,
    };
    let worked = farm::work(&*store, &work, watch)?;
    watch.clear();
    if a.about.json {
        json(&worked)?;
    } else {
        worked.failed.iter().for_each(|why| watch.note(why));
        say!(
            "{} jobs: {} made, {} made by others, {} failed",
            worked.jobs,
            worked.made,
            worked.found,
            worked.failed.len()
        );
    }
    Ok(u8::from(!worked.failed.is_empty()))
}

/// A worker's share, as asked for or as its scheduler's variables tell.
fn share(shard: Option<&str>, steal: bool, variable: &dyn Fn(&str) -> Option<String>) -> Result<Share> {
    if steal {
        return Ok(Share::Steal);
    }
    let wrong = |what: &str| Error::Usage(format!("{what} does not tell which jobs to make"));
    let number = |name: &str| -> Result<Option<usize>> {
        let value = variable(name);
        let parsed = value.map(|v| v.parse().map_err(|_| wrong(&format!("{name}={v}"))));
        parsed.transpose()
    };
    let of = |index: usize, count: usize, what: &str| match index < count {
        true => Ok(Share::Shard { index, count }),
        false => Err(wrong(&format!("{what}: {index} of {count}"))),
    };
    if let Some(text) = shard {
        let parts = text
            .split_once('/')
            .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let (index, count) = parts.ok_or_else(|| wrong(&format!("--shard {text}")))?;
        return of(index, count, "--shard");
    }
    if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
        let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
        let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
        let count = number("SLURM_ARRAY_TASK_COUNT")?.ok_or_else(|| wrong("SLURM_ARRAY_TASK_ID alone"))?;
        return of(id.saturating_sub(first) / step, count, "SLURM_ARRAY_TASK_ID");
    }
    for (index, count) in [
        ("JOB_COMPLETION_INDEX", "ELFUP_SHARDS"),
        ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ] {
        if let Some(i) = number(index)? {
            let told = number(count)?.or(number("ELFUP_SHARDS")?);
            let count = told.ok_or_else(|| wrong(&format!("{index} without ELFUP_SHARDS")))?;
            return of(i, count, index);
        }
    }
    Err(Error::Usage(
        "which jobs to make is not said: give --shard I/N or --steal, or run it as an array job".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers_tell_the_share() {
        let ask = |shard: Option<&str>, variables: &[(&str, &str)]| {
            let find = |name: &str| {
                variables
                    .iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| v.to_string())
            };
            match share(shard, false, &find) {
                Ok(Share::Shard { index, count }) => Some((index, count)),
                _ => None,
            }
        };
        assert_eq!(ask(Some("2/3"), &[("SLURM_ARRAY_TASK_ID", "0")]), Some((2, 3)));
        for wrong in ["3/3", "1", "a/b", "-1/2", "0/0"] {
            assert_eq!(ask(Some(wrong), &[]), None, "{wrong}");
        }
        let slurm = [("SLURM_ARRAY_TASK_ID", "14"), ("SLURM_ARRAY_TASK_COUNT", "3")];
        assert_eq!(ask(None, &slurm), None);
        let slurm = [
            &slurm[..],
            &[("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_STEP", "2")],
        ]
        .concat();
        assert_eq!(ask(None, &slurm), Some((2, 3)));
        assert_eq!(ask(None, &[("JOB_COMPLETION_INDEX", "1")]), None);
        assert_eq!(
            ask(None, &[("JOB_COMPLETION_INDEX", "1"), ("ELFUP_SHARDS", "4")]),
            Some((1, 4))
        );
        let batch = [
            ("AWS_BATCH_JOB_ARRAY_INDEX", "1"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "2"),
        ];
        assert_eq!(ask(None, &batch), Some((1, 2)));
        assert_eq!(ask(None, &[]), None);
    }
}
