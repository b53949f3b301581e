"""What single instructions do to the stack of a frame. See `decode`."""
from . import decode
from .expression import Expr, NoExpression, constant
from .instructions import BINARY, tables
from .marshalled import Code

_WORDS = {"ADD": "+", "SUBTRACT": "-", "MULTIPLY": "*", "TRUE_DIVIDE": "/", "FLOOR_DIVIDE": "//",
          "MODULO": "%", "POWER": "**", "MATRIX_MULTIPLY": "@", "AND": "&", "OR": "|", "XOR": "^",
          "LSHIFT": "<<", "RSHIFT": ">>", "DIVIDE": "div"}
_UNARY = {"UNARY_NEGATIVE": "-", "UNARY_POSITIVE": "+", "UNARY_INVERT": "~", "UNARY_NOT": "not"}
_NOTHING = {"NOP", "RESUME", "PRECALL", "SETUP_LOOP", "POP_BLOCK", "MAKE_CELL", "TO_BOOL",
            "COPY_FREE_VARS", "CACHE", "END_FOR", "DELETE_FAST", "PRINT_NEWLINE"}


def follow(frame, step):
    """Do what one instruction does, other than jumps and returns."""
    name = step.name
    if name in _NOTHING:
        return
    handler = _HANDLERS.get(name)
    if handler is not None:
        handler(frame, step.arg)
    elif name.startswith(("BINARY_", "INPLACE_")) and name.partition("_")[2] in _WORDS:
        frame.push(_binary(_WORDS[name.partition("_")[2]], *frame.pops(2)))
    elif name in _UNARY:
        operator, part = _UNARY[name], _value(frame.pop())
        if part.kind == "constant" and type(part.value) in (int, float) and operator == "-":
            frame.push(constant(-part.value))
        else:
            frame.push(Expr("unary", operator, [part]))
    else:
        raise NoExpression(f"it does {name}")


def _value(value):
    if not isinstance(value, Expr) or value.kind == "null":
        raise NoExpression("it uses something that is no value")
    return value


def _binary(operator, a, b):
    return Expr("binary", operator, [_value(a), _value(b)])


def _at(items, index, what):
    if not 0 <= index < len(items):
        raise NoExpression(f"there is no {what} {index}")
    return items[index]


def of_constant(frame, arg):
    """A constant of the code as an expression."""
    return _constant(_at(frame.code.consts, arg, "constant"))


def _constant(value):
    if isinstance(value, Code):
        return value
    if isinstance(value, tuple):
        return Expr("sequence", "tuple", [_value(_constant(v)) for v in value])
    if isinstance(value, bytes):
        return constant(value.decode("latin-1"))   # a text of Python 2
    if isinstance(value, complex):
        raise NoExpression("it has a complex number")
    return constant(value)


# ---------------------------------------------------------------- variables

def _load_fast(frame, arg):
    frame.push(_variable(frame, arg))


def _local_name(frame, arg):
    names = frame.code.local_names or frame.code.varnames
    return _at(names, arg, "variable")


def _variable(frame, arg):
    name = _local_name(frame, arg)
    for known in (frame.variables, frame.cells):
        if name in known:
            return known[name]
    raise NoExpression(f"it uses {name} before it has a value")


def _load_and_clear(frame, arg):
    frame.push(frame.variables.pop(_local_name(frame, arg), decode.NULL))


def _store_fast(frame, arg):
    frame.variables[_local_name(frame, arg)] = frame.pop()


def _two_at_once(first, second):
    def both(frame, arg):
        first(frame, arg >> 4)
        second(frame, arg & 15)
    return both


def _cell_name(frame, arg):
    if frame.code.local_names:
        return _at(frame.code.local_names, arg, "variable")
    return _at(frame.code.cellvars + frame.code.freevars, arg, "variable")


def _load_deref(frame, arg):
    name = _cell_name(frame, arg)
    for known in (frame.cells, frame.variables):   # an argument may be a cell, too
        if name in known:
            return frame.push(known[name])
    raise NoExpression(f"it uses {name} before it has a value")


def _store_deref(frame, arg):
    frame.cells[_cell_name(frame, arg)] = frame.pop()


def _load_global(frame, arg):
    version = frame.decoder.version
    if version < (3, 11):
        return _load_name(frame, arg)
    return _with_null(frame, Expr("name", _at(frame.code.names, arg >> 1, "name")), arg & 1)


