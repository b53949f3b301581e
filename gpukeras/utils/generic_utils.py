"""Names, lists, custom objects, progress bar: used on every floor, importing none of ours."""
import codecs
import difflib
import inspect
import marshal
import re
import sys
import time
import types

import numpy as np

_GLOBAL_CUSTOM_OBJECTS = {}
stand_in = None            # function (kind, name) for what is not known; see layers/missing.py


# ---------------------------------------------------------------- names

def to_snake_case(name):
    """Layer name of a class: MaxPooling2D -> max_pooling2d, _Mine -> private__mine."""
    words = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", words).lower()
    return "private" + words if words.startswith("_") else words


def nearest_names(name, known, count=3):
    """The known names most like `name`, best first; case and underscores do not count."""
    def plain(text):
        return text.lower().replace("_", "").replace(" ", "")

    by_plain = {}
    for other in known:
        by_plain.setdefault(plain(other), []).append(other)
    hits = difflib.get_close_matches(plain(str(name)), by_plain, n=count, cutoff=0.6)
    return [other for hit in hits for other in sorted(by_plain[hit])][:count]


def unknown_name(kind, name, known):
    """Text of the error for a name that is not known, with the names likely meant."""
    near = nearest_names(name, known)
    text = f"Unknown {kind}: {name}"
    if near:
        return f"{text}. Did you mean {' or '.join(repr(n) for n in near)}?"
    if len(known) <= 40:
        return f"{text}. Known names: {', '.join(sorted(known))}."
    return f"{text}. If it is your own, give it in `custom_objects`."


# ---------------------------------------------------------------- lists and signatures

def to_list(x, allow_tuple=False):
    """A list as it is, a tuple as a list if `allow_tuple`, anything else as a list of one."""
    if isinstance(x, list):
        return x
    if allow_tuple and isinstance(x, tuple):
        return list(x)
    return [x]


def unpack_singleton(x):
    """The only element of a sequence of one; everything else unchanged."""
    return x[0] if len(x) == 1 else x


def object_list_uid(object_list):
    """Text that tells lists of objects apart by the identity of their members."""
    return ", ".join(str(abs(id(x))) for x in to_list(object_list))


def is_all_none(iterable_or_element):
    """True for None and for a list or tuple of nothing but None."""
    x = iterable_or_element
    return all(e is None for e in (x if isinstance(x, (list, tuple)) else [x]))


def slice_arrays(arrays, start=None, stop=None):
    """Rows of one array, or of each of a list of arrays; None stays None.

    # Arguments
        arrays: array, list of arrays (entries may be None) or None.
        start: first row, or a list or array of row numbers.
        stop: row behind the last; must be None if `start` lists rows.
    """
    if arrays is None:
        return [None]
    if hasattr(start, "__len__"):
        rows = start.tolist() if hasattr(start, "shape") else start    # h5py takes lists only
    else:
        rows = slice(start, stop)
    if isinstance(arrays, list):
        return [None if x is None else x[rows] for x in arrays]
    return arrays[rows]


def transpose_shape(shape, target_format, spatial_axes):
    """A channels_last shape in the order of `target_format`: (n, *s, c) -> (n, c, *s).

    # Arguments
        shape: tuple or list.
        target_format: "channels_first" or "channels_last".
        spatial_axes: where the spatial sizes *s sit; what comes before them stays in front.
    """
    if target_format == "channels_last":
        return shape
    if target_format != "channels_first":
        raise ValueError('The `data_format` argument must be one of "channels_first", '
                         f'"channels_last". Received: {target_format}')
    front = list(shape[:spatial_axes[0]])
    return type(shape)(front + [shape[-1]] + [shape[axis] for axis in spatial_axes])


def check_for_unexpected_keys(name, input_dict, expected_values):
    """Raise ValueError when `input_dict` has a key that is not among `expected_values`."""
    unknown = set(input_dict).difference(expected_values)
    if unknown:
        raise ValueError(f"Unknown entries in {name} dictionary: {sorted(unknown)}. "
                         f"Only expected following keys: {list(expected_values)}")


def getargspec(fn):
    """`inspect.getfullargspec`, under the name that Keras has for it."""
    return inspect.getfullargspec(fn)


def has_arg(fn, name, accept_all=False):
    """True if `fn` can be called with keyword `name` (or has **kwargs, when `accept_all`)."""
    parameters = inspect.signature(fn).parameters
    if name not in parameters:
        return accept_all and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    kind = parameters[name].kind
    return kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


# ---------------------------------------------------------------- custom objects and configs

