"""32-bit ARM and Thumb-2: flow and reference field of an instruction, and how such a field is read and written.

The patterns are those of the Arm ARM for ARMv7-A and R, chapters A5 and A6; they are listed in FORMAT.md."""

from machine.insn import BRANCH, CALL, COND_JUMP, JUMP, NEXT, RETURN, TRAP, Insn, Scanner, Use, Words, signed, word
from machine.pools import Pools
from models import M32, hash

BRANCH24, EXCHANGE25, LIT12, LIT8, LIT44, ADR8 = range(6)
COND8, JUMP11, ZERO6, WORD8, COND20, JUMP24, EXCHANGE24, WIDE12, ADR12, WIDE8 = range(6, 16)
DISTANCE, ADDRESS = 16, 17
# The bits of a field, in the instruction as the manual prints it.
MASKS = {BRANCH24: 0x00FFFFFF, EXCHANGE25: 0x01FFFFFF, LIT12: 0x0FFF, LIT8: 0xFF, LIT44: 0x0F0F, ADR8: 0xFF}
MASKS |= {COND8: 0xFF, JUMP11: 0x07FF, ZERO6: 0x02F8, WORD8: 0xFF, DISTANCE: M32, ADDRESS: M32}
MASKS |= {COND20: 0x043F2FFF, JUMP24: 0x07FF2FFF, EXCHANGE24: 0x07FF2FFE}
MASKS |= {WIDE12: 0x0FFF, ADR12: 0x040070FF, WIDE8: 0xFF}
SHORT, LONG = (COND8, JUMP11, ZERO6, WORD8), (COND20, JUMP24, EXCHANGE24, WIDE12, ADR12, WIDE8)
# Bits and unit shift: of signed distances, and of those that only count on or only back.
SIGNED = {BRANCH24: (24, 2), EXCHANGE25: (25, 1), COND8: (8, 1), JUMP11: (11, 1)}
SIGNED |= {COND20: (20, 1), JUMP24: (24, 1), EXCHANGE24: (23, 2)}
ONE_WAY = {LIT12: (12, 0), LIT8: (8, 2), LIT44: (8, 0)}
ONE_WAY |= {ZERO6: (6, 1), WORD8: (8, 2), WIDE12: (12, 0), WIDE8: (8, 2), ADR12: (12, 0)}
CONDITIONAL = {JUMP: COND_JUMP, RETURN: COND_JUMP}


def turned(value, by):
    """A word, its bits turned to the left."""
    return (value << by | value >> (32 - by)) & M32 if by else value


def load(kind, code, at):
    """The instruction as the manual prints it, or None."""
    if kind in SHORT:
        return int.from_bytes(code[at : at + 2], "little") if at + 2 <= len(code) else None
    w = word(code, at)
    return turned(w, 16) if kind in LONG and w is not None else w


def store(kind, code, at, value):
    """Replaces the bits of a field."""
    old = load(kind, code, at)
    if old is None:
        return
    w, size = old & ~MASKS[kind] | value & MASKS[kind], 2 if kind in SHORT else 4
    code[at : at + size] = (turned(w, 16) if kind in LONG else w).to_bytes(size, "little")


def origin(kind, address):
    """Where the distance of an instruction counts from."""
    if kind in (BRANCH24, EXCHANGE25, LIT12, LIT8, LIT44, ADR8):
        return address + 8
    if kind in (COND8, JUMP11, ZERO6, COND20, JUMP24):
        return address + 4
    return address if kind in (DISTANCE, ADDRESS) else address + 4 & ~3


def is_back(kind, w):
    up = w >> 23 & 1
    return {ZERO6: 0, WORD8: 0, ADR12: up}.get(kind, 1 - up)


