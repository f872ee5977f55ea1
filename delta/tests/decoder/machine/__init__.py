"""Instruction sets: what of an instruction is a reference, and what its other bytes are (FORMAT.md, "Machines")."""

from container import Unknown
from machine import x86


def of(e_machine, is_64):
    """The instruction set of a file, or None."""
    if e_machine in (183, 40):
        raise Unknown("a machine")
    sets = {62: x86.WIDE, 3: None if is_64 else x86.NARROW}
    return sets.get(e_machine)
