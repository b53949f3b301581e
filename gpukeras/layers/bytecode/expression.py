"""Expressions that bytecode stands for: a tree of plain values, to be printed and checked."""
import itertools
from dataclasses import dataclass, field

DEPTH = 150
WIDTH = 1500                                       # characters of a printed expression


class NoExpression(ValueError):
    """The code does what no expression does, or is too large."""


@dataclass(eq=False)
class Expr:
    """A piece of an expression.

    Attributes:
        kind: constant, argument, name, attribute, call, item, unpack, sequence, dict, slice, star,
            unary, binary, compare, choice or function.
        value: what is neither a part nor a list of them: a constant, a name, an operator.
        parts: expressions it is made of.
        names: for a call: names of the last parts (None: a dict of further ones); for a
            function: names of the arguments.
    """

    kind: str
    value: object = None
    parts: list = field(default_factory=list)
    names: tuple = ()
    level: int = 0                                 # of a list: which branch of the code made it
    depth: int = 0

    def __post_init__(self):
        self.depth = 1 + max((part.depth for part in self.parts), default=0)
        if self.depth > DEPTH:
            raise NoExpression(f"it is nested more than {DEPTH} deep")

    def __str__(self):
        words, left = [], WIDTH
        for word in _words(self):
            words.append(word)
            left -= len(word)
            if left < 0:
                return "".join(words)[:WIDTH] + " ..."
        return "".join(words)


def constant(value):
    return Expr("constant", value)


def walk(*roots):
    """Every expression below the roots, once."""
    seen, todo = set(), list(roots)
    while todo:
        expr = todo.pop()
        if id(expr) not in seen:
            seen.add(id(expr))
            todo += expr.parts
            yield expr


def path_of(expr):
    """"K.sum" for a global name or attributes of one, else None."""
    names = []
    while expr.kind == "attribute":
        names.append(expr.value)
        expr = expr.parts[0]
    return ".".join([expr.value, *reversed(names)]) if expr.kind == "name" else None


def _words(expr):
    """The text of an expression, bit by bit, so that one that unfolds to too much can be cut."""
    kind, parts = expr.kind, expr.parts
    if kind == "constant":
        yield _constant_text(expr.value)
    elif kind in ("argument", "name"):
        yield expr.value
    elif kind == "attribute":
        yield from _inner(parts[0])
        yield f".{expr.value}"
    elif kind == "call":
        yield from _inner(parts[0])
        yield "("
        yield from _commas(parts[1:], [None] * (len(parts) - 1 - len(expr.names)) + list(
            n or "**" for n in expr.names))
        yield ")"
    elif kind == "item":
        yield from _inner(parts[0])
        yield "["
        index = parts[1]
        if index.kind == "sequence" and index.value == "tuple" and index.parts:
            yield from _commas(index.parts)
        else:
            yield from _words(index)
        yield "]"
    elif kind in ("unpack", "slice", "sequence", "dict"):
        yield from _collection(expr, kind, parts)
    elif kind == "star":
        yield "*"
        yield from _inner(parts[0])
    elif kind == "unary":
        yield expr.value + (" " if expr.value == "not" else "")
        yield from _inner(parts[0])
    elif kind in ("binary", "compare"):
        yield from _inner(parts[0])
        yield f" {'/' if expr.value == 'div' else expr.value} "
        yield from _inner(parts[1])
    elif kind == "choice":
        yield from _inner(parts[1])
        yield " if "
        yield from _inner(parts[0])
        yield " else "
        yield from _inner(parts[2])
    else:
        yield f"lambda {', '.join(expr.names)}: "
        yield from _words(parts[0])


def _collection(expr, kind, parts):
    if kind == "unpack":
        yield from _inner(parts[0])
        yield f"[{expr.value[0]}]"
    elif kind == "slice":
        for i, part in enumerate(parts):
            if i:
                yield ":"
            if not (part.kind == "constant" and part.value is None):
                yield from _words(part)
    elif kind == "sequence":
        yield "[" if expr.value == "list" else "("
        yield from _commas(parts)
        yield "]" if expr.value == "list" else ",)" if len(parts) == 1 else ")"
    else:
        yield "{"
        for i, (key, value) in enumerate(zip(parts[::2], parts[1::2])):
            yield ", " if i else ""
            yield from _words(key)
            yield ": "
            yield from _words(value)
        yield "}"


def _inner(expr):
    if expr.kind in ("unary", "binary", "compare", "choice", "function"):
        yield "("
        yield from _words(expr)
        yield ")"
    else:
        yield from _words(expr)


def _commas(parts, names=()):
    for i, (part, name) in enumerate(itertools.zip_longest(parts, names)):
        yield ", " if i else ""
        if name:
            yield name if name == "**" else f"{name}="
        yield from _words(part)


def _constant_text(value):
    if value is Ellipsis:
        return "..."
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