def gather(kind, w):
    """The value in the bits of a field."""
    sign = w >> 26 & 1
    if kind == EXCHANGE25:
        return (w & 0xFFFFFF) << 1 | w >> 24 & 1
    if kind == LIT44:
        return w >> 4 & 0xF0 | w & 15
    if kind == ZERO6:
        return w >> 4 & 0x20 | w >> 3 & 0x1F
    if kind == COND20:
        return sign << 19 | (w >> 11 & 1) << 18 | (w >> 13 & 1) << 17 | (w >> 16 & 0x3F) << 11 | w & 0x7FF
    if kind in (JUMP24, EXCHANGE24):
        j1, j2 = (1 ^ sign ^ w >> at & 1 for at in (13, 11))
        value = sign << 23 | j1 << 22 | j2 << 21 | (w >> 16 & 0x3FF) << 11 | w & 0x7FF
        return value >> 1 if kind == EXCHANGE24 else value
    if kind == ADR12:
        return sign << 11 | (w >> 12 & 7) << 8 | w & 0xFF
    return w & MASKS[kind]


def scatter(kind, value):
    """The bits of a field that mean a value."""
    if kind == EXCHANGE25:
        return value >> 1 & 0xFFFFFF | (value & 1) << 24
    if kind == LIT44:
        return (value & 0xF0) << 4 | value & 15
    if kind == ZERO6:
        return (value & 0x20) << 4 | (value & 0x1F) << 3
    if kind == COND20:
        sign, j2, j1 = (value >> at & 1 for at in (19, 18, 17))
        return sign << 26 | j2 << 11 | j1 << 13 | (value >> 11 & 0x3F) << 16 | value & 0x7FF
    if kind in (JUMP24, EXCHANGE24):
        value = value << 1 if kind == EXCHANGE24 else value
        sign = value >> 23 & 1
        j1, j2 = (1 ^ sign ^ value >> at & 1 for at in (22, 21))
        return sign << 26 | j1 << 13 | j2 << 11 | (value >> 11 & 0x3FF) << 16 | value & 0x7FF
    if kind == ADR12:
        return (value >> 11 & 1) << 26 | (value >> 8 & 7) << 12 | value & 0xFF
    return value


