//! Where functions begin that no table lists: at the places that calls lead to.

use super::super::{Flow, Machine, Scanner};
use super::{BRANCH24, EXCHANGE24, EXCHANGE25, JUMP24};
use crate::place::{Addr, Place};

/// Rounds of looking for calls: what one finds says how the next one reads.
const ROUNDS: usize = 2;

/// Adds to `entries`, each an address and whether it is Thumb code, ascending, what is called from the code at
/// `addr`. `all` says which addresses are code.
pub fn functions(code: &[u8], addr: Addr, entries: &mut Vec<(Addr, bool)>, all: &dyn Fn(Addr) -> bool) {
    for _ in 0..ROUNDS {
        let mut found = Vec::new();
        sweep(code, addr, entries, &mut |target, thumb| {
            let aligned = target.0.is_multiple_of(if thumb { 2 } else { 4 });
            if aligned && all(target) {
                found.push((target, thumb));
            }
        });
        entries.append(&mut found);
        // Stable: what was known before a round counts, where it says otherwise.
        entries.sort_by_key(|entry| entry.0);
        entries.dedup_by_key(|entry| entry.0);
    }
}

/// Walks through code from entry to entry, and tells of each call.
fn sweep(code: &[u8], addr: Addr, entries: &[(Addr, bool)], tell: &mut dyn FnMut(Addr, bool)) {
    let mut next = entries.partition_point(|entry| entry.0 < addr);
    // Before the first entry, it is read as what that one is.
    let mut thumb = entries.get(next).or(entries.first()).is_some_and(|entry| entry.1);
    let mut p = 0;
    while p < code.len() {
        let here = addr.wrapping_add(p as u32);
        if let Some(&(at, mode)) = entries.get(next)
            && at == here
        {
            (thumb, next) = (mode, next + 1);
        }
        let until = entries
            .get(next)
            .map_or(code.len(), |e| (e.0.since(addr) as usize).min(code.len()));
        let machine = if thumb { Machine::Thumb } else { Machine::Arm };
        let mut scanner = Scanner::in_place(machine);
        while p < until {
            let (bytes, here) = (&code[p..until], u64::from(addr.wrapping_add(p as u32)));
            let (insn, field) = scanner.look(bytes, here);
            if let (Flow::Call, Some((field, from))) = (insn.flow(), field) {
                let target = Addr(machine.read(field.kind, bytes, field.at, insn.len(), from) as u32);
                match field.kind {
                    BRANCH24 | JUMP24 => tell(target, thumb),
                    EXCHANGE25 | EXCHANGE24 => tell(target, !thumb),
                    _ => {}
                }
            }
            scanner.pass(&insn, bytes, here);
            p += usize::from(insn.len());
        }
    }
}
