//! Holds the instruction scanner against an independent decoder, on real programs and on random bytes.
//!
//! `ELFDELTA_CORPORA=<folder>` adds every `<folder>/<name>/{old,new}`; run it with `--release`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use elfdelta::machine::x86::{REL8, REL32, RIP32};
use elfdelta::machine::{ABSENT, FieldKind, Flow, Insn, Machine};
use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, FlowControl, Instruction, OpKind, Register};

/// Mismatches by what differs and by opcode, with an example of each.
#[derive(Default)]
struct Differences {
    checked: u64,
    rejected: u64,
    found: BTreeMap<(&'static str, String), (u64, String)>,
}

impl Differences {
    fn compare(
        &mut self,
        machine: Machine,
        bytes: &[u8],
        address: u64,
        decoder: &Decoder,
        theirs: &Instruction,
    ) {
        self.checked += 1;
        let ours = machine.decode(bytes);
        let what = difference(machine, &ours, bytes, address, decoder, theirs);
        if let Some(what) = what {
            let shown = bytes
                .iter()
                .take(theirs.len())
                .map(|b| format!("{b:02x}"))
                .collect::<Vec<_>>()
                .join(" ");
            let entry = self
                .found
                .entry((what, format!("{:?}", theirs.code())))
                .or_default();
            entry.0 += 1;
            if entry.1.is_empty() {
                entry.1 = format!("{shown}: {ours:?}");
            }
        }
    }

    fn assert_none(&self, name: &str) {
        println!(
            "{name}: {} instructions compared, {} refused by the oracle",
            self.checked, self.rejected
        );
        for ((what, code), (count, example)) in self.found.iter().take(60) {
            println!("  {what} {code}: {count}, as {example}");
        }
        assert!(
            self.found.is_empty(),
            "{name}: {} kinds of mismatch",
            self.found.len()
        );
    }
}

/// The first thing that differs.
fn difference(
    machine: Machine,
    ours: &Insn,
    bytes: &[u8],
    address: u64,
    decoder: &Decoder,
    theirs: &Instruction,
) -> Option<&'static str> {
    if !ours.known() {
        return Some("unknown");
    }
    if usize::from(ours.len()) != theirs.len() {
        return Some("length");
    }
    let offsets = decoder.get_constant_offsets(theirs);
    let disp = offsets
        .has_displacement()
        .then(|| (offsets.displacement_offset(), offsets.displacement_size()));
    let our_disp =
        (ours.disp_at() != ABSENT).then(|| (usize::from(ours.disp_at()), usize::from(ours.disp_len())));
    if disp != our_disp {
        return Some("displacement");
    }
    let imm = offsets.has_immediate().then(|| {
        (
            offsets.immediate_offset(),
            offsets.immediate_size() + offsets.immediate_size2(),
        )
    });
    let our_imm =
        (ours.imm_at() != ABSENT).then(|| (usize::from(ours.imm_at()), usize::from(ours.imm_len())));
    // Where an immediate would be: the opcode of 3DNow!, and the fourth register of FMA4 and `vblendv`.
    let selector = imm.is_none()
        && ours.imm_len() == 1
        && matches!(
            theirs.encoding(),
            EncodingKind::VEX | EncodingKind::XOP | EncodingKind::D3NOW
        );
    if imm != our_imm && !selector {
        return Some("immediate");
    }
    if field(theirs, &offsets)
        != ours
            .field()
            .map(|f| (f.kind, usize::from(f.at), target(machine, ours, bytes, address)))
    {
        return Some("field");
    }
    (flow(theirs) != ours.flow()).then_some("flow")
}

fn target(machine: Machine, ours: &Insn, bytes: &[u8], address: u64) -> u64 {
    let field = ours.field().expect("asked for an instruction with a field");
    machine.read(field.kind, bytes, field.at, ours.len(), address)
}

