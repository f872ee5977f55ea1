//! The instructions that unwind tables talk about: calls, and what moves the stack pointer or ends a block.

use crate::code::hash;
use crate::machine::{Flow, Insn, Machine, Scanner};
use crate::predict::UnitView;

/// A call.
pub const CALL: u8 = 15;
/// An instruction of no role before the start of a call site.
const BEFORE_SITE: u8 = 17;
/// An instruction of no role at the end of a call site.
const END_OF_SITE: u8 = 18;

/// What an instruction does to the frame; 0 for nothing that is known here.
fn role(machine: Machine, insn: &Insn, bytes: &[u8]) -> u8 {
    match insn.flow() {
        Flow::Call => return CALL,
        Flow::Return => return 1,
        Flow::Jump => return 2,
        Flow::Trap => return 3,
        Flow::Next | Flow::CondJump => {}
    }
    machine.role(insn, bytes)
}

/// The instructions of one unit; made when they are first asked for.
#[derive(Clone, Debug, Default)]
pub struct Landmarks {
    /// Start of each instruction, and the end of the last.
    pub starts: Vec<u32>,
    /// Role of each instruction.
    pub roles: Vec<u8>,
    /// What each instruction looks like; of a call, whom it calls.
    pub heads: Vec<u32>,
    /// Start and end of each call site.
    pub sites: Vec<(u32, u32)>,
}

/// A unit of code, and what stands out in it.
pub struct Body<'b, 'v> {
    /// The unit.
    pub view: &'b mut UnitView<'v>,
    /// Its landmarks, once somebody asked for them.
    pub landmarks: &'b mut Landmarks,
}

impl Landmarks {
    /// Forgets the unit.
    pub fn clear(&mut self) {
        self.starts.clear();
        self.roles.clear();
        self.heads.clear();
        self.sites.clear();
    }

    /// Reads the unit, if that was not done yet.
    pub fn fill(&mut self, view: &UnitView) {
        if !self.starts.is_empty() {
            return;
        }
        let (machine, bytes) = (view.machine(), view.bytes);
        let mut scanner = Scanner::new(machine);
        let mut p = 0;
        for &insn in view.shapes {
            let here = u64::from(view.addr) + p as u64;
            let field = scanner.field(&insn, &bytes[p..], here);
            scanner.pass(&insn, &bytes[p..], here);
            let role = role(machine, &insn, &bytes[p..]);
            let head = match field {
                Some((field, from)) if role == CALL => {
                    let target = machine.read(field.kind, &bytes[p..], field.at, insn.len(), from);
                    hash(field.kind.number().into(), target as u32)
                }
                _ => machine.head(&insn, &bytes[p..]),
            };
            self.starts.push(p as u32);
            self.roles.push(role);
            self.heads.push(head);
            p += usize::from(insn.len());
        }
        self.starts.push(p as u32);
    }

    /// Instructions behind which the frame may change, from one on: index and role.
    pub fn events(&self, from: usize) -> impl Iterator<Item = (usize, u8)> + '_ {
        let mut sites = self.sites.iter().peekable();
        (from..self.roles.len()).filter_map(move |k| {
            let behind = self.starts[k + 1];
            while sites.peek().is_some_and(|s| s.1 < behind) {
                sites.next();
            }
            let role = match (self.roles[k], sites.peek()) {
                (0 | CALL, Some(site)) if site.0 == behind => BEFORE_SITE,
                (0 | CALL, Some(site)) if site.1 == behind => END_OF_SITE,
                (role, _) => role,
            };
            (!matches!(role, 0 | CALL)).then_some((k, role))
        })
    }

    /// The instruction that starts at an offset (the one behind the last counts).
    pub fn index(&self, offset: u32) -> Option<usize> {
        self.starts.binary_search(&offset).ok()
    }

    /// The first instruction that starts at an offset or later.
    pub fn from(&self, offset: u32) -> usize {
        self.starts.partition_point(|&s| s < offset)
    }

    /// The calls from an instruction on.
    pub fn calls(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        (from..self.roles.len()).filter(|&k| self.roles[k] == CALL)
    }
}
