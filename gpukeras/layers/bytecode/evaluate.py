"""Checks an expression against the names that are allowed, and computes it as graph."""
from ... import backend as K
from . import allowed
from .expression import NoExpression, path_of


class Program:
    """An expression whose every name is allowed.

    # Arguments
        expr: what it gives.
        dropped: expressions that the function evaluated and dropped: they must be allowed, too.
        known: dict name -> object that the user gave.

    # Raises
        NoExpression: for a name that is not allowed.
    """

    def __init__(self, expr, dropped, known):
        self.expr, self._objects = expr, {}
        todo, seen = [expr, *dropped], set()
        while todo:
            piece = todo.pop()
            if id(piece) in seen:
                continue
            seen.add(id(piece))
            todo += self._check(piece, known)

    def _check(self, expr, known):
        """The parts of an expression that are to be checked next."""
        if expr.kind == "call":
            function = expr.parts[0]
            path, inside = path_of(function), expr.parts[1:]
            if path is None:
                if function.kind != "attribute" or function.value not in allowed.METHODS:
                    raise NoExpression(f"it calls {str(function)[:100]}")
                return expr.parts
            if not self._names(function, path, known):
                return expr.parts
            if not callable(self._objects[id(function)]):
                raise NoExpression(f"it calls {path[:100]}, which is no function")
            return inside
        if expr.kind in ("name", "attribute"):
            if self._names(expr, path_of(expr), known):
                return []
            return expr.parts
        return expr.parts

    def _names(self, expr, path, known):
        """True for a name that stands for an object; False for an attribute of a value."""
        if path is not None:
            try:
                self._objects[id(expr)] = allowed.resolve(path, known)
                return True
            except allowed.NotAllowed:
                if expr.kind == "name" or expr.value not in allowed.ATTRIBUTES:
                    raise
                base = path_of(expr.parts[0])
                allowed.resolve(base, known)       # a number or tensor of the user's
                return False
        if expr.value not in allowed.ATTRIBUTES:
            raise NoExpression(f"it takes the attribute {expr.value[:100]!r} of a value")
        return False

    def run(self, arguments):
        """The value for a dict name -> value of the arguments."""
        return _Run(self._objects, arguments, {}).of(self.expr)


class _Run:
    def __init__(self, objects, arguments, memo):
        self.objects, self.arguments, self.memo = objects, arguments, memo

    def of(self, expr):
        key = id(expr)
        if key not in self.memo:
            if key in self.objects:
                self.memo[key] = self.objects[key]
            else:
                self.memo[key] = getattr(self, f"_{expr.kind}")(expr)
        return self.memo[key]

    def _constant(self, expr):
        return expr.value

    def _argument(self, expr):
        if expr.value not in self.arguments:
            raise NoExpression(f"it has no value for {expr.value}")
        return self.arguments[expr.value]

    def _attribute(self, expr):
        return allowed.ATTRIBUTES[expr.value](self.of(expr.parts[0]))

    def _call(self, expr):
        count = len(expr.parts) - len(expr.names)
        function, args, kwargs = self.of(expr.parts[0]), self._values(expr.parts[1:count]), {}
        for name, part in zip(expr.names, expr.parts[count:]):
            kwargs.update(self.of(part) if name is None else {name: self.of(part)})
        return function(*args, **kwargs)

    def _values(self, parts):
        found = []
        for part in parts:
            if part.kind == "star":
                found += list(self.of(part.parts[0]))
            else:
                found.append(self.of(part))
        return found

    def _item(self, expr):
        return self.of(expr.parts[0])[self.of(expr.parts[1])]

    def _unpack(self, expr):
        value, (i, n) = self.of(expr.parts[0]), expr.value
        size = K.int_shape(value)[0] if K.is_tensor(value) else len(value)
        if size != n:
            raise NoExpression(f"it takes {n} values from {size}")
        return value[i]

    def _sequence(self, expr):
        values = self._values(expr.parts)
        return values if expr.value == "list" else tuple(values)

    def _dict(self, expr):
        return {self.of(k): self.of(v) for k, v in zip(expr.parts[::2], expr.parts[1::2])}

    def _slice(self, expr):
        return slice(*[self.of(part) for part in expr.parts])

    def _unary(self, expr):
        value, word = self.of(expr.parts[0]), expr.value
        if word == "not":
            return not self._test(value)
        if word == "~":
            return ~value
        return -value if word == "-" else value

    def _binary(self, expr):
        return allowed.compute(expr.value, *[self.of(part) for part in expr.parts])

    def _compare(self, expr):
        return allowed.contrast(expr.value, *[self.of(part) for part in expr.parts])

    def _choice(self, expr):
        test, yes, no = expr.parts
        return self.of(yes if self._test(self.of(test)) else no)

    @staticmethod
    def _test(value):
        if K.is_tensor(value):
            raise NoExpression("it decides by the value of a tensor")
        return bool(value)

    def _function(self, expr):
        def function(*args):
            if len(args) != len(expr.names):
                raise NoExpression(f"a function of {len(expr.names)} arguments gets {len(args)}")
            arguments = {**self.arguments, **dict(zip(expr.names, args))}
            return _Run(self.objects, arguments, {}).of(expr.parts[0])
        return function
