//! The commands of the farm.

use super::access::AccessArgs;
use super::say::say;
use super::show::{bytes, json};
use super::terminal::Terminal;
use clap::{Args, Subcommand};
use elfup::Result;
use elfup::farm::{self, Keep, Publish};
use elfup::manifest::ScanOptions;
use elfup::names::Follow;
use elfup::store::{self, Store};
use elfup::trust::{Lifetimes, Signer};
use std::path::PathBuf;

/// Commands on keys.
#[derive(Subcommand)]
pub enum Keys {
    /// Make a key directory: root and targets (move them offline), release, snapshot, timestamp.
    Init {
        /// The directory.
        dir: PathBuf,
        /// How many root keys.
        #[arg(long, default_value_t = 1)]
        root_keys: u32,
    },
    /// Replace a role's keys, as after a theft or a loss; needs the root keys (for `release`: the targets key).
    ///
    /// Of the keys that are replaced only those of the root are needed. Old key files are set aside as *.key.old.
    Rotate {
        /// root, targets, release, snapshot or timestamp.
        role: String,
        #[command(flatten)]
        keys: KeyArgs,
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
    },
    /// Finish what a killed `rotate` left; the next signing does so, too, where it has the keys.
    Finish {
        #[command(flatten)]
        keys: KeyArgs,
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
    },
}

/// Where keys are.
#[derive(Args)]
pub struct KeyArgs {
    /// Key directory.
    #[arg(long)]
    keys: PathBuf,
    /// Directory of offline keys, such as a stick; may be given several times.
    #[arg(long, value_name = "DIR")]
    offline: Vec<PathBuf>,
}

impl KeyArgs {
    fn signer<'a>(&self, store: &'a dyn Store, watch: &'a Terminal) -> Signer<'a> {
        let signer = Signer::new(store, &self.keys, Lifetimes::default());
        signer.offline(&self.offline).heeding(watch)
    }
}

/// Commands on repositories.
#[derive(Subcommand)]
pub enum Repo {
    /// Sign the first metadata of a new repository. Sites start from its tuf/1.root.json.
    Init {
        /// The directory.
        repo: PathBuf,
        #[command(flatten)]
        keys: KeyArgs,
        /// How many root keys must sign a new root.
        #[arg(long, default_value_t = 1)]
        root_threshold: u64,
    },
    /// Renew what expires: run it from a timer, at least every few days, and once a year with the offline keys.
    Refresh {
        /// The directory.
        repo: PathBuf,
        #[command(flatten)]
        keys: KeyArgs,
    },
    /// Copy to a stick what a site needs to come to the newest release.
    Export {
        /// The repository.
        repo: PathBuf,
        #[command(flatten)]
        follow: FollowArgs,
        /// The oldest release that a site may be at; without it, enough for an empty site.
        #[arg(long)]
        since: Option<String>,
        /// The stick's directory; a source for `site init --source`.
        dir: PathBuf,
    },
}

/// What is followed.
#[derive(Args)]
pub struct FollowArgs {
    /// Product id.
    #[arg(long)]
    product: String,
    /// Channel.
    #[arg(long, default_value = "stable")]
    channel: String,
    /// Architecture.
    #[arg(long, default_value = std::env::consts::ARCH)]
    arch: String,
}

impl FollowArgs {
    /// Checks the names.
    pub fn get(&self) -> Result<Follow> {
        Follow::new(&self.product, &self.channel, &self.arch)
    }
}

/// Reads what is followed from one argument: PRODUCT, PRODUCT/CHANNEL or PRODUCT/CHANNEL/ARCH.
pub fn follow(text: &str) -> std::result::Result<Follow, String> {
    let mut parts = text.split('/');
    let mut part = |default| parts.next().unwrap_or(default);
    let (product, channel, arch) = (part(""), part("stable"), part(std::env::consts::ARCH));
    if text.split('/').count() > 3 {
        return Err("give PRODUCT, PRODUCT/CHANNEL or PRODUCT/CHANNEL/ARCH".into());
    }
    Follow::new(product, channel, arch).map_err(|e| e.to_string())
}