/// Kind, offset and target of the reference field, by the oracle.
fn field(theirs: &Instruction, offsets: &iced_x86::ConstantOffsets) -> Option<(FieldKind, usize, u64)> {
    let near = (0..theirs.op_count())
        .any(|op| matches!(theirs.op_kind(op), OpKind::NearBranch64 | OpKind::NearBranch32));
    if near {
        let kind = match offsets.immediate_size() {
            1 => REL8,
            4 => REL32,
            _ => return None,
        };
        return Some((kind, offsets.immediate_offset(), theirs.near_branch_target()));
    }
    let relative = theirs.memory_base() == Register::RIP;
    relative.then(|| {
        (
            RIP32,
            offsets.displacement_offset(),
            theirs.ip_rel_memory_address(),
        )
    })
}

fn flow(theirs: &Instruction) -> Flow {
    match theirs.code() {
        Code::Hlt | Code::Int1 | Code::Int3 => return Flow::Trap,
        Code::Xbegin_rel16 | Code::Xbegin_rel32 => return Flow::CondJump,
        // Hidden behind a ModRM byte of 0F 01, and too rare to look for.
        Code::Erets | Code::Eretu | Code::Uiret | Code::Skinit => return Flow::Next,
        _ => {}
    }
    let by_operand = theirs.op_count() > 0 || theirs.is_call_near_indirect();
    match theirs.flow_control() {
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => Flow::Jump,
        FlowControl::ConditionalBranch => Flow::CondJump,
        FlowControl::Return => Flow::Return,
        // The oracle counts `syscall`, `vmcall` and their like as calls.
        FlowControl::Call | FlowControl::IndirectCall if by_operand => Flow::Call,
        FlowControl::Exception => Flow::Trap,
        _ => Flow::Next,
    }
}

/// Compares over a whole section, from instruction to instruction as the oracle sees them.
fn sweep(machine: Machine, code: &[u8], address: u64, differences: &mut Differences) {
    let bits = if machine == Machine::X86_64 { 64 } else { 32 };
    let mut decoder = Decoder::with_ip(bits, code, address, DecoderOptions::NONE);
    let mut theirs = Instruction::default();
    let mut at = 0;
    while at < code.len() {
        decoder.set_position(at).expect("inside the section");
        decoder.set_ip(address + at as u64);
        decoder.decode_out(&mut theirs);
        if theirs.is_invalid() {
            differences.rejected += 1;
            at += 1;
            continue;
        }
        differences.compare(machine, &code[at..], address + at as u64, &decoder, &theirs);
        at += theirs.len();
    }
}

/// Programs at hand: the test itself, what the system has, and the corpora if there are any.
fn programs() -> Vec<PathBuf> {
    let mut found = vec![std::env::current_exe().expect("a running test has a path")];
    let system = [
        "/usr/bin/bash",
        "/usr/bin/perl",
        "/usr/bin/git",
        "/usr/bin/openssl",
    ];
    found.extend(system.map(PathBuf::from));
    for folder in [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib64",
        "/usr/lib/i386-linux-gnu",
    ] {
        let names = ["libc.so.6", "libm.so.6", "libstdc++.so.6", "libcrypto.so.3"];
        found.extend(names.map(|name| PathBuf::from(folder).join(name)));
    }
    if let Some(corpora) = std::env::var_os("ELFDELTA_CORPORA") {
        let pairs = std::fs::read_dir(corpora)
            .expect("ELFDELTA_CORPORA names a folder")
            .flatten();
        found.extend(pairs.flat_map(|pair| [pair.path().join("old"), pair.path().join("new")]));
    }
    found.retain(|path| path.is_file());
    found
}

/// An address and the code there.
type Section<'a> = (u64, &'a [u8]);

/// Executable sections with their addresses.
fn code_sections(bytes: &[u8]) -> Option<(Machine, Vec<Section<'_>>)> {
    let elf = goblin::elf::Elf::parse(bytes).ok()?;
    let class = if elf.is_64 { 2 } else { 1 };
    let machine = Machine::from_elf(elf.header.e_machine, class, elf.little_endian)?;
    let executable = elf
        .section_headers
        .iter()
        .filter(|section| section.is_executable());
    let sections =
        executable.filter_map(|section| Some((section.sh_addr, bytes.get(section.file_range()?)?)));
    Some((machine, sections.collect()))
}

