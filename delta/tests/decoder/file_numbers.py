"""How a file writes its numbers: how wide addresses are, and in which order bytes stand (FORMAT.md, rule 1)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Numbers:
    is_64: bool = True
    order: str = "little"

    @property
    def width(self):
        """Bytes of an address."""
        return 8 if self.is_64 else 4

    def get(self, data):
        """The number in all of some bytes."""
        return int.from_bytes(data, self.order)

    def word(self, data, at=0):
        """The word of four bytes at a place, or None."""
        return self.get(data[at : at + 4]) if at + 4 <= len(data) else None

    def put(self, value, size=4):
        """The lowest bytes of a number."""
        return (value & (1 << 8 * size) - 1).to_bytes(size, self.order)
