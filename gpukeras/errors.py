"""The errors of the engine.

Each is also one of Python's own kinds, because Keras scripts catch those. A message says what,
got, expected;
the engine adds where (the layer and the user's line) when the error passes through
`graph.op.apply`.
"""


class ShapeError(ValueError):
    """Shapes that do not fit together, or a value outside what a shape allows."""


class DtypeError(TypeError):
    """A data type that an operation cannot take."""


class GraphError(RuntimeError):
    """A graph that cannot be built or compiled: a missing input, no gradient, a type that
    changed."""


class KernelError(RuntimeError):
    """A CUDA kernel that does not compile or whose launch is refused."""


class DeviceError(RuntimeError):
    """No usable device, or one that failed."""
