//! One manifest in terms of another, for the step between them: what follows from the older one is not told.
//!
//! Entries are told in order against those of the older manifest. A time is told once for all files that had the same
//! one before, as those of a package have; digests stand by themselves, as nothing foresees them.

use super::write::line;
use super::{Content, Entry, Header, Kind, Manifest, Time};
use crate::{Digest, limits};
use std::collections::HashMap;

/// What is told, by kind: each packs best by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// A byte for each step: see the constants.
    pub ops: Vec<u8>,
    /// Lines that are told in full, the header first.
    pub lines: Vec<u8>,
    /// Times that are not as expected: seconds against the expected ones, nanoseconds.
    pub times: Vec<u8>,
    /// New contents: size and stored size against the old ones.
    pub sizes: Vec<u8>,
    /// Which of the new contents it is once more, counted back.
    pub again: Vec<u8>,
    /// SHA-256 of new contents.
    pub digests: Vec<u8>,
}

/// The next old entry goes on, with what the bits below say; 0: as it is, with the time expected.
const TIME: u8 = 1;
const CONTENT: u8 = 2;
const AGAIN: u8 = 4;
/// The next old entry is gone.
const GONE: u8 = 8;
/// A line in full.
const LINE: u8 = 16;

impl Change {
    /// How `to` comes out of `from`.
    pub fn between(from: &Manifest, to: &Manifest) -> Change {
        let mut change = Change::default();
        let mut header = to.header.clone();
        header.entries = to.entries.len() as u64;
        change.lines = serde_json::to_vec(&header).unwrap_or_default();
        change.lines.push(b'\n');
        let mut state = State::new(to.header.mtime);
        let mut old = from.entries.iter().peekable();
        for entry in &to.entries {
            while old.next_if(|o| o.path < entry.path).is_some() {
                change.ops.push(GONE);
            }
            let was = old.next_if(|o| o.path == entry.path);
            if was.is_some_and(|was| change.goes_on(was, entry, &mut state)) {
                continue;
            }
            change.ops.extend(was.map(|_| GONE));
            change.ops.push(LINE);
            line(entry, to.header.mtime, &mut change.lines);
        }
        change
    }

    /// Tells an entry by its old one; `false` where more changed than time and content.
    fn goes_on(&mut self, was: &Entry, entry: &Entry, state: &mut State) -> bool {
        let mut foreseen = state.expect(was);
        let (mut op, mut told) = (0, None);
        if let (Some(was), Some(now)) = (was.content(), entry.content())
            && was.digest != now.digest
        {
            op |= CONTENT;
            foreseen.kind = entry.kind.clone();
            told = Some((was, now));
            if was.holes != now.holes {
                return false;
            }
        }
        if let (Some(_), Some(now)) = (foreseen.time, entry.time)
            && foreseen.time != Some(now)
        {
            op |= TIME;
        }
        let expected = foreseen.time;
        if op & TIME != 0 {
            foreseen.time = entry.time;
        }
        if foreseen != *entry {
            return false;
        }
        if let (Some((was, now)), true) = (told, op & CONTENT != 0) {
            match state.contents.get(&now.digest) {
                Some(&at) if state.told[at] == (now.digest, now.size, now.stored) => {
                    op |= AGAIN;
                    put(&mut self.again, (state.told.len() - 1 - at) as u64);
                }
                _ => {
                    self.digests.extend_from_slice(&now.digest.0);
                    put(&mut self.sizes, fold(now.size.wrapping_sub(was.size) as i64));
                    put(&mut self.sizes, fold(now.stored.wrapping_sub(was.stored) as i64));
                    state.content(now);
                }
            }
        }
        if let (true, Some(expected), Some(now)) = (op & TIME != 0, expected, entry.time) {
            put(&mut self.times, fold(now.seconds.wrapping_sub(expected.seconds)));
            put(&mut self.times, now.nanos.into());
        }
        state.learn(was.time, entry.time);
        self.ops.push(op);
        true
    }

