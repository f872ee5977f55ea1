//! The data of functions in Go's table: bytes against what the old function had, and inline trees row by row.

use super::Functions;
use super::builder::{self, ELSEWHERE, Place, Tree};
use super::function::Subject;
use super::reader::{GoTable, INLINE_TREE, NONE, Record};
use crate::code::Symbols;
use crate::elf::Numbers;
use crate::place::{Addr, Place as _};
use crate::predict::AddressMap;
use crate::{Error, error::Result};

/// The funcdata of a function that describes objects on the stack.
const STACK_OBJECTS: usize = 2;
/// The funcdata of a wrapper that points to what it wraps.
const WRAPPED: usize = 7;
/// How far the writer looks for the old row that a row of an inline tree continues.
const LOOK: usize = 200;

/// A piece of a function's data: which one, and its positions in the old and in the true table.
#[derive(Clone, Copy)]
struct Datum {
    kind: usize,
    column: u32,
    old_at: u32,
    true_at: u32,
    /// See [`Subject::state`].
    state: u32,
}

/// The rows of an inline tree in both files.
struct Rows<'r> {
    /// How the new and the old file write numbers.
    numbers: Numbers,
    old_numbers: Numbers,
    old: Vec<&'r [u8]>,
    old_table: Option<&'r GoTable>,
    truth: Option<&'r Tree>,
    truth_table: Option<&'r GoTable>,
}

impl<'r> Rows<'r> {
    /// A word of an old row.
    fn old_word(&self, i: usize, at: usize) -> u32 {
        self.old_numbers.word(self.old[i], at).unwrap_or(0)
    }

    /// A word of a new row.
    fn word(&self, row: &[u8], at: usize) -> u32 {
        self.numbers.word(row, at).unwrap_or(0)
    }

    fn old_name(&self, i: usize) -> &'r [u8] {
        self.old_table.map_or(&[][..], |t| t.name(self.old_word(i, 4)))
    }

    fn true_name(&self, i: usize) -> Option<&'r [u8]> {
        Some(self.truth_table?.name(*self.truth?.names.get(i)?))
    }

    fn true_row(&self, i: usize) -> Option<&'r [u8]> {
        self.truth?.rows.get(16 * i..16 * i + 16)
    }
}

/// A row of a new inline tree: its index, the old row that it continues, and how those before went.
#[derive(Clone, Copy)]
struct NewRow {
    index: usize,
    from: Option<usize>,
    history: u32,
}

