"""conv_implicit_wgmma.cu: convolution by warpgroups against float64, within the types' rounding."""
import numpy as np
import pytest

from gpukeras.devices import nvrtc
from gpukeras.errors import KernelError
from gpukeras.ops import plans_implicit
from gpukeras.ops.record import In, Traits

import harness
from harness import HOPPER, ON_GPU, run_plan
from implicit import CASES, EPS, KINDS, Problem, check_data_relu, check_stats

pytestmark = HOPPER
TILES = plans_implicit.WARPGROUP_TILES
BUDGETS = {"conv_implicit_wgmma_fwd": 255, "conv_implicit_wgmma_data": 255,
           "conv_implicit_wgmma_weight": 255, "conv_implicit_wgmma_stats": 255,
           "conv_implicit_wgmma_data_relu": 255}
ENTRIES = {"fwd": "conv_implicit_wgmma_fwd", "data": "conv_implicit_wgmma_data",
           "weight": "conv_implicit_wgmma_weight"}
# registers that leave room for as many blocks of a tile as shared memory does
REGISTERS = {"wgmma 128x256": 255, "wgmma 256x128": 255, "wgmma 128x128": 128,
             "wgmma 128x64": 168, "wgmma 64x128": 168}
WHOLE = ("VA", "1"), ("VB", "1")
VARIANTS = [(("T", name), *WHOLE, *tile.names)
            for name, tile in (("float", TILES[0]), ("float16", TILES[1]), ("bfloat16", TILES[2]))]
TYPES = ("float32", "float16", "bfloat16")
C_TYPES = {"float32": "float", "float16": "float16", "bfloat16": "bfloat16"}
CUT = {"float32": 2.0 ** -10, "float16": 0.0, "bfloat16": 0.0}           # operands on the way
SMALL = TILES[4]
SHARED_OF_BLOCK, SHARED_IN_ALL = 227 * 1024, 228 * 1024      # of a multiprocessor of sm_90


def eight(name):
    """A case of implicit.CASES with channels and filters that divide into pieces of 16 bytes."""
    *where, channels, filters = CASES[name]
    return (*where, -(-channels // 8) * 8, -(-filters // 8) * 8)


def run(problem, tile, **kwargs):
    plan = plans_implicit.implicit(problem.kind, problem.g, problem.f, problem.stored, tile)
    step, = plan.steps
    assert step.entry == ENTRIES[problem.kind]
    return run_plan(plan, problem.arrays, problem.empty, **kwargs)[0]


def check(problem, got):
    problem.check(got, each=CUT[problem.stored])


@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_float64(kind, stored):
    problem = Problem(eight("3x3"), kind, stored)
    check(problem, run(problem, SMALL))


@pytest.mark.long                                  # as in the tests of mma, whose walk it is
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in CASES if name != "3x3"])
def test_every_window_is_walked(name, kind):
    stored = TYPES[list(CASES).index(name) % 3]
    problem = Problem(eight(name), kind, stored)
    check(problem, run(problem, SMALL, schedules=("random",)))


@pytest.mark.parametrize("wide", [True, False], ids=["32 bits", "16 bits"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name.replace(" ", "-"))
def test_every_tile_makes_the_product(tile, kind, wide):
    stored = TYPES[0 if wide else 1 + TILES.index(tile) % 2]
    case = (2, (9, 17), (2, 2), (1, 1), ((1, 0), (1, 0)), (1, 1), 72, 136)
    problem = Problem(case, kind, stored)
    check(problem, run(problem, tile, schedules=("random",), check=False))


@pytest.mark.parametrize("name, stored, tile, total", [
    ("3x3", "float32", 4, True), ("strided odd", "float16", 3, True), ("deep", "bfloat16", 0, True),
    ("many filters", "float32", 1, True), ("deep", "float16", 2, False)])
def test_a_data_gradient_is_cut_where_a_relu_was(name, stored, tile, total):
    check_data_relu(Problem(eight(name), "data", stored), TILES[tile],
                    "conv_implicit_wgmma_data_relu", total, each=CUT[stored],
                    schedules=("random",), check=tile > 2)


@pytest.mark.parametrize("relu", [0, 1])
def test_bias_and_rectifier_follow_the_sums(relu):
    problem = Problem((1, (5, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 16, 136), "fwd",
                      "float16")
    bias = np.linspace(-9, 9, problem.f).astype("f2")
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, "float16", SMALL, In(2), relu)
    got = run_plan(plan, [*problem.arrays, bias], problem.empty)[0]
    problem.want = problem.want + bias
    if relu:
        problem.want = np.maximum(problem.want, 0)
    check(problem, got)


@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("name, tile", [("3x3", 4), ("many filters", 0), ("strided", 1),
                                        ("places in padding", 2), ("deep", 3)])
def test_statistics_are_those_of_what_is_written(name, tile, stored):
    problem = Problem(eight(name), "fwd", stored)
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, stored, TILES[tile], eps=1e-3)
    schedules = ("random",)
    check(problem, check_stats(plan, problem, "conv_implicit_wgmma_stats", 0.5,
                               schedules=schedules, check=tile == 4))


