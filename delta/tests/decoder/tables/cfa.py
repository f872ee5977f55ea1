"""Call frame instructions, bytes to instructions and back (DWARF 5, 6.4.2)."""

from dataclasses import dataclass, replace

from encoded import uleb, uleb_len
from file_numbers import Numbers
from models import M32

LONGEST = 1 << 16
CFA_OFFSET, ADVANCE = 0x0E, 0x40


@dataclass(frozen=True)
class Distances:
    """How a program says distances: in which units, and in which order of bytes."""

    factor: int
    numbers: Numbers

    @property
    def unit(self):
        return max(self.factor, 1)


@dataclass(frozen=True)
class Op:
    """One instruction: its bytes; of an advance where it goes, and the width of its distance if that is not least."""

    data: bytes
    place: int | None = None
    wide: int = 0

    def to(self, place):
        return replace(self, place=place)


def operands(opcode):
    """How many numbers follow an opcode, and whether a block does; None for those that are not modelled."""
    if opcode in (0x00, 0x0A, 0x0B, 0x2D) or opcode >= 0xC0:
        return 0, False
    if opcode in (0x06, 0x07, 0x08, 0x0D, 0x0E, 0x13, 0x2E) or 0x80 <= opcode < 0xC0:
        return 1, False
    if opcode in (0x05, 0x09, 0x0C, 0x11, 0x12, 0x14, 0x15, 0x2F):
        return 2, False
    return {0x0F: (0, True), 0x10: (1, True), 0x16: (1, True)}.get(opcode)


def width_of(distance):
    return 0 if distance < 0x40 else 1 if distance < 0x100 else 2 if distance < 0x10000 else 4


def parse(program, distances):
    """The instructions but for the `nop`s at the end, and where these begin; None where they would not come back."""
    ops, at, here, end, count = [], 0, 0, 0, 0
    while at < len(program):
        first, opcode, place, wide = at, program[at], None, 0
        at += 1
        width = {2: 1, 3: 2, 4: 4}.get(opcode, 0 if opcode >> 6 == 1 else None)
        if width is not None:
            distance = opcode & 0x3F
            if width:
                if at + width > len(program):
                    return None
                distance = distances.numbers.get(program[at : at + width])
                at += width
            here += distance * distances.factor
            if here > M32:
                return None
            place, wide = here, 0 if width_of(distance) == width else width
        else:
            form = operands(opcode)
            if form is None:
                return None
            numbers, block = form
            for k in range(numbers + block):
                try:
                    value, behind = uleb(program, at)
                except ValueError:
                    return None
                if behind - at != uleb_len(value):
                    return None
                at = behind
                if k == numbers:
                    at += value
                    if at > len(program):
                        return None
        ops.append(Op(program[first:at], place, wide))
        if opcode:
            end, count = at, len(ops)
    return ops[:count], end


def advance(numbers, distance, wide):
    """An advance in its shortest form, or in `wide` bytes if that is longer."""
    width = max(width_of(distance), wide)
    if width == 0:
        return bytes([ADVANCE | distance])
    opcode, width = {1: (2, 1), 2: (3, 2)}.get(width, (4, 4))
    return bytes([opcode]) + numbers.put(distance, width)


def strip(program, distances):
    """A program without `nop`s at its end, and its instructions (none if it is not understood)."""
    found = parse(program, distances) if len(program) <= LONGEST else None
    if found:
        return program[: found[1]], found[0]
    return program.rstrip(b"\0"), []
