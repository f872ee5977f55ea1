//! LoongArch as LLVM's objdump prints it: branches by their distance.

use super::{Line, Port, Tool};
use elfdelta::machine::{Flow, Machine};

/// LoongArch of 64 bits.
pub const PORT: Port = Port {
    machine: Machine::Loong64,
    tool: Tool::Llvm("loongarch64", "elf64-loongarch"),
    openings: (
        0x03ff_ffff,
        &[
            0x14 << 26,
            0x15 << 26,
            0x10 << 26,
            0x11 << 26,
            0x13 << 26,
            0x16 << 26,
            0x1b << 26,
            0x06 << 26,
            0x07 << 26,
        ],
    ),
    target,
    sum,
    flow,
    seeds: &["loong64-1", "loong64-2"],
};

fn is_branch(name: &str) -> bool {
    let compares = [
        "beq", "bne", "blt", "bge", "bltu", "bgeu", "bgt", "ble", "bgtu", "bleu",
    ];
    let of_zero = ["beqz", "bnez", "bltz", "bgez", "bgtz", "blez", "bceqz", "bcnez"];
    compares.contains(&name) || of_zero.contains(&name)
}

/// The last operand as a number, what stands in angle brackets left out.
fn last(line: &Line) -> Option<i64> {
    let operand = line.operands.rsplit(", ").next()?;
    operand.split(' ').next()?.parse().ok()
}

fn target(line: &Line) -> Option<u64> {
    let branches = is_branch(&line.name) || matches!(&*line.name, "b" | "bl");
    let unit = match &*line.name {
        _ if branches => 0,
        "pcaddi" => 2,
        _ => return None,
    };
    Some((line.at as u64).wrapping_add_signed(last(line)? << unit))
}

fn sum(line: &Line, from: u64) -> Option<u64> {
    if line.name.starts_with("pc") {
        return None;
    }
    Some(from.wrapping_add_signed(last(line)?))
}

fn flow(line: &Line) -> Option<Flow> {
    match &*line.name {
        name if is_branch(name) => Some(Flow::CondJump),
        "b" | "jr" => Some(Flow::Jump),
        "bl" => Some(Flow::Call),
        "ret" => Some(Flow::Return),
        "jirl" if !line.operands.starts_with("$zero") => Some(Flow::Call),
        "break" => Some(Flow::Trap),
        "addi.d" | "ld.d" | "st.d" | "pcalau12i" => Some(Flow::Next),
        _ => None,
    }
}
