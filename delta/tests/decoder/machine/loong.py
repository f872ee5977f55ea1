"""LoongArch of 64 bits: flow and reference field of a word, and the pairing of higher parts with what completes them.

The patterns are those of the LoongArch reference manual, volume 1; they and the rules of the pairing are in FORMAT.md."""

from machine.insn import BRANCH, CALL, COND_JUMP, DATA, JUMP, NEXT, NOP, RETURN, TRAP
from machine.insn import Field, Scanner, Use, Words
from machine.insn import low_part as words_low_part
from machine.insn import signed, without, word
from models import M64, hash

BRANCH26, BRANCH21, BRANCH16, NEAR20, PAGE20, HIGH20, CALL20, LOW12, JUMP16 = range(9)
MASKS = {BRANCH26: 0x03FFFFFF, BRANCH21: 0x03FFFC1F, BRANCH16: 0x03FFFC00, JUMP16: 0x03FFFC00, LOW12: 0x003FFC00}
MASKS |= {kind: 0x01FFFFE0 for kind in (NEAR20, PAGE20, HIGH20, CALL20)}
# Width and unit shift of a field.
FORMS = {BRANCH26: (26, 2), BRANCH21: (21, 2), BRANCH16: (16, 2), JUMP16: (16, 2), NEAR20: (20, 2), LOW12: (12, 0)}
FORMS |= {PAGE20: (20, 12), HIGH20: (20, 12), CALL20: (20, 18)}
BY_SIX = {0x14: BRANCH26, 0x15: BRANCH26, 0x10: BRANCH21, 0x11: BRANCH21, 0x12: BRANCH21, 0x13: JUMP16}
BY_SIX |= {top: BRANCH16 for top in range(0x16, 0x1C)}
BY_SEVEN = {0x0C: NEAR20, 0x0D: PAGE20, 0x0E: HIGH20, 0x0F: CALL20}
HIGHER, LOW = (PAGE20, HIGH20, CALL20), (LOW12, JUMP16)
# ra, a0 to a7, t0 to t8.
CALLED = 0x001FFFF2


def base_of(w):
    return w >> 5 & 31


def kind_of(w):
    kind = BY_SIX.get(w >> 26, BY_SEVEN.get(w >> 25))
    low = w >> 22 == 0x0B or 0xA0 <= w >> 22 <= 0xB3 and w >> 22 != 0xAB
    return LOW12 if kind is None and low else kind


def flow_of(w):
    top = w >> 26
    if top in (0x14, 0x15):
        return JUMP if top == 0x14 else CALL
    if top == 0x13:
        return CALL if w & 31 else RETURN if base_of(w) == 1 else JUMP
    if 0x10 <= top <= 0x1B:
        return COND_JUMP
    if w >> 15 == 0x54 or w == 0:
        return TRAP
    return RETURN if w == 0x06483800 else NEXT


def value_of(kind, w):
    bits, (width, unit) = w & MASKS[kind], FORMS[kind]
    if kind == BRANCH26:
        value = bits >> 10 | (bits & 0x3FF) << 16
    elif kind == BRANCH21:
        value = bits >> 10 | (bits & 31) << 16
    else:
        value = bits >> (5 if kind in (NEAR20, *HIGHER) else 10)
    return signed(value, width) << unit


def place_of(kind, value):
    if kind == BRANCH26:
        return (value & 0xFFFF) << 10 | value >> 16 & 0x3FF
    if kind == BRANCH21:
        return (value & 0xFFFF) << 10 | value >> 16 & 31
    return value << (5 if kind in (NEAR20, *HIGHER) else 10)


def start(kind, address):
    return address & ~0xFFF if kind == PAGE20 else address


def written(w):
    """The registers that an instruction may write, as bits."""
    if flow_of(w) == CALL:
        return CALLED
    tens = w >> 22
    none = 0x10 <= w >> 26 or 0xA4 <= tens <= 0xA7 or 0xAB <= tens <= 0xB3 or w >> 24 in (0x25, 0x27)
    return 0 if none else 1 << (w & 31)


def low_part(high, rest):
    """What the other part adds, by what stands behind; 0 where none is found."""
    register = high & 31
    if register == 0:
        return 0

    def completes(w):
        kind = kind_of(w)
        return value_of(kind, w) if kind in LOW and base_of(w) == register else None

    return words_low_part(rest, completes, flow_of, lambda w: written(w) >> register & 1)


class Pairs(Scanner):
    """Follows the bases that higher parts put into registers."""

    def __init__(self, machine):
        super().__init__(machine)
        self.bases = {}

    def field(self, insn, code, address):
        if insn.kind not in LOW:
            return super().field(insn, code, address)
        base = self.bases.get(base_of(word(code)))
        return None if base is None else Field(insn.kind, 0, base)

    def go_on(self, insn, code, address):
        w = word(code)
        if w is None:
            return
        kind = kind_of(w)
        if kind in HIGHER and w & 31:
            self.bases[w & 31] = start(kind, address) + value_of(kind, w) & M64
        elif self.bases:
            ended = written(w)
            self.bases = without(self.bases, ended)


class Loong(Words):
    # The window holds what is looked at behind a higher part.
    relative, window, lead_in = 3, 32, 16
    masks, kind_of, flow_of = MASKS, staticmethod(kind_of), staticmethod(flow_of)

    def scanner(self):
        return Pairs(self)

    in_place = scanner

    def uses(self, kind):
        if kind in HIGHER or kind in LOW:
            return Use(direct=False, data=True)
        return DATA if kind == NEAR20 else BRANCH

    def read(self, kind, code, at, size, origin):
        w = word(code, at)
        away = value_of(kind, w)
        if kind in HIGHER:
            away += low_part(w, code[at + 4 :])
        return start(kind, origin) + away & M64

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of units away."""
        kind = field.kind
        (width, unit), away = FORMS[kind], signed(target - start(kind, field.origin), 64)
        if kind in HIGHER:
            # The other part counts on or back.
            away += 1 << unit - 1
        elif away >> unit << unit != away:
            return
        value = away >> unit
        if signed(value, width) == value:
            self.store(code, at, MASKS[kind], place_of(kind, value))

    def place(self, n, room, first):
        return n + 3 & 3 if room >= 4 and n < 4 else n

    def opcode(self, masked, insn):
        _, b1, b2, b3 = ([*masked, 0, 0, 0, 0])[:4]
        if b3 >= 0x40:
            return b3 >> 2 << 2
        if 0x18 <= b3 <= 0x1F:
            return b3 & 0xFE
        if b3 in (0x00, 0x01, 0x38):
            return b3 | b2 << 8 | b1 >> 7 << 16
        return b3 | b2 >> 6 << 8

    def written(self, masked, insn):
        return (masked[0] & 31) + 1 if masked else 0

    def site(self, code, field):
        return self.opcode(code, None)

    def role(self, insn, code):
        w = word(code)
        if w is None:
            return 0
        if w == 0x03400000:
            return NOP
        if base_of(w) != 3:
            return 0
        if w >> 22 == 0x0B:
            return 4 + (w >> 21 & 1) if w & 31 == 3 else 6 if w & 31 == 22 else 0
        return {0xA7: 7, 0xA3: 8, 0xAF: 9, 0xAE: 10}.get(w >> 22, 0)

    def head(self, insn, code):
        return hash(hash(6, self.opcode(code, None)), code[0] & 31 if len(code) else 0)


SET = Loong()
