"""The new file by each method (FORMAT.md, "Methods")."""

import codings
import data
import image
from container import STORED, WHOLE, Damaged


def whole(patch):
    rows = [row for row in patch.streams if row[0] == WHOLE]
    if not rows:
        raise Damaged("the whole file is missing")
    _, coding, decoded, body = rows[0]
    return body if coding == STORED else codings.unpack(body, decoded)


def generic(patch, old):
    covers, spelled = (codings.reader(patch.stream(number)) for number in (5, 13))
    found = data.Covers(data.CoverModels(), len(old)).region(covers, 0, patch.new_len, 0)
    return data.Bytes(data.ByteModels(), old).region(spelled, 0, patch.new_len, found)


def plain(patch, old):
    """By the methods that know no packing."""
    if patch.method == 0:
        return whole(patch)
    if patch.method == 1:
        return generic(patch, old)
    return image.Image(image.Streams(patch), old, patch.new_len).file()
