"""Sections with a model of their own, a file for each kind (FORMAT.md, streams 7 to 12)."""

import gotable
from container import Damaged
from elf import ALLOC, DYNSYM, EXIDX, GNU_HASH, HASH, REL, RELA, STRTAB, SYMTAB, VERSYM

# Kinds of table, by number.
RELOCATIONS, FRAMES, FRAME_INDEX, EXCEPTIONS, SYMBOLS, NAMES, HASHES, VERSIONS, FUNCTIONS, INDEX, BTF = range(11)
PREDICTOR = 1
ARM = 40


def relocation_row(elf, section):
    """Bytes of a row of a loaded table of relocations; 0 for any other section."""
    words = {RELA: 3, REL: 2}.get(section.kind, 0)
    row = words * (8 if elf.is_64 else 4)
    whole = row and section.size % row == 0
    return row if whole and section.in_file and section.flags & ALLOC else 0


def candidate(elf, index):
    """The kind of table that a section of the new file could be, or None."""
    s = elf.sections[index]
    if not s.in_file:
        return None
    if relocation_row(elf, s):
        return RELOCATIONS
    if s.kind == STRTAB and index != elf.names:
        return NAMES
    kinds = {SYMTAB: SYMBOLS, DYNSYM: SYMBOLS, HASH: HASHES, GNU_HASH: HASHES, VERSYM: VERSIONS}
    if s.kind in kinds:
        return kinds[s.kind]
    if elf.machine == ARM and s.kind == EXIDX and s.is_loaded and s.size % 8 == 0:
        return INDEX
    if gotable.section(elf) == index:
        return FUNCTIONS
    names = {b".eh_frame": FRAMES, b".eh_frame_hdr": FRAME_INDEX, b".gcc_except_table": EXCEPTIONS, b".BTF": BTF}
    return names.get(s.name)


class Choices:
    """Which sections are modelled."""

    def __init__(self, s, m, elf):
        self.of = {}
        for index in range(len(elf.sections)):
            table = candidate(elf, index)
            if table is None:
                continue
            predictor = m.predictor(s, table=table)
            if predictor > PREDICTOR:
                raise Damaged("the predictor of a table is unknown")
            if predictor:
                self.of[index] = table

    def sections(self, table):
        return [index for index, kind in self.of.items() if kind == table]
