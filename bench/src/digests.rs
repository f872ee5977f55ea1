//! Holds patches to the digests that `corpora/patches.txt` keeps: a change that should leave them alone is seen to.

use crate::cases::{self, Case};
use clap::Args;
use corpora::Cache;
use elfdelta::{Options, Profile, Silent};
use sha2::{Digest, Sha256};
use std::fs;

/// Patches of the pairs, made here, against the digests kept in corpora/patches.txt.
#[derive(Args)]
pub struct Digests {
    /// Pairs by name, separated by commas [default: all that are kept].
    #[arg(long, value_delimiter = ',')]
    pairs: Vec<String>,
    /// Profiles, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    profiles: Vec<String>,
    /// Numbers of segments, separated by commas [default: all].
    #[arg(long, value_delimiter = ',')]
    segments: Vec<usize>,
}

const KEPT: &str = include_str!("../../corpora/patches.txt");

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row<'l> {
    pair: &'l str,
    profile: &'l str,
    segments: usize,
    /// Digest and size, as they stand in the list.
    patch: String,
}

fn row(line: &str) -> Option<Row<'_>> {
    let mut words = line.splitn(4, ' ');
    Some(Row {
        pair: words.next()?,
        profile: words.next()?,
        segments: words.next()?.parse().ok()?,
        patch: words.next()?.into(),
    })
}

fn rows(list: &str) -> Result<Vec<Row<'_>>, String> {
    let lines = list.lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|line| row(line).ok_or_else(|| format!("no row of patches.txt: {line}")))
        .collect()
}

impl Digests {
    /// Whether a row is asked for.
    fn wants(&self, row: &Row) -> bool {
        let named = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
        named(&self.pairs, row.pair)
            && named(&self.profiles, row.profile)
            && (self.segments.is_empty() || self.segments.contains(&row.segments))
    }
}

/// `bench digests`: prints the rows that were asked for as they come out today, and fails where one differs.
pub fn run(cache: &Cache, args: &Digests) -> Result<(), String> {
    let mut wanted = rows(KEPT)?;
    wanted.retain(|row| args.wants(row));
    let mut names: Vec<String> = wanted.iter().map(|row| row.pair.to_string()).collect();
    names.dedup();
    if names.is_empty() {
        return Err("corpora/patches.txt has no such patch".into());
    }
    let cases = cases::from_manifest(cache, &names)?;
    let (mut same, mut different) = (0, 0);
    for case in &cases {
        let read = |path| fs::read(path).map_err(|e| format!("{}: {e}", case.name));
        let (old, new) = (read(&case.old)?, read(&case.new)?);
        for row in wanted.iter().filter(|row| row.pair == case.name) {
            let made = patch(&old, &new, row)?;
            println!("{} {} {} {made}", row.pair, row.profile, row.segments);
            if made == row.patch {
                same += 1;
            } else {
                different += 1;
                eprintln!("{} {} {}: was {}", row.pair, row.profile, row.segments, row.patch);
            }
        }
    }
    let missing = wanted.iter().filter(|row| !has(&cases, row)).count();
    eprintln!("{same} the same, {different} different, {missing} not made");
    match (different, missing) {
        (0, 0) => Ok(()),
        _ => Err("patches are not what corpora/patches.txt says".into()),
    }
}

fn has(cases: &[Case], row: &Row) -> bool {
    cases.iter().any(|case| case.name == row.pair)
}

/// Digest and size of the patch that a row is about.
fn patch(old: &[u8], new: &[u8], row: &Row) -> Result<String, String> {
    let profile = match row.profile {
        "fast" => Profile::Fast,
        "default" => Profile::Default,
        "max" => Profile::Max,
        other => return Err(format!("no profile: {other}")),
    };
    let options = Options::default().profile(profile).segments(row.segments);
    let delta = elfdelta::diff(old, new, &options, &Silent).map_err(crate::text)?;
    let digest = Sha256::digest(&delta.bytes);
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{hex} {}", delta.bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_chosen_from() {
        let all = rows(KEPT).unwrap();
        assert!(all.len() >= 42);
        let args = Digests {
            pairs: vec!["numpy".into()],
            profiles: vec!["fast".into()],
            segments: vec![3],
        };
        let chosen: Vec<_> = all.iter().filter(|row| args.wants(row)).collect();
        assert_eq!(chosen.len(), 1);
        assert_eq!((chosen[0].pair, chosen[0].segments), ("numpy", 3));
        assert!(rows("numpy fast three 00 1").is_err());
    }
}