def _with_null(frame, value, null):
    """Push a value, and the empty place beside the function of a call."""
    after = frame.decoder.version >= (3, 13)
    if null and not after:
        frame.push(decode.NULL)
    frame.push(value)
    if null and after:
        frame.push(decode.NULL)


def _load_name(frame, arg):
    frame.push(Expr("name", _at(frame.code.names, arg, "name")))


def _attribute(frame, name):
    of = _value(frame.pop())
    return Expr("attribute", name, [of])


def _load_attr(frame, arg):
    new = frame.decoder.version >= (3, 12)
    value = _attribute(frame, _at(frame.code.names, arg >> 1 if new else arg, "name"))
    _with_null(frame, value, new and arg & 1)


def _load_method(frame, arg):
    value = _attribute(frame, _at(frame.code.names, arg, "name"))
    frame.push(decode.NULL)
    frame.push(value)


def _import_name(frame, arg):
    _, level = frame.pop(), frame.pop()
    if getattr(level, "value", None) not in (0, -1):
        raise NoExpression("it imports from beside its own file")
    name = _at(frame.code.names, arg, "name")
    frame.push(Expr("name", name, names=("import",)))


def _import_from(frame, arg):
    module = frame.stack[-1] if frame.stack else None
    frame.push(Expr("attribute", _at(frame.code.names, arg, "name"), [_value(module)]))


def _store_import(frame, arg):
    """`import a.b` names a, `import a.b as c` has taken b from it."""
    value = frame.stack[-1] if frame.stack else None
    if isinstance(value, Expr) and value.kind == "name" and value.names and "." in value.value:
        top, _, rest = value.value.partition(".")
        if _local_name(frame, arg) == top:
            frame.stack[-1] = Expr("name", top)
    _store_fast(frame, arg)


# ---------------------------------------------------------------- the stack

def _pop_top(frame, arg):
    value = frame.pop()
    if isinstance(value, Expr) and value.kind not in ("null", "constant", "argument", "name"):
        frame.decoder.dropped.append(value)        # it might have been called for what it does


def _duplicate(frame, arg):
    _copy(frame, 1)


def _duplicate_two(frame, arg):
    frame.stack += frame.stack[-2:] if len(frame.stack) >= 2 else frame.pops(2)


def _copy(frame, arg):
    frame.push(_at(frame.stack, len(frame.stack) - arg, "value"))


def _swap(frame, arg):
    _at(frame.stack, len(frame.stack) - arg, "value")
    frame.stack[-1], frame.stack[-arg] = frame.stack[-arg], frame.stack[-1]


def _rotate(n):
    def rotate(frame, arg):
        *others, top = frame.pops(n)
        frame.stack += [top, *others]
    return rotate


# ---------------------------------------------------------------- operators

def _binary_op(frame, arg):
    frame.push(_binary(_at(BINARY, arg % 13, "operator"), *frame.pops(2)))


def _subscript(frame, arg):
    of, key = frame.pops(2)
    frame.push(Expr("item", None, [_value(of), _value(key)]))


def _slice_item(which):
    """x[a:b] of Python 2, which has an instruction for it: bit 0 says that there is an a, bit 1 a
    b."""
    def item(frame, arg):
        end = _value(frame.pop()) if which & 2 else constant(None)
        begin = _value(frame.pop()) if which & 1 else constant(None)
        key = Expr("slice", None, [begin, end])
        frame.push(Expr("item", None, [_value(frame.pop()), key]))
    return item


def _binary_slice(frame, arg):
    of, begin, end = frame.pops(3)
    frame.push(Expr("item", None, [_value(of), Expr("slice", None, [_value(begin),
                                                                    _value(end)])]))


def _build_slice(frame, arg):
    frame.push(Expr("slice", None, [_value(v) for v in frame.pops(arg)]))


def _compare(frame, arg):
    version = frame.decoder.version
    words = tables(version)[2]
    word = _at(words, arg >> (5 if version >= (3, 13) else 4 if version >= (3, 12) else 0),
               "comparison")
    frame.push(Expr("compare", word, [_value(v) for v in frame.pops(2)]))


def _is_or_in(word):
    def compare(frame, arg):
        frame.push(Expr("compare", (word if not arg else
                                    {"is": "is not", "in": "not in"}[word]),
                        [_value(v) for v in frame.pops(2)]))
    return compare


# ---------------------------------------------------------------- sequences

def _build(kind):
    def build(frame, arg):
        frame.push(Expr("sequence", kind, [_value(v) for v in frame.pops(arg)],
                        level=frame.level))
    return build


