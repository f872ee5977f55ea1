"""Models of symbols and of bytes (FORMAT.md, "Models" and "The byte model")."""

M32 = 0xFFFFFFFF
M64 = (1 << 64) - 1


def hash(seed, part):
    x = (seed ^ part * 0x9E3779B1) * 0x85EBCA6B & M32
    return x ^ x >> 15


def digest(data):
    """A hash of at most 16 bytes."""

    def mix(x):
        return (x ^ x >> 29) * 0x9E3779B97F4A7C15 & M64

    data = bytes(data)
    width = 8 if len(data) >= 8 else 4 if len(data) >= 4 else 0
    first, last = int.from_bytes(data, "big"), 0
    if width:
        first, last = int.from_bytes(data[:width], "little"), int.from_bytes(data[-width:], "little")
    return mix(mix(first ^ len(data) << 56 & M64) ^ last) >> 32


def _squash_table():
    bound, one, step = 3071, 1 << 48, 282576638621015
    table, power = [0] * (2 * bound + 1), one
    for i in range(bound + 1):
        p = min(max(65536 * one // (one + power), 1), 65535)
        table[bound - i], table[bound + i] = p, 65536 - p
        power = power * step >> 48
    return table


SQUASH = _squash_table()


def squash(x):
    return SQUASH[min(max(x, -3071), 3071) + 3071]


def _stretch_table():
    table, x = [], 0
    for i in range(4096):
        while x < 2 * 3071 and SQUASH[x] < i * 16 + 8:
            x += 1
        table.append(x - 3071)
    return table


STRETCH = _stretch_table()


def stretch(p):
    return STRETCH[p >> 4 & 4095]


SHARES = [131072 // (2 * n + 3) for n in range(1024)]


class Counter:
    """A probability of 22 bits and a count, up to a limit."""

    __slots__ = ("p", "count")

    def __init__(self, p=1 << 21):
        self.p, self.count = p, 0

    def learn(self, bit, limit):
        target = (1 << 22) - 1 if bit else 0
        self.p += (target - self.p) * SHARES[self.count] >> 16
        self.count += self.count < limit


class Model:
    """Counters for each context of one kind of symbol, mixed."""

    def __init__(self, bits, limit, contexts):
        self.bits, self.limit, self.contexts = bits, limit, contexts
        self.slots, self.weights, self.trained = {}, {}, {}
        self.first = 65536 if contexts == 1 else 65536 * 14 // (10 * contexts)

    def code(self, coder, contexts, node, which):
        assert len(contexts) == self.contexts
        which &= 127
        counters = []
        for i, context in enumerate(contexts):
            spread = (context ^ (node + (i << 24)) * 0x9E3779B1 & M32) * 0xC2B2AE35 & M32
            counters.append(self.slots.setdefault(spread >> 32 - self.bits, Counter()))
        weights = self.weights.setdefault(which, [self.first] * self.contexts)
        inputs = [stretch(c.p >> 6) for c in counters]
        p = squash(sum(i * w for i, w in zip(inputs, weights)) >> 16)
        bit = coder.bit(p)
        if self.contexts > 1:
            trained = self.trained.get(which, 0)
            rate = 12 + min(trained >> 6, 4)
            self.trained[which] = min(trained + 1, 1 << 15)
            error = (bit << 16) - p
            for i, x in enumerate(inputs):
                weights[i] += x * error >> rate
        for c in counters:
            c.learn(bit, self.limit)
        return bit


RARER, BOUNDS = 6, [20, 48, 15, 8, 6, 5]


def _states_of(n0, n1):
    more, fewer = max(n0, n1), min(n0, n1)
    if fewer >= RARER or more > BOUNDS[fewer]:
        return 0
    return 2 if fewer > 0 and more + fewer <= 17 else 1


def _after(same, other):
    a, b = same + 1, other if other <= 5 else min(other - 1, 7)
    while not _states_of(a, b):
        more, fewer = max(a, b), min(a, b)
        more, fewer = (more - 1, fewer) if fewer < 2 else ((more * (fewer - 1) + fewer // 2) // fewer, fewer - 1)
        a, b = (fewer, more) if a < b else (more, fewer)
    return a, b


def _histories():
    number, seen = {}, [(0, 0)] * 256
    for total in range(50):
        for n1 in range(total + 1):
            n0 = total - n1
            states = _states_of(n0, n1)
            if states:
                at = len(number) and max(max(pair) for pair in number.values()) + 1
                number[n0, n1] = (at, at + states - 1)
                seen[at] = seen[at + states - 1] = (n0, n1)
    following = [(0, 0)] * 256
    for (n0, n1), states in number.items():
        zeros, ones = _after(n0, n1), _after(n1, n0)[::-1]
        for state in states:
            following[state] = (number[zeros][0], number[ones][1])
    return following, seen


NEXT, SEEN = _histories()
CONTEXTS, RUNS, GUESSES = 7, 3, 3


def wrap32(x):
    return (x + (1 << 31) & M32) - (1 << 31)


class ByteModel:
    """Bytes under seven contexts, three runs and three guesses from outside; `bits` is the size of its lines."""

    def __init__(self, bits):
        self.lines = 1 << bits - 6
        self.slots, self.runs = {}, {}
        expected = [Counter((2 * n1 + 1) * ((1 << 22) - 1) // (2 * (n0 + n1) + 2)) for n0, n1 in SEEN]
        self.histories = [[self.copy(c) for c in expected] for _ in range(CONTEXTS)]
        self.rights, self.by_class, self.by_node = {}, {}, {}

    @staticmethod
    def copy(counter):
        return Counter(counter.p)

    def slot(self, key):
        """The slot of a key: its check byte, then 15 histories from index 1."""
        line = self.slots.setdefault((key >> 8) % self.lines, [[0] * 16 for _ in range(4)])
        check = key & 255
        for slot in line:
            if slot[0] == check:
                return slot
        least = min(line, key=lambda slot: slot[1])
        least[:] = [check] + [0] * 15
        return least

    def run(self, key):
        """The entry of a run: check, byte, count."""
        check, first = key >> 16, (key ^ key >> 15) & (1 << 18) - 1
        entries = [self.runs.setdefault(at, [0, 0, 0]) for at in (first, first ^ 1)]
        for entry in entries:
            if entry[0] == check:
                return entry
        least, most = entries if entries[0][2] <= entries[1][2] else entries[::-1]
        most[2] -= most[2] > 0
        least[:] = [check, 0, 0]
        return least

    def code(self, coder, contexts, runs, guesses, kind):
        keys = []
        for i, context in enumerate(contexts):
            key = hash(context, i) * 0x9E3779B1 & M32
            keys.append(key ^ key >> 15)
        entries, guesses = [], list(guesses)
        for r, run in enumerate(runs):
            entries.append(self.run(hash(run, 256 + r) * 0x9E3779B1 & M32))
            # As it is found: finding the next may change it.
            guesses.append((entries[r][1], entries[r][2]))
        standing = [g for g, (_, confidence) in enumerate(guesses) if confidence]
        node = 1
        for half in range(2):
            if half:
                spread = node * 0x9E3779B1 & M32
                keys = [key ^ spread >> 24 ^ (spread >> 10 & 0x3F00) for key in keys]
            # Contexts that share a slot learn each for itself, and the last one's histories stay.
            found = [(slot, slot[:]) for slot in map(self.slot, keys)]
            slots = [copy for _, copy in found]
            inner = 1
            for depth in range(half * 4, half * 4 + 4):
                counters = [self.histories[i][slot[inner]] for i, slot in enumerate(slots)]
                inputs = [stretch(c.p >> 6) for c in counters] + [0] * 6 + [256]
                rights = {}
                for g in standing:
                    byte, confidence = guesses[g]
                    right = self.rights.setdefault((g, confidence & 63, depth), Counter(3 << 20))
                    one = byte >> 7 - depth & 1
                    rights[g] = (right, one)
                    x = stretch(right.p >> 6)
                    inputs[CONTEXTS + g] = x if one else -x
                agreeing = sum(1 << g for g in standing if g < GUESSES)
                a = self.by_class.setdefault((kind & 63, agreeing), [(1 << 27) // 10] * 16)
                b = self.by_node.setdefault(node & 255, [(1 << 27) // 10] * 16)
                total = 0
                for x, wa, wb in zip(inputs, a, b):
                    total = wrap32(total + x * (wrap32(wa + wb) >> 16))
                p = squash(total >> 11)
                bit = coder.bit(p)
                error = (bit << 16) - p >> 2
                error = (error + (1 << 15) & 0xFFFF) - (1 << 15)
                if abs(error) >= 256:
                    for i, x in enumerate(inputs):
                        step = x * error >> 3
                        a[i], b[i] = wrap32(a[i] + step), wrap32(b[i] + step)
                for i, c in enumerate(counters):
                    c.learn(bit, 255)
                    slots[i][inner] = NEXT[slots[i][inner]][bit]
                for right, one in rights.values():
                    right.learn(bit == one, 255)
                standing = [g for g in standing if rights[g][1] == bit]
                node, inner = node << 1 | bit, inner << 1 | bit
            for slot, copy in found:
                slot[1:] = copy[1:]
        byte = node & 255
        for entry in entries:
            if entry[2] and entry[1] == byte:
                entry[2] += entry[2] < 60
            elif entry[2] >= 4:
                entry[2] //= 4
            else:
                entry[1:] = [byte, 1]
        return byte
