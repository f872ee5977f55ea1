"""The references of the code, unit by unit: old bytes and literals in, new bytes out (FORMAT.md, stream 6)."""

from bisect import bisect_right
from dataclasses import dataclass

from container import Damaged
from machine.insn import open_away, unfilled
from models import M32, M64
from predict import Locals
from targets import Guess, Site


@dataclass
class Pointer:
    """A reference from code to an address that may be data; entries of a jump table there count from the origin."""

    new: int
    old: int | None
    origin: int
    old_origin: int | None
    index: int
    head: int


def widen(origin, target):
    """The 64-bit address with these low 32 bits that is nearest to where a field counts from."""
    away = target - origin & M32
    return origin + (away - (1 << 32) if away >> 31 else away) & M64


class UnitCode:
    """A unit of the new file: its bytes as they become final, and what its tables ask of it."""

    def __init__(self, old, unit, addr, body, in_object):
        self.in_object, self.away = in_object, 0  # how far the last open field was from zero
        self.old, self.unit, self.addr, self.runs = old, unit, addr, body.runs
        self.machine = old.machine.in_mode(unit.other_mode)
        self.source = None if unit.source is None else old.code.units[unit.source]
        self.bytes = self.gather(body)
        self.base = bytes(self.bytes)
        self.shapes = self.shape(body)
        self._locals, self.pointers = Locals(), []
        self.by_old = [] if unit.unchanged else sorted(self.runs, key=lambda r: r.old_at)
        self.old_starts = [r.old_at for r in self.by_old]
        if not unit.unchanged:
            self._locals.fill(self.machine, self.bytes, self.shapes)

    def gather(self, body):
        """Old bytes where they are repeated, literals elsewhere; references still old."""
        out, literals = bytearray(), body.literals
        runs = [r for r in self.runs if r.same]
        used = 0
        for run in [*runs, None]:
            until = self.unit.end if run is None else run.new_at
            n = until - self.unit.at - len(out)
            out += literals[used : used + n]
            used += n
            if run:
                out += self.old.data[run.old_at : run.old_at + run.len]
        if len(out) != self.unit.size:
            raise Damaged("code runs past its function")
        return out

    def shape(self, body):
        """The unit's instructions, and the data between them."""
        machine, shapes, p = self.machine, [], 0
        walk = place = None
        if machine.has_data and self.unit.unchanged:
            walk, place = machine.in_place(), self.old.code.addr(self.source.at)
        while p < self.unit.size:
            code = bytes(self.bytes[p : p + machine.window])
            kind = body.data.get(self.unit.at + p, 0)
            insn = machine.data(kind) if kind else None
            if walk:
                insn = walk.look(code, place + p)[0]
                walk.go_on(insn, code, place + p)
            elif insn is None or p + insn.len > self.unit.size:
                insn = machine.decode(code)
            shapes.append(insn)
            p += insn.len
        return shapes

    @property
    def locals(self):
        if not self._locals.starts:
            self._locals.fill(self.machine, self.bytes, self.shapes)
        return self._locals

    def references(self, s, m, targets):
        """Codes all references of the unit."""
        targets.machine = self.machine
        scanner, old_scanner = self.machine.in_place(), self.machine.in_place()
        p = run = 0
        for index, insn in enumerate(self.shapes):
            at, here = self.unit.at + p, self.addr + p
            while run < len(self.runs) and self.runs[run].new_at + self.runs[run].len <= at:
                run += 1
            code = self.window(p)
            field = scanner.field(insn, code, here)
            if field or self.machine.has_context:
                source = self.runs[run] if run < len(self.runs) and self.runs[run].new_at <= at else None
                same = bool(source and source.same)
                old_at = source.old_at + (at - source.new_at if same else 0) if source else None
                old = self.old_target(old_scanner, old_at, p if same else None, insn)
                if field:
                    self.reference(s, m, targets, index, p, field, old_at, old, same)
            scanner.go_on(insn, self.window(p), here)
            p += insn.len

    def window(self, p):
        return bytes(self.bytes[p : p + self.machine.window])

    def old_target(self, scanner, old_at, p, insn):
        """Where the reference of the old instruction leads, what it counts from, and whether it is open (0 not known, 1, 2);
        `p` is where it was repeated."""
        addr = None if old_at is None else self.old.code.addr(old_at)
        if addr is None:
            return None, None, 0
        machine = self.machine
        code = self.old.data[old_at : old_at + 16] if p is None else self.base[p : p + self.machine.window]
        insn = machine.decode(code) if p is None else insn
        field = scanner.field(insn, code, addr)
        target, origin, was = None, None, 0
        if field:
            away = open_away(machine, field, code, insn.len, addr) if self.in_object else None
            was = 0 if not self.in_object else 1 if away is None else 2
            self.away = self.away if away is None else away
            target = machine.read(field.kind, code, field.at, insn.len, field.origin)
            target, origin = (None if a > M32 else a for a in (target, field.origin))
        scanner.go_on(insn, code, addr)
        return target, origin, was

    def reference(self, s, m, targets, index, p, field, old_at, old, same):
        machine, insn, addr = self.machine, self.shapes[index], self.addr
        uses = machine.uses(field.kind)
        head = machine.site(bytes(self.bytes[p : p + insn.len]), field)
        site = Site(field.kind, head, addr + p, (addr, self.unit.size), index, same, uses.long_form)
        guess = self.guess(old_at, old[0]) if uses.direct else Guess(old[0])
        target = None
        if self.unit.unchanged and guess.local is not None:
            target = guess.local
        elif self.in_object and m.open(s, site=site, was=old[2]):
            target = unfilled(machine, field, self.window(p), insn.len) + self.away & M32
        if target is None:
            target = targets.code(s, m, site, guess, self._locals)
        if uses.data:
            origins = (field.origin & M32, old[1]) if uses.counted else (target, old[0])
            self.pointers.append(Pointer(target, old[0], *origins, index, head))
        machine.write(field, self.bytes, p, insn.len, machine.address(widen(field.origin, target)))

    def guess(self, old_at, target):
        """Where a target inside the old unit is in the new one, if it is inside."""
        section = None if old_at is None else self.old.code.section_at(old_at)
        if section is None or target is None:
            return Guess(target)
        target_at = section.at + (target - section.addr & M32) & M32
        old_unit = self.source
        if old_unit is None or not old_unit.at <= old_at < old_unit.end:
            index = self.old.code.unit_at(old_at)
            if index is None:
                return Guess(target)
            old_unit = self.old.code.units[index]
        if not old_unit.at <= target_at < old_unit.end:
            return Guess(target)
        if self.unit.unchanged:
            return Guess(None, self.addr + target_at - old_unit.at, True)
        run = self.run_at(target_at)
        local = None
        if run and target_at - run.old_at < run.len:
            local = self.addr + run.new_at + target_at - run.old_at - self.unit.at & M32
            local = local if (local - self.addr & M32) < self.unit.size else None
        return Guess(target, local, True, (target_at, old_unit.end))

    def run_at(self, old_at):
        """The last run, by old offsets, that begins at or before one."""
        after = bisect_right(self.old_starts, old_at)
        return self.by_old[after - 1] if after else None

    def source_addr(self):
        return None if self.source is None else self.old.code.addr(self.source.at)

    def project(self, offset):
        """Where an offset of the old unit is in the new one, or None."""
        if self.source is None or offset > self.source.size:
            return None
        if self.unit.unchanged:
            return offset if offset <= self.unit.size else None
        if offset == self.source.size:
            return self.unit.size
        old_at = self.source.at + offset
        run = self.run_at(old_at)
        if run is None:
            return None
        shift = old_at - run.old_at
        at = run.new_at + (shift if shift < run.len or run.same else run.len) - self.unit.at
        return at if at <= self.unit.size else None

    def line_up(self, offset):
        """The same, held inside the instruction that lines up, and whether one does; or None."""
        if self.source is None or offset >= self.source.size:
            return None
        if self.unit.unchanged:
            return (offset, True) if offset < self.unit.size else None
        old_at = self.source.at + offset
        run = self.run_at(old_at)
        if run is None or run.old_at < self.source.at:
            return None
        shift = old_at - run.old_at
        at = run.new_at + (shift if run.same else min(shift, max(run.len - 1, 0))) - self.unit.at
        held = shift < (run.len if run.same else 16)
        return (at, held) if 0 <= at < self.unit.size else None


