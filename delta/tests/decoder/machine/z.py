"""z/Architecture: length, flow and reference field of an instruction.

The opcodes are those of the Principles of Operation, appendix B."""

from machine.insn import BRANCH, CALL, COND_JUMP, DATA, JUMP, NEXT, NOP, RETURN, TRAP
from machine.insn import Insn, Scanner, signed
from models import M64, hash

BRANCH16, CALL32, BRANCH32, ADDRESS32, DATA32 = range(5)
WIDTHS = {BRANCH16: 2, CALL32: 4, BRANCH32: 4, ADDRESS32: 4, DATA32: 4}
# First bytes of instructions whose last byte is half of the opcode; whose second byte is; half of whose second byte is.
LAST, SECOND = (0xE3, 0xE6, 0xE7, 0xEB, 0xEC, 0xED), (0x01, 0xB2, 0xB3, 0xB9, 0xE5)
NIBBLE = (0xA5, 0xA7, 0xC0, 0xC2, 0xC4, 0xC6, 0xC8, 0xCC)
# Last bytes of those that compare and branch to a distance; to where a register says.
RELATIVE, INDIRECT = (0x44, 0x45, 0x64, 0x65, 0x76, 0x77, *range(0x7C, 0x80)), (0xE4, 0xE5, 0xF6, 0xF7, *range(0xFC, 0x100))
LOADS, COMPARES = (2, *range(4, 9), *range(0xB, 0x10)), (2, *range(4, 9), 0xA, *range(0xC, 0x10))


def kind_of(code):
    first, lower = code[0], code[1] & 15
    if first in (0x84, 0x85) or first == 0xA7 and 4 <= lower <= 7:
        return BRANCH16
    if first == 0xC4 and lower in LOADS or first == 0xC6 and lower in COMPARES:
        return DATA32
    if first == 0xEC:
        return BRANCH16 if code[5] in RELATIVE else None
    kinds = {(0xC0, 0): ADDRESS32, (0xC0, 4): BRANCH32, (0xC0, 5): CALL32, (0xC6, 0): BRANCH32, (0xCC, 6): BRANCH32}
    return kinds.get((first, lower))


def flow_of(code):
    first, upper, lower = code[0], code[1] >> 4, code[1] & 15
    by_mask = {0: NEXT, 15: JUMP}.get(upper, COND_JUMP)
    if first == 0x07:
        return NEXT if lower == 0 else RETURN if (upper, lower) == (15, 14) else by_mask
    if first in (0x06, 0x05, 0x0C, 0x0D, 0x0B):
        return NEXT if lower == 0 else {0x06: COND_JUMP, 0x0B: JUMP}.get(first, CALL)
    if first in (0x47, 0xA7, 0xC0) and (first == 0x47 or lower == 4):
        return by_mask
    if first == 0xE3:
        return {0x46: COND_JUMP, 0x47: by_mask}.get(code[5], NEXT)
    if first in (0xEB, 0xEC):
        branches = (0x44, 0x45) if first == 0xEB else RELATIVE + INDIRECT
        return COND_JUMP if code[5] in branches else NEXT
    if first == 0xB9:
        return COND_JUMP if code[1] == 0x46 and code[3] & 15 else NEXT
    if first in (0xA7, 0xC0, 0xCC):
        by_lower = {(0xA7, 5): CALL, (0xA7, 6): COND_JUMP, (0xA7, 7): COND_JUMP, (0xC0, 5): CALL, (0xCC, 6): COND_JUMP}
        return by_lower.get((first, lower), NEXT)
    if first == 0xB2:
        return RETURN if code[1] == 0xB2 else NEXT
    if first == 0x46 or 0x84 <= first <= 0x87:
        return COND_JUMP
    return {0x00: TRAP, 0x45: CALL, 0x4D: CALL, 0x82: RETURN}.get(first, NEXT)


