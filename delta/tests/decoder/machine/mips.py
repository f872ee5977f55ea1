"""MIPS of 64 bits, little-endian: flow and reference field of a word, and what its fields count from.

The opcodes are those of the MIPS64 manual, volume II-A, appendix A; they and the rules of the bases are in FORMAT.md."""

from machine.insn import BRANCH, CALL, COND_JUMP, JUMP, NEXT, NOP, RETURN, TRAP, Field, Scanner, Use, Words
from machine.insn import low_part as words_low_part
from machine.insn import signed, without, word
from models import M64, hash

JUMP26, BRANCH16, HIGH16, LOW16 = range(4)
MASKS = {JUMP26: 0x03FFFFFF, BRANCH16: 0xFFFF, HIGH16: 0xFFFF, LOW16: 0xFFFF}
KINDS = {2: JUMP26, 3: JUMP26, 15: HIGH16}
KINDS |= {opcode: BRANCH16 for opcode in (4, 5, 6, 7, 20, 21, 22, 23)}
KINDS |= {opcode: LOW16 for opcode in (9, 25, *range(32, 38), 39, 40, 41, 43, 49, 53, 55, 57, 61, 63)}
GLOBAL = 28
# at, v0, v1, a0 to a7, t0 to t3, t8, t9, ra.
CALLED = 0x8300FFFE


def result_of(w):
    return w >> 16 & 31


def base_of(w):
    return w >> 21 & 31


def kind_of(w):
    opcode = w >> 26
    if opcode == 1 and result_of(w) & 0xC == 0 or opcode == 17 and base_of(w) == 8:
        return BRANCH16
    return KINDS.get(opcode)


def flow_of(w):
    opcode = w >> 26
    if opcode in (2, 3):
        return JUMP if opcode == 2 else CALL
    if opcode == 4 and w >> 16 & 0x3FF == 0:
        return JUMP
    if opcode == 1 and result_of(w) & 0x1C == 0x10:
        return CALL
    if opcode == 0:
        if w & 0x3F == 8:
            return RETURN if base_of(w) == 31 else JUMP
        return {9: CALL, 13: TRAP}.get(w & 0x3F, NEXT)
    if kind_of(w) == BRANCH16:
        return COND_JUMP
    return RETURN if w == 0x42000018 else NEXT


def value_of(kind, w):
    bits = w & MASKS[kind]
    if kind == JUMP26:
        return bits << 2
    return signed(bits, 16) << {BRANCH16: 2, HIGH16: 16, LOW16: 0}[kind]


def start(kind, address):
    if kind == JUMP26:
        return address + 4 & M64 & ~0xFFFFFFF
    return address + 4 & M64 if kind == BRANCH16 else address


def written(w):
    """The registers that an instruction may write, as bits."""
    opcode, result, middle = w >> 26, 1 << result_of(w), 1 << (w >> 11 & 31)
    if opcode in (0, 28):
        return middle
    if opcode == 31:
        return result | middle
    loads = 8 <= opcode <= 15 or 24 <= opcode <= 27 or 32 <= opcode <= 39 or opcode in (48, 52, 55, 56, 60)
    return result if loads or 16 <= opcode <= 18 and base_of(w) < 4 else 0


def low_part(high, rest):
    """What the other half adds to a `lui`, by what stands behind it; 0 where none is found."""
    register = result_of(high)
    if register == 0:
        return 0

    def completes(w):
        return value_of(LOW16, w) if kind_of(w) == LOW16 and base_of(w) == register else None

    return words_low_part(rest, completes, flow_of, lambda w: written(w) >> register & 1 and register != GLOBAL)


class Globals(Scanner):
    """Follows the registers that addresses count from."""

    def __init__(self, machine):
        super().__init__(machine)
        self.entry, self.bases = None, {}

    def base(self, w, address):
        if kind_of(w) != HIGH16:
            return self.bases.get(base_of(w))
        return 0 if result_of(w) != GLOBAL else address if self.entry is None else self.entry

    def field(self, insn, code, address):
        if insn.kind not in (HIGH16, LOW16):
            return super().field(insn, code, address)
        base = self.base(word(code), address)
        return None if base is None else Field(insn.kind, 0, base)

    def go_on(self, insn, code, address):
        if self.entry is None:
            self.entry = address
        w = word(code)
        if w is None:
            return
        kind, to, base = kind_of(w), result_of(w), None
        if kind == HIGH16 or w >> 26 in (9, 25) and to == GLOBAL:
            base = self.base(w, address)
        if base is not None:
            if to:
                self.bases[to] = base + value_of(kind, w) & M64
            return
        ended = (CALLED if insn.flow == CALL else written(w)) & ~(1 << GLOBAL)
        self.bases = without(self.bases, ended)


class Mips64(Words):
    # The window holds what is looked at behind a `lui`.
    relative, window, lead_in = 3, 32, 1 << 64
    masks, kind_of, flow_of = MASKS, staticmethod(kind_of), staticmethod(flow_of)

    def scanner(self):
        return Globals(self)

    in_place = scanner

    def uses(self, kind):
        return Use(direct=False, data=True) if kind in (HIGH16, LOW16) else BRANCH

    def read(self, kind, code, at, size, origin):
        w = word(code, at)
        away = value_of(kind, w)
        if kind == HIGH16:
            away += low_part(w, code[at + 4 :])
        return start(kind, origin) + away & M64

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of units away."""
        kind = field.kind
        away = signed(target - start(kind, field.origin), 64)
        if kind == HIGH16:
            # The other half counts on or back.
            away = away + 0x8000 >> 16
        elif kind in (JUMP26, BRANCH16):
            if away & 3:
                return
            away >>= 2
        fits = 0 <= away < 1 << 26 if kind == JUMP26 else signed(away, 16) == away
        if fits:
            self.store(code, at, MASKS[kind], away)

    def opcode(self, masked, insn):
        b0, _, b2, b3 = ([*masked, 0, 0, 0, 0])[:4]
        opcode = b3 >> 2
        if opcode in (0, 17, 28, 31):
            return opcode | (b0 & 0x3F) << 6
        return opcode | (b2 & 0x1F) << 6 if opcode == 1 else opcode

    def written(self, masked, insn):
        w = word(masked)
        return 0 if w is None else 1 + result_of(w)

    def site(self, code, field):
        w = word(code)
        return 0 if w is None else w >> 26

    def role(self, insn, code):
        w = word(code)
        if w is None or w == 0:
            return 0 if w is None else NOP
        if base_of(w) != 29:
            return 0
        if w >> 26 == 25:
            return 4 + (w >> 15 & 1) if result_of(w) == 29 else 0
        return {63: 6, 55: 7, 61: 8, 53: 9}.get(w >> 26, 0)

    def head(self, insn, code):
        w = word(code)
        return 0 if w is None else hash(6, w & (0xFC00F83F if w >> 26 in (0, 17, 28, 31) else 0xFC1F0000))


SET = Mips64()
