"""Global settings: float type, fuzz factor, data format, learning phase, names.

The first read looks at `keras.json` (in $KERAS_HOME or ~/.keras); nothing is read at import.
"""
import contextlib
import json
import os
from collections import defaultdict

FLOATS = ("float16", "bfloat16", "float32", "float64")
FORMATS = ("channels_last", "channels_first")

_values = {}
_uids = defaultdict(int)
_used_names = {}
_scopes = []


def _settings():
    if not _values:
        _values.update(floatx="float32", epsilon=1e-7, image_data_format="channels_last",
                       phase=None)
        _values.update(_from_file())
    return _values


def _from_file():
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    path = os.path.join(home, "keras.json")
    try:
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError):
        return {}                                # no file, or not ours to complain about
    found = {}
    if config.get("floatx") in FLOATS:
        found["floatx"] = config["floatx"]
    if config.get("image_data_format") in FORMATS:
        found["image_data_format"] = config["image_data_format"]
    if isinstance(config.get("epsilon"), float):
        found["epsilon"] = config["epsilon"]
    return found


def floatx():
    """The type of new variables, placeholders and constants: "float32" unless set otherwise."""
    return _settings()["floatx"]


def set_floatx(floatx):
    """Set the float type: "float16", "bfloat16", "float32" or "float64"."""
    if floatx not in FLOATS:
        raise ValueError(f"Unknown floatx type: {floatx!r}; expected one of {', '.join(FLOATS)}.")
    _settings()["floatx"] = str(floatx)


def epsilon():
    """The small number that keeps divisions and logarithms finite: 1e-7 unless set otherwise."""
    return _settings()["epsilon"]


def set_epsilon(e):
    """Set the small number that keeps divisions and logarithms finite."""
    _settings()["epsilon"] = float(e)


def image_data_format():
    """Where images have their channels: "channels_last" unless set otherwise."""
    return _settings()["image_data_format"]


def set_image_data_format(data_format):
    """Set where images have their channels: "channels_last" or "channels_first"."""
    _settings()["image_data_format"] = normalize_data_format(data_format)


def image_dim_ordering():
    """As `image_data_format`, in the words of before Keras 2.3: "tf" or "th"."""
    return "th" if image_data_format() == "channels_first" else "tf"


def set_image_dim_ordering(dim_ordering):
    """Set where images have their channels: "tf" for last, "th" for first."""
    if dim_ordering not in ("tf", "th"):
        raise ValueError(f"Unknown dim_ordering: {dim_ordering!r}, expected 'tf' or 'th'")
    set_image_data_format("channels_first" if dim_ordering == "th" else "channels_last")


def normalize_data_format(value):
    """A data format in lower case, checked; None is the global one."""
    data_format = image_data_format() if value is None else str(value).lower()
    if data_format not in FORMATS:
        raise ValueError("The `data_format` argument must be one of \"channels_first\", "
                         f"\"channels_last\". Received: {value!r}")
    return data_format


def backend():
    """The name of this backend, for scripts that branch on it."""
    return "gpukeras"


# ---------------------------------------------------------------- learning phase

def fix_phase(value):
    """Remember a fixed learning phase, 0 or 1; None for none."""
    if value not in (0, 1, None):
        raise ValueError(f"Expected learning phase to be 0 or 1, got {value!r}.")
    _settings()["phase"] = None if value is None else int(value)


def fixed_phase():
    """The phase that `fix_phase` was given, or None."""
    return _settings()["phase"]


# ---------------------------------------------------------------- names

def get_uid(prefix=""):
    """The next number for a name with this prefix, from 1: get_uid("dense") == 1, then 2."""
    _uids[prefix] += 1
    return _uids[prefix]


def reset_uids():
    """Start all numbers of `get_uid` again."""
    _uids.clear()


def reset_names():
    """Forget all names given so far, so that numbering starts again."""
    reset_uids()
    _used_names.clear()


@contextlib.contextmanager
def name_scope(name):
    """Names of variables made inside begin with `name/`."""
    _scopes.append((name, {}))
    try:
        yield "/".join(scope for scope, _ in _scopes) + "/"
    finally:
        _scopes.pop()


def full_name(name):
    """`name` under the open scopes, a counter if taken, and the ":0" that files of Keras carry.

    Names are told apart within one scope; outside of all scopes, within the session.
    """
    taken = _scopes[-1][1] if _scopes else _used_names
    count = taken.get(name, 0)
    taken[name] = count + 1
    path = "/".join([scope for scope, _ in _scopes] + [name])
    return f"{path}_{count}:0" if count else f"{path}:0"
