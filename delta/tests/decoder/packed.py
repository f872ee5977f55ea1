"""Packed files: the old one opened, its inside made into the new one, and that closed (FORMAT.md, "Packed files")."""

import image
from codec import Codec
from codings import fold, unpack
from container import MODELLED, STORED, Cursor, Damaged, Patch, bodies, directory
from kept import Kept

PLANS, INSIDES, DEPTH = 14, 15, 6
COPY, CLOSE, OPEN = range(3)
SEGMENTED, GROUPED = 4, 3


def plan(cursor, is_new):
    """The steps of one file: bytes to copy (0: all that are left), a codec that begins, or None for its end."""
    steps, depth = [], 0
    for _ in range(cursor.varint()):
        word = cursor.varint()
        kind, number = word & 3, word >> 2
        if kind == COPY:
            steps.append(number)
        elif kind == CLOSE and number == 0 and depth:
            depth -= 1
            steps.append(None)
        elif kind == OPEN and depth < DEPTH:
            depth += 1
            steps.append(Codec(cursor, number, is_new))
        else:
            raise Damaged("its plan of a packed file does not fit together")
    if depth:
        raise Damaged("its plan of a packed file does not fit together")
    return steps


def opened(steps, data):
    """The inside of a file."""
    out, levels = bytearray(), [[data, 0]]
    for step in steps:
        data, at = levels[-1]
        if step is None:
            if at != len(data):
                raise Damaged("its plan does not fit the old file")
            levels.pop()
        elif isinstance(step, int):
            size = step or len(data) - at
            if at + size > len(data):
                raise Damaged("its plan does not fit the old file")
            out += data[at : at + size]
            levels[-1][1] += size
        else:
            text, used = step.decode(data[at:])
            levels[-1][1] += used
            levels.append([text, 0])
    if levels[-1][1] != len(levels[-1][0]):
        raise Damaged("its plan does not fit the old file")
    return bytes(out)


def closed(steps, inside):
    """The file of an inside."""
    at, levels = 0, [(None, bytearray())]
    for step in steps:
        if step is None:
            codec, text = levels.pop()
            levels[-1][1].extend(codec.encode(bytes(text)))
        elif isinstance(step, int):
            size = step or len(inside) - at
            if at + size > len(inside):
                raise Damaged("its plan does not fit the new inside")
            levels[-1][1].extend(inside[at : at + size])
            at += size
        else:
            levels.append((step, bytearray()))
    if at != len(inside):
        raise Damaged("its plan does not fit the new inside")
    return bytes(levels[0][1])


class Packed:
    """A packed patch on its old file; `plain` makes a new file by the methods that know no packing."""

    def __init__(self, patch, old, plain):
        self.patch, self.plain, self.group, self.kept = patch, plain, None, Kept(on=True)
        rows = {row[0]: row for row in patch.streams}
        plans, insides = rows.get(PLANS), rows.get(INSIDES)
        if plans is None or plans[1] == MODELLED or insides is None or insides[1] != STORED:
            raise Damaged("its plans or its insides are missing")
        cursor = Cursor(plans[3] if plans[1] == STORED else unpack(plans[3], plans[2]))
        opening, self.closing = plan(cursor, False), plan(cursor, True)
        if cursor.at != len(cursor.data):
            raise Damaged("bytes after its plans")
        stretches = list(self.stretches(Cursor(insides[3])))
        self.old = opened(opening, old)
        if len(self.old) != patch.packing["old"]:
            raise Damaged("the inside of the old file has another size than declared")
        self.inside = self.make(stretches)
        # Streams that other programs packed: what is installed here may differ.
        self.by_commands = [step for step in self.closing if isinstance(step, Codec)]

    def file(self):
        return closed(self.closing, self.inside)

    def stretches(self, cursor):
        """Old begin and size, new begin and size, and the patch of each (None: an image of the group)."""
        packing, end, expected, first = self.patch.packing, 0, 0, True
        while first or cursor.at < len(cursor.data):
            kind = cursor.byte()
            old, start, size = (0, packing["old"]), 0, packing["new"]
            if not first:
                start = end + cursor.varint()
                size = cursor.varint()
                at = expected + fold(cursor.varint())
                old = (at, size + fold(cursor.varint()))
                end, expected = start + size, sum(old)
                if not size or end > packing["new"] or min(old) < 0 or expected > packing["old"]:
                    raise Damaged("the stretches of its insides do not fit together")
            if kind == GROUPED and not first:
                yield old, start, size, None
                continue
            if kind & ~SEGMENTED > 2:
                raise Damaged("the stretches of its insides do not fit together")
            features = int(bool(kind & SEGMENTED))
            rows = bodies(cursor, directory(cursor, features))
            yield old, start, size, Patch(features, kind & 3, old[1], size, streams=rows)
            first = False

    def make(self, stretches):
        """The new inside: what no other stretch tells, and the others where they begin."""
        _, _, size, rest = stretches[0]
        rest.new_len = size - sum(size for _, _, size, _ in stretches[1:])
        between, out = self.plain(rest, self.old), bytearray()
        if len(between) != rest.new_len:
            raise Damaged("a stretch has another size than declared")
        used = 0
        for (at, length), start, size, patch in stretches[1:]:
            n = start - len(out)
            out += between[used : used + n]
            used += n
            made = self.stretch(self.old[at : at + length], size, patch)
            if len(made) != size:
                raise Damaged("a stretch has another size than declared")
            out += made
        return bytes(out + between[used:])

    def stretch(self, old, size, patch):
        if patch:
            return self.plain(patch, old)
        self.group = self.group or image.Streams(self.patch)
        return image.Image(self.group, old, size, self.kept).file()