    /// The bytes of the new manifest, at most `limit`; `None` where the change does not fit the old one. What comes out
    /// is held against its digest by whoever asked.
    pub fn apply(&self, from: &Manifest, limit: u64) -> Option<Vec<u8>> {
        let mut lines = self.lines.split_inclusive(|b| *b == b'\n');
        let header = lines.next()?;
        let common = serde_json::from_slice::<Header>(header).ok()?.mtime;
        let fits = |out: &Vec<u8>| out.len() as u64 <= limit.min(limits::MANIFEST);
        let mut out = header.to_vec();
        let mut state = State::new(common);
        let mut columns = Columns {
            times: &self.times,
            sizes: &self.sizes,
            again: &self.again,
            digests: &self.digests,
        };
        let mut old = from.entries.iter();
        for &op in &self.ops {
            match op {
                LINE => out.extend_from_slice(lines.next()?),
                GONE => drop(old.next()?),
                _ if op & !(TIME | CONTENT | AGAIN) == 0 => {
                    let entry = columns.entry(op, old.next()?, &mut state)?;
                    line(&entry, common, &mut out);
                }
                _ => return None,
            }
            if !fits(&out) {
                return None;
            }
        }
        fits(&out).then_some(out)
    }
}

/// What both sides learn on the way.
struct State {
    common: Option<i64>,
    times: HashMap<(i64, u32), Time>,
    contents: HashMap<Digest, usize>,
    told: Vec<(Digest, u64, u64)>,
}

impl State {
    fn new(common: Option<i64>) -> State {
        State {
            common,
            times: HashMap::new(),
            contents: HashMap::new(),
            told: Vec::new(),
        }
    }

    /// The entry that an old one becomes if nothing is told of it.
    fn expect(&self, was: &Entry) -> Entry {
        let mut entry = was.clone();
        let learned = was.time.and_then(|t| self.times.get(&(t.seconds, t.nanos)));
        let common = self.common.map(|seconds| Time { seconds, nanos: 0 });
        entry.time = was.time.and(common.or(learned.copied()).or(was.time));
        entry
    }

    fn learn(&mut self, was: Option<Time>, now: Option<Time>) {
        if let (Some(was), Some(now)) = (was, now) {
            self.times.insert((was.seconds, was.nanos), now);
        }
    }

    fn content(&mut self, content: &Content) {
        self.contents.insert(content.digest, self.told.len());
        self.told.push((content.digest, content.size, content.stored));
    }
}

/// The columns as far as they were not read.
struct Columns<'c> {
    times: &'c [u8],
    sizes: &'c [u8],
    again: &'c [u8],
    digests: &'c [u8],
}

impl Columns<'_> {
    /// The entry that an old one becomes.
    fn entry(&mut self, op: u8, was: &Entry, state: &mut State) -> Option<Entry> {
        let mut entry = state.expect(was);
        if op & CONTENT != 0 {
            let Kind::File(content) = &mut entry.kind else {
                return None;
            };
            if op & AGAIN != 0 {
                let back = usize::try_from(take(&mut self.again)?).ok()?;
                let at = state.told.len().checked_sub(1)?.checked_sub(back)?;
                (content.digest, content.size, content.stored) = *state.told.get(at)?;
            } else {
                let (digest, rest) = self.digests.split_first_chunk()?;
                self.digests = rest;
                content.digest = Digest(*digest);
                content.size = moved(content.size, &mut self.sizes)?;
                content.stored = moved(content.stored, &mut self.sizes)?;
                state.content(content);
            }
        }
        if op & TIME != 0 {
            let time = entry.time.as_mut()?;
            time.seconds = time.seconds.wrapping_add(unfold(take(&mut self.times)?));
            time.nanos = u32::try_from(take(&mut self.times)?).ok()?;
        }
        state.learn(was.time, entry.time);
        Some(entry)
    }
}

/// A number by what it is more than an old one.
fn moved(old: u64, column: &mut &[u8]) -> Option<u64> {
    Some(old.wrapping_add(unfold(take(column)?) as u64))
}

