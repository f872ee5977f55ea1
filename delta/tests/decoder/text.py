"""The code of each new unit without its references: repeat, replace, insert, go elsewhere (FORMAT.md, streams 3, 4)."""

from dataclasses import dataclass
from types import SimpleNamespace

import literal
from container import Damaged
from listing import Listing, Listings
from models import M32, digest, hash
from recall import Recall, Told

REPLACE, INSERT, GO_NEAR, GO_FAR = range(4)
HINT_REACH = 16


@dataclass
class Run:
    """New code that lines up with old code, by file offsets; of one that is not `same`, the old instruction."""

    new_at: int
    old_at: int
    len: int
    same: bool


class Body:
    """The code of one unit: runs by new offsets, and for all that is not in a *same* run its bytes."""

    def __init__(self):
        self.runs, self.literals, self.data = [], bytearray(), {}

    def join(self, run):
        last = self.runs[-1] if self.runs else None
        alike = last and last.same and last.new_at + last.len == run.new_at
        if alike and last.old_at + last.len == run.old_at:
            last.len += run.len
        else:
            self.runs.append(run)


def segments(units, count):
    """Units cut into so many runs that tell about as much code each."""
    told = [0 if u.unchanged else u.size for u in units]
    cut, done, to = [], 0, 0
    for k in range(1, count + 1):
        first = to
        while to < len(units) and (done < sum(told) * k // count or k == count):
            done += told[to]
            to += 1
        cut.append(units[first:to])
    return cut


class Text:
    """One segment."""

    def __init__(self, old, ops, literals, kept):
        self.old, self.ops, self.literals = old, ops, literals
        self.m, self.lm = kept.grammar("text/ops.rs"), kept.lend("literals", literal.Models)
        self.listings = Listings(old)
        self.recall, self.last_far, self.far = Recall(old, self.listings, kept.lend("told", Told)), (0, 0), None

    def unit(self, unit):
        body = Body()
        if unit.unchanged:
            body.runs.append(Run(unit.at, self.old.code.units[unit.source].at, unit.size, True))
            return body
        edit = Edit(self, unit, body)
        while edit.p < unit.size:
            edit.step()
        return body

    def load_far(self, number, index):
        """Turns the far listing to an instruction of a unit; False if there is none."""
        if number >= len(self.old.code.units):
            raise Damaged("it copies from a function that is not there")
        machine, far = self.old.machine.in_mode(self.old.code.units[number].other_mode), self.far
        lead = machine.lead_in
        usable = far and far.number == number
        if not usable or not far.first + min(lead, index) <= index < far.first + len(far.tokens):
            first = max(index - lead, 0)
            offset = self.listings.place(number, first)
            if offset is None:
                return False
            self.far = Listing(self.old, number, first, offset)
        return self.far.reach(index - self.far.first)


class Edit:
    """One unit that is not unchanged."""

    def __init__(self, text, unit, body):
        self.text, self.unit, self.body = text, unit, body
        self.machine = text.recall.machine = text.old.machine.in_mode(unit.other_mode)
        self.near = None
        if unit.source is not None:
            self.near = text.listings.unit(unit.source)
            text.last_far = (unit.source, 0)
        # Whether in the far unit, and the next instruction there.
        self.cursor = (False, 0) if self.near else None
        self.home = self.hint = self.since = self.history = self.p = 0
        self.forced, self.scanner, self.before = False, self.machine.scanner(), literal.History(unit.at)

    def listing(self, far):
        return self.text.far if far else self.near

    def step(self):
        """One instruction."""
        s, m = self.text.ops, self.text.m
        while True:
            here = SimpleNamespace(far=False, head=0, look=0)
            if self.cursor:
                far, index = self.cursor
                token = self.listing(far).tokens[index]
                here = SimpleNamespace(far=far, head=hash(token[0], len(token)), look=digest(token))
                if self.forced or m.same(s, h=self.history, here=here, before=self.before):
                    self.forced = False
                    self.history = self.history << 2 & M32
                    return self.repeat(far, index)
            # Without an instruction at the cursor an insertion is what is expected.
            there, room = INSERT if self.cursor is None else REPLACE, self.unit.size - self.p
            op = m.kind(s, h=self.history, here=here, before=self.before, there=there, room=room)
            self.history = (self.history << 2 | 1 + (op & 1) + (op >= GO_NEAR)) & M32
            if op == REPLACE:
                if not self.cursor:
                    raise Damaged("it replaces an instruction that is not there")
                return self.spell(*self.cursor)
            if op == INSERT:
                return self.spell()
            (self.go_near if op == GO_NEAR else self.go_far)()
            self.forced = True

    def go_near(self):
        from_far = int(self.cursor is None or self.cursor[0])
        followed, since = min(self.hint - self.home, 15), min(self.since, 15)
        near = self.text.m.near(
            self.text.ops, h=self.history, before=self.before, from_far=from_far, followed=followed, since=since
        )
        index = self.hint + near
        if not self.near or not 0 <= index < len(self.near.tokens):
            raise Damaged("it goes past its old function")
        self.cursor, self.since = (False, index), 0

    def go_far(self):
        s, m = self.text.ops, self.text.m
        last_unit, last_at = self.text.last_far
        unit = last_unit + m.far_unit(s, h=self.history)
        again = unit == last_unit
        index = (last_at if again else 0) + m.far_at(s, h=self.history, again=again)
        if unit < 0 or index < 0 or not self.text.load_far(unit, index):
            raise Damaged("it copies from past a function")
        self.text.last_far = (unit, index)
        self.cursor = (True, index - self.text.far.first)

    def repeat(self, far, index):
        listing = self.listing(far)
        token, shape = listing.tokens[index], listing.shapes[index]
        if len(token) > self.unit.size - self.p:
            raise Damaged("an instruction reaches past its function")
        if self.text.literals.modelled or self.text.ops.modelled:
            self.before.go_on(self.machine, token, shape)
        self.scanner.go_on(shape, token, self.p)
        self.mark(shape.data)
        if self.text.literals.modelled:
            self.text.recall.go_on(token, True)
        self.advance()
        self.body.join(Run(self.unit.at + self.p, listing.at + listing.starts[index], len(token), True))
        self.p += len(token)

    def spell(self, far=None, index=None):
        """A literal instruction, which replaces the one at the cursor if that is given."""
        text, replaces, old_at = self.text, far is not None, None
        if text.literals.modelled:
            text.recall.find()
        if replaces:
            listing = self.listing(far)
            partner, old_at = listing.tokens[index], listing.at + listing.starts[index]
        else:
            hinted = self.near and self.hint < len(self.near.tokens)
            partner = self.near.tokens[self.hint] if hinted else b""
        room = self.unit.size - self.p
        around = literal.Around(self.machine, self.scanner, self.before, text.recall, partner, replaces, room)
        token, kind = literal.instruction(text.literals, text.lm, around)
        shape = self.machine.data(kind) if kind else self.machine.decode(token)
        shape = shape or self.machine.decode(token)
        if text.literals.modelled or text.ops.modelled:
            self.before.go_on(self.machine, token, shape)
        if text.literals.modelled:
            text.recall.go_on(token, False)
        self.scanner.go_on(shape, token, self.p)
        self.mark(kind)
        self.body.literals += token
        if replaces:
            self.advance()
            self.body.runs.append(Run(self.unit.at + self.p, old_at, len(token), False))
        else:
            self.follow(token)
        self.p += len(token)

    def mark(self, kind):
        if kind:
            self.body.data[self.unit.at + self.p] = kind

    def advance(self):
        """The cursor goes on."""
        if not self.cursor:
            return
        far, index = self.cursor[0], self.cursor[1] + 1
        if far:
            self.since += 1
            more = self.text.far.reach(index)
        else:
            self.home = self.hint = index
            self.since = 0
            more = index < len(self.near.tokens)
        self.cursor = (far, index) if more else None

    def follow(self, token):
        """Goes past the instruction of the mapped unit that an inserted one looks like."""
        self.since += 1
        if not self.near:
            return
        near, end = self.near, min(len(self.near.tokens), self.hint + HINT_REACH)
        found = next((i for i in range(self.hint, end) if near.tokens[i] == token), None)
        if found is None:
            wanted = self.machine.opcode(token, self.machine.decode(token))
            end = min(end, self.hint + HINT_REACH // 2)
            alike = (i for i in range(self.hint, end) if self.machine.opcode(near.tokens[i], near.shapes[i]) == wanted)
            found = next(alike, None)
        if found is not None:
            self.hint = found + 1
