//! The commands of a site.

mod args;

pub use args::SiteArgs;

use super::say::say;
use super::show::{self, bytes, json, seconds};
use super::terminal::Terminal;
use args::{Command, Daemon, Init, Keep};
use elfup::apart::Apart;
use elfup::site::daemon::{self, Event, Link, Policy, When};
use elfup::site::{Carried, Config, Health, Runs, Site, UpdateOptions, Updated, Wanted};
use elfup::{Error, Result, Watch};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn read(path: &PathBuf) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(format!("read {}", path.display()), e))
}

/// `elfup site`.
pub fn run(args: SiteArgs, watch: &Arc<Terminal>) -> Result<u8> {
    let command = match args.command {
        Command::Init(init) => return make(&args.site, *init, args.source),
        command => command,
    };
    super::apart::use_self(args.sandbox);
    if let Command::Run(daemon) = command {
        if !args.source.is_empty() {
            return Err(Error::Usage("`run` takes its sources from site.toml".into()));
        }
        #[cfg(feature = "serve")]
        {
            let (site, shared): (_, Arc<dyn Watch + Send + Sync>) = (&args.site, Arc::clone(watch) as _);
            let work = |first: &[String]| serve(site, &daemon, first, watch);
            return super::share::sharing(site, &daemon.share, &shared, work).map(|()| 0);
        }
        #[cfg(not(feature = "serve"))]
        return serve(&args.site, &daemon, &[], watch).map(|()| 0);
    }
    let site = Site::open_from(&args.site, &args.source)?;
    site.told.iter().for_each(|line| watch.note(line));
    let result = one(command, &site, watch);
    if !matches!(result, Err(Error::Cancelled)) {
        site.report_back(&**watch);
    }
    result
}

/// One command on an open site.
fn one(command: Command, site: &Site, watch: &Terminal) -> Result<u8> {
    match command {
        // Both are done.
        Command::Init(_) | Command::Run(_) => {}
        Command::Check { json } => return check(site, json, watch),
        Command::Plan { weigh, explain, json } => {
            let planned = site.prepare(&weigh.options(), watch)?;
            match planned {
                planned if json => return show::json(&planned.map(|planned| planned.plan)),
                Some(planned) => {
                    show::plan(&planned.plan, site.config().budget, explain);
                    if let Some(between) = planned.between.filter(|_| explain) {
                        say!("\nOf {}:", between.plan.release);
                        show::items(&between.plan);
                    }
                }
                None => say!("up to date"),
            }
        }
        Command::Fetch { weigh, json } => {
            let options = UpdateOptions {
                fetch_only: true,
                ..weigh.options()
            };
            return told(&site.update(&options, watch)?, json, watch);
        }
        Command::Activate { json } => return runs(&site.activate(watch)?, json),
        Command::Update { weigh, again, json } => {
            let options = UpdateOptions {
                again,
                ..weigh.options()
            };
            return told(&site.update(&options, watch)?, json, watch);
        }
        Command::Rollback { json } => return runs(&site.rollback(watch)?, json),
        Command::Downgrade {
            release,
            below_floor,
            json,
        } => {
            let wanted = Wanted::Release {
                id: release,
                below_floor,
            };
            let options = UpdateOptions {
                wanted,
                ..UpdateOptions::default()
            };
            return told(&site.update(&options, watch)?, json, watch);
        }
        Command::Status { json } => return status(site, json, watch),
        Command::Verify { json } => return verify(site, json, watch),
        Command::Repair { json } => {
            let repaired = site.repair(watch)?;
            if json {
                return show::json(&serde_json::json!({"repaired": repaired}));
            }
            say!("{repaired} repaired");
        }
        Command::Gc { forget_fetched, json } => return gc(site, forget_fetched, json, watch),
        Command::Pin { release, remove } => site.pin(&release, !remove)?,
        Command::Report { prometheus: true } => say!("{}", site.report()?.metrics().trim_end()),
        Command::Report { .. } => return json(&site.report()?),
        Command::Recover { root } => site.recover(&read(&root)?)?,
    }
    Ok(0)
}

/// The shortest time after which a fetch is left to look for an urgent release.
const LOOK: Duration = Duration::from_secs(3600);

