//! Lists of places in a kernel's code: where the code went, whatever else moved; lists that lie cost bytes, and no more.

use elfdelta::{Limits, Options, Patch, Profile, Silent};

const LISTS: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/orc-1"),
    include_bytes!("../../fuzz/seeds/kinds/orc-2"),
];

/// Bytes of the patch for the lists, and of all of it; it is applied within what it declares.
fn told(old: &[u8], new: &[u8], profile: Profile) -> (u64, usize) {
    let options = Options::default().profile(profile).threads(1);
    let delta = elfdelta::diff(old, new, &options, &Silent).unwrap();
    let (mut made, patch) = (Vec::new(), Patch::parse(&delta.bytes).unwrap());
    let limits = Limits::default();
    patch.applier().limits(limits).apply(&old, &mut made).unwrap();
    assert!(made == new);
    let lists = |name: &str| name.contains("orc_") || name.contains("_sites") || name.contains("_locks");
    let parts = delta.report.sections.iter();
    let bytes = parts.filter(|part| lists(&part.name)).map(|part| part.bytes);
    (bytes.sum(), delta.bytes.len())
}

/// The same with sections of other names, which are told as words or bytes.
fn unnamed(file: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    for name in [&b".orc_"[..], b".return_s", b".smp_l"] {
        while let Some(at) = file.windows(name.len()).position(|w| w == name) {
            file[at] = b'_';
        }
    }
    file
}

#[test]
fn places_go_where_their_code_went() {
    for [old, new] in [LISTS, [LISTS[1], LISTS[0]]] {
        for profile in [Profile::Default, Profile::Fast] {
            let (model, all) = told(old, new, profile);
            let (words, plain) = told(&unnamed(old), &unnamed(new), profile);
            // Without their names, so small a file may take less as plain bytes in `fast`: more than with them.
            let is_plain = profile == Profile::Fast && words == 0;
            assert!(
                model > 0 && (model * 4 < words * 3 || is_plain && all < plain),
                "{model} bytes, as words and bytes {words}"
            );
        }
    }
}

/// Whatever byte of a list is another, or what is said of a place, and in which of the two files.
#[test]
fn lists_that_lie_are_larger_patches() {
    let names = LISTS[0].windows(14).position(|w| w == b".orc_unwind_ip").unwrap();
    let [old, new] = LISTS;
    for (n, at) in (64..names).step_by(5).enumerate() {
        let (mut was, mut is) = (old.to_vec(), new.to_vec());
        let file = if n % 2 == 0 { &mut was } else { &mut is };
        file[at] ^= [0xff, 1, 0x80, 0x12][n / 2 % 4];
        told(&was, &is, Profile::Default);
    }
    // Headers of sections: sizes that do not belong together, and addresses that are elsewhere.
    for (n, at) in (names..new.len()).step_by(3).enumerate() {
        let mut is = new.to_vec();
        is[at] ^= [1, 4, 6, 0x80][n % 4];
        told(old, &is, Profile::Default);
        told(&is, old, Profile::Default);
    }
}
