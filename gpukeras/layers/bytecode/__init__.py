"""Functions that were stored as Python bytecode, as expressions that are checked and computed here.

Keras stores the function of a Lambda layer as the bytecode of the Python that saved it. It is never
run. It is read (`marshalled`), followed instruction by instruction (`instructions`, `decode`) to an
expression, which may use keras.backend, arithmetic and little else (`allowed`), and is computed as
graph (`evaluate`). The file does not say which Python wrote it: all are tried.
"""
import binascii
import codecs
import inspect
import re

from .expression import Expr, NoExpression, constant
from .marshalled import LAYOUTS, NotMarshalled, read_code

_BASE64 = re.compile(r"[A-Za-z0-9+/\s]*=*\s*")
_KERAS = re.compile(r"keras[/\\](?:src[/\\])?(backend|activations)(?:[/\\]\w+)*\.py$")


class DecodedFunction:
    """A function from a file: called with tensors, it computes its expression as graph.

    # Arguments
        dumped: (code, defaults, closure) as in the file.
        known: dict name -> object for names that the file does not have.

    # Raises
        ValueError: if it is no expression of what is allowed. The text shows what was decoded.
        ImportError: without the package xdis.
    """

    def __init__(self, dumped, known=None):
        self.dumped, self._known = _parts(dumped), dict(known or {})
        code, self.version, self._program = _find(*self.dumped, self._known)
        self.__name__ = code.name
        self.__signature__ = _signature(code, self.dumped[1])

    def __call__(self, *args, **kwargs):
        try:
            bound = self.__signature__.bind(*args, **kwargs)
            bound.apply_defaults()
            return self._program.run(bound.arguments)
        except Exception as error:
            raise ValueError(f"The function `{self}`, decoded from the bytecode of a file, fails: "
                             f"{error}") from error

    def __str__(self):
        return f"lambda {', '.join(self.__signature__.parameters)}: {self._program.expr}"


def _parts(dumped):
    """(code, defaults, closure) of what the ways of saving have made of it."""
    if isinstance(dumped, dict):
        dumped = dumped.get("config", dumped)
        dumped = (dumped.get("code"), dumped.get("defaults"), dumped.get("closure"))
    if isinstance(dumped, str):
        dumped = (dumped, None, None)
    if not isinstance(dumped, (list, tuple)) or len(dumped) != 3 or not isinstance(dumped[0], str):
        raise ValueError(f"expected the code of a function, its defaults and its closure, got "
                         f"{str(dumped)[:80]}")
    code, defaults, closure = dumped
    for value in (defaults, closure):
        if value is not None and not isinstance(value, (list, tuple)):
            raise ValueError(f"expected defaults and closure as lists, got {str(value)[:80]}")
    return code, defaults, closure


def _bytes(text):
    """The bytes of a code: in base64, or as text in files of Keras 2.0 and before."""
    if _BASE64.fullmatch(text):
        try:
            return codecs.decode(text.encode("ascii"), "base64")
        except binascii.Error:
            pass
    return text.encode("raw_unicode_escape")


def _find(text, defaults, closure, known):
    """(Code, version, Program) of the Python whose code it is."""
    from .evaluate import Program
    from .instructions import is_of_version
    data, found, failed = _bytes(text), [], []
    for layout, versions in LAYOUTS.items():
        try:
            code = read_code(data, layout)
        except NotMarshalled as error:
            failed.append((-1, None, None, f"it is no code of Python {layout} ({error})"))
            continue
        for version in versions:
            if not is_of_version(code, version):
                continue
            expr = None
            try:
                expr, dropped = _expression(code, version, closure)
                found.append((code, version, Program(expr, dropped, known)))
            except NoExpression as error:
                failed.append((expr is not None, code, (version, expr), error))
    texts = {str(program.expr) for _, _, program in found}
    if len(texts) == 1:
        return found[-1]
    if texts:
        raise ValueError("it is Python bytecode that can be read in several ways: "
                         + " or ".join(sorted(texts)))
    _, code, reading, why = max(failed, key=lambda f: (f[0], f[1] is not None))
    if code is None:
        raise ValueError("it is no bytecode of a known Python: "
                         + "; ".join(f[3] for f in failed[:4]))
    raise ValueError(_explain(code, *reading, why)) from why


def _expression(code, version, closure):
    """(expression, dropped ones), of Keras's own functions by their names."""
    from .decode import decode
    arguments = [Expr("argument", name) for name in code.varnames[:code.argcount]]
    own = _KERAS.search(code.filename)
    if own and code.name == "symbolic_fn_wrapper" and closure:
        raise NoExpression("it is a function of keras.backend, with its arguments unknown")
    if own and not code.name.startswith("<"):
        top = "K" if own.group(1) == "backend" else "activations"
        name = Expr("attribute", code.name, [Expr("name", top)])
        return Expr("call", None, [name, *arguments]), []
    return decode(code, version, [_given(value) for value in closure or ()])


def _given(value):
    """A value of the closure, which JSON has kept, as an expression."""
    if isinstance(value, (list, tuple)):
        return Expr("sequence", "list", [_given(v) for v in value])
    if isinstance(value, dict):
        if value.get("type") == "ndarray" and isinstance(value.get("value"), list):
            return _given(value["value"])
        return Expr("dict", None, [_given(v) for pair in value.items() for v in pair])
    return constant(value)


def _explain(code, version, expr, why):
    """Why a code is no expression, and what it says."""
    from .instructions import listing
    if expr is not None:
        shown = f"It was decoded as\n  lambda {', '.join(code.varnames[:code.argcount])}: {expr}"
    else:
        try:
            lines = listing(code, version)
        except NoExpression as error:
            lines = [str(error)]
        shown = "Its instructions are\n  " + "\n  ".join(lines)
    return (f"it is bytecode of Python {version[0]}.{version[1]}, and no expression that is known "
            f"here: {why}. {shown}")


def _signature(code, defaults):
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    defaults = list(defaults or ())
    if len(defaults) > code.argcount:
        raise ValueError(f"it has {len(defaults)} defaults for {code.argcount} arguments")
    empty = [inspect.Parameter.empty] * (code.argcount - len(defaults))
    names = code.varnames[:code.argcount + code.kwonly]
    try:
        return inspect.Signature([
            inspect.Parameter(name.replace(".", "_"),
                              kind if i < code.argcount else inspect.Parameter.KEYWORD_ONLY,
                              default=(empty + defaults)[i] if i < code.argcount
                              else inspect.Parameter.empty)
            for i, name in enumerate(names)])
    except ValueError as error:
        raise ValueError(f"its arguments cannot be: {error}") from None
