"""Parts of symbol names that a rebuild changes although the name is the same (FORMAT.md, "Tokens")."""

import re

LONGEST, HEX, DIGITS = 64, 16, 9


def find(name):
    """The tokens of a name, in order, as (start, end)."""
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
