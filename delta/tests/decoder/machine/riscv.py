"""RISC-V of 64 bits: flow and reference field of an instruction, and the pairing of `auipc` with what completes it.

The patterns are those of the RISC-V manual, volume I, chapters 2, 16 and 24; they and the rules of the pairing are in
FORMAT.md."""

from machine.insn import BRANCH, CALL, COND_JUMP, JUMP, NEXT, NOP, RETURN, TRAP
from machine.insn import AHEAD, Field, Insn, Scanner, Use, Words, signed, without
from models import M64, hash

JUMP20, BRANCH12, JUMP11, BRANCH8, HIGH20, LOW12, STORE12 = range(7)
# Where the bits of a value lie: lowest bit of each run in the instruction, in the value, and how many there are.
RUNS = {
    JUMP20: [(12, 12, 8), (20, 11, 1), (21, 1, 10), (31, 20, 1)],
    BRANCH12: [(7, 11, 1), (8, 1, 4), (25, 5, 6), (31, 12, 1)],
    JUMP11: [(2, 5, 1), (3, 1, 3), (6, 7, 1), (7, 6, 1), (8, 10, 1), (9, 8, 2), (11, 4, 1), (12, 11, 1)],
    BRANCH8: [(2, 5, 1), (3, 1, 2), (5, 6, 2), (10, 3, 2), (12, 8, 1)],
    HIGH20: [(12, 12, 20)],
    LOW12: [(20, 0, 12)],
    STORE12: [(7, 0, 5), (25, 5, 7)],
}
WIDTHS = {JUMP20: 21, BRANCH12: 13, JUMP11: 12, BRANCH8: 9, HIGH20: 32, LOW12: 12, STORE12: 12}
SHORT, LOW, LINKS = (JUMP11, BRANCH8), (LOW12, STORE12), (1, 5)
# ra, t0 to t2, a0 to a7, t3 to t6.
CALLED = 0xF003FCE2


def code_of(code):
    """The instruction at the start and its length, or None."""
    if len(code) < 2:
        return None
    if code[0] & 3 != 3:
        return int.from_bytes(code[:2], "little"), 2
    return (int.from_bytes(code[:4], "little"), 4) if len(code) >= 4 else None


def kind_of(c, size):
    if size == 2:
        return {0xA001: JUMP11, 0xC001: BRANCH8, 0xE001: BRANCH8}.get(c & 0xE003)
    opcode, function = c & 0x7F, c >> 12 & 7
    if opcode in (0x13, 0x67) and function != 0 or opcode in (0x07, 0x27) and function not in (2, 3, 4):
        return None
    kinds = {0x6F: JUMP20, 0x63: BRANCH12, 0x17: HIGH20, 0x23: STORE12, 0x27: STORE12}
    kinds |= {0x13: LOW12, 0x67: LOW12, 0x03: LOW12, 0x07: LOW12}
    return kinds.get(opcode)


def flow_of(c, size):
    result, base = c >> 7 & 31, c >> 15 & 31
    if size == 2:
        return short_flow(c, result)
    opcode = c & 0x7F
    if opcode in (0x6F, 0x67) and result in LINKS:
        return CALL
    if opcode == 0x67 and base in LINKS:
        return RETURN
    if opcode in (0x6F, 0x67):
        return JUMP
    if opcode == 0x63:
        return COND_JUMP
    return {0x00100073: TRAP, 0xC0001073: TRAP, 0x10200073: RETURN, 0x30200073: RETURN}.get(c, NEXT)


def short_flow(c, register):
    group = c & 0xE003
    if group == 0xA001:
        return JUMP
    if group in (0xC001, 0xE001):
        return COND_JUMP
    if c == 0:
        return TRAP
    if group == 0x8002 and c & 0x7C == 0:
        if c >> 12 & 1:
            return CALL if register else TRAP
        return NEXT if register == 0 else RETURN if register in LINKS else JUMP
    return NEXT


def value_of(kind, c):
    value = 0
    for at, to, bits in RUNS[kind]:
        value |= (c >> at & (1 << bits) - 1) << to
    return signed(value, WIDTHS[kind])


def low_part(high, rest):
    """What the other half adds to an `auipc`, by what stands behind it; 0 where none is found."""
    register = high >> 7 & 31
    for _ in range(AHEAD if register else 0):
        found = code_of(rest)
        if found is None:
            break
        c, size = found
        kind = kind_of(c, size)
        if kind in LOW and c >> 15 & 31 == register:
            return value_of(kind, c)
        if written(c, size) >> register & 1 or flow_of(c, size) not in (NEXT, COND_JUMP):
            break
        rest = rest[size:]
    return 0


def written(c, size):
    """The registers that an instruction may write, as bits."""
    result = 1 << (c >> 7 & 31)
    if size == 2:
        return written_by_short(c, result)
    opcode = c & 0x7F
    if opcode in (0x6F, 0x67) and result & 0b100010:
        return CALLED
    if opcode in (0x03, 0x13, 0x17, 0x1B, 0x2F, 0x33, 0x37, 0x3B, 0x67, 0x6F, 0x73):
        return result
    return result if opcode == 0x53 and c >> 27 in (0x14, 0x18, 0x1C) else 0


