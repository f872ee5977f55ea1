//! A release between: files of it that are made first where the next step is told from them.
//!
//! Who comes back after long finds a step to a checkpoint and one more. What the second tells from contents of the
//! checkpoint has no base here, be it a delta, a bundle or a group, until the first step has made it. So a plan for these
//! contents alone goes before, whenever both together cost less.

use super::plan::{First, Made, PieceRange, Plan, Weighing};
use super::ways::Ways;
use crate::Digest;
use crate::manifest::Manifest;
use crate::step::Step;
use std::collections::HashSet;
use std::sync::Arc;

/// What is made first.
pub struct Between {
    /// The contents, as a release of nothing else, and the step that makes them.
    pub ways: Ways,
    /// How each is made.
    pub plan: Plan,
}

impl Weighing<'_> {
    /// The cheapest plan, and what goes before it.
    pub fn best(&self) -> (Plan, Option<Between>) {
        match &self.ways.steps[..] {
            // Two steps side by side have the same end.
            [onward, first]
                if first.to_digest != self.ways.digest && onward.to_digest == self.ways.digest =>
            {
                match self.through(first) {
                    Some((plan, between)) => (plan, Some(between)),
                    None => (self.plan(&Made::default()), None),
                }
            }
            _ => (self.plan(&Made::default()), None),
        }
    }

    /// A plan with one before it that makes files of what the first step leads to, if that is cheaper than none. Of a
    /// hundred thousand files there is one plan in memory at a time.
    fn through(&self, first: &Arc<Step>) -> Option<(Plan, Between)> {
        let direct = self.plan(&Made::default()).cost();
        let makes = Made {
            contents: self.makes(first),
            ..Made::default()
        };
        let wanted = self.lacking(&self.plan(&makes), self.ways);
        if wanted.is_empty() {
            return None;
        }
        let between = self.between(first, wanted);
        let mut both = self.plan(&between.made());
        both.come_behind(&between.plan);
        (both.cost() < direct).then_some((both, between))
    }

    /// What a step makes out of what is here, and out of what it makes.
    fn makes(&self, step: &Step) -> HashSet<Digest> {
        let content = |entry: usize| step.to.entries.get(entry)?.content();
        let rows = step.table.deltas.iter().map(|delta| delta.to);
        let bundled = step.table.bundles.iter().flat_map(|bundle| &bundle.targets);
        let all = rows.chain(bundled.copied()).filter_map(content);
        all.map(|content| content.digest).collect()
    }

    /// The bases of what is chosen that are neither here nor made by the plan itself.
    fn lacking(&self, plan: &Plan, ways: &Ways) -> HashSet<Digest> {
        let mut bases = HashSet::new();
        for choice in plan.items.iter().filter_map(|item| item.options.first()) {
            bases.extend(ways.bases(&choice.way));
        }
        bases.retain(|base| !self.index.has(base));
        for item in &plan.items {
            bases.remove(&item.digest);
        }
        bases
    }

    /// The plan for some contents of the release that a step leads to.
    fn between(&self, step: &Arc<Step>, mut wanted: HashSet<Digest>) -> Between {
        loop {
            let ways = Ways {
                target: Arc::new(only(&step.to, &wanted)),
                digest: step.to_digest,
                steps: vec![Arc::clone(step)],
            };
            let weighing = Weighing { ways: &ways, ..*self };
            let plan = weighing.plan(&Made::default());
            // New files that others of them are told from.
            let before = wanted.len();
            wanted.extend(self.lacking(&plan, &ways));
            if wanted.len() == before {
                return Between { ways, plan };
            }
        }
    }
}

impl Between {
    /// What is there once it is carried out.
    fn made(&self) -> Made {
        let pieces = |range: &PieceRange| {
            let step = self.ways.steps.get(range.step);
            let pieces = step.and_then(|step| step.table.pieces.get(range.first..=range.last));
            pieces.unwrap_or_default().iter().map(|piece| piece.digest)
        };
        Made {
            contents: self.plan.items.iter().map(|item| item.digest).collect(),
            pieces: self.plan.ranges.iter().flat_map(pieces).collect(),
        }
    }
}

impl Plan {
    /// Counts what goes before it, too.
    fn come_behind(&mut self, first: &Plan) {
        self.bytes += first.bytes;
        self.requests += first.requests;
        self.seconds += first.seconds;
        self.apply += first.apply;
        self.written += first.written;
        self.scratch += first.scratch;
        self.first = Some(First {
            release: first.release.clone(),
            files: first.items.len() as u64,
            bytes: first.bytes,
            seconds: first.seconds,
        });
    }
}

/// A release of some contents alone.
fn only(manifest: &Manifest, wanted: &HashSet<Digest>) -> Manifest {
    let mut taken = HashSet::new();
    let entries = manifest.entries.iter().filter(|entry| {
        let content = entry.content().map(|content| content.digest);
        content.is_some_and(|digest| wanted.contains(&digest) && taken.insert(digest))
    });
    Manifest {
        header: manifest.header.clone(),
        entries: entries.cloned().collect(),
    }
}
