"""A literal instruction, byte by byte, its reference field left out (FORMAT.md, "Literal instructions")."""

from dataclasses import dataclass

from declared import Grammar
from models import M32, M64, ByteModel, digest, hash

CONTEXT_BITS = 23


class History:
    """What precedes an instruction in new code."""

    def __init__(self, unit):
        self.heads, self.full, self.opcodes = [0] * 4, [0] * 2, [0] * 4
        self.written, self.bytes, self.unit = 0, 0, unit

    def go_on(self, machine, token, shape):
        self.written = (self.written << 8 | machine.written(token, shape)) & M32
        self.opcodes = [machine.opcode(token, shape), *self.opcodes[:3]]
        self.heads = [hash(len(token), int.from_bytes(token[:3], "big")), *self.heads[:3]]
        self.full = [digest(token), self.full[0]]
        for byte in token:
            self.bytes = (self.bytes << 8 | byte) & M64


class Models:
    """Models of literal instructions: of their bytes, and of what is told around them."""

    def __init__(self):
        self.byte, self.told = ByteModel(CONTEXT_BITS), Grammar("text/literal.rs")


@dataclass
class Around:
    """What is known around a literal instruction; `partner` is the old one that it stands for, or may stand for."""

    machine: object
    scanner: object
    history: History
    recall: object
    partner: bytes
    replaces: bool
    room: int


class Known:
    """An instruction as far as it is known."""

    def __init__(self, history, trails):
        self.raw, self.n, self.prefix, self.bytes = bytearray(16), 0, 0, history.bytes
        # Whether all bytes were the partner's, the old trail's, the new trail's.
        self.agrees = [True, trails, trails]

    def add(self, at):
        self.prefix = hash(self.prefix, 0x100 | self.raw[at])
        self.bytes = (self.bytes << 8 | self.raw[at]) & M64


def instruction(s, m, around):
    """The blanked bytes of an instruction, or of data between instructions, and the class of data."""
    machine, room = around.machine, min(around.room, 16)
    likely = around.recall.likely(around.scanner, room) if s.modelled else None
    if likely:
        token, hits = likely
        h = min(hits, 31) | (around.partner == token) << 6 | around.replaces << 7
        opcode = around.history.opcodes[0]
        if m.told.whole(s, h=h, opcode=opcode, first=token[0], len=len(token)):
            return token, 0
    known = Known(around.history, not likely)
    if machine.has_data:
        number = m.told.class_(s, opcodes=around.history.opcodes, replaces=around.replaces)
        data = machine.data(number)
        if data and data.len <= room:
            return spelled_data(s, m, around, data, known), number
    return spelled(s, m, around, room, known), 0


def spelled(s, m, around, room, known):
    machine, stray = around.machine, 0
    shape = machine.decode(around.partner)
    while True:
        n, at = known.n, machine.place(known.n, room, known.raw[0])
        insn, field = around.scanner.look(bytes(known.raw[:room]), 0)
        if n == 1 and machine.stray(room) and m.told.stray(s, first=known.raw[0]):
            stray = machine.stray(room)
        complete = n == stray if stray else insn.known and n >= insn.len
        if n and (n >= min(room, 15) or complete):
            break
        hidden = machine.hidden_bits(field, at) if field and n else 0
        if hidden != 0xFF:
            read(s, m, around, shape, known, insn, at, machine.place(n - 1, room, known.raw[0]) if n else None, hidden)
        known.add(at)
        known.n += 1
    token = known.raw[: known.n]
    if field and complete and not stray:
        machine.blank(field, token)
    return bytes(token)


def spelled_data(s, m, around, data, known):
    """Bytes of data; those of a reference are zero."""
    if data.kind is None:
        shape, before = around.machine.decode(around.partner), None
        for n in range(data.len):
            known.n, at = n, around.machine.place(n, data.len, 0)
            read(s, m, around, shape, known, data, at, before, 0)
            known.add(at)
            before = at
    return bytes(known.raw[: data.len])


def read(s, m, around, shape, known, insn, at, before, hidden):
    """One byte, at `at`; the one told before stands at `before`."""
    if not s.modelled:
        known.raw[at] = s.raw()
        return
    contexts, runs, guesses, kind, expected = foresee(around, shape, known, insn, at, before, hidden)
    byte = known.raw[at] = s.mixed(m.byte, contexts, runs, guesses, kind)
    if insn.data == 0:
        known.agrees = [agrees and byte == value for agrees, value in zip(known.agrees, expected)]


def foresee(around, shape, known, insn, at, before, hidden):
    """What predicts a byte, and what partner and trails expect."""
    machine, history, recall = around.machine, around.history, around.recall
    unit, n = history.unit, known.n
    part = machine.part(insn, n)
    old = machine.counterpart(around.partner, shape, part, at, insn) if around.partner else None
    trusted = known.agrees[0] | around.replaces << 1
    old_key = (256 if old is None else old) | part << 9 | trusted << 14
    opcode = machine.opcode(known.raw, insn) | part << 16
    previous = history.heads[0] if before is None else known.raw[before]
    prefix = hash(known.prefix, hidden)
    o0, o1, o2, o3 = history.opcodes
    f0, f1 = history.full
    opcodes = (o0 | o1 << 16) + (o2 | o3 << 16) * 0x85EBCA6B & M32
    contexts = [
        hash(opcode, history.written & 0xFFFF),
        hash(hash(old_key, previous), part),
        hash(unit, old_key),
        hash(known.bytes & 0xFFFF, n),
        hash(known.bytes & M32, known.bytes >> 32 & 0xFF),
        opcode,
        hash(hash(prefix, o0), o1),
    ]
    runs = [
        hash(hash(prefix, f0), f1),
        hash(hash(prefix, digest(around.partner)), unit),
        hash(hash(prefix, opcodes), history.heads[0]),
    ]
    confidence = 1 + (part & 15) + 16 * known.agrees[0] + 31 * around.replaces
    guesses = [
        (0, 0) if old is None else (old, confidence),
        trust(recall.old, at, known.agrees[1]),
        trust(recall.new, at, known.agrees[2]),
    ]
    return contexts, runs, guesses, part & 15 | trusted << 4, (old, recall.old.expected[at], recall.new.expected[at])


def trust(trail, at, agrees):
    """What a trail expects, and how far it is to be trusted."""
    if not trail.hits:
        return 0, 0
    length = trail.hits if trail.hits < 16 else min(12 + trail.hits.bit_length(), 24)
    return trail.expected[at], 1 + length + (32 if agrees else 0)
