//! Instructions as an assembler writes them and a disassembler reads them, and what follows from them together.

use super::super::{Flow, Machine, Scanner};
use super::{ADDRESS, DISTANCE, class};
use crate::place::Addr;

/// An instruction as the manual prints it, its assembly, flow, and target; they follow each other from 0x10_0000.
type Vector = (u32, &'static str, Flow, Option<u64>);

#[rustfmt::skip]
const ARM: &[Vector] = &[
    (0xea000000, "b 100008", Flow::Jump, Some(0x100008)),
    (0xeb0000fe, "bl 100404", Flow::Call, Some(0x100404)),
    (0xfb0000fe, "blx 10040a", Flow::Call, Some(0x10040a)),
    (0x1afffffc, "bne 100004", Flow::CondJump, Some(0x100004)),
    (0xe59f0008, "ldr r0, [pc, #8]", Flow::Next, Some(0x100020)),
    (0xe51f1008, "ldr r1, [pc, #-8]", Flow::Next, Some(0x100014)),
    (0xe5df1008, "ldrb r1, [pc, #8]", Flow::Next, Some(0x100028)),
    (0xed9f0b04, "vldr d0, [pc, #16]", Flow::Next, Some(0x100034)),
    (0xed5f0a04, "vldr s1, [pc, #-16]", Flow::Next, Some(0x100018)),
    (0xe1df20ba, "ldrh r2, [pc, #10]", Flow::Next, Some(0x100036)),
    (0xe1cf20d8, "ldrd r2, [pc, #8]", Flow::Next, Some(0x100038)),
    (0xe28f0010, "add r0, pc, #16", Flow::Next, Some(0x100044)),
    (0xe24f0010, "sub r0, pc, #16", Flow::Next, Some(0x100028)),
    (0xe08f0000, "add r0, pc, r0", Flow::Next, None),
    (0xe79f0000, "ldr r0, [pc, r0]", Flow::Next, None),
    (0xe12fff1e, "bx lr", Flow::Return, None),
    (0xe12fff13, "bx r3", Flow::Jump, None),
    (0xe12fff33, "blx r3", Flow::Call, None),
    (0xe1a0f00e, "mov pc, lr", Flow::Return, None),
    (0xe8bd8010, "pop {r4, pc}", Flow::Return, None),
    (0xe49df004, "pop {pc}", Flow::Return, None),
    (0xe51ff004, "ldr pc, [pc, #-4]", Flow::Jump, Some(0x100058)),
    (0x979ff100, "ldrls pc, [pc, r0, lsl #2]", Flow::CondJump, None),
    (0x908ff100, "addls pc, pc, r0, lsl #2", Flow::CondJump, None),
    (0xe081f002, "add pc, r1, r2", Flow::Jump, None),
    (0xe7f000f0, "udf #0", Flow::Trap, None),
    (0xe1200070, "bkpt 0x0000", Flow::Trap, None),
    (0xef000000, "svc 0x00000000", Flow::Next, None),
    (0xe3500001, "cmp r0, #1", Flow::Next, None),
    (0xe92d4010, "push {r4, lr}", Flow::Next, None),
    (0xe5810004, "str r0, [r1, #4]", Flow::Next, None),
    (0xe0000291, "mul r0, r1, r2", Flow::Next, None),
];

#[rustfmt::skip]
const THUMB: &[Vector] = &[
    (0xd102, "bne.n 100008", Flow::CondJump, Some(0x100008)),
    (0xe01e, "b.n 100042", Flow::Jump, Some(0x100042)),
    (0xb110, "cbz r0, 10000c", Flow::CondJump, Some(0x10000c)),
    (0xb9ff, "cbnz r7, 100048", Flow::CondJump, Some(0x100048)),
    (0x4802, "ldr r0, [pc, #8]", Flow::Next, Some(0x100014)),
    (0xf20f0106, "addw r1, pc, #6", Flow::Next, Some(0x100012)),
    (0xf00081fe, "beq.w 10040e", Flow::CondJump, Some(0x10040e)),
    (0xf47fa5fe, "bne.w 7fc12", Flow::CondJump, Some(0x7fc12)),
    (0xf000b9fe, "b.w 100416", Flow::Jump, Some(0x100416)),
    (0xf000f9fe, "bl 10041a", Flow::Call, Some(0x10041a)),
    (0xf7fbf7fe, "bl ffcfc01e", Flow::Call, Some(0xffcfc01e)),
    (0xf000ea02, "blx 100428", Flow::Call, Some(0x100428)),
    (0xf8df8008, "ldr.w r8, [pc, #8]", Flow::Next, Some(0x100030)),
    (0xf85f8008, "ldr.w r8, [pc, #-8]", Flow::Next, Some(0x100024)),
    (0xf8dff008, "ldr.w pc, [pc, #8]", Flow::Jump, Some(0x100038)),
    (0xf20f0806, "addw r8, pc, #6", Flow::Next, Some(0x10003a)),
    (0xf2af080a, "subw r8, pc, #10", Flow::Next, Some(0x10002e)),
    (0xe9df0102, "ldrd r0, r1, [pc, #8]", Flow::Next, Some(0x100044)),
    (0xed9f0b02, "vldr d0, [pc, #8]", Flow::Next, Some(0x100048)),
    (0xed5f0a02, "vldr s1, [pc, #-8]", Flow::Next, Some(0x10003c)),
    (0xf9bf1006, "ldrsh.w r1, [pc, #6]", Flow::Next, Some(0x10004e)),
    (0xe8dff000, "tbb [pc, r0]", Flow::Jump, None),
    (0xe8dff010, "tbh [pc, r0, lsl #1]", Flow::Jump, None),
    (0xbd10, "pop {r4, pc}", Flow::Return, None),
    (0xe8bd8110, "ldmia.w sp!, {r4, r8, pc}", Flow::Return, None),
    (0xf85dfb04, "ldr.w pc, [sp], #4", Flow::Return, None),
    (0xf8d0f004, "ldr.w pc, [r0, #4]", Flow::Jump, None),
    (0x4770, "bx lr", Flow::Return, None),
    (0x4718, "bx r3", Flow::Jump, None),
    (0x4798, "blx r3", Flow::Call, None),
    (0x4687, "mov pc, r0", Flow::Jump, None),
    (0xde00, "udf #0", Flow::Trap, None),
    (0xbe00, "bkpt 0x0000", Flow::Trap, None),
    (0xdf00, "svc 0", Flow::Next, None),
    (0xbf00, "nop", Flow::Next, None),
    (0xf3af8000, "nop.w", Flow::Next, None),
    (0xb510, "push {r4, lr}", Flow::Next, None),
    (0x2801, "cmp r0, #1", Flow::Next, None),
    (0xf2412034, "movw r0, #4660", Flow::Next, None),
    (0x447b, "add r3, pc", Flow::Next, None),
    (0xbf00, "nop", Flow::Next, None),
];

/// The bytes of an instruction.
fn bytes(machine: Machine, code: u32) -> Vec<u8> {
    if machine == Machine::Arm {
        return code.to_le_bytes().into();
    }
    let (high, low) = ((code >> 16) as u16, code as u16);
    match high {
        0 => low.to_le_bytes().into(),
        _ => [high.to_le_bytes(), low.to_le_bytes()].concat(),
    }
}

#[test]
fn the_vectors_decode() {
    for (machine, vectors) in [(Machine::Arm, ARM), (Machine::Thumb, THUMB)] {
        let mut at = 0x10_0000;
        for &(code, assembly, flow, target) in vectors {
            let bytes = bytes(machine, code);
            let insn = machine.decode(&[&bytes[..], &[0; 8]].concat());
            assert_eq!(usize::from(insn.len()), bytes.len(), "{assembly}");
            let read = |f: super::Field| machine.read(f.kind, &bytes, f.at, insn.len(), at);
            assert_eq!(insn.field().map(read), target, "{assembly}");
            assert_eq!((insn.flow(), insn.known()), (flow, true), "{assembly}");
            if let Some(field) = insn.field() {
                let mut blank = bytes.clone();
                machine.blank(field.kind, &mut blank, 0);
                assert_eq!(machine.decode(&blank), insn, "{assembly}, blanked");
            }
            at += bytes.len() as u64;
        }
    }
}

/// Class, kind and target of each piece of code that begins at an address.
fn walk(machine: Machine, code: &[u8], mut at: u64) -> Vec<(u8, Option<u64>)> {
    let (mut scanner, mut p, mut found) = (Scanner::in_place(machine), 0, Vec::new());
    while p < code.len() {
        let (insn, field) = scanner.look(&code[p..], at);
        scanner.pass(&insn, &code[p..], at);
        let data = field.filter(|(f, _)| [DISTANCE, ADDRESS].contains(&f.kind));
        let read = |(f, from): (super::Field, u64)| machine.read(f.kind, &code[p..], f.at, insn.len(), from);
        found.push((insn.data_class(), data.map(read)));
        p += usize::from(insn.len());
        at += u64::from(insn.len());
    }
    found
}

fn thumb(code: &[u16]) -> Vec<u8> {
    code.iter().flat_map(|half| half.to_le_bytes()).collect()
}

#[test]
fn constants_are_data_and_count_from_where_they_are_used() {
    // ldr r3, [pc, #8]; ldr r2, [pc, #12]; add r3, pc; ldr r2, [r3, r2]; ldr r1, [pc, #8]; pop {pc}
    let code = [0x4b02, 0x4a03, 0x447b, 0x589a, 0x4902, 0xbd00];
    let pool = [0x1000, 0, 0x0024, 0, 0x4321, 0];
    let found = walk(Machine::Thumb, &thumb(&[&code[..], &pool].concat()), 0x8000);
    let data = &found[6..];
    assert_eq!(
        data[0],
        (class::DISTANCE, Some(0x8008 + 0x1000)),
        "counts from the add"
    );
    assert_eq!(data[1], (class::ADDRESS, Some(0x24)), "the index of a load");
    assert_eq!(data[2], (class::WORD, None), "a number");
    assert!(found[..6].iter().all(|f| f.0 == 0));
}

#[test]
fn arm_constants_count_from_either_way_of_adding() {
    let code: [u32; 6] = [
        0xe59f_0010, // ldr r0, [pc, #16]
        0xe59f_1010, // ldr r1, [pc, #16]
        0xe08f_0000, // add r0, pc, r0
        0xe79f_1001, // ldr r1, [pc, r1]
        0xe59f_2008, // ldr r2, [pc, #8]
        0xe12f_ff1e, // bx lr
    ];
    let pool: [u32; 3] = [0x100, 0x200, 0x0001_0000];
    let words = [&code[..], &pool].concat();
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let found = walk(Machine::Arm, &bytes, 0x8000);
    assert_eq!(found[6], (class::DISTANCE, Some(0x8010 + 0x100)));
    assert_eq!(found[7], (class::DISTANCE, Some(0x8014 + 0x200)));
    assert_eq!(
        found[8],
        (class::ADDRESS, Some(0x0001_0000)),
        "where programs are linked"
    );
}

#[test]
fn a_call_or_a_write_ends_what_a_register_holds() {
    for between in [[0xf000, 0xf800], [0x2300, 0xbf00]] {
        // ldr r3, [pc, #4]; bl or movs r3, #0; add r3, pc
        let code = [&[0x4b01], &between[..], &[0x447b, 0x1000, 0]].concat();
        let found = walk(Machine::Thumb, &thumb(&code), 0x8000);
        assert_eq!(found.last(), Some(&(class::WORD, None)), "{between:04x?}");
    }
}

#[test]
fn data_cuts_what_would_reach_into_it() {
    // ldr r0, [pc, #0]; a first halfword of four bytes; the word
    let found = walk(Machine::Thumb, &thumb(&[0x4800, 0xf000, 7, 0]), 0x8000);
    assert_eq!(found, [(0, None), (class::HALF, None), (class::WORD, None)]);
}

#[test]
fn functions_begin_where_calls_lead() {
    // At 0x8000, ARM: blx 0x800e; bx lr; at 0x8008, Thumb: bl 0x800c; at 0x800c: bx lr; at 0x800e: bx lr
    let arm: [u32; 2] = [0xfb00_0001, 0xe12f_ff1e];
    let mut code: Vec<u8> = arm.iter().flat_map(|w| w.to_le_bytes()).collect();
    code.extend(thumb(&[0xf000, 0xf800, 0x4770, 0x4770]));
    let mut entries = vec![(Addr(0x8000), false), (Addr(0x8008), true)];
    Machine::Arm.find_functions(&code, Addr(0x8000), &mut entries, &|a| {
        (0x8000..0x8010).contains(&a.0)
    });
    assert_eq!(
        entries
            .into_iter()
            .map(|(addr, thumb)| (addr.0, thumb))
            .collect::<Vec<_>>(),
        [(0x8000, false), (0x8008, true), (0x800c, true), (0x800e, true)]
    );
}