def _unite(kind):
    """(*a, *b)"""
    def unite(frame, arg):
        frame.push(Expr("sequence", kind, [Expr("star", None, [_value(v)])
                                           for v in frame.pops(arg)]))
    return unite


def _own_list(frame, arg):
    """The list that the code is filling, `arg` places down the stack."""
    found = _at(frame.stack, len(frame.stack) - arg, "value")
    if not isinstance(found, Expr) or found.kind != "sequence" or found.level != frame.level:
        raise NoExpression("it fills a list in a branch")
    return found


def _list_append(frame, arg):
    value = _value(frame.pop())
    into = _own_list(frame, arg)
    into.parts.append(value)
    into.__post_init__()


def _list_extend(frame, arg):
    value = _value(frame.pop())
    into = _own_list(frame, arg)
    into.parts += (value.parts if value.kind == "sequence"
                   else [Expr("star", None, [value])])
    into.__post_init__()


def _list_to_tuple(frame, arg):
    value = _value(frame.pop())
    frame.push(Expr("sequence", "tuple", list(value.parts)) if value.kind == "sequence"
               else Expr("sequence", "tuple", [Expr("star", None, [value])]))


def _intrinsic(frame, arg):
    if arg == 5:
        frame.push(Expr("unary", "+", [_value(frame.pop())]))
    elif arg == 6:
        _list_to_tuple(frame, arg)
    else:
        raise NoExpression(f"it does CALL_INTRINSIC_1 {arg}")


def _build_map(frame, arg):
    if frame.decoder.version < (3, 5):             # sizes of a dict that is filled later
        arg = 0
    frame.push(Expr("dict", None, [_value(v) for v in frame.pops(2 * arg)]))


def _store_map(frame, arg):
    value, key = frame.pops(2)
    into = frame.stack[-1] if frame.stack else None
    if not isinstance(into, Expr) or into.kind != "dict":
        raise NoExpression("it fills something that is no dict")
    frame.stack[-1] = Expr("dict", None, [*into.parts, _value(key), _value(value)])


def _build_const_key_map(frame, arg):
    keys = _value(frame.pop())
    values = [_value(v) for v in frame.pops(arg)]
    if keys.kind != "sequence" or len(keys.parts) != arg:
        raise NoExpression("a dict has other keys than values")
    frame.push(Expr("dict", None, [part for pair in zip(keys.parts, values) for part in pair]))


def _dict_merge(frame, arg):
    value, into = _value(frame.pop()), _at(frame.stack, len(frame.stack) - arg, "value")
    if not isinstance(into, Expr) or into.kind != "dict" or value.kind != "dict":
        raise NoExpression("it joins dicts that are not known")
    frame.stack[-arg] = Expr("dict", None, into.parts + value.parts)


def _unpack(frame, arg):
    value = _value(frame.pop())
    if value.kind == "sequence" and not any(p.kind == "star" for p in value.parts):
        if len(value.parts) != arg:
            raise NoExpression(f"it takes {arg} values from {len(value.parts)}")
        items = value.parts
    else:
        items = [Expr("unpack", (i, arg), [value]) for i in range(arg)]
    frame.stack += reversed(items)


def _get_iter(frame, arg):
    items = _items(_value(frame.pop()))
    if items is None:
        raise NoExpression("it loops over something of unknown length")
    frame.push(decode.Iteration(items))


def _items(expr):
    """The values of a sequence, range, enumerate or zip, if they are known."""
    if expr.kind == "sequence" and not any(p.kind == "star" for p in expr.parts):
        return expr.parts
    if expr.kind != "call" or expr.parts[0].kind != "name" or expr.names:
        return None
    function, parts = expr.parts[0].value, expr.parts[1:]
    if function in ("range", "xrange") and 1 <= len(parts) <= 3:
        numbers = [p.value for p in parts if p.kind == "constant" and type(p.value) is int]
        if len(numbers) < len(parts) or (len(numbers) == 3 and not numbers[2]):
            return None
        values = range(*numbers)
        return [constant(v) for v in values] if len(values) <= 1000 else None
    lists = [_items(p) for p in parts]
    if function in ("zip", "enumerate", "reversed", "list", "tuple") and None not in lists:
        if function == "enumerate" and len(lists) == 1:
            lists = [[constant(i) for i in range(len(lists[0]))], *lists]
        if function in ("list", "tuple", "reversed"):
            if len(lists) != 1:
                return None
            return lists[0][::-1] if function == "reversed" else lists[0]
        return [Expr("sequence", "tuple", list(row)) for row in zip(*lists)]
    return None


