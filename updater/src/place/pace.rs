//! How fast the link of a box is, by what came over it.

use crate::source::LINK;
use std::time::{Duration, Instant};

/// What counts of what was measured before, whenever something is measured.
const KEPT: f64 = 0.8;
/// Less says more of the wait than of the rate.
const LARGE: u64 = 16 << 10;

/// Rate and wait, newer ones counting more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    bytes: f64,
    seconds: f64,
    wait: Option<f64>,
}

impl Pace {
    /// Bytes per second and seconds of wait, guessed until there is something to go by.
    pub fn told(&self) -> (f64, f64) {
        let rate = match self.seconds > 0.0 {
            true => (self.bytes / self.seconds).max(1.0),
            false => LINK.0,
        };
        (rate, self.wait.unwrap_or(LINK.1))
    }

    /// Takes in one answer.
    pub fn learn(&mut self, answer: &Clocked) {
        let Some((first, at)) = answer.first else { return };
        let wait = (at - answer.begin).as_secs_f64();
        self.wait = Some(self.wait.map_or(wait, |old| old * KEPT + wait * (1.0 - KEPT)));
        let (bytes, body) = (answer.bytes - first, answer.last - at);
        if bytes >= LARGE && body > Duration::ZERO {
            self.bytes = self.bytes * KEPT + bytes as f64;
            self.seconds = self.seconds * KEPT + body.as_secs_f64();
        }
    }
}

/// When the bytes of one answer came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocked {
    begin: Instant,
    /// The first that came together, and when.
    first: Option<(u64, Instant)>,
    last: Instant,
    pub bytes: u64,
}

impl Clocked {
    /// A request that is made now.
    pub fn new() -> Clocked {
        let now = Instant::now();
        Clocked {
            begin: now,
            first: None,
            last: now,
            bytes: 0,
        }
    }

    /// So many bytes came now.
    pub fn came(&mut self, bytes: u64) {
        self.last = Instant::now();
        self.bytes += bytes;
        self.first.get_or_insert((bytes, self.last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_as_fast_as_what_came_behind_the_first_bytes() {
        let mut pace = Pace::default();
        assert_eq!(pace.told(), LINK);
        let begin = Instant::now();
        let second = |n: f64| begin + Duration::from_secs_f64(n);
        let answer = |bytes| Clocked {
            begin,
            first: Some((1000, second(0.5))),
            last: second(2.5),
            bytes,
        };
        pace.learn(&answer(2000));
        assert_eq!(pace.told(), (LINK.0, 0.5), "too little to go by");
        pace.learn(&answer(65_000));
        assert_eq!(pace.told(), (32_000.0, 0.5));
        for _ in 0..30 {
            pace.learn(&answer(101_000));
        }
        assert!(pace.told().0 > 49_000.0, "{pace:?}");
    }
}
