"""The instructions that unwind tables talk about: calls, and what moves the stack pointer or ends a block."""

from bisect import bisect_left

from machine.insn import CALL as CALLS
from machine.insn import JUMP, RETURN, TRAP
from models import M32, hash

CALL, BEFORE_SITE, END_OF_SITE = 15, 17, 18


class Landmarks:
    """The instructions of one unit; read when they are first asked for."""

    def __init__(self, view):
        self.view, self.starts, self.roles, self.heads, self.sites = view, [], [], [], []

    def fill(self):
        if self.starts:
            return
        view, machine = self.view, self.view.machine
        scanner, p = machine.scanner(), 0
        for insn in view.shapes:
            code, here = view.window(p), view.addr + p
            field = scanner.field(insn, code, here)
            scanner.go_on(insn, code, here)
            role = {CALLS: CALL, RETURN: 1, JUMP: 2, TRAP: 3}.get(insn.flow)
            role = machine.role(insn, code) if role is None else role
            if field and role == CALL:
                target = machine.read(field.kind, code, field.at, insn.len, field.origin)
                head = hash(field.kind, target & M32)
            else:
                head = machine.head(insn, code)
            self.starts.append(p)
            self.roles.append(role)
            self.heads.append(head)
            p += insn.len
        self.starts.append(p)

    def events(self, first):
        """Instructions behind which the frame may change, from one on: index and role."""
        sites = list(self.sites)
        for k in range(first, len(self.roles)):
            behind, role = self.starts[k + 1], self.roles[k]
            while sites and sites[0][1] < behind:
                sites.pop(0)
            if role in (0, CALL) and sites:
                role = BEFORE_SITE if sites[0][0] == behind else END_OF_SITE if sites[0][1] == behind else role
            if role not in (0, CALL):
                yield k, role

    def first(self, offset):
        """The first instruction that starts at an offset or later."""
        return bisect_left(self.starts, offset)

    def calls(self, first):
        return [k for k in range(first, len(self.roles)) if self.roles[k] == CALL]
