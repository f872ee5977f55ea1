//! The whole tree by what brings trees to sites, over loopback: the fleet's tools without its link.

use super::Tree;
use crate::fleet::{
    race::{Made, Pulled, Race, Releases},
    tools::{TOOLS, Tool},
};
use crate::interrupt;
use serde::Serialize;
use std::path::Path;

/// The tools whose bytes depend on both trees.
const WAYS: [&str; 4] = ["elfup", "zstd --patch-from", "ostree", "casync"];

/// The link that our updater plans for: 256 kbit/s and 600 ms, as the fleet's.
const LINK: &str = "--bandwidth 32000 --rtt 0.6";

/// One way's figures.
#[derive(Serialize)]
pub struct Way {
    /// Name of the tool.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Why there are no figures, if there are none.
    pub missing: Option<String>,
    /// Whether it ran and was wrong.
    pub failed: bool,
    /// At the farm.
    pub made: Option<Made>,
    /// At the site; what it ended up with was compared with the new tree.
    pub pulled: Option<Pulled>,
    /// What our updater published for the step.
    pub step: Option<Published>,
}

/// The account of our step from the old tree to the new one, in bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// The step file, with the new manifest.
    pub step: u64,
    /// Deltas of the usual profile.
    pub deltas: u64,
    /// Number of these.
    pub delta_count: u64,
    /// Bundles of small files.
    pub bundles: u64,
    /// What comes as whole files.
    pub whole: u64,
}

/// The tools of these names; [`WAYS`] where none is named, nothing for `none`.
pub fn select(names: &[String]) -> Result<Vec<&'static Tool>, String> {
    let names: Vec<&str> = match names {
        [] => WAYS.into(),
        [none] if none == "none" => Vec::new(),
        names => names.iter().map(String::as_str).collect(),
    };
    // The wire is not measured here, and the protocol of rsync is nothing else.
    let known = || {
        TOOLS
            .iter()
            .filter(|tool| !tool.needs.iter().any(|(p, _)| *p == "rsync"))
    };
    if let Some(unknown) = names.iter().find(|name| !known().any(|tool| tool.name == **name)) {
        let known: Vec<_> = known().map(|tool| tool.name).collect();
        return Err(format!(
            "no way is called {unknown}; there are none, {}",
            known.join(", ")
        ));
    }
    Ok(known().filter(|tool| names.contains(&tool.name)).collect())
}

/// Runs them in the folder `work`, where what the farm made is kept for the next time unless it is to be
/// made again.
pub fn run(releases: Releases, work: &Path, tools: &[&Tool], args: &Tree) -> Result<Vec<Way>, String> {
    if tools.is_empty() {
        return Ok(Vec::new());
    }
    let missing = |why: &str| {
        tools
            .iter()
            .map(|tool| Way::missing(tool, why.into(), false))
            .collect()
    };
    for (program, package) in [("nginx", "nginx"), ("bash", "bash")] {
        if let Some(why) = crate::tools::lacks(program) {
            return Ok(missing(&format!("{why}: apt-get install {package}")));
        }
    }
    let elfup = match tools.iter().any(|tool| tool.ours) {
        true => args.elfup.clone().map_or_else(crate::built::elfup, Ok)?,
        false => "elfup".into(),
    };
    let race = Race::start(releases, work, elfup, None, LINK)?;
    let mut ways = Vec::new();
    for tool in tools {
        interrupt::go_on()?;
        if let Some(why) = crate::fleet::lacks(tool) {
            ways.push(Way::missing(tool, why, false));
            continue;
        }
        eprintln!("{}: whole tree", tool.name);
        ways.push(one(&race, tool, args.fresh).unwrap_or_else(|error| Way::missing(tool, error, true)));
    }
    interrupt::go_on()?;
    Ok(ways)
}

fn one(race: &Race, tool: &Tool, fresh: bool) -> Result<Way, String> {
    let made = race.make(tool, fresh)?;
    interrupt::go_on()?;
    let pulled = race.pull(tool, None)?;
    let step = tool.ours.then(|| published(race, tool)).transpose()?;
    Ok(Way {
        made: Some(made),
        pulled: Some(pulled),
        step,
        ..Way::of(tool)
    })
}

fn published(race: &Race, tool: &Tool) -> Result<Published, String> {
    let told = race.ask(
        tool,
        r#""$ELFUP" -q farm stats --repo "$WWW/repo" --product site --json"#,
    )?;
    let steps: serde_json::Value = serde_json::from_str(&told).map_err(crate::text)?;
    let ours = |step: &&serde_json::Value| step["from"] == "old" && step["to"] == "new";
    let step = steps.as_array().and_then(|steps| steps.iter().find(ours));
    let step = step.ok_or("the farm does not know its step")?;
    let number = |name: &str| {
        step[name]
            .as_u64()
            .ok_or(format!("the farm does not tell {name}"))
    };
    Ok(Published {
        step: number("step")?,
        deltas: number("deltas")?,
        delta_count: number("delta_count")?,
        bundles: number("bundles")?,
        whole: number("whole")?,
    })
}

impl Way {
    fn of(tool: &Tool) -> Way {
        Way {
            name: tool.name,
            about: tool.about,
            missing: None,
            failed: false,
            made: None,
            pulled: None,
            step: None,
        }
    }

    fn missing(tool: &Tool, why: String, failed: bool) -> Way {
        Way {
            missing: Some(why),
            failed,
            ..Way::of(tool)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_chosen_by_name() {
        assert_eq!(select(&[]).unwrap().len(), WAYS.len());
        assert!(select(&["none".into()]).unwrap().is_empty());
        assert_eq!(select(&["ostree".into()]).unwrap()[0].name, "ostree");
        assert!(select(&["rsync -z".into()]).is_err());
    }
}