class Z:
    smallest, pad, has_data, modes, window, has_context = 2, 0x07, False, False, 16, False
    relative, lead_in = 12, 0

    def in_mode(self, other):
        return self

    def decode(self, code):
        size = (2, 4, 4, 6)[code[0] >> 6] if code else 0
        if not 0 < size <= len(code):
            return Insn(len(code))
        last = 5 if code[0] in LAST else 0
        return Insn(size, kind_of(code), 2, flow_of(code[:size]), True, last)

    def scanner(self):
        return Scanner(self)

    in_place = scanner

    def uses(self, kind):
        return DATA if kind in (ADDRESS32, DATA32) else BRANCH

    def address(self, value):
        return value

    def read(self, kind, code, at, size, origin):
        width = WIDTHS[kind]
        return origin + 2 * signed(int.from_bytes(code[at : at + width], "big"), 8 * width) & M64

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of halfwords away."""
        bits, away = 8 * WIDTHS[field.kind], signed(target - field.origin, 64)
        if away & 1 == 0 and signed(away >> 1, bits) == away >> 1:
            self.store(field.kind, code, at + field.at, away >> 1)

    @staticmethod
    def store(kind, code, at, value):
        width = WIDTHS[kind]
        code[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "big")

    def blank(self, field, code, at=0):
        self.store(field.kind, code, at + field.at, 0)

    def hidden_bits(self, field, at):
        return 0xFF if 0 <= at - field.at < WIDTHS[field.kind] else 0

    def place(self, n, room, first):
        if room < 6 or first not in LAST or not 1 <= n < 6:
            return n
        return 5 if n == 1 else n - 1

    def stray(self, room):
        return room if room < 6 else 0

    def part(self, insn, n):
        if n == 0 or insn.len == 2:
            return min(n, 1)
        if insn.len == 4:
            return 1 + min(n, 3)
        return (9 if insn.opcode_at else 4) + min(n, 5)

    def counterpart(self, other, shape, part, at, insn):
        alike = (shape.len, shape.opcode_at) == (insn.len, insn.opcode_at)
        return other[at] if (part == 0 or alike) and at < len(other) else None

    def opcode(self, masked, insn):
        first, second, *rest = [*masked, *bytes(6)][:6]
        if first in LAST:
            return first | rest[3] << 8
        return first | (second if first in SECOND else second & 15 if first in NIBBLE else 0) << 8

    def written(self, masked, insn):
        at = 3 if masked[:1] in (b"\xb2", b"\xb3", b"\xb9") else 1
        return 1 + (masked[at] >> 4) if at < len(masked) else 0

    def site(self, code, field):
        return self.opcode(code, None) | field.kind << 16

    def role(self, insn, code):
        b0, b1, b2, b3, b4, b5 = [*code, *bytes(6)][:6]
        upper, lower, on_stack = b1 >> 4, b1 & 15, b2 >> 4 == 15
        if b0 == 0x07 and (upper == 0 or lower == 0) or b0 == 0x47 and upper == 0 or b0 in (0xA7, 0xC0) and b1 == 4:
            return NOP
        if (b0, b1) in ((0xA7, 0xFB), (0xC2, 0xF8)):
            return 4 + (b2 >> 7)
        if (b0, b5) == (0xE3, 0x71) and upper == 15:
            return 4 + (b4 >> 7)
        if b0 == 0x41:
            return 4 if upper == 15 else 0
        if (b0, b1) == (0xB9, 0x04):
            return 6 if b3 == 0xBF else 0
        if b0 == 0xB3:
            return {0xC1: 9, 0xCD: 10}.get(b1, 0)
        if not on_stack:
            return 0
        return {(0xEB, 0x24): 7, (0xE3, 0x24): 7, (0xEB, 0x04): 8, (0xE3, 0x04): 8}.get((b0, b5)) or {0x60: 9, 0x68: 10}.get(b0, 0)

    def head(self, insn, code):
        return hash(hash(6, self.opcode(code, insn)), self.written(code, insn))

    def look(self, insn, code):
        return self.head(insn, code)


SET = Z()
