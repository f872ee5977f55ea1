//! 5,000 damaged patches of real files: an error or the right file, within memory and work, and never a panic.

use elfdelta::container::{self, Coding, Header};
use elfdelta::{Error, Limits, Options, Patch, Profile, Silent};

/// A patch's header and the bodies of its streams, as [`container::write`] takes them.
type Parts = (Header, Vec<(u8, Coding, u64, Vec<u8>)>);

/// Two versions of a file of one kind.
macro_rules! pair {
    ($kind:literal) => {
        [
            include_bytes!(concat!("../../fuzz/seeds/kinds/", $kind, "-1")),
            include_bytes!(concat!("../../fuzz/seeds/kinds/", $kind, "-2")),
        ]
    };
}

/// Pairs of each kind of file that has tables of its own; `fuzz/seeds/make` says how they came about.
const PAIRS: &[(&str, [&[u8]; 2])] = &[
    ("C++ with exceptions", pair!("cxx")),
    ("Rust with names", pair!("rust")),
    ("Go", pair!("go")),
    ("AArch64", pair!("arm64")),
    ("ARM", pair!("arm")),
    ("Thumb", pair!("thumb")),
    ("RISC-V", pair!("riscv")),
    ("PowerPC", pair!("ppc64")),
    ("LoongArch", pair!("loong64")),
    ("MIPS", pair!("mips64")),
    ("z", pair!("z")),
    ("an object", pair!("object")),
    ("Go, data of functions apart", pair!("go-apart")),
    ("position-independent Go", pair!("go-pie")),
    ("unwind rows of ARM", pair!("unwind")),
    ("mangled names", pair!("names")),
    ("records of frames", pair!("frames")),
    ("types of BTF", pair!("types")),
    ("types of BTF that extend others", pair!("split")),
    ("types of BTF of every kind", pair!("btf")),
    ("places in code", pair!("orc")),
    ("places in code of an object", pair!("module")),
];

const LIMITS: Limits = Limits::new()
    .memory(96 << 20)
    .scratch(16 << 20)
    .output(1 << 20)
    .work_per_byte(256)
    .threads(1);

/// The same numbers in every run: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound.max(1) as u64) as usize
    }
}

fn patches(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let made =
        [(Profile::Default, 1), (Profile::Fast, 1), (Profile::Default, 3)].map(|(profile, segments)| {
            let options = Options::default().profile(profile).segments(segments).threads(1);
            elfdelta::diff(old, new, &options, &Silent).unwrap().bytes
        });
    made.into()
}

fn parts(patch: &[u8]) -> Parts {
    let patch = Patch::parse(patch).unwrap();
    let bodies = patch.streams().iter();
    let bodies = bodies
        .map(|s| (s.id, s.coding, s.decoded, s.bytes.to_vec()))
        .collect();
    (patch.header().clone(), bodies)
}

