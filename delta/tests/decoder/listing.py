"""Units of the old file taken apart into tokens: instructions with their reference fields zeroed."""


class Listing:
    """The instructions of a unit from the one with index `first` on, which starts at `offset`, as far as walked."""

    def __init__(self, old, number, first=0, offset=0):
        unit = old.code.units[number]
        self.number, self.first, self.at = number, first, unit.at + offset
        self.data = old.data[unit.at + offset : unit.end]
        self.machine = old.machine.in_mode(unit.other_mode)
        self.scanner = self.machine.in_place()
        self.starts, self.tokens, self.shapes = [0], [], []

    def reach(self, index):
        """Walks on until there are more than so many instructions; False if the unit has not so many."""
        while len(self.tokens) <= index:
            p = self.starts[-1]
            if p >= len(self.data):
                return False
            here = self.at + p
            code = self.data[p : p + self.machine.window]
            insn, field = self.scanner.look(code, here)
            self.scanner.go_on(insn, code, here)
            token = bytearray(self.data[p : p + insn.len])
            if field:
                self.machine.blank(field, token)
            self.starts.append(p + insn.len)
            self.tokens.append(bytes(token))
            self.shapes.append(insn)
        return True

    def all(self):
        self.reach(1 << 32)
        return self


class Listings:
    """The listings of an old file: each unit once from its start, and walks into the middle of one."""

    def __init__(self, old):
        self.old, self.whole, self.starts = old, {}, {}

    def unit(self, number):
        if number not in self.whole:
            self.whole[number] = Listing(self.old, number).all()
        return self.whole[number]

    def place(self, number, index):
        """The offset of an instruction of a unit, or None; where nothing stands between them, pages do not matter."""
        starts = self.unit(number).starts
        return starts[index] if index + 1 < len(starts) else None


