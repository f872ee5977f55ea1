//! The change of a manifest as an input tells it: as in a step file, but plain; each column behind its length, digests
//! last.

use elfup::manifest::{Change, take};

/// What an input says; columns that it lacks are empty.
pub fn change(input: &[u8]) -> Change {
    let mut rest = input;
    let mut column = || {
        let len = take(&mut rest).and_then(|len| usize::try_from(len).ok());
        let (column, behind) = rest.split_at(len.unwrap_or(0).min(rest.len()));
        rest = behind;
        column.to_vec()
    };
    let mut change = Change {
        lines: column(),
        ops: column(),
        times: column(),
        sizes: column(),
        again: column(),
        digests: Vec::new(),
    };
    change.digests = rest.to_vec();
    change
}
