"""What runs without Python's lock: tapes of native calls, and the threads that play them.

    play(tape)                                    do all calls of a tape
    together(tapes, desks, count, post, relax)    tapes[0] here, the others by threads
    serve(desk, spins, wait)                      the life of such a thread

All arguments are addresses (int64) or numbers.  A tape is an array of 8-byte words, instruction
after instruction: its code, its length in words, its fields; see tape.py, which writes them.  A
desk is where a thread is given its work: words of one cache line each.

Imported only where numba is installed, by native/__init__.py.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

END, GEMM, STACK, AXPY, CALL, LOOP, MOVE, GEMMS, SKIP = range(9)
# words of GEMMS, which begins as a GEMM: addresses of its operands, how many products, bytes from
# the operands of one to those of the next
PLACES, COUNT, GAPS = (10, 12, 15), 17, 18
BOOL_TO_FLOAT = -4           # in place of a MOVE's item size
# words of a LOOP or MOVE: function or item size, its data, operands, length of a run, axes around
# it, addresses at the start, addresses now, steps within a run; then of each axis size, counter,
# and steps
FUNCTION, DATA, OPERANDS, RUN, AXES, HOME, NOW, STEPS, AXIS = 2, 3, 4, 5, 6, 7, 11, 15, 19
PER_AXIS = 6
# lines of a desk, in bytes: the work (an address, or one of these), whether its thread sleeps
WORK, ASLEEP, BED, DESK = 0, 64, 128, 256
NOTHING, TAKEN, DONE, LEAVE, WORKS = 0, 1, 2, 3, 4

_INT, _LONG, _REAL = ir.IntType(32), ir.IntType(64), ir.FloatType()
_PLACE = ir.IntType(8).as_pointer()
_GEMM = [_INT] * 3 + [_LONG] * 3 + [_REAL, _PLACE, _LONG, _PLACE, _LONG, _REAL, _PLACE, _LONG]
_STACK = ([_INT] * 3 + [_LONG] * 3 + [_REAL, _PLACE, _LONG, _LONG, _PLACE, _LONG, _LONG, _REAL,
                                      _PLACE, _LONG, _LONG, _LONG])


def _at(builder, address, kind=_LONG):
    return builder.inttoptr(address, kind.as_pointer())


def _from_tape(kinds):
    """The intrinsic that calls the function in word 2 with the words after it, as `kinds`."""
    def call(typingctx, tape):
        def make(context, builder, signature, args):
            words = _at(builder, args[0])
            values = []
            for i, kind in enumerate(kinds):
                word = builder.load(builder.gep(words, [_LONG(3 + i)]))
                if kind is _INT:
                    word = builder.trunc(word, _INT)
                elif kind is _REAL:
                    word = builder.bitcast(builder.trunc(word, _INT), _REAL)
                elif kind is _PLACE:
                    word = builder.inttoptr(word, _PLACE)
                values.append(word)
            function = ir.FunctionType(ir.VoidType(), kinds).as_pointer()
            address = builder.load(builder.gep(words, [_LONG(2)]))
            builder.call(builder.inttoptr(address, function), values)
            return context.get_dummy_value()
        return types.void(types.int64), make
    return intrinsic(call)


gemm, stack, axpy = map(_from_tape, (_GEMM, _STACK, [_PLACE] * 6))
call = _from_tape([_LONG])


@intrinsic
def loop(typingctx, function, operands, count, steps, data):
    """Call of an inner loop of NumPy's: (char **args, npy_intp *count, npy_intp *steps, data)."""
    def make(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_LONG] * 4).as_pointer()
        builder.call(builder.inttoptr(args[0], kind), args[1:])
        return context.get_dummy_value()
    return types.void(*[types.int64] * 5), make


@intrinsic
def ask(typingctx, function, argument):
    """Call of a C function int f(void *)."""
    def make(context, builder, signature, args):
        kind = ir.FunctionType(_INT, [_LONG]).as_pointer()
        return builder.sext(builder.call(builder.inttoptr(args[0], kind), args[1:]), _LONG)
    return types.int64(types.int64, types.int64), make


@intrinsic
def word(typingctx, address):
    def make(context, builder, signature, args):
        return builder.load(_at(builder, args[0]))
    return types.int64(types.int64), make