/// Does rounds until it is told to stop, or one; `first` are sources that are asked before those configured.
fn serve(dir: &Path, args: &Daemon, first: &[String], watch: &Terminal) -> Result<()> {
    let minutes = |n: u64| Duration::from_secs(n.saturating_mul(60));
    #[cfg(feature = "dbus")]
    let metered: (&dyn Link, When) = (&super::bus::Network, args.metered.into());
    #[cfg(not(feature = "dbus"))]
    let metered: (&dyn Link, When) = (&daemon::Unmetered, When::Always);
    let policy = Policy {
        first,
        every: minutes(args.every),
        jitter: minutes(args.jitter),
        fetch: args.fetch.into(),
        apply: args.apply.into(),
        // No file takes so long to rebuild that leaving would keep it from ever being whole.
        look: minutes(args.every).max(LOOK),
        metered,
    };
    if args.once {
        say(&daemon::round(dir, &policy, watch)?);
        return Ok(());
    }
    let (ask, asks) = std::sync::mpsc::channel();
    #[cfg(feature = "dbus")]
    let bus = args
        .bus
        .map(|which| super::bus::Bus::open(which, ask))
        .transpose()?;
    #[cfg(not(feature = "dbus"))]
    drop(ask);
    let mut last: Option<Event> = None;
    daemon::run(dir, &policy, watch, &asks, &mut |event| {
        #[cfg(feature = "dbus")]
        if let Some(Err(e)) = bus.as_ref().map(|bus| bus.tell(event)) {
            elfup::Watch::note(watch, &e.to_string());
        }
        if last.as_ref() != Some(event) {
            say(event);
        }
        last = Some(event.clone());
    })
}

fn check(site: &Site, as_json: bool, watch: &Terminal) -> Result<u8> {
    let checked = site.check(watch)?;
    if as_json {
        json(&checked)?;
    } else {
        let running = checked.current.as_deref().unwrap_or("nothing");
        let urgent = if checked.urgent { ", urgent" } else { "" };
        let what = if checked.available {
            "available"
        } else {
            "the newest"
        };
        say!("{running} runs; {} is {what}{urgent}", checked.head);
        if checked.clock_behind > 0 {
            say!(
                "the clock is {} s behind signed time; the signed time is used",
                checked.clock_behind
            );
        }
    }
    Ok(if checked.available { 10 } else { 0 })
}

fn verify(site: &Site, as_json: bool, watch: &Terminal) -> Result<u8> {
    let differences = site.verify(watch)?;
    let unset = site.unset(watch)?;
    if as_json {
        json(&serde_json::json!({"differences": differences, "other_owner": unset}))?;
        return Ok(if differences.is_empty() { 0 } else { 7 });
    }
    differences.iter().for_each(|d| say!("{}: {}", d.path, d.what));
    if !unset.is_empty() {
        say!(
            "{} paths have another owner, as root was needed to set it",
            unset.len()
        );
    }
    if !differences.is_empty() {
        return Err(Error::Damaged(format!(
            "{} paths differ from the release",
            differences.len()
        )));
    }
    say!("the tree is as its release has it");
    Ok(0)
}

fn gc(site: &Site, forget_fetched: bool, as_json: bool, watch: &Terminal) -> Result<u8> {
    let r = site.gc(forget_fetched, watch)?;
    if as_json {
        return json(&r);
    }
    say!(
        "{} deployments and {} objects gone, {}",
        r.deployments,
        r.objects,
        bytes(r.bytes)
    );
    Ok(0)
}

/// Which release runs now.
fn runs(runs: &Runs, as_json: bool) -> Result<u8> {
    if as_json {
        return json(runs);
    }
    say!("{} runs", runs.release);
    configuration(&runs.configuration);
    Ok(0)
}

/// What the administrator should look at.
fn configuration(carried: &Carried) {
    for b in &carried.beside {
        say!(
            "{} was changed here and stays; the new default is {}",
            b.local,
            b.new
        );
    }
    for left in &carried.not_kept {
        say!("{} was not kept: {}", left.path, left.why);
    }
}

fn say(event: &Event) {
    let mark = |urgent: &bool| if *urgent { ", urgent" } else { "" };
    match event {
        Event::UpToDate => say!("up to date"),
        Event::Available { release, urgent } => say!("{release} is available{}", mark(urgent)),
        Event::Fetching { release, urgent } => say!("{release} is being fetched{}", mark(urgent)),
        Event::Ready { release, urgent } => {
            say!("{release} is fetched{}; `activate` switches to it", mark(urgent));
        }
        Event::Applied(release) => say!("{release} runs"),
        // The note on standard error has told it.
        Event::Failed(_) => {}
    }
}

