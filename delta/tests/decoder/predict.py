"""What old addresses are in the new file: the static projection, the learned map, labels (FORMAT.md, "Prediction")."""

from bisect import bisect_left, bisect_right
from heapq import heappop, heappush

from machine.insn import JUMP, RETURN, TRAP
from models import M32

LEADERS, LABELLED, OTHERS, ANY = range(4)


class Projection:
    """The static projection: spans of old address, new address, length; 0 is the first address of a unit."""

    def __init__(self, spans):
        # Of the spans that reach an address the start of a unit counts, then the longest, then what begins first.
        cuts = sorted({at for old, _, size in spans for at in (old, old + max(size, 1))})
        spans, reach, following = sorted(spans), [], 0
        self.starts, self.spans = [], []
        for at, end in zip(cuts, cuts[1:]):
            while following < len(spans) and spans[following][0] <= at:
                old, new, size = spans[following]
                heappush(reach, (-(size or 1 << 32), old, new, old + max(size, 1)))
                following += 1
            while reach and reach[0][3] <= at:
                heappop(reach)
            if reach:
                _, old, new, _ = reach[0]
                self.starts.append(at)
                self.spans.append((at, new + at - old & M32, end - at))

    def nearest(self, old):
        return self.spans[max(bisect_right(self.starts, old) - 1, 0)]

    def project(self, old):
        start, new, size = self.nearest(old) if self.spans else (0, 0, 0)
        return new + old - start & M32 if 0 <= old - start < size else None

    def loose(self, old):
        """The same, or else the distance from the nearest span before it."""
        start, new, _ = self.nearest(old) if self.spans else (0, 0, 0)
        return new + old - start & M32


class Learned:
    """What was last seen of an old target."""

    def __init__(self, target):
        self.target = self.previous = target
        self.confidence = 0

    def learn(self, new):
        if new == self.target:
            self.confidence = min(self.confidence + 1, 3)
        else:
            self.previous, self.target, self.confidence = self.target, new, 0


def look(machine, insn, code):
    """What an instruction looks like, operands left out; never 0."""
    fold = machine.look(insn, code)
    return (fold ^ fold >> 16) & 0xFFFF | 1


def at(index):
    """An instruction as the origin of a label: those below the first number lie back, from the second on ahead."""
    return index + 1, index + 1


class Locals:
    """The instruction starts of a unit, as leaders, labels and others."""

    def __init__(self):
        self.starts, self.heads, self.leader, self.labelled = [], [], [], []
        self.sources, self.last = {}, None

    def fill(self, machine, code, shapes):
        leader, start = False, 0
        for insn in shapes:
            self.starts.append(start)
            self.leader.append(leader)
            self.labelled.append(False)
            self.heads.append(look(machine, insn, code[start : start + 16]))
            leader = insn.flow in (JUMP, RETURN, TRAP)
            start += insn.len

    def index(self, start):
        i = bisect_left(self.starts, start)
        return i if i < len(self.starts) and self.starts[i] == start else None

    def holder(self, offset):
        """Index of the instruction that holds an offset."""
        return max(bisect_right(self.starts, offset) - 1, 0)

    def mark(self, start, source=None):
        """Something jumps to an instruction; `source` is which one, if it stands in the unit."""
        index = self.index(start)
        if index is not None:
            self.labelled[index] = True
            if source is not None:
                self.last = index
                self.sources.setdefault(index, source)

    def home(self, index):
        """The jump that leads to the block of an instruction, going by the nearest label, or None."""
        label = next(self.candidates(at(index), LABELLED, True), None)
        return self.sources.get(label)

    def beyond_short(self, index):
        """The instruction as an origin without all that a jump of one byte would reach from it."""
        start = self.starts[index] if index < len(self.starts) else 0
        end = self.starts[index + 1] if index + 1 < len(self.starts) else M32 - 127
        return bisect_left(self.starts, start - 126), bisect_right(self.starts, end + 127)

    def holds(self, group, i):
        if group == LEADERS:
            return self.leader[i] and not self.labelled[i]
        if group == LABELLED:
            return self.labelled[i]
        return group == ANY or not self.leader[i] and not self.labelled[i]

    def is_open(self, index):
        """Only jumps reach it and none is known to."""
        return index < len(self.starts) and self.holds(LEADERS, index)

    def looks(self, index):
        """What an instruction looks like, and the one before it."""
        heads = self.heads
        return heads[index] if index < len(heads) else 0, heads[index - 1] if 0 < index <= len(heads) else 0

    def candidates(self, origin, group, back):
        """The instructions that class and direction leave, nearest first."""
        places = reversed(range(min(origin[0], len(self.starts)))) if back else range(origin[1], len(self.starts))
        return (i for i in places if self.holds(group, i))

    def resolve(self, origin, group, back, rank):
        """The start of the candidate of a rank, or None."""
        for i in self.candidates(origin, group, back):
            if rank == 0:
                return self.starts[i]
            rank -= 1
        return None
