//! Pairs new rows with old ones, on the writing side.

use super::row::Row;
use crate::maps::HashMap;
use crate::tables::names::NONE;

/// Old row for each new one, or [`NONE`]: the same name, and of those the one that fits and is nearest.
///
/// `old` holds the old rows as they are expected to be now; those whose name is gone are `None`.
pub fn pair(old: &[Option<Row>], new: &[Row]) -> Vec<u32> {
    let mut by_name: HashMap<u32, Vec<u32>> = HashMap::default();
    for (j, row) in old.iter().enumerate() {
        if let Some(row) = row {
            by_name.entry(row.name).or_default().push(j as u32);
        }
    }
    let mut used = vec![false; old.len()];
    let mut pairs = vec![NONE; new.len()];
    let mut expected = 0u32;
    for (i, row) in new.iter().enumerate() {
        let Some(candidates) = by_name.get(&row.name) else {
            continue;
        };
        let from = candidates.partition_point(|&j| j < expected);
        let near = candidates[from..]
            .iter()
            .take(64)
            .chain(candidates[..from].iter().rev().take(64));
        let best = near.filter(|&&j| !used[j as usize]).min_by_key(|&&j| {
            let old = old[j as usize].unwrap_or_default();
            let differs = u32::from(old.info != row.info || old.section != row.section) * 2
                + u32::from(old.value != row.value || old.size != row.size);
            (differs, j.abs_diff(expected))
        });
        if let Some(&j) = best {
            pairs[i] = j;
            used[j as usize] = true;
            expected = j + 1;
        }
    }
    pairs
}
