"""Instruction sets: what of an instruction is a reference, and what its other bytes are (FORMAT.md, "Machines")."""

from container import Unknown
from machine import aarch64, arm, x86


def of(e_machine, is_64):
    """The instruction set of a file, or None."""
    if e_machine == 243:
        raise Unknown("RISC-V")
    narrow = {3: x86.NARROW, 40: arm.ARM}
    return {62: x86.WIDE, 183: aarch64.SET}.get(e_machine) or (None if is_64 else narrow.get(e_machine))
