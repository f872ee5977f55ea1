//! One function of Go's table: its name, its scalars, its tables over code.

use super::Functions;
use super::builder::Function;
use super::reader::{DEFER, GoTable, INLINE_INDEX, LINE, NONE, Record, Step, UNIT};
use super::steps::{Under, code_steps};
use crate::code::Symbols;
use crate::maps::HashMap;
use crate::place::Place as _;
use crate::predict::{AddressMap, UnitView};
use crate::{Error, error::Result};

/// Tables of a record in the order in which they are coded: files come first, lines need them.
const FILES: usize = 1;
const LINES: usize = 2;

/// A function about to be coded: what both files have of it, and its code.
pub(super) struct Subject<'t, 'v, 'u> {
    pub old_table: Option<&'t GoTable>,
    pub truth_table: Option<&'t GoTable>,
    /// The old function that its code continues.
    pub old: Option<Record>,
    /// The function itself, on the writing side.
    pub truth: Option<Record>,
    /// Its code, where that is a unit.
    view: Option<&'v mut UnitView<'u>>,
    /// Instruction starts, once asked for.
    pub starts: Vec<u32>,
    /// Files of the old code: end and identity of each stretch.
    files: Vec<(u32, u32)>,
    /// Files of inlined code, by row of the old inline tree.
    pub inline_files: HashMap<i32, u32>,
    /// Rows of the new inline tree, by row of the old one.
    pub rows: Vec<i32>,
    /// Stretches of old tables read.
    work: u64,
}

impl Subject<'_, '_, '_> {
    /// Whether the code is the old one.
    pub fn is_unchanged(&self) -> bool {
        self.view.as_ref().is_some_and(|v| v.unit.unchanged)
    }

    /// Whether there is an old function, and whether the code is the old one, as a context.
    pub fn state(&self) -> u32 {
        u32::from(self.old.is_some()) | u32::from(self.is_unchanged()) << 1
    }

    /// Where an offset of the old code is in the new one.
    pub fn project(&self, at: u32) -> u32 {
        let Some(v) = &self.view else { return at };
        let Some(source) = v.source() else { return at };
        if at >= source.size {
            return v.unit.size.saturating_add(at - source.size);
        }
        v.project(at).unwrap_or(0)
    }

    /// Lists the instruction starts; they are only needed where the code changed.
    pub fn list_starts(&mut self) {
        if self.starts.is_empty()
            && let Some(v) = self.view.as_mut().filter(|v| !v.unit.unchanged)
        {
            self.starts.extend_from_slice(v.locals().starts());
        }
    }

    fn size(&self) -> u32 {
        self.view.as_ref().map_or(0, |v| v.unit.size)
    }

    fn old_unit(&self) -> u32 {
        self.old.as_ref().map_or(0, |o| o.scalars[UNIT])
    }

    /// The old table of a kind, unpacked.
    fn old_steps(&mut self, index: usize) -> Option<Vec<Step>> {
        let at = *self.old.as_ref()?.tables.get(index)?;
        let steps = if at == 0 { None } else { self.old_table?.table(at) };
        self.work += steps.as_ref().map_or(0, |s| s.len() as u64);
        steps
    }

    /// The file of an offset of the old code.
    fn identity(&self, at: u32) -> u32 {
        let found = self.files.get(self.files.partition_point(|x| x.0 <= at));
        found.or(self.files.last()).map_or(NONE, |x| x.1)
    }
}

/// The tables over code coded so far.
struct SoFar {
    /// Where the first of them ended.
    total: Option<u32>,
    /// Stretches that are left.
    limit: usize,
    /// Whether each was not as expected, the last one lowest.
    missed: u32,
}

