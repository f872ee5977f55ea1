"""The shape of an instruction, and the walk that tells what its field counts from."""

from dataclasses import dataclass

NEXT, CALL, JUMP, COND_JUMP, RETURN, TRAP = range(6)
# An instruction that does nothing, among the roles of instructions.
NOP = 16


@dataclass(frozen=True)
class Insn:
    """Offsets count from the first byte; None where there is no such part."""

    len: int = 0
    kind: int | None = None  # of the reference field
    at: int = 0  # where that is
    flow: int = NEXT
    known: bool = False
    opcode_at: int = 0
    modrm_at: int | None = None
    disp_at: int | None = None
    disp_len: int = 0
    imm_at: int | None = None
    imm_len: int = 0
    data: int = 0  # class of data between instructions; 0 for an instruction


@dataclass(frozen=True)
class Field:
    """A reference field: its kind, its place in the instruction, and the address that it counts from."""

    kind: int
    at: int
    origin: int


@dataclass(frozen=True)
class Use:
    """What a kind of field is used for."""

    direct: bool = True  # it holds the whole target, not only a page or the part below one
    data: bool = False  # it may hold the address of data
    counted: bool = False  # entries of a jump table there count from where the field counts from
    long_form: bool = False  # a shorter instruction would have been chosen for a near target


BRANCH, DATA = Use(), Use(data=True)


class Scanner:
    """A walk over instructions of which none leaves anything to those behind it."""

    def __init__(self, machine):
        self.machine = machine

    def look(self, code, address):
        """The instruction at the start of `code`, and its field or None; does not move."""
        insn = self.machine.decode(code)
        return insn, self.field(insn, code, address)

    def field(self, insn, code, address):
        return None if insn.kind is None else Field(insn.kind, insn.at, address)

    def go_on(self, insn, code, address):
        """Goes past an instruction whose fields are final."""


def word(code, at=0):
    """The little-endian word at a place, or None."""
    return int.from_bytes(code[at : at + 4], "little") if at + 4 <= len(code) else None


def signed(value, bits):
    """The low bits of a value as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value
