"""Sections with a model of their own, a file for each kind (FORMAT.md, streams 7 to 12)."""

import gotable
from container import Damaged
from elf import ALLOC, DYNSYM, EXIDX, GNU_HASH, HASH, REL, RELA, STRTAB, SYMTAB, VERSYM

# Kinds of table, by number.
RELOCATIONS, FRAMES, FRAME_INDEX, EXCEPTIONS, SYMBOLS, NAMES, HASHES, VERSIONS, FUNCTIONS, INDEX, BTF, OBJECTS, PLACES, ORC = range(14)
PREDICTOR = 1
ORC_PLACES, ORC_ENTRIES = b".orc_unwind_ip", b".orc_unwind"
PATCHED = [b".return_sites", b".retpoline_sites", b".call_sites", b".smp_locks"]
ARM = 40


def any_row(elf, section):
    """Bytes of a row of a table of relocations; 0 for any other section."""
    words = {RELA: 3, REL: 2}.get(section.kind, 0)
    row = words * (8 if elf.is_64 else 4)
    return row if row and section.size % row == 0 and section.in_file else 0


def relocation_row(elf, section):
    """The same of a loaded one."""
    return any_row(elf, section) if section.flags & ALLOC else 0


def object_row(elf, section):
    """The same of one of an object."""
    return any_row(elf, section) if elf.is_object and not section.flags & ALLOC else 0


def candidate(elf, index):
    """The kind of table that a section of the new file could be, or None."""
    s = elf.sections[index]
    if not s.in_file:
        return None
    if relocation_row(elf, s):
        return RELOCATIONS
    if object_row(elf, s):
        return OBJECTS
    if s.kind == STRTAB and index != elf.names:
        return NAMES
    kinds = {SYMTAB: SYMBOLS, DYNSYM: SYMBOLS, HASH: HASHES, GNU_HASH: HASHES, VERSYM: VERSIONS}
    if s.kind in kinds:
        return kinds[s.kind]
    if elf.machine == ARM and s.kind == EXIDX and s.is_loaded and s.size % 8 == 0:
        return INDEX
    if not elf.is_object and s.is_loaded and s.size % 4 == 0 and s.name in [ORC_PLACES, *PATCHED]:
        return PLACES
    if not elf.is_object and s.is_loaded and s.name == ORC_ENTRIES:
        return ORC
    if gotable.section(elf) == index:
        return FUNCTIONS
    names = {b".eh_frame": FRAMES, b".eh_frame_hdr": FRAME_INDEX, b".gcc_except_table": EXCEPTIONS}
    found = None if elf.is_object else names.get(s.name)
    return BTF if s.name == b".BTF" else found


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
