//! Holds the decoders of the smaller ports against GNU objdump, on random words and on the code of real programs.
//!
//! Why objdump: the ports' own engineers keep it, it knows all of them, and it prints what addresses that are made of
//! two instructions come to. Needs one that is built for all targets (Debian: binutils-multiarch), for LoongArch that of
//! LLVM (Debian: llvm-22), and skips without.
//! `ELFDELTA_CORPORA=<folder>` adds every `<folder>/<name>/{old,new}` of these machines.

#[path = "ports/loong.rs"]
mod loong;
#[path = "ports/mips.rs"]
mod mips;
#[path = "ports/ppc.rs"]
mod ppc;
#[path = "ports/riscv.rs"]
mod riscv;
#[path = "ports/z.rs"]
mod z;

use elfdelta::machine::{Flow, Machine, Scanner};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, process::Command};

/// One line of a disassembly: offset, length, name of the instruction, operands, and what stands in a comment.
pub struct Line {
    at: usize,
    len: usize,
    name: String,
    operands: String,
    comment: Option<u64>,
}

impl Line {
    /// The last operand as an address.
    fn last(&self) -> Option<u64> {
        number(self.operands.rsplit(',').next()?)
    }
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// A disassembler.
pub enum Tool {
    /// GNU objdump, and as what it is to read code.
    Gnu(&'static [&'static str]),
    /// That of LLVM: the target by the name that it lists, and the format of its object files.
    Llvm(&'static str, &'static str),
}

/// How the oracle prints one port.
pub struct Port {
    machine: Machine,
    /// What prints it.
    tool: Tool,
    /// How instructions with a field begin, among random words: the bits that stay, and what becomes of the others.
    openings: (u32, &'static [u32]),
    /// The address to which an instruction leads by itself.
    target: fn(&Line) -> Option<u64>,
    /// What the lower half of an address comes to, counted from where we say.
    sum: fn(&Line, u64) -> Option<u64>,
    /// Where control goes, of instructions that say so by their name.
    flow: fn(&Line) -> Option<Flow>,
    /// Files at hand.
    seeds: &'static [&'static str],
}

const PORTS: [&Port; 5] = [&riscv::PORT, &ppc::PORT, &loong::PORT, &mips::PORT, &z::PORT];

/// Disassembles bytes; `None` without a disassembler for the port.
fn disassembled(port: &Port, code: &[u8]) -> Option<Vec<Line>> {
    let file = std::env::temp_dir().join(format!("elfdelta-{:?}-{}", port.machine, std::process::id()));
    fs::write(&file, code).unwrap();
    let text = match port.tool {
        Tool::Gnu(args) => {
            let common = ["-D", "-z", "-w", "-b", "binary"];
            said(Command::new("objdump").args(common).args(args).arg(&file))
        }
        Tool::Llvm(target, format) => llvm(target, format, &file),
    };
    fs::remove_file(&file).unwrap();
    let text = text?;
    let line = |line: &str| {
        // Bytes stand behind a tab, or behind a space.
        let (at, rest) = line.split_once(':')?;
        let mut parts = rest.trim_start().split('\t');
        let at = usize::from_str_radix(at.trim(), 16).ok()?;
        let bytes = parts.next()?.chars().filter(|c| !c.is_whitespace()).count();
        let text = parts.collect::<Vec<_>>().join(" ");
        let (code, comment) = text.split_once('#').unwrap_or((&text, ""));
        let (name, operands) = code.trim().split_once(' ').unwrap_or((code.trim(), ""));
        Some(Line {
            at,
            len: bytes / 2,
            name: name.into(),
            operands: operands.trim().into(),
            comment: number(comment),
        })
    };
    Some(text.lines().filter_map(line).collect())
}

/// What a command prints, if it is there and does not fail.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// What LLVM's tools print of raw code, in the newest version at hand that knows the target.
fn llvm(target: &str, format: &str, file: &Path) -> Option<String> {
    let versions = ["", "-23", "-22", "-21", "-20", "-19"];
    let knows = |version: &&&str| {
        let listed = said(Command::new(format!("llvm-objdump{version}")).arg("--version"));
        listed.is_some_and(|text| text.contains(target))
    };
    let version = versions.iter().find(knows)?;
    let object = file.with_extension("o");
    let args = ["-I", "binary", "-O", format, "--rename-section"];
    let made = said(
        Command::new(format!("llvm-objcopy{version}"))
            .args(args)
            .arg(".data=.text,alloc,load,readonly,code")
            .args([file, &object]),
    );
    let text = made.and_then(|_| {
        let args = ["-d", "-z"];
        said(
            Command::new(format!("llvm-objdump{version}"))
                .args(args)
                .arg(&object),
        )
    });
    let _ = fs::remove_file(&object);
    text
}

