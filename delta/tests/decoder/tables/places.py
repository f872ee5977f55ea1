"""Places in an old table where the new one may go on: runs of old rows come interleaved (FORMAT.md, "Runs of rows")."""

KEPT, STEPS = 8, 64


def unused(at, used):
    """The first row from one on that is not used, if it is near."""
    return next((j for j in range(at, at + STEPS) if not used(j)), at)


class Places:
    """The next row of the current run, and of those that were left for it."""

    def __init__(self):
        self.expected, self.kept = 0, []

    def left(self, used):
        """The next rows of the interrupted runs, the last one first."""
        return [unused(at, used) for at in reversed(self.kept)]

    def go(self, source, used):
        """Goes on behind a row."""
        if source != self.expected:
            back = [k for k, at in enumerate(self.kept) if source in (at, unused(at, used))]
            if back:
                del self.kept[back[0]]
            elif len(self.kept) == KEPT:
                del self.kept[0]
            self.kept.append(self.expected)
        self.expected = source + 1
