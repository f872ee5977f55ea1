"""The symbols that FORMAT-models.md declares, run as they are printed there: no list of contexts is written twice."""

import os
import re

import models
from models import M32, Model

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "FORMAT-models.md")
TOKENS = re.compile(r"\s*(0x[0-9a-fA-F_]+|\d+|[A-Za-z_]\w*(?:::\w+)*|<<|>>|==|.)")
# Operators by how tightly they bind, the loosest first; casts and what follows a value bind tighter still.
LEVELS = [["==", ">", "<"], ["|"], ["^"], ["&"], ["<<", ">>"], ["+", "-"], ["*"]]


class Expression:
    """An expression of the document, made one of Python."""

    def __init__(self, text):
        self.tokens, self.names = TOKENS.findall(text) + [""], []
        self.source = self.level(0)
        if self.tokens[0]:
            raise ValueError(f"{text}: {self.tokens[0]} was not expected")

    def take(self, wanted=None):
        token = self.tokens.pop(0)
        if wanted not in (None, token):
            raise ValueError(f"{wanted} was expected, not {token}")
        return token

    def level(self, n):
        if n == len(LEVELS):
            return self.cast()
        left = self.level(n + 1)
        while self.tokens[0] in LEVELS[n]:
            operator = self.take()
            left = f"({left} {operator} {self.level(n + 1)})"
        return left

    def cast(self):
        value = self.behind(self.value())
        while self.tokens[0] == "as":
            self.take()
            value = {"u32": f"({value} & {M32})", "u64": value, "usize": value}[self.take()]
        return value

    def arguments(self):
        self.take("(")
        values = []
        while self.tokens[0] != ")":
            values.append(self.level(0))
            if self.tokens[0] == ",":
                self.take()
        self.take(")")
        return values

    def value(self):
        token = self.take()
        if token == "-":
            return f"-{self.value()}"
        if token == "!":
            return f"(not {self.behind(self.value())})"
        if token == "(":
            value = self.level(0)
            self.take(")")
            return value
        if token[0].isdigit():
            return token
        if self.tokens[0] == "(":
            return f"{FUNCTIONS[token]}({', '.join(self.arguments())})"
        if token in FUNCTIONS:
            return FUNCTIONS[token]
        token = RENAMED.get(token, token)
        if token not in self.names:
            self.names.append(token)
        return token

    def behind(self, value):
        while self.tokens[0] in (".", "["):
            if self.take() == "[":
                value = f"{value}[{self.level(0)}]"
                self.take("]")
                continue
            name = self.take()
            if name.isdigit():
                value = f"{value}[{name}]"
            elif self.tokens[0] != "(":
                value = f"{value}.{name}"
            elif name in METHODS:
                value = METHODS[name](value, *self.arguments())
            else:
                value = f"{value}.{name}({', '.join(self.arguments())})"
        return value


FUNCTIONS = {"hash": "hash", "two": "two", "context": "hash", "u32::from": "int", "u64::from": "int"}
RENAMED = {"from": "of"}  # what means something else in Python
METHODS = {
    "min": lambda value, most: f"min({value}, {most})",
    "clamp": lambda value, least, most: f"min(max({value}, {least}), {most})",
    "into": lambda value: f"int({value})",
    "wrapping_add": lambda value, more: f"(({value} + {more}) & {M32})",
    "is_some": lambda value: f"({value} is not None)",
    "map_or": lambda value, none, make: f"({none} if {value} is None else {make}({value}))",
}


def two(seed, a, b):
    return models.hash(models.hash(seed, a), b)


class Symbol:
    """A symbol: its kind, the model that it is coded under, and its contexts as a function of what they name."""

    def __init__(self, kind, model, contexts):
        expressions = [Expression(text) for text in contexts]
        self.names = sorted({name for e in expressions for name in e.names})
        self.kind, self.width = kind or "byte", None
        if self.kind.startswith("tree"):
            self.kind, self.width = "tree", self.kind[5:-1]
        source = f"lambda {', '.join(self.names)}: [{', '.join(e.source for e in expressions)}]"
        self.contexts = eval(source, {"hash": models.hash, "two": two})
        self.count, self.model = len(contexts), model


SIZES = r"2\^(\d+) counters(?: \(2\^(\d+) of a small model\))?, limit (\d+)"
SYMBOL = re.compile(r"- \*\*(\w+)\*\*: (\S*); model (\w+), " + SIZES)


def read(path):
    """Each section of the document: its models by name (bits, those of a small one, limit), and its symbols."""
    sections, section, symbol = {}, None, None
    for line in open(path):
        if line.startswith("## "):
            section = sections[line[3:].strip()] = ({}, {})
        elif section and (found := SYMBOL.match(line)):
            name, kind, model, bits, small, limit = found.groups()
            symbol = section[1][name] = (kind, model, [])
            section[0][model] = (int(bits), int(small or bits), int(limit))
        elif symbol and (found := re.match(r"  1\. `(.*)`", line)):
            symbol[2].append(found[1])
    return {
        name: (sizes, {symbol: Symbol(*parts) for symbol, parts in symbols.items()})
        for name, (sizes, symbols) in sections.items()
    }


SECTIONS = read(DOCUMENT)


class Grammar:
    """The models of a section, at their start; `g.name(stream, what the contexts name)` reads a symbol."""

    def __init__(self, section, small=False):
        self._sizes, self._symbols = SECTIONS[section]
        self._models, self._small = {}, small

    def __getattr__(self, name):
        symbol = self._symbols[name.rstrip("_")]
        bits, small, limit = self._sizes[symbol.model]
        if symbol.model not in self._models:
            self._models[symbol.model] = Model(small if self._small else bits, limit, symbol.count)
        model = self._models[symbol.model]

        def code(stream, **known):
            contexts = symbol.contexts(**{name: known[name] for name in symbol.names}) if stream.modelled else None
            if symbol.kind == "byte":
                return stream.tree(model, contexts, 8)
            if symbol.kind == "tree":
                width = symbol.width
                return stream.tree(model, contexts, int(width) if width.isdigit() else known[width])
            return getattr(stream, symbol.kind)(model, contexts)

        setattr(self, name, code)
        return code
