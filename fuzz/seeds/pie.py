"""Makes a position-independent program of what go.py cut out: types and their list in sections of their own names, and
relocations for the words that point, symbol by symbol as Go's linker makes them, before it sorts symbols by size.

usage: pie.py INPUT OUTPUT
"""
import struct
import sys

import image

NAMES = {".rodata": ".data.rel.ro", ".typelink": ".data.rel.ro.typelink"}
SYMBOL, RELATIVE = 5, 8  # words of a symbol; R_X86_64_RELATIVE


def sections(file):
    (table,) = struct.unpack_from("<Q", file, 40)
    size, count, names = struct.unpack_from("<HHH", file, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", file, table + i * size) for i in range(count)]
    text = file[rows[names][4] :]
    return [(text[r[0] : text.index(b"\0", r[0])].decode(), *r[1:]) for r in rows]


def relocations(parts):
    """A row for each word of writable data that holds an address."""
    inside = lambda word: any(address <= word < address + len(data) for _, _, _, address, data in parts)
    words = []
    for _, _, flags, address, data in parts:
        for at in range(0, len(data) - 7 if flags & 1 else 0, 8):
            (word,) = struct.unpack_from("<Q", data, at)
            words += [(address + at, RELATIVE, word)] if inside(word) else []
    symbols = [words[at : at + SYMBOL] for at in range(0, len(words), SYMBOL)]
    order = sorted(range(len(symbols)), key=lambda i: (i * 5 % 13, i))
    return b"".join(struct.pack("<QQQ", *row) for i in order for row in symbols[i])


def main(program, output):
    file = open(program, "rb").read()
    parts = []
    for name, kind, flags, address, offset, size, *_ in sections(file)[1:-1]:
        flags |= name in NAMES
        parts.append((NAMES.get(name, name), kind, flags, address, file[offset : offset + size]))
    rows = relocations(parts)
    parts.append((".rela", image.RELA, 2, parts[-1][3] + len(parts[-1][4]) + 63 & ~63, rows))
    open(output, "wb").write(image.elf(3, parts))


main(*sys.argv[1:])