# ---------------------------------------------------------------- calls

def call(frame, function, positional, keywords=(), names=()):
    """Push the call of a function; one that the code itself makes is followed."""
    decoder = frame.decoder
    if isinstance(function, decode.Function):
        code = function.code
        if keywords:
            raise NoExpression("it calls a function of its own with keywords")
        values = list(positional)
        missing = code.argcount - len(values)
        if missing:
            values += function.defaults[len(function.defaults) - missing:]
        values = [v.copy() if isinstance(v, decode.Iteration) else v for v in values]
        frame.push(decoder.result(code, values, dict(zip(code.freevars, function.closure)),
                                  frame.level))
        return
    function = _value(function)
    if (function.kind == "attribute" and function.value == "append" and len(positional) == 1
            and not keywords and function.parts[0].kind == "sequence"):
        into = function.parts[0]
        if into.value != "list" or into.level != frame.level:
            raise NoExpression("it fills a list in a branch")
        into.parts.append(decoder.plain(positional[0]))
        into.__post_init__()
        frame.push(constant(None))
        return
    parts = [decoder.plain(v) for v in [*positional, *keywords]]
    frame.push(Expr("call", None, [function, *parts], tuple(names)))


def _callee(frame):
    """[function, first value if the call has it beside the function]."""
    pair = [v for v in frame.pops(2) if v is not decode.NULL]
    if not pair:
        raise NoExpression("it calls something that is no function")
    return pair


def _call(frame, arg):
    values, names = frame.pops(arg), frame.keywords
    frame.keywords = ()
    if len(names) > arg:
        raise NoExpression("a call has more keywords than values")
    split = arg - len(names)
    function, *first = _callee(frame)
    call(frame, function, [*first, *values[:split]], values[split:], names)


def _kw_names(frame, arg):
    frame.keywords = _texts(of_constant(frame, arg))


def _texts(expr):
    found = [p.value for p in getattr(expr, "parts", ())]
    if getattr(expr, "kind", None) != "sequence" or not all(isinstance(v, str) for v in found):
        raise NoExpression("the keywords of a call are no names")
    return tuple(found)


def _call_kw(frame, arg):
    frame.keywords = _texts(frame.pop())
    _call(frame, arg)


def _call_method(frame, arg):
    values = frame.pops(arg)
    function, *first = _callee(frame)
    call(frame, function, [*first, *values])


def _call_function(frame, arg):
    if frame.decoder.version >= (3, 6):
        values = frame.pops(arg)
        return call(frame, frame.pop(), values)
    return _old_call(frame, arg)


def _old_call(frame, arg, star=None, stars=None):
    """A call before Python 3.6: the low byte counts values, the high one pairs name, value."""
    pairs = frame.pops(2 * (arg >> 8))
    positional = frame.pops(arg & 255)
    names = _texts(Expr("sequence", "tuple", pairs[::2]))
    keywords = pairs[1::2]
    if star is not None:
        positional = [*positional, Expr("star", None, [_value(star)])]
    if stars is not None:
        names, keywords = (*names, None), [*keywords, _value(stars)]
    return call(frame, frame.pop(), positional, keywords, names)


def _call_function_kw(frame, arg):
    if frame.decoder.version >= (3, 6):
        names = _texts(frame.pop())
        values = frame.pops(arg)
        split = arg - len(names)
        if split < 0:
            raise NoExpression("a call has more keywords than values")
        return call(frame, frame.pop(), values[:split], values[split:], names)
    return _old_call(frame, arg, stars=frame.pop())


def _call_ex(frame, arg):
    keywords = _value(frame.pop()) if arg & 1 else None
    positional = _value(frame.pop())
    values = (positional.parts if positional.kind == "sequence"
              else [Expr("star", None, [positional])])
    version = frame.decoder.version
    function = _callee(frame)[0] if version >= (3, 11) else frame.pop()
    names, given = (), []
    if keywords is not None and keywords.kind == "dict":
        names, given = _texts(Expr("sequence", "tuple", keywords.parts[::2])), keywords.parts[1::2]
    elif keywords is not None:
        names, given = (None,), [keywords]
    call(frame, function, values, given, names)