#[test]
fn real_programs_decode_as_the_oracle_says() {
    let mut differences = Differences::default();
    for path in programs() {
        let bytes = std::fs::read(&path).expect("a readable program");
        let Some((machine, sections)) = code_sections(&bytes) else {
            continue;
        };
        if !matches!(machine, Machine::X86_64 | Machine::X86_32) {
            continue;
        }
        let before = differences.checked;
        for (address, code) in sections {
            sweep(machine, code, address, &mut differences);
            // 32-bit programs are rare by now; the same bytes, read as 32-bit code, are as good a test.
            sweep(Machine::X86_32, code, address, &mut differences);
        }
        println!(
            "{}: {} instructions",
            path.display(),
            differences.checked - before
        );
    }
    differences.assert_none("real programs");
}

/// xorshift64*, so that the bytes are the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[(self.next() >> 33) as usize % from.len()]
    }

    /// Random bytes, half of the time after an opening that reaches the rarer maps.
    fn instruction(&mut self) -> [u8; 24] {
        const OPENINGS: &[&[u8]] = &[
            &[0x0f],
            &[0x66],
            &[0x66, 0x0f],
            &[0xf2, 0x0f],
            &[0xf3, 0x0f],
            &[0x48],
            &[0x66, 0x48],
            &[0x67],
            &[0x0f, 0x38],
            &[0x66, 0x0f, 0x38],
            &[0x0f, 0x3a],
            &[0x66, 0x0f, 0x3a],
            &[0xc5],
            &[0xc4, 0xe1],
            &[0xc4, 0xe2],
            &[0xc4, 0xe3],
            &[0x62, 0xf1],
            &[0x62, 0xf2],
            &[0x62, 0xf3],
            &[0x62, 0xf5],
            &[0x62, 0xf6],
            &[0x8f, 0xe8],
            &[0x8f, 0xe9],
            &[0x8f, 0xea],
        ];
        let mut bytes = [0; 24];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes());
        }
        if self.next() >> 63 == 1 {
            let opening = self.pick(OPENINGS);
            bytes[..opening.len()].copy_from_slice(opening);
        }
        bytes
    }
}

fn random(machine: Machine, count: u32) -> Differences {
    let bits = if machine == Machine::X86_64 { 64 } else { 32 };
    let mut differences = Differences::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let bytes = random.instruction();
        let mut decoder = Decoder::with_ip(bits, &bytes, 0x40_0000, DecoderOptions::NONE);
        let theirs = decoder.decode();
        if theirs.is_invalid() {
            differences.rejected += 1;
        } else {
            differences.compare(machine, &bytes, 0x40_0000, &decoder, &theirs);
        }
    }
    differences
}

#[test]
fn random_64_bit_instructions_decode_as_the_oracle_says() {
    random(Machine::X86_64, 4_000_000).assert_none("random 64-bit instructions");
}

#[test]
fn random_32_bit_instructions_decode_as_the_oracle_says() {
    random(Machine::X86_32, 4_000_000).assert_none("random 32-bit instructions");
}

/// Prints how fast whole programs are walked: `cargo test --release --test oracle -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    for path in programs() {
        let bytes = std::fs::read(&path).expect("a readable program");
        let Some((machine, sections)) = code_sections(&bytes) else {
            continue;
        };
        let size: usize = sections.iter().map(|(_, code)| code.len()).sum();
        let mut best = f64::INFINITY;
        let mut fields = 0;
        for _ in 0..3 {
            let start = std::time::Instant::now();
            fields = sections
                .iter()
                .map(|&(_, code)| count_fields(machine, code))
                .sum::<usize>();
            best = best.min(start.elapsed().as_secs_f64());
        }
        let rate = size as f64 / best / 1e6;
        println!(
            "{}: {:.1} MB, {fields} fields, {rate:.0} MB/s",
            path.display(),
            size as f64 / 1e6
        );
    }
}

fn count_fields(machine: Machine, code: &[u8]) -> usize {
    let mut rest = code;
    let mut count = 0;
    while !rest.is_empty() {
        let insn = machine.decode(rest);
        count += usize::from(insn.field().is_some());
        rest = &rest[usize::from(insn.len())..];
    }
    count
}
