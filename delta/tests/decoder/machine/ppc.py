"""PowerPC of 64 bits, little-endian: flow and reference field of a word, and what its fields count from.

The opcodes are those of the Power ISA 3.1, appendix F; they and the rules of the bases are in FORMAT.md."""

from machine.insn import BRANCH, CALL, COND_JUMP, JUMP, NEXT, NOP, RETURN, TRAP, Field, Scanner, Use, Words
from machine.insn import low_part as words_low_part
from machine.insn import signed, without, word
from models import M64, hash

BRANCH24, BRANCH14, HIGH16, LOW16, LOW14, LOW12 = range(6)
MASKS = {BRANCH24: 0x03FFFFFC, BRANCH14: 0xFFFC, HIGH16: 0xFFFF, LOW16: 0xFFFF, LOW14: 0xFFFC, LOW12: 0xFFF0}
KINDS = {18: BRANCH24, 16: BRANCH14, 15: HIGH16, 14: LOW16, 57: LOW14, 58: LOW14, 62: LOW14, 61: LOW12}
KINDS |= {opcode: LOW16 for opcode in range(32, 56)}
COUNTED = (HIGH16, LOW16, LOW14, LOW12)
EXTENDED = (4, 19, 31, 59, 60, 63)
TOC, ENTRY = 2, 12
# 0 and 3 to 12.
CALLED = 0x1FF9


def result_of(w):
    return w >> 21 & 31


def base_of(w):
    return w >> 16 & 31


def kind_of(w):
    return KINDS.get(w >> 26)


def flow_of(w):
    opcode, form, links = w >> 26, w >> 1 & 0x3FF, w & 1
    always = result_of(w) & 0x14 == 0x14
    if opcode == 18:
        return CALL if links else JUMP
    if opcode == 16:
        return CALL if links else JUMP if always else COND_JUMP
    if opcode == 19 and form in (16, 528, 560):
        return CALL if links else COND_JUMP if not always else RETURN if form == 16 else JUMP
    if opcode == 19 and form in (18, 82, 274):
        return RETURN
    return TRAP if opcode == 0 or opcode == 31 and form in (4, 68) and result_of(w) == 31 else NEXT


def value_of(kind, w):
    bits = w & MASKS[kind]
    if kind == BRANCH24:
        return signed(bits, 26)
    return signed(bits, 16) << (16 if kind == HIGH16 else 0)


def written(w):
    """The registers that an instruction may write, as bits."""
    opcode, to, base = w >> 26, 1 << result_of(w), 1 << base_of(w)
    if opcode in (4, 7, 8, 12, 13, 14, 15, 32, 34, 40, 42):
        return to
    if opcode in (33, 35, 41, 43, 58):
        return to | base
    if 20 <= opcode <= 30 or opcode in (37, 39, 45, 49, 51, 53, 55) or opcode == 62 and w & 3 == 1:
        return base
    if opcode == 31:
        return 0 if w >> 1 & 0x3FF in (0, 32) else to | base
    return 0xFFFFFFFF if opcode in (46, 56) else 0


def low_part(high, rest):
    """What the other half adds to an `addis`, by what stands behind it; 0 where none is found."""
    register = result_of(high)

    def completes(w):
        kind = kind_of(w)
        return value_of(kind, w) if kind in (LOW16, LOW14, LOW12) and base_of(w) == register else None

    return words_low_part(rest, completes, flow_of, lambda w: written(w) >> register & 1)


class Toc(Scanner):
    """Follows the registers that addresses count from."""

    def __init__(self, machine):
        super().__init__(machine)
        self.begun, self.bases = False, {}

    def base(self, w, address):
        register = base_of(w)
        if not self.begun and register == ENTRY:
            return address
        if w >> 26 == 15 and register == 0:
            return 0
        return self.bases.get(register)

    def field(self, insn, code, address):
        if insn.kind not in COUNTED:
            return super().field(insn, code, address)
        base = self.base(word(code), address)
        return None if base is None else Field(insn.kind, 0, base)

    def go_on(self, insn, code, address):
        if not self.begun:
            self.begun, self.bases = True, {ENTRY: address}
        if len(code) < 4:
            return
        w = word(code)
        kind, to, base = kind_of(w), result_of(w), None
        if kind == HIGH16 or w >> 26 == 14 and to == TOC:
            base = self.base(w, address)
        if base is not None:
            self.bases[to] = base + value_of(kind, w) & M64
            self.bases.pop(0, None)
            return
        ended = (CALLED if insn.flow == CALL else written(w)) & ~(1 << TOC)
        self.bases = without(self.bases, ended)


class Ppc64(Words):
    # The window holds what is looked at behind an `addis`.
    relative, window, lead_in = 22, 32, 1 << 64
    masks, kind_of, flow_of = MASKS, staticmethod(kind_of), staticmethod(flow_of)

    def scanner(self):
        return Toc(self)

    in_place = scanner

    def uses(self, kind):
        return Use(direct=False, data=True) if kind in COUNTED else BRANCH

    def read(self, kind, code, at, size, origin):
        w = word(code[at:])
        away = value_of(kind, w)
        if kind == HIGH16:
            away += low_part(w, code[at + 4 :])
        return origin + away & M64

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of units away."""
        kind, value = field.kind, signed(target - field.origin, 64)
        if kind == HIGH16:
            # The other half counts on or back.
            value = value + 0x8000 >> 16
        mask = MASKS[kind]
        width, unit = (26, 3) if kind == BRANCH24 else (16, 0xFFFF & ~mask)
        if value & unit == 0 and signed(value, width) == value:
            self.store(code, at, mask, value)

    def opcode(self, masked, insn):
        b0, b1, _, b3 = ([*masked, 0, 0, 0, 0])[:4]
        opcode = b3 >> 2
        if opcode in EXTENDED:
            return opcode | (b0 >> 1 | (b1 & 7) << 7) << 6
        if opcode == 30:
            return opcode | (b0 >> 2 & 7) << 6
        return opcode | (b0 & 3) << 6 if opcode in (58, 62) else opcode

    def written(self, masked, insn):
        return 1 + result_of(word(masked)) if len(masked) >= 4 else 0

    def site(self, code, field):
        return word(code) >> 26 if len(code) >= 4 else 0

    def role(self, insn, code):
        if len(code) < 4:
            return 0
        w = word(code)
        opcode, stack = w >> 26, base_of(w) == 1
        if w == 0x60000000:
            return NOP
        if opcode == 31:
            return {0x000802A6: 10, 0x000803A6: 11}.get(w & 0x1FFFFF, 0)
        if not stack:
            return 0
        if opcode == 62:
            return 4 if w & 3 == 1 else 6
        if opcode == 14:
            return 5 if result_of(w) == 1 else 0
        return {58: 7, 54: 8, 50: 9}.get(opcode, 0)

    def head(self, insn, code):
        if len(code) < 4:
            return 0
        w = word(code)
        return hash(6, w & (0xFFE007FF if w >> 26 in EXTENDED else 0xFFE00000))


SET = Ppc64()
