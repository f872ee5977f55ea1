//! Any string table is coded against any other, and a damaged stream ends.

use super::*;
use crate::Silent;
use crate::budget::Budget;
use crate::code::{ModelledReader, ModelledWriter};
use proptest::prelude::*;

/// Codes a table of `size` bytes against `old`, and gives what its recipe makes of them.
fn table<S: Symbols>(
    s: &mut S,
    budget: &Budget,
    old: &[u8],
    size: usize,
    truth: Option<&[u8]>,
) -> Result<(Names, Recipe)> {
    let mut names = Names {
        old: Starts::of(old),
        ..Names::default()
    };
    let mut recipe = Recipe::default();
    Coder::new(budget, (old, 0), &mut names, &mut recipe).table(s, size, truth, &mut budget.held())?;
    recipe.finish();
    Ok((names, recipe))
}

/// Names as compilers make them, of few parts, so that those of two tables are alike.
fn name() -> impl Strategy<Value = String> {
    let token = || prop::sample::select(vec!["0123456789abcdef", "fedcba9876543210", "00aa11bb22cc33dd"]);
    let krate = || prop::sample::select(vec!["Csab", "CsabcdefG", "Cs9"]);
    prop_oneof![
        (0..3u8, token()).prop_map(|(n, h)| format!("_ZN4core3fo{n}17h{h}E")),
        (token(), 0..9u8, 0..3u32).prop_map(|(h, n, l)| format!("anon.{h}.{n}.llvm.{}", 77 * l)),
        (krate(), krate(), "B[0-9a-zA-Z]{0,2}_").prop_map(|(a, b, r)| format!("_RINv{a}_4coreNt{b}_3foo{r}")),
        (0..40u8).prop_map(|n| format!("GCC_except_table{n}")),
        (0..3u8, 0..400u32, 0..9u8)
            .prop_map(|(n, c, d)| format!("__UNIQUE_ID_a{}{c}.{d}", ["", "b", "."][usize::from(n)])),
        "[a-c_]{0,3}",
    ]
}

fn strings(names: &[String]) -> Vec<u8> {
    names.iter().flat_map(|n| n.bytes().chain([0])).collect()
}

proptest! {
    #[test]
    fn any_table_comes_back(
        old in prop::collection::vec(name(), 0..30),
        kept in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        fresh in prop::collection::vec(name(), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        // What is new, among a run of what was there before.
        let mut new: Vec<String> = fresh;
        let at = cut.index(new.len() + 1);
        new.splice(at..at, kept.iter().filter(|_| !old.is_empty()).map(|i| i.get(&old).clone()));
        let (old, new) = (strings(&old), strings(&new));
        let budget = Budget::unlimited(&Silent);
        let mut writer = ModelledWriter::default();
        let (written, _) = table(&mut writer, &budget, &old, new.len(), Some(&new)).unwrap();
        prop_assert_eq!(&written.table, &new);
        let stream = writer.finish();
        let (read, recipe) =
            table(&mut ModelledReader::new(&stream, &budget), &budget, &old, new.len(), None).unwrap();
        prop_assert_eq!(&read.table, &new);
        prop_assert_eq!((&read.of_old, &read.source), (&written.of_old, &written.source));
        let mut made = Vec::new();
        let sink = &mut |piece: &[u8]| -> Result<()> {
            made.extend_from_slice(piece);
            Ok(())
        };
        recipe.run(&crate::file_view::FileView::new(&&old[..], &budget).unwrap(), sink).unwrap();
        prop_assert_eq!(made, new);
    }

    #[test]
    fn any_stream_ends(
        old in prop::collection::vec(name(), 0..20),
        stream in prop::collection::vec(any::<u8>(), 0..60),
        size in 0usize..400,
    ) {
        let budget = Budget::unlimited(&Silent);
        if let Ok((names, _)) =
            table(&mut ModelledReader::new(&stream, &budget), &budget, &strings(&old), size, None)
        {
            prop_assert_eq!(names.table.len(), size);
        }
    }
}