@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("name, kind", [("3x3", "fwd"), ("deep", "data"), ("3x3", "weight")])
def test_all_products_may_be_split(name, kind, stored, monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    images, *rest = eight(name)
    problem = Problem((2 * images, *rest), kind, stored)
    plan = plans_implicit.implicit(kind, problem.g, problem.f, stored, SMALL)
    assert plan.temps and plan.steps[0].args[-2 if kind == "fwd" else -1]["run"] % 64 == 0
    check(problem, run_plan(plan, problem.arrays, problem.empty, schedules=("random",))[0])


def test_tf32_cuts_the_operands_and_nothing_else():
    """Products of numbers with ten bits of mantissa are exact; the eleventh is cut off."""
    for kind in KINDS:
        problem = Problem(eight("1x1 strided"), kind, "float32")
        problem.exact = [np.round(a * 4) / 4 for a in problem.exact]
        want = problem.op.numpy(*problem.exact)
        assert np.array_equal(run(problem, SMALL, schedules=("random",)), want)
        problem.exact[0] = np.full_like(problem.exact[0], 1 + 2.0 ** -11 + 2.0 ** -12)
        want = problem.op.numpy(np.ones_like(problem.exact[0]), problem.exact[1])
        assert np.array_equal(run(problem, SMALL, schedules=("random",)), want.astype("f4"))


def test_errors_are_those_of_the_type_and_not_less():
    """The bound is not idle: rounded operands would be nearer."""
    problem = Problem(CASES["3x3"], "fwd", "float32")
    off = np.abs(run(problem, SMALL, schedules=("random",)) - problem.want) / problem.size
    assert 40 * EPS["float32"] < off.max() < 2.1 * CUT["float32"]


# ---- what a device offers

def offered(kind="fwd", dtype="bfloat16", arch=90, math="float32", channels=64, filters=64, **more):
    problem = Problem((2, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), channels, filters),
                      kind, dtype)
    ins, outs = problem.types
    return list(problem.op.cuda.plans(problem.op, ins, outs, Traits(arch, math)))


@pytest.mark.parametrize("how, is_offered", [
    ({}, True), ({"arch": 80}, False), ({"arch": 89}, False), ({"arch": 100}, False),
    ({"arch": 120}, False), ({"dtype": "float16"}, True), ({"dtype": "float32"}, False),
    ({"dtype": "float32", "math": "tf32"}, True), ({"dtype": "float64", "math": "tf32"}, False),
    ({"channels": 60}, False), ({"channels": 60, "dtype": "float32", "math": "tf32"}, True),
    ({"filters": 3}, False), ({"kind": "data", "channels": 3}, True),
    ({"kind": "weight", "channels": 3}, False), ({"kind": "data"}, True)])
def test_hopper_alone_is_offered_warpgroups_and_never_first(how, is_offered):
    names = offered(**how)
    assert any(name.startswith("wgmma") for name in names) == is_offered
    assert not names[0].startswith("wgmma")


# ---- what the compiler says

def ptxas(dtype, tile, text=None, more=()):
    """What ptxas says of the file for Hopper."""
    reason = nvrtc.missing()
    if reason:
        pytest.skip(f"kernels are not compiled here: {reason}")
    text = text or harness.source("conv_implicit_wgmma.cu")
    names = (("T", C_TYPES[dtype]), *WHOLE, *tile.names, *more)
    options = (*nvrtc.OPTIONS, f"-arch=sm_{nvrtc.target(text, 90)}")
    return nvrtc._compile(nvrtc.module_text(text, names), "wgmma.cu", options)[1]


@pytest.mark.parametrize("dtype", [pytest.param(dtype, marks=pytest.mark.long)
                                   if dtype == "float16" else dtype for dtype in TYPES])
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: tile.name.replace(" ", "-"))
def test_hopper_keeps_the_sums_in_registers_and_products_under_way(tile, dtype):
    """No spills, as many blocks a multiprocessor as meant, no waits that ptxas has to put in."""
    log = ptxas(dtype, tile)
    assert "erialized" not in log
    report = nvrtc.parse_report(log)
    assert set(report) == set(BUDGETS)
    blocks = {255: 1, 168: 3, 128: 2}[REGISTERS[tile.name]]
    size = 4 if dtype == "float32" else 2
    for entry, use in report.items():
        assert use.spill_bytes == 0 and use.registers <= REGISTERS[tile.name], (entry, use)
        shared = tile.smem("fwd", size) + use.shared_bytes
        assert shared <= SHARED_OF_BLOCK
        there = blocks - (blocks == 3 and use.shared_bytes > 1024)      # of sums over columns
        assert there * (shared + 1024) <= SHARED_IN_ALL
        assert there * tile.threads * use.registers <= 65536


