"""Cuts functions out of a Go program, the first ones and those of its own package, and makes an ELF file of their code,
their part of the function table, the module's record, and some data that points into them as type descriptors do.

usage: go.py PROGRAM FUNCTIONS SHIFT OUTPUT     (SHIFT: bytes of data in front of the rest of it)
Layouts: those of delta/src/elf/go.rs, delta/src/tables/go/reader.rs and words.rs, and their sources.
"""
import struct
import sys

import image

NONE = 0xFFFFFFFF
INLINE_TREE, INLINE_INDEX, GOFUNC = 3, 5, 40 * 8


def sections(file):
    (table,) = struct.unpack_from("<Q", file, 40)
    size, count, names = struct.unpack_from("<HHH", file, 58)
    rows = [struct.unpack_from("<IIQQQQIIQQ", file, table + i * size) for i in range(count)]
    text = file[rows[names][4] :]
    return {text[r[0] : text.index(b"\0", r[0])].decode(): r for r in rows}


def steps(data, at):
    """A table over code: its bytes, and the values in it."""
    start, value, values, first = at, -1, [], True
    while first or data[at] != 0:
        pair = []
        for _ in range(2):
            n = shift = 0
            while True:
                n |= (data[at] & 0x7F) << shift
                shift += 7
                at += 1
                if data[at - 1] < 0x80:
                    break
            pair.append(n)
        value += pair[0] >> 1 ^ -(pair[0] & 1)
        values.append(value)
        first = False
    return data[start : at + 1], values


