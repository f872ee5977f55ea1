"""Codecs of packed streams: how each is unpacked, and packed again by zlib, gzip, liblzma, lz4 or zstd as they are here."""

import lzma
import os
import subprocess
import tempfile
import zlib
from itertools import accumulate

from codings import unpack
from container import Cursor, Damaged, NotClosed

DEFLATE, GZIP, ZLIB, XZ, LZ4, ZSTD, PLACES = range(1, 8)
TRAILERS = {DEFLATE: 0, GZIP: 8, ZLIB: 4}
FILTERS = {4: lzma.FILTER_X86, 5: lzma.FILTER_POWERPC, 6: lzma.FILTER_IA64, 7: lzma.FILTER_ARM}
FILTERS |= {8: lzma.FILTER_ARMTHUMB, 9: lzma.FILTER_SPARC}
# Window and chains of each level of zstd from 1 on, as powers of two.
LEVELS = [(19, 13), (20, 15), (21, 16), (21, 18), (21, 18), (21, 18), (21, 19), (21, 19), (22, 20), (22, 21), (22, 21)]
LEVELS += [(22, 22), (22, 22), (22, 22), (22, 23), (22, 22), (23, 23), (23, 23), (23, 24), (25, 25), (26, 26), (27, 27)]
NOT_KNOWN = Damaged("it names a way to pack that is not known")


def crc_64(text):
    """CRC-64 of ECMA-182, bits reversed."""
    value = (1 << 64) - 1
    for byte in text:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xC96C5795D7870F42 if value & 1 else 0)
    return value ^ (1 << 64) - 1


class Codec:
    """A codec with what a plan says of it; what only an encoder needs is there on the new side alone."""

    def __init__(self, cursor: Cursor, number, is_new):
        self.number = number
        if number in TRAILERS:
            if is_new:
                self.style, kept = cursor.byte(), cursor.varint()
                self.end = (kept - 1, cursor.take(cursor.varint())) if kept else None
                if self.style >> 4 > 7 or not 1 <= self.style & 15 <= 9:
                    raise NOT_KNOWN
        elif number == XZ:
            self.check, self.filter, self.dictionary = cursor.byte(), cursor.byte(), cursor.varint()
            if self.check not in (0, 1, 4) or self.filter not in (0, *range(4, 11)):
                raise NOT_KNOWN
            if not 4096 <= self.dictionary <= 1 << 26:
                raise NOT_KNOWN
            self.effort = cursor.byte() if is_new else 0
            if self.effort & ~48 > 9:
                raise NOT_KNOWN
            # In scratch space: only what weighs and finds by trees.
            if self.effort & 32 and (self.filter not in (0, 4, 5, 7, 8, 10) or self.effort & 31 < 4):
                raise NOT_KNOWN
        elif number == LZ4:
            self.blocks = cursor.varint()
            self.level = cursor.byte() if is_new else 3
            if not 3 <= self.level <= 12:
                raise NOT_KNOWN
        elif number == ZSTD and is_new:
            self.level, self.flags, self.window = (cursor.byte() for _ in range(3))
            size = cursor.varint()
            if not 1 <= self.level <= 22 or self.flags & ~31 or self.flags & 3 == 3:
                raise NOT_KNOWN
            if self.window and not 10 <= self.window <= 27:
                raise NOT_KNOWN
            if self.flags & 3 == 1 and not (self.flags & 16 and size <= 1 << 26):
                raise NOT_KNOWN
            if self.flags & 3 == 2 and self.aside(size) > 1 << 30:
                raise NOT_KNOWN
        elif number == ZSTD:
            if not 10 <= cursor.byte() <= 27:
                raise NOT_KNOWN
        elif number == PLACES:
            self.word = cursor.byte()
            if self.word not in (4, 8):
                raise NOT_KNOWN
            self.count = 0 if is_new else cursor.varint()
        else:
            raise Damaged("a codec is not known")

    def aside(self, size):
        """Bytes that a worker of zstd sets aside for a text of that size, if the size is told."""
        own, chains = LEVELS[self.level - 1]
        window = self.window or (27 if self.flags & 8 else own)
        if self.flags & 16:
            window = min(window, max((size - 1).bit_length() if size else 0, 10))
            chains = window + 1 if window <= 18 else min(chains, window + 1)
        if self.flags & 8:
            part = max(8 << chains, 2 << 20)
            return max(part, 1 << window) + 3 * part
        return 4 * max(4 << window, 1 << 20)

    def decode(self, packed):
        """The text of the stream at the start of some bytes, and how many of them it takes."""
        try:
            if self.number in TRAILERS:
                return self.inflated(packed)
            if self.number == ZSTD:
                size = frame_size(packed)
                return unpack(packed[:size]), size
            if self.number == PLACES:
                return self.differences(packed)
            return self.lzma_text(packed) if self.number == XZ else self.lz4_text(packed)
        except (zlib.error, lzma.LZMAError, IndexError):
            raise Damaged("what it takes for a packed stream is none")

    def inflated(self, packed):
        decoder = zlib.decompressobj(-15)
        text = decoder.decompress(packed)
        used = len(packed) - len(decoder.unused_data) + TRAILERS[self.number]
        if not decoder.eof or used > len(packed):
            raise Damaged("a packed stream has no end")
        return text, used

    def filters(self, **options):
        before = [{"id": FILTERS[self.filter]}] if self.filter else []
        return [*before, {"id": lzma.FILTER_LZMA2, "dict_size": self.dictionary, **options}]

    def lzma_text(self, packed):
        if self.filter and self.filter not in FILTERS:
            raise NotClosed("a filter of xz")
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=self.filters())
        text = decoder.decompress(packed)
        if not decoder.eof:
            raise Damaged("a packed stream has no end")
        used = len(packed) - len(decoder.unused_data)
        return text, used + -used % 4 + {0: 0, 1: 4, 4: 8}[self.check]

    def lz4_text(self, packed):
        out, at = bytearray(), 0
        for _ in range(self.blocks):
            size = int.from_bytes(packed[at : at + 4], "little")
            if not size or at + 4 + size > len(packed):
                raise Damaged("what it takes for a packed stream is none")
            out += lz4_block(packed[at + 4 : at + 4 + size])
            at += 4 + size
        return bytes(out), at

    def differences(self, packed):
        size = self.word * self.count
        if size > len(packed):
            raise Damaged("a packed stream has no end")
        words = self.words(packed[:size])
        return self.bytes(word - last for word, last in zip(words, [0, *words])), size

    def words(self, data):
        return [int.from_bytes(data[at : at + self.word], "big") for at in range(0, len(data), self.word)]

    def bytes(self, words):
        return b"".join((word & (1 << 8 * self.word) - 1).to_bytes(self.word, "big") for word in words)

    def encode(self, text):
        """The stream of a text, with what stands behind it."""
        if self.number == PLACES:
            if len(text) % self.word:
                raise Damaged("what it takes for a packed stream is none")
            return self.bytes(accumulate(self.words(text)))
        if self.number == ZSTD:
            options = [f"-{self.level}", "--check" if self.flags & 4 else "--no-check"]
            options += [] if self.flags & 3 == 2 else ["--single-thread"]
            options += [f"--zstd=wlog={self.window}"] if self.window else []
            options += ["--long"] if self.flags & 8 else []
            options += [] if self.flags & 16 else ["--no-content-size"]
            return command(["zstd", "-q", "-c", "--ultra", *options], text)
        if self.number == LZ4:
            return command(["lz4", "-q", "-l", f"-{self.level}", "-c"], text)[4:]
        if self.number == XZ:
            preset = self.effort & 15 | (lzma.PRESET_EXTREME if self.effort & 16 else 0)
            packed = lzma.compress(text, lzma.FORMAT_RAW, filters=self.filters(preset=preset))
            check = {0: b"", 1: zlib.crc32(text).to_bytes(4, "little")}.get(self.check)
            return packed + bytes(-len(packed) % 4) + (crc_64(text).to_bytes(8, "little") if check is None else check)
        level = self.style & 15
        if self.style >> 4 > 2:
            raise NotClosed("Chromium's zlib or zlib-rs")
        if self.style & 16:
            packed = command(["gzip", "-n", f"-{level}", "-c"], text)[10:-8]
        else:
            encoder = zlib.compressobj(level, zlib.DEFLATED, -15, 9 if self.style & 32 else 8)
            packed = encoder.compress(text) + encoder.flush()
        if self.end:
            packed = packed[: self.end[0]] + self.end[1]
        behind = zlib.crc32(text).to_bytes(4, "little") + (len(text) & 0xFFFFFFFF).to_bytes(4, "little")
        return packed + {DEFLATE: b"", GZIP: behind, ZLIB: zlib.adler32(text).to_bytes(4, "big")}[self.number]