def test_volumes_take_more_registers_and_no_spills():
    log = ptxas("bfloat16", TILES[2], more=(("RANK", "3"),))
    assert "erialized" not in log
    assert all(use.spill_bytes == 0 for use in nvrtc.parse_report(log).values())


def test_the_compiler_would_use_sums_too_early_without_the_pin():
    text = harness.source("conv_implicit_wgmma.cu")
    pin = "for (int i = 0; i < DOWN; ++i) pin(sums.v[i]);"
    assert pin in text
    assert "erialized" in ptxas("bfloat16", SMALL, text.replace(pin, ""))


def test_other_architectures_are_not_asked_to_compile_it():
    text = harness.source("conv_implicit_wgmma.cu")
    assert [nvrtc.target(text, arch) for arch in (75, 80, 90, 100, 120)] == [
        None, None, "90a", None, None]
    assert nvrtc.target(harness.source("conv_implicit_mma.cu"), 90) == "90"


# ---- banks of shared memory

def along_k(row, piece):
    """conv_implicit_wgmma.cu: bytes."""
    return row * 128 + (piece ^ row % 8) * 16


def along_rows(row, k, depth=64):
    return (row // 64 * (depth // 8) + k // 8) * 1024 + k % 8 * 128 + (row % 64 // 8 ^ k % 8) * 16


def test_copies_of_16_bytes_touch_all_banks_once():
    """Eight lanes at a time."""
    for threads, rows in ((256, 256), (256, 128), (256, 64), (128, 64), (128, 128)):
        for lane in range(0, threads, 8):
            lanes = range(lane, lane + 8)
            assert len({along_k(t // 8, t % 8) // 16 % 8 for t in lanes}) == 8
            across = rows // 8
            assert len({along_rows(t % across * 8, t // across) // 16 % 8 for t in lanes}) == 8


@pytest.mark.parametrize("rows, warps", [(256, 8), (128, 8), (64, 8), (64, 4), (128, 4)])
def test_words_that_are_turned_on_their_way_touch_all_banks_once(rows, warps):
    """Turned of conv_implicit_wgmma.cu: 32 lanes at a time; and every word is copied once."""
    across = rows // 4 // warps
    lanes_k = 32 // across
    order = {2: lambda e, pair: e, 4: lambda e, pair: e ^ 2 * pair, 8: lambda e, pair: e ^ pair}
    seen = []
    for warp in range(warps):
        for slot in range(32 // lanes_k):
            for e in range(4):
                places = []
                for lane in range(32):
                    row = (warp * across + lane % across) * 4
                    k = lane // across + slot * lanes_k
                    word = order[across](e, lane % across // 2)
                    places.append(along_k(row + word, k // 4) + k % 4 * 4)
                assert len({p // 4 % 32 for p in places}) == 32
                seen += places
    assert sorted(seen) == list(range(0, rows * 128, 4))


# ---- mistakes

MISTAKES = [
    ("        proxy_fence();\n", ""),
    ("copies_wait<STAGES - 3>();", ""),
    ("copies_wait<STAGES - 3>();", "copies_wait<STAGES - 2>();"),
    ("__syncthreads();              // this stage", "// this stage"),
    ("fetch(stage < 2 ? stage + STAGES - 2 : stage - 2);",
     "fetch(stage == 0 ? STAGES - 1 : stage - 1);"),
    ("        wgmma_wait<1>();\n", ""), ("    wgmma_wait<0>();\n", ""),
    ("    wgmma_wait<0>();\n", "    wgmma_wait<1>();\n"),
    ("row * LINE + (group ^ (row % 8)) * 16", "row * LINE + group * 16"),
    ("((row % 64 / 8) ^ (k % 8)) * 16", "(row % 64 / 8) * 16"),
    ("(row / 64 * (BK / 8) + k / 8) * PATTERN", "(row / 64 + k / 8 * (BN / 64)) * PATTERN"),
    ("for (int i = 0; i < DOWN; ++i) sums_fence(sums.v[i]);", ""),
    ("group * (DOWN * 64 * LINE)", "group * (DOWN * 32 * LINE)"),
    ("(given + PATTERN - 1) & ~(PATTERN - 1u)", "given"),
    ("TURNED_B ? 2 * PATTERN : 32", "32"), ("warp % 4 * 16", "warp % 4 * 8")]


@pytest.mark.skipif(ON_GPU, reason="a GPU may not notice")
@pytest.mark.parametrize("old, new", MISTAKES)
def test_a_mistake_in_the_pipeline_is_noticed(old, new, monkeypatch):
    """Each is one that a GPU might let pass for a while."""
    text = harness.source("conv_implicit_wgmma.cu")
    assert old in text
    monkeypatch.setattr(harness, "source", lambda file: text.replace(old, new))
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 1 << 20)
    problem = Problem((1, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 40, 72), "fwd",
                      "float16")                             # six tiles along the sum
    with pytest.raises((AssertionError, KernelError)):
        check(problem, run(problem, TILES[2], schedules=("forward",)))
