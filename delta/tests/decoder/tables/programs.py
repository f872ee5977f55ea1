"""Call frame instructions of one function: the old ones with their places projected, and what differs (stream 9)."""

from container import Damaged
from encoded import put_uleb, uleb
from models import M32
from tables.cfa import ADVANCE, CFA_OFFSET, LONGEST, advance, operands, strip

REPLACE, INSERT, SKIP, END = range(4)
SWAPS = 16


class State:
    """What is known while a program is told step by step."""

    def __init__(self):
        self.here, self.before = 0, (0, 0)
        # Offset of the frame from the stack pointer, and its highest value so far.
        self.offset = self.highest = 0
        self.last, self.kept = [0] * 16, []

    def note(self, opcode):
        self.before = (opcode, self.before[0])

    def go_on(self, op):
        """Goes past an instruction that is no advance."""
        opcode = op[0]
        try:
            first, behind = uleb(op, 1)
        except ValueError:
            first, behind = 0, 1
        self.last[group(opcode)] = first
        if opcode == 0x0A:
            self.kept.append(self.offset)
        elif opcode == 0x0B and self.kept:
            self.offset = self.kept.pop()
        elif opcode == CFA_OFFSET:
            self.offset = first
        elif opcode == 0x0C:
            try:
                self.offset = uleb(op, behind)[0]
            except ValueError:
                self.offset = 0
        self.highest = max(self.highest, self.offset)
        self.note(opcode)


def group(opcode):
    """The class of an opcode."""
    return 15 if 0x80 <= opcode < 0xC0 else opcode & 15


class Programs:
    def __init__(self, m):
        self.m, self.history = m, 0

    def code(self, s, view, landmarks, distances, old):
        """The program of a unit without `nop`s at its end, and the length of the old one, also without."""
        unchanged, h, guess, guessed, old_len = view.unit.unchanged, self.history, [], b"", None
        if old is not None and len(old) > LONGEST:
            old = None
        if old is not None:
            old, ops = strip(old, distances)
            guess = self.predict(view, ops, distances)
            guessed, old_len = self.put(guess, distances), len(old)
            hit = self.m.whole(s, unchanged=unchanged, h=h, count=len(guess))
            self.history = h << 1 | (not hit)
            if hit:
                return guessed, old_len
            if old != guessed and self.m.old(s, unchanged=unchanged):
                return old, old_len
        if self.m.raw(s):
            return self.raw(s), old_len
        landmarks.fill()
        return self.steps(s, landmarks, distances, guess), old_len

    def raw(self, s):
        """A program that goes as bytes."""
        size = self.m.length(s)
        if size > LONGEST:
            raise Damaged("a frame program is too long")
        return self.bytes(s, size)

    def bytes(self, s, size):
        out, last = bytearray(), (0, 0)
        for _ in range(size):
            out.append(self.m.byte(s, last=last))
            last = (out[-1], last[0])
        return bytes(out)

    @staticmethod
    def predict(view, ops, distances):
        """The old instructions, their places projected."""
        guess, here = [], 0
        for op in ops:
            if op.place is not None:
                place = view.project(op.place)
                if place is None or place <= here:
                    continue
                here = place - (place - here) % distances.unit
                op = op.to(here)
            guess.append(op)
        return guess

    @staticmethod
    def put(guess, distances):
        out, here = b"", 0
        for op in guess:
            if op.place is None:
                out += op.data
            else:
                out += advance(distances.numbers, (op.place - here) // distances.unit, op.wide)
                here = op.place
        return out

    def steps(self, s, landmarks, distances, guess):
        """A program against the guess, instruction by instruction."""
        state, out, i, history, swaps = State(), bytearray(), 0, 0, []
        while True:
            op = guess[i] if i < len(guess) else None
            opcode = 256 if op is None else op.data[0] if op.place is None else ADVANCE
            if op:
                dead = op.place is not None and op.place <= state.here
                same = self.m.same(s, opcode=opcode, dead=dead, history=history, before=state.before)
                history = (history << 1 | (not same)) & M32
                if same:
                    out += self.guessed(state, op, distances, swaps)
                    i += 1
                    if len(out) > LONGEST:
                        raise Damaged("a frame program is too long")
                    continue
            step = self.m.step(s, opcode=opcode, history=history, before=state.before)
            if step == END:
                break
            if step != SKIP:
                made = self.fresh(s, landmarks, distances, opcode, step, state)
                out += made
                if step == REPLACE and op and opcode == CFA_OFFSET == made[0]:
                    swaps = [(was, to) for was, to in swaps if was != op.data][: SWAPS - 1]
                    swaps.insert(0, (op.data, made))
            i += step != INSERT
            if i > len(guess) or len(out) > LONGEST:
                raise Damaged("a frame program makes no sense")
        return bytes(out)

    @staticmethod
    def guessed(state, op, distances, swaps):
        """The guessed instruction; a frame that grew or shrank did so throughout."""
        if op.place is None:
            data = dict(reversed(swaps)).get(op.data, op.data)
            state.go_on(data)
            return data
        if op.place < state.here:
            raise Damaged("a frame program makes no sense")
        distance, state.here = op.place - state.here, op.place
        state.note(ADVANCE)
        return advance(distances.numbers, distance // distances.unit, op.wide)

    def fresh(self, s, landmarks, distances, guess, step, state):
        """An instruction that the guess does not have."""
        m, before = self.m, state.before
        at_body = state.offset == state.highest
        opcode = m.opcode(s, before=before, step=step, guess=guess, at_body=at_body, last=state.last[15])
        if opcode == ADVANCE:
            return self.advance(s, landmarks, distances, state)
        form = operands(opcode)
        if form is None:
            raise Damaged("a frame program makes no sense")
        numbers, block = form
        out = bytearray([opcode])
        for k in range(numbers + block):
            key = opcode | k << 8
            if opcode == CFA_OFFSET or opcode == 0x0C and k == 1:
                below = state.highest - state.offset
                value = state.offset + m.offset(s, key=key, below=below, offset=state.offset, before=before)
            else:
                value = m.operand(s, key=key, last=state.last[group(opcode)], offset=state.offset, before=before)
            if not 0 <= value <= M32:
                raise Damaged("a frame program makes no sense")
            put_uleb(out, value)
            if k == numbers:
                if value > LONGEST:
                    raise Damaged("a frame program makes no sense")
                out += self.bytes(s, value)
        state.go_on(bytes(out))
        return bytes(out)

    def advance(self, s, landmarks, distances, state):
        """An advance: to behind a landmark, else by its distance."""
        m, before, distance, wide, factor = self.m, state.before, None, 0, distances.unit
        form = m.escape(s, before=before)
        if form == 0:
            events = list(landmarks.events(landmarks.first(state.here)))
            for passed, (k, role) in enumerate(events):
                following = events[passed + 1][1] if passed + 1 < len(events) else 0
                below = state.highest - state.offset
                if m.walk(s, role=role, next=following, passed=passed, below=below, before=before):
                    distance = (landmarks.starts[k + 1] - state.here) // factor
                    break
        else:
            distance = m.distance(s, before=before)
        if form == 2:
            wide = m.width(s) & 255
        if distance is None or distance > M32 or state.here + distance * factor > M32:
            raise Damaged("a frame program makes no sense")
        state.here += distance * factor
        state.note(ADVANCE)
        return advance(distances.numbers, distance, wide)
