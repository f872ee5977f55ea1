//! Promises that hold for any pair and any patch: round trips, the same bytes at any thread count, damage
//! that is noticed.

use elfdelta::{Error, Limits, Options, Patch, Profile, Silent};
use proptest::{collection::vec, prelude::*};

/// Two versions of a tiny program: jump table, pointers in data, unwind records, relative relocations.
const TINY: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/elf/tiny-1"),
    include_bytes!("../../fuzz/seeds/elf/tiny-2"),
];

const PROFILES: [Profile; 3] = [Profile::Fast, Profile::Default, Profile::Max];

fn diff(old: &[u8], new: &[u8], profile: Profile, threads: usize) -> Vec<u8> {
    let options = Options::default().profile(profile).threads(threads);
    elfdelta::diff(old, new, &options, &Silent)
        .expect("every pair has a patch")
        .bytes
}

fn segmented(new: &[u8], segments: usize, profile: Profile, threads: usize) -> Vec<u8> {
    let options = Options::default()
        .profile(profile)
        .threads(threads)
        .segments(segments)
        .models();
    let delta = elfdelta::diff(TINY[0], new, &options, &Silent);
    delta.expect("every pair has a patch").bytes
}

fn apply(old: &[u8], patch: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    let mut new = Vec::new();
    Patch::parse(patch)?
        .applier()
        .limits(limits)
        .apply(&old, &mut new)?;
    Ok(new)
}

fn round_trip(old: &[u8], new: &[u8], profile: Profile) {
    let patch = diff(old, new, profile, 1);
    assert!(apply(old, &patch, Limits::new()).expect("our own patch applies") == new);
}

