"""AArch64: flow and reference field of a word, and the pairing of `adrp` with what completes its address.

The patterns are those of the Arm ARM, section C4.1; they and the rules of the pairing are in FORMAT.md."""

from machine.insn import BRANCH, CALL, COND_JUMP, DATA, JUMP, NEXT, NOP, RETURN, TRAP
from machine.insn import Field, Scanner, Use, Words, signed, without, word
from models import M64, hash

BRANCH26, BRANCH19, BRANCH14, LIT19, ADR21, ADR_PAGE21, LO12 = range(3, 10)
MASKS = {
    BRANCH26: 0x03FFFFFF,
    BRANCH19: 0x00FFFFE0,
    LIT19: 0x00FFFFE0,
    BRANCH14: 0x0007FFE0,
    ADR21: 0x60FFFFE0,
    ADR_PAGE21: 0x60FFFFE0,
    LO12: 0x003FFC00,
}
# Width and unit shift of a field that counts from its instruction.
FORMS = {BRANCH26: (26, 2), BRANCH19: (19, 2), LIT19: (19, 2), BRANCH14: (14, 2), ADR_PAGE21: (21, 12), ADR21: (21, 0)}
KINDS = {
    BRANCH26: (0x14, 0x15, 0x16, 0x17, 0x94, 0x95, 0x96, 0x97),
    BRANCH19: (0x54, 0x34, 0x35, 0xB4, 0xB5),
    BRANCH14: (0x36, 0x37, 0xB6, 0xB7),
    LIT19: (0x18, 0x58, 0x98, 0xD8, 0x1C, 0x5C, 0x9C),
    ADR21: (0x10, 0x30, 0x50, 0x70),
    ADR_PAGE21: (0x90, 0xB0, 0xD0, 0xF0),
    LO12: (0x39, 0x79, 0x3D),
}
BY_TOP = {top: kind for kind, tops in KINDS.items() for top in tops}


def kind_of(w):
    """The reference field of a word, by its top byte first."""
    top, opc = w >> 24, w >> 22 & 3
    low = top == 0x91 and opc == 0 or top in (0xB9, 0xF9) and opc != 3 or top in (0x7D, 0xBD, 0xFD) and opc < 2
    return LO12 if low else BY_TOP.get(top)


def flow_of(w):
    top, opc = w >> 24, w >> 21 & 7
    if 0x14 <= top <= 0x17:
        return JUMP
    if 0x94 <= top <= 0x97:
        return CALL
    if top in (0x54, 0x34, 0x35, 0x36, 0x37, 0xB4, 0xB5, 0xB6, 0xB7):
        return COND_JUMP
    if top in (0xD6, 0xD7) and w >> 16 & 31 == 31:
        return {0: JUMP, 1: CALL, 2: RETURN, 4: RETURN, 5: RETURN}.get(opc, NEXT)
    return TRAP if top == 0xD4 and opc in (1, 2, 5) or w >> 16 == 0 else NEXT


def low_shift(w):
    """The unit shift of an immediate that may complete an `adrp`."""
    if w & 0x3B000000 != 0x39000000:
        return 0
    return w >> 30 | (w >> 26 & w >> 23 & 1) << 2


def written(w):
    """The general registers that a word may write, as bits."""

    def register(at):
        return 1 << (w >> at & 31)

    group, top = w >> 25 & 15, w >> 24
    if group in (8, 9):
        return register(0)
    if group in (10, 11):
        if 0x94 <= top <= 0x97 or top in (0xD6, 0xD7) and w >> 21 & 7 == 1:
            return 0x4007FFFF
        return register(0) if top == 0xD5 and w >> 21 & 1 else 0
    if group in (5, 13):
        return 0 if w & 0x3FE00000 == 0x3A400000 else register(0)
    if group in (4, 6, 12, 14):
        return written_by_memory(w, register)
    if group in (7, 15):
        element = w & 0xBFE0EC00 == 0x0E002C00
        conversion = w & 0x5F000000 == 0x1E000000 and (w >> 21 & 1 == 0 or w & 0xFC00 == 0)
        return register(0) if element or conversion and w >> 16 & 7 not in (2, 3, 7) else 0
    return register(0)


def written_by_memory(w, register):
    vector, which = w >> 26 & 1, w >> 28 & 3
    if which == 0:
        return register(5) if vector else register(0) | register(10) | register(16) | register(16) << 1
    if which == 1:
        if w >> 24 & 1:
            return register(0) | register(5) | register(16)
        return 0 if vector else register(0)
    if which == 2:
        data = 0 if vector or not w >> 22 & 1 else register(0) | register(10)
        return data | (register(5) if w >> 23 & 1 else 0)
    opc = w >> 22 & 3
    indexed = w >> 24 & 1 == 0
    atomic = indexed and w >> 21 & 1 and w >> 10 & 3 != 2
    load = not vector and opc and not (w >> 30 == 3 and opc == 2)
    data = register(0) if load or atomic and not vector else 0
    return data | (register(5) if indexed and w >> 10 & 1 else 0)