def get_custom_objects():
    """The dict name -> class or function that every lookup by name sees; change it in place."""
    return _GLOBAL_CUSTOM_OBJECTS


class CustomObjectScope:
    """Names known inside a `with` block only.

        with CustomObjectScope({"MyLayer": MyLayer}):
            model = load_model("model.h5")
    """

    def __init__(self, *args):
        self.custom_objects = args
        self.backup = None

    def __enter__(self):
        self.backup = dict(_GLOBAL_CUSTOM_OBJECTS)
        for objects in self.custom_objects:
            _GLOBAL_CUSTOM_OBJECTS.update(objects or {})
        return self

    def __exit__(self, *args, **kwargs):
        _GLOBAL_CUSTOM_OBJECTS.clear()
        _GLOBAL_CUSTOM_OBJECTS.update(self.backup)


def custom_object_scope(*args):
    """`CustomObjectScope` as a function: `with custom_object_scope({...}):`."""
    return CustomObjectScope(*args)


def serialize_keras_object(instance):
    """{"class_name", "config"} of what has `get_config`, else the name of a function or class."""
    if instance is None:
        return None
    if hasattr(instance, "get_config"):
        return {"class_name": instance.__class__.__name__, "config": instance.get_config()}
    if hasattr(instance, "__name__"):
        return instance.__name__
    raise ValueError(f"Cannot serialize {instance!r}: expected an object with get_config(), or a "
                     "function or class.")


