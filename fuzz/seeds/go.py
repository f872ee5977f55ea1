"""Cuts the first functions out of a Go program: an ELF file of their code and their part of the function table.

usage: go.py PROGRAM FUNCTIONS OUTPUT       (the layout is that of delta/src/elf/go.rs and its sources)
"""
import struct
import sys


def sections(file):
    (table,) = struct.unpack_from("<Q", file, 40)
    size, count, names = struct.unpack_from("<HHH", file, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", file, table + i * size) for i in range(count)]
    text = file[rows[names][4] :]
    return {text[r[0] : text.index(b"\0", r[0])].decode(): r for r in rows}


def uvarint_end(data, at):
    """End of a table over code: pairs of varints until a value of 0."""
    first = True
    while first or data[at] != 0:
        for _ in range(2):
            while data[at] & 0x80:
                at += 1
            at += 1
        first = False
    return at + 1


def cut(table, keep):
    head = list(struct.unpack_from("<8Q", table, 8))
    names, units, files, pcs, records = head[3:8]
    word = lambda at: struct.unpack_from("<I", table, at)[0]
    total = head[0]
    entries = [word(records + 8 * i) for i in range(keep + 1)]
    first, last = word(records + 4), word(records + 8 * keep + 4)
    end_names = end_pcs = 0
    for i in range(keep):
        at = records + word(records + 8 * i + 4)
        name = word(at + 4)
        end_names = max(end_names, table.index(b"\0", names + name) + 1 - names)
        lists = [word(at + 16 + 4 * k) for k in range(3)]
        lists += [word(at + 44 + 4 * k) for k in range(word(at + 28))]
        for pc in filter(None, lists):
            end_pcs = max(end_pcs, uvarint_end(table, pcs + pc) - pcs)
    parts = [table[names : names + end_names], table[units:files], table[files:pcs], table[pcs : pcs + end_pcs]]
    shift = 8 * (total - keep)
    index = b"".join(
        struct.pack("<II", entries[i], word(records + 8 * i + 4) - shift) for i in range(keep)
    ) + struct.pack("<I", entries[keep])
    # Records begin aligned as they were, behind the index and its padding.
    pad = first - shift - len(index)
    parts.append(index + bytes(pad) + table[records + first : records + last])
    at, places, body = 72, [], b""
    for part in parts:
        at += -at % 8
        body += bytes(at - 72 - len(body))
        places.append(at)
        body += part
        at += len(part)
    header = table[:8] + struct.pack("<8Q", keep, head[1], head[2], *places)
    return header + body, entries[keep]


def elf(parts):
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in parts) + b".shstrtab\0"
    body, rows, at = b"", [bytes(64)], 64
    for name, kind, flags, address, data in [*parts, (".shstrtab", 3, 0, 0, names)]:
        gap = -at % 16
        body += bytes(gap) + data
        at += gap
        where = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", where, kind, flags, address, at, len(data), 0, 0, 16, 0))
        at += len(data)
    gap = -at % 8
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, at + gap, 0, 64, 56, 0, 64, len(rows), len(rows) - 1)
    return header + body + bytes(gap) + b"".join(rows)


def main(program, keep, output):
    file = open(program, "rb").read()
    found = sections(file)
    text, table = found[".text"], found[".gopclntab"]
    short, code = cut(file[table[4] : table[4] + table[5]], int(keep))
    parts = [
        (".text", 1, 6, text[3], file[text[4] : text[4] + code]),
        (".gopclntab", 1, 2, table[3], short),
    ]
    open(output, "wb").write(elf(parts))


main(*sys.argv[1:])