fn fold(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

fn unfold(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Appends a number, seven bits a byte, the lowest first (unsigned LEB128).
pub fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a number of at most ten bytes from the front.
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Follow;
    use proptest::prelude::*;

    fn manifest(entries: Vec<Entry>, mtime: Option<i64>) -> Manifest {
        let follow = Follow {
            product: "p".into(),
            channel: "c".into(),
            arch: "a".into(),
        };
        let header = Header {
            protocol: crate::PROTOCOL,
            follow,
            release: "r".into(),
            sequence: 1,
            urgent: false,
            features: Vec::new(),
            config: Vec::new(),
            entries: 0,
            mtime,
        };
        Manifest { header, entries }
    }

    /// What one number says of one path: not there, a directory, a link, or a file with few contents and times.
    fn entry(path: usize, says: u32, mtime: Option<i64>) -> Option<Entry> {
        let part = |shift: u32, below: u32| (says >> shift & 15) % below;
        let content = part(8, 9);
        let kind = match part(0, 8) {
            0 => return None,
            1 => Kind::Dir,
            2 => Kind::Symlink(vec![b'a' + part(4, 3) as u8]),
            3 => Kind::Hard(b"file00000".to_vec()),
            _ => Kind::File(Content {
                digest: Digest::of(&content.to_le_bytes()),
                size: u64::from(content) * 1000,
                stored: u64::from(content) * 300,
                holes: if content == 8 { vec![(0, 512)] } else { Vec::new() },
            }),
        };
        let hard = matches!(kind, Kind::Hard(_));
        let own = Time {
            seconds: i64::from(part(12, 5)) * 7 - 9,
            nanos: part(16, 2) * 500,
        };
        let time = mtime.map_or(own, |seconds| Time { seconds, nanos: 0 });
        Some(Entry {
            path: format!("file{path:05}").into_bytes(),
            kind,
            mode: 0o644 + part(20, 2),
            uid: 0,
            gid: 0,
            xattrs: Default::default(),
            time: (!hard).then_some(time),
        })
    }

    fn tree(says: &[u32], mtime: Option<i64>) -> Manifest {
        let entries = says.iter().enumerate().filter_map(|(i, &s)| entry(i, s, mtime));
        let mut all = manifest(entries.collect(), mtime);
        all.header = Header::parse(&all.to_bytes()).unwrap();
        all
    }

    proptest! {
        #[test]
        fn the_new_manifest_comes_out(
            says in prop::collection::vec((any::<u32>(), any::<u32>(), 0..3u32), 0..60),
            common in any::<[bool; 2]>(),
            damage in any::<(u16, u8)>(),
        ) {
            let olds: Vec<u32> = says.iter().map(|s| s.0).collect();
            // Two thirds stay, or change their time alone.
            let news = says.iter().map(|&(old, new, how)| match how {
                0 => new,
                1 => old,
                _ => old & !0xf000 | new & 0xf000,
            });
            let news: Vec<u32> = news.collect();
            let [from, to] = [(&olds, common[0]), (&news, common[1])]
                .map(|(says, common)| tree(says, common.then_some(77)));
            let mut change = Change::between(&from, &to);
            let bytes = to.to_bytes();
            prop_assert_eq!(change.apply(&from, bytes.len() as u64), Some(bytes.clone()));
            prop_assert_eq!(change.apply(&from, bytes.len() as u64 - 1), None);
            // Whatever a hostile one says comes to an end, and is not longer than allowed.
            let column = match damage.1 % 5 {
                0 => &mut change.ops,
                1 => &mut change.times,
                2 => &mut change.sizes,
                3 => &mut change.again,
                _ => &mut change.digests,
            };
            let at = usize::from(damage.0) % column.len().max(1);
            column.get_mut(at).into_iter().for_each(|byte| *byte = damage.1);
            let lying = change.apply(&from, 10_000);
            prop_assert!(lying.is_none_or(|out| out.len() <= 10_000));
        }
    }

    #[test]
    fn times_are_told_once_a_package_and_contents_once() {
        let file = |content: u32, time: u32| 4 | content << 8 | time << 12;
        let olds: Vec<u32> = (0..1000).map(|i| file(i % 7, i % 3)).collect();
        let news: Vec<u32> = (0..1000).map(|i| file(i % 7, i % 3 + 1)).collect();
        let [from, to] = [olds, news].map(|says| tree(&says, None));
        let change = Change::between(&from, &to);
        let told = [&change.times, &change.sizes, &change.again, &change.digests];
        assert!(told.iter().map(|c| c.len()).sum::<usize>() < 40, "{told:?}");
        assert_eq!(change.lines.split(|b| *b == b'\n').count(), 2);
    }
}
