//! Old source lines to new ones, as learned so far: edits move all lines below them alike.

use crate::maps::HashMap;
use std::collections::BTreeMap;

/// Moves of lines, by file.
#[derive(Debug, Default)]
pub struct Lines {
    moves: HashMap<u32, BTreeMap<i32, i32>>,
}

impl Lines {
    /// The new line of an old one: moved like the nearest known line above, failing that below.
    pub fn project(&self, file: u32, line: i32) -> i32 {
        let Some(moves) = self.moves.get(&file) else {
            return line;
        };
        let above = moves.range(..=line).next_back();
        let known = above.or_else(|| moves.range(line..).next());
        line.wrapping_add(known.map_or(0, |(_, by)| *by))
    }

    /// Learns where a line went.
    pub fn learn(&mut self, file: u32, line: i32, to: i32) {
        if self.project(file, line) != to {
            self.moves
                .entry(file)
                .or_default()
                .insert(line, to.wrapping_sub(line));
        } else if !self.moves.contains_key(&file) {
            self.moves.entry(file).or_default().insert(line, 0);
        }
    }
}
