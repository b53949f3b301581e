"""The checks that every op passes, written once. Cases are rows in tests/ops/cases_*.py.

    types      the inferred types are those of the computed arrays, also while the batch is unknown
    gradient   in float64, along one random direction per input, against central differences
    host       the fast path gives what numpy() gives, call after call, into memory full of NaN
    layout     numpy() does not care how its inputs lie in memory
    cuda       the launch plan, run by the emulator, gives what numpy() gives
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np
from harness import emulator

from gpukeras.devices.array import RAW
from gpukeras.devices.codegen import FusedModule, launch_shape
from gpukeras.devices.driver import gemm_call
from gpukeras.devices.sources import kernel_source
from gpukeras.graph import Op, Placeholder, Tensor, TensorType, gradients, is_float
from gpukeras.ops.composite import evaluate
from gpukeras.ops.record import Fill, Gemm, In, Kernel, Launch, LaunchPlan, Out, Temp, Tickets

SIZES = (0, 1, 31, 32, 33, 1000)                   # around a warp, and more than a block
TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12}
CANARY, GUARD = 0xA5, 64                           # bytes on either side of an output


@dataclass(frozen=True)
class Case:
    """One op on inputs, each a shape (filled with normal numbers) or an array (kept as it is)."""

    op: Op
    inputs: tuple
    grad: bool = True                              # False: the op has no gradient to compare
    dtypes: tuple[str, ...] = ("float32",)         # data types of the CUDA run
    batch: bool = False                            # also infer with the first axes unknown
    tolerance: float = 1.0                         # times TOLERANCE

    def __repr__(self) -> str:
        sizes = [str(i if isinstance(i, tuple) else i.shape).replace(" ", "") for i in self.inputs]
        return f"{self.op}-{'-'.join(sizes)}".replace(" ", "")

    def arrays(self, dtype: str = "float64") -> tuple[np.ndarray, ...]:
        """The inputs, the same at every call; float inputs in `dtype`."""
        rng = np.random.default_rng(7)
        drawn = [rng.standard_normal(i) if isinstance(i, tuple) else np.asarray(i)
                 for i in self.inputs]
        return tuple(np.asarray(a, dtype if a.dtype.kind == "f" else a.dtype) for a in drawn)


def as_tuple(x: Any) -> tuple:
    return x if isinstance(x, tuple) else (x,)


def type_of(x: np.ndarray) -> TensorType:
    return TensorType(x.dtype.name, x.shape)


def check_op(case: Case) -> None:
    """All checks on one row."""
    check_types(case)
    check_layout(case)
    check_host(case)
    if case.grad:
        check_gradient(case)
    for dtype in case.dtypes:
        check_cuda(case, dtype)


# ------------------------------------------------------------------------------ types

def check_types(case: Case) -> None:
    for dtype in ("float64", "float32"):
        arrays = case.arrays(dtype)
        inferred = outputs_of(case.op.infer(*map(type_of, arrays)))
        computed = tuple(type_of(np.asarray(y)) for y in as_tuple(case.op.numpy(*arrays)))
        assert inferred == computed, f"{case.op}: inferred {inferred}, computed {computed}"
    if case.batch:
        unknown = [t.with_shape((None, *t.shape[1:])) for t in map(type_of, arrays)]
        for known, open_ in zip(inferred, outputs_of(case.op.infer(*unknown))):
            same = len(known.shape) == len(open_.shape) and known.dtype == open_.dtype and all(
                a == b or b is None for a, b in zip(known.shape, open_.shape))
            assert same, f"{case.op}: inferred {open_} with unknown batch, {known} with known"


def outputs_of(types: Any) -> tuple[TensorType, ...]:
    return (types,) if isinstance(types, TensorType) else tuple(types)


# ------------------------------------------------------------------------------ layout

def scattered(x: np.ndarray) -> np.ndarray:
    """The same values, in memory with gaps and in another order of axes."""
    wide = np.empty(tuple(2 * d for d in x.shape[::-1]), x.dtype)
    view = wide.T[tuple(slice(None, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def check_layout(case: Case) -> None:
    arrays = case.arrays()
    plain = as_tuple(case.op.numpy(*arrays))
    other = as_tuple(case.op.numpy(*(scattered(a) if a.ndim else a for a in arrays)))
    for a, b in zip(plain, other):
        np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-11)


# ------------------------------------------------------------------------------ gradient

def check_gradient(case: Case, step: float = 1e-6, tolerance: float = 1e-5) -> None:
    arrays = case.arrays("float64")
    xs = [Placeholder(a.dtype.name, a.shape) for a in arrays]
    ys = as_tuple(case.op(*xs))
    smooth = [y for y in ys if is_float(y.dtype)]
    rng = np.random.default_rng(11)
    weights = [rng.standard_normal(y.shape) for y in smooth]
    seeds = [Placeholder("float64", y.shape) for y in smooth]
    wrt = [x for x in xs if is_float(x.dtype)]
    grads = gradients(list(zip(smooth, seeds)), wrt)
    given = dict(zip([*xs, *seeds], [*arrays, *weights]))
    live = [(x, g) for x, g in zip(wrt, grads) if g is not None]
    values = evaluate(tuple(g for _, g in live), given) if live else ()
    moved = {x: np.zeros(x.shape) for x in wrt}
    moved.update((x, value) for (x, _), value in zip(live, values))

    def loss(at: dict[Tensor, np.ndarray]) -> float:
        return sum(float(np.sum(w * y)) for w, y in zip(weights, evaluate(tuple(smooth), at)))

    for i, (x, gradient) in enumerate(moved.items()):
        assert gradient.shape == x.shape, f"{case.op}: gradient {i} has shape {gradient.shape}"
        direction = rng.standard_normal(x.shape)
        got = float(np.sum(gradient * direction))
        ahead, behind = (loss({**given, x: given[x] + s * step * direction}) for s in (1, -1))
        expected = (ahead - behind) / (2 * step)
        scale = max(abs(expected), float(np.linalg.norm(gradient)), 1.0)
        assert abs(got - expected) <= tolerance * scale, (
            f"{case.op}: gradient of input {i} along a direction is {got}, expected {expected}")


# ------------------------------------------------------------------------------ host

def spoiled(type: TensorType) -> tuple[np.ndarray, np.ndarray]:
    """(array full of NaN or 0xFF, the bytes around and under it)."""
    memory = np.full(type.nbytes + 2 * GUARD, CANARY, np.uint8)
    middle = memory[GUARD:GUARD + type.nbytes]
    middle[...] = 0 if type.dtype == "bool" else 0xFF
    return middle.view(type.dtype).reshape(type.shape), memory


def intact(memory: np.ndarray) -> bool:
    return bool((memory[:GUARD] == CANARY).all() and (memory[-GUARD:] == CANARY).all())


def check_host(case: Case) -> None:
    ins = tuple(np.array(a) for a in case.arrays("float32"))
    outs, memory = zip(*(spoiled(t) for t in outputs_of(case.op.infer(*map(type_of, ins)))))
    run = case.op.host(ins, outs)
    if run is None:
        return
    for call in range(2):
        if call:                                   # new values in the same memory
            for a in ins:
                if a.dtype.kind == "f":
                    np.multiply(a, np.float32(0.5), out=a)
        expected = as_tuple(case.op.numpy(*ins))
        run()
        for y, want in zip(outs, expected):
            compare(y, want, "float32", case, f"host(), call {call + 1}")
    assert all(map(intact, memory)), f"{case.op}: host() wrote outside its output"


def compare(got: np.ndarray, want: np.ndarray, dtype: str, case: Case, what: str) -> None:
    want = np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype, (
        f"{case.op}: {what}: got {type_of(got)}, expected {type_of(want)}")
    if want.dtype.kind != "f":
        assert np.array_equal(got, want), f"{case.op}: {what}: values differ"
        return
    limit = TOLERANCE[dtype] * case.tolerance
    wide = want.astype("float64")
    finite = wide[np.isfinite(wide)]
    scale = float(np.abs(finite).max(initial=0))
    np.testing.assert_allclose(got.astype("float64"), wide, rtol=limit,
                               atol=limit * max(scale, 1e-30), err_msg=f"{case.op}: {what}")


# ------------------------------------------------------------------------------ cuda

def check_cuda(case: Case, dtype: str = "float32") -> None:
    """Runs the launch plan on the emulator under two schedules, outputs spoiled and guarded."""
    if not isinstance(case.op.cuda, Kernel):
        return
    ins = case.arrays(dtype)
    types = tuple(map(type_of, ins))
    outs = outputs_of(case.op.infer(*types))
    plans = [case.op.cuda.plan(case.op, types, outs)]
    if case.op.cuda.choices:
        plans.append(next(iter(case.op.cuda.plans(case.op, types, outs).values())))
    if plans[0].otherwise and any(isinstance(s, Gemm) for s in plans[0].steps):
        plans.append(plans[0].otherwise)           # without the library's epilogue
    exact = case.op.numpy(*(a.astype("float64") if a.dtype == "float16" else a for a in ins))
    for schedule, plan in itertools.product(("forward", "reverse"), plans):
        results = run_plan(case.op.cuda.file, plan, ins, outs, schedule)
        for k, (got, want) in enumerate(zip(results, as_tuple(exact))):
            if k not in case.op.opaque or plan is plans[0]:
                compare(got, np.asarray(want, got.dtype), dtype, case,
                        f"{dtype} on CUDA, {schedule}")


def prove(op: Op, *ins: np.ndarray, entries: Sequence[str]) -> list[np.ndarray]:
    """The outputs of op's launch plan, which must launch exactly `entries`.

    Runs under every order of threads and once with bounds and races watched: always the same bits.
    """
    types = tuple(map(type_of, ins))
    outs = outputs_of(op.infer(*types))
    plan = op.cuda.plan(op, types, outs)
    launched = {step.entry for step in plan.steps if isinstance(step, Launch)}
    assert launched == set(entries), f"{op} launches {launched}, expected {set(entries)}"
    runs = [run_plan(op.cuda.file, plan, ins, outs, schedule, check)
            for schedule, check in (("forward", ""), ("reverse", ""), ("random", ""),
                                    ("random", "races"))]
    for other in runs[1:]:
        for a, b in zip(runs[0], other):
            assert a.tobytes() == b.tobytes(), f"{op} depends on the order of threads"
    return runs[0]


def run_plan(file: str, plan: LaunchPlan, ins: Sequence[np.ndarray], outs: Sequence[TensorType],
             schedule: str = "forward", check: str = "") -> list[np.ndarray]:
    """The outputs of a launch plan on the emulator; fails if it writes outside its buffers."""
    driver = emulator(check)
    driver.schedule = schedule
    inputs = [driver.to_device(np.ascontiguousarray(a)) for a in ins]
    guarded = [_guarded(driver, t.nbytes) for t in outs]
    scratch = [_guarded(driver, n) for n in plan.temps]
    places = {In: [(a, a.dtype) for a in inputs],
              Out: [(_inside(g, t.nbytes), np.dtype(t.dtype)) for g, t in zip(guarded, outs)],
              Temp: [(_inside(g, n), RAW) for g, n in zip(scratch, plan.temps)]}

    tickets = [_tickets(driver, a.count) for s in plan.steps if isinstance(s, Launch)
               for a in s.args if isinstance(a, Tickets)]

    def at(ref):
        if isinstance(ref, Tickets):
            return next(t for t in tickets if t.shape[0] == ref.count)
        if not isinstance(ref, (In, Out, Temp)):
            return ref
        array, dtype = places[type(ref)][ref.index]
        return array.raw(ref.offset).view(dtype)

    for step in plan.steps:
        _run_step(driver, file, step, at)
    for g, n in zip(guarded + scratch, [t.nbytes for t in outs] + list(plan.temps)):
        memory = driver.download(g)
        assert (memory[:256] == CANARY).all() and (memory[256 + n:] == CANARY).all(), (
            f"{file}: wrote outside a buffer of {n} bytes")
    for array in tickets:
        assert not driver.download(array).any(), f"{file}: left a ticket that is not zero"
    return [driver.download(_inside(g, t.nbytes)).view(t.dtype).reshape(t.shape)
            for g, t in zip(guarded, outs)]


def _tickets(driver, count: int):
    array = driver.empty((count,), np.uint32)
    driver.fill(array, 0)
    return array


def _guarded(driver, nbytes: int):
    memory = driver.alloc(nbytes + 512)
    driver.fill(memory, CANARY)
    if nbytes:
        driver.fill(_inside(memory, nbytes), 0xFF)
    return memory


def _inside(memory, nbytes: int):
    return memory.view(np.uint8, (nbytes,), 256)


def _run_step(driver, file: str, step, at) -> None:
    if isinstance(step, Launch):
        name = step.file or file
        module = driver.load(kernel_source(name), name, step.defines)
        driver.launch(module.kernel(step.entry), step.grid, step.block, [at(a) for a in step.args],
                      step.smem)
    elif isinstance(step, Fill):
        ref = at(step.ref)
        driver.fill(ref.view(np.uint8, (step.nbytes,)), step.byte)
    else:
        assert isinstance(step, Gemm)
        driver.bind_gemm(gemm_call(step, at))()


def fused_module(cases: Sequence[Case]) -> tuple[Any, list[str]]:
    """One loaded module with the fused kernel of every row, and the kernels' names."""
    module, names = FusedModule(), []
    for case in cases:
        types = tuple(map(type_of, case.arrays("float32")))
        names.append(module.add(case.op, types, outputs_of(case.op.infer(*types))))
    return emulator().load(module.text(), "fused.cu"), names


def check_fused(case: Case, loaded, name: str) -> None:
    """Runs kernel `name` of a module of fused kernels against numpy(), in float32."""
    driver, ins = emulator(), case.arrays("float32")
    outs = outputs_of(case.op.infer(*map(type_of, ins)))
    grid, block, count = launch_shape(outs[0].size)
    for schedule in ("forward", "reverse"):
        driver.schedule = schedule
        memory = [_guarded(driver, t.nbytes) for t in outs]
        device = [driver.to_device(a) for a in ins]
        device += [_inside(m, t.nbytes).view(t.dtype) for m, t in zip(memory, outs)]
        if outs[0].size:
            driver.launch(loaded.kernel(name), grid, block, [*device, count])
        for t, m, want in zip(outs, memory, as_tuple(case.op.numpy(*ins))):
            around = driver.download(m)
            assert (around[:256] == CANARY).all() and (around[256 + t.nbytes:] == CANARY).all()
            got = around[256:256 + t.nbytes].view(t.dtype).reshape(t.shape)
            compare(got, want, "float32", case, f"fused kernel, {schedule}")