class Either:
    """What both sets have in common."""

    relative, pad, has_data, modes, has_context, lead_in, window = 23, 0, True, True, True, 1 << 64, 16

    def in_mode(self, other):
        return THUMB if other else ARM

    def scanner(self):
        return Scanner(self)

    def in_place(self):
        return Pools(self)

    def data(self, kind):
        """Data of a class: a word, a word with a distance, a word with an address, two bytes; or None."""
        forms = {1: (4, None), 2: (4, DISTANCE), 3: (4, ADDRESS), 4: (2, None)}
        return Insn(*forms[kind], 0, TRAP, True, data=kind) if kind in forms else None

    def uses(self, kind):
        return Use(direct=False) if kind in (DISTANCE, ADDRESS) else BRANCH

    def address(self, value):
        return value & M32

    def read(self, kind, code, at, size, address):
        w = load(kind, code, at)
        if w is None:
            return 0
        value = gather(kind, w)
        if kind in SIGNED:
            bits, unit = SIGNED[kind]
            away = signed(value, bits) << unit
        elif kind in ONE_WAY:
            away = (value << ONE_WAY[kind][1]) * (-1 if is_back(kind, w) else 1)
        elif kind == ADR8:
            away = turned(value, -2 * (w >> 8 & 15) % 32) * (-1 if is_back(kind, w) else 1)
        else:
            away = signed(value, 32)
        return origin(kind, address) + away & M32

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of units away."""
        kind, at = field.kind, at + field.at
        w = load(kind, code, at)
        if w is None or target > M32:
            return
        away = signed(target - origin(kind, field.origin), 32)
        if kind in SIGNED:
            bits, unit = SIGNED[kind]
            value = away >> unit
            if value << unit != away or signed(value, bits) != value:
                return
        elif kind in ONE_WAY:
            bits, unit = ONE_WAY[kind]
            away = -away if is_back(kind, w) else away
            value = away >> unit
            if away < 0 or value << unit != away or value >> bits:
                return
        elif kind == ADR8:
            value = turned((-away if is_back(kind, w) else away) & M32, 2 * (w >> 8 & 15))
            if value > 0xFF:
                return
        else:
            value = away
        store(kind, code, at, scatter(kind, value))

    def blank(self, field, code, at=0):
        store(field.kind, code, at + field.at, 0)

    def hidden_bits(self, field, at):
        ones = bytearray(b"\xff" * 16)
        self.blank(field, ones)
        return ~ones[at & 15] & 0xFF

    def role(self, insn, code):
        return 0


class Arm(Either, Words):
    """Words, each with a condition."""

    @staticmethod
    def kind_of(w):
        always, op = w >> 28 == 15, w >> 24 & 15
        if op in (0xA, 0xB):
            return EXCHANGE25 if always else BRANCH24
        if always:
            return None
        if op == 0xD and w & 0x003F0E00 == 0x001F0A00:
            return LIT8
        if op == 5 and w & 0x003F0000 == 0x001F0000:
            return LIT12
        half = w & 0x007F0090 == 0x005F0090 and w & 0x60
        if op == 1 and (half or w & 0x007F00F0 == 0x004F00D0):
            return LIT44
        return ADR8 if op == 2 and w >> 16 & 0xFF in (0x8F, 0x4F) else None

    @staticmethod
    def flow_of(w):
        always, op, to_pc = w >> 28 == 15, w >> 24 & 15, w >> 12 & 15 == 15

        def either(flow):
            return CONDITIONAL.get(flow, flow) if w >> 28 < 14 else flow

        if op == 0xB or op == 0xA and always:
            return CALL
        if op == 0xA:
            return either(JUMP)
        if always:
            return NEXT
        if w & 0x0FFFFFF0 == 0x012FFF10:
            return either(RETURN if w & 15 == 14 else JUMP)
        if w & 0x0FFFFFF0 == 0x012FFF30:
            return CALL
        if w & 0x0FF000F0 == 0x01200070:
            return TRAP
        if op <= 3 and to_pc and w & 0x01900000 != 0x01100000 and w & 0x90 != 0x90:
            return either(RETURN if w & 0x0FFFFFFF == 0x01A0F00E else JUMP)
        if 4 <= op <= 7 and to_pc and w >> 20 & 1 and w & 0x02000010 != 0x02000010:
            return either(RETURN if w >> 16 & 15 == 13 else JUMP)
        if op in (8, 9) and w & 0x00108000 == 0x00108000:
            return either(RETURN)
        return TRAP if w & 0x0FF000F0 == 0x07F000F0 else NEXT

    def opcode(self, masked, insn):
        return 0xF000 | insn.data if insn.data else (word(masked) or 0) >> 20

    def written(self, masked, insn):
        return (masked[1] >> 4) + 1 if len(masked) > 1 else 0

    def site(self, code, field):
        byte = [*code, 0, 0, 0, 0]
        if field.kind in (BRANCH24, EXCHANGE25):
            return byte[3]
        return byte[3] | byte[1] >> 4 << 8 if field.kind in (LIT12, LIT8, LIT44, ADR8) else 0

    def head(self, insn, code):
        return hash(6, (word(code) or 0) >> 20)


class Thumb(Either):
    """One or two halfwords."""

    smallest = 2

    @staticmethod
    def code_of(code):
        """The first instruction as a number, the first halfword high, and its length; or None."""
        if len(code) < 2:
            return None
        first = int.from_bytes(code[:2], "little")
        if first >> 11 < 0b11101:
            return first, 2
        return (first << 16 | int.from_bytes(code[2:4], "little"), 4) if len(code) >= 4 else None

    @staticmethod
    def narrow(c):
        op = c >> 8
        if 0xD0 <= op <= 0xDD:
            return COND8, COND_JUMP
        if 0xE0 <= op <= 0xE7:
            return JUMP11, JUMP
        if op in (0xB1, 0xB3, 0xB9, 0xBB):
            return ZERO6, COND_JUMP
        if 0x48 <= op <= 0x4F or 0xA0 <= op <= 0xA7:
            return WORD8, NEXT
        if op == 0x47:
            return None, CALL if c & 0x80 else RETURN if c >> 3 & 15 == 14 else JUMP
        if op == 0x46 and c & 0x87 == 0x87:
            return None, JUMP
        return None, {0xDE: TRAP, 0xBE: TRAP, 0xBD: RETURN}.get(op, NEXT)

    @staticmethod
    def wide(c):
        if c >> 27 == 0b11110 and c & 0x8000:
            form = c >> 12 & 5
            if form == 0 and c >> 23 & 7 != 7:
                return COND20, COND_JUMP
            if form == 0 and c >> 20 == 0xF7F:
                return None, TRAP
            if form in (1, 5):
                return JUMP24, JUMP if form == 1 else CALL
            return (EXCHANGE24, CALL) if form == 4 and c & 1 == 0 else (None, NEXT)
        first, to = c >> 16, c >> 12 & 15
        if first in (0xF85F, 0xF8DF) and to == 15:
            return WIDE12, JUMP
        if first in (0xF81F, 0xF89F, 0xF83F, 0xF8BF, 0xF85F, 0xF8DF, 0xF91F, 0xF99F, 0xF93F, 0xF9BF):
            return WIDE12, NEXT
        if first in (0xF20F, 0xF60F, 0xF2AF, 0xF6AF) and not c & 0x8000:
            return ADR12, NEXT
        if first in (0xE95F, 0xE9DF) or first in (0xED1F, 0xED9F, 0xED5F, 0xEDDF) and c >> 8 & 15 in (10, 11):
            return WIDE8, NEXT
        if first >> 4 == 0xE8D and c & 0xFFE0 == 0xF000:
            return None, JUMP
        if first & 0xFFD0 == 0xE890 and c & 0x8000 or first == 0xF85D and c & 0xFFFF == 0xFB04:
            return None, RETURN
        return None, JUMP if first >> 4 in (0xF85, 0xF8D) and to == 15 else NEXT

    def decode(self, code):
        found = self.code_of(code)
        if found is None:
            return Insn(min(len(code), 3))
        kind, flow = self.narrow(found[0]) if found[1] == 2 else self.wide(found[0])
        return Insn(found[1], kind, 0, flow, True)

    def place(self, n, room, first):
        return n ^ 1 if n ^ 1 < room else n

    def stray(self, room):
        return int(room < 2)

    def part(self, insn, n):
        if n == 0:
            return 0
        return 3 + (n & 3) if insn.len == 4 else n & 3

    def counterpart(self, other, shape, part, at, insn):
        alike = part == 0 or shape.len == insn.len
        return other[at] if alike and at < len(other) else None

    def opcode(self, masked, insn):
        if insn.data:
            return 0xF000 | insn.data
        low, high = ([*masked, 0, 0])[:2]
        return high if high < 0xE8 else high << 4 | low >> 4

    def written(self, masked, insn):
        b0, b1, _, b3 = ([*masked, 0, 0, 0, 0])[:4]
        if 0x20 <= b1 <= 0x3F or 0x48 <= b1 <= 0x4F or 0x90 <= b1 <= 0xAF:
            return 1 + (b1 & 7)
        if b1 < 0xE8:
            return 1 + (b0 & 7)
        return 1 + (b3 >> 4 if b1 in (0xE8, 0xE9, 0xF8, 0xF9, 0xFA) else b3 & 15)

    def site(self, code, field):
        b0, b1, _, b3 = ([*code, 0, 0, 0, 0])[:4]
        if field.kind in (COND8, WORD8):
            return b1
        if field.kind == ZERO6:
            return b1 & 0xFD
        if field.kind == COND20:
            return 0x100 | (b1 & 3) << 2 | b0 >> 6
        if field.kind == JUMP11:
            return 0x200
        if field.kind in (JUMP24, EXCHANGE24):
            return 0x300 | b3 >> 6 << 4 | b3 & 0x10
        return 0x400 | b3 >> 4 if field.kind in (WIDE12, WIDE8, ADR12) else 0

    def head(self, insn, code):
        return hash(7, self.opcode(code, insn))

    look = head


ARM, THUMB = Arm(), Thumb()