def _place(kind):
    """The intrinsic that makes a pointer of an address."""
    def pointer(typingctx, address):
        def make(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))
        return types.CPointer(kind)(types.int64), make
    return intrinsic(pointer)


place_float32, place_float64, place_bool = map(
    _place, (types.float32, types.float64, types.boolean))


@intrinsic
def put(typingctx, address, value):
    def make(context, builder, signature, args):
        builder.store(args[1], _at(builder, args[0]))
        return context.get_dummy_value()
    return types.void(types.int64, types.int64), make


@intrinsic
def look(typingctx, address):
    """The word that another thread may have written, and all it wrote before."""
    def make(context, builder, signature, args):
        return builder.load_atomic(_at(builder, args[0]), "seq_cst", 8)
    return types.int64(types.int64), make


@intrinsic
def tell(typingctx, address, value):
    def make(context, builder, signature, args):
        builder.atomic_rmw("xchg", _at(builder, args[0]), args[1], "seq_cst")
        return context.get_dummy_value()
    return types.void(types.int64, types.int64), make


@intrinsic
def swap(typingctx, address, old, new):
    """Write `new` where `old` is: whether it was."""
    def make(context, builder, signature, args):
        done = builder.cmpxchg(_at(builder, args[0]), args[1], args[2], "seq_cst", "seq_cst")
        return builder.extract_value(done, 1)
    return types.boolean(types.int64, types.int64, types.int64), make


@intrinsic
def pause(typingctx):
    """What a processor wants to hear in a loop that waits."""
    def make(context, builder, signature, args):
        machine = builder.module.triple.split("-")[0]
        if machine == "x86_64":
            name, kinds = "llvm.x86.sse2.pause", []
        elif machine in ("aarch64", "arm64"):
            name, kinds = "llvm.aarch64.hint", [_INT]                   # 1: yield
        else:
            return context.get_dummy_value()
        hint = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), kinds), name)
        builder.call(hint, [kind(1) for kind in kinds])
        return context.get_dummy_value()
    return types.void(), make


@intrinsic
def move(typingctx, to, source, nbytes):
    def make(context, builder, signature, args):
        cgutils.raw_memcpy(builder, builder.inttoptr(args[0], _PLACE),
                           builder.inttoptr(args[1], _PLACE), args[2], 1)
        return context.get_dummy_value()
    return types.void(*[types.int64] * 3), make


def _mover(bits):
    def one(typingctx, to, source):
        def make(context, builder, signature, args):
            kind = ir.IntType(bits)
            value = builder.load(_at(builder, args[1], kind))
            builder.store(value, _at(builder, args[0], kind))
            return context.get_dummy_value()
        return types.void(types.int64, types.int64), make
    return intrinsic(one)


move1, move4, move8 = map(_mover, (8, 32, 64))


@intrinsic
def byte(typingctx, address):
    def make(context, builder, signature, args):
        return builder.zext(builder.load(_at(builder, args[0], ir.IntType(8))), _LONG)
    return types.int64(types.int64), make


@intrinsic
def put_float(typingctx, address, value):
    def make(context, builder, signature, args):
        builder.store(builder.uitofp(args[1], _REAL), _at(builder, args[0], _REAL))
        return context.get_dummy_value()
    return types.void(types.int64, types.int64), make


@njit(nogil=True, cache=True)
def _advance(tape):
    """Move the addresses to the next run; False after the last one."""
    axis, operands = word(tape + 8 * AXES) - 1, word(tape + 8 * OPERANDS)
    while axis >= 0:
        at = tape + 8 * (AXIS + PER_AXIS * axis)
        size, count = word(at), word(at + 8) + 1
        more = count < size
        put(at + 8, count if more else 0)
        times = 1 if more else 1 - size
        for i in range(operands):
            now = tape + 8 * (NOW + i)
            put(now, word(now) + times * word(at + 16 + 8 * i))
        if more:
            return True
        axis -= 1
    return False


