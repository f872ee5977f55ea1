//! Holds the ARM and Thumb decoders against GNU objdump, on random words and on the code of real programs.
//!
//! Needs `arm-linux-gnueabihf-objdump` (Debian: binutils-arm-linux-gnueabihf), and skips without it.
//! `ELFDELTA_CORPORA=<folder>` adds every `<folder>/<name>/{old,new}` of that machine.

use elfdelta::machine::{Flow, Machine};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, process::Command};

const OBJDUMP: &str = "arm-linux-gnueabihf-objdump";

/// One line of a disassembly: offset, length, and the instruction as text.
struct Line {
    at: usize,
    len: usize,
    text: String,
}

/// Disassembles bytes; `None` without a disassembler.
fn disassembled(machine: Machine, code: &[u8]) -> Option<Vec<Line>> {
    let file = std::env::temp_dir().join(format!("elfdelta-arm-{machine:?}-{}", std::process::id()));
    fs::write(&file, code).unwrap();
    let mode = if machine == Machine::Thumb {
        "force-thumb"
    } else {
        "no-force-thumb"
    };
    let args = ["-D", "-z", "-b", "binary", "-m", "arm", "-M", mode];
    let output = Command::new(OBJDUMP).args(args).arg(&file).output();
    fs::remove_file(&file).unwrap();
    let text = String::from_utf8(output.ok()?.stdout).unwrap();
    let line = |line: &str| {
        let mut parts = line.split('\t');
        let at = usize::from_str_radix(parts.next()?.trim().strip_suffix(':')?, 16).ok()?;
        let bytes = parts.next()?.chars().filter(|c| !c.is_whitespace()).count();
        let text = parts.collect::<Vec<_>>().join(" ");
        Some(Line {
            at,
            len: bytes / 2,
            text,
        })
    };
    Some(text.lines().filter_map(line).collect())
}

/// The address that a line shows: of a branch the operand, of a load the comment.
fn target(text: &str) -> Option<u64> {
    let (code, comment) = text.split_once('@').unwrap_or((text, ""));
    let branch = ["b", "cb"].iter().any(|b| text.starts_with(b));
    let shown = if branch {
        code.split(&[' ', ','][..]).next_back()?
    } else {
        comment
    };
    let shown = shown.trim().trim_start_matches('(').trim_end_matches(')');
    u64::from_str_radix(shown.strip_prefix("0x")?, 16).ok()
}

/// What the oracle itself is not sure of.
fn doubtful(text: &str) -> bool {
    [
        "UNDEFINED",
        "invalid",
        "??",
        "UNPREDICTABLE",
        "unpredictable",
        ".word",
        ".short",
        ".inst",
        ".byte",
    ]
    .iter()
    .any(|mark| text.contains(mark))
}

/// Branches, and loads of literals of all registers, by what the line says.
fn is_reference(text: &str) -> bool {
    let name = text
        .split(' ')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".w")
        .trim_end_matches(".n");
    let conditions = [
        "", "eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al", "hs",
        "lo",
    ];
    let branch = ["b", "bl", "blx"]
        .iter()
        .any(|b| conditions.iter().any(|c| name == format!("{b}{c}")));
    let load = name.starts_with("ldr") || name.starts_with("vldr");
    let literal = load
        && text.contains("[pc, #")
        && !text.contains("]!")
        && !name.ends_with('t')
        && !text.contains("],");
    (branch && target(text).is_some()) || matches!(name, "cbz" | "cbnz") || literal
}

