//! RISC-V as objdump prints it.

use super::{Line, Port, Tool};
use elfdelta::machine::{Flow, Machine};

/// RISC-V of 64 bits; compressed instructions have names of their own.
pub const PORT: Port = Port {
    machine: Machine::RiscV64,
    tool: Tool::Gnu(&["-m", "riscv:rv64", "-M", "no-aliases"]),
    openings: (0xffff_ff80, &[0x6f, 0x63, 0x17, 0x13, 0x03, 0x23, 0x67]),
    target,
    sum,
    flow,
    seeds: &["riscv-1", "riscv-2"],
};

fn is_branch(name: &str) -> bool {
    matches!(
        name,
        "beq" | "bne" | "blt" | "bge" | "bltu" | "bgeu" | "c.beqz" | "c.bnez"
    )
}

fn target(line: &Line) -> Option<u64> {
    let branches = is_branch(&line.name) || matches!(&*line.name, "jal" | "c.j");
    line.last().filter(|_| branches)
}

/// Of the thread pointer it prints the distance alone.
fn sum(line: &Line, _: u64) -> Option<u64> {
    line.comment.filter(|_| !line.operands.contains("(tp)"))
}

fn flow(line: &Line) -> Option<Flow> {
    let first = line.operands.split(',').next().unwrap_or_default();
    let links = matches!(first, "ra" | "t0");
    match &*line.name {
        name if is_branch(name) => Some(Flow::CondJump),
        "c.j" => Some(Flow::Jump),
        "jal" | "jalr" if links => Some(Flow::Call),
        "jal" => Some(Flow::Jump),
        "c.jalr" => Some(Flow::Call),
        "c.jr" if links => Some(Flow::Return),
        "c.jr" => Some(Flow::Jump),
        "jalr" if line.operands.contains("(ra)") || line.operands.contains("(t0)") => Some(Flow::Return),
        "jalr" => Some(Flow::Jump),
        "ebreak" | "c.ebreak" | "c.unimp" | "unimp" => Some(Flow::Trap),
        name if name.starts_with("c.") => Some(Flow::Next),
        _ => None,
    }
}
