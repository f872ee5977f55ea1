//! What may be taken over a link: so many bytes a day, and in which hours.

use crate::clock::{self, Seconds};
use crate::disk::{self, Sync};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

const DAY: Seconds = 86_400;
/// What was spent is written down whenever it grew by so many bytes: a kill forgets no more.
const NOTED: u64 = 256 << 10;

/// The hours of a day, UTC, in which a link may be used: from one to before the other, also past midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    from: i64,
    to: i64,
}

impl Hours {
    /// Reads `FROM-TO`, such as `22-6`.
    pub fn parse(text: &str) -> std::result::Result<Hours, String> {
        let hour = |text: &str| text.parse().ok().filter(|hour| (0..=24).contains(hour));
        text.split_once('-')
            .and_then(|(from, to)| Some((hour(from)?, hour(to)?)))
            .filter(|(from, to)| from != to)
            .map(|(from, to)| Hours { from, to })
            .ok_or_else(|| "give two hours of a day in UTC, such as 22-6".into())
    }

    fn hold(self, now: Seconds) -> bool {
        let hour = now.rem_euclid(DAY) / 3600;
        match self.from < self.to {
            true => (self.from..self.to).contains(&hour),
            false => hour >= self.from || hour < self.to,
        }
    }
}

impl TryFrom<String> for Hours {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Hours, String> {
        Hours::parse(&text)
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> String {
        format!("{}-{}", hours.from, hours.to)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    day: Seconds,
    bytes: u64,
    noted: u64,
    total: u64,
}

/// Counts what comes over the link.
#[derive(Debug)]
pub struct Allowance {
    path: PathBuf,
    budget: Option<u64>,
    hours: Option<Hours>,
    /// Whether what is fetched is urgent: no hour is wrong for it.
    hurry: AtomicBool,
    spent: Mutex<Spent>,
}

impl Allowance {
    /// Goes on with what an earlier run noted in `path`.
    pub fn open(path: PathBuf, budget: Option<u64>, hours: Option<Hours>) -> Result<Allowance> {
        let noted = disk::read(&path, 64)?.unwrap_or_default();
        let noted = String::from_utf8_lossy(&noted).into_owned();
        // A torn note is no more than a day's loss of count.
        let (day, bytes) = noted
            .trim()
            .split_once(' ')
            .and_then(|(day, bytes)| Some((day.parse().ok()?, bytes.parse().ok()?)))
            .unwrap_or_default();
        let spent = Spent {
            day,
            bytes,
            noted: bytes,
            total: 0,
        };
        Ok(Allowance {
            path,
            budget,
            hours,
            hurry: AtomicBool::new(false),
            spent: Mutex::new(spent),
        })
    }

    fn spent(&self, now: Seconds) -> std::sync::MutexGuard<'_, Spent> {
        let mut spent = self.spent.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if spent.day != now.div_euclid(DAY) {
            spent.day = now.div_euclid(DAY);
            (spent.bytes, spent.noted) = (0, 0);
        }
        spent
    }

    /// How many bytes may come now; none: the link rests.
    pub fn left(&self) -> Option<u64> {
        self.left_at(clock::now())
    }

    fn left_at(&self, now: Seconds) -> Option<u64> {
        if !self.hurry.load(Ordering::Relaxed) && self.hours.is_some_and(|hours| !hours.hold(now)) {
            return None;
        }
        let left = self
            .budget
            .map_or(u64::MAX, |n| n.saturating_sub(self.spent(now).bytes));
        (left > 0).then_some(left)
    }

    /// From now on what is fetched is urgent, and the hours do not bind. The budget does.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Why the link rests, if it does, and until when.
    pub fn rests(&self) -> Option<String> {
        if self.left().is_some() {
            return None;
        }
        Some(match (self.hours, self.budget) {
            (Some(hours), _) if !hours.hold(clock::now()) => {
                format!("the link rests until {}:00 UTC", hours.from)
            }
            (_, budget) => {
                let budget = budget.unwrap_or_default();
                format!("today's {budget} bytes are used; there are more from 0:00 UTC on")
            }
        })
    }

    /// Counts bytes that came; fails where no more may.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        self.count(bytes)?;
        match self.left() {
            Some(_) => Ok(()),
            None => Err(Error::Network("anything more: the link rests".into())),
        }
    }

    /// Counts bytes that came.
    pub fn count(&self, bytes: u64) -> Result<()> {
        let now = clock::now();
        let mut spent = self.spent(now);
        spent.bytes += bytes;
        spent.total += bytes;
        let note = spent.bytes >= spent.noted + NOTED;
        drop(spent);
        match note {
            true => self.note(),
            false => Ok(()),
        }
    }

    /// Writes down what was spent today.
    pub fn note(&self) -> Result<()> {
        let mut spent = self.spent(clock::now());
        spent.noted = spent.bytes;
        let text = format!("{} {}\n", spent.day, spent.bytes);
        disk::replace(&self.path, text.as_bytes(), 0o600, Sync::State)
    }

    /// Bytes of this run.
    pub fn total(&self) -> u64 {
        self.spent(clock::now()).total
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        let spent = *self
            .spent
            .get_mut()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if spent.bytes != spent.noted {
            // Of what cannot be noted the next run counts a little less.
            let _ = self.note();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_go_past_midnight() {
        let night = Hours::parse("22-6").unwrap();
        let at = |hour: i64| 20_000 * DAY + hour * 3600 + 1;
        assert!(night.hold(at(22)) && night.hold(at(3)) && !night.hold(at(6)) && !night.hold(at(12)));
        let day = Hours::parse("6-22").unwrap();
        assert!((0..24).all(|hour| day.hold(at(hour)) != night.hold(at(hour))));
        assert!(Hours::parse("0-24").is_ok());
        for wrong in ["", "6", "6-6", "6-25", "-1-4", "a-b"] {
            assert!(Hours::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_budget_outlasts_a_restart_and_ends_with_the_day() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Allowance::open(dir.path().join("spent"), Some(1 << 20), None).unwrap();
        let one = open();
        one.spend(NOTED).unwrap();
        drop(one);
        let two = open();
        assert_eq!(two.left(), Some((1 << 20) - NOTED));
        assert!(two.spend(1 << 20).is_err());
        assert_eq!(
            (two.left(), two.left_at(clock::now() + DAY)),
            (None, Some(1 << 20))
        );
        drop(two);
        std::fs::write(dir.path().join("spent"), "torn").unwrap();
        assert_eq!(open().left(), Some(1 << 20));
    }
}