/// From which releases steps lead to a new one.
#[derive(Args)]
pub struct KeepArgs {
    /// Make deltas from and to so many of the last releases.
    #[arg(long, default_value_t = 2)]
    last: usize,
    /// Make deltas from and to this release too.
    #[arg(long)]
    from: Vec<String>,
    /// Every K-th release is a checkpoint: make deltas from the earlier ones, and to a new one from all since the last.
    #[arg(long, value_name = "K", default_value_t = 0)]
    every: u64,
}

impl KeepArgs {
    /// What they say.
    pub fn get(self) -> Keep {
        Keep {
            last: self.last,
            every: self.every,
            named: self.from,
        }
    }
}

/// Arguments of `publish`.
#[derive(Args)]
pub struct PublishArgs {
    /// Repository: a directory, or s3://BUCKET/PREFIX.
    #[arg(long)]
    repo: PathBuf,
    /// Directory with the release, snapshot and timestamp keys.
    #[arg(long)]
    keys: PathBuf,
    #[command(flatten)]
    follow: FollowArgs,
    /// Release id, new in its channel.
    #[arg(long)]
    release: String,
    #[command(flatten)]
    keep: KeepArgs,
    /// Pattern of paths whose local changes sites keep, such as 'etc/**'.
    #[arg(long)]
    config: Vec<String>,
    /// Mark the release as urgent.
    #[arg(long)]
    urgent: bool,
    /// From now on no site goes below this release (it may be the new one).
    #[arg(long)]
    floor: Option<String>,
    /// Record UID:GID as owner of everything.
    #[arg(long, value_name = "UID:GID", value_parser = owner)]
    owner: Option<(u32, u32)>,
    /// Record one modification time for everything, seconds since 1970 (as in SOURCE_DATE_EPOCH).
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    mtime: Option<i64>,
    /// Leave extended attributes out.
    #[arg(long)]
    no_xattrs: bool,
    /// Threads for scanning and deltas (0: one a core).
    #[arg(short = 'T', long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// MiB that files in work may need at once (0: three quarters of the machine's); one that needs more is worked on
    /// alone, in so much.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1 << 30))]
    memory: u64,
    /// Days until a site that sees no newer timestamp calls itself stale.
    #[arg(long, default_value_t = 7)]
    timestamp_days: i64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// The release tree.
    tree: PathBuf,
}

fn owner(text: &str) -> std::result::Result<(u32, u32), String> {
    let parse = |t: &str| t.parse().map_err(|_| "not UID:GID".to_owned());
    let (uid, gid) = text.split_once(':').ok_or("not UID:GID")?;
    Ok((parse(uid)?, parse(gid)?))
}