class Pages(Scanner):
    """Follows the pages that `adrp` puts into registers."""

    def __init__(self, machine):
        super().__init__(machine)
        self.pages = {}

    def field(self, insn, code, address):
        if insn.kind != LO12:
            return super().field(insn, code, address)
        page = self.pages.get(word(code) >> 5 & 31)
        return None if page is None else Field(LO12, 0, page)

    def go_on(self, insn, code, address):
        w = word(code)
        if w is None:
            return
        if kind_of(w) == ADR_PAGE21:
            self.pages[w & 31] = self.machine.read(ADR_PAGE21, code, 0, 4, address)
            # The last register is never tracked.
            self.pages.pop(31, None)
        elif self.pages:
            ended = written(w)
            self.pages = without(self.pages, ended)


class AArch64(Words):
    relative, pad, lead_in = 1027, 0xCC, 16
    masks, kind_of, flow_of = MASKS, staticmethod(kind_of), staticmethod(flow_of)

    def scanner(self):
        return Pages(self)

    in_place = scanner

    def uses(self, kind):
        return {ADR21: DATA, LO12: Use(direct=False, data=True), ADR_PAGE21: Use(direct=False)}.get(kind, BRANCH)

    def read(self, kind, code, at, size, origin):
        w = word(code)
        bits = w & MASKS[kind]
        if kind == LO12:
            return origin + ((bits >> 10) << low_shift(w)) & M64
        width, unit = FORMS[kind]
        value = bits if kind == BRANCH26 else bits >> 5
        if kind in (ADR21, ADR_PAGE21):
            value = (bits >> 5 & 0x7FFFF) << 2 | bits >> 29
        origin &= ~0xFFF if kind == ADR_PAGE21 else M64
        return origin + (signed(value, width) << unit) & M64

    def write(self, field, code, at, size, target):
        """Makes a field point to a target, unless that is out of reach or not a whole number of units away."""
        kind, w = field.kind, word(code, at)
        if kind == LO12:
            unit, distance = low_shift(w), target - field.origin & M64
            if distance >> unit << unit != distance or distance >> unit >= 4096:
                return
            bits = distance >> unit << 10
        else:
            width, unit = FORMS[kind]
            pages = ~0xFFF if kind == ADR_PAGE21 else M64
            distance = signed((target & pages) - (field.origin & pages), 64)
            value = distance >> unit
            if value << unit != distance or signed(value, width) != value:
                return
            bits = value if kind == BRANCH26 else value << 5
            if kind in (ADR21, ADR_PAGE21):
                bits = (value >> 2 & 0x7FFFF) << 5 | value << 29
        w = w & ~MASKS[kind] | bits & MASKS[kind]
        code[at : at + 4] = w.to_bytes(4, "little")

    def hidden_bits(self, field, at):
        # Told highest byte first, a word's base register is not known before its immediate.
        return 0 if field.kind == LO12 or at >= 4 else MASKS[field.kind] >> 8 * at & 0xFF

    def opcode(self, masked, insn):
        return masked[3] if len(masked) > 3 else 0

    def written(self, masked, insn):
        return (masked[0] & 31) + 1 if masked else 0

    def site(self, code, field):
        return code[3] if len(code) > 3 else 0

    def role(self, insn, code):
        w = word(code)
        if w is None:
            return 0
        to, base, top = w & 31, w >> 5 & 31, w >> 22
        if top in (0b1001000100, 0b1001000101) and (to == 31 or base == 31 and to == 29):
            return 4
        if top in (0b1101000100, 0b1101000101) and to == 31:
            return 5
        pairs = [0b1010100110, 0b1010100011, 0b0110110110, 0b0110110011, 0b1010100100, 0b1010100101]
        if top in pairs and base == 31:
            return 6 + pairs.index(top)
        if top in (0b1111100000, 0b1111100001) and base == 31 and w >> 10 & 3 == (1 if top & 1 else 3):
            return 12 + (top & 1)
        if w == 0xD503201F:
            return NOP
        return 14 if w in (0xD503233F, 0xD50323BF) else 0

    def head(self, insn, code):
        w = word(code) or 0
        return hash(6, w & (0xFFFF03FF if w >> 25 & 7 == 5 else 0xFFC003FF))

    def look(self, insn, code):
        w = word(code)
        return 0 if w is None else hash(6, w & 0xFFC0001F)


SET = AArch64()
