//! Many sites of one place behind one bad link, each for itself and behind a box (`elfup serve`).

use crate::{
    cases,
    fleet::{
        command,
        link::{Link, Shape},
        server::Nginx,
    },
    interrupt::{self, Then, go_on},
    load::farm::Farm,
    release,
    table::group,
};
use clap::Args;
use corpora::Cache;
use serde::Serialize;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The command line of `bench place`.
#[derive(Args)]
pub struct Place {
    /// Sites of the place.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=200))]
    sites: u32,
    /// Rate of the link in kbit/s, each way.
    #[arg(long, default_value_t = 256)]
    kbit: u32,
    /// Round trip of the link in milliseconds.
    #[arg(long, default_value_t = 600)]
    rtt: u64,
    /// Our program [default: built from this workspace].
    #[arg(long, value_name = "FILE")]
    elfup: Option<PathBuf>,
    /// Also write every figure to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What one way cost.
#[derive(Clone, Debug, Serialize)]
struct Row {
    way: String,
    sites: u32,
    /// Bytes that came over the link, with headers and repetitions.
    down: u64,
    /// Bytes of content that the distant server sent.
    content: u64,
    requests: u64,
    seconds: f64,
    /// Updates that failed and were asked for once more.
    again: u32,
}

/// The most that all sites behind a box may fetch, of what one does.
const MOST: f64 = 1.05;
/// How often a site is asked to update before it is given up.
const TRIES: u32 = 20;

/// `bench place`.
pub fn run(cache: &Cache, args: &Place) -> Result<(), String> {
    crate::fleet::able()?;
    interrupt::install(Then::Return)?;
    let elfup = args.elfup.clone().map_or_else(crate::built::elfup, Ok)?;
    let work = tempfile::tempdir().map_err(crate::text)?;
    let case = cases::first_of(cache, &["esbuild", "numpy"])?;
    for (release, file) in [("1", &case.old), ("2", &case.new)] {
        release::tree(&work.path().join(release), release, file).map_err(crate::text)?;
    }
    let farm = Farm::new(work.path(), &elfup)?;
    farm.publish("place", 1, "1")?;
    farm.site("first", &farm.folder_source())?;
    farm.update("place", "install", "first")?;
    farm.publish("place", 2, "2")?;
    let nginx = Nginx::start(&work.path().join("repo"), work.path())?;
    let mut link = Link::make()?;
    let far = format!("http://{}", link.open(nginx.port)?);
    let shape = Shape {
        kbit: args.kbit.max(1),
        rtt_ms: args.rtt,
    };
    link.shape(Some(shape))?;
    let yard = Yard {
        farm,
        elfup: elfup.display().to_string(),
        work: work.path().to_owned(),
        link,
        nginx,
        far,
    };
    let mut rows = vec![yard.alone(1)?];
    if args.sites > 1 {
        rows.push(yard.alone(args.sites)?);
    }
    rows.push(yard.boxed(args.sites, None)?);
    let while_it_fetches = Duration::from_secs_f64(rows[0].seconds / 2.0);
    rows.push(yard.boxed(args.sites, Some(while_it_fetches))?);
    println!("{}", table(&case.name, shape, &rows));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(crate::text)?;
        fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let (one, boxed) = (&rows[0], &rows[rows.len() - 2]);
    match boxed.content as f64 <= one.content as f64 * MOST {
        true => Ok(()),
        false => Err(format!(
            "{} sites behind a box cost the link more than {MOST} times what one does",
            args.sites
        )),
    }
}

/// The farm, the link, and the place behind it.
struct Yard {
    farm: Farm,
    elfup: String,
    work: PathBuf,
    link: Link,
    nginx: Nginx,
    far: String,
}

impl Yard {
    /// Every site for itself.
    fn alone(&self, sites: u32) -> Result<Row, String> {
        self.row("each for itself", sites, &self.far, &mut || Ok(()))
    }

    /// All sites behind a box, and nothing else to ask. `kill`: it is killed after so long, and begun again.
    fn boxed(&self, sites: u32, kill: Option<Duration>) -> Result<Row, String> {
        let dir = self.work.join("box");
        let _ = fs::remove_dir_all(&dir);
        let (mut serving, source) = self.serve(&dir, "127.0.0.1:0")?;
        let listen = source.trim_start_matches("http://").to_owned();
        let (way, mut kill) = match kill {
            None => ("behind a box", None),
            Some(after) => ("behind a box that is killed", Some(Instant::now() + after)),
        };
        self.row(way, sites, &source, &mut || {
            if kill.is_some_and(|at| Instant::now() >= at) {
                kill = None;
                serving.end();
                serving = self.serve(&dir, &listen)?.0;
            }
            Ok(())
        })
    }

