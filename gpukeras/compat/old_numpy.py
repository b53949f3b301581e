"""Names that NumPy has dropped since the days of Keras 2, and that scripts of those days use."""
import numpy as np

# Dropped by NumPy 1.18 to 2.4. A name that is still there, or is back, stays as it is.
NAMES = {
    "bool": bool, "int": int, "long": int, "float": float, "complex": complex, "object": object,
    "str": str, "unicode": str, "float_": np.float64, "complex_": np.complex128,
    "string_": np.bytes_, "unicode_": np.str_, "Inf": np.inf, "Infinity": np.inf, "infty": np.inf,
    "PINF": np.inf, "NINF": -np.inf, "NaN": np.nan, "NAN": np.nan, "product": np.prod,
    "cumproduct": np.cumprod, "alltrue": np.all, "sometrue": np.any, "rank": np.ndim,
    "round_": np.round, "mat": np.asmatrix, "trapz": getattr(np, "trapezoid", None),
    "asscalar": lambda a: np.asarray(a).item(), "msort": lambda a: np.sort(a, axis=0),
    "asfarray": lambda a, dtype=float: np.asarray(a, dtype),
    "in1d": lambda a, b, **options: np.isin(np.ravel(a), b, **options),
}
_given = []


def restore():
    """Give NumPy those of the names that it lacks."""
    for name, value in NAMES.items():
        if name not in vars(np):
            setattr(np, name, value)
            _given.append(name)


def remove():
    """Take away what `restore` gave."""
    while _given:
        delattr(np, _given.pop())
