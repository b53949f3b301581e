"""A function of TensorFlow or Keras 3 as a layer, as their functional models have it."""
from .base import Layer


class Operation(Layer):
    """y = operation(x, ...): `x + 1` or `keras.ops.mean(x)` between the layers of a model.

    # Arguments
        operation: name of the function, "add".
        table: "keras.ops" or "tf": whose function of that name.
        settings: dict of arguments that the function was made with.
        plan: {"args", "kwargs"} of the call; {"tensor": i} stands for the i-th input, and
            {"slice": [start, stop, step]} and {"ellipsis": true} for what they say.
    """

    def __init__(self, operation, table="keras.ops", settings=None, plan=None, **kwargs):
        super().__init__(**kwargs)
        self.keep(operation=operation, table=table, settings=settings or {},
                  plan=plan or {"args": [{"tensor": 0}], "kwargs": {}})
        self._function()

    def _function(self):
        from .bytecode.allowed import NotAllowed, resolve
        operation = _OPERATORS.get(self.operation, self.operation)
        try:
            return resolve(f"{self.table}.{operation}", {})
        except NotAllowed:
            raise ValueError(f"Unknown operation: {self.table}.{self.operation}, in layer "
                             f"{self.name}. Try: custom_objects={{'Operation': a layer class}}"
                             ) from None

    def call(self, inputs):
        inputs = inputs if isinstance(inputs, list) else [inputs]

        def filled(value):
            if isinstance(value, dict) and set(value) == {"tensor"}:
                return inputs[value["tensor"]]
            if isinstance(value, dict) and set(value) == {"slice"}:
                return slice(*value["slice"])
            if isinstance(value, dict) and set(value) == {"ellipsis"}:
                return Ellipsis
            if isinstance(value, list):
                return [filled(item) for item in value]
            return value

        return self._function()(*[filled(value) for value in self.plan["args"]],
                                **{key: filled(value) for key, value in
                                   {**self.settings, **self.plan["kwargs"]}.items()})


# other names of what the tables have
_OPERATORS = {"true_divide": "divide", "getitem": "get_item"}
__all__ = ["Operation"]
