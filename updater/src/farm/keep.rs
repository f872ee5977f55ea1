//! What a farm keeps: which releases stay in a channel, and from which of them steps lead to a new one.
//!
//! Every so manieth release is a *checkpoint*, for who was away for long: when it is published, steps lead to it from all
//! releases since the one before, which stay until then, and to every later release from it. So whoever missed a
//! checkpoint needs a step to the first that was missed, and one more.

use crate::step::{Channel, Release, StepRef};
use crate::{Digest, Error, Result};
use std::collections::BTreeSet;

/// What is kept beside the newest release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest releases.
    pub last: usize,
    /// Releases whose sequence is a multiple of this are checkpoints; 0: none is.
    pub every: u64,
    /// Releases by their ids.
    pub named: Vec<String>,
}

impl Keep {
    /// Whether a release of this sequence is a checkpoint.
    fn checkpoint(&self, sequence: u64) -> bool {
        self.every > 0 && sequence.is_multiple_of(self.every)
    }

    fn lasting(&self, release: &Release) -> bool {
        self.checkpoint(release.sequence) || self.named.contains(&release.release)
    }

    /// The releases of a channel from which steps lead to a new one of this sequence, as numbers, and whether also back:
    /// who was away does not want to go where it came from.
    pub fn bases(&self, channel: &Channel, sequence: u64) -> Result<Vec<(usize, bool)>> {
        for name in &self.named {
            channel
                .find(name)
                .ok_or_else(|| Error::NotFound(format!("release {name}")))?;
        }
        let count = channel.releases.len();
        let since = match self.checkpoint(sequence) {
            true => sequence - self.every,
            false => sequence,
        };
        let base = |(i, release): (usize, &Release)| {
            let near = i + self.last >= count || self.named.contains(&release.release);
            let far = self.checkpoint(release.sequence) || release.sequence > since;
            (near || far).then_some((i, near))
        };
        Ok(channel.releases.iter().enumerate().filter_map(base).collect())
    }

    /// Drops the releases that are not kept, and the steps that nobody is to take; tells how many of each.
    pub fn thin(&self, channel: &mut Channel) -> (u64, u64) {
        let before = channel.releases.len();
        let newest = before - self.last.max(1).min(before);
        let head = channel.head().map(|head| head.sequence);
        // Those since the newest checkpoint are wanted for the next one.
        let since = head
            .filter(|_| self.every > 0)
            .map_or(u64::MAX, |head| head - head % self.every);
        let recent: BTreeSet<Digest> = channel.releases[newest..].iter().map(|r| r.manifest).collect();
        let mut at = 0;
        channel.releases.retain(|release| {
            at += 1;
            at > newest || release.sequence > since || self.lasting(release)
        });
        let mut steps = 0;
        for release in &mut channel.releases {
            // Steps from releases that are gone stay where they lead to a checkpoint: their sites are not gone.
            let all = Some(release.sequence) == head || self.lasting(release);
            let had = release.steps.len();
            let kept = |step: &StepRef| all || step.from.is_none_or(|from| recent.contains(&from));
            release.steps.retain(kept);
            steps += (had - release.steps.len()) as u64;
        }
        ((before - channel.releases.len()) as u64, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Follow;

    fn channel(count: u64) -> Channel {
        let release = |sequence: u64| Release {
            release: format!("r{sequence}"),
            sequence,
            urgent: false,
            published: String::new(),
            manifest: Digest::of(&sequence.to_le_bytes()),
            manifest_size: 0,
            manifest_stored: 0,
            steps: Vec::new(),
        };
        Channel {
            protocol: crate::PROTOCOL,
            follow: Follow::new("p", "c", "a").unwrap(),
            floor: 0,
            releases: (1..=count).map(release).collect(),
        }
    }

    /// Publishes release after release, thins the channel each time, and asks everybody's way to the newest.
    #[test]
    fn whoever_was_away_needs_two_steps() {
        for (last, every) in [(1, 3), (2, 4), (3, 1), (2, 7)] {
            let keep = Keep {
                last,
                every,
                named: Vec::new(),
            };
            let mut now = channel(0);
            let ever = channel(40).releases;
            for mut release in ever.clone() {
                for (i, _) in keep.bases(&now, release.sequence).unwrap() {
                    release.steps.push(StepRef {
                        from: Some(now.releases[i].manifest),
                        digest: Digest::of(b""),
                        size: 0,
                    });
                }
                now.releases.push(release);
                keep.thin(&mut now);
                let head = now.head().unwrap();
                let leads = |to: &Release, from: &Digest| to.steps.iter().any(|s| s.from == Some(*from));
                for away in ever.iter().filter(|r| r.sequence < head.sequence) {
                    let direct = leads(head, &away.manifest);
                    let between = |c: &Release| leads(c, &away.manifest) && leads(head, &c.manifest);
                    let passed = away.sequence.next_multiple_of(every) <= head.sequence;
                    let may = direct || now.releases.iter().any(between);
                    assert!(
                        may || !passed,
                        "{last} {every}: {} to {}",
                        away.release,
                        head.release
                    );
                }
            }
            let kept = now.releases.len();
            assert!(kept <= last + 40 / every as usize + every as usize, "{kept}");
        }
    }

    #[test]
    fn named_releases_stay_and_must_be_there() {
        let keep = Keep {
            last: 1,
            every: 0,
            named: vec!["r2".into()],
        };
        let mut now = channel(5);
        assert_eq!(keep.bases(&now, 6).unwrap(), [(1, true), (4, true)]);
        assert_eq!(keep.thin(&mut now), (3, 0));
        let left: Vec<&str> = now.releases.iter().map(|r| &r.release[..]).collect();
        assert_eq!(left, ["r2", "r5"]);
        let keep = Keep {
            named: vec!["r1".into()],
            ..keep
        };
        assert!(keep.bases(&now, 6).is_err());
    }
}
