"""Constants that stand between ARM code, and what those that are addresses count from (FORMAT.md, "Constants")."""

from dataclasses import dataclass

from machine.insn import Field, Scanner, word
from models import M32

WORD, DISTANCE_WORD, ADDRESS_WORD, HALF = 1, 2, 3, 4
DISTANCE, ADDRESS = 16, 17


@dataclass
class Word:
    """A word ahead: what it counts from once that is known, and whether it is the index of a load."""

    origin: int | None = None
    index: bool = False


class Pools(Scanner):
    def __init__(self, machine):
        super().__init__(machine)
        self.thumb = machine is machine.in_mode(True)
        # Address of the word that each register was loaded from, and the words ahead.
        self.held, self.ahead = {}, {}

    def look(self, code, address):
        insn = self.machine.decode(code)
        insn = self.data(code, insn.len, address) or insn
        return insn, self.field(insn, code, address)

    def data(self, code, size, address):
        """The data at the start of `code`, or None; an instruction there would be `size` bytes long."""
        if not self.ahead:
            return None
        at = min(self.ahead)
        away = at - address & M32
        if away >= size or away not in (0, 2):
            return None
        if away == 2:
            return self.machine.data(HALF)
        value = word(code)
        if value is None:
            return None
        known = self.ahead[at]
        if known.origin is not None:
            return self.machine.data(DISTANCE_WORD)
        linked = known.index or 1 << 15 <= value < 1 << 27
        return self.machine.data(ADDRESS_WORD if linked else WORD)

    def field(self, insn, code, address):
        if insn.kind is None:
            return None
        origin = address
        if insn.kind == ADDRESS:
            origin = 0
        elif insn.kind == DISTANCE:
            known = self.ahead.get(address & M32)
            origin = address if known is None or known.origin is None else known.origin
        return Field(insn.kind, insn.at, origin)

    def go_on(self, insn, code, address):
        here = address & M32
        if not insn.data:
            if self.thumb:
                self.step_thumb(code, here)
            else:
                self.step_arm(code, here)
        end = here + insn.len & M32
        self.ahead = {at: known for at, known in self.ahead.items() if at >= end}

    def loads(self, here, at, words, register=None):
        """A load of words from an address into a register, if it goes to one."""
        away = at - here & M32
        ahead = away < 1 << 13 and away % (2 if self.thumb else 4) == 0
        for k in range(words if ahead else 0):
            self.ahead.setdefault(at + 4 * k & M32, Word())
        if register is not None:
            self.held[register & 15] = at & M32 if ahead else None

    def word(self, register):
        """The word that a register holds, if it is still ahead; else one that nothing keeps."""
        return self.ahead.get(self.held.get(register & 15)) or Word()

    def counts(self, register, origin):
        """The program counter is added to a register."""
        known = self.word(register)
        known.origin = origin if known.origin is None else known.origin

    def indexes(self, register):
        """A load has this index."""
        self.word(register).index = True

    def ends(self, *registers):
        for register in registers:
            self.held[register & 15] = None

    def called(self):
        self.ends(0, 1, 2, 3, 12, 14)

    def step_arm(self, code, here):
        w = word(code)
        if w is None:
            return
        pc, op, to, low, base = here + 8 & M32, w >> 20 & 0xFF, w >> 12 & 15, w & 15, w >> 16 & 15
        if w >> 28 == 15:
            if w >> 25 & 7 == 5:
                self.called()
        elif op in (0x51, 0x59) and base == 15:
            self.loads(here, pc + (w & 0xFFF) * (1 if w >> 23 & 1 else -1), 1, to)
        elif op in (0xD1, 0xD5, 0xD9, 0xDD) and w & 0x000F0E00 == 0x000F0A00 and w >> 23 & 1:
            self.loads(here, pc + ((w & 0xFF) << 2), 1 + (w >> 8 & 1))
        elif op == 0x08 and w & 0x000F0FF0 == 0x000F0000:
            self.counts(low, pc)
            self.ends(to)
        elif op == 0x08 and w & 0x00000FFF == 15:
            self.counts(base, pc)
            self.ends(to)
        elif op == 0x79 and w & 0x00000FF0 == 0:
            if base == 15:
                self.counts(low, pc)
            else:
                self.indexes(low)
            self.ends(to)
        elif op == 0x1A and w & 0x00000FF0 == 0:
            self.held[to] = self.held.get(low)
        elif 0xB0 <= op <= 0xBF:
            self.called()
        elif op in (0x11, 0x13, 0x15, 0x17, 0x31, 0x33, 0x35, 0x37) or op >= 0xA0:
            pass  # Branches, compares and coprocessors write none,
        elif not (0x40 <= op <= 0x7F and op & 1 == 0 or 0x80 <= op <= 0x9F):
            self.ends(to)  # nor do stores and what moves several registers.

    def step_thumb(self, code, here):
        found = self.machine.code_of(code)
        if found is None:
            return
        (c, size), pc = found, here + 4 & M32
        if size == 4:
            self.step_wide(c, here, pc)
            return
        op, low, high = c >> 8, c & 7, c & 7 | c >> 4 & 8
        if 0x48 <= op <= 0x4F:
            self.loads(here, (pc & ~3) + ((c & 0xFF) << 2), 1, op & 7)
        elif op == 0x44:
            if c & 0x78 == 0x78:
                self.counts(high, pc)
            self.ends(high)
        elif op == 0x46:
            self.held[high] = self.held.get(c >> 3 & 15)
        elif op in (0x58, 0x59):
            self.indexes(c >> 6 & 7)
            self.indexes(c >> 3 & 7)
            self.ends(low)
        elif op == 0x47:
            if c & 0x80:
                self.called()
        elif 0x20 <= op <= 0x27 or 0x30 <= op <= 0x3F or 0x98 <= op <= 0xAF:
            self.ends(op & 7)
        elif op >> 3 in (0x05, 0x0C, 0x0E, 0x10, 0x12) or 0x50 <= op <= 0x55 or op == 0x45:
            pass  # Compares and stores write none,
        elif op < 0xB0 or op in (0xB2, 0xBA):
            self.ends(low)  # nor do branches.

    def step_wide(self, c, here, pc):
        first, to, sum_, base, eight = c >> 16, c >> 12 & 15, c >> 8 & 15, pc & ~3, (c & 0xFF) << 2
        if first == 0xF8DF:
            self.loads(here, base + (c & 0xFFF), 1, to)
        elif first == 0xE9DF:
            self.loads(here, base + eight, 2)
            self.ends(to, sum_)
        elif first in (0xED9F, 0xEDDF) and sum_ in (10, 11):
            self.loads(here, base + eight, 1 + (c >> 8 & 1))
        elif first >> 4 == 0xF85 and c & 0xFC0 == 0:
            self.indexes(c)
            self.ends(to)
        elif 0xF000 <= first <= 0xF7FF and c & 0x8000:
            if c & 0x4000:
                self.called()
        elif 0xEA00 <= first <= 0xEBFF or 0xF000 <= first <= 0xF7FF or 0xFB00 <= first <= 0xFBFF:
            self.ends(sum_)
        elif 0xF800 <= first <= 0xF9FF and c >> 20 & 1:
            self.ends(to)
