"""x86 in 64-bit and 32-bit mode: length, flow and reference field of an instruction, and the parts of its bytes.

Laid out as the opcode maps of the Intel SDM (volume 2, appendix A); the letters are explained in FORMAT.md."""

from functools import lru_cache

from machine.insn import BRANCH, CALL, COND_JUMP, DATA, JUMP, NOP, RETURN, TRAP, Field, Insn, Scanner, Use, signed, word
from models import M32, M64, digest

REL8, REL32, RIP32, GOT_ADD32, GOT_DISP32 = 0, 1, 2, 10, 11
LONGEST, WINDOW = 15, 16

ONE_64 = """
    m m m m b z ! !  m m m m b z ! E    m m m m b z ! !  m m m m b z ! !
    m m m m b z p !  m m m m b z p !    m m m m b z p !  m m m m b z p !
    x x x x x x x x  x x x x x x x x    . . . . . . . .  . . . . . . . .
    ! ! X m p p p p  z I b i . . . .    j j j j j j j j  j j j j j j j j
    i I ! i m m m m  m m m m m m m P    . . . . . . . .  . . ! . . . . .
    o o o o . . . .  b z . . . . . .    b b b b b b b b  v v v v v v v v
    i i R r W V i 7  e . R r t b ! r    m m m m ! ! ! .  m m m m m m m m
    j j j j b b b b  c g ! s . . . .    p t p p t . 3 4  . . . . . . m 5
""".split()
ONE_32 = """
    m m m m b z . .  m m m m b z . E    m m m m b z . .  m m m m b z . .
    m m m m b z p .  m m m m b z p .    m m m m b z p .  m m m m b z p .
    . . . . . . . .  . . . . . . . .    . . . . . . . .  . . . . . . . .
    . . X m p p p p  z I b i . . . .    j j j j j j j j  j j j j j j j j
    i I i i m m m m  m m m m m m m P    . . . . . . . .  . . f . . . . .
    o o o o . . . .  b z . . . . . .    b b b b b b b b  v v v v v v v v
    i i R r W V i 7  e . R r t b . r    m m m m b b . .  m m m m m m m m
    j j j j b b b b  c g F s . . . .    p t p p t . 3 4  . . . . . . m 5
""".split()
TWO = """
    m m m m ! . . r  . . ! t ! m . i    m m m m m m m m  m m m m m m m m
    n n n n ! ! ! !  m m m m m m m m    . . . . . r ! .  E ! E ! ! ! ! !
    m m m m m m m m  m m m m m m m m    m m m m m m m m  m m m m m m m m
    m m m m m m m m  m m m m m m m m    i i i i m m m .  q m ! ! m m m m
    J J J J J J J J  J J J J J J J J    m m m m m m m m  m m m m m m m m
    . . . m i m m m  . . r m i m m m    m m m m m m m m  m T i m m m m m
    m m i m i i i m  . . . . . . . .    m m m m m m m m  m m m m m m m m
    m m m m m m m m  m m m m m m m m    m m m m m m m m  m m m m m m m T
""".split()
# Of each letter: whether a ModRM byte follows, the kind of immediate, the flow.
LETTERS = {
    ".": (0, None, 0), "m": (1, None, 0), "b": (0, "byte", 0), "i": (1, "byte", 0), "w": (0, "word", 0),
    "I": (1, "full", 0), "z": (0, "full", 0), "v": (0, "wide", 0), "e": (0, "enter", 0), "c": (0, "near", CALL),
    "f": (0, "far", CALL), "F": (0, "far", JUMP), "g": (0, "near", JUMP), "s": (0, "short", JUMP),
    "J": (0, "near", COND_JUMP), "j": (0, "short", COND_JUMP), "r": (0, None, RETURN), "R": (0, "word", RETURN),
    "t": (0, None, TRAP), "T": (1, None, TRAP),
}  # fmt: skip
# Length of an immediate: 32-bit; 16-bit in 64-bit mode; REX.W; 16-bit in 32-bit mode.
LENGTHS = {
    None: (0, 0, 0, 0), "byte": (1, 1, 1, 1), "short": (1, 1, 1, 1), "word": (2, 2, 2, 2), "full": (4, 2, 4, 2),
    "wide": (4, 2, 8, 2), "enter": (3, 3, 3, 3), "far": (6, 4, 6, 4), "near": (4, 4, 4, 2), "dword": (4, 4, 4, 4),
    "pair": (2, 2, 2, 2),
}  # fmt: skip
UNKNOWN = Insn(1)
PREFIXES = {0x66: "operand", 0x67: "address", 0xF2: "repne", 0xF3: "rep", 0xF0: "lock"}
SEGMENTS = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65)


