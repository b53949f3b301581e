"""Merged launches: the bits of the launches they stand for, and fewer of them."""
import numpy as np
import pytest

from gpukeras import devices
from gpukeras.devices import nvrtc
from gpukeras.devices.codegen import FusedModule
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice, KernelExecutable
from gpukeras.devices.merge import MOST_BLOCKS, Prepared, merge
from gpukeras.devices.sources import kernel_source
from gpukeras.function import function
from gpukeras.graph import Placeholder
from gpukeras.ops import broadcast, index, linalg, math, nn, reduce, shape
from gpukeras.ops.record import In, Kernel, Out, Tickets


def many_steps(x, w, labels):
    """Small steps of all kinds: fused, reductions, softmax, copies of boxes, gathers."""
    y = linalg.dot(x, w)
    loss = nn.SparseSoftmaxCrossEntropy()(y, labels)
    hits = math.cast(math.equal(reduce.ArgMax(1)(y), labels), "float32")
    column = broadcast.sum_(y, 0)
    both = shape.concat([shape.slice_axis(column, 0, 1, 4), broadcast.reshape(loss, (-1,))], 0)
    picked = index.gather(y, labels)
    return [loss, hits, broadcast.sum_(hits), column, both, reduce.max_(picked, 1),
            shape.transpose(nn.Softmax()(y), (1, 0)), math.tanh(column) * 2 + 1]


def run(on, merges, monkeypatch, rows=6, check="races"):
    monkeypatch.setattr(KernelExecutable, "merges", merges)
    on(KernelDevice(EmuDriver(check=check, schedule="random")))
    rng = np.random.default_rng(0)
    x, w = Placeholder("float32", (None, 5)), Placeholder("float32", (5, 7))
    labels = Placeholder("int64", (None,))
    step = function([x, w, labels], many_steps(x, w, labels))
    data = [rng.normal(size=(rows, 5)).astype("f4"), rng.normal(size=(5, 7)).astype("f4"),
            rng.integers(0, 5, rows)]
    results = [step(data) for _ in range(2)]
    counters = devices.current().driver.counters
    return results, counters.launches, next(iter(step._plans.values()))[1]


@pytest.mark.parametrize("rows", [1, 6, 31])
def test_merged_launches_give_the_same_bits(on, monkeypatch, rows):
    merged, few, _ = run(on, True, monkeypatch, rows)
    single, many, _ = run(on, False, monkeypatch, rows)
    for a, b in zip(merged, single):
        assert all(u.tobytes() == v.tobytes() for u, v in zip(a, b, strict=True))
    assert few <= 8 < 16 <= many


def test_the_text_serves_every_batch_size_with_the_same_steps(on, monkeypatch):
    monkeypatch.setattr(KernelExecutable, "merges", True)
    driver = EmuDriver()
    on(KernelDevice(driver))
    x = Placeholder("float32", (None, 5))
    step = function([x], [math.tanh(broadcast.sum_(math.square(x), 1)), broadcast.sum_(x)])
    for rows in (2, 3, 9):
        a = np.random.default_rng(rows).normal(size=(rows, 5)).astype("f4")
        got = step([a])
        np.testing.assert_allclose(got[0], np.tanh(np.square(a).sum(1)), rtol=1e-5)
        np.testing.assert_allclose(got[1], a.sum(), rtol=1e-5)
    assert len(driver._modules) == 1 and driver.counters.launches == 3


def prepared(n=100, **changes):
    driver = EmuDriver()
    fused = FusedModule()
    x = driver.to_device(np.arange(n, dtype="f4"))
    from gpukeras.graph import TensorType

    name = fused.add(math.Square(), (TensorType("float32", (n,)),), (TensorType("float32", (n,)),))
    fields = dict(text=fused.text(), file="fused.cu", entry=name, grid=(1,), block=(256,),
                  args=[x, x, np.uint32(n)], fused=True, any_grid=True)
    return Prepared(**{**fields, **changes})


