"""Parts of symbol names that a rebuild changes although the name is the same (FORMAT.md, "Tokens")."""

import re

LONGEST, HEX, DIGITS = 64, 16, 9


def is_counted(name):
    """The tokens of a name are numbers, each of which moves as far as the last one did."""
    return name.startswith(b"__UNIQUE_ID_")


def is_behind_dot(name, span):
    return name[: span[0]].endswith(b".")


def numbers(name):
    """The number that ends a counted name, and one before that if there is a dot between them."""
    spans, end = [], len(name)
    while len(spans) < 2:
        span = number(name[:end])
        if span is None or span[1] != end:
            break
        spans.insert(0, span)
        if not is_behind_dot(name, span):
            break
        end = span[0] - 1
    return spans


class Map:
    """What tokens of old names became, and how far numbers of counted names moved: the last, and that behind a dot."""

    def __init__(self):
        self.learned, self.shifts = {}, [None, None]

    def get(self, name, span):
        """What a token of an old name becomes, or None."""
        if not is_counted(name):
            return self.learned.get(name[slice(*span)])
        shift = self.shifts[is_behind_dot(name, span)]
        moved = -1 if shift is None else int(name[slice(*span)]) + shift
        return b"%d" % moved if moved >= 0 else None

    def learn(self, old, was, new, now):
        if not is_counted(old):
            self.learned[old[slice(*was)]] = new[slice(*now)]
        elif is_counted(new):
            self.shifts[is_behind_dot(old, was)] = int(new[slice(*now)]) - int(old[slice(*was)])


def find(name):
    """The tokens of a name, in order, as (start, end)."""
    if is_counted(name):
        return numbers(name)
    v0, spans, at = name.startswith(b"_R"), [], 0
    while at < len(name):
        if v0 and name.startswith(b"Cs", at):
            to = re.compile(rb"[0-9A-Za-z]*").match(name, at + 2).end()
            at += 2
            to = to if name[to : to + 1] == b"_" else at
        elif name.startswith(b".llvm.", at):
            at += 6
            to = re.compile(rb"[0-9]*").match(name, at).end()
        elif name[at : at + 1] in HEXADECIMAL and not (at and is_word(name, at - 1)):
            to = re.compile(rb"[0-9a-f]*").match(name, at).end()
            if to - at < HEX:
                at = to
                continue
        else:
            at += 1
            continue
        if 0 < to - at <= LONGEST:
            spans.append((at, to))
        at = max(to, at)
    return spans


HEXADECIMAL = {bytes([byte]) for byte in b"0123456789abcdef"}


def is_word(name, at):
    """The byte before a run of digits makes it part of a word."""
    return name[at : at + 1].isalnum() and not name[: at + 1].endswith(b"17h")


def number(name):
    """The last number of a name that is no token, as (start, end), or None."""
    dot = name.rfind(b".")
    if dot >= 0 and name[:dot].endswith(b".llvm"):
        name = name[:dot]
    runs = list(re.finditer(rb"[0-9]+", name))
    if not runs:
        return None
    start, end = runs[-1].span()
    counts = end - start <= DIGITS and (name[start : start + 1] != b"0" or end - start == 1)
    return (start, end) if counts else None


def ends_in_number(name):
    """The name may be one of a series."""
    span = number(name)
    return span is not None and (span[1] == len(name) or name.startswith(b".llvm.", span[1]))


def is_numbered_like(a, b):
    """Two names differ in nothing but their number."""
    x, y = number(a), number(b)
    return x is not None and y is not None and a[: x[0]] == b[: y[0]] and a[x[1] :] == b[y[1] :]


def back_reference(name, at, end):
    """The next `B<base 62>_` from `at` on: where the digits begin, and the end behind the underscore."""
    while True:
        at = name.find(b"B", at, end)
        if at < 0:
            return None
        at += 1
        to = re.compile(rb"[0-9A-Za-z]*").match(name, at, end).end()
        if to < end and name[to : to + 1] == b"_" and to - at <= 4:
            return at, to + 1


DIGITS_62 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def base_62(digits):
    value = 0
    for digit in digits:
        value = value * 62 + DIGITS_62.index(digit)
    return value + 1 if digits else 0


def put_base_62(value):
    if value == 0:
        return b""
    value, out = value - 1, b""
    while True:
        out = DIGITS_62[value % 62 : value % 62 + 1] + out
        value //= 62
        if value == 0:
            return out


def replace(old, spans, tokens):
    """A name with its tokens replaced, and the back references of Rust v0 following what moved."""
    moved = old.startswith(b"_R") and any(len(t) != b - a for t, (a, b) in zip(tokens, spans))
    # Where old positions went; back references count bytes behind `_R`.
    out, places, start = bytearray(), [], 0
    for (a, b), token in [*zip(spans, tokens), ((len(old), len(old)), b"")]:
        places.append((start, len(out)))
        while moved and (found := back_reference(old, start, a)):
            at, end = found
            out += old[start:at]
            target = base_62(old[at : end - 1]) + 2
            was, now = next((p for p in reversed(places) if p[0] <= target), (0, 0))
            out += put_base_62(max(target - was + now - 2, 0)) + b"_"
            places.append((end, len(out)))
            start = end
        out += old[start:a] + token
        start = b
    return bytes(out)
