//! Types of BTF: told as types wherever they were put, each number where it went; what lies goes as plain bytes.

use elfdelta::{Limits, Method, Options, Patch, Profile, Silent};

const TYPES: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/types-1"),
    include_bytes!("../../fuzz/seeds/kinds/types-2"),
];
const SPLIT: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/split-1"),
    include_bytes!("../../fuzz/seeds/kinds/split-2"),
];

const EVERY: [&[u8]; 2] = [
    include_bytes!("../../fuzz/seeds/kinds/btf-1"),
    include_bytes!("../../fuzz/seeds/kinds/btf-2"),
];

/// The patch, applied and compared within what it declares, and bytes of it for `.BTF`.
fn told(old: &[u8], new: &[u8], profile: Profile) -> (Vec<u8>, u64) {
    let options = Options::default().profile(profile);
    let delta = elfdelta::diff(old, new, &options, &Silent).unwrap();
    let mut made = Vec::new();
    let patch = Patch::parse(&delta.bytes).unwrap();
    patch
        .applier()
        .limits(Limits::default())
        .apply(&old, &mut made)
        .unwrap();
    assert!(made == new);
    let btf = delta
        .report
        .sections
        .iter()
        .filter(|part| part.name.contains(".BTF"));
    let bytes = btf.map(|part| part.bytes).sum();
    (delta.bytes, bytes)
}

/// Where `.BTF` is: behind its magic number, version, flags and length of header.
fn place(file: &[u8]) -> usize {
    let head = [0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    file.windows(8).position(|w| w == head).expect("it has types")
}

fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(file[at..at + 4].try_into().unwrap())
}

/// So many types of a section, each a structure of a few members that lead to others, and a function, as numbers behind those of a
/// kernel; the one numbered `left_out` is not there. With a `shift` these moved by that, those of the kernel each by
/// some more, and all tens of types stand in another order.
fn module(count: u32, shift: u32, left_out: u32) -> Vec<u8> {
    let (first, text) = (90_000 + shift, 1_500_000 + 3 * shift);
    let (mut types, mut strings) = (Vec::new(), Vec::new());
    let mut order: Vec<u32> = (0..count).filter(|&n| n != left_out).collect();
    if shift > 0 {
        order.sort_by_key(|&n| (n / 10 * 7 % 31, n));
    }
    let number = |n: u32| first + order.iter().position(|&m| m == n).unwrap() as u32;
    for &n in &order {
        let mut named = |name: String| {
            let at = text + strings.len() as u32;
            strings.extend(name.bytes());
            strings.push(0);
            at
        };
        let members = n % 4 + 1;
        let mut words = vec![named(format!("structure_{n}")), 4 << 24 | members, 8 * members];
        for m in 0..members {
            let other = (n * 7 + m * 3) % count;
            let target = match m {
                0 => 3000 + n % 50 * 40 + shift * (n % 50 * 7 % 12),
                _ if other == left_out => 3,
                _ => number(other),
            };
            words.extend([named(format!("member_{n}_{m}")), target, 64 * m]);
        }
        types.extend(words.into_iter().flat_map(u32::to_le_bytes));
    }
    // A prototype and its function say where numbers begin.
    let prototype = first + order.len() as u32;
    let words = [
        0,
        13 << 24,
        3,
        text + strings.len() as u32,
        12 << 24 | 1,
        prototype,
    ];
    strings.extend(b"function\0");
    types.extend(words.into_iter().flat_map(u32::to_le_bytes));
    // In the place of the section of a real object, behind which everything moves.
    let (old, at) = (TYPES[0], place(TYPES[0]));
    let len = 24 + word(old, at + 12) as usize + word(old, at + 20) as usize;
    let mut section = old[at..at + 8].to_vec();
    for n in [0, types.len(), types.len(), strings.len()] {
        section.extend((n as u32).to_le_bytes());
    }
    section.extend(types);
    section.extend(strings);
    let mut file = old.to_vec();
    let begin = file.len().next_multiple_of(8);
    file.resize(begin, 0);
    file.extend(&section);
    // Its header says where it is now.
    let table = u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize;
    let is_it = |&row: &usize| word(&file, row + 24) as usize == at && word(&file, row + 32) as usize == len;
    let row = (table..).step_by(64).find(is_it).unwrap();
    file[row + 24..row + 32].copy_from_slice(&(begin as u64).to_le_bytes());
    file[row + 32..row + 40].copy_from_slice(&(section.len() as u64).to_le_bytes());
    file
}

#[test]
fn types_go_where_they_went() {
    for [old, new] in [TYPES, SPLIT, EVERY, [TYPES[0], SPLIT[1]], [SPLIT[1], TYPES[0]]] {
        for profile in [Profile::Default, Profile::Fast] {
            let (patch, bytes) = told(old, new, profile);
            println!("{profile:?}: {} bytes, {bytes} of types", patch.len());
            // So small a file may take less as plain bytes, which `fast` models as well.
            let method = Patch::parse(&patch).unwrap().header().method;
            let is_plain = profile == Profile::Fast && method == Method::Bytes;
            let bytes = if is_plain { patch.len() as u64 } else { bytes };
            assert!(bytes > 0 && bytes < 500, "{bytes} bytes, {method:?}");
        }
    }
    // Every number differs, and a type in the middle is gone.
    let (_, bytes) = told(&module(900, 0, 1000), &module(900, 110, 400), Profile::Default);
    assert!(bytes < 800, "{bytes} bytes");
}

#[test]
fn what_a_module_extends_is_learned_once_in_a_group() {
    let modules = |shift| [300u32, 310, 320, 330].map(|count| module(count, shift, 2000));
    let alone: u64 = modules(0)
        .iter()
        .zip(&modules(110))
        .map(|(old, new)| told(old, new, Profile::Default).1)
        .sum();
    let (patch, together) = told(&modules(0).concat(), &modules(110).concat(), Profile::Default);
    assert_eq!(Patch::parse(&patch).unwrap().header().method, Method::Packed);
    assert!(together * 5 < alone * 4, "{together} bytes, alone {alone}");
}

#[test]
fn types_that_lie_go_as_bytes() {
    for [old, new] in [TYPES, SPLIT, EVERY] {
        let begin = place(new);
        let len = 24 + word(new, begin + 12) as usize + word(new, begin + 20) as usize;
        for at in begin..begin + len {
            let mut lying = new.to_vec();
            lying[at] ^= 1 << (at % 8);
            told(old, &lying, Profile::Default);
            if at % 4 == 0 {
                told(&lying, old, Profile::Default);
            }
        }
    }
}
