//! Arbitrary pairs: what was diffed applies back.
#![no_main]

use elfdelta::{Limits, Options, Patch, Profile, Silent};
use libfuzzer_sys::fuzz_target;

const TINY: [&[u8]; 2] = [
    include_bytes!("../seeds/elf/tiny-1"),
    include_bytes!("../seeds/elf/tiny-2"),
];

/// First byte: two byte strings as they are (even), or the two ELF seeds with edits to the new one (odd).
/// Then the length of the old string and both strings, or edits of three bytes each: place, value.
fn pair(data: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (kind, rest) = data.split_first()?;
    if kind & 1 == 0 {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (old, new) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        return Some((old.to_vec(), new.to_vec()));
    }
    let (old, mut new) = (
        TINY[usize::from(kind >> 1 & 1)].to_vec(),
        TINY[usize::from(kind >> 2 & 1)].to_vec(),
    );
    for edit in rest.chunks_exact(3) {
        let len = new.len();
        new[usize::from(u16::from_le_bytes([edit[0], edit[1]])) % len] = edit[2];
    }
    match kind >> 3 & 1 {
        0 => Some((old, new)),
        _ => Some((new, old)),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((old, new)) = pair(data) else { return };
    let profile = if data[0] & 0x80 == 0 {
        Profile::Default
    } else {
        Profile::Fast
    };
    let options = Options {
        profile,
        threads: 1,
        ..Options::default()
    };
    let delta = elfdelta::diff(&old, &new, &options, &Silent).expect("every pair has a patch");
    let patch = Patch::parse(&delta.bytes, &Limits::default()).expect("our own patch parses");
    let mut back = Vec::new();
    patch
        .apply(&old, &mut back, &Limits::default(), &Silent)
        .expect("our own patch applies");
    assert_eq!(back, new);
});
