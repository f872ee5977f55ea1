//! The symbols of Go's functions.

use super::steps::StepModels;
use crate::code::{hash, symbols};

symbols! {
    /// Functions, their data and their inline trees. `column`: which table or which data, at most 15. `state`: 1 if there
    /// is an old function, plus 2 if the code is the old one.
    pub(super) struct FunctionModels {
        extra(8, 255) {
            /// Functions that are no unit, before the next unit.
            extra: number by() [1];
        }
        numbers(12, 255) {
            /// Where such a function begins, behind the one before.
            away: number by() [1];
            /// Where the last function ends, behind the last unit.
            end: signed by() [2];
            /// The parent of a row of an inline tree, as its first word.
            parent: number by() [3];
            /// The address that data count from, against the static projection of the old one.
            module: signed by() [4];
            /// Names, above those of the old table.
            names: signed by() [5];
        }
        is_function(8, 255) {
            /// Distances in code count bytes (else the smallest instruction of the machine).
            quantum: flag by() [0];
            /// A function begins at a unit.
            is_function: flag by() [1];
        }
        scalars(10, 255) {
            /// All scalars are as guessed. `h`: for each function so far whether they were not, the last one lowest.
            scalars: flag by(state: u32, h: u32) [hash(1, state), hash(hash(2, state), h & 15)];
        }
        scalar(10, 255) {
            /// One is.
            scalar: flag by(column: u32, state: u32) [hash(1, column | state << 4), hash(2, column)];
        }
        scalar_value(14, 255) {
            /// By how much it is above the guess.
            scalar_value: signed by(column: u32, state: u32) [hash(1, column | state << 4), hash(2, column)];
        }
        count(10, 255) {
            /// Tables. `old`: those of the old function, 4 without one.
            tables: tree(7) by(old: u32) [hash(1, old), 2];
            /// Data. `old`: those of the old function, 7 without one.
            data: tree(7) by(old: u32) [hash(3, old), 4];
        }
        present(12, 255) {
            /// There is a table. `old`: there is an old one; `total`: a table of the function came before.
            has_table: flag by(column: u32, old: bool, state: u32, total: bool)
                [
                    hash(1, column << 1 | u32::from(old)),
                    hash(hash(2, column), state),
                    hash(hash(3, column), u32::from(total)),
                ];
            /// There are data. `old`: there are old ones.
            has_data: flag by(column: u32, old: bool, state: u32)
                [
                    hash(4, column << 1 | u32::from(old)),
                    hash(hash(5, column), state),
                    hash(hash(6, column), u32::from(old) | state << 1),
                ];
        }
        same(12, 255) {
            /// Data are as guessed. `h`: as for scalars.
            same: flag by(column: u32, state: u32, h: u32)
                [
                    hash(1, column | 16),
                    hash(hash(2, column), state),
                    hash(hash(3, column), h & 3),
                ];
        }
        len(12, 255) {
            /// Bytes of data, above those of the guess.
            len: signed by(column: u32, guessed: usize) [hash(1, column), hash(hash(2, column), guessed as u32)];
            /// Rows of an inline tree, above those of the old one.
            rows: signed by(state: u32) [hash(3, state), 4];
        }
        word(14, 255) {
            /// By how much a word is above the guessed one. `phase`: see `word_hit`; `old`: there is one.
            word: signed by(phase: u32, old: bool) [hash(1, phase), hash(hash(2, phase), u32::from(old))];
            /// By how much a position of data in another section is above the guess.
            position: signed by(column: u32) [hash(5, column), 6];
        }
        word_hit(10, 255) {
            /// A word is the guessed one. `phase`: its number modulo 4, 8 for the first two, plus 16 times the column.
            word_hit: flag by(phase: u32, old: bool) [hash(1, phase), hash(hash(2, phase), u32::from(old))];
        }
        byte(18, 255) {
            /// A byte. `was`: the guessed one; `before`: those 1, 2 and 4 before (each 256 if there is none); `at`: its
            /// number.
            byte: byte by(column: u32, was: u32, before: [u32; 3], at: usize)
                [
                    hash(hash(1, column), was),
                    hash(hash(2, column), before[0] | was << 12),
                    hash(hash(3, column), before[0] | before[1] << 9),
                    hash(hash(4, column), before[2] | (at as u32).min(16) << 9),
                ];
        }
        place(10, 255) {
            /// Data stand at the expected place. `seen`: places of the same content; `group`: alignment group of the old
            /// data.
            place: flag by(column: u32, expected: bool, seen: usize, old: bool, group: u8)
                [
                    hash(1, column | u32::from(expected) << 4),
                    hash(2, (seen as u32).min(3) | u32::from(old) << 2 | u32::from(group) << 3),
                ];
            /// A name stands at the expected place. `known`: that of the old name is; `seen`: places of the same name;
            /// `guessed`: there is a guess.
            name_place: flag by(known: bool, old: bool, seen: usize, guessed: bool)
                [
                    hash(5, u32::from(known) | u32::from(old) << 1),
                    hash(6, (seen as u32).min(3) | u32::from(guessed) << 2),
                ];
            /// Data in another section stand where the old ones would. `known`: where they went before is known; `h`: for
            /// each of them so far whether they did not, the last one lowest.
            elsewhere: flag by(column: u32, known: bool, old: bool, h: u32)
                [
                    hash(7, column | u32::from(known) << 4 | u32::from(old) << 5),
                    hash(hash(8, column), h & 7),
                ];
            /// They stand as far from there as the last ones that did not.
            again: flag by(column: u32, h: u32) [hash(9, column), hash(10, h & 15)];
        }
        choice(10, 255) {
            /// Which place of the same content, from 1; 0 for a new one.
            which_data: number by() [1];
            /// The alignment group of new data of so many bytes.
            group: tree(4) by(column: u32, len: usize) [hash(2, column << 16 | len as u32)];
            /// That of an inline tree. `old`: of the old one, or 0.
            tree_group: tree(4) by(old: u8) [hash(3, u32::from(old))];
            /// Which place of the same name, from 1; 0 for a new one.
            which_name: number by() [4];
        }
        tree(10, 255) {
            /// The inline tree is the old one with its places moved. `h`: as for scalars.
            tree: flag by(state: u32, h: u32) [hash(1, state), hash(hash(2, state), h & 15)];
        }
        row(12, 255) {
            /// A row continues the next old one. `h`: for each row so far whether it did not, the last one lowest.
            row: flag by(h: u32) [hash(1, h & 3), hash(2, h & 0xff), 3];
        }
        row_skip(10, 255) {
            /// Old rows skipped; 0 if it continues none.
            row_skip: number by() [1];
        }
        pc_hit(12, 255) {
            /// The place of an inlined call is the guess. `fresh`: 1 if the row continues none, else 0; `listed`: the
            /// starts of the instructions are.
            pc_hit: flag by(fresh: u32, listed: bool) [hash(1, fresh), hash(2, u32::from(!listed))];
            /// It is the start of an instruction.
            pc_start: flag by() [3, 4];
        }
        pc(14, 255) {
            /// Which one, against the first one at the guess or behind it.
            pc_index: signed by(fresh: u32) [hash(1, fresh), 2];
            /// By how much it is above the guess.
            pc_away: signed by(fresh: u32) [hash(3, fresh), 4];
        }
        line_hit(12, 255) {
            /// The line of an inlined function is the guess.
            line_hit: flag by(fresh: u32, h: u32) [hash(1, fresh), hash(2, h & 15)];
        }
        line(14, 255) {
            /// By how much it is above the guess.
            line: signed by(fresh: u32, h: u32) [hash(1, fresh), hash(2, h & 15)];
        }
    }
}

/// All models of functions.
#[derive(Debug, Default)]
pub(super) struct Models {
    pub own: FunctionModels,
    pub steps: StepModels,
}