def command(arguments, text):
    """What a command makes of a regular file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "text")
        with open(path, "wb") as out:
            out.write(text)
        try:
            done = subprocess.run([*arguments, path], capture_output=True)
        except FileNotFoundError:
            raise NotClosed(f"{arguments[0]} is not installed")
    if done.returncode:
        raise NotClosed(f"{arguments[0]}: {done.stderr}")
    return done.stdout


def frame_size(packed):
    """Bytes of the zstd frame at the start of some bytes."""
    if packed[:4] != b"\x28\xb5\x2f\xfd" or packed[4] & 11:
        raise Damaged("what it takes for a packed stream is none")
    flags, single = packed[4], packed[4] >> 5 & 1
    at, last = 5 + (not single) + [single, 2, 4, 8][flags >> 6], 0
    while not last:
        if at + 3 > len(packed):
            raise Damaged("a packed stream has no end")
        head = int.from_bytes(packed[at : at + 3], "little")
        last = head & 1
        at += 3 + (1 if head >> 1 & 3 == 1 else head >> 3)
    return at + (4 if flags & 4 else 0)


def lz4_block(block):
    """The text of one block."""
    out, at = bytearray(), 0

    def length(first, at):
        size = first
        while first == 15:
            size += block[at]
            at += 1
            if block[at - 1] != 255:
                break
        return size, at

    while at < len(block):
        token = block[at]
        size, at = length(token >> 4, at + 1)
        out += block[at : at + size]
        at += size
        if at >= len(block):
            break
        back = block[at] | block[at + 1] << 8
        size, at = length(token & 15, at + 2)
        if not 0 < back <= len(out):
            raise IndexError
        for _ in range(size + 4):
            out.append(out[-back])
    return bytes(out)