/// One change of a file, places taken modulo its length.
#[derive(Clone, Debug)]
enum Edit {
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Move(usize, usize, usize),
    Cut(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = 0..4096usize;
    prop_oneof![
        8 => (place.clone(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (place.clone(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (place.clone(), 1..40usize).prop_map(|(at, len)| Edit::Remove(at, len)),
        2 => (place.clone(), place.clone(), 1..200usize).prop_map(|(from, to, len)| Edit::Move(from, to, len)),
        1 => place.prop_map(Edit::Cut),
    ]
}

fn edited(file: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut file = file.to_vec();
    for edit in edits {
        let place = |at: usize| at % (file.len() + 1);
        match edit {
            Edit::Set(at, byte) => {
                let at = place(*at);
                if let Some(there) = file.get_mut(at) {
                    *there = *byte;
                }
            }
            Edit::Insert(at, bytes) => {
                let at = place(*at);
                file.splice(at..at, bytes.iter().copied());
            }
            Edit::Remove(at, len) => {
                let at = place(*at);
                file.drain(at..(at + len).min(file.len()));
            }
            Edit::Move(from, to, len) => {
                let from = place(*from);
                let block: Vec<u8> = file.drain(from..(from + len).min(file.len())).collect();
                let to = to % (file.len() + 1);
                file.splice(to..to, block);
            }
            Edit::Cut(len) => file.truncate(*len),
        }
    }
    file
}

fn profile() -> impl Strategy<Value = Profile> {
    proptest::sample::select(PROFILES.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_round_trip(old in vec(any::<u8>(), 0..600), new in vec(any::<u8>(), 0..600), profile in profile()) {
        round_trip(&old, &new, profile);
    }

    #[test]
    fn edited_bytes_round_trip(old in vec(any::<u8>(), 0..3000), edits in vec(edit(), 0..12), profile in profile()) {
        round_trip(&old, &edited(&old, &edits), profile);
    }

    #[test]
    fn edited_programs_round_trip(
        which in (0..2usize, 0..2usize),
        old_edits in vec(edit(), 0..4),
        new_edits in vec(edit(), 0..12),
        profile in profile(),
    ) {
        round_trip(&edited(TINY[which.0], &old_edits), &edited(TINY[which.1], &new_edits), profile);
    }

    #[test]
    fn a_patch_does_not_depend_on_threads(edits in vec(edit(), 0..12), profile in profile()) {
        let new = edited(TINY[1], &edits);
        let one = diff(TINY[0], &new, profile, 1);
        prop_assert_eq!(&one, &diff(TINY[0], &new, profile, 3));
        prop_assert_eq!(&one, &diff(TINY[0], &new, profile, 0));
    }

    #[test]
    fn segments_decode_alike_at_any_thread_count(edits in vec(edit(), 0..12), segments in 2..=16usize, profile in profile()) {
        let new = edited(TINY[1], &edits);
        let patch = segmented(&new, segments, profile, 1);
        prop_assert_eq!(&patch, &segmented(&new, segments, profile, 3));
        for threads in [1, 4] {
            let limits = Limits::new().threads(threads);
            prop_assert!(apply(TINY[0], &patch, limits).expect("our own patch applies") == new);
        }
    }

    #[test]
    fn any_bytes_are_a_patch_or_an_error(tail in vec(any::<u8>(), 0..400), keep in 0..120usize) {
        // The start of a good patch, so that some get past the header.
        let mut patch = diff(TINY[0], TINY[1], Profile::Default, 1);
        patch.truncate(keep);
        patch.extend(tail);
        let limits = Limits::new().memory(64 << 20).output(1 << 20).threads(1);
        if let Ok(new) = apply(TINY[0], &patch, limits) {
            prop_assert!(new == TINY[1], "only the digest's own file gets through");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    for profile in PROFILES {
        let patch = diff(TINY[0], TINY[1], profile, 1);
        for len in 0..patch.len() {
            let error = apply(TINY[0], &patch[..len], Limits::new()).expect_err("a truncated patch");
            assert!(
                matches!(error, Error::Damaged { .. }),
                "{profile:?} cut at {len}: {error}"
            );
        }
    }
}

#[test]
fn code_is_cut_into_as_many_segments_as_asked_for() {
    for segments in [1, 2, 5, 16] {
        let bytes = segmented(TINY[1], segments, Profile::Default, 0);
        let patch = Patch::parse(&bytes).unwrap();
        assert_eq!(patch.segments(), segments);
        assert_eq!(patch.header().features, u64::from(segments > 1));
    }
}

#[test]
fn every_flipped_byte_is_noticed_or_harmless() {
    let plain = PROFILES.map(|profile| (profile, diff(TINY[0], TINY[1], profile, 1)));
    let several = PROFILES.map(|profile| (profile, segmented(TINY[1], 3, profile, 1)));
    for (profile, good) in plain.into_iter().chain(several) {
        for at in 0..good.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut patch = good.clone();
                patch[at] ^= flip;
                if let Ok(new) = apply(TINY[0], &patch, Limits::new()) {
                    assert!(new == TINY[1], "{profile:?} byte {at}");
                }
            }
        }
    }
}

#[test]
fn odd_pairs_round_trip() {
    let empty: &[u8] = b"";
    let cases: [(&[u8], &[u8]); 8] = [
        (empty, empty),
        (empty, TINY[0]),
        (TINY[0], empty),
        (TINY[0], TINY[0]),
        (TINY[1], TINY[0]),
        (b"\x7fELF", TINY[0]),
        (&TINY[0][..64], &TINY[1][..64]),
        (&TINY[0][..1000], TINY[1]),
    ];
    for (old, new) in cases {
        for profile in PROFILES {
            round_trip(old, new, profile);
        }
    }
    let longer = [TINY[0], b"x"].concat();
    round_trip(TINY[0], &longer, Profile::Default);
}

#[test]
fn another_old_file_is_refused() {
    let patch = diff(TINY[0], TINY[1], Profile::Default, 1);
    for old in [TINY[1], b"", &[0; 2272]] {
        let error = apply(old, &patch, Limits::new()).expect_err("not the old file");
        assert!(matches!(error, Error::WrongOldFile { .. }), "{error}");
    }
}
