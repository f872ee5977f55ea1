"""Writes small ELF files of x86-64, section by section, for what makes seeds."""
import struct

RELA = 4


def elf(kind, parts):
    """Of that type: 2 for a program, 3 for one that may stand anywhere."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in parts) + b".shstrtab\0"
    body, rows, at = b"", [bytes(64)], 64
    for name, section, flags, address, data in [*parts, (".shstrtab", 3, 0, 0, names)]:
        gap = -at % 16
        body += bytes(gap) + data
        at += gap
        where = names.index(b"\0" + name.encode() + b"\0") + 1
        entry = 24 if section == RELA else 0
        rows.append(struct.pack("<IIQQQQIIQQ", where, section, flags, address, at, len(data), 0, 0, 16, entry))
        at += len(data)
    gap = -at % 8
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0, 0, at + gap, 0, 64, 56, 0, 64, len(rows), len(rows) - 1)
    return header + body + bytes(gap) + b"".join(rows)