def written_by_short(c, result):
    quadrant, function = c & 3, c >> 13
    if quadrant == 0:
        return 0x100 << (c >> 2 & 7) if function in (0, 2, 3) else 0
    if quadrant == 1:
        return result if function <= 3 else 0x100 << (c >> 7 & 7) if function == 4 else 0
    if function == 4:
        if c & 0x107C == 0x1000 and result != 1:
            return CALLED
        return 0 if c & 0x7C == 0 else result
    return result if function in (0, 2, 3) else 0


class Pairs(Scanner):
    """Follows the bases that `auipc` puts into registers."""

    def __init__(self, machine):
        super().__init__(machine)
        self.bases = {}

    def field(self, insn, code, address):
        if insn.kind not in LOW:
            return super().field(insn, code, address)
        base = self.bases.get(code_of(code)[0] >> 15 & 31)
        return None if base is None else Field(insn.kind, 0, base)

    def go_on(self, insn, code, address):
        found = code_of(code)
        if found is None:
            return
        c, size = found
        if size == 4 and c & 0x7F == 0x17:
            self.bases[c >> 7 & 31] = address + value_of(HIGH20, c) & M64
            # The zero register holds none.
            self.bases.pop(0, None)
        elif self.bases:
            ended = written(c, size)
            self.bases = without(self.bases, ended)


class RiscV(Words):
    # The window holds what is looked at behind an `auipc`.
    smallest, relative, window, lead_in = 2, 3, 32, 16

    def decode(self, code):
        found = code_of(code)
        if found is None:
            return Insn(min(len(code), 3))
        return Insn(found[1], kind_of(*found), 0, flow_of(*found), True)

    def scanner(self):
        return Pairs(self)

    in_place = scanner

    def uses(self, kind):
        return Use(direct=False, data=True) if kind in (HIGH20, LOW12, STORE12) else BRANCH

    def read(self, kind, code, at, size, origin):
        c = int.from_bytes(code[at : at + (2 if kind in SHORT else 4)], "little")
        away = value_of(kind, c)
        if kind == HIGH20:
            away += low_part(c, code[at + 4 :])
        return origin + away & M64

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of units away."""
        kind, away = field.kind, signed(target - field.origin, 64)
        if kind == HIGH20:
            # The other half counts on or back from the middle of a page.
            away = away + 0x800 >> 12 << 12
        fits = signed(away, WIDTHS[kind]) == away
        if fits and (kind in (HIGH20, *LOW) or away & 1 == 0):
            self.store(kind, code, at, away)

    @staticmethod
    def store(kind, code, at, value):
        width = 2 if kind in SHORT else 4
        c = int.from_bytes(code[at : at + width], "little")
        for to, start, bits in RUNS[kind]:
            ones = (1 << bits) - 1
            c = c & ~(ones << to) | (value >> start & ones) << to
        code[at : at + width] = c.to_bytes(width, "little")

    def blank(self, field, code, at=0):
        self.store(field.kind, code, at, 0)

    def hidden_bits(self, field, at):
        ones = bytearray(b"\xff" * 16)
        self.blank(field, ones)
        return ~ones[at & 15] & 0xFF

    def place(self, n, room, first):
        return n

    def part(self, insn, n):
        if n == 0:
            return 0
        return 3 + (n & 3) if insn.len == 4 else n & 3

    def counterpart(self, other, shape, part, at, insn):
        alike = part == 0 or shape.len == insn.len
        return other[at] if alike and at < len(other) else None

    def opcode(self, masked, insn):
        b0, b1 = ([*masked, 0, 0])[:2]
        return b0 & 0x7F | (b1 >> 4 & 7) << 7 | 0x8000 if b0 & 3 == 3 else b0 & 3 | b1 >> 5 << 2

    def written(self, masked, insn):
        found = code_of(masked)
        if found is None:
            return 0
        c, size = found
        return 9 + (c >> 2 & 7) if size == 2 and c & 3 == 0 else 1 + (c >> 7 & 31)

    def site(self, code, field):
        return self.opcode(code, None) | field.kind << 16

    def role(self, insn, code):
        found = code_of(code)
        if found is None:
            return 0
        c, size = found
        to, stack = c >> 7 & 31, c >> 15 & 31 == 2
        if size == 4:
            group = (c & 0x7F, c >> 12 & 7)
            if group == (0x13, 0):
                return NOP if c == 0x13 else 4 + (c >> 31) if to == 2 else 6 if to == 8 and stack else 0
            if not stack:
                return 0
            return {(0x23, 3): 7, (0x03, 3): 8}.get(group) or {0x27: 9, 0x07: 10}.get(group[0], 0)
        group = (c & 3, c >> 13)
        if group == (1, 0) and to == 0:
            return NOP
        if group in ((1, 0), (1, 3)) and to == 2:
            return 4 + (c >> 12 & 1)
        if group == (0, 0):
            return 6 if c >> 2 & 7 == 0 else 0
        return {(2, 7): 7, (2, 3): 8, (2, 5): 9, (2, 1): 10}.get(group, 0)

    def head(self, insn, code):
        found = code_of(code)
        if found is None:
            return 0
        c, size = found
        return hash(6, c & 0x7FFF) if size == 4 else hash(7, c & 0xEF83)


SET = RiscV()
