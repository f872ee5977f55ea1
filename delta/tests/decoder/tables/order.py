"""The order of records in a section: as their old ones stood, or by address (FORMAT.md, "Orders")."""

from container import Damaged
from declared import Grammar

RUNS = 16


class Order:
    """Items by their groups; `old_order` tells the item, or None, at each place of the old order."""

    def __init__(self, groups, old_order):
        self.m = Grammar("tables/order.rs")
        # For each item the next one by address in its group, and the first item of each group.
        self.near, self.heads = [None] * len(groups), {}
        for item in reversed(range(len(groups))):
            self.near[item] = self.heads.get(groups[item])
            self.heads[groups[item]] = item
        self.old_of, self.at_old = {}, []
        for item in old_order:
            if item is not None and item not in self.old_of and item < len(groups):
                self.old_of[item] = len(self.at_old)
                self.at_old.append(item)
            else:
                self.at_old.append(None)
        self.placed, self.last, self.cursor, self.left, self.history = set(), 0, 0, [], 0
        self.link = 0

    def follower(self, cursor):
        """The first record not placed behind a place of the old order."""
        ahead = self.at_old[cursor:]
        return next((item for item in ahead if item is not None and item not in self.placed), None)

    def linked(self, link):
        """The first record not placed of those that follow by address in one group."""
        while link is not None and link < len(self.near) and link in self.placed:
            link = self.near[link]
        return link if link is not None and link < len(self.near) else None

    def neighbour(self):
        return self.linked(self.link)

    def enter(self, group):
        self.link = self.heads.get(group)

    def step_over(self, place):
        """A place in the old order that holds no item."""
        self.cursor = place + 1

    def next(self, s):
        follower, neighbour, h = self.follower(self.cursor), self.neighbour(), self.history
        state = (follower == neighbour) | (neighbour in self.old_of) << 1 | (neighbour is not None) << 2
        item = None
        if follower is not None:
            hit = self.m.follows(s, state=state, h=h)
            self.history = h << 1 | (not hit)
            item = follower if hit else None
        if item is None and neighbour not in (None, follower) and self.m.near(s, state=state, h=h):
            item = neighbour
        if item is None:
            item = self.elsewhere(s, state, self.last if neighbour is None else neighbour)
        if item is None or not 0 <= item < len(self.near) or item in self.placed:
            raise Damaged("records are out of order")
        self.placed.add(item)
        self.last, self.link = item, self.near[item]
        self.cursor = self.old_of.get(item, self.cursor - 1) + 1
        return item

    def elsewhere(self, s, state, base):
        """An item of a run that was left before, or any."""
        ways = []
        for k in reversed(range(len(self.left))):
            link, cursor = self.left[k]
            ways += [(k, self.follower(cursor)), (k, self.linked(link))]
        way = self.m.run(s, state=state, many=len(ways))
        if way:
            if way > len(ways):
                return None
            k, item = ways[way - 1]
            del self.left[k]
        else:
            item = base + self.m.jump(s, state=state)
        if len(self.left) == RUNS:
            del self.left[0]
        self.left.append((self.link, self.cursor))
        return item