@pytest.mark.parametrize("changes, small", [
    ({}, True), ({"n": 20_000}, False), ({"smem": 64}, False), ({"block": (128,)}, False),
    ({"block": (32, 8)}, True), ({"block": (8, 8, 4)}, False), ({"block": (96, 8)}, False),
    ({"any_grid": False, "grid": (MOST_BLOCKS + 1,)}, False),
    ({"any_grid": False, "grid": (2, 2)}, False),
    ({"any_grid": False, "grid": (MOST_BLOCKS,)}, True),
    ({"args": [np.float16(1)]}, False),
    ({"text": "extern __shared__ float s[];"}, False)], ids=str)
def test_what_counts_as_small(changes, small):
    assert prepared(**changes).is_small == small


def test_only_neighbours_are_merged():
    def call():
        pass

    large = prepared(20_000)
    items = [prepared(), call, prepared(), prepared(), large, prepared()]
    result = merge(items)
    assert [getattr(i, "entry", i) for i in result] == [
        "fused_0", call, "merged_steps", "fused_0", "fused_0"]
    assert result[0] is items[0] and result[3] is large


def test_merged_texts_compile_for_every_architecture(on, monkeypatch):
    if nvrtc.missing():
        pytest.skip(f"kernels are not compiled here: {nvrtc.missing()}")
    texts = []
    load = EmuDriver.load
    monkeypatch.setattr(EmuDriver, "load", lambda self, text, *more: (
        texts.append(text), load(self, text, *more))[1])
    run(on, True, monkeypatch, check="")
    merged = {t for t in texts if "merged_steps" in t}
    assert merged
    for text in merged:
        for arch in (75, 90, 120):
            use = nvrtc.compile_cubin(text, "merged.cu", (), arch).report["merged_steps"]
            assert use.spill_bytes == 0 and use.registers <= 128


def test_every_kernel_of_256_threads_can_be_played(monkeypatch):
    """Each entry alone: its text as device functions compiles, whatever its macros and types."""
    import importlib

    from check import outputs_of, type_of

    if nvrtc.missing():
        pytest.skip(f"kernels are not compiled here: {nvrtc.missing()}")
    driver, seen = EmuDriver(), set()
    for table in ("nn", "reduce", "shape", "index", "random", "pool"):
        for case in importlib.import_module(f"cases_{table}").CASES:
            if not isinstance(case.op.cuda, Kernel):
                continue
            types = tuple(map(type_of, case.arrays("float32")))
            outs = outputs_of(case.op.infer(*types))
            for launch in case.op.cuda.plan(case.op, types, outs).steps:
                key = (getattr(launch, "entry", None), getattr(launch, "defines", None))
                if key[0] is None or key in seen:
                    continue
                seen.add(key)
                file = launch.file or case.op.cuda.file
                one, tickets = driver.empty((4,), "f4"), driver.empty((4,), "u4")
                args = [one if isinstance(a, (In, Out)) or hasattr(a, "index") else
                        tickets if isinstance(a, Tickets) else a for a in launch.args]
                item = Prepared(kernel_source(file), file, launch.entry, launch.grid, launch.block,
                                args, launch.smem, launch.defines)
                if item.is_small:
                    result, = merge([item, item])
                    nvrtc.compile_cubin(result.text, "merged.cu", (), 90)
    assert len(seen) > 20


def test_small_steps_wait_for_each_other_but_not_for_ever():
    from gpukeras.graph import Graph
    from gpukeras.passes.schedule import make_schedule

    a, b = Placeholder("float32", (400, 400)), Placeholder("float32", (400, 8))
    large = linalg.dot(a, a)                       # needs nothing small
    small = broadcast.sum_(b, 0)
    bent = math.tanh(small)
    last = linalg.dot(large, linalg.dot(a, a * broadcast.sum_(bent)))
    graph = Graph((a, b), (last, small))

    def names(together):
        return [type(s.op).__name__ for s in make_schedule(graph, together).steps]

    plain, moved = names(False), names(True)
    assert sorted(plain) == sorted(moved)
    i = moved.index("Tanh")
    assert moved[i - 1:i + 2] == ["Sum", "Tanh", "Sum"] and moved[i + 2] in ("Mul", "BroadcastTo")