/// What differs, by the name of the instruction, with an example of each.
#[derive(Default)]
struct Differences {
    checked: usize,
    references: usize,
    found: BTreeMap<(&'static str, String), String>,
}

impl Differences {
    fn compare(&mut self, machine: Machine, code: &[u8], lines: &[Line]) {
        let whole = |line: &&Line| line.at + line.len <= code.len() && !doubtful(&line.text);
        for line in lines.iter().filter(whole) {
            let bytes = &code[line.at..];
            // Loads of a halfword at the program counter that write it back are for no processor to do.
            let word = bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
            if machine == Machine::Arm && word & 0x0e2f_0090 == 0x002f_0090 {
                continue;
            }
            let insn = machine.decode(bytes);
            let read =
                |f: elfdelta::machine::Field| machine.read(f.kind, bytes, f.at, insn.len(), line.at as u64);
            let ours = insn.field().map(read);
            let calls = line.text.starts_with("bl ") || line.text.starts_with("blx ");
            let what = if usize::from(insn.len()) != line.len {
                "length"
            } else if is_reference(&line.text) && ours.is_none() {
                "no field"
            } else if is_reference(&line.text)
                && target(&line.text).is_some_and(|t| Some(t & 0xffff_ffff) != ours)
            {
                "target"
            } else if calls && insn.flow() != Flow::Call {
                "flow"
            } else {
                self.checked += 1;
                self.references += usize::from(ours.is_some());
                continue;
            };
            let name = line.text.split(' ').next().unwrap_or_default().to_string();
            let shown = format!(
                "{:02x?} {} at {:x}: {insn:?}, {ours:x?}",
                &bytes[..line.len],
                line.text,
                line.at
            );
            self.found.entry((what, name)).or_insert(shown);
        }
    }

    fn assert_none(&self, name: &str) {
        println!(
            "{name}: {} instructions, {} references",
            self.checked, self.references
        );
        assert!(self.found.is_empty(), "{name}: {:#?}", self.found);
    }
}

/// Random bytes, the same on every run; half of the words begin as an instruction with a field.
fn random(machine: Machine, words: usize) -> Vec<u8> {
    let openings: &[u32] = match machine {
        Machine::Thumb => &[
            0xf000_8000,
            0xf8df_0000,
            0xf85f_0000,
            0xf20f_0000,
            0xe9df_0000,
            0xed9f_0a00,
        ],
        _ => &[
            0xe59f_0000,
            0xed9f_0a00,
            0xe1df_00b0,
            0xe28f_0000,
            0xfa00_0000,
            0x0a00_0000,
        ],
    };
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut code = Vec::new();
    for _ in 0..words {
        let mut word = next() as u32;
        if next() >> 63 == 1 {
            word = word & 0x00ff_0fff & next() as u32 | openings[(next() >> 33) as usize % openings.len()];
        }
        let halves = if machine == Machine::Thumb {
            word.rotate_left(16)
        } else {
            word
        };
        code.extend_from_slice(&halves.to_le_bytes());
    }
    code
}

/// Executable sections of the programs at hand.
fn sections() -> Vec<Vec<u8>> {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    let mut files: Vec<PathBuf> = ["arm-1", "arm-2", "thumb-1", "thumb-2"]
        .map(|n| kinds.join(n))
        .into();
    if let Some(corpora) = std::env::var_os("ELFDELTA_CORPORA") {
        let pairs = fs::read_dir(corpora)
            .expect("ELFDELTA_CORPORA names a folder")
            .flatten();
        files.extend(pairs.flat_map(|pair| [pair.path().join("old"), pair.path().join("new")]));
    }
    let mut found = Vec::new();
    for file in files.iter().filter(|f| f.is_file()) {
        let bytes = fs::read(file).unwrap();
        let Ok(elf) = goblin::elf::Elf::parse(&bytes) else {
            continue;
        };
        if elf.header.e_machine != 40 {
            continue;
        }
        let executable = elf.section_headers.iter().filter(|s| s.is_executable());
        found.extend(executable.filter_map(|s| Some(bytes.get(s.file_range()?)?.to_vec())));
    }
    found
}

#[test]
fn instructions_decode_as_the_oracle_says() {
    for machine in [Machine::Arm, Machine::Thumb] {
        let mut differences = Differences::default();
        for code in [vec![random(machine, 100_000)], sections()].concat() {
            // A section is one instruction set for the most part, and as good as random for the other.
            let Some(lines) = disassembled(machine, &code) else {
                println!("skipped: {OBJDUMP} is not installed");
                return;
            };
            differences.compare(machine, &code, &lines);
        }
        differences.assert_none(&format!("{machine:?}"));
        assert!(differences.references > 1000);
    }
}