def deserialize_keras_object(identifier, module_objects=None, custom_objects=None,
                             printable_module_name="object"):
    """The object that a name or a {"class_name", "config"} dict stands for.

    # Arguments
        identifier: name, dict or None.
        module_objects: dict name -> object of the module that asks (its `globals()`).
        custom_objects: dict name -> object, looked at first, then the global custom objects.
        printable_module_name: what the error calls it, such as "loss function".

    # Returns
        The object found for a name (a class as it is), an instance for a dict, None for None.
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        return _look_up(identifier, module_objects, custom_objects, printable_module_name)
    if not isinstance(identifier, dict):
        raise ValueError(f"Could not interpret serialized {printable_module_name}: {identifier!r}")
    if "class_name" not in identifier or "config" not in identifier:
        raise ValueError(f"Improper config format: {identifier}, expected a dict with the keys "
                         "'class_name' and 'config'.")

    name, config = identifier["class_name"], identifier["config"]
    found = _look_up(name, module_objects, custom_objects, printable_module_name)
    custom_objects = custom_objects or {}
    if not hasattr(found, "from_config"):
        with CustomObjectScope(custom_objects):
            return found(**config)
    if has_arg(found.from_config, "custom_objects"):
        both = {**_GLOBAL_CUSTOM_OBJECTS, **custom_objects}
        return found.from_config(config, custom_objects=both)
    with CustomObjectScope(custom_objects):
        return found.from_config(config)


def _look_up(name, module_objects, custom_objects, kind):
    for objects in (custom_objects, _GLOBAL_CUSTOM_OBJECTS, module_objects):
        if objects and objects.get(name) is not None:
            return objects[name]
    if stand_in is not None:
        made = stand_in(kind, name)
        if made is not None:
            return made
    objects = {**(module_objects or {}), **_GLOBAL_CUSTOM_OBJECTS, **(custom_objects or {})}
    known = {key for key, value in objects.items() if callable(value) and not key.startswith("_")}
    raise ValueError(unknown_name(kind, name, known))


# ---------------------------------------------------------------- functions as text

_dumped = {}                                       # code that this process wrote -> its globals


def func_dump(func):
    """A Python function as (base64 of its bytecode, defaults, values of its closure)."""
    code = codecs.encode(marshal.dumps(func.__code__), "base64").decode("ascii")
    closure = tuple(cell.cell_contents for cell in func.__closure__) if func.__closure__ else None
    _dumped[code] = func.__globals__
    return code, func.__defaults__, closure


def is_dumped_here(code):
    """Whether `func_dump` of this process gave this text."""
    return isinstance(code, str) and code in _dumped


def func_load(code, defaults=None, closure=None, globs=None):
    """The function that `func_dump` wrote, in this process.

    # Arguments
        code: the bytecode, or the whole tuple.
        defaults, closure: as dumped.
        globs: dict, names that the function sees besides those of its own module.

    # Raises
        ValueError: for code from anywhere else, as running it would run whatever it holds.
    """
    if isinstance(code, (tuple, list)):
        code, defaults, closure = code
    if code not in _dumped:
        raise ValueError("This is Python bytecode from a file or another process, which is never "
                         "run. Try: give the function under the layer's name, "
                         "custom_objects={\"lambda_1\": function}.")
    cells = tuple(types.CellType(value) for value in closure or ()) or None
    defaults = tuple(defaults) if defaults is not None else None
    names = {**_dumped[code], **(globs or {})}
    code = marshal.loads(codecs.decode(code.encode("ascii"), "base64"))
    return types.FunctionType(code, names, code.co_name, defaults, cells)


# ---------------------------------------------------------------- progress

class Progbar:
    """Progress bar with averages of the values it is told, printed as Keras 2.3.1 prints it.

    # Arguments
        target: total number of units, None if unknown.
        width: of the bar, in characters.
        verbose: 0 silent, 1 bar, 2 one line at the end.
        interval: least time between two redraws, in seconds.
        stateful_metrics: names whose value is shown as it is; all others are averaged, each value
            weighted with the number of units since the update before.
    """

    def __init__(self, target, width=30, verbose=1, interval=0.05, stateful_metrics=None):
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.stateful_metrics = set(stateful_metrics or ())
        # a file or a pipe gets one line per redraw, as there is no way back over a printed line
        self._dynamic_display = ((hasattr(sys.stdout, "isatty") and sys.stdout.isatty())
                                 or "ipykernel" in sys.modules)
        self._total_width = 0
        self._seen_so_far = 0
        self._values = {}                                              # name -> [sum, weight]
        self._start = time.time()
        self._last_update = 0

    def due(self, current):
        """True if `update(current)` would print now; if not, no value need be fetched for it."""
        return self._due(current, time.time())

    def update(self, current, values=None):
        """Show progress.

        # Arguments
            current: units done so far.
            values: list of (name, value).
        """
        self._collect(current, values or [])
        now = time.time()
        if not self._due(current, now):
            return
        if self.verbose == 1:
            self._draw(current, now)
        else:
            self._print_line(now)
        self._last_update = now

    def add(self, n, values=None):
        """Show progress after `n` more units."""
        self.update(self._seen_so_far + n, values)

    def _due(self, current, now):
        if self.target is None or current >= self.target:
            return self.verbose in (1, 2)
        return self.verbose == 1 and now - self._last_update >= self.interval

    def _collect(self, current, values):
        steps = current - self._seen_so_far
        for name, value in values:
            if name in self.stateful_metrics:
                self._values[name] = [value, 1]
            else:
                total = self._values.setdefault(name, [0, 0])
                total[0] += value * steps
                total[1] += steps
        self._seen_so_far = current

    def _draw(self, current, now):
        bar = self._bar(current)
        info = self._timing(current, now - self._start) + self._averages()
        before, self._total_width = self._total_width, len(bar) + len(info)
        start = "\b" * before + "\r" if self._dynamic_display else "\n"
        rest = " " * (before - self._total_width)              # wipes what a longer line left
        end = "\n" if self.target is not None and current >= self.target else ""
        sys.stdout.write(start + bar + info + rest + end)
        sys.stdout.flush()

    def _print_line(self, now):
        sys.stdout.write(f" - {now - self._start:.0f}s" + self._averages() + "\n")
        sys.stdout.flush()

    def _bar(self, current):
        if self.target is None:
            return f"{current:7d}/Unknown"
        digits = len(str(int(self.target)))
        done = int(self.width * current / self.target) if self.target else self.width
        head = "" if done == 0 else "=" * (done - 1) + (">" if current < self.target else "=")
        return f"{int(current):{digits}d}/{self.target} [{head}{'.' * (self.width - done)}]"

    def _timing(self, current, elapsed):
        per_unit = elapsed / current if current else 0
        if self.target is not None and current < self.target:
            return " - ETA: " + _clock(per_unit * (self.target - current))
        if per_unit >= 1:
            return f" - {elapsed:.0f}s {per_unit:.0f}s/step"
        if per_unit >= 1e-3:
            return f" - {elapsed:.0f}s {per_unit * 1e3:.0f}ms/step"
        return f" - {elapsed:.0f}s {per_unit * 1e6:.0f}us/step"

    def _averages(self):
        text = ""
        for name, (total, weight) in self._values.items():
            mean = np.mean(total / max(1, weight))
            # the two modes of 2.3.1 differ here: only the bar looks at the size without the sign
            size = abs(mean) if self.verbose == 1 else mean
            text += f" - {name}: {mean:.4f}" if size > 1e-3 else f" - {name}: {mean:.4e}"
        return text


def _clock(seconds):
    seconds = int(seconds)
    if seconds > 3600:
        return f"{seconds // 3600}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    if seconds > 60:
        return f"{seconds // 60}:{seconds % 60:02d}"
    return f"{seconds}s"
