//! PowerPC as objdump prints it, without the shorter names that it has for many instructions.

use super::{Line, Port, Tool};
use elfdelta::machine::{Flow, Machine};

/// PowerPC of 64 bits, little-endian.
pub const PORT: Port = Port {
    machine: Machine::Ppc64,
    tool: Tool::Gnu(&["-m", "powerpc:common64", "-EL", "-M", "raw,power9"]),
    openings: (
        0x03ff_ffff,
        &[
            18 << 26,
            16 << 26,
            15 << 26,
            14 << 26,
            58 << 26,
            62 << 26,
            19 << 26,
        ],
    ),
    target,
    sum,
    flow,
    seeds: &["ppc64-1", "ppc64-2"],
};

/// Absolute branches have names of their own, and are not looked at.
fn target(line: &Line) -> Option<u64> {
    line.last()
        .filter(|_| matches!(&*line.name, "b" | "bl" | "bc" | "bcl"))
}

/// What an addition, a load or a store adds to its register.
fn sum(line: &Line, from: u64) -> Option<u64> {
    let last = line.operands.rsplit(',').next()?;
    let constant = match &*line.name {
        "addi" => last,
        "stxsd" | "stxssp" | "addis" | "lq" => return None,
        _ => last.split_once('(')?.0,
    };
    Some(from.wrapping_add_signed(constant.parse().ok()?))
}

fn flow(line: &Line) -> Option<Flow> {
    let operation = line.operands.split(',').next()?.parse::<u32>().ok();
    let always = operation.is_some_and(|o| o & 0x14 == 0x14);
    match &*line.name {
        "bl" | "bcl" | "bclrl" | "bcctrl" => Some(Flow::Call),
        "b" => Some(Flow::Jump),
        "bc" | "bclr" | "bcctr" if !always => Some(Flow::CondJump),
        "bc" | "bcctr" => Some(Flow::Jump),
        "bclr" => Some(Flow::Return),
        "addi" | "ld" | "std" => Some(Flow::Next),
        _ => None,
    }
}