impl Functions {
    /// Codes one piece of a function's data and returns its place: a new one, or that of the same data coded before.
    pub(super) fn data<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        kind: usize,
        subject: &mut Subject,
    ) -> Result<Option<Place>> {
        let at = |r: &Option<Record>| {
            let at = r.as_ref().and_then(|r| r.data.get(kind));
            at.copied().unwrap_or(NONE)
        };
        let datum = Datum {
            kind,
            column: (kind as u32).min(15),
            old_at: at(&subject.old),
            true_at: at(&subject.truth),
            state: subject.state(),
        };
        let (old_at, column, state) = (datum.old_at, datum.column, datum.state);
        let m = &mut self.m.own;
        if !m.has_data(s, column, old_at != NONE, state, datum.true_at != NONE) {
            return Ok(None);
        }
        if !self.frame.with_data {
            return Ok(Some(self.elsewhere(s, map, datum)));
        }
        let old_table = subject.old_table.filter(|_| old_at != NONE);
        let was = old_table.and_then(|t| t.blob(old_at));
        let known = subject.truth_table.and_then(|t| t.blob(datum.true_at));
        if kind == INLINE_TREE {
            let truth = subject.truth.as_ref().zip(subject.truth_table);
            let truth = truth.and_then(|(r, t)| builder::tree_of(t, r));
            subject.list_starts();
            let group = was.map_or(0, |(blob, _)| blob.group);
            let tree = self.tree(s, subject, was.map(|w| w.1), truth.as_ref(), group)?;
            return Ok(Some(self.builder.add_tree(&tree)));
        }
        let content = self.renewed(s, map, datum, (was.map(|w| w.1), known.map(|k| k.1)))?;
        let groups = (was.map(|w| w.0.group), known.map(|k| k.0.group));
        self.place(s, datum, &content, groups).map(Some)
    }

    /// Codes the position of data that stands in another section.
    fn elsewhere<S: Symbols>(&mut self, s: &mut S, map: &AddressMap, datum: Datum) -> Place {
        let Datum {
            column,
            old_at,
            true_at,
            ..
        } = datum;
        let known = self.elsewhere.get(&old_at).copied();
        let (old_base, new_base) = self.bases.module;
        let from = old_base.wrapping_add(old_at);
        let guess = match known {
            _ if old_at == NONE => self.last_data,
            Some(at) => at,
            None => map.guess(from).since(new_base),
        };
        let m = &mut self.m.own;
        let (known, old) = (known.is_some(), old_at != NONE);
        let hit = m.elsewhere(s, column, known, old, self.missed, true_at == guess);
        self.missed = self.missed << 1 | u32::from(!hit);
        let mut at = guess;
        if !hit {
            // What differs from the map differs alike for a while.
            let again = guess.wrapping_add(self.last_away);
            if m.again(s, column, self.missed, true_at == again) {
                at = again;
            } else {
                let by = true_at.wrapping_sub(guess) as i32;
                let by = m.position(s, column, i64::from(by));
                at = guess.wrapping_add(by as u32);
                self.last_away = by as u32;
            }
        }
        if old_at != NONE {
            self.elsewhere.insert(old_at, at);
        }
        self.last_data = at;
        (ELSEWHERE, at)
    }

    /// Codes the bytes of data against the old ones with their addresses moved.
    fn renewed<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        datum: Datum,
        (was, truth): (Option<&[u8]>, Option<&[u8]>),
    ) -> Result<Vec<u8>> {
        let (kind, column) = (datum.kind, datum.column);
        let (numbers, old_numbers) = (self.numbers, self.old_numbers);
        let mut guess = was.map(<[u8]>::to_vec);
        if let Some(guess) = &mut guess {
            let mut moved = |at: usize, bases: (Addr, Addr)| {
                if let Some(word) = guess.get_mut(at..at + 4) {
                    let old = old_numbers.get(word) as u32;
                    let new = self.masks.get(&bases.0.wrapping_add(old)).copied();
                    let new = new.unwrap_or_else(|| map.guess(bases.0.wrapping_add(old)));
                    numbers.put(word, new.since(bases.1).into());
                }
            };
            let len = was.map_or(0, <[u8]>::len);
            match kind {
                STACK_OBJECTS => (20..len).step_by(16).for_each(|at| moved(at, self.bases.data)),
                WRAPPED => moved(0, self.bases.text),
                _ => {}
            }
        }
        let same = truth.is_some() && truth == guess.as_deref();
        let m = &mut self.m.own;
        let hit = guess.is_some() && m.same(s, column, datum.state, self.history, same);
        let content = match guess {
            Some(guess) if hit => guess,
            guess => self.content(s, kind, &guess.unwrap_or_default(), truth)?,
        };
        if let Some(old) = was.filter(|_| kind == STACK_OBJECTS && !hit) {
            let words = old.chunks_exact(4).zip(content.chunks_exact(4));
            for (a, b) in words.skip(5).step_by(4) {
                self.masks.insert(
                    self.bases.data.0.wrapping_add(old_numbers.get(a) as u32),
                    self.bases.data.1.wrapping_add(numbers.get(b) as u32),
                );
            }
        }
        Ok(content)
    }

    /// Codes the place of data: one that has this content already, or a new one. `groups` are those of the old and of
    /// the true data.
    fn place<S: Symbols>(
        &mut self,
        s: &mut S,
        datum: Datum,
        content: &[u8],
        groups: (Option<u8>, Option<u8>),
    ) -> Result<Place> {
        let Datum {
            column,
            old_at,
            true_at,
            ..
        } = datum;
        let (was, known) = groups;
        let old_group = was.unwrap_or(0);
        let seen = self.builder.blobs(content);
        let before = self.places.get(&old_at).copied().filter(|p| seen.contains(p));
        let expected = before.or_else(|| seen.iter().find(|p| p.0 == old_group).copied());
        let truth = known.map(|group| (self.true_places.get(&true_at).copied(), group));
        let fits = match (expected, truth) {
            (Some(place), Some((known, _))) => known == Some(place),
            (None, Some((known, group))) => known.is_none() && group == old_group && was.is_some(),
            _ => false,
        };
        let m = &mut self.m.own;
        let (has, old) = (expected.is_some(), was.is_some());
        let place = if m.place(s, column, has, seen.len(), old, old_group, fits) {
            expected.unwrap_or_else(|| self.builder.add_blob(old_group, content))
        } else {
            let index = truth
                .and_then(|t| t.0)
                .and_then(|p| seen.iter().position(|q| *q == p));
            let index = m.which_data(s, index.map_or(0, |i| i as u64 + 1));
            match usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1) {
                Some(i) => *seen.get(i).ok_or(Error::damaged("Go's data is not there"))?,
                None => {
                    let known = truth.map_or(0, |t| u32::from(t.1));
                    let group = m.group(s, column, content.len(), known);
                    self.builder.add_blob(group as u8, content)
                }
            }
        };
        if old_at != NONE {
            self.places.insert(old_at, place);
        }
        if known.is_some() {
            self.true_places.insert(true_at, place);
        }
        Ok(place)
    }

    fn content<S: Symbols>(
        &mut self,
        s: &mut S,
        kind: usize,
        guess: &[u8],
        truth: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let truth = truth.unwrap_or_default();
        let column = (kind as u32).min(15);
        let m = &mut self.m.own;
        let by = m.len(s, column, guess.len(), truth.len() as i64 - guess.len() as i64);
        let len = by.saturating_add(guess.len() as i64);
        let len = usize::try_from(len).ok().filter(|&l| l <= self.room);
        let len = len.ok_or(Error::damaged("Go's data is too long"))?;
        let mut out = Vec::new();
        while out.len() < len {
            let at = out.len();
            if (kind == STACK_OBJECTS || kind == WRAPPED) && len - at >= 4 {
                let word = |bytes: &[u8]| self.numbers.word(bytes, at).unwrap_or(0);
                let (was, is) = (word(guess), word(truth));
                let phase = column << 4 | if at < 8 { 8 } else { (at as u32 / 4) & 3 };
                let (mut now, old) = (was, at < guess.len());
                if !m.word_hit(s, phase, old, was == is) {
                    let by = m.word(s, phase, old, i64::from(is) - i64::from(was));
                    now = was.wrapping_add(by as u32);
                }
                out.extend_from_slice(&self.numbers.of_word(now));
            } else {
                let byte = |back: usize| at.checked_sub(back).map_or(256, |i| u32::from(out[i]));
                let was = guess.get(at).map_or(256, |&b| u32::from(b));
                let before = [byte(1), byte(2), byte(4)];
                let known = truth.get(at).copied().unwrap_or(0);
                out.push(m.byte(s, column, was, before, at, known));
            }
            if s.exhausted() {
                return Err(Error::damaged("Go's data ends too early"));
            }
        }
        Ok(out)
    }

    /// Codes the inline tree of a function against the rows of the old one.
    fn tree<S: Symbols>(
        &mut self,
        s: &mut S,
        subject: &mut Subject,
        old_rows: Option<&[u8]>,
        truth: Option<&Tree>,
        group: u8,
    ) -> Result<Tree> {
        let rows = Rows {
            numbers: self.numbers,
            old_numbers: self.old_numbers,
            old: old_rows.unwrap_or_default().chunks_exact(16).collect(),
            old_table: subject.old_table,
            truth,
            truth_table: subject.truth_table,
        };
        let has = u32::from(old_rows.is_some()) | u32::from(subject.is_unchanged()) << 1;
        if old_rows.is_some()
            && let Some(tree) = self.projected_tree(s, subject, &rows, group, has)?
        {
            return Ok(tree);
        }
        let old_count = rows.old.len() as i64;
        let by = truth.map_or(0, |t| t.rows.len() as i64 / 16) - old_count;
        let count = self.m.own.rows(s, has, by);
        let count = count.saturating_add(old_count);
        let count = usize::try_from(count).ok().filter(|&c| c <= self.room / 16);
        let count = count.ok_or(Error::damaged("an inline tree is too long"))?;
        let known = truth.map_or(0, |t| u32::from(t.group));
        let mut tree = Tree {
            group: self.m.own.tree_group(s, group, known) as u8,
            ..Tree::default()
        };
        subject.rows.resize(rows.old.len(), -1);
        let (mut cursor, mut history) = (0usize, 0u32);
        for index in 0..count {
            let from = self.continued(s, &rows, index, cursor, &mut history)?;
            if let Some(j) = from {
                cursor = j + 1;
                subject.rows[j] = index as i32;
            }
            let row = NewRow { index, from, history };
            self.tree_row(s, subject, &rows, row, &mut tree)?;
            if s.exhausted() {
                return Err(Error::damaged("an inline tree ends too early"));
            }
        }
        Ok(tree)
    }

    /// The old tree with its places moved, if the flag says that it is the new one.
    fn projected_tree<S: Symbols>(
        &mut self,
        s: &mut S,
        subject: &mut Subject,
        rows: &Rows,
        group: u8,
        has: u32,
    ) -> Result<Option<Tree>> {
        let key = |i: usize| subject.inline_files.get(&(i as i32)).copied().unwrap_or(NONE);
        let mut tree = Tree {
            group,
            ..Tree::default()
        };
        for i in 0..rows.old.len() {
            let line = self.lines.project(key(i), rows.old_word(i, 12) as i32) as u32;
            let pc = subject.project(rows.old_word(i, 8));
            for w in [rows.old_word(i, 0), 0, pc, line] {
                tree.rows.extend_from_slice(&self.numbers.of_word(w));
            }
        }
        let count = rows.old.len();
        let same = rows
            .truth
            .is_some_and(|t| t.rows == tree.rows && t.group == group)
            && (0..count).all(|i| rows.true_name(i) == Some(rows.old_name(i)));
        if !self.m.own.tree(s, has, self.history, same) {
            return Ok(None);
        }
        for i in 0..count {
            let now = rows.word(&tree.rows[16 * i..], 12) as i32;
            self.lines.learn(key(i), rows.old_word(i, 12) as i32, now);
            let known = rows.truth.map(|t| t.names[i]);
            let place = self.name(s, rows.old_name(i), Some(rows.old_word(i, 4)), known)?;
            tree.names.push(place);
        }
        subject.rows.extend(0..count as i32);
        Ok(Some(tree))
    }

    /// Codes which old row a row of an inline tree continues, from `cursor` on.
    fn continued<S: Symbols>(
        &mut self,
        s: &mut S,
        rows: &Rows,
        index: usize,
        cursor: usize,
        history: &mut u32,
    ) -> Result<Option<usize>> {
        let count = rows.old.len();
        if cursor >= count {
            return Ok(None);
        }
        let (known, known_name) = (rows.true_row(index), rows.true_name(index));
        let continues = |j: usize| {
            j < count
                && Some(rows.old_name(j)) == known_name
                && known.is_some_and(|k| rows.word(k, 0) == rows.old_word(j, 0))
        };
        let next = self.m.own.row(s, *history, continues(cursor));
        *history = *history << 1 | u32::from(!next);
        if next {
            return Ok(Some(cursor));
        }
        let skip = if S::READS {
            None
        } else {
            (1..LOOK).find(|k| continues(cursor + k))
        };
        let skip = self.m.own.row_skip(s, skip.unwrap_or(0) as u64);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        if skip == 0 {
            return Ok(None);
        }
        let from = cursor.checked_add(skip).filter(|&j| j < count);
        from.map(Some)
            .ok_or(Error::damaged("an inline tree continues nothing"))
    }

    /// Codes a row of an inline tree.
    fn tree_row<S: Symbols>(
        &mut self,
        s: &mut S,
        subject: &Subject,
        rows: &Rows,
        new: NewRow,
        tree: &mut Tree,
    ) -> Result<()> {
        let NewRow { index, from, history } = new;
        let key = |i: usize| subject.inline_files.get(&(i as i32)).copied().unwrap_or(NONE);
        let known = rows.true_row(index);
        let k = |at: usize| known.map_or(0, |k| rows.word(k, at));
        let mut row = [0u32; 4];
        let name;
        let (mut pc, mut line) = (0, 0);
        if let Some(j) = from {
            row[0] = rows.old_word(j, 0);
            name = rows.old_name(j).to_vec();
            pc = subject.project(rows.old_word(j, 8));
            line = self.lines.project(key(j), rows.old_word(j, 12) as i32);
        } else {
            row[0] = self.m.own.parent(s, u64::from(k(0))) as u32;
            let known = rows.true_name(index);
            name = self.names.code(s, 2, rows.old_table, None, known)?;
            if let Some(&known_line) = self.first_lines.get(&name) {
                line = known_line;
            }
        }
        let fresh = u32::from(from.is_none());
        row[2] = self.pc(s, &subject.starts, pc, fresh, k(8))?;
        row[3] = line as u32;
        if !self.m.own.line_hit(s, fresh, history, k(12) == row[3]) {
            let by = i64::from(k(12) as i32) - i64::from(line);
            let by = self.m.own.line(s, fresh, history, by);
            row[3] = line.wrapping_add(by as i32) as u32;
        }
        if let Some(j) = from {
            self.lines
                .learn(key(j), rows.old_word(j, 12) as i32, row[3] as i32);
        }
        let was = from.map(|j| rows.old_word(j, 4));
        let known = rows.truth.map(|t| t.names[index]);
        tree.names.push(self.name(s, &name, was, known)?);
        self.first_lines.insert(name, row[3] as i32);
        for w in row {
            tree.rows.extend_from_slice(&self.numbers.of_word(w));
        }
        Ok(())
    }

    /// Codes an offset in the code of a function.
    fn pc<S: Symbols>(
        &mut self,
        s: &mut S,
        starts: &[u32],
        guess: u32,
        fresh: u32,
        truth: u32,
    ) -> Result<u32> {
        let m = &mut self.m.own;
        if m.pc_hit(s, fresh, !starts.is_empty(), truth == guess) {
            return Ok(guess);
        }
        let base = starts.partition_point(|&x| x < guess);
        let index = starts.binary_search(&truth).ok();
        if m.pc_start(s, index.is_some()) {
            let by = index.map_or(0, |i| i as i64 - base as i64);
            let at = m.pc_index(s, fresh, by).saturating_add(base as i64);
            let at = usize::try_from(at).ok().and_then(|i| starts.get(i));
            return at.copied().ok_or(Error::damaged("an inlined call is nowhere"));
        }
        let by = m.pc_away(s, fresh, i64::from(truth) - i64::from(guess));
        Ok(guess.wrapping_add(by as u32))
    }
}