def _make_function(frame, arg):
    version = frame.decoder.version
    if version >= (3, 3) and version < (3, 11):
        frame.pop()                                # its name
    code = frame.pop()
    if not isinstance(code, Code):
        raise NoExpression("it makes a function of what is no code")
    if version >= (3, 13):
        return frame.push(decode.Function(code))
    if version < (3, 6):
        if arg >> 8:
            raise NoExpression("it makes a function with defaults by name")
        return frame.push(decode.Function(code, frame.pops(arg)))
    closure = _value(frame.pop()).parts if arg & 8 else ()
    for bit in (4, 2):
        if arg & bit:
            frame.pop()
    defaults = _value(frame.pop()).parts if arg & 1 else ()
    return frame.push(decode.Function(code, defaults, closure))


def _make_closure(frame, arg):
    """Before Python 3.6."""
    if frame.decoder.version >= (3, 3):
        frame.pop()
    code, closure = frame.pop(), _value(frame.pop())
    if not isinstance(code, Code):
        raise NoExpression("it makes a function of what is no code")
    frame.push(decode.Function(code, frame.pops(arg & 255), closure.parts))


def _set_function_attribute(frame, arg):
    value, function = frame.pops(2)
    if not isinstance(function, decode.Function):
        raise NoExpression("it makes a function of what is no code")
    if arg == 8:
        function.closure = list(_value(value).parts)
    elif arg == 1:
        function.defaults = list(_value(value).parts)
    frame.push(function)


def _load_const(frame, arg):
    frame.push(of_constant(frame, arg))


_HANDLERS = {
    "LOAD_CONST": _load_const, "LOAD_FAST": _load_fast, "LOAD_FAST_CHECK": _load_fast,
    "LOAD_FAST_AND_CLEAR": _load_and_clear, "STORE_FAST": _store_import,
    "LOAD_FAST_LOAD_FAST": _two_at_once(_load_fast, _load_fast),
    "STORE_FAST_STORE_FAST": _two_at_once(_store_fast, _store_fast),
    "STORE_FAST_LOAD_FAST": _two_at_once(_store_fast, _load_fast),
    "LOAD_GLOBAL": _load_global, "LOAD_NAME": _load_name, "LOAD_ATTR": _load_attr,
    "LOAD_METHOD": _load_method, "LOAD_DEREF": _load_deref, "STORE_DEREF": _store_deref,
    "LOAD_CLOSURE": _load_deref, "IMPORT_NAME": _import_name, "IMPORT_FROM": _import_from,
    "POP_TOP": _pop_top, "PRINT_ITEM": _pop_top, "DUP_TOP": _duplicate,
    "DUP_TOP_TWO": _duplicate_two, "COPY": _copy, "SWAP": _swap,
    "ROT_TWO": _rotate(2), "ROT_THREE": _rotate(3), "ROT_FOUR": _rotate(4),
    "PUSH_NULL": lambda frame, arg: frame.push(decode.NULL),
    "BINARY_OP": _binary_op, "BINARY_SUBSCR": _subscript, "BINARY_SLICE": _binary_slice,
    "SLICE_0": _slice_item(0), "SLICE_1": _slice_item(1), "SLICE_2": _slice_item(2),
    "SLICE_3": _slice_item(3), "BUILD_SLICE": _build_slice, "COMPARE_OP": _compare,
    "IS_OP": _is_or_in("is"), "CONTAINS_OP": _is_or_in("in"),
    "BUILD_TUPLE": _build("tuple"), "BUILD_LIST": _build("list"),
    "BUILD_TUPLE_UNPACK": _unite("tuple"), "BUILD_LIST_UNPACK": _unite("list"),
    "BUILD_TUPLE_UNPACK_WITH_CALL": _unite("tuple"), "LIST_APPEND": _list_append,
    "LIST_EXTEND": _list_extend, "LIST_TO_TUPLE": _list_to_tuple, "CALL_INTRINSIC_1": _intrinsic,
    "BUILD_MAP": _build_map, "STORE_MAP": _store_map, "DICT_MERGE": _dict_merge,
    "DICT_UPDATE": _dict_merge, "BUILD_CONST_KEY_MAP": _build_const_key_map,
    "UNPACK_SEQUENCE": _unpack, "GET_ITER": _get_iter,
    "CALL": _call, "KW_NAMES": _kw_names, "CALL_KW": _call_kw, "CALL_METHOD": _call_method,
    "CALL_FUNCTION": _call_function, "CALL_FUNCTION_KW": _call_function_kw,
    "CALL_FUNCTION_VAR": lambda frame, arg: _old_call(frame, arg, star=frame.pop()),
    "CALL_FUNCTION_EX": _call_ex, "MAKE_FUNCTION": _make_function,
    "MAKE_CLOSURE": _make_closure, "SET_FUNCTION_ATTRIBUTE": _set_function_attribute,
}
