"""Reads what Python's `marshal.dumps` gave for a function's code, without making a code object.

Only plain values are made, in one pass over the bytes. Sizes are compared with what is left of
them, and values that refer to each other may not unfold to more than MOST values.
"""
import struct
from dataclasses import dataclass

BYTES, DEPTH, MOST = 1 << 17, 40, 50_000

# How code objects are laid out, and the Pythons that wrote them so.
LAYOUTS = {"2": ((2, 7),), "3.0": ((3, 5), (3, 6), (3, 7)), "3.8": ((3, 8), (3, 9), (3, 10)),
           "3.11": ((3, 11), (3, 12), (3, 13))}


class NotMarshalled(ValueError):
    """The bytes are no code in the layout that was tried."""


@dataclass(frozen=True, eq=False)
class Code:
    """What a code object holds, as far as it is needed here."""

    name: str
    filename: str
    argcount: int
    kwonly: int
    flags: int
    code: bytes
    consts: tuple
    names: tuple
    varnames: tuple
    cellvars: tuple
    freevars: tuple
    local_names: tuple                             # of Python 3.11: variables, cells, free ones
    lines: bytes


def read_code(data, layout):
    """The Code of the bytes that marshal wrote.

    # Raises
        NotMarshalled: if they are none of that layout.
    """
    if len(data) > BYTES:
        raise NotMarshalled(f"{len(data):,} bytes of code, expected at most {BYTES:,}")
    reader = _Reader(data, layout)
    try:
        code = reader.value()
    except (struct.error, IndexError, UnicodeDecodeError, TypeError, OverflowError) as error:
        raise NotMarshalled(str(error)) from None
    if not isinstance(code, Code) or reader.at != len(data):
        raise NotMarshalled("no function, or more than one value")
    return code


class _Reader:
    def __init__(self, data, layout):
        self.data, self.at, self.layout, self.depth = data, 0, layout, 0
        self.seen, self.texts, self.alive, self.sizes = [], [], [], {}

    def take(self, n):
        if n < 0 or self.at + n > len(self.data):
            raise NotMarshalled(f"{n} bytes at {self.at} of {len(self.data)}")
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, form="<i"):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self):
        """The next value; of values that are referred to again, a list keeps them in order."""
        self.depth += 1
        if self.depth > DEPTH:
            raise NotMarshalled("nested too deeply")
        tag = self.take(1)[0]
        keep, kind = tag & 0x80, chr(tag & 0x7f)
        place = None
        if keep and kind in "()c<>[":              # what holds others has its number before them
            place = len(self.seen)
            self.seen.append(None)
        found = self._of_kind(kind)
        if place is not None:
            self.seen[place] = found
        elif keep and kind not in "NTFS.r":
            self.seen.append(found)
        self.depth -= 1
        return found

    def _of_kind(self, kind):
        if kind in "NTFS.":
            return {"N": None, "T": True, "F": False, "S": None, ".": Ellipsis}[kind]
        if kind in "iIgyl":
            return self._numeric(kind)
        if kind in "stuaAzZ":
            return self._text(kind)
        if kind == "R":
            return self.texts[self.number("<I")]
        if kind == "r":
            found = self.seen[self.number("<I")]
            if found is None:
                raise NotMarshalled("a value that holds itself")
            return found
        if kind in "()[<>":
            return self._sequence(self.number("B") if kind == ")" else self.number("<I"))
        if kind == "c":
            return self._code()
        raise NotMarshalled(f"values of kind {kind!r}")

    def _numeric(self, kind):
        if kind in "iIg":
            return self.number({"i": "<i", "I": "<q", "g": "<d"}[kind])
        if kind == "y":
            return complex(self.number("<d"), self.number("<d"))
        count = self.number()
        if abs(count) > 100:
            raise NotMarshalled("a number of more than 1500 bits")
        total = sum(self.number("<H") << 15 * i for i in range(abs(count)))
        return -total if count < 0 else total

    def _text(self, kind):
        data = self.take(self.number("B") if kind in "zZ" else self.number("<I"))
        if kind == "s":
            return data
        text = data.decode("utf-8" if kind == "u" else "latin-1", "surrogatepass")
        if kind == "t" and self.layout == "2":
            self.texts.append(text)
        return text

    def _sequence(self, count):
        if count > len(self.data) - self.at:
            raise NotMarshalled(f"{count} values in {len(self.data) - self.at} bytes")
        found = tuple([self.value() for _ in range(count)])
        size = 1 + sum(self.sizes.get(id(v), 1) for v in found)
        if size > MOST:
            raise NotMarshalled(f"unfolds to more than {MOST} values")
        self.sizes[id(found)] = size
        self.alive.append(found)                   # its id stays its own
        return found

    def _code(self):
        layout = self.layout
        argcount = self.number()
        if layout in ("3.8", "3.11"):
            self.number()                          # positional-only ones are among the arguments
        kwonly = self.number() if layout != "2" else 0
        if layout != "3.11":
            self.number()                          # number of local variables
        self.number()                              # size of the stack
        flags = self.number()
        code, consts, names = self.value(), self.value(), self.value()
        if layout == "3.11":
            local_names, kinds = self.value(), self.value()
            pairs = list(zip(self._names(local_names), self._bytes(kinds), strict=True))
            variables = tuple(n for n, kind in pairs if kind & 0x20)
            cells = tuple(n for n, kind in pairs if kind & 0x40)
            free = tuple(n for n, kind in pairs if kind & 0x80)
            filename, name, _ = self.value(), self.value(), self.value()
        else:
            variables, free, cells = self.value(), self.value(), self.value()
            local_names = ()
            filename, name = self.value(), self.value()
        self.number()                              # the first line
        lines = self.value()
        if layout == "3.11":
            self.value()                           # table of exceptions
        if not 0 <= argcount + kwonly <= len(variables) or min(argcount, kwonly) < 0:
            raise NotMarshalled(f"{argcount} arguments among {len(variables)} variables")
        return Code(_word(name), _word(filename), argcount, kwonly, flags, self._bytes(code),
                    self._tuple(consts), self._names(names), self._names(variables),
                    self._names(cells), self._names(free), self._names(local_names),
                    self._bytes(lines))

    def _bytes(self, value):
        if self.layout == "2" and isinstance(value, str):
            value = value.encode("latin-1")        # Python 2 kept short code among its names
        if not isinstance(value, bytes):
            raise NotMarshalled("no bytes where code is expected")
        return value

    @staticmethod
    def _tuple(value):
        if not isinstance(value, tuple):
            raise NotMarshalled("no tuple where one is expected")
        return value

    def _names(self, value):
        return tuple(_word(name) for name in self._tuple(value))


def _word(value):
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise NotMarshalled("no text where a name is expected")
    return value
