//! Two real releases of a whole tree over a bad link: our updater beside what else brings trees to sites.

pub mod command;
pub mod disk;
pub mod link;
pub mod race;
mod relay;
mod report;
pub mod server;
pub mod tools;
mod tree;

use crate::interrupt::{self, Then, go_on};
use clap::Args;
use corpora::Cache;
use link::{Link, Shape};
use race::Race;
use report::Row;
use std::path::PathBuf;
use tools::{TOOLS, Tool};

/// The command line of `bench fleet`.
#[derive(Args)]
pub struct Fleet {
    /// Packages that make up the tree, separated by commas [default: all eleven].
    #[arg(long, value_delimiter = ',')]
    wheels: Vec<String>,
    /// Tools by name, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    tools: Vec<String>,
    /// Rate of the link in kbit/s, each way.
    #[arg(long, default_value_t = 256)]
    kbit: u32,
    /// Round trip of the link in milliseconds.
    #[arg(long, default_value_t = 600)]
    rtt: u64,
    /// Seconds that all tools but ours may spend on the bad link; those that would not fit are computed.
    #[arg(long, default_value_t = 1200.0, value_name = "SECONDS")]
    budget: f64,
    /// Our program [default: built from this workspace].
    #[arg(long, value_name = "FILE")]
    elfup: Option<PathBuf>,
    /// Make everything at the farm again, also what an earlier run left.
    #[arg(long)]
    fresh: bool,
    /// Also write every figure to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `bench fleet`.
pub fn run(cache: &Cache, args: &Fleet) -> Result<(), String> {
    let chosen = select(&args.tools)?;
    able()?;
    // The namespace and the servers go as on any other way out.
    interrupt::install(Then::Return)?;
    let shape = Shape {
        kbit: args.kbit.max(1),
        rtt_ms: args.rtt,
    };
    let work = cache.root().join("fleet").join(match args.wheels.is_empty() {
        true => "all".into(),
        false => args.wheels.join("+"),
    });
    let elfup = args.elfup.clone().map_or_else(crate::built::elfup, Ok)?;
    let releases = tree::make(cache, &work, &args.wheels)?;
    let race = Race::start(releases, &work, elfup, Some(Link::make()?), "")?;
    let mut rows: Vec<Row> = chosen
        .iter()
        .map(|tool| first(&race, tool, args.fresh, shape))
        .collect();
    slowly(&race, &chosen, &mut rows, shape, args.budget);
    go_on()?;
    println!("{}", report::table(shape, &rows));
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(crate::text)?;
        std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match rows.iter().any(|row| row.ours && row.real.is_none()) {
        true => Err("our own run failed".into()),
        false => Ok(()),
    }
}

/// The farm's part, and the site's over a link without limits; ours is only ever run over the bad link, as its
/// choices depend on what it measures there.
fn first(race: &Race, tool: &Tool, fresh: bool, shape: Shape) -> Row {
    let mut row = Row::of(tool);
    row.missing = lacks(tool);
    if row.missing.is_some() {
        return row;
    }
    eprintln!("{}: farm", tool.name);
    let made = go_on().and_then(|()| race.make(tool, fresh));
    let result = made.and_then(|made| {
        row.made = Some(made);
        if !tool.ours {
            eprintln!("{}: site, no limits", tool.name);
            let open = race.pull(tool, None)?;
            row.computed = Some(report::computed(shape, &open));
            row.open = Some(open);
        }
        Ok(())
    });
    row.missing = result.err();
    row
}

/// The site's part over the bad link: ours, then the soonest of the others as long as the budget lasts.
fn slowly(race: &Race, tools: &[&Tool], rows: &mut [Row], shape: Shape, budget: f64) {
    let mut order: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].missing.is_none()).collect();
    let soon = |i: &usize| rows[*i].computed.unwrap_or(0.0);
    order.sort_by(|a, b| soon(a).total_cmp(&soon(b)));
    let mut left = budget;
    for i in order {
        let (tool, row) = (tools[i], &mut rows[i]);
        let needs = row.computed.unwrap_or(0.0);
        if needs > left {
            continue;
        }
        left -= needs;
        eprintln!("{}: site, {} kbit/s, about {needs:.0} s", tool.name, shape.kbit);
        match go_on().and_then(|()| race.pull(tool, Some(shape))) {
            Ok(real) => row.real = Some(real),
            Err(error) => row.missing = Some(error),
        }
    }
}

fn select(names: &[String]) -> Result<Vec<&'static Tool>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !TOOLS.iter().any(|tool| tool.name == **name))
    {
        let known = TOOLS.map(|tool| tool.name).join(", ");
        return Err(format!("no tool is called {unknown}; there are {known}"));
    }
    let wanted = |tool: &&Tool| names.is_empty() || names.iter().any(|name| name == tool.name);
    Ok(TOOLS.iter().filter(wanted).collect())
}

/// Why the run cannot be made here, if it cannot.
pub fn able() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("the network namespace needs root".into());
    }
    let programs = [
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("nginx", "nginx"),
        ("bash", "bash"),
    ];
    programs
        .iter()
        .try_for_each(|(program, package)| match crate::tools::lacks(program) {
            Some(why) => Err(format!("{why}: apt-get install {package}")),
            None => Ok(()),
        })
}

/// Why a tool cannot be used, if it cannot.
pub fn lacks(tool: &Tool) -> Option<String> {
    tool.needs.iter().find_map(|(program, package)| {
        crate::tools::lacks(program).map(|why| format!("{why}: apt-get install {package}"))
    })
}
