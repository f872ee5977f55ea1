//! z/Architecture as objdump prints it.

use super::{Line, Port, Tool};
use elfdelta::machine::{Flow, Machine};

/// z/Architecture.
pub const PORT: Port = Port {
    machine: Machine::Z,
    tool: Tool::Gnu(&["-m", "s390:64-bit", "-EB", "-M", "zarch"]),
    // Words are written lowest byte first.
    openings: (
        0xffff_f000,
        &[
            0x0084, 0x0085, 0x04a7, 0x05a7, 0x06a7, 0x07a7, 0x00c0, 0x04c0, 0x05c0, 0x02c4, 0x04c4, 0x05c4,
            0x06c4, 0x07c4, 0x08c4, 0x0bc4, 0x0cc4, 0x0dc4, 0x0ec4, 0x0fc4, 0x00c6, 0x02c6, 0x04c6, 0x05c6,
            0x06c6, 0x07c6, 0x08c6, 0x0ac6, 0x0cc6, 0x0dc6, 0x0ec6, 0x0fc6, 0x06cc, 0x00ec,
        ],
    ),
    target,
    sum: |_, _| None,
    flow,
    seeds: &["z-1", "z-2"],
};

/// Names of instructions that branch, and of those that reach data at a distance.
const RELATIVE: [&str; 25] = [
    "bras", "brasl", "larl", "exrl", "lrl", "lgrl", "lgfrl", "llgfrl", "lhrl", "lghrl", "llhrl", "llghrl",
    "strl", "stgrl", "sthrl", "crl", "cgrl", "cgfrl", "chrl", "cghrl", "clrl", "clgrl", "clgfrl", "clhrl",
    "clghrl",
];

/// Branch prediction names two places, and none that has to be right.
fn target(line: &Line) -> Option<u64> {
    let name = &*line.name;
    let jumps = name.starts_with('j')
        || ["cgrj", "crj", "clgrj", "clrj", "cgij", "cij", "clgij", "clij"]
            .iter()
            .any(|n| name.starts_with(n));
    let counts = matches!(
        name,
        "brct" | "brctg" | "brcth" | "brxh" | "brxle" | "brxhg" | "brxlg" | "pfdrl"
    );
    (jumps || counts || RELATIVE.contains(&name))
        .then(|| line.last())
        .flatten()
}

fn flow(line: &Line) -> Option<Flow> {
    match &*line.name {
        "brasl" | "bras" | "basr" if !line.operands.ends_with(",0") && !line.operands.ends_with("%r0") => {
            Some(Flow::Call)
        }
        "j" | "jg" => Some(Flow::Jump),
        "br" if line.operands == "%r0" => Some(Flow::Next),
        "br" if line.operands == "%r14" => Some(Flow::Return),
        "br" => Some(Flow::Jump),
        "nopr" | "lgr" | "la" | "lg" | "stg" | "stmg" | "larl" => Some(Flow::Next),
        "brct" | "brctg" | "je" | "jne" | "jge" | "jgne" | "jl" | "jh" => Some(Flow::CondJump),
        name if name.starts_with("cgij") || name.starts_with("crj") => Some(Flow::CondJump),
        _ => None,
    }
}