def modrm_32(modrm):
    """Whether a SIB byte follows, the length of the displacement, whether there is no base register."""
    mod, rm = modrm >> 6, modrm & 7
    if mod == 3:
        return False, 0, False
    if mod == 0:
        return rm == 4, 4 if rm == 5 else 0, rm == 5
    return rm == 4, 1 if mod == 1 else 4, False


def modrm_16(modrm):
    mod, rm = modrm >> 6, modrm & 7
    return False, {0: 2 if rm == 6 else 0, 1: 1, 2: 2, 3: 0}[mod], False


@lru_cache(None)
def decode(code, wide):
    """The instruction at the start of at most 16 bytes."""
    w = code.ljust(WINDOW, b"\0")
    insn = _decode(w, wide)
    return insn if insn.len <= len(code) else Insn(min(len(code), 1))


def _decode(w, wide):
    one = ONE_64 if wide else ONE_32
    at, prefixes = 0, set()
    while at < LONGEST:
        byte = w[at]
        before = prefixes - {"rex", "rex.w"}
        if byte in PREFIXES:
            prefixes = before | {PREFIXES[byte]}
        elif byte in SEGMENTS:
            prefixes = before
        elif wide and byte >> 4 == 4:
            prefixes = before | {"rex"} | ({"rex.w"} if byte & 8 else set())
        else:
            break
        at += 1
    else:
        return UNKNOWN
    letter, modrm = one[w[at]], w[at + 1 & 15]
    if letter == "E":
        return escaped(w, at, prefixes, wide)
    if letter == "o":
        short = "address" in prefixes
        size = (4 if short else 8) if wide else (2 if short else 4)
        return bounded(at + 1 + size, opcode_at=at, disp_at=at + 1, disp_len=size)
    if letter == "!":
        return UNKNOWN
    if letter in "WVXP":
        return vector(w, letter, at, prefixes, wide)
    reg = modrm >> 3 & 7
    form = {
        "3": (1, "byte" if reg < 2 else None, 0),
        "4": (1, "full" if reg < 2 else None, 0),
        "5": (1, None, {2: CALL, 3: CALL, 4: JUMP, 5: JUMP}.get(reg, 0)),
        "7": (1, "xbegin" if modrm == 0xF8 else "full", COND_JUMP if modrm == 0xF8 else 0),
    }.get(letter) or LETTERS[letter]
    return finish(w, form, at, at, prefixes, wide)


def bounded(size, **parts):
    return Insn(size, known=True, **parts) if size <= LONGEST else UNKNOWN


def escaped(w, at, prefixes, wide):
    """From the 0F at `at`."""
    second = w[at + 1 & 15]
    letter = TWO[second]
    if letter == "E":
        return finish(w, (1, None if second == 0x38 else "byte", 0), at + 2, at, prefixes, wide)
    if letter == "n":
        return bounded(at + 3, opcode_at=at, modrm_at=at + 2)
    if letter == "!":
        return UNKNOWN
    pair = "pair" if prefixes & {"operand", "repne"} else None
    return finish(w, (1, pair, 0) if letter == "q" else LETTERS[letter], at + 1, at, prefixes, wide)


def vector(w, letter, at, prefixes, wide):
    """VEX, EVEX and XOP instructions, or the older ones that share their first byte."""
    payload = w[at + 1 & 15]
    if payload & 0x1F < 8 if letter == "P" else not wide and payload < 0xC0:
        return finish(w, (1, None, 0), at, at, prefixes, wide)
    if prefixes & {"operand", "repne", "rep", "lock", "rex"}:
        return UNKNOWN
    if letter == "V":
        group, opcode_at = 1, at + 2
    elif letter == "X":
        if payload & 8 or not w[at + 2 & 15] & 4:
            return UNKNOWN
        group, opcode_at = payload & 7, at + 4
    else:
        group, opcode_at = payload & 0x1F, at + 3
    opcode = w[opcode_at & 15]
    if (group, opcode) == (1, 0x77):
        form = (0, None, 0)
    elif group in (3, 8) or group == 1 and (0x70 <= opcode <= 0x73 or opcode in (0xC2, 0xC4, 0xC5, 0xC6)):
        form = (1, "byte", 0)
    elif group in (7, 10):
        form = (1, "dword", 0)
    elif group in (1, 2, 5, 6, 9):
        form = (1, None, 0)
    else:
        return UNKNOWN
    return finish(w, form, opcode_at, opcode_at, prefixes, wide)