impl Functions {
    /// Tells the function at `entry`, whose code is `view`.
    pub(super) fn function<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        entry: u32,
        view: Option<&mut UnitView>,
    ) -> Result<()> {
        let (old_table, truth_table) = (self.old.take(), self.truth.take());
        let subject = self.subject(view, old_table.as_ref(), truth_table.as_ref());
        let result = self.coded_function(s, map, entry, subject);
        (self.old, self.truth) = (old_table, truth_table);
        self.coded += 1;
        self.entry = entry;
        if self.builder.len() > self.room + 64 {
            return Err(Error::damaged("Go's function table does not fit its section"));
        }
        result
    }

    /// Looks both sides of a function up.
    fn subject<'t, 'v, 'u>(
        &self,
        view: Option<&'v mut UnitView<'u>>,
        old_table: Option<&'t GoTable>,
        truth_table: Option<&'t GoTable>,
    ) -> Subject<'t, 'v, 'u> {
        let old = view.as_ref().and_then(|v| {
            let addr = v.source_addr()?;
            let index = old_table?.function_at(addr.since(self.bases.text.0))?;
            old_table?.record(index)
        });
        let mut subject = Subject {
            old_table,
            truth_table,
            old,
            truth: truth_table.and_then(|t| t.record(self.coded)),
            view,
            starts: Vec::new(),
            files: Vec::new(),
            inline_files: HashMap::default(),
            rows: Vec::new(),
            work: 0,
        };
        let old_unit = subject.old_unit();
        let files = subject.old_steps(FILES).unwrap_or_default();
        let identity = |x: &Step| (x.end, self.files.identity(old_unit, x.value));
        subject.files = files.iter().map(identity).collect();
        let mut at = 0;
        for step in subject.old_steps(INLINE_INDEX).unwrap_or_default() {
            let file = subject.identity(at);
            subject.inline_files.entry(step.value).or_insert(file);
            at = step.end;
        }
        subject
    }

    fn coded_function<S: Symbols>(
        &mut self,
        s: &mut S,
        map: &AddressMap,
        entry: u32,
        mut subject: Subject,
    ) -> Result<()> {
        let mut f = Function {
            name: self.coded_name(s, &subject)?,
            scalars: self.scalars(s, &subject),
            ..Function::default()
        };
        // How many tables and data.
        let counts = |r: &Option<Record>| {
            r.as_ref()
                .map_or((4, 7), |r| (r.tables.len() as u32, r.data.len() as u32))
        };
        let (old_counts, true_counts) = (counts(&subject.old), counts(&subject.truth));
        let tables = self.m.own.tables(s, old_counts.0, true_counts.0);
        let data = self.m.own.data(s, old_counts.1, true_counts.1);
        if tables < 3 {
            return Err(Error::damaged("a Go function lacks its tables"));
        }
        f.tables = vec![None; tables as usize];

        // Files, then data with the inline tree, then the other tables.
        let mut so_far = SoFar {
            total: None,
            limit: self.room,
            missed: 0,
        };
        let others = (0..f.tables.len()).filter(|&i| i != FILES);
        for index in [FILES].into_iter().chain(others) {
            if index == 0 {
                // Everything but files may use the data.
                for kind in 0..data as usize {
                    f.data.push(self.data(s, map, kind, &mut subject)?);
                }
            }
            f.tables[index] = self.table(s, &mut subject, &mut so_far, index, f.scalars[UNIT])?;
        }
        self.builder.function(entry, &f);
        self.work += subject.work;
        Ok(())
    }

    /// Codes the name of a function.
    fn coded_name<S: Symbols>(&mut self, s: &mut S, subject: &Subject) -> Result<u32> {
        let was = subject.old.as_ref().map(|o| o.name);
        let is = subject.truth.as_ref().map(|t| t.name);
        let known = is.zip(subject.truth_table).map(|(name, table)| table.name(name));
        let expected = was.or_else(|| self.names.next());
        let state = u32::from(was.is_some());
        let name = self.names.code(s, state, subject.old_table, expected, known)?;
        self.name(s, &name, was, is)
    }

    /// Codes the scalars of a function.
    fn scalars<S: Symbols>(&mut self, s: &mut S, subject: &Subject) -> [u32; 7] {
        let mut guess = subject.old.as_ref().map_or([0; 7], |o| o.scalars);
        if subject.old.is_some() {
            if guess[DEFER] != 0 {
                guess[DEFER] = subject.project(guess[DEFER]);
            }
            guess[UNIT] = self.files.unit(subject.old_unit()).unwrap_or(self.last_unit);
            guess[LINE] = self.lines.project(subject.identity(0), guess[LINE] as i32) as u32;
        } else {
            guess[UNIT] = self.last_unit;
            guess[LINE] = self.last_line;
        }
        let known = subject.truth.as_ref().map_or([0; 7], |t| t.scalars);
        let state = subject.state();
        let m = &mut self.m.own;
        let mut scalars = guess;
        let hit = m.scalars(s, state, self.history, known == guess);
        self.history = self.history << 1 | u32::from(!hit);
        if !hit {
            for (i, value) in scalars.iter_mut().enumerate() {
                let column = i as u32;
                if !m.scalar(s, column, state, known[i] == *value) {
                    let by = i64::from(known[i]) - i64::from(*value);
                    *value = value.wrapping_add(m.scalar_value(s, column, state, by) as u32);
                }
            }
        }
        for value in &mut scalars[4..] {
            *value &= 0xff;
        }
        (self.last_unit, self.last_line) = (scalars[UNIT], scalars[LINE]);
        if let Some(o) = &subject.old {
            let (was, is) = (o.scalars[LINE] as i32, scalars[LINE] as i32);
            self.lines.learn(subject.identity(0), was, is);
        }
        scalars
    }

    /// Codes one table over the code of a function in the compilation unit `unit`.
    fn table<S: Symbols>(
        &mut self,
        s: &mut S,
        subject: &mut Subject,
        so_far: &mut SoFar,
        index: usize,
        unit: u32,
    ) -> Result<Option<Vec<Step>>> {
        let at = |r: &Option<Record>| {
            let at = r.as_ref().and_then(|r| r.tables.get(index));
            at.copied().unwrap_or(0)
        };
        let (old_at, true_at) = (at(&subject.old), at(&subject.truth));
        let column = (index as u32).min(15);
        let (state, total) = (subject.state(), so_far.total.is_some());
        if !self
            .m
            .own
            .has_table(s, column, old_at != 0, state, total, true_at != 0)
        {
            return Ok(None);
        }
        let true_table = subject.truth_table.filter(|_| true_at != 0);
        let true_steps = true_table.and_then(|t| t.table(true_at));
        let was = subject.old_steps(index);
        let mut projected = was.clone().unwrap_or_default();
        let mut at = 0;
        let mut keys = Vec::new();
        for step in &mut projected {
            keys.push(subject.identity(at));
            at = step.end;
            step.end = subject.project(step.end);
        }
        subject.list_starts();
        let under = Under {
            kind: column,
            unchanged: subject.is_unchanged(),
            starts: &subject.starts,
            size: subject.size(),
            end: so_far.total,
            quantum: u32::from(self.quantum),
            limit: so_far.limit,
            before: so_far.missed,
        };
        let old_values = was.as_deref().unwrap_or_default();
        let (lines, files) = (&mut self.lines, &self.files);
        let (rows, old_unit) = (&subject.rows, subject.old_unit());
        let mut value = |i: usize, now: Option<i32>| {
            let old_value = old_values[i].value;
            match index {
                FILES => files.file(old_unit, unit, old_value),
                LINES => {
                    if let Some(now) = now {
                        lines.learn(keys[i], old_value, now);
                    }
                    lines.project(keys[i], old_value)
                }
                INLINE_INDEX => match usize::try_from(old_value).ok().and_then(|v| rows.get(v)) {
                    Some(&row) => row,
                    None => old_value,
                },
                _ => old_value,
            }
        };
        let given = was.as_ref().map(|_| projected.as_slice());
        let (m, truth) = (&mut self.m.steps, true_steps.as_deref());
        let steps = code_steps(s, m, &under, given, &mut value, truth)?;
        so_far.missed = so_far.missed << 1 | u32::from(m.missed(column));
        so_far.limit = so_far.limit.saturating_sub(steps.len());
        so_far.total = so_far.total.or(steps.last().map(|x| x.end));
        Ok(Some(steps))
    }

    /// Codes which of the names that read alike is meant: the one that the old one was, or a new one.
    pub(super) fn name<S: Symbols>(
        &mut self,
        s: &mut S,
        name: &[u8],
        old: Option<u32>,
        truth: Option<u32>,
    ) -> Result<u32> {
        let seen = self.builder.names_like(name);
        let known = old.and_then(|at| self.name_places.get(&at)).copied();
        let expected = known.filter(|p| seen.contains(p));
        let place = if seen.is_empty() {
            None
        } else {
            let guess = match (expected, old) {
                (Some(place), _) => Some(place),
                (None, Some(_)) => None,
                (None, None) => seen.first().copied(),
            };
            let known = truth.filter(|t| seen.contains(t));
            let (seen_before, guessed) = (expected.is_some(), guess.is_some());
            let m = &mut self.m.own;
            if m.name_place(s, seen_before, old.is_some(), seen.len(), guessed, known == guess) {
                guess
            } else {
                let index = known
                    .and_then(|t| seen.iter().position(|&p| p == t))
                    .map_or(0, |i| i as u64 + 1);
                let index = m.which_name(s, index);
                match usize::try_from(index).unwrap_or(usize::MAX).checked_sub(1) {
                    Some(i) => Some(*seen.get(i).ok_or(Error::damaged("a name is not there"))?),
                    None => None,
                }
            }
        };
        let place = place.unwrap_or_else(|| self.builder.add_name(name));
        if let Some(old) = old {
            self.name_places.insert(old, place);
        }
        Ok(place)
    }
}
