"""Instructions of a function's code, in the words of the Python that wrote it.

The numbers of the instructions come from the package xdis, which has the tables of all Pythons; of
xdis nothing else is used, and nothing is run.
"""
from functools import lru_cache
from typing import NamedTuple

from .expression import NoExpression

# what has a jump as argument: relative to the next instruction, or to the start (before 3.11)
RELATIVE = {"FOR_ITER", "JUMP_FORWARD", "SETUP_LOOP"}
# how much room the interpreter has behind an instruction tells 3.11 from 3.12 and 3.13
ROOM = {"COMPARE_OP": (2, 1, 1), "LOAD_GLOBAL": (5, 4, 4), "LOAD_ATTR": (4, 9, 9),
        "BINARY_SUBSCR": (4, 1, 1), "FOR_ITER": (0, 1, 1), "CALL": (4, 3, 3)}
BINARY = ("+", "&", "//", "<<", "@", "*", "%", "|", "**", ">>", "-", "/", "^")


class Instruction(NamedTuple):
    """One instruction: where it is, its name, its argument (0 if none), where the next one is."""

    at: int
    name: str
    arg: int
    end: int


@lru_cache
def tables(version):
    """(names of the instructions, first number with an argument, comparisons) of a Python.

    # Raises
        ImportError: without xdis.
    """
    try:
        from xdis.op_imports import get_opcode_module
        from xdis.version_info import PythonImplementation
    except ImportError:
        raise ImportError("The function is there as bytecode, and the package xdis, which has the "
                          "tables to read it, is not installed. Try: pip install "
                          "'gpukeras[lambda]'") from None
    module = get_opcode_module(version, PythonImplementation.CPython)
    return tuple(module.opname[:256]), module.HAVE_ARGUMENT, tuple(module.cmp_op)


def instructions(code, version):
    """dict place in the code -> Instruction.

    # Raises
        NoExpression: if the bytes are no code of that version.
    """
    names, have_argument, _ = tables(version)
    data, found, at, high, start = code.code, {}, 0, 0, None
    wide = version >= (3, 6)
    while at < len(data):
        number = data[at]
        name, size = names[number], 2 if wide else 3 if number >= have_argument else 1
        if at + size > len(data):
            raise NoExpression("the code ends within an instruction")
        arg = 0
        if number >= have_argument:
            arg = data[at + 1] if wide else data[at + 1] | data[at + 2] << 8
            arg |= high
        start = at if start is None else start
        at = after = at + size
        if name == "EXTENDED_ARG":
            high = arg << (8 if wide else 16)
            if high >= 1 << 31:
                raise NoExpression("an argument is too large")
            continue
        while version >= (3, 11) and at + 2 <= len(data) and names[data[at]] == "CACHE":
            at += 2                                # room for the interpreter
        if version >= (3, 11) and name in ROOM and (
                at - after != 2 * ROOM[name][version[1] - 11]):
            raise NoExpression(f"{name} has not the room of Python {version[0]}.{version[1]}")
        if name.startswith("<"):
            raise NoExpression(f"there is no instruction {number} in Python "
                               f"{version[0]}.{version[1]}")
        found[start] = Instruction(start, name, arg, at)
        high, start = 0, None
    return found


def target(step, version):
    """Where a jump leads to."""
    arg = step.arg * (2 if version >= (3, 10) else 1)
    if "BACKWARD" in step.name:
        return step.end - arg
    if version >= (3, 11) or step.name in RELATIVE:
        return step.end + arg
    return arg


def is_of_version(code, version):
    """False where the table of lines shows that another Python of the same layout wrote it.

    From 3.10 on it covers the code to the last byte; before, it ends ahead of it.
    """
    if version not in ((3, 8), (3, 9), (3, 10)):
        return True
    covered = sum(code.lines[::2])
    return (covered == len(code.code)) == (version == (3, 10))


def listing(code, version, most=25):
    """The first instructions as text, for a message."""
    lines = []
    for step in instructions(code, version).values():
        word = str(step.arg)
        if "CONST" in step.name and step.arg < len(code.consts):
            word = repr(code.consts[step.arg])[:60]
        elif any(part in step.name for part in ("GLOBAL", "ATTR", "METHOD", "NAME")):
            shift = (version >= (3, 11) and "GLOBAL" in step.name) + (
                version >= (3, 12) and step.name == "LOAD_ATTR")
            if step.arg >> shift < len(code.names):
                word = code.names[step.arg >> shift][:60]
        elif "FAST" in step.name and step.arg < len(code.varnames):
            word = code.varnames[step.arg][:60]
        lines.append(f"{step.name} {word}")
        if len(lines) == most:
            lines.append("...")
            break
    return lines
