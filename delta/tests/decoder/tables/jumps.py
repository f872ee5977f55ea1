"""Jump tables: distances to places in the function that refers to them (FORMAT.md, stream 7)."""

from bisect import bisect_right

from container import Damaged
from models import M32, hash
from targets import Guess, Models, Site

ENTRY, FEWEST, MOST, SITE = 4, 2, 1 << 14, 40


class Jumps:
    def __init__(self, world):
        self.world, self.done, self.m = world, set(), world.kept.grammar("tables/jumps.rs")
        self.targets = world.kept.lend("jumps", Models)

    @staticmethod
    def limit(addresses, base, others):
        """The end of what a table may reach: its section, or the next of the addresses that the function refers to."""
        r = addresses.range_of(base)
        if base % ENTRY or r is None or r.offset is None:
            return None
        following = bisect_right(others, base)
        return min([r.addr + r.len, *others[following : following + 1]])

    def old_entries(self, pointer, olds, view):
        """Targets of the entries of the old table, as far as they lie in the old function."""
        old, out = self.world.old, []
        if pointer.old is None or view.source is None:
            return out
        limit = self.limit(old.addresses, pointer.old, olds)
        start, origin = view.source_addr(), pointer.old if pointer.old_origin is None else pointer.old_origin
        if limit is None or start is None:
            return out
        for k in range(min(max(limit - pointer.old, 0) // ENTRY, MOST)):
            at = old.addresses.offset(pointer.old + k * ENTRY)
            if at is None or at + 4 > len(old.data):
                break
            target = origin + old.elf.numbers.word(old.data, at) & M32
            if (target - start & M32) >= view.source.size:
                break
            out.append(target)
        return out if len(out) >= FEWEST else []

    def unit(self, s, view, made):
        """The tables of one unit."""
        world = self.world
        news = sorted(p.new for p in view.pointers)
        olds = sorted(p.old for p in view.pointers if p.old is not None)
        for pointer in view.pointers:
            if not world.is_generic(pointer.new) or pointer.new in self.done:
                continue
            limit = self.limit(world.addresses, pointer.new, news)
            if limit is None:
                continue
            old = self.old_entries(pointer, olds, view)
            if old:
                count = len(old) + self.m.count(s)
            elif pointer.old is None and self.m.present(s, head=pointer.head):
                count = self.m.fresh(s)
            else:
                continue
            if not 0 <= count <= min((limit - pointer.new) // ENTRY, MOST):
                raise Damaged("a jump table is too long")
            self.done.add(pointer.new)
            table = self.entries(s, view, pointer, old, count)
            at = world.addresses.offset(pointer.new)
            if table and at is not None:
                made.known.append((at, table))

    def entries(self, s, view, pointer, old, count):
        out, last = bytearray(), None
        for k in range(count):
            was, repeats = old[k] if k < len(old) else None, 0 < k < len(old) and old[k] == old[k - 1]
            local = last
            if was is not None:
                local = view.project(was - view.source_addr())
                local = None if local is None else view.addr + local
            same = was is not None
            head = hash(9, same + 2 * repeats + 4 * view.unit.unchanged)
            site = Site(SITE, head, pointer.new, (view.addr, view.unit.size), pointer.index, same)
            last = self.world.targets.code(s, self.targets, site, Guess(None, local, True), view.locals)
            out += self.world.elf.numbers.put(last - pointer.origin)
        return bytes(out)
