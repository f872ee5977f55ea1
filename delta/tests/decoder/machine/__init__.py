"""Instruction sets: what of an instruction is a reference, and what its other bytes are (FORMAT.md, "Machines")."""

from machine import aarch64, arm, loong, mips, ppc, riscv, x86, z


def of(e_machine, numbers):
    """The instruction set of a file, or None."""
    if numbers.order == "big":
        return z.SET if numbers.is_64 and e_machine == 22 else None
    by_class = {243: riscv.SET, 21: ppc.SET, 258: loong.SET, 8: mips.SET} if numbers.is_64 else {3: x86.NARROW, 40: arm.ARM}
    return ({62: x86.WIDE, 183: aarch64.SET} | by_class).get(e_machine)
