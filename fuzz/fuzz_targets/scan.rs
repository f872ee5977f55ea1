//! Arbitrary bytes as machine code: every step goes forward and stays inside, fields lie inside their
//! instruction.
#![no_main]

use elfdelta::machine::{Machine, Scanner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, code)) = data.split_first() else {
        return;
    };
    let machine = Machine::ALL[usize::from(*kind) % Machine::ALL.len()];
    let (mut scanner, mut at) = (Scanner::in_place(machine), 0);
    while at < code.len() {
        let (rest, address) = (&code[at..], 0x1000 + at as u64);
        let (insn, field) = scanner.look(rest, address);
        assert!(
            insn.len() >= 1 && usize::from(insn.len()) <= rest.len(),
            "{insn:?}"
        );
        if let Some((field, _)) = field {
            assert!(field.at < insn.len(), "{insn:?}");
        }
        scanner.pass(&insn, rest, address);
        at += usize::from(insn.len());
    }
});
