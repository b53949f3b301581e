"""From the instructions of a function to the expression that it returns.

The instructions are followed with expressions in the place of values. Both ways of a branch are
followed; a loop must go over a sequence of known length. Nothing is looked up and nothing called.
"""
from . import frame_steps
from .expression import Expr, NoExpression, constant
from .instructions import instructions, target

STEPS, LEVELS = 20_000, 12                         # instructions followed, branches in branches
CALLS = 8                                          # functions in functions
VARIADIC = 0x04 | 0x08                             # flags of *args and **kwargs
ODD = 0x20 | 0x80 | 0x100 | 0x200                  # generators and coroutines
NULL = Expr("null")


class Frame:
    """A function that is being followed: where it is, its stack, its variables."""

    def __init__(self, decoder, code, variables, cells, level=0):
        self.decoder, self.code, self.level = decoder, code, level
        self.steps = decoder.steps_of(code)
        self.variables, self.cells = dict(variables), dict(cells)
        self.stack, self.at, self.keywords = [], 0, ()

    def fork(self, at):
        """A copy of this frame that goes on at another place, one branch deeper."""
        if self.level >= LEVELS:
            raise NoExpression("it has too many branches")
        other = Frame(self.decoder, self.code, self.variables, self.cells, self.level + 1)
        other.stack = [v.copy() if isinstance(v, Iteration) else v for v in self.stack]
        other.at, other.keywords = at, self.keywords
        return other

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if not self.stack:
            raise NoExpression("it takes more from the stack than there is")
        return self.stack.pop()

    def pops(self, n):
        if n > len(self.stack):
            raise NoExpression("it takes more from the stack than there is")
        found = self.stack[len(self.stack) - n:]
        del self.stack[len(self.stack) - n:]
        return found

    def run(self):
        """The expression that the function returns from here on."""
        decoder = self.decoder
        while True:
            step = self.steps.get(self.at)
            if step is None:
                raise NoExpression("it jumps to where no instruction is")
            decoder.count()
            if step.name in ("RETURN_VALUE", "RETURN_CONST"):
                return (self.pop() if step.name == "RETURN_VALUE"
                        else frame_steps.of_constant(self, step.arg))
            if "JUMP" in step.name or step.name in ("FOR_ITER", "CONTINUE_LOOP"):
                found = self.jump(step)
                if found is not None:
                    return found
                continue
            frame_steps.follow(self, step)
            self.at = step.end

    def jump(self, step):
        """Follow a jump; the result of the function if both ways of it were followed."""
        name, to = step.name, target(step, self.decoder.version)
        if name == "FOR_ITER":
            self.loop(step, to)
        elif name in ("JUMP_FORWARD", "JUMP_ABSOLUTE", "JUMP_BACKWARD", "CONTINUE_LOOP",
                      "JUMP_BACKWARD_NO_INTERRUPT"):
            self.at = to
        elif "_IF_" in name:
            return self.branch(step, to)
        else:
            raise NoExpression(f"it does {name}")
        return None

    def branch(self, step, to):
        name, test = step.name, self.decoder.plain(self.pop())
        if name.endswith("_NONE"):
            test = Expr("compare", "is not" if name.endswith("NOT_NONE") else "is",
                        [test, constant(None)])
        jumps_if = not name.endswith("IF_FALSE") and "IF_FALSE_OR" not in name
        if name.endswith("_OR_POP"):
            jumped, on = self.fork(to), self.fork(step.end)
            jumped.push(test)
        else:
            known = _truth(test)
            if known is not None:
                self.at = to if known == jumps_if else step.end
                return None
            jumped, on = self.fork(to), self.fork(step.end)
        yes, no = (jumped, on) if jumps_if else (on, jumped)
        return Expr("choice", None, [test, yes.run(), no.run()])

    def loop(self, step, end):
        version, loop = self.decoder.version, self.stack[-1] if self.stack else None
        if not isinstance(loop, Iteration):
            raise NoExpression("it loops over something of unknown length")
        if loop.items:
            self.push(loop.items.pop(0))
            self.at = step.end
            return
        if version < (3, 13):
            self.pop()
        # from 3.12 on, the end is marked by an instruction that is passed over
        self.at = end + 2 if version >= (3, 12) else end


class Iteration:
    """An iterator over expressions that are known one by one."""

    depth, kind = 0, "iteration"

    def __init__(self, items):
        self.items = list(items)

    def copy(self):
        return Iteration(self.items)


class Function:
    """A function made inside the code."""

    depth, kind = 0, "code"

    def __init__(self, code, defaults=(), closure=()):
        self.code, self.defaults, self.closure = code, list(defaults), list(closure)


class Decoder:
    """Follows one function and those in it.

    # Arguments
        version: of Python, (3, 7).
    """

    def __init__(self, version):
        self.version, self.left, self.calls, self.dropped = version, STEPS, 0, []
        self._steps = {}

    def count(self):
        self.left -= 1
        if self.left < 0:
            raise NoExpression(f"it is longer than {STEPS:,} instructions")

    def steps_of(self, code):
        if code not in self._steps:
            self._steps[code] = instructions(code, self.version)
        return self._steps[code]

    def result(self, code, arguments, cells, level=0):
        """The expression that a function returns.

        # Arguments
            arguments: expressions, for all that it takes.
            cells: dict name -> expression of what it takes from the function around it.
        """
        if code.flags & (VARIADIC | ODD):
            kind = "*args or **kwargs" if code.flags & VARIADIC else "yield or await"
            raise NoExpression(f"it has {kind}")
        self.calls += 1
        if self.calls > CALLS:
            raise NoExpression("it has functions in functions, too deep")
        count = code.argcount + code.kwonly
        if len(arguments) != count:
            raise NoExpression(f"{code.name} takes {count} arguments and gets {len(arguments)}")
        found = Frame(self, code, zip(code.varnames, arguments), cells, level).run()
        self.calls -= 1
        return self.plain(found)

    def plain(self, value):
        """A value of the stack as an expression: a function with its own arguments inside."""
        if isinstance(value, Function):
            code = value.code
            names = code.varnames[:code.argcount]
            given = code.argcount - len(value.defaults)
            if given < 0:
                raise NoExpression("it has more defaults than arguments")
            unique = [f"{name}_{self.calls}" for name in names]
            arguments = [Expr("argument", name) for name in unique[:given]] + value.defaults
            body = self.result(code, arguments, dict(zip(code.freevars, value.closure)))
            return Expr("function", None, [body], tuple(unique[:given]))
        if not isinstance(value, Expr) or value.kind == "null":
            raise NoExpression("it leaves something on the stack that is no value")
        return value


def _truth(expr):
    """True or False for a constant."""
    return bool(expr.value) if expr.kind == "constant" else None


def decode(code, version, closure=()):
    """(expression, expressions whose values the function drops) of a function.

    # Arguments
        code: Code.
        version: of the Python that wrote it.
        closure: expressions for `code.freevars`.

    # Raises
        NoExpression: if it is none.
    """
    if len(closure) != len(code.freevars):
        raise NoExpression(f"it takes {len(code.freevars)} values from the function around it, "
                           f"and the file has {len(closure)}")
    names = code.varnames[:code.argcount + code.kwonly]
    decoder = Decoder(version)
    found = decoder.result(code, [Expr("argument", name) for name in names],
                           dict(zip(code.freevars, closure)))
    return found, decoder.dropped