def finish(w, form, last, opcode_at, prefixes, wide):
    """Adds what follows the opcode, whose last byte is at `last`."""
    has_modrm, immediate, flow = form
    at, modrm_at, disp_len, no_base = last + 1, None, 0, False
    if has_modrm:
        modrm_at, small = at, not wide and "address" in prefixes
        has_sib, disp_len, no_base = (modrm_16 if small else modrm_32)(w[at & 15])
        if has_sib and w[at & 15] >> 6 == 0 and w[at + 1 & 15] & 7 == 5:
            disp_len = 4
        at += 1 + has_sib
    kind_of_length = {"xbegin": "full"}.get(immediate, immediate)
    mode = 2 if "rex.w" in prefixes else 0 if "operand" not in prefixes else 1 if wide else 3
    imm_len = LENGTHS[kind_of_length][mode]
    imm_at = at + disp_len
    if imm_at + imm_len > LONGEST:
        return UNKNOWN
    kind, field_at = None, 0
    if immediate in ("short", "near", "xbegin") and mode != 3 and imm_len in (1, 4):
        kind, field_at = REL8 if imm_len == 1 else REL32, imm_at
    elif wide and no_base and "address" not in prefixes:
        kind, field_at = RIP32, at
    return Insn(
        imm_at + imm_len,
        kind,
        field_at,
        flow,
        True,
        opcode_at,
        modrm_at,
        at if disp_len else None,
        disp_len,
        imm_at if immediate else None,
        imm_len,
    )


class Got(Scanner):
    """Follows the registers of 32-bit code that hold the address of the global offset table."""

    def __init__(self, machine):
        super().__init__(machine)
        self.after_call, self.bases = False, {}

    @staticmethod
    def sum(code):
        """The register to which an `add` adds four bytes, and where they are."""
        if len(code) > 1 and code[0] == 0x05:
            return 0, 1
        if len(code) > 1 and code[0] == 0x81 and code[1] >> 3 == 0x18 and code[1] & 7 != 4:
            return code[1] & 7, 2
        return None

    def field(self, insn, code, address):
        if insn.kind is not None:
            return Field(insn.kind, insn.at, address)
        if self.after_call and self.sum(code) and insn.imm_len == 4:
            return Field(GOT_ADD32, insn.imm_at, address)
        if not self.bases or insn.disp_len != 4 or insn.modrm_at is None:
            return None
        modrm = code[insn.modrm_at]
        if modrm >> 6 != 2:
            return None
        register = code[insn.modrm_at + 1] & 7 if modrm & 7 == 4 else modrm & 7
        return Field(GOT_DISP32, insn.disp_at, self.bases[register]) if register in self.bases else None

    def go_on(self, insn, code, address):
        a, b, c = (code[k] if k < len(code) else 0 for k in range(3))
        added = self.after_call and self.sum(code)
        if added:
            self.bases[added[0]] = self.machine.read(GOT_ADD32, code, added[1], 0, address) & M32
        else:
            for register in self.ended(a, b, c):
                self.bases.pop(register, None)
        self.after_call = a == 0xE8

    @staticmethod
    def ended(a, b, c):
        if a == 0xE8 or a == 0xFF and b & 0x38 == 0x10:
            return 0, 1, 2
        if a in (0x8B, 0x8D):
            return (b >> 3 & 7,)
        if a in (0x89, 0x31) and b >= 0xC0:
            return (b & 7,)
        if 0xB8 <= a <= 0xBF:
            return (a & 7,)
        if a == 0x0F and b in (0xB6, 0xB7, 0xBE, 0xBF):
            return (c >> 3 & 7,)
        return ()


# Parts of an instruction.
PREFIX, OPCODE, ESCAPED, MODRM, SIB, SHORT_DISP, DISP, SHORT_IMM, IMM = 0, 1, 2, 3, 4, 5, 6, 10, 11