/// What differs, by the name of the instruction, with an example of each.
#[derive(Default)]
struct Differences {
    checked: usize,
    branches: usize,
    pairs: usize,
    found: BTreeMap<(&'static str, String), String>,
}

impl Differences {
    /// Walks as the engine does, and looks at what the oracle says of the same places.
    fn compare(&mut self, port: &Port, code: &[u8], lines: &[Line]) {
        let machine = port.machine;
        let mut scanner = Scanner::in_place(machine);
        for line in lines {
            let data = line.name.starts_with(['.', '<']) || line.name.is_empty();
            if data || line.at + line.len > code.len() {
                continue;
            }
            let (bytes, here) = (&code[line.at..], line.at as u64);
            let (insn, field) = scanner.look(bytes, here);
            let ours = field.map(|(f, from)| machine.read(f.kind, bytes, f.at, insn.len(), from));
            let wanted = (port.target)(line);
            let sum = field.and_then(|(_, from)| (port.sum)(line, from));
            scanner.pass(&insn, bytes, here);
            let what = if usize::from(insn.len()) != line.len {
                "length"
            } else if wanted.is_some() && ours.is_none() {
                "no field"
            } else if wanted.is_some() && wanted != ours {
                "target"
            } else if wanted.is_none() && sum.is_some() && sum != ours {
                "sum"
            } else if (port.flow)(line).is_some_and(|flow| flow != insn.flow()) {
                "flow"
            } else {
                self.checked += 1;
                self.branches += usize::from(wanted.is_some());
                self.pairs += usize::from(wanted.is_none() && sum.is_some());
                continue;
            };
            let shown = format!(
                "{:02x?} {} {} at {:x}: {insn:?}, {ours:x?}",
                &bytes[..line.len],
                line.name,
                line.operands,
                line.at
            );
            self.found.entry((what, line.name.clone())).or_insert(shown);
        }
    }
}

/// Random words, the same on every run; half of them begin as an instruction with a field.
fn random((kept, openings): (u32, &[u32]), words: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    let mut code = Vec::new();
    for _ in 0..words {
        let mut word = (next() >> 16) as u32;
        if next() >> 63 == 1 {
            word = word & kept | openings[(next() >> 33) as usize % openings.len()];
        }
        code.extend_from_slice(&word.to_le_bytes());
    }
    code
}

/// Executable sections of the programs at hand.
fn sections(port: &Port) -> Vec<Vec<u8>> {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/kinds");
    let mut files: Vec<PathBuf> = port.seeds.iter().map(|n| kinds.join(n)).collect();
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
        let class = if elf.is_64 { 2 } else { 1 };
        if Machine::from_elf(elf.header.e_machine, class, elf.little_endian) == Some(port.machine) {
            let executable = elf.section_headers.iter().filter(|s| s.is_executable());
            found.extend(executable.filter_map(|s| Some(bytes.get(s.file_range()?)?.to_vec())));
        }
    }
    found
}

#[test]
fn instructions_decode_as_the_oracle_says() {
    for port in PORTS {
        let mut differences = Differences::default();
        for code in [vec![random(port.openings, 100_000)], sections(port)].concat() {
            let Some(lines) = disassembled(port, &code) else {
                println!("skipped: no objdump for {:?} is installed", port.machine);
                break;
            };
            differences.compare(port, &code, &lines);
        }
        let Differences {
            checked,
            branches,
            pairs,
            found,
        } = differences;
        println!(
            "{:?}: {checked} instructions, {branches} branches, {pairs} halves of addresses",
            port.machine
        );
        assert!(found.is_empty(), "{:?}: {found:#?}", port.machine);
        let has_pairs = port.machine != Machine::Z;
        assert!(checked == 0 || branches > 1000 && (pairs > 10 || !has_pairs));
    }
}
