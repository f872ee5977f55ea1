//! Arbitrary pairs: what was diffed applies back.
#![no_main]

mod kinds;

use elfdelta::{Options, Patch, Profile, Silent};
use libfuzzer_sys::fuzz_target;

/// First byte: two byte strings as they are (even), or files of the seeds with edits (odd). Then the length of the
/// old string and both strings, or the numbers of both files and edits of five bytes each: place, value; the
/// highest bit of the place says that it is in the old file.
fn pair(data: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (kind, rest) = data.split_first()?;
    if kind & 1 == 0 {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let (old, new) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        return Some((old.to_vec(), new.to_vec()));
    }
    let (files, rest) = rest.split_first_chunk::<2>()?;
    let mut pair = files.map(|number| kinds::file(number).to_vec());
    for edit in rest.chunks_exact(5) {
        let place = u32::from_le_bytes([edit[0], edit[1], edit[2], edit[3]]) as usize;
        let file = &mut pair[usize::from(place & 1 << 31 == 0)];
        let place = (place & !(1 << 31)) % file.len();
        file[place] = edit[4];
    }
    let [old, new] = pair;
    Some((old, new))
}

fuzz_target!(|data: &[u8]| {
    let Some((old, new)) = pair(data) else { return };
    let profile = if data[0] & 0x80 == 0 {
        Profile::Default
    } else {
        Profile::Fast
    };
    let options = Options::default().profile(profile).threads(1);
    let delta = elfdelta::diff(&old, &new, &options, &Silent).expect("every pair has a patch");
    let patch = Patch::parse(&delta.bytes).expect("our own patch parses");
    let mut back = Vec::new();
    patch
        .applier()
        .apply(&old, &mut back)
        .expect("our own patch applies");
    assert_eq!(back, new);
});