    /// Starts a box at the place.
    fn serve(&self, dir: &Path, listen: &str) -> Result<(Serving, String), String> {
        let root = self.work.join("repo/tuf/1.root.json");
        let line = [
            &self.elfup,
            "serve",
            "--dir",
            &dir.display().to_string(),
            "--source",
            &self.far,
            "--follow",
            "load",
            "--root",
            &root.display().to_string(),
            "--listen",
            listen,
        ];
        let line = self.link.at_site(&line.map(str::to_owned));
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut serving = Serving(command.spawn().map_err(crate::text)?);
        let mut said = String::new();
        let out = serving.0.stdout.take().ok_or("the box has no output")?;
        BufReader::new(out).read_line(&mut said).map_err(crate::text)?;
        let at = said.trim().strip_prefix("serves at ");
        let at = at.ok_or_else(|| format!("the box does not serve: {said}"))?;
        Ok((serving, at.to_owned()))
    }

    /// Brings fresh sites from the first release to the second from one source; `meanwhile` is called now and then.
    fn row(
        &self,
        way: &str,
        sites: u32,
        source: &str,
        meanwhile: &mut dyn FnMut() -> Result<(), String>,
    ) -> Result<Row, String> {
        eprintln!("{sites} sites, {way}");
        let names: Vec<String> = (0..sites).map(|i| format!("site{i}")).collect();
        for name in &names {
            self.fresh(name, source)?;
        }
        self.nginx.served()?;
        let (before, begin) = (self.link.crossed()?, Instant::now());
        let mut running: Vec<Updating> = Vec::new();
        for name in &names {
            running.push(self.update(name)?);
        }
        let mut again = 0;
        while !running.is_empty() {
            let stopped = go_on().and_then(|()| meanwhile());
            let mut left = Vec::new();
            for mut site in running {
                match site.process.0.try_wait().map_err(crate::text)? {
                    None => left.push(site),
                    Some(status) if status.success() => self.farm.same("2", &site.name)?,
                    Some(_) if site.tries == TRIES => {
                        return Err(format!("{} is not updated after {TRIES} tries", site.name));
                    }
                    Some(_) => {
                        again += 1;
                        let next = self.update(&site.name)?;
                        left.push(Updating {
                            tries: site.tries + 1,
                            ..next
                        });
                    }
                }
            }
            running = left;
            stopped?;
            thread::sleep(Duration::from_millis(50));
        }
        let seconds = begin.elapsed().as_secs_f64();
        let (requests, content) = self.nginx.served()?;
        Ok(Row {
            way: way.into(),
            sites,
            down: self.link.crossed()?.0 - before.0,
            content,
            requests,
            seconds,
            again,
        })
    }

    /// A copy of the first site that asks another source.
    fn fresh(&self, name: &str, source: &str) -> Result<(), String> {
        let site = self.work.join(name);
        let line = ["cp", "-a", "--reflink=auto"].map(str::to_owned);
        let paths = [self.work.join("first"), site.clone()].map(|path| path.display().to_string());
        command::run(&["rm".into(), "-rf".into(), paths[1].clone()])?;
        command::run(&[&line[..], &paths[..]].concat())?;
        let path = site.join("site.json");
        let text = fs::read(&path).map_err(crate::text)?;
        let mut config: serde_json::Value = serde_json::from_slice(&text).map_err(crate::text)?;
        config["sources"] = serde_json::json!([source]);
        fs::write(&path, config.to_string()).map_err(crate::text)
    }

    fn update(&self, name: &str) -> Result<Updating, String> {
        let site = self.work.join(name).display().to_string();
        let line = [&self.elfup, "-q", "site", "--site", &site, "update"].map(str::to_owned);
        let line = self.link.at_site(&line);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Updating {
            name: name.into(),
            process: Serving(command.spawn().map_err(crate::text)?),
            tries: 1,
        })
    }
}

/// A site at work.
struct Updating {
    name: String,
    process: Serving,
    tries: u32,
}

/// A process that ends with the run.
struct Serving(Child);

impl Serving {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

fn table(name: &str, shape: Shape, rows: &[Row]) -> String {
    let mut text = format!(
        "{name} as two releases; {} kbit/s, {} ms\n\n\
         | sites | | content bytes of the distant server | of one site's | requests | bytes over the link | seconds | tried again |\n\
         |--:|---|--:|--:|--:|--:|--:|--:|\n",
        shape.kbit, shape.rtt_ms
    );
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {:.2} | {} | {} | {:.0} | {} |\n",
            row.sites,
            row.way,
            group(row.content),
            row.content as f64 / rows[0].content.max(1) as f64,
            row.requests,
            group(row.down),
            row.seconds,
            row.again,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command itself wants root, a web server and minutes.
    #[test]
    fn rows_are_as_their_schema_says() {
        let row = Row {
            way: "behind a box".into(),
            sites: 30,
            down: 3,
            content: 2,
            requests: 1,
            seconds: 0.5,
            again: 0,
        };
        let rows = serde_json::to_vec(&[row]).unwrap();
        crate::hold::Schemas::of("bench").check("place", &rows);
    }
}
