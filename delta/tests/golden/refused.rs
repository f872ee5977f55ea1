//! Bad patches, each a golden one changed at one place: what must be refused is, with its error and its code, by both
//! decoders.

use super::{decoder, golden, path};
use elfdelta::Patch;
use std::fs;

/// Covers, edits, layout and so on: the numbers of streams.
const SKELETON: u8 = 1;
const LAYOUT: u8 = 2;
const EDITS: u8 = 3;
const LITERALS: u8 = 4;
const COVERS: u8 = 5;
const TARGETS: u8 = 6;
const JUMPS: u8 = 7;
const POINTERS: u8 = 8;
const UNWIND: u8 = 9;
const BYTES: u8 = 13;
const PLANS: u8 = 14;
const INSIDES: u8 = 15;

/// A stream: id, coding, decoded size, body.
#[derive(Clone)]
struct Row(u8, u8, u64, Vec<u8>);

/// A patch taken apart, whatever it says; and its old file.
struct Parts {
    start: [u8; 5],
    features: u64,
    method: u8,
    /// Old size, new size, memory.
    sizes: [u64; 3],
    digests: Vec<u8>,
    /// Scratch, old and new inside, encoders.
    packing: Option<([u64; 3], Vec<Vec<u8>>)>,
    rows: Vec<Row>,
    /// Bytes behind the bodies; fewer than none are cut.
    tail: i32,
    old: Vec<u8>,
}

fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl Parts {
    fn read(bytes: &[u8], old: Vec<u8>) -> Parts {
        let mut at = 5;
        let next = &mut at;
        let features = varint(bytes, next);
        let method = bytes[*next];
        *next += 1;
        let sizes = [(); 3].map(|()| varint(bytes, next));
        let digests = bytes[*next..*next + 64].to_vec();
        *next += 64;
        let packing = (method == 3).then(|| {
            let sizes = [(); 3].map(|()| varint(bytes, next));
            assert_eq!(varint(bytes, next), 0, "a golden patch that names encoders");
            (sizes, Vec::new())
        });
        let mut rows = Vec::new();
        for _ in 0..varint(bytes, next) {
            let tag = bytes[*next];
            *next += 1;
            let decoded = if tag >> 6 == 1 { varint(bytes, next) } else { 0 };
            let len = varint(bytes, next) as usize;
            rows.push(Row(tag & 63, tag >> 6, decoded, vec![0; len]));
        }
        for row in &mut rows {
            let len = row.3.len();
            row.3.copy_from_slice(&bytes[*next..*next + len]);
            *next += len;
        }
        Parts {
            start: bytes[..5].try_into().unwrap(),
            features,
            method,
            sizes,
            digests,
            packing,
            rows,
            tail: 0,
            old,
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = self.start.to_vec();
        put(&mut out, self.features);
        out.push(self.method);
        self.sizes.iter().for_each(|&size| put(&mut out, size));
        out.extend(&self.digests);
        if let Some((sizes, encoders)) = &self.packing {
            sizes.iter().for_each(|&size| put(&mut out, size));
            put(&mut out, encoders.len() as u64);
            for name in encoders {
                put(&mut out, name.len() as u64);
                out.extend(name);
            }
        }
        put(&mut out, self.rows.len() as u64);
        for Row(id, coding, decoded, body) in &self.rows {
            out.push(id | coding << 6);
            if *coding == 1 {
                put(&mut out, *decoded);
            }
            put(&mut out, body.len() as u64);
        }
        self.rows.iter().for_each(|row| out.extend(&row.3));
        let len = out.len() as i32 + self.tail;
        out.resize(len as usize, 0);
        out
    }

    fn row(&mut self, id: u8) -> &mut Row {
        self.rows.iter_mut().find(|row| row.0 == id).unwrap()
    }

    /// Puts columns of these symbols in place of a stream.
    fn columns(&mut self, id: u8, flags: &[u8], bytes: &[u8], numbers: &[u64]) {
        let mut packed = Vec::new();
        numbers.iter().for_each(|&n| put(&mut packed, n));
        let mut body = Vec::new();
        for len in [flags.len(), bytes.len(), packed.len()] {
            put(&mut body, len as u64);
        }
        body.extend([flags, bytes, &packed].concat());
        *self.row(id) = Row(id, 0, 0, body);
    }

    /// Changes one number of a stream of columns.
    fn number(&mut self, id: u8, index: usize, value: u64) {
        let mut columns = self.taken(id);
        columns.2[index] = value;
        self.columns(id, &columns.0, &columns.1, &columns.2);
    }

    /// Changes one byte of such a stream.
    fn byte(&mut self, id: u8, index: usize, value: u8) {
        let mut columns = self.taken(id);
        columns.1[index] = value;
        self.columns(id, &columns.0, &columns.1, &columns.2);
    }

    fn taken(&mut self, id: u8) -> (Vec<u8>, Vec<u8>, Vec<u64>) {
        let Row(_, coding, decoded, body) = self.row(id).clone();
        let body = match coding {
            0 => body,
            1 => zstd::bulk::decompress(&body, decoded as usize).unwrap(),
            _ => panic!("stream {id} has no columns"),
        };
        let mut at = 0;
        let lens = [(); 3].map(|()| varint(&body, &mut at) as usize);
        let [flags, bytes, packed] = lens.map(|len| {
            at += len;
            body[at - len..at].to_vec()
        });
        let (mut numbers, mut at) = (Vec::new(), 0);
        while at < packed.len() {
            numbers.push(varint(&packed, &mut at));
        }
        (flags, bytes, numbers)
    }
}

/// A signed number as it is told.
fn signed(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Columns of layout that tell the units of `tiny`: flags, then numbers.
const UNITS: [u8; 8] = [1, 1, 1, 0, 1, 0, 1, 1];
const SIZES: [u64; 7] = [0, 0, 0, 0, 20, 0, 0];

fn layout(parts: &mut Parts, index: usize, value: i64) {
    let mut numbers = SIZES;
    numbers[index] = signed(value);
    parts.columns(LAYOUT, &UNITS, &[], &numbers);
}

/// What is changed, in which golden patch, the code of the error and what it says.
type Bad = (&'static str, &'static str, u8, &'static str, fn(&mut Parts));

const CONTAINER: &[Bad] = &[
    ("magic", "edited", 4, "begin like", |p| p.start[0] = b'E'),
    ("version", "edited", 4, "version 1", |p| p.start[4] = 1),
    ("feature", "edited", 4, "feature bits", |p| p.features |= 4),
    ("method", "edited", 4, "method 4", |p| p.method = 4),
    ("method and feature", "edited", 4, "fit together", |p| {
        p.features |= 2
    }),
    ("coding", "edited", 4, "coding", |p| p.row(COVERS).1 = 3),
    ("65 streams", "edited", 4, "too many", |p| {
        p.rows.resize(65, Row(63, 2, 0, Vec::new()))
    }),
    ("order", "edited", 4, "out of order", |p| p.rows.swap(0, 1)),
    ("twice", "edited", 4, "out of order", |p| {
        p.rows.insert(0, Row(COVERS, 2, 0, Vec::new()))
    }),
    ("segments of one stream", "tiny-segments", 4, "segments", |p| {
        let at = p.rows.iter().position(|row| row.0 == LITERALS).unwrap();
        p.rows.remove(at);
    }),
    ("one segment", "tiny", 4, "segments", |p| p.features |= 1),
    ("an early end", "edited", 4, "", |p| p.tail = -1),
    ("bytes behind", "edited", 4, "after the last", |p| p.tail = 1),
    ("much memory", "edited", 5, "memory", |p| p.sizes[2] = 1 << 30),
    ("a large file", "edited", 5, "output", |p| p.sizes[1] = 1 << 40),
    ("another size", "edited", 3, "size", |p| p.old.push(0)),
    ("another file", "edited", 3, "SHA-256", |p| p.old[0] ^= 1),
    ("another new size", "edited", 4, "", |p| p.sizes[1] += 1),
    ("a shorter new file", "edited", 4, "", |p| p.sizes[1] -= 1),
    ("another new digest", "edited", 4, "digest", |p| {
        p.digests[40] ^= 1
    }),
    ("no whole file", "noise", 4, "", |p| p.method = 0),
];

const CODINGS: &[Bad] = &[
    ("columns that end early", "tiny-fast", 4, "ends too early", |p| {
        p.columns(EDITS, &[], &[], &[])
    }),
    ("a stream that ends early", "cxx", 4, "", |p| {
        p.row(EDITS).3.truncate(20)
    }),
    ("no stream", "cxx", 4, "", |p| {
        p.rows.retain(|row| row.0 != LITERALS)
    }),
    ("a frame", "tiny-fast", 4, "", |p| p.row(SKELETON).3[0] ^= 1),
    ("a frame of another size", "tiny-fast", 4, "", |p| {
        p.row(SKELETON).2 += 1
    }),
];

const IMAGE: &[Bad] = &[
    ("no ELF file", "edited", 4, "ELF file that it is not", |p| {
        p.method = 2
    }),
    ("a long head", "tiny-fast", 4, "headers are too long", |p| {
        p.number(SKELETON, 0, signed(1 << 21))
    }),
    ("a shift", "tiny-fast", 4, "shift is unknown", |p| {
        p.number(SKELETON, 1, 9)
    }),
    ("sections that overlap", "tiny-fast", 4, "fit together", |p| {
        p.number(SKELETON, 4, signed(1 << 33))
    }),
    ("sections behind the end", "tiny-fast", 4, "fit together", |p| {
        p.sizes[1] -= 1000
    }),
    ("a predictor", "tiny-fast", 4, "predictor 2", |p| {
        p.number(SKELETON, 44, 2)
    }),
    ("no frames", "tiny-fast", 4, "without frames", |p| {
        p.number(SKELETON, 49, 0);
        p.columns(COVERS, &[], &[1; 99], &[]);
        p.columns(BYTES, &[], &[0; 1 << 16], &[]);
    }),
    ("too many units", "tiny", 4, "number of functions", |p| {
        layout(p, 0, 1000)
    }),
    ("a unit before the last", "tiny", 4, "outside its section", |p| {
        layout(p, 1, -1)
    }),
    (
        "a unit behind its section",
        "tiny",
        4,
        "outside its section",
        |p| layout(p, 1, 10_000),
    ),
    ("an empty unit", "tiny", 4, "outside its section", |p| {
        layout(p, 2, -10_000)
    }),
    ("a long unit", "tiny", 4, "outside its section", |p| {
        layout(p, 2, 2 << 20)
    }),
    ("no source", "tiny", 4, "that is not there", |p| {
        p.columns(LAYOUT, &[0], &[2], &[0, signed(100)]);
    }),
    ("near", "tiny-fast", 4, "past its old function", |p| {
        p.number(EDITS, 0, signed(1000))
    }),
    ("a far unit", "tiny-fast", 4, "function that is not there", |p| {
        let mut columns = p.taken(EDITS);
        columns.1[4] = 3;
        columns.2.splice(0..1, [signed(50), 0]);
        p.columns(EDITS, &columns.0, &columns.1, &columns.2);
    }),
    ("a far instruction", "tiny-fast", 4, "past a function", |p| {
        let mut columns = p.taken(EDITS);
        columns.1[4] = 3;
        columns.2.splice(0..1, [0, signed(1000)]);
        p.columns(EDITS, &columns.0, &columns.1, &columns.2);
    }),
    ("an empty cover", "tiny-fast", 4, "past its region", |p| {
        p.columns(COVERS, &[], &[2], &[0, 0])
    }),
    (
        "a cover over its region",
        "tiny-fast",
        4,
        "past its region",
        |p| p.columns(COVERS, &[], &[2], &[0, 5000]),
    ),
    (
        "a cover outside the old file",
        "tiny-fast",
        4,
        "past its region",
        |p| {
            p.columns(COVERS, &[], &[6], &[0, signed(100_000), 1]);
        },
    ),
    ("a label", "tiny", 4, "goes nowhere", |p| {
        p.columns(TARGETS, &[0; 40], &[1, 24], &[])
    }),
    ("a unit as a target", "tiny", 4, "goes nowhere", |p| {
        p.columns(TARGETS, &[0; 40], &[2, 7], &[])
    }),
    ("an address", "tiny", 4, "goes nowhere", |p| {
        p.columns(TARGETS, &[0; 40], &[3], &[signed(1 << 40)])
    }),
    ("a long jump table", "tiny", 4, "jump table is too long", |p| {
        p.columns(JUMPS, &[], &[], &[signed(1 << 20)]);
    }),
    ("too many slots", "tiny-fast", 4, "", |p| {
        p.number(POINTERS, 1, signed(100))
    }),
    ("kinds of CIE", "tiny", 4, "frame record", |p| {
        p.columns(UNWIND, &[], &[], &[251])
    }),
    ("a kind of CIE", "tiny", 4, "frame record", |p| {
        p.columns(UNWIND, &[], &[], &[1, 9])
    }),
    ("a program", "tiny", 4, "program makes no sense", |p| {
        p.columns(UNWIND, &[1, 1, 0, 0, 1], &[], &[1, 1, 1 << 17]);
    }),
    ("another hash table", "tiny", 4, "hash table", |p| {
        p.columns(11, &[1; 9], &[], &[signed(1), 0, 0, 0]);
    }),
    ("a name", "cxx-fast", 4, "", |p| p.byte(11, 0, 5)),
    ("bytes", "tiny-fast", 4, "", |p| {
        p.columns(BYTES, &[0; 9], &[], &[])
    }),
];

/// Has the inside closed by a worker of zstd.
fn by_worker(parts: &mut Parts, level: u8, long: u8, window: u8) {
    let (codec, feed, size) = (6 << 2 | 2, 2, 0);
    parts
        .row(PLANS)
        .3
        .splice(7..10, [codec, level, feed | long, window, size]);
}

const PACKED: &[Bad] = &[
    ("a large inside", "gzip", 4, "not possible", |p| {
        p.packing.as_mut().unwrap().0[1] = 1 << 30
    }),
    (
        "less scratch space than the inside",
        "gzip",
        4,
        "not possible",
        |p| {
            p.packing.as_mut().unwrap().0[..2].copy_from_slice(&[1, 70_000]);
        },
    ),
    ("much scratch space", "gzip", 5, "scratch space", |p| {
        p.sizes[0] = 1 << 40;
        p.packing.as_mut().unwrap().0[..2].copy_from_slice(&[1 << 15, 1 << 31]);
    }),
    ("scratch space as memory", "gzip", 5, "no scratch space", |p| {
        p.sizes[2] = 4096;
        p.packing.as_mut().unwrap().0[0] = 1;
    }),
    ("an encoder", "gzip", 6, "shrink 1.0", |p| {
        p.packing.as_mut().unwrap().1.push(b"shrink 1.0".to_vec());
    }),
    ("17 encoders", "gzip", 4, "not possible", |p| {
        p.packing.as_mut().unwrap().1.resize(17, b"lz4 1.10.0".to_vec());
    }),
    ("a long name", "gzip", 4, "not possible", |p| {
        p.packing.as_mut().unwrap().1.push(vec![b'a'; 65])
    }),
    ("no plans", "gzip", 4, "plans", |p| {
        p.rows.retain(|row| row.0 != PLANS)
    }),
    ("no insides", "gzip", 4, "insides are missing", |p| {
        p.rows.retain(|row| row.0 != INSIDES)
    }),
    ("a close too many", "gzip", 4, "does not fit together", |p| {
        p.row(PLANS).3[1] = 1
    }),
    ("no close", "gzip", 4, "", |p| p.row(PLANS).3[0] -= 1),
    ("bytes behind plans", "gzip", 4, "after its plans", |p| {
        p.row(PLANS).3.push(0)
    }),
    ("no packed stream", "gzip", 4, "packed stream", |p| {
        p.row(PLANS).3[1] += 4
    }),
    ("another inside", "gzip", 4, "another size", |p| {
        p.packing.as_mut().unwrap().0[1] += 1
    }),
    // A worker of level 22, of its own window; of level 3 with another one; with the search for long repeats.
    ("a worker's own window", "gzip", 4, "not known", |p| {
        by_worker(p, 22, 0, 0)
    }),
    ("a worker's window", "gzip", 4, "not known", |p| {
        by_worker(p, 3, 0, 27)
    }),
    ("a worker's long repeats", "gzip", 4, "not known", |p| {
        by_worker(p, 21, 8, 0)
    }),
    ("another method inside", "gzip", 4, "", |p| {
        p.row(INSIDES).3[0] = 8
    }),
];

#[test]
fn what_must_be_refused_is() {
    let all = golden();
    let mut second = decoder();
    let mut wrong = Vec::new();
    for (name, base, code, says, change) in [CONTAINER, CODINGS, IMAGE, PACKED].concat() {
        let golden = all.iter().find(|g| g.name == base).unwrap();
        let mut parts = Parts::read(&fs::read(path(base)).unwrap(), golden.old.clone());
        assert_eq!(parts.write(), fs::read(path(base)).unwrap(), "{base}");
        change(&mut parts);
        let bytes = parts.write();
        let applied = Patch::parse(&bytes).and_then(|p| p.applier().apply(&parts.old, &mut std::io::sink()));
        match applied {
            Ok(()) => wrong.push(format!("{name}: applied")),
            Err(error) if error.code() != code || !error.to_string().contains(says) => {
                wrong.push(format!("{name}: {} {error}", error.code()));
            }
            Err(_) => {}
        }
        if let Some(second) = &mut second {
            let (told, _, why) = second.run(&parts.old, &bytes);
            if told != Some(code.into()) {
                wrong.push(format!("{name}, second decoder: {told:?} {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
