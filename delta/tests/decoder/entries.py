"""Where functions of 32-bit ARM begin that no table lists: symbols, unwind indices, relocations, calls (rule 7)."""

from bisect import bisect_left

from elf import DYNSYM, EXECINSTR, EXIDX, REL, RELA, SYMTAB
from machine.arm import BRANCH24, EXCHANGE24, EXCHANGE25, JUMP24
from machine.insn import CALL, signed, word
from models import M32

ROUNDS = 2
FUNCTION = 2


def of_object(old):
    """Bounds and modes of the functions of an object: its symbols say them."""
    elf, found = old.elf, []
    size = 24 if elf.is_64 else 16
    for table in (s for s in elf.sections if s.kind == SYMTAB and s.in_file):
        for at in range(table.offset, table.end - size + 1, size):
            number = lambda place, width: elf.numbers.get(old.data[at + place : at + place + width])
            places = ((4, 1), (6, 2), (8, 8), (16, 8)) if elf.is_64 else ((12, 1), (14, 2), (4, 4), (8, 4))
            info, section, value, length = (number(*place) for place in places)
            s = elf.sections[section] if section < len(elf.sections) else None
            if info & 15 != FUNCTION or not s or not s.flags & EXECINSTR or not s.in_file or not s.is_loaded:
                continue
            odd = value & 1 if old.machine.modes else 0
            if 0 < length <= s.size - (value - odd) and value <= s.size:
                found.append((s.addr + value - odd, length, bool(odd)))
    apart, end = [], 0
    for addr, length, mode in sorted(found, key=lambda f: (f[0], -f[1], f[2])):
        if addr >= end:
            apart.append((addr, length, mode))
            end = addr + length
    return apart


def functions(old):
    """Bounds and modes of functions, ascending."""
    elf, addresses = old.elf, old.addresses

    def executable(addr):
        r = addresses.range_of(addr)
        return r is not None and r.offset is not None and elf.sections[r.section].flags & EXECINSTR

    seeds = [seed for s in elf.sections if s.in_file for seed in seeds_of(old, s) if executable(seed[0])]
    known, mode, entries = {}, False, {}
    # What is known of an address comes before what is not.
    for addr, is_thumb in sorted(seeds, key=lambda seed: (seed[0], seed[1] is None)):
        known.setdefault(addr, is_thumb)
    mode = next((m for m in known.values() if m is not None), False)
    for addr, is_thumb in known.items():
        mode = mode if is_thumb is None else is_thumb
        entries[addr] = mode
    found = []
    for r in addresses.ranges:
        if r.offset is not None and executable(r.addr):
            code = old.data[r.offset : r.offset + r.len]
            for _ in range(ROUNDS):
                called = sweep(old.machine, code, r.addr, sorted(entries.items()))
                for target, is_thumb in called:
                    if target % (2 if is_thumb else 4) == 0 and executable(target):
                        entries.setdefault(target, is_thumb)
            found.append((r.addr, code))
    return [bounds for begin, code in found for bounds in cut(begin, code, entries)]


def cut(begin, code, entries):
    """Each function ends where the next one begins, or before a Thumb `nop` there."""
    end = begin + len(code)
    starts = sorted(addr for addr in entries if begin <= addr < end)
    for addr, after in zip(starts, [*starts[1:], end]):
        body = code[addr - begin : after - begin]
        padded = len(body) > 2 and after < end and body.endswith(b"\x00\xbf")
        yield addr, after - addr - (2 if padded else 0), entries[addr]


def seeds_of(old, s):
    """What one section says of where code is: addresses, each with its mode or None."""
    size = {SYMTAB: 16, DYNSYM: 16, REL: 8, EXIDX: 8, RELA: 12}.get(s.kind)
    for at in range(s.offset, s.end - size + 1, size) if size else ():
        row = old.data[at : at + size]
        if s.kind in (SYMTAB, DYNSYM):
            if row[12] & 15 == 2 and row[14:16] != b"\0\0":
                yield marked(word(row, 4))
        elif s.kind == EXIDX:
            here = s.addr + at - s.offset
            yield here + signed(word(row), 31) & M32 & ~1, None
        elif word(row, 4) == old.machine.relative:
            held = word(row, 8)
            if s.kind == REL:
                place = old.addresses.offset(word(row))
                held = None if place is None else word(old.data, place)
            if held is not None:
                yield marked(held)


def marked(addr):
    return addr & ~1, bool(addr & 1)


def sweep(machine, code, addr, entries):
    """The targets of calls in code, walked from entry to entry, each with its mode."""
    following, found, p = bisect_left(entries, (addr,)), [], 0
    # Before the first entry, it is read as what that one is.
    mode = (entries[following] if following < len(entries) else entries[0])[1] if entries else False
    while p < len(code):
        if following < len(entries) and entries[following][0] == addr + p:
            mode, following = entries[following][1], following + 1
        until = len(code)
        if following < len(entries):
            until = min((entries[following][0] - addr) & M32, until)
        one = machine.in_mode(mode)
        scanner = one.in_place()
        while p < until:
            piece = code[p : min(p + one.window, until)]
            insn, field = scanner.look(piece, addr + p)
            if insn.flow == CALL and field:
                target = one.read(field.kind, piece, field.at, insn.len, field.origin)
                if field.kind in (BRANCH24, JUMP24):
                    found.append((target, mode))
                elif field.kind in (EXCHANGE25, EXCHANGE24):
                    found.append((target, not mode))
            scanner.go_on(insn, piece, addr + p)
            p += insn.len
    return found