class Table:
    """A function table as it is read, and the address that the positions of data count from."""

    def __init__(self, bytes_, address, module):
        self.bytes = bytes_
        head = struct.unpack_from("<8Q", bytes_, 8)
        self.count, self.text = head[0], head[2]
        self.names, self.units, self.files, self.pcs, self.records = head[3:8]
        (data,) = struct.unpack_from("<Q", module, GOFUNC)
        self.data = data - address if address <= data < address + len(bytes_) else None
        self.entries = [self.word(self.records + 8 * i) for i in range(self.count + 1)]
        if self.data is not None:
            self.find_blobs()

    def word(self, at):
        return struct.unpack_from("<I", self.bytes, at)[0]

    def string(self, at):
        return self.bytes[at : self.bytes.index(b"\0", at)]

    def record(self, i):
        """Fields before the lists, tables and data."""
        at = self.records + self.word(self.records + 8 * i + 4)
        fixed = list(struct.unpack_from("<10I4B", self.bytes, at))
        lists = [self.word(at + 44 + 4 * k) for k in range(fixed[7] + fixed[13])]
        return fixed, fixed[4:7] + lists[: fixed[7]], lists[fixed[7] :]

    def find_blobs(self):
        end = len(self.bytes) - (-(-self.entries[-1] // 4096) * 4 + -(-self.entries[-1] // 256))
        used = {}
        for i in range(self.count):
            for at in self.record(i)[2]:
                if at != NONE:
                    used.setdefault(at, len(used))
        places = sorted(used)
        self.blobs, group, before = {}, 0, -1
        for at, after in zip(places, places[1:] + [end - self.data]):
            group += before > used[at]
            before = used[at]
            self.blobs[at] = group, self.bytes[self.data + at : self.data + after]


def cut(table, chosen, entries, end):
    """The table of the chosen functions, all in the order of first use, and where its data begins."""
    names, name_at, pcs, pc_at = b"", {}, b"\0", {}
    groups, places, fixups = {}, {}, []
    used_files, records, index = set(), b"", []

    def name(at):
        nonlocal names
        if at not in name_at:
            name_at[at] = len(names)
            names += table.string(table.names + at) + b"\0"
        return name_at[at]

    def steps_at(at):
        nonlocal pcs
        data, _ = steps(table.bytes, table.pcs + at)
        if data not in pc_at:
            pc_at[data] = len(pcs)
            pcs += data
        return pc_at[data]

    for i, entry in zip(chosen, entries):
        fixed, lists, data = table.record(i)
        if lists[1]:
            used_files.update(fixed[8] + value for value in steps(table.bytes, table.pcs + lists[1])[1])
        fixed[0], fixed[1] = entry, name(fixed[1])
        order = [k for k in range(len(lists)) if k != INLINE_INDEX] + [INLINE_INDEX] * (len(lists) > INLINE_INDEX)
        moved = {k: steps_at(lists[k]) if lists[k] else 0 for k in order}
        lists = [moved[k] for k in range(len(lists))]
        fixed[4:7] = lists[:3]
        index.append(len(records))
        records += struct.pack("<10I4B", *fixed)
        records += b"".join(struct.pack("<I", at) for at in lists[3:])
        for kind, at in enumerate(data):
            if at != NONE and table.data is not None:
                group, blob = table.blobs[at]
                content = groups.setdefault(group, bytearray())
                if kind == INLINE_TREE:
                    rows = bytearray(blob)
                    for row in range(4, len(rows), 16):
                        struct.pack_into("<I", rows, row, name(struct.unpack_from("<I", rows, row)[0]))
                    place = group, len(content)
                    content += rows
                elif at in places:
                    place = places[at]
                else:
                    place = places[at] = group, len(content)
                    content += blob
                fixups.append((len(records), place))
            records += struct.pack("<I", at)
        records += bytes(-len(records) % 8)
    records = bytearray(records)
    starts, at = {}, 0
    for group in sorted(groups):
        starts[group] = at
        at += len(groups[group])
    for where, (group, offset) in fixups:
        struct.pack_into("<I", records, where, starts[group] + offset)
    files, units = b"", b""
    for k in range((table.files - table.units) // 4):
        at = table.word(table.units + 4 * k)
        units += struct.pack("<I", len(files) if k in used_files and at != NONE else NONE)
        files += table.string(table.files + at) + b"\0" if k in used_files and at != NONE else b""
    units = units[: 4 * (max(used_files) + 1)]
    align = 8 if table.names == 72 else 32
    list_len = -(-(8 * len(chosen) + 4) // 8) * 8
    rows = b"".join(struct.pack("<II", e, at + list_len) for e, at in zip(entries, index)) + struct.pack("<I", end)
    at, parts, body = -(-72 // align) * align, [], b""
    first = at
    for part in (names, units, files, pcs, rows + bytes(list_len - len(rows)) + records):
        body += bytes(-(first + len(body)) % align)
        parts.append(first + len(body))
        body += part
    head = table.bytes[:8] + struct.pack("<8Q", len(chosen), files.count(b"\0"), table.text, *parts)
    body = head + bytes(first - len(head)) + body
    data = len(body)
    if table.data is not None:
        body += b"".join(groups[group] for group in sorted(groups))
        of = lambda code: max(sum(e <= code for e in entries) - 1, 0)
        for code in range(0, end, 4096):
            body += struct.pack("<I", of(code))
            body += bytes(of(part) - of(code) & 0xFF for part in range(code, min(end, code + 4096), 256))
    return body, parts[0], data


def described(shift, entries):
    """Data as of type descriptors: each has a hash, its name, another type and a function, as offsets."""
    count, size = 90, 32
    rows, names = b"", b""
    for i in range(count):
        name = shift + count * size + len(names)
        other = shift + (i * 7 + 5) % count * size
        rows += struct.pack("<QIIIIII", size, i * 2654435761 & NONE, 0x08080819 - i, name, other, entries[i % len(entries)], 0)
        names += b"\1\x0c" + b"main.Type%03d" % i
    return bytes(range(1, 1 + shift)) + rows + names, [shift + i * size for i in range(count)]


def module_of(file, found):
    """The module's record: it begins with the addresses of the function table and of its names."""
    table = found[".gopclntab"]
    (names,) = struct.unpack_from("<Q", file, table[4] + 32)
    start = struct.pack("<QQ", table[3], table[3] + names)
    at = file.index(start)
    return bytearray(file[at : at + 0x250])


def main(program, keep, shift, output):
    file = open(program, "rb").read()
    found = sections(file)
    text, table = found[".text"], found[".gopclntab"]
    module = module_of(file, found)
    whole = Table(file[table[4] : table[4] + table[5]], table[3], module)
    name = lambda i: whole.string(whole.names + whole.record(i)[0][1])
    chosen = [i for i in range(whole.count) if i < int(keep) or name(i).startswith(b"main.")]
    code, entries = b"", []
    for i in chosen:
        code += b"\xcc" * (-len(code) % 32)
        entries.append(len(code))
        code += file[text[4] + whole.entries[i] : text[4] + whole.entries[i + 1]]
    functions, names, data = cut(whole, chosen, entries, len(code))
    types, links = described(int(shift), entries)
    align = lambda at: at + -at % 64
    rodata = align(text[3] + len(code))
    linked = align(rodata + len(types))
    tabled = align(linked + 4 * len(links))
    modules = align(tabled + len(functions))
    pointers = align(modules + len(module))
    place = tabled + data if whole.data is not None else rodata + int(shift)
    struct.pack_into("<QQ", module, 0, tabled, tabled + names)
    struct.pack_into("<Q", module, GOFUNC, place)
    words = [text[3] + entry for entry in entries] + [rodata + link for link in links] + [0, 7]
    inside = whole.data is not None
    parts = [
        (".text", 1, 6, text[3], code),
        (".rodata", 1, 2, rodata, types),
        (".typelink", 1, 2, linked, struct.pack(f"<{len(links)}I", *links)),
        (".gopclntab", 1, 2, tabled, functions),
        (".go.module" if inside else ".noptrdata", 1, 3, modules, bytes(module)),
        (".data", 1, 3, pointers, struct.pack(f"<{len(words)}Q", *words)),
    ]
    open(output, "wb").write(image.elf(2, parts))


main(*sys.argv[1:])
