"""A patch taken apart: header, stream directory, bodies (FORMAT.md, "Container")."""

from dataclasses import dataclass, field


class Damaged(Exception):
    """The patch is damaged."""


class Unsupported(Exception):
    """The patch needs a reader that knows more."""


class WrongOldFile(Exception):
    """The old file is not the one that the patch was made from."""


class OverLimit(Exception):
    """The patch declares more than is allowed."""


class MissingEncoder(Exception):
    """The patch names an encoder that is not there."""


class NotClosed(Exception):
    """The encoders at hand do not do what those do that the patch was made with."""


class Cursor:
    """Bytes, read from the front."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise Damaged("bytes end too early")
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        value = 0
        for i in range(10):
            b = self.byte()
            if i == 9 and b > 1:
                raise Damaged("a number is too long")
            value |= (b & 0x7F) << 7 * i
            if b < 0x80:
                return value
        raise Damaged("a number is too long")


SEGMENTS, PACKED = 1, 2
STORED, ZSTD, MODELLED = 0, 1, 2
WHOLE, EDITS, LITERALS = 0, 3, 4


@dataclass
class Patch:
    features: int
    method: int
    old_len: int = 0
    new_len: int = 0
    memory: int = 0
    old_digest: bytes = b""
    new_digest: bytes = b""
    packing: dict = field(default_factory=dict)
    streams: list = field(default_factory=list)  # (id, coding, decoded size, bytes)

    def stream(self, number, segment=0):
        """A stream with no row is an empty one of coding 2."""
        rows = [row for row in self.streams if row[0] == number]
        return rows[segment] if segment < len(rows) else (number, MODELLED, 0, b"")


def directory(cursor, features):
    count = cursor.varint()
    if count > 64:
        raise Damaged("too many streams")
    rows = []
    for _ in range(count):
        tag = cursor.byte()
        number, coding = tag & 63, tag >> 6
        if coding == 3:
            raise Unsupported("a stream coding")
        again = features & SEGMENTS and number in (EDITS, LITERALS)
        if rows and (number < rows[-1][0] or number == rows[-1][0] and not again):
            raise Damaged("streams out of order")
        decoded = cursor.varint() if coding == ZSTD else 0
        rows.append((number, coding, decoded, cursor.varint()))
    if features & SEGMENTS:
        edits, literals = (sum(row[0] == n for row in rows) for n in (EDITS, LITERALS))
        if edits != literals or not 2 <= edits <= 16:
            raise Damaged("segments do not fit together")
    return rows


def bodies(cursor, rows):
    return [(number, coding, decoded, cursor.take(size)) for number, coding, decoded, size in rows]


def packing(cursor, patch):
    """What the header of a packed patch says beside."""
    scratch, old, new = cursor.varint() << 16, cursor.varint(), cursor.varint()
    count = cursor.varint()
    fits = all(inside <= 1040 * size + (1 << 16) for inside, size in ((old, patch.old_len), (new, patch.new_len)))
    if not fits or count > 16 or 0 < scratch < old:
        raise Damaged("what it says of packed files is not possible")
    encoders = []
    for _ in range(count):
        size = cursor.varint()
        encoders.append(cursor.take(min(size, 64)))
        if size > 64 or any(not 32 <= byte < 127 for byte in encoders[-1]):
            raise Damaged("what it says of packed files is not possible")
    return {"scratch": scratch, "old": old, "new": new, "encoders": encoders}


def read(data):
    """Reads a patch; it holds nothing behind its last body."""
    cursor = Cursor(data)
    if data[:4] != b"eldp":
        raise Damaged("it does not begin like a patch")
    cursor.take(4)
    if cursor.byte() != 0:
        raise Unsupported("another version")
    features = cursor.varint()
    if features & ~(SEGMENTS | PACKED):
        raise Unsupported("unknown features")
    patch = Patch(features, cursor.byte())
    if patch.method > 3:
        raise Unsupported("another method")
    if (patch.method == 3) != bool(features & PACKED):
        raise Damaged("method and features do not fit")
    patch.old_len, patch.new_len, patch.memory = cursor.varint(), cursor.varint(), cursor.varint() << 16
    patch.old_digest, patch.new_digest = cursor.take(32), cursor.take(32)
    if patch.method == 3:
        patch.packing = packing(cursor, patch)
    patch.streams = bodies(cursor, directory(cursor, features))
    if cursor.at != len(data):
        raise Damaged("bytes behind the last body")
    return patch
