"""Streams of symbols in each coding (FORMAT.md, "Codings")."""

import subprocess

from container import MODELLED, ZSTD, Cursor, Damaged
from models import M64


def unpack(frame, size=None):
    """The content of a zstd frame, of so many bytes if that is known, by the `zstd` command."""
    done = subprocess.run(["zstd", "-d", "-c", "-q"], input=frame, capture_output=True)
    if done.returncode or len(done.stdout) != (len(done.stdout) if size is None else size):
        raise Damaged("a zstd frame is damaged")
    return done.stdout


def fold(number):
    return number >> 1 ^ -(number & 1)


class Columns:
    """Codings 0 and 1: models and contexts are ignored."""

    modelled = False

    def __init__(self, data):
        cursor = Cursor(data)
        sizes = [cursor.varint() for _ in range(3)] if data else [0, 0, 0]
        self.flags, self.bytes, self.numbers = (Cursor(cursor.take(n)) for n in sizes)

    @staticmethod
    def _byte(column):
        if column.at >= len(column.data):
            raise Damaged("a column ends too early")
        return column.byte()

    def flag(self, model, contexts):
        return self._byte(self.flags) & 1

    def tree(self, model, contexts, width):
        value = 0
        for _ in range((width + 7) // 8):
            value = value << 8 | self._byte(self.bytes)
        return value & (1 << width) - 1

    def number(self, model, contexts):
        return self.numbers.varint()

    def signed(self, model, contexts):
        return fold(self.number(model, contexts))

    def raw(self):
        return self._byte(self.bytes)

    def mixed(self, model, *known):
        return self._byte(self.bytes)


class Modelled:
    """Coding 2: the range coder under models."""

    modelled = True

    def __init__(self, data):
        self.data, self.at, self.low, self.high, self.value = data, 0, 0, M64, 0
        for _ in range(8):
            self.value = self.value << 8 | self._pull()

    def _pull(self):
        self.at += 1
        if self.at > len(self.data) + 16:
            raise Damaged("a stream ends too early")
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def _shift(self):
        while (self.low ^ self.high) >> 56 == 0:
            self.low = self.low << 8 & M64
            self.high = (self.high << 8 | 255) & M64
            self.value = (self.value << 8 | self._pull()) & M64

    def bit(self, p):
        middle = self.low + (self.high - self.low >> 16) * p
        bit = int(self.value <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        self._shift()
        return bit

    def flag(self, model, contexts):
        return model.code(self, contexts, 0, 0)

    def tree(self, model, contexts, width):
        node = 1
        for i in range(width):
            node = node << 1 | model.code(self, contexts, node, 1 + i)
        return node & (1 << width) - 1

    def number(self, model, contexts):
        length = 0
        while length < 64 and model.code(self, contexts, 0x200000 + length, 32 + length):
            length += 1
        if length < 2:
            return length
        value = 1
        for above in range(1, length):
            known = value & 0xFFFF if above <= 12 else 0x8000 + above
            node = 0x400000 + (length << 16) + known
            value = value << 1 | model.code(self, contexts, node, 98 + min(above, 28))
        return value

    def signed(self, model, contexts):
        return fold(self.number(model, contexts))

    def raw(self):
        if self.high - self.low < 1 << 16:
            byte = 0
            for _ in range(8):
                byte = byte << 1 | self.bit(1 << 15)
            return byte
        share = self.high - self.low >> 8
        byte = min((self.value - self.low) // share, 255)
        self.low += share * byte
        self.high = self.low + share - 1
        self._shift()
        return byte

    def mixed(self, model, *known):
        return model.code(self, *known)


def reader(row):
    """A reader of a stream by its row of the directory."""
    _, coding, decoded, data = row
    if coding == MODELLED:
        return Modelled(data)
    return Columns(unpack(data, decoded) if coding == ZSTD else data)