/// Commands on a repository's content.
#[derive(Subcommand)]
pub enum Farm {
    /// Drop old releases and every file that no release needs.
    Gc {
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
        /// Key directory.
        #[arg(long)]
        keys: PathBuf,
        #[command(flatten)]
        follow: FollowArgs,
        /// How many of the newest releases stay.
        #[arg(long, default_value_t = 10)]
        keep: usize,
        /// Every K-th release stays, too, as `publish` was told.
        #[arg(long, value_name = "K", default_value_t = 0)]
        every: u64,
        /// This release stays, too; may be given several times.
        #[arg(long, value_name = "RELEASE")]
        named: Vec<String>,
    },
    /// Read back everything that signed metadata leads to; exit code 7 if something is not right.
    Verify {
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
        /// Read only about so many percent of the files, others each time.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
        sample: u8,
        /// Go on where an interrupted run stopped.
        #[arg(long)]
        resume: bool,
        /// Threads (0: one a core).
        #[arg(short = 'T', long, value_name = "N", default_value_t = 0)]
        threads: usize,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replace what `verify` finds wrong by what mirrors or trees have; exit code 7 if something is left.
    Repair {
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
        /// A tree with files of releases; may be given several times.
        #[arg(long)]
        tree: Vec<PathBuf>,
        /// A mirror: a directory or an address; may be given several times.
        #[arg(long)]
        from: Vec<String>,
        #[command(flatten)]
        access: AccessArgs,
        /// Threads (0: one a core).
        #[arg(short = 'T', long, value_name = "N", default_value_t = 0)]
        threads: usize,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a farm's configuration file, farm.toml, with every key, its meaning and its default.
    Config,
    /// Store a release's files and what is to be made of them, for workers on other machines.
    Plan(super::work::PlanArgs),
    /// Make a share of a planned release's jobs, without keys. Exit codes: 0, 75 (try again), 1.
    Work(super::work::WorkArgs),
    /// A farm at a glance: releases, what deltas saved, what resists, and how sites would fare on slow links.
    Report(super::report::ReportArgs),
    /// What deltas save, step by step.
    Stats {
        /// Repository: a directory, or s3://BUCKET/PREFIX.
        #[arg(long)]
        repo: PathBuf,
        #[command(flatten)]
        follow: FollowArgs,
        /// Print as JSON.
        #[arg(long)]
        json: bool,
        /// Print as Prometheus reads it, for a file beside its node exporter.
        #[arg(long, conflicts_with = "json")]
        prometheus: bool,
    },
}

/// `elfup keys`.
pub fn keys(command: Keys, watch: &Terminal) -> Result<u8> {
    match command {
        Keys::Init { dir, root_keys } => {
            let made = Signer::make_keys(&dir, root_keys)?;
            say!(
                "keys {}in {}; keep root-*.key and targets.key offline",
                if made {
                    ""
                } else {
                    "were there already, unchanged, "
                },
                dir.display()
            );
        }
        Keys::Rotate { role, keys, repo } => {
            let store = store::open(&repo, watch)?;
            keys.signer(&*store, watch).rotate(&role)?;
            say!("{role} has a new key; what it replaces is set aside as *.key.old");
        }
        Keys::Finish { keys, repo } => {
            keys.signer(&*store::open(&repo, watch)?, watch).finish()?;
            say!("nothing is left to finish");
        }
    }
    Ok(0)
}

/// `elfup repo`.
pub fn repo(command: Repo, watch: &Terminal) -> Result<u8> {
    match command {
        Repo::Init {
            repo,
            keys,
            root_threshold,
        } => {
            let store = store::open(&repo, watch)?;
            let made = keys.signer(&*store, watch).init(root_threshold)?;
            say!(
                "repository {}in {}; sites trust {}",
                if made {
                    ""
                } else {
                    "was there already, unchanged, "
                },
                repo.display(),
                repo.join("tuf/1.root.json").display()
            );
        }
        Repo::Refresh { repo, keys } => {
            let store = store::open(&repo, watch)?;
            keys.signer(&*store, watch).renew()?;
        }
        Repo::Export {
            repo,
            follow,
            since,
            dir,
        } => {
            let total = farm::export(
                &*store::open(&repo, watch)?,
                &follow.get()?,
                since.as_deref(),
                &dir,
                watch,
            )?;
            say!("{} in {}", bytes(total), dir.display());
        }
    }
    Ok(0)
}

/// `elfup publish`.
pub fn publish(a: PublishArgs, watch: &Terminal) -> Result<u8> {
    let store = store::open(&a.repo, watch)?;
    let published = farm::publish(
        &*store,
        &Publish {
            keys: a.keys,
            follow: a.follow.get()?,
            release: a.release.clone(),
            tree: a.tree,
            keep: a.keep.get(),
            config: a.config,
            urgent: a.urgent,
            floor: a.floor,
            scan: ScanOptions {
                owner: a.owner,
                no_xattrs: a.no_xattrs,
                mtime: a.mtime,
            },
            lifetimes: Lifetimes {
                timestamp: a.timestamp_days,
                ..Lifetimes::default()
            },
            threads: a.threads,
            memory: a.memory << 20,
            sites: farm::SiteLimits::default(),
        },
        watch,
    )?;
    watch.clear();
    if a.json {
        return json(&published);
    }
    let what = if published.already {
        "was published before, unchanged"
    } else {
        "published"
    };
    let (entries, steps) = (published.entries, published.steps);
    say!(
        "{} {what}: sequence {}, {entries} paths, {steps} steps",
        a.release,
        published.sequence
    );
    Ok(0)
}

/// `elfup farm`.
pub fn farm(command: Farm, watch: &Terminal) -> Result<u8> {
    match command {
        Farm::Config => return super::config::print(),
        Farm::Plan(a) => return super::work::plan(a, watch),
        Farm::Work(a) => return super::work::work(a, watch),
        Farm::Report(a) => return super::report::run(&a, watch),
        Farm::Gc {
            repo,
            keys,
            follow,
            keep,
            every,
            named,
        } => {
            let keep = Keep {
                last: keep,
                every,
                named,
            };
            let report = farm::gc(&*store::open(&repo, watch)?, &keys, &follow.get()?, &keep, watch)?;
            say!(
                "{} releases, {} steps of others and {} files gone, {}",
                report.releases,
                report.steps,
                report.files,
                bytes(report.bytes)
            );
        }
        Farm::Verify {
            repo,
            sample,
            resume,
            threads,
            json,
        } => {
            let options = farm::Verify {
                sample,
                resume,
                threads,
            };
            return verified(
                &farm::verify(&*store::open(&repo, watch)?, &options, watch)?,
                json,
                watch,
            );
        }
        Farm::Repair {
            repo,
            tree,
            from,
            access,
            threads,
            json,
        } => {
            let options = farm::Repair {
                trees: tree,
                sources: from,
                access: access.get()?,
                threads,
            };
            return repaired(
                &farm::repair(&*store::open(&repo, watch)?, &options, watch)?,
                json,
                watch,
            );
        }
        Farm::Stats {
            repo,
            follow,
            json,
            prometheus,
        } => {
            let follow = follow.get()?;
            let steps = farm::stats(&*store::open(&repo, watch)?, &follow, watch)?;
            return told(&steps, &follow, (json, prometheus));
        }
    }
    Ok(0)
}

/// The steps for people, as JSON, or for Prometheus.
fn told(steps: &[farm::StepStats], follow: &Follow, (as_json, prometheus): (bool, bool)) -> Result<u8> {
    match (as_json, prometheus) {
        (true, _) => return json(&steps),
        (_, true) => say!("{}", farm::metrics(steps, follow).trim_end()),
        _ => stats(steps),
    }
    Ok(0)
}

/// A line for each step.
fn stats(steps: &[farm::StepStats]) {
    say!(
        "{:>28}  {:>6} {:>10} {:>10} {:>8} {:>10} {:>9}",
        "step",
        "files",
        "without",
        "with",
        "saved",
        "kept",
        "CPU time"
    );
    for s in steps {
        let saved = 100.0 - 100.0 * s.with() as f64 / s.without.max(1) as f64;
        let name = format!("{} -> {}", s.from.as_deref().unwrap_or("(nothing)"), s.to);
        say!(
            "{name:>28}  {:>6} {:>10} {:>10} {saved:>7.1}% {:>10} {:>9}",
            s.files,
            bytes(s.without),
            bytes(s.with()),
            bytes(s.stored),
            s.cost
                .map_or("-".into(), |cost| format!("{:.1} s", cost.seconds()))
        );
    }
}

fn verified(report: &farm::Verified, as_json: bool, watch: &Terminal) -> Result<u8> {
    watch.clear();
    if as_json {
        json(report)?;
    } else {
        wrong(&report.wrong);
        say!(
            "{} of {} files read back, {} not right",
            report.checked,
            report.files,
            report.wrong.len()
        );
    }
    Ok(if report.wrong.is_empty() { 0 } else { 7 })
}

fn repaired(report: &farm::Repaired, as_json: bool, watch: &Terminal) -> Result<u8> {
    watch.clear();
    if as_json {
        json(report)?;
    } else {
        wrong(&report.left);
        let (done, left) = (report.repaired.len(), report.left.len());
        say!("{done} files are right again, {left} are left");
    }
    Ok(if report.left.is_empty() { 0 } else { 7 })
}

fn wrong(files: &[farm::Wrong]) {
    for w in files {
        say!("{}: {}", w.path, w.why);
    }
}