class X86:
    """One of the two modes."""

    smallest, relative, pad, has_data, modes, window = 1, 8, 0xCC, False, False, 16

    def __init__(self, wide):
        self.wide, self.has_context = wide, not wide
        self.lead_in = 0 if wide else 1 << 64

    def in_mode(self, other):
        return self

    def decode(self, code):
        return decode(bytes(code[:WINDOW]), self.wide)

    def scanner(self):
        return Scanner(self) if self.wide else Got(self)

    in_place = scanner

    def uses(self, kind):
        return {RIP32: DATA, GOT_DISP32: Use(data=True, counted=True), REL32: Use(long_form=True)}.get(kind, BRANCH)

    def address(self, value):
        return value if self.wide else value & M32

    def read(self, kind, code, at, size, origin):
        if kind == REL8:
            return self.address(origin + size + signed(code[at], 8) & M64)
        end = origin + size if kind in (REL32, RIP32) else origin
        return self.address(end + signed(word(code, at), 32) & M64)

    def write(self, field, code, at, size, target):
        """Makes the field of the instruction at `at` of `code` point to a target, unless that is out of reach."""
        end = field.origin + (size if field.kind in (REL8, REL32, RIP32) else 0)
        distance = signed(target - end, 64 if self.wide else 32)
        if not self.wide and target > M32:
            return
        width = 1 if field.kind == REL8 else 4
        if field.kind in (GOT_ADD32, GOT_DISP32) or signed(distance, 8 * width) == distance:
            at += field.at
            code[at : at + width] = (distance & (1 << 8 * width) - 1).to_bytes(width, "little")

    def blank(self, field, code, at=0):
        for k in range(1 if field.kind == REL8 else 4):
            code[at + field.at + k] = 0

    def hidden_bits(self, field, at):
        width = 1 if field.kind == REL8 else 4
        return 0xFF if field.at <= at < field.at + width else 0

    def place(self, n, room, first):
        return n

    def stray(self, room):
        return 1

    def part(self, insn, n):
        if n < insn.opcode_at:
            return PREFIX
        if n == insn.opcode_at:
            return OPCODE
        if n == insn.modrm_at:
            return MODRM
        if insn.disp_at is not None and insn.disp_at <= n < insn.disp_at + insn.disp_len:
            return SHORT_DISP if insn.disp_len == 1 else DISP + min(n - insn.disp_at, 3)
        if insn.imm_at is not None and insn.imm_at <= n < insn.imm_at + insn.imm_len:
            return SHORT_IMM if insn.imm_len == 1 else IMM + min(n - insn.imm_at, 4)
        if insn.modrm_at is not None and n == insn.modrm_at + 1:
            return SIB
        return ESCAPED

    def counterpart(self, other, shape, part, at, insn):
        """The byte of another instruction that is the same part, or None."""

        def byte(start, size, k):
            there = start is not None and k < size and start + k < len(other)
            return other[start + k] if there else None

        if part == PREFIX:
            return byte(0, 16, at)
        if part == OPCODE:
            return byte(shape.opcode_at, 1, 0)
        if part == ESCAPED:
            return byte(shape.opcode_at, 4, max(at - insn.opcode_at, 0))
        if part == MODRM:
            return byte(shape.modrm_at, 1, 0)
        if part == SIB:
            return byte(shape.modrm_at, 2, 1)
        if part == SHORT_DISP:
            return byte(shape.disp_at, shape.disp_len, 0)
        if part == SHORT_IMM:
            return byte(shape.imm_at, shape.imm_len, 0)
        if part < SHORT_IMM:
            return byte(shape.disp_at, shape.disp_len, part - DISP)
        return byte(shape.imm_at, shape.imm_len, part - IMM)

    def opcode(self, masked, insn):
        first, second = ([*masked[insn.opcode_at :], 0, 0])[:2]
        return 0x0F | second << 8 if first == 0x0F else first

    def written(self, masked, insn):
        if insn.modrm_at is None or insn.modrm_at >= len(masked):
            return 0
        modrm, opcode = masked[insn.modrm_at], masked[insn.opcode_at]
        rex = masked[insn.opcode_at - 1] if insn.opcode_at else 0
        rex = rex if rex >> 4 == 4 else 0
        if opcode & 2 and opcode < 0x40 or opcode in (0x0F, 0x63, 0x8B, 0x8D):
            return 1 + (modrm >> 3 & 7 | (rex & 4) << 1)
        return 1 + (16 if modrm < 0xC0 else 0) + (modrm & 7 | (rex & 1) << 3)

    def site(self, code, field):
        return digest(code[: max(field.at, 1)])

    def role(self, insn, code):
        def byte(at):
            return code[at] if at is not None and at < len(code) else 0

        opcode, modrm = byte(insn.opcode_at), byte(insn.modrm_at)
        if 0x50 <= opcode <= 0x57:
            return 4
        if 0x58 <= opcode <= 0x5F:
            return 5
        if opcode in (0x81, 0x83):
            return {0xEC: 6, 0xC4: 7, 0xE4: 14}.get(modrm, 0)
        if opcode == 0x8D and modrm in (0x64, 0x65, 0xA4, 0xA5):
            return 8
        pairs = {(0x89, 0xE5): 9, (0x8B, 0xEC): 9, (0x89, 0xEC): 10, (0x8B, 0xE5): 10}
        if (opcode, modrm) in pairs:
            return pairs[opcode, modrm]
        if opcode == 0xC9:
            return 11
        if opcode in (0x68, 0x6A):
            return 12
        if opcode == 0xFF and modrm & 0x38 == 0x30 and modrm < 0xC0:
            return 13
        nop = opcode == 0x90 or opcode == 0x0F and byte(insn.opcode_at + 1) == 0x1F
        return NOP if nop else 0

    def head(self, insn, code):
        last = insn.opcode_at if insn.modrm_at is None else insn.modrm_at
        return digest(code[: last + 1])

    def look(self, insn, code):
        last = insn.opcode_at if insn.modrm_at is None else insn.modrm_at
        return digest(code[insn.opcode_at : last + 1])


WIDE, NARROW = X86(True), X86(False)
