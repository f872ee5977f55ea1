"""The data of Go's functions: bytes against what the old function had, and inline trees row by row."""

from container import Damaged
from gotable import INLINE_TREE, NONE, i32
from models import M32
from tables.go.builder import ELSEWHERE

STACK_OBJECTS, WRAPPED = 2, 7


class Data:
    """Part of `Functions`: what is told of the data of a function."""

    def data(self, s, kind, subject):
        """One piece of a function's data: its place, or None."""
        old_at = subject.old.data[kind] if subject.old and kind < len(subject.old.data) else NONE
        column, old = min(kind, 15), old_at != NONE
        if not self.m.has_data(s, column=column, old=old, state=subject.state):
            return None
        if not self.frame.with_data:
            return self.elsewhere(s, column, old_at)
        blob = self.old.blobs.get(old_at) if old and self.old else None
        if kind == INLINE_TREE:
            subject.list_starts()
            group, rows, names = self.tree(s, subject, blob)
            content = bytearray(rows)
            for i, name in enumerate(names):
                content[16 * i + 4 : 16 * i + 8] = self.numbers.put(name)
            return self.builder.add_blob(group, bytes(content), indexed=False)
        content = self.renewed(s, kind, column, subject.state, blob)
        return self.place(s, column, old_at, content, blob)

    def elsewhere(self, s, column, old_at):
        """The position of data that stand in another section."""
        old, known = old_at != NONE, self.moved.get(old_at)
        if not old:
            guess = self.last_data
        elif known is not None:
            guess = known
        else:
            guess = self.map.loose(old_at + self.module[0] & M32) - self.module[1] & M32
        hit = self.m.elsewhere(s, column=column, known=known is not None, old=old, h=self.missed)
        self.missed = (self.missed << 1 | (not hit)) & M32
        at = guess
        if not hit:
            # What differs from the map differs alike for a while.
            if not self.m.again(s, column=column, h=self.missed):
                self.last_away = self.m.position(s, column=column)
            at = guess + self.last_away & M32
        if old:
            self.moved[old_at] = at
        self.last_data = at
        return ELSEWHERE, at

    def renewed(self, s, kind, column, state, blob):
        """The bytes of data against the old ones with their addresses moved."""
        guess = bytearray(blob.content) if blob else bytearray()
        places = {STACK_OBJECTS: range(20, len(guess), 16), WRAPPED: range(0, min(len(guess), 1))}.get(kind, ())
        was, now = self.data_bases if kind == STACK_OBJECTS else self.texts
        for at in places:
            if at + 4 <= len(guess):
                old = self.old_word(guess, at) + was & M32
                new = self.masks[old] if old in self.masks else self.map.loose(old)
                guess[at : at + 4] = self.numbers.put(new - now)
        hit = blob is not None and self.m.same(s, column=column, state=state, h=self.history)
        content = bytes(guess) if hit else self.content(s, kind, column, bytes(guess))
        if blob and kind == STACK_OBJECTS and not hit:
            for at in range(20, min(len(blob.content), len(content)) - 3, 16):
                self.masks[self.old_word(blob.content, at) + was & M32] = self.numbers.word(content, at) + now & M32
        return content

    def content(self, s, kind, column, guess):
        m, size, out = self.m, len(guess), bytearray()
        size += m.len(s, column=column, guessed=len(guess))
        if not 0 <= size <= self.room:
            raise Damaged("Go's data is too long")
        while len(out) < size:
            at = len(out)
            if kind in (STACK_OBJECTS, WRAPPED) and size - at >= 4:
                phase, old = column << 4 | (8 if at < 8 else at // 4 & 3), at < len(guess)
                value = self.numbers.word(guess, at) or 0
                if not m.word_hit(s, phase=phase, old=old):
                    value += m.word(s, phase=phase, old=old)
                out += self.numbers.put(value)
            else:
                before = [out[at - back] if at >= back else 256 for back in (1, 2, 4)]
                was = guess[at] if at < len(guess) else 256
                out.append(m.byte(s, column=column, was=was, before=before, at=at))
        return bytes(out)

    def place(self, s, column, old_at, content, blob):
        """The place of data: one that has this content already, or a new one."""
        m, seen, group = self.m, self.builder.blobs(content), blob.group if blob else 0
        expected = self.places.get(old_at)
        if expected not in seen:
            expected = next((place for place in seen if place[0] == group), None)
        known = {"expected": expected is not None, "seen": len(seen), "old": blob is not None, "group": group}
        if m.place(s, column=column, **known):
            place = self.builder.add_blob(group, content) if expected is None else expected
        elif which := m.which_data(s):
            if which > len(seen):
                raise Damaged("Go's data is not there")
            place = seen[which - 1]
        else:
            place = self.builder.add_blob(m.group(s, column=column, len=len(content)), content)
        if old_at != NONE:
            self.places[old_at] = place
        return place

    def tree(self, s, subject, blob):
        """An inline tree against the rows of the old one: its group, its rows with names blank, its names."""
        old, group = [], blob.group if blob else 0
        if blob:
            old = [blob.content[at : at + 16] for at in range(0, len(blob.content) - 15, 16)]
        state = (blob is not None) | subject.unchanged << 1
        if blob and self.m.tree(s, state=state, h=self.history):
            return group, *self.projected_tree(s, subject, old)
        count = len(old) + self.m.rows(s, state=state)
        if not 0 <= count <= self.room // 16:
            raise Damaged("an inline tree is too long")
        group, rows, names, cursor, history = self.m.tree_group(s, old=group), b"", [], 0, 0
        subject.rows = [-1] * len(old)
        for index in range(count):
            continued = None
            if cursor < len(old):
                following = self.m.row(s, h=history)
                history = (history << 1 | (not following)) & M32
                continued = cursor if following else self.skipped(s, cursor, len(old))
            if continued is not None:
                cursor, subject.rows[continued] = continued + 1, index
            row, name = self.tree_row(s, subject, None if continued is None else old[continued], continued, history)
            rows += row
            names.append(name)
        return group, rows, names

    def skipped(self, s, cursor, count):
        skip = self.m.row_skip(s)
        if skip and cursor + skip >= count:
            raise Damaged("an inline tree continues nothing")
        return cursor + skip if skip else None

    def projected_tree(self, s, subject, old):
        """The old tree with its places moved."""
        rows, names, word, put = b"", [], self.old_word, self.numbers.put
        for i, row in enumerate(old):
            line = self.lines.project(subject.inline_files.get(i, NONE), i32(word(row, 12)))
            rows += put(word(row, 0)) + put(0) + put(subject.project(word(row, 8))) + put(line)
        for i, row in enumerate(old):
            self.lines.learn(subject.inline_files.get(i, NONE), i32(word(row, 12)), i32(self.numbers.word(rows, 16 * i + 12)))
            names.append(self.name(s, self.old.string(self.old.names, word(row, 4)), word(row, 4)))
        subject.rows = list(range(len(old)))
        return rows, names

    def tree_row(self, s, subject, old, index, history):
        """A row of an inline tree, its name blank, and the name."""
        m, fresh, place, line, word = self.m, int(old is None), 0, 0, self.old_word
        if old:
            file = subject.inline_files.get(index, NONE)
            parent, name = word(old, 0), self.old.string(self.old.names, word(old, 4))
            place, line = subject.project(word(old, 8)), self.lines.project(file, i32(word(old, 12)))
        else:
            parent = m.parent(s)
            name = self.names.code(s, 2, None)
            line = self.first_lines.get(name, 0)
        place = self.pc(s, subject.starts, place, fresh)
        if not m.line_hit(s, fresh=fresh, h=history):
            line = i32(line + m.line(s, fresh=fresh, h=history))
        if old:
            self.lines.learn(file, i32(word(old, 12)), line)
        at = self.name(s, name, word(old, 4) if old else None)
        self.first_lines[name] = line
        return b"".join(map(self.numbers.put, (parent, 0, place, line))), at

    def pc(self, s, starts, guess, fresh):
        """An offset in the code of a function."""
        m = self.m
        if m.pc_hit(s, fresh=fresh, listed=bool(starts)):
            return guess
        if m.pc_start(s):
            index = sum(start < guess for start in starts) + m.pc_index(s, fresh=fresh)
            if not 0 <= index < len(starts):
                raise Damaged("an inlined call is nowhere")
            return starts[index]
        return guess + m.pc_away(s, fresh=fresh) & M32
