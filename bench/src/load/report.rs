//! The load table: what each command took, and the bound on its memory.

use crate::{
    measure::Usage,
    table::{group, mb},
};
use serde::Serialize;
use std::fmt::Write;

/// Memory of `publish` beside what its jobs declare, in bytes.
const PUBLISH: u64 = 512 << 20;
/// Memory of `update`, in bytes.
const UPDATE: u64 = 128 << 20;

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// At the farm.
    Publish,
    /// At a site.
    Update,
}

/// What one command took.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// The command, for people.
    pub what: String,
    /// Farm or site.
    pub kind: Kind,
    /// Seconds and memory.
    pub usage: Usage,
    /// The most that jobs in work declared at once, in bytes.
    pub declared: Option<u64>,
    /// Requests made.
    pub requests: Option<u64>,
    /// Bytes received.
    pub bytes: Option<u64>,
    /// Files in the repository after it.
    pub files: Option<u64>,
    /// Bytes on the disk of the repository after it.
    pub repository: Option<u64>,
}

impl Row {
    /// A row without what only some commands tell.
    pub fn new(case: &str, what: &str, usage: Usage, kind: Kind) -> Row {
        Row {
            case: case.into(),
            what: what.into(),
            kind,
            usage,
            declared: None,
            requests: None,
            bytes: None,
            files: None,
            repository: None,
        }
    }

    /// The bound on its memory, in bytes.
    pub fn bound(&self) -> u64 {
        match self.kind {
            Kind::Publish => PUBLISH.saturating_add(self.declared.unwrap_or(0)),
            Kind::Update => UPDATE,
        }
    }

    /// Whether it took more memory than it may.
    pub fn exceeds(&self) -> bool {
        self.usage.peak > self.bound()
    }
}

/// The table as markdown.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| case | command | wall s | CPU s | peak MB | bound MB | requests | received MB | repository files | MB |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let number = |n: Option<u64>| n.map_or(String::new(), group);
        let megabytes = |n: Option<u64>| n.map_or(String::new(), mb);
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {}{} | {} | {} | {} | {} | {} |",
            row.case,
            row.what,
            row.usage.wall,
            row.usage.cpu,
            mb(row.usage.peak),
            if row.exceeds() { " ABOVE" } else { "" },
            mb(row.bound()),
            number(row.requests),
            megabytes(row.bytes),
            number(row.files),
            megabytes(row.repository),
        );
    }
    text.push_str(METHOD);
    text
}

const METHOD: &str = "
Each site's tree was compared with the release after each update. Peak is the child's ru_maxrss, of the largest of \
several; its bound is 128 MiB for an update, and for a publish 512 MiB and what its jobs in work declared at once. \
MB are 10^6 bytes.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_above_its_bound_is_marked() {
        let usage = |peak| Usage {
            peak,
            ..Usage::default()
        };
        let mut row = Row::new("c", "update", usage(UPDATE), Kind::Update);
        assert!(!row.exceeds() && !table(&[row.clone()]).contains("ABOVE"));
        row.usage.peak += 1;
        assert!(row.exceeds() && table(&[row]).contains("ABOVE"));
        let mut row = Row::new("c", "publish", usage(PUBLISH + 5), Kind::Publish);
        assert!(row.exceeds());
        row.declared = Some(5);
        assert!(!row.exceeds());
    }
}
