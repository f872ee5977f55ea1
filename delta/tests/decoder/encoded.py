"""Numbers and addresses as unwind tables encode them (Linux Standard Base Core 5.0, 10.5.1)."""

from machine.insn import signed
from models import M32, M64

OMIT = 0xFF


class Encoding:
    """A pointer of fixed size, absolute or relative to its own field."""

    def __init__(self, numbers, size, relative, signed_):
        self.numbers, self.size, self.relative, self.signed = numbers, size, relative, signed_

    @staticmethod
    def of(byte, numbers):
        """The encoding that a byte names, or None."""
        sizes = {0: numbers.width, 2: 2, 10: 2, 3: 4, 11: 4, 4: 8, 12: 8}
        if byte & 15 not in sizes or byte & 0x70 not in (0, 0x10):
            return None
        return Encoding(numbers, sizes[byte & 15], byte & 0x10 != 0, byte & 0x18 != 0)

    def read(self, data, at, addr):
        """The pointer at a place whose address is `addr`: None if it is null; ValueError where there is none."""
        if at + self.size > len(data):
            raise ValueError
        raw = self.numbers.get(data[at : at + self.size])
        if raw == 0:
            return None
        value = signed(raw, 8 * self.size) if self.signed else raw
        target = value + (addr if self.relative else 0) & M64
        if target > M32:
            raise ValueError
        return target

    def write(self, data, at, addr, target):
        value = 0 if target is None else target - (addr if self.relative else 0)
        data[at : at + self.size] = self.numbers.put(value, self.size)


def uleb(data, at):
    """A number of at most 32 bits and the place behind it; ValueError where there is none."""
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            if value > M32:
                break
            return value, at
    raise ValueError


def sleb(data, at):
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            value = signed(value, shift + 7)
            if not -(1 << 31) <= value < 1 << 31:
                break
            return value, at
    raise ValueError


def uleb_len(value):
    return max((value.bit_length() + 6) // 7, 1)


def put_uleb(out, value, width=0):
    """Writes a number in so many bytes, or in its shortest form if that is longer."""
    width = max(width, uleb_len(value))
    for i in range(1, width + 1):
        out.append(value & 0x7F | (0x80 if i < width else 0))
        value >>= 7


def put_sleb(out, value):
    while True:
        byte = value & 0x7F
        value >>= 7
        if (value, byte & 0x40) in ((0, 0), (-1, 0x40)):
            out.append(byte)
            return
        out.append(byte | 0x80)
