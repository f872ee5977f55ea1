"""`.gnu.hash` and `.hash`: computed from the symbols, given the few numbers that the linker chose (stream 11)."""

from container import Damaged
from elf import HASH
from models import M32


def words(numbers, values, width=4):
    return b"".join(numbers.put(value, width) for value in values)


def gnu_hash(name):
    h = 5381
    for byte in name:
        h = h * 33 + byte & M32
    return h


def system_v_hash(name):
    h = 0
    for byte in name:
        h = (h << 4) + byte & M32
        h = (h ^ h >> 24 & 0xF0) & 0x0FFFFFFF
    return h


def gnu(numbers, head, names):
    """The table of these names, or None where the numbers are out of all proportion."""
    buckets, first, size, shift = head
    count, bits = len(names), 8 * numbers.width
    if not buckets or not size or max(buckets, size) > 4 * count + 1024 or first > count or shift > 31:
        return None
    bloom, heads, chain, last = [0] * size, [0] * buckets, [], None
    for i, name in list(enumerate(names))[first:]:
        h = gnu_hash(name)
        bloom[h // bits % size] |= 1 << h % bits | 1 << (h >> shift) % bits
        if h % buckets != last:
            if chain:
                chain[-1] |= 1
            heads[h % buckets] = i
        last = h % buckets
        chain.append(h & ~1)
    if chain:
        chain[-1] |= 1
    return words(numbers, head) + words(numbers, bloom, bits // 8) + words(numbers, heads + chain)


def system_v(numbers, head, names):
    """The table that a linker makes which adds symbols in order."""
    buckets, count = head[0], len(names)
    if not buckets or buckets > 4 * count + 1024 or head[1] != count:
        return None
    heads, chain = [0] * buckets, [0] * count
    for i in range(1, count):
        bucket = system_v_hash(names[i]) % buckets
        chain[i], heads[bucket] = heads[bucket], i
    return words(numbers, head[:2] + heads + chain)


def code(s, world, names, section):
    """One table, given the names of the symbols that it finds."""
    numbers = world.elf.numbers
    m, old, header = world.kept.grammar("tables/hash.rs"), world.old_bytes(section), world.elf.sections[section]
    head = []
    for i in range(4):
        was = world.old.elf.numbers.word(old, 4 * i) or 0
        head.append(min(max(was + m.word(s, i=i), 0), M32))
    table = (system_v if header.kind == HASH else gnu)(numbers, head, names)
    if table is None or len(table) != header.size:
        raise Damaged("a hash table does not fit its symbols")
    return table
