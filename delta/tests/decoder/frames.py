"""Records of `.eh_frame`, as far as the bounds of functions and the models of the section need them.

Formats: Linux Standard Base Core 5.0, 10.6; DWARF 5, 6.4."""

from dataclasses import dataclass

from encoded import uleb
from machine.insn import signed
from models import M32, M64

PCREL_SDATA4 = 0x1B


@dataclass
class Cie:
    """What a CIE says of its FDEs."""

    pointer: int = 0
    lsda: int | None = None
    personality: tuple | None = None  # encoding, place
    code_factor: int = 0
    sized: bool = False


def cie(numbers, section, at):
    """The CIE whose length field is at a place, or None."""
    try:
        return _cie(numbers, section, at)
    except (ValueError, IndexError):
        return None


def _cie(numbers, section, at):
    word = numbers.word
    length = word(section, at)
    if length is None or at + 4 + length > len(section):
        return None
    record = section[: at + 4 + length]
    if word(record, at + 4) != 0 or record[at + 8] not in (1, 3):
        return None
    end = record.index(0, at + 9)
    letters, p = record[at + 9 : end], end + 1
    factor, p = uleb(record, p)
    _, p = uleb(record, p)
    _, p = uleb(record, p)
    found = Cie(code_factor=factor)
    if not letters:
        return found
    if letters[0] != ord("z"):
        return None
    found.sized = True
    _, p = uleb(record, p)
    for letter in letters[1:].decode("latin-1"):
        if letter in "SB":
            continue
        byte = record[p]
        if letter == "R":
            found.pointer = byte
        elif letter == "L":
            found.lsda = byte
        elif letter == "P":
            found.personality = (byte, p + 1)
            if byte & 15 not in (0, 4, 12, 3, 11):
                return None
            p += 8 if byte & 15 in (0, 4, 12) else 4
        else:
            return None
        p += 1
    return found


def records(numbers, section):
    """Places of the records, each with its end and the place of its CIE (None for a CIE), up to the terminator."""
    at, word = 0, numbers.word
    while True:
        length = word(section, at)
        if length in (None, 0, M32) or not 8 <= 4 + length <= len(section) - at:
            return
        end, name = at + 4 + length, word(section, at + 4)
        if name > at + 4:
            return
        yield at, end, at + 4 - name if name else None
        at = end


@dataclass
class Fde:
    start: int
    size: int
    has_lsda: bool  # the CIE says that there is a field for it
    lsda: int | None
    program: tuple  # place and end


def fde(numbers, section, at, end, addr, lsda):
    """An FDE of the modelled form, or None; `lsda` is the encoding in its CIE."""
    word = numbers.word
    if word(section[:end], at + 8) is None or word(section[:end], at + 12) is None or at + 16 >= end:
        return None
    start = addr + at + 8 + word(section, at + 8) & M32
    data = at + 17
    if section[data - 1] != (lsda.size if lsda else 0):
        return None
    target = None
    if lsda:
        try:
            target = lsda.read(section[:end], data, addr + data & M32)
        except ValueError:
            return None
        data += lsda.size
    return Fde(start, word(section, at + 12), lsda is not None, target, (data, end)) if data <= end else None


def fdes(numbers, section, addr):
    """Place, start and size of all FDEs whose CIE has the modelled encoding of pointers, in order."""
    for at, end, of in records(numbers, section):
        kind = cie(numbers, section, of) if of is not None else None
        if kind and kind.pointer == PCREL_SDATA4 and end >= at + 16:
            start = addr + at + 8 + signed(numbers.word(section, at + 8), 32) & M64
            yield at, start, numbers.word(section, at + 12)


def functions(numbers, section, addr):
    """Rule 7: bounds of functions, sorted, overlaps dropped in favour of the earlier one."""
    found, end = [], 0
    for start, size in sorted((start, size) for _, start, size in fdes(numbers, section, addr)):
        if size and start >= end and start + size < 1 << 64:
            found.append((start, size))
            end = start + size
    return found


