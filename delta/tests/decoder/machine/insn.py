"""The shape of an instruction, and the walk that tells what its field counts from."""

from dataclasses import dataclass

from models import M32, M64

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


def unfilled(machine, field, code, size):
    """The target of a field if all its bits were zero."""
    zero = bytearray(code[:16])
    machine.blank(field, zero)
    return machine.read(field.kind, bytes(zero), field.at, size, field.origin)


def open_away(machine, field, code, size, here):
    """How far the target of a field is from where it would be with all bits zero, if the field is open, else None."""
    target = machine.read(field.kind, code, field.at, size, field.origin)
    away = target - unfilled(machine, field, code, size) & M32
    return away if away == 0 or (target - here & M64) <= size else None


def signed(value, bits):
    """The low bits of a value as a signed number."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


class Words:
    """What sets have in common whose instructions are little-endian words, told highest byte first: the opcode and
    registers stand before constants. `masks` says where the field of a kind lies."""

    smallest, pad, has_data, modes, window, has_context, masks = 4, 0, False, False, 16, True, {}

    def in_mode(self, other):
        return self

    def decode(self, code):
        w = word(code)
        return Insn(min(len(code), 4)) if w is None else Insn(4, self.kind_of(w), 0, self.flow_of(w), True)

    def address(self, value):
        return value

    @staticmethod
    def store(code, at, mask, value):
        code[at : at + 4] = (word(code, at) & ~mask | value & mask).to_bytes(4, "little")

    def blank(self, field, code, at=0):
        self.store(code, at, self.masks[field.kind], 0)

    def hidden_bits(self, field, at):
        return self.masks[field.kind] >> 8 * at & 0xFF if at < 4 else 0

    def place(self, n, room, first):
        return 3 - n if room >= 4 and n < 4 else n

    def stray(self, room):
        return room if room < 4 else 0

    def part(self, insn, n):
        return n & 3

    def counterpart(self, other, shape, part, at, insn):
        return other[at] if at < len(other) else None

    def look(self, insn, code):
        return self.head(insn, code)


# Instructions behind a higher part of an address that are looked at for the other.
AHEAD = 6


def low_part(rest, completes, flow_of, ends):
    """What is added to a higher part by the first of the next few instructions that completes it; 0 where one before
    that ends its register, jumps for good, or calls."""
    for at in range(0, min(len(rest) // 4, AHEAD) * 4, 4):
        w = word(rest, at)
        low = completes(w)
        if low is not None:
            return low
        if ends(w) or flow_of(w) not in (NEXT, COND_JUMP):
            break
    return 0


def without(bases, ended):
    """What registers still hold when those in a mask hold nothing any more."""
    return {register: base for register, base in bases.items() if not ended >> register & 1}
