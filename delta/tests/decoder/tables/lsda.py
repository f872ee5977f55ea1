"""The exception table of one function against the one of its old function (FORMAT.md, stream 10).

Formats: Itanium C++ ABI, "Exception Handling Tables"; except.c of GCC."""

from dataclasses import dataclass, field

from container import Damaged
from declared import Grammar
from encoded import OMIT, Encoding, put_sleb, put_uleb, sleb, uleb, uleb_len
from predict import Locals
from tables.sites import CallSite, Sites
from targets import Guess, Models
from targets import Site as TargetSite

ULEB, UDATA4 = 1, 3
LONGEST, STEPS_OF_BYTE, MOST_PADDING = 1 << 20, 64, 64
TYPE_SITE = 40


@dataclass
class Lsda:
    """A table of the usual form; the type table is in file order, so the last is that of filter 1."""

    types_encoding: int = 0
    sites_encoding: int = 0
    base_width: int = 0
    sites_width: int = 0
    sites: list = field(default_factory=list)
    actions: list = field(default_factory=list)
    padding: int = 0
    types: list = field(default_factory=list)
    specs: bytes = b""

    def put_sites(self, numbers):
        out = bytearray()
        for site in self.sites:
            for value in (site.start, site.end - site.start, site.pad):
                if self.sites_encoding == UDATA4:
                    out += numbers.put(value)
                else:
                    put_uleb(out, value & 0xFFFFFFFF)
            put_uleb(out, site.action)
        return out

    def put_actions(self):
        out = bytearray()
        for filter_, following in self.actions:
            put_sleb(out, filter_)
            put_sleb(out, following)
        return out

    def type_size(self, numbers):
        encoding = Encoding.of(self.types_encoding, numbers)
        return encoding.size if encoding else 0

    def emit(self, numbers):
        """The table, its types still zero; they depend on where it will stand."""
        sites, actions = self.put_sites(numbers), self.put_actions()
        types = bytes(self.padding + len(self.types) * self.type_size(numbers))
        out = bytearray([OMIT, self.types_encoding])
        if self.types_encoding != OMIT:
            width = max(self.sites_width, uleb_len(len(sites)))
            put_uleb(out, 1 + width + len(sites) + len(actions) + len(types), self.base_width)
        out.append(self.sites_encoding)
        put_uleb(out, len(sites), self.sites_width)
        return bytes(out + sites + actions + types + self.specs)

    def fill_types(self, out, addr, numbers):
        """Fills in the types of a table that ends at the end of `out` and stands at an address."""
        encoding = Encoding.of(self.types_encoding, numbers)
        if encoding is None:
            return
        length = len(self.emit(numbers))
        at = len(out) - len(self.specs) - len(self.types) * encoding.size
        for target in self.types:
            encoding.write(out, at, addr + at - (len(out) - length), target)
            at += encoding.size


def needed(actions, specs, steps):
    """Types and bytes of specifications that the actions need, and the steps left; ValueError if there are none."""
    types = specs_end = 0
    steps -= len(actions)
    for filter_, _ in actions:
        if filter_ >= 0:
            types = max(types, filter_)
            continue
        at = -(filter_ + 1)
        while True:
            steps -= 1
            if steps < 0:
                raise ValueError
            one, at = uleb(specs, at)
            if one == 0:
                break
            types = max(types, one)
        specs_end = max(specs_end, at)
    if steps < 0:
        raise ValueError
    return types, specs_end, steps


def read(data, addr, numbers):
    """The table at the start of `data` and its length, or None where it has not the usual form."""
    try:
        return _read(data[:LONGEST], addr, numbers)
    except (ValueError, IndexError):
        return None


def _read(data, addr, numbers):
    table, base, encoding, p = Lsda(), None, None, 2
    if data[0] != OMIT:
        return None
    table.types_encoding = data[1]
    if table.types_encoding != OMIT:
        encoding = Encoding.of(table.types_encoding, numbers)
        if encoding is None:
            return None
        value, p = uleb(data, 2)
        table.base_width, base = p - 2, p + value
        if base > len(data):
            return None
    table.sites_encoding = data[p]
    size, behind = uleb(data, p + 1)
    table.sites_width, p = behind - p - 1, behind
    end = p + size
    if end > len(data):
        return None
    while p < end:
        fields = []
        for i in range(4):
            if table.sites_encoding == UDATA4 and i < 3:
                value, p = numbers.word(data, p), p + 4
            elif table.sites_encoding in (ULEB, UDATA4):
                value, p = uleb(data, p)
            else:
                return None
            fields.append(value)
        start, size, pad, action = fields
        if None in fields or start + size > 0xFFFFFFFF:
            return None
        table.sites.append(CallSite(start, start + size, pad, action))
    if p != end:
        return None
    p = read_actions(table, data, p)
    specs = b"" if base is None else data[base:]
    types, specs_len, steps = needed(table.actions, specs, STEPS_OF_BYTE * len(data))
    if encoding:
        while True:
            start = base - types * encoding.size
            if start < p:
                return None
            if not any(data[p:start]):
                break
            # A record that no call site reaches.
            filter_, p = sleb(data, p)
            following, p = sleb(data, p)
            table.actions.append((filter_, following))
            types, specs_len, steps = needed(table.actions, specs, steps)
        table.padding = start - p
        for at in range(start, base, encoding.size):
            table.types.append(encoding.read(data, at, addr + at & 0xFFFFFFFF))
        table.specs, p = specs[:specs_len], base + specs_len
    elif types or specs_len:
        return None
    # Only what comes out again byte for byte.
    again = bytearray(table.emit(numbers))
    table.fill_types(again, addr, numbers)
    return (table, p) if data[:p] == again else None


