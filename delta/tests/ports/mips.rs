//! MIPS as objdump prints it.

use super::{Line, Port, Tool};
use elfdelta::machine::{Flow, Machine};

/// MIPS of 64 bits, little-endian.
pub const PORT: Port = Port {
    machine: Machine::Mips64,
    tool: Tool::Gnu(&["-m", "mips:isa64r2", "-EL", "-M", "no-aliases"]),
    openings: (
        0x03ff_ffff,
        &[
            2 << 26,
            3 << 26,
            4 << 26,
            5 << 26,
            1 << 26,
            15 << 26,
            25 << 26,
            55 << 26,
        ],
    ),
    target,
    sum,
    flow,
    seeds: &["mips64-1", "mips64-2"],
};

fn is_branch(name: &str) -> bool {
    let name = name.strip_suffix('l').unwrap_or(name);
    matches!(
        name,
        "beq" | "bne" | "blez" | "bgtz" | "bltz" | "bgez" | "bc1f" | "bc1t"
    )
}

fn target(line: &Line) -> Option<u64> {
    let links = matches!(
        &*line.name,
        "j" | "jal" | "bltzal" | "bgezal" | "bltzall" | "bgezall"
    );
    line.last().filter(|_| links || is_branch(&line.name))
}

fn sum(line: &Line, from: u64) -> Option<u64> {
    let last = line.operands.rsplit(',').next()?;
    let constant = match &*line.name {
        "addiu" | "daddiu" => last,
        "lui" => return None,
        _ => last.split_once('(')?.0,
    };
    Some(from.wrapping_add_signed(constant.parse().ok()?))
}

fn flow(line: &Line) -> Option<Flow> {
    match &*line.name {
        "beq" if line.operands.starts_with("zero,zero,") => Some(Flow::Jump),
        "jal" | "jalr" | "jalr.hb" | "bltzal" | "bgezal" | "bltzall" | "bgezall" => Some(Flow::Call),
        name if is_branch(name) => Some(Flow::CondJump),
        "j" => Some(Flow::Jump),
        "jr" | "jr.hb" if line.operands == "ra" => Some(Flow::Return),
        "jr" | "jr.hb" => Some(Flow::Jump),
        "break" => Some(Flow::Trap),
        "daddiu" | "ld" | "sd" | "lui" => Some(Flow::Next),
        _ => None,
    }
}
