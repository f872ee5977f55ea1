"""Makes an object with two tables of types, in one of two versions: one that is whole, and one that goes on from a kernel's.

usage: btf.py 1|2 > OUTPUT
"""
import struct
import sys


class Types:
    """Records and strings; numbers and offsets count on from a base."""

    def __init__(self, first, strings):
        self.first, self.base, self.records, self.strings = first, strings, [], [b""] if strings == 0 else []

    def name(self, text):
        text = text.encode()
        if text not in self.strings:
            self.strings.append(text)
        return self.base + sum(len(s) + 1 for s in self.strings[: self.strings.index(text)])

    def add(self, kind, name="", third=0, *rest, count=0):
        """Appends a type and gives its number."""
        offset = name if isinstance(name, int) else self.name(name) if name else 0
        self.records.append(struct.pack(f"<{3 + len(rest)}I", offset, kind << 24 | count, third, *rest))
        return self.first + len(self.records) - 1

    def structure(self, name, *members, kind=4):
        offsets = [(self.name(n), t, 64 * i) for i, (n, t) in enumerate(members)]
        return self.add(kind, name, 8 * len(members), *sum(offsets, ()), count=len(members))

    def function(self, name, *parameters, result=0):
        prototype = self.add(13, "", result, *sum(((self.name(n), t) for n, t in parameters), ()), count=len(parameters))
        self.add(12, name, prototype, count=1)

    def section(self):
        types, strings = b"".join(self.records), b"".join(s + b"\0" for s in self.strings)
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def whole(second):
    t = Types(1, 0)
    number = t.add(1, "int", 4, 32 | 1 << 24)
    long = t.add(1, "long", 8, 64)
    if second:
        t.add(16, "double", 8)
    pointer = t.add(2, "", number)
    forward = t.add(7, "later")
    constant = t.add(10, "", number)
    for kind in (8, 9, 11):
        t.add(kind, "alias" if kind == 8 else "", constant)
    array = t.add(3, "", 0, pointer, number, 7 if second else 5)
    blocks = [["lock", "unlock", "trylock"], ["read", "write", "flush", "sync"], ["open", "close"]]
    if second:
        # As several threads make it: in another order, one gone and some new.
        blocks = [blocks[1][:2] + blocks[1][3:], blocks[0] + ["relock"], blocks[2], ["poll", "wait"]]
    for block in blocks:
        members = [(word + "_count", long) for word in block] + [("next", forward), ("all", array)]
        if second:
            members.insert(1, ("extra", pointer))
            del members[2]
        made = t.structure(block[0] + "_state", *members)
        leads = t.add(2, "", made)
        for i, word in enumerate(block):
            t.function(f"do_{word}", ("state", leads), *[(f"flags{i}", number)] * (i % 2), result=number)
    t.structure("either", ("left", number), ("right", long), kind=5)
    values = [word for pair in zip(map(t.name, ["IDLE", "BUSY", "DEAD"]), (0, 3, 4) if second else (0, 1, 2)) for word in pair]
    t.add(6, "mode", 4, *values, count=3)
    t.add(19, "wide", 8, t.name("HUGE"), 1, 1 + second, count=1)
    variable = t.add(14, "jiffies", long, 1)
    other = t.add(14, "ticks", long, 1)
    t.add(15, ".data", 24, *([other, 0, 8, variable, 8, 8] if second else [variable, 0, 8, other, 8, 8]), count=2)
    t.add(17, "tag", variable, 0xFFFFFFFF)
    t.add(18, "user", pointer)
    return t.section()


def split(second):
    # The kernel's numbers and offsets moved, some apart from the others.
    far = lambda n: n + (40 if second else 0) + (-300 if second and n > 700 else 0)
    t = Types(far(1000), far(20000))
    lead = lambda n: far(n)
    state = t.add(4, "module_state", 24, far(5000), lead(30), 0, t.name("own"), lead(600), 64, far(9001), lead(31), 128, count=3)
    pointer = t.add(2, "", state)
    names = ["init", "exit", "probe", "remove", "suspend", "resume"]
    for i, word in enumerate(names + ["reset"] * second):
        prototype = t.add(13, "", lead(2), far(5000 + 40 * i), pointer, far(9001), lead(700 + 7 * i), count=2)
        t.add(12, f"module_{word}", prototype, count=1)
    t.add(12, far(7000), lead(801), count=1)
    return t.section()


def main(version):
    second = version == "2"
    bodies = [whole(second), split(second), b"\0.BTF\0.shstrtab\0"]
    file, rows = b"", [b"\0" * 64]
    for body, (name, kind) in zip(bodies, [(1, 1), (1, 1), (6, 3)]):
        rows.append(struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, 64 + len(file), len(body), 0, 0, 1, 0))
        file += body + b"\0" * (-len(body) % 8)
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 64 + len(file), 0, 64, 0, 0, 64, len(rows), len(rows) - 1)
    sys.stdout.buffer.write(head + file + b"".join(rows))


main(*sys.argv[1:])
