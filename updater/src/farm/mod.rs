//! The build farm: a release tree goes in, signed static files come out.
//!
//! `publish` is the table of contents: scan → blobs → manifest → for every earlier release, in both directions:
//! pairs → deltas, groups and bundles, counted by applying → pack and step → proof that sites take them → channel file → signatures.
//! Every finished blob and job is a file named by what went into it, so a killed run is simply run again.

mod blobs;
mod carry;
mod cost;
mod crew;
mod deltas;
mod export;
mod gc;
mod groups;
mod job;
mod keep;
mod leaning;
mod needs;
mod pack;
mod pairs;
mod parts;
mod plan;
mod proof;
mod prove;
mod publish;
mod report;
mod sketch;
mod stats;
mod steps;
mod stick;
mod verify;
mod work;

pub use cost::Cost;
pub use export::export;
pub use gc::{GcReport, gc};
pub use keep::Keep;
pub use pairs::{Pair, by_name};
pub use plan::{Planned, Planning, plan};
pub use proof::Wrong;
pub use prove::SiteLimits;
pub use publish::{Publish, Published, publish};
pub use report::{FileCost, KindCost, LastStep, Load, Released, Report, Way, report};
pub use stats::{StepStats, metrics, stats};
pub use stick::{Carried, Ready, Reported, Stick, prepare};
pub use verify::{Repair, Repaired, Verified, Verify, repair, verify};
pub use work::{Round, Share, Work, Worked, work};