def read_actions(table, data, start):
    """The action records that the call sites reach, and all before them."""
    end = start
    for site in table.sites:
        at = start + site.action - 1
        # Chains only lead back, to records that were there already.
        while site.action and at >= end:
            _, link = sleb(data, at)
            following, end = sleb(data, link)
            if following == 0:
                break
            at = link + following
            if at < 0:
                raise ValueError
    p = start
    while p < end:
        filter_, p = sleb(data, p)
        following, p = sleb(data, p)
        table.actions.append((filter_, following))
    return p


def nonsense():
    return Damaged("an exception table makes no sense")


class Coder:
    """Codes tables one after the other."""

    def __init__(self):
        self.world, self.m, self.sites = None, Grammar("tables/exceptions/lsda.rs"), Sites()
        self.target, self.last = Models(), 0

    def turn(self, world):
        """Another file begins."""
        self.world = world
        return self

    def code(self, s, view, landmarks, old, limit):
        m, numbers, limit = self.m, self.world.elf.numbers, min(limit, LONGEST)
        table = Lsda()
        self.last = table.types_encoding = m.types(s, was=old.types_encoding if old else 256, last=self.last)
        table.sites_encoding = m.sites(s, was=old.sites_encoding if old else 256)
        table.sites = self.sites.code(s, view, landmarks, old.sites if old else [], limit // 4)
        self.actions(s, old, table, limit)
        size = table.type_size(numbers)
        try:
            types, specs, _ = needed(table.actions, table.specs, STEPS_OF_BYTE * LONGEST)
        except ValueError:
            raise nonsense()
        if specs != len(table.specs) or types * size > limit or types and not size:
            raise nonsense()
        for i in range(types):
            # The last type is that of filter 1.
            has = old and types - i <= len(old.types)
            was = old.types[len(old.types) - (types - i)] if has else None
            if m.null(s, was=int(was is None) if has else 2, last=self.last):
                table.types.append(None)
                continue
            site = TargetSite(TYPE_SITE, 1, view.addr)
            table.types.append(self.world.targets.code(s, self.target, site, Guess(was), Locals()))
        self.widths(s, table, size)
        return table

    def actions(self, s, old, table, limit):
        m = self.m
        deepest = max((site.action for site in table.sites), default=0)
        small = min(deepest, 63)
        if old:
            was = max((site.action for site in old.sites), default=0)
            change, alike = (was < deepest) | (was > deepest) << 1, table.sites == old.sites
            if m.same(s, change=change, alike=alike, old=len(old.actions), deepest=small):
                table.actions, table.specs = list(old.actions), old.specs
                if len(table.actions) * 2 > limit:
                    raise nonsense()
                return
        count = m.count(s, was=min(len(old.actions), 0xFFFF) if old else 0, deepest=small)
        if count > limit // 2:
            raise nonsense()
        last = (0, 0)
        for i in range(count):
            filter_ = m.filter(s, before=last[0], i=i, deepest=small, last=self.last)
            last = (filter_, m.next(s, before=last[1], filter=filter_, i=i))
            if not all(-(1 << 31) <= value < 1 << 31 for value in last):
                raise nonsense()
            table.actions.append(last)
        least = min([0, *(action[0] for action in table.actions)])
        size, specs = m.specs(s, least=least), bytearray()
        if size > limit:
            raise nonsense()
        for _ in range(size):
            specs.append(m.spec(s, before=specs[-1] if specs else 0))
        table.specs = bytes(specs)

    def widths(self, s, table, size):
        """The widths of the two length fields, and the padding before the types: mostly what aligns them."""
        m, kind = self.m, table.types_encoding | table.sites_encoding << 8
        sites_len, actions_len = len(table.put_sites(self.world.elf.numbers)), len(table.put_actions())

        def width(least, wider):
            if not 1 <= least + wider <= 5:
                raise nonsense()
            return least + wider

        table.sites_width = width(uleb_len(sites_len), m.width(s, kind=kind))
        if table.types_encoding == OMIT:
            return
        rest = 1 + table.sites_width + sites_len + actions_len

        def aligned(base_width):
            return -(2 + base_width + rest) % 4

        def fits(w):
            return uleb_len(rest + aligned(w) + len(table.types) * size) <= w

        least, none = next((w for w in range(1, 5) if fits(w)), 5), not table.types
        table.base_width = width(least, m.base_width(s, kind=kind, none=none))
        usual = aligned(table.base_width)
        table.padding = usual + m.padding(s, usual=usual, kind=kind, none=none)
        if not 0 <= table.padding <= MOST_PADDING:
            raise nonsense()