/// Damage that a checksum over the whole would find: bits, a cut, a piece from elsewhere.
fn as_bytes(random: &mut Random, patch: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = patch.to_vec();
    match random.below(3) {
        0 => {
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        1 => bytes.truncate(random.below(patch.len())),
        _ => {
            let (at, from) = (random.below(patch.len()), random.below(other.len()));
            let n = random.below(200).min(other.len() - from);
            let end = (at + random.below(200)).min(patch.len());
            bytes.splice(at..end, other[from..from + n].iter().copied());
        }
    }
    bytes
}

/// Damage that a hostile maker would do: a patch whose parts fit together and lie.
fn as_parts(random: &mut Random, patch: &[u8], other: &[u8]) -> Vec<u8> {
    let (mut header, mut bodies) = parts(patch);
    let strange = parts(other).1;
    let at = random.below(bodies.len());
    match random.below(7) {
        0 => {
            for _ in 0..=random.below(3) {
                let body = &mut bodies[at].3;
                let place = random.below(body.len());
                if let Some(byte) = body.get_mut(place) {
                    *byte = random.below(256) as u8;
                }
            }
        }
        1 => {
            let keep = random.below(bodies[at].3.len());
            bodies[at].3.truncate(keep);
        }
        2 => {
            let tail = (0..random.below(300)).map(|_| random.below(256) as u8);
            bodies[at].3.extend(tail.collect::<Vec<_>>());
        }
        // The bytes of one stream as those of another.
        3 => {
            let with = random.below(bodies.len());
            let (a, b) = (bodies[at].3.clone(), bodies[with].3.clone());
            (bodies[at].3, bodies[with].3) = (b, a);
        }
        4 => {
            let body = &strange[random.below(strange.len())];
            (bodies[at].1, bodies[at].2, bodies[at].3) = (body.1, body.2, body.3.clone());
        }
        5 => {
            bodies[at].1 = [Coding::Stored, Coding::Zstd, Coding::Modelled][random.below(3)];
            bodies[at].2 = random.below(1 << 20) as u64;
        }
        _ => {
            header.new_len = header
                .new_len
                .saturating_add_signed(random.below(4000) as i64 - 2000);
            bodies.remove(at);
        }
    }
    container::write(&header, &bodies)
}

/// The most memory that this process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

#[test]
fn damage_is_told_where_it_is() {
    let (mut there, mut elsewhere) = (0, 0);
    for (kind, [old, new]) in PAIRS {
        for patch in patches(old, new) {
            let (header, bodies) = parts(&patch);
            for damaged in 0..bodies.len() {
                let mut bad = bodies.clone();
                let (id, _, _, body) = &mut bad[damaged];
                let name = container::stream_name(*id);
                // From the middle on it is all ones, so that the first half is read as it was.
                let half = body.len() / 2;
                body[half..].fill(0xff);
                let bad = container::write(&header, &bad);
                let parsed = Patch::parse(&bad).unwrap();
                match parsed.applier().limits(LIMITS).apply(old, &mut Vec::new()) {
                    Err(Error::Damaged {
                        stream: Some(told),
                        at,
                        ..
                    }) => {
                        let streams = bodies.iter().filter(|b| container::stream_name(b.0) == told);
                        let most = streams.map(|b| b.3.len() as u64).max().unwrap_or(0);
                        assert!(
                            at <= Some(most),
                            "{kind}: byte {at:?} of {told}, which has {most}"
                        );
                        let count = if told == name { &mut there } else { &mut elsewhere };
                        *count += 1;
                    }
                    Err(Error::Io(e)) => panic!("{kind}: {e}"),
                    _ => {}
                }
            }
        }
    }
    println!("{there} times in the stream that was damaged, {elsewhere} in another");
    assert!(there > 200 && there > elsewhere);
    let cut = &patches(PAIRS[0].1[0], PAIRS[0].1[1])[0][..20];
    let error = Patch::parse(cut).unwrap_err();
    assert!(
        error.to_string().contains("byte"),
        "where the header ends is not told: {error}"
    );
}

#[test]
fn damaged_patches_of_real_files_end_in_an_error_or_the_right_file() {
    let mut random = Random(5);
    // And all of them behind each other.
    let [first, second] = [0, 1].map(|side| {
        PAIRS
            .iter()
            .map(|(_, pair)| pair[side])
            .collect::<Vec<_>>()
            .concat()
    });
    let group = ("a group", [&first[..], &second[..]]);
    let all: Vec<_> = PAIRS
        .iter()
        .chain([&group])
        .flat_map(|(kind, [a, b])| [(*kind, *a, *b), (*kind, *b, *a)])
        .flat_map(|(kind, old, new)| patches(old, new).into_iter().map(move |p| (kind, old, new, p)))
        .collect();
    let before = peak();
    let (mut refused, mut late, mut whole) = (0, 0, 0);
    for number in 0..5000 {
        let (kind, old, new, patch) = &all[number % all.len()];
        let other = &all[random.below(all.len())].3;
        let bad = match random.below(3) {
            0 => as_bytes(&mut random, patch, other),
            _ => as_parts(&mut random, patch, other),
        };
        let Ok(parsed) = Patch::parse(&bad) else {
            refused += 1;
            continue;
        };
        let mut out = Vec::new();
        match parsed.applier().limits(LIMITS).apply(old, &mut out) {
            Ok(()) => {
                assert!(out == *new, "{kind}, number {number}: another file");
                whole += 1;
            }
            Err(Error::Io(e)) => panic!("{kind}, number {number}: {e}"),
            Err(_) => late += 1,
        }
        assert!(
            out.len() as u64 <= LIMITS.output,
            "{kind}, number {number}: too long"
        );
    }
    println!("{refused} refused when read, {late} while applied, {whole} harmless");
    assert!(
        late > 2500,
        "the damage is found too early to be worth trying: {refused} {late} {whole}"
    );
    // One patch at a time, each within its limit; allocators keep something.
    // The kernel counts pages by thread and adds up late: "more" may come out below zero.
    assert!(
        peak().saturating_sub(before) <= LIMITS.memory + (16 << 20),
        "{} bytes more",
        peak().saturating_sub(before)
    );
}
