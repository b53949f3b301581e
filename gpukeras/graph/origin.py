"""Where a node comes from: the layer that was being called and the line of the user's program."""
from __future__ import annotations

import contextlib
import os
import sys
from contextlib import contextmanager
from typing import Iterator, NamedTuple

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NOT_THE_USER = (_PACKAGE, contextlib.__file__, "<frozen")


class Origin(NamedTuple):
    """`layer` is a name or None; `where` reads "file.py:12", or None when no user code is on the
    stack."""

    layer: str | None
    where: str | None

    def __str__(self) -> str:
        if self.layer and self.where:
            return f"{self.layer} at {self.where}"
        return self.layer or (f"at {self.where}" if self.where else "")


NOWHERE = Origin(None, None)
_current: Origin | None = None                    # inside a scope all nodes share one origin


def user_line() -> str | None:
    """The innermost line on the stack that is not gpukeras's own."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_NOT_THE_USER):
            return f"{os.path.basename(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def current() -> Origin:
    return _current if _current is not None else Origin(None, user_line())


@contextmanager
def origin_scope(origin: Origin) -> Iterator[None]:
    """Nodes made inside get this origin (gradients and rewrites inherit that of the node they come
    from)."""
    global _current
    before, _current = _current, origin
    try:
        yield
    finally:
        _current = before


def set_current(origin: Origin | None) -> Origin | None:
    """Replace the current origin and return the one before; for loops in which a context is too
    slow."""
    global _current
    before, _current = _current, origin
    return before


@contextmanager
def layer_scope(name: str) -> Iterator[None]:
    """Nodes made inside belong to the layer `name`, called at the user's present line.

    A layer called by another layer keeps the outer line, since that is the one the user wrote.
    """
    where = _current.where if _current is not None else user_line()
    with origin_scope(Origin(name, where)):
        yield
