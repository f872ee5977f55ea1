//! What is wanted, fetched in turn, from whichever source has it right.

use super::Place;
use super::cache::{Growing, Why};
use super::pace::Clocked;
use super::unit::Unit;
use crate::source::{Sources, Span};
use crate::{Error, Result, Watch};

/// Bytes of one request, so that whoever waits for something else has a turn; half a minute of a slow link.
const TURN: u64 = 1 << 20;
/// A request that broke off goes on at the same source if it brought so many bytes.
const GAIN: u64 = 4 << 10;

/// How one source did.
enum Did {
    /// It brought something that may be right.
    Went,
    /// It does not have the file.
    Lacks,
    /// It brought nothing, or what it sent was dropped.
    Broke,
}

impl Place {
    /// Fetches what is wanted until a stop is asked for.
    pub(super) fn fetch_wanted(&self, watch: &dyn Watch) {
        while !watch.cancelled() {
            let rests = self.link.allowance.left().is_none();
            self.cache.rest(rests);
            if rests {
                self.cache.doze();
                continue;
            }
            let units = self.cache.next(TURN);
            if units.is_empty() {
                continue;
            }
            match self.fetch(&units, watch) {
                Ok(()) | Err(Error::Cancelled) => {}
                Err(e) => {
                    watch.note(&format!("{}: {e}", units[0].path));
                    units.iter().for_each(|unit| self.cache.failed(unit, Why::Broken));
                }
            }
        }
        self.cache.stop();
        if let Err(e) = self.link.allowance.note() {
            watch.note(&e.to_string());
        }
    }

    /// One turn for neighbouring units: each source in order, until one brings something.
    fn fetch(&self, units: &[Unit], watch: &dyn Watch) -> Result<()> {
        let sources = self.link.sources();
        let mut why = Why::Missing;
        for source in sources.order() {
            match self.one_source(units, (&sources, source), watch)? {
                Did::Went => return Ok(()),
                Did::Lacks => {}
                Did::Broke => why = Why::Broken,
            }
            if self.link.allowance.left().is_none() {
                // Nobody's fault: it goes on when the link does.
                return Ok(());
            }
        }
        units.iter().for_each(|unit| self.cache.failed(unit, why));
        self.link.anew()
    }

    fn one_source(&self, units: &[Unit], from: (&Sources, usize), watch: &dyn Watch) -> Result<Did> {
        let (sources, source) = from;
        let mut row = Row {
            place: self,
            source,
            left: units,
            growing: self.cache.grow(&units[0], source)?,
        };
        let span = row.span();
        let mut clocked = Clocked::new();
        let read = sources.read_from(source, &units[0].path, span, watch, &mut |bytes| {
            watch.check()?;
            clocked.came(bytes.len() as u64);
            row.write(bytes)?;
            self.link.allowance.spend(bytes.len() as u64)
        });
        self.link.learn(&clocked);
        let got = clocked.bytes;
        let read = match read {
            Ok(true) => row.end().map(|()| true),
            other => other,
        };
        match read {
            Ok(true) => Ok(Did::Went),
            Ok(false) => Ok(Did::Lacks),
            Err(Error::Untrusted(why)) => {
                watch.note(&format!("{}: {why}; it is asked elsewhere", sources.name(source)));
                sources.lied(source, got);
                Ok(Did::Broke)
            }
            Err(e @ (Error::Network(_) | Error::Portal(_))) => {
                watch.detail(&e.to_string());
                Ok(if got < GAIN { Did::Broke } else { Did::Went })
            }
            Err(e) => Err(e),
        }
    }
}

/// Neighbouring units that arrive one after the other.
struct Row<'a> {
    place: &'a Place,
    source: usize,
    left: &'a [Unit],
    /// The first of them.
    growing: Growing<'a>,
}

impl Row<'_> {
    /// What to ask for: from where the first unit grows, one turn, or to the end of a file of unknown length.
    fn span(&self) -> Span {
        let (first, last) = (&self.left[0], &self.left[self.left.len() - 1]);
        let from = first.offset + self.growing.length;
        match last.length {
            Some(n) => Span::Range(from, (last.offset + n).min(from + TURN)),
            None if from == 0 => Span::AtMost(u64::MAX),
            None => Span::Range(from, u64::MAX),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some(unit) = self.left.first().filter(|_| !bytes.is_empty()) {
            let room = unit.length.map_or(u64::MAX, |n| n - self.growing.length);
            let n = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.growing.write(&bytes[..n])?;
            bytes = &bytes[n..];
            if unit.length == Some(self.growing.length) {
                self.next(unit.clone())?;
            }
        }
        Ok(())
    }

    /// The first unit is all there.
    fn next(&mut self, unit: Unit) -> Result<()> {
        self.growing.finish(&unit)?;
        self.place.finished(&unit)?;
        self.left = &self.left[1..];
        if let Some(next) = self.left.first() {
            self.growing = self.place.cache.grow(next, self.source)?;
        }
        Ok(())
    }

    /// The source has sent all that was asked for: that is the end of what goes on to the end of a file.
    fn end(&mut self) -> Result<()> {
        match self.left.first().filter(|unit| unit.length.is_none()).cloned() {
            Some(unit) => self.next(unit),
            None => Ok(()),
        }
    }
}