@njit(nogil=True, cache=True)
def _move_run(to, source, step_to, step, size, count):
    if step_to == size and step == size:
        move(to, source, size * count)
    elif size == 4 and step_to == 4:
        for i in range(count):
            move4(to + 4 * i, source + step * i)
    elif size == 4:
        for i in range(count):
            move4(to + step_to * i, source + step * i)
    elif size == 8:
        for i in range(count):
            move8(to + step_to * i, source + step * i)
    elif size == BOOL_TO_FLOAT and step_to == 4 and step == 1:
        for i in range(count):
            put_float(to + 4 * i, byte(source + i))
    elif size == BOOL_TO_FLOAT:
        for i in range(count):
            put_float(to + step_to * i, byte(source + step * i))
    elif size == 1:
        for i in range(count):
            move1(to + step_to * i, source + step * i)
    else:
        for i in range(count):
            move(to + step_to * i, source + step * i, size)


@njit(nogil=True, cache=True)
def _runs(tape, moves):
    for i in range(word(tape + 8 * OPERANDS)):
        put(tape + 8 * (NOW + i), word(tape + 8 * (HOME + i)))
    while True:
        if moves:
            _move_run(word(tape + 8 * NOW), word(tape + 8 * NOW + 8), word(tape + 8 * STEPS),
                      word(tape + 8 * STEPS + 8), word(tape + 8 * FUNCTION), word(tape + 8 * RUN))
        else:
            loop(word(tape + 8 * FUNCTION), tape + 8 * NOW, tape + 8 * RUN, tape + 8 * STEPS,
                 word(tape + 8 * DATA))
        if not _advance(tape):
            return


@njit(nogil=True, cache=True)
def _gemms(tape):
    count = word(tape + 8 * COUNT)
    for i in range(count):
        gemm(tape)
        back = count - 1 if i == count - 1 else -1
        for j in range(3):
            place = tape + 8 * PLACES[j]
            put(place, word(place) - back * word(tape + 8 * (GAPS + j)))


@njit(nogil=True, cache=True)
def _ones(address, count):
    found = 0
    for i in range(count):
        found += byte(address + i)
    return found


@njit("void(int64)", nogil=True, cache=True)
def play(tape):
    while True:
        code, length = word(tape), word(tape + 8)
        if code == LOOP:
            _runs(tape, False)
        elif code == MOVE:
            _runs(tape, True)
        elif code == STACK:
            stack(tape)
        elif code == GEMM:
            gemm(tape)
        elif code == GEMMS:
            _gemms(tape)
        elif code == CALL:
            call(tape)
        elif code == AXPY:
            axpy(tape)
        elif code == SKIP:
            if _ones(word(tape + 16), word(tape + 24)) == word(tape + 32):
                length += word(tape + 40)
        else:
            return
        tape += 8 * length


@njit("void(int64, int64, int64, int64, int64)", nogil=True, cache=True)
def together(tapes, desks, count, post, relax):
    """Play tapes[0] here, tapes[1:] by the threads at `desks` or, where they have not begun, here.

    post: address of sem_post; relax: of sched_yield.
    """
    for i in range(1, count):
        desk = desks + DESK * (i - 1)
        tell(desk + WORK, word(tapes + 8 * i))
        if look(desk + ASLEEP) and swap(desk + ASLEEP, 1, 0):
            ask(post, desk + BED)
    play(word(tapes))
    for i in range(1, count):
        desk, tape = desks + DESK * (i - 1), word(tapes + 8 * i)
        if swap(desk + WORK, tape, NOTHING):
            play(tape)
            continue
        spins = 0
        while look(desk + WORK) != DONE:
            pause()
            spins += 1
            if spins % 4096 == 0:                  # its thread may wait for this processor
                ask(relax, 0)
        tell(desk + WORK, NOTHING)


@njit("void(int64, int64, int64)", nogil=True, cache=True)
def serve(desk, spins, wait):
    """Play what is laid on the desk until LEAVE is.  After `spins` looks, sleep (wait: address of
    sem_wait)."""
    while True:
        left = spins
        while left > 0:
            work = look(desk + WORK)
            if work == LEAVE:
                return
            if work >= WORKS and swap(desk + WORK, work, TAKEN):
                play(work)
                tell(desk + WORK, DONE)
                left = spins
            pause()
            left -= 1
        tell(desk + ASLEEP, 1)
        work = look(desk + WORK)
        if work == LEAVE or work >= WORKS:
            tell(desk + ASLEEP, 0)
        else:
            ask(wait, desk + BED)
            tell(desk + ASLEEP, 0)


@njit("int64(int64)", nogil=True, cache=True)
def rest(spins):
    """Spin: to measure how long it takes."""
    for _ in range(spins):
        pause()
    return spins
