"""Trails: where the last instructions stood before, and what followed them there (FORMAT.md, "Trails")."""

from models import M32, digest, hash

OLD_GRAM, NEW_GRAM, OLD_BITS, NEW_BITS = 3, 2, 20, 18
LONG, RING, WORTH_AN_INDEX, LOOK_BACK = 8, 1 << 20, 1000, 32


def key(tokens):
    h = len(tokens)
    for token in tokens:
        h = hash((h << 7 | h >> 25) & M32, token)
    return h


class Trail:
    """A place that is followed: how many instructions in a row it got right (0: it is none), and what it expects."""

    def __init__(self):
        self.hits, self.expected, self.len, self.at = 0, bytes(16), 0, 0


class Told:
    """The new code so far, and where the last two tokens of a key ended in it."""

    def __init__(self):
        self.ring, self.written, self.seen = bytearray(RING), 0, {}


class Recall:
    def __init__(self, old, listings, told):
        self.data, self.code, self.listings, self.told = old.data, old.code, listings, told
        self.machine, self.index, self.starts = None, None, [told.written] * OLD_GRAM
        self.literals, self.old, self.new = 0, Trail(), Trail()

    def index_old(self):
        """Every three instructions of the old file by the upper bits of their key, with its lowest byte."""
        self.index = {}
        for number in range(len(self.code.units)):
            listing = self.listings.unit(number)
            digests = [digest(token) for token in listing.tokens]
            for k in range(OLD_GRAM, len(digests) + 1):
                h = key(digests[k - OLD_GRAM : k][::-1])
                self.index[h >> 32 - OLD_BITS] = (listing.at + listing.starts[k - OLD_GRAM], h & 255)

    def new_code(self, at, size=16):
        at %= RING
        return bytes((self.told.ring[at : at + size] + self.told.ring[:size])[:size])

    def tokens(self):
        """Digests of the last instructions, newest first."""
        digests, end = [], self.told.written
        for start in self.starts:
            digests.append(digest(self.new_code(start, min(end - start, 16))))
            end = start
        return digests

    def go_on(self, masked, repeated):
        """Goes past an instruction, which is old code that is repeated, or new."""
        for trail in (self.new, self.old):
            right = trail.hits and trail.expected.startswith(masked)
            if trail is self.old and trail.len != len(masked):
                right = False
            trail.hits = trail.hits + 1 if right else 0
            trail.at += len(masked)
        if self.old.hits:
            self.foresee_old()
        self.starts = [self.told.written, *self.starts[:-1]]
        for i, byte in enumerate(masked):
            self.told.ring[(self.told.written + i) % RING] = byte
        self.told.written += len(masked)
        self.find_new(repeated)

    def find_new(self, repeated):
        before, here = 0, self.told.written
        if not repeated:
            slot = key(self.tokens()[:NEW_GRAM]) >> 32 - NEW_BITS
            before = self.told.seen.get(slot, 0)
            self.told.seen[slot] = here
        if not self.new.hits and before and here - before < RING - 2 * LOOK_BACK:
            alike = 0
            while alike < min(LOOK_BACK, before):
                if self.told.ring[(before - 1 - alike) % RING] != self.told.ring[(here - 1 - alike) % RING]:
                    break
                alike += 1
            if alike >= here - self.starts[NEW_GRAM - 1]:
                self.new.hits, self.new.at = NEW_GRAM + alike // 16, before
        if self.new.hits:
            self.new.expected = self.new_code(self.new.at)

    def foresee_old(self):
        code = self.data[self.old.at : self.old.at + 16]
        insn, field = self.machine.scanner().look(code, 0)
        expected = bytearray(code.ljust(16, b"\0"))
        if field:
            self.machine.blank(field, expected)
        self.old.expected, self.old.len = bytes(expected), insn.len
        if not insn.len:
            self.old.hits = 0

    def likely(self, scanner, room):
        """The instruction that a long trail expects, and how long the trail is; or None."""
        trail = self.old if self.old.hits >= self.new.hits else self.new
        if trail.hits < LONG:
            return None
        insn, field = scanner.look(trail.expected, 0)
        if insn.len > room or not insn.known:
            return None
        expected = bytearray(trail.expected[: insn.len])
        if field:
            self.machine.blank(field, expected)
        return bytes(expected), trail.hits

    def find(self):
        """Before a literal: finds where in the old file the last instructions stand, unless a trail is followed."""
        self.literals += 1
        if self.literals == WORTH_AN_INDEX:
            self.index_old()
        if self.old.hits or self.index is None:
            return
        h = key(self.tokens())
        place, check = self.index.get(h >> 32 - OLD_BITS, (0, 0))
        if not place or check != h & 255:
            return
        scanner, p = self.machine.scanner(), 0
        code = bytearray(self.data[place : place + 16 * OLD_GRAM])
        ends = [self.told.written, *self.starts]
        for k in reversed(range(OLD_GRAM)):
            insn, field = scanner.look(bytes(code[p:]), p)
            scanner.go_on(insn, bytes(code[p:]), p)
            token = bytearray(code[p : p + insn.len])
            if field:
                self.machine.blank(field, token)
            if not insn.len or bytes(token) != self.new_code(ends[k + 1], ends[k] - ends[k + 1]):
                return
            p += insn.len
        self.old.hits, self.old.at = OLD_GRAM, place + p
        self.foresee_old()