fn make(dir: &Path, a: Init, sources: Vec<String>) -> Result<u8> {
    let health = a.health.map(|command| Health {
        command: command.split_whitespace().map(str::to_owned).collect(),
        timeout: a.health_timeout,
    });
    let access = a.access.get()?;
    let config = Config {
        objective: a.objective.into(),
        memory: a.memory << 20,
        reserve: a.reserve << 20,
        keep: match a.keep {
            Keep::Whole(n) => n,
            Keep::Reverse => 0,
        },
        keep_reverse: matches!(a.keep, Keep::Reverse),
        unprivileged: a.unprivileged,
        health,
        fixed: a.fixed,
        budget: a.budget.map(|n| n << 20),
        hours: a.hours,
        nearby: a.nearby,
        seeds: a.seed,
        ca: access.ca,
        header_file: access.header_file,
        netrc: access.netrc,
        ..Config::new(a.follow.get()?, sources)
    };
    Site::init(dir, &config, &read(&a.root)?)?;
    say!(
        "site in {}, configured by its site.toml; `elfup site update` fetches its first release",
        dir.display()
    );
    Ok(0)
}

fn told(u: &Updated, as_json: bool, watch: &Terminal) -> Result<u8> {
    watch.clear();
    if as_json {
        return json(u);
    }
    if !u.changed {
        say!("{} is the newest", u.to);
        return Ok(0);
    }
    let f = &u.fetched;
    say!("{} -> {}", u.from.as_deref().unwrap_or("nothing"), u.to);
    say!(
        "{} copied, {} by delta, {} in bundles, {} whole; {} options failed",
        f.copies,
        f.deltas,
        f.bundled,
        f.blobs,
        f.failed_options
    );
    say!(
        "{} in {} requests, {} of it wasted (whole files: {}); {} (predicted: {}, {})",
        bytes(u.account.bytes),
        u.account.requests,
        bytes(u.account.wasted),
        bytes(u.whole_bytes),
        seconds(u.seconds),
        bytes(u.predicted_bytes),
        seconds(u.predicted_seconds),
    );
    configuration(&u.configuration);
    Ok(0)
}

fn status(site: &Site, as_json: bool, watch: &Terminal) -> Result<u8> {
    let deployments = site.deployments()?;
    let ready = site.ready()?.map(|m| m.header.release);
    let trust = site.trust()?;
    let way_back = site.way_back()?;
    let trial = site.on_trial()?;
    let decoded = Apart::new(site.decoder.clone(), site.config().memory).shown(watch)?;
    let beside = site.beside()?;
    if as_json {
        return json(&serde_json::json!({
            "deployments": deployments,
            "ready": ready,
            "beside": beside,
            "trial": trial.as_ref().map(|(release, _)| release),
            "metadata_expires": trust.expires(),
            "clock_behind": trust.clock_behind(),
            "decoded": decoded,
            "reverse": way_back.map(|(release, readable)| serde_json::json!({"release": release, "readable": readable})),
        }));
    }
    for d in &deployments {
        let mark = if d.current { '*' } else { ' ' };
        let previous = if d.previous { ", rollback goes here" } else { "" };
        let pinned = if d.pinned { ", pinned" } else { "" };
        say!("{mark} {} (sequence {}{previous}{pinned})", d.release, d.sequence);
    }
    if deployments.is_empty() {
        say!("nothing is deployed");
    }
    for b in &beside {
        say!("{} was changed here; the release's default is {}", b.local, b.new);
    }
    if let Some((new, old)) = trial {
        say!("{new} is on trial; `update` repeats its health check, and goes back to {old} if it fails");
    }
    if let Some(ready) = ready {
        say!("{ready} is fetched; `activate` switches to it");
    }
    if let Some((release, readable)) = way_back {
        let note = if readable {
            ""
        } else {
            ", but this elfup cannot read it"
        };
        say!("a reverse delta leads back to {release}{note}");
    }
    match trust.expires() {
        Some(expires) => say!("signed metadata is good until {expires}"),
        None => say!("never checked"),
    }
    say!("patches are applied {decoded}");
    Ok(0)
}
