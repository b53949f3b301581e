"""conv_implicit_mma.cu: convolution on tensor cores against float64, within the types' rounding."""
import numpy as np
import pytest

from gpukeras import config, devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.errors import KernelError
from gpukeras.function import function
from gpukeras.graph import Placeholder, gradients
from gpukeras.ops import plans_implicit
from gpukeras.ops.conv import conv
from gpukeras.ops.record import Traits

import harness
from harness import ON_GPU, check_nvrtc, run_kernel, run_plan
from implicit import CASES, EPS, KINDS, Problem, check_data_relu, check_stats

BUDGETS = {"conv_implicit_mma_fwd": 168, "conv_implicit_mma_data": 168,
           "conv_implicit_mma_weight": 168, "conv_implicit_mma_stats": 168,
           "conv_implicit_mma_data_relu": 168}
ENTRIES = {"fwd": "conv_implicit_mma_fwd", "data": "conv_implicit_mma_data",
           "weight": "conv_implicit_mma_weight"}
TILES = plans_implicit.TENSOR_TILES
ALL_TILES = (*TILES, plans_implicit.LARGE_WARPS)
VARIANTS = [(("T", "float"), ("VA", "1"), ("VB", "1"), *TILES[1].names),
            (("T", "float16"), ("VA", "1"), ("VB", "1"), *TILES[1].names),
            (("T", "bfloat16"), ("VA", "1"), ("VB", "1"), *TILES[0].names)]
TYPES = ("float32", "float16", "bfloat16")
TF32 = Traits(math="tf32")
OPERANDS = {"float32": 2.0 ** -11, "float16": 0.0, "bfloat16": 0.0}      # rounded on the way


def run(problem, tile=None, extra=(), **kwargs):
    how = problem.kind, problem.g, problem.f, problem.stored
    plan = plans_implicit.implicit(*how, tile or plans_implicit.ranked(*how, TF32)[0])
    step, = plan.steps
    assert step.entry == ENTRIES[problem.kind]
    object.__setattr__(step, "defines", (*step.defines, *extra))
    return run_plan(plan, problem.arrays, problem.empty, **kwargs)[0]


def check(problem, got):
    problem.check(got, each=OPERANDS[problem.stored])


@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["3x3", "odd"])
def test_products_are_those_of_float64(name, kind, stored):
    problem = Problem(CASES[name], kind, stored)
    check(problem, run(problem))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("3x3", "odd")])
def test_every_window_is_walked(name, kind):
    problem = Problem(CASES[name], kind, "float32")
    check(problem, run(problem, TILES[2], schedules=("random",)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile", ALL_TILES, ids=lambda tile: tile.name.replace(" ", "-"))
def test_every_tile_makes_the_product(tile, kind):
    stored = TYPES[ALL_TILES.index(tile) % 3]
    case = (2, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 16, 40)
    problem = Problem(case, kind, stored)
    check(problem, run(problem, tile, schedules=("random",), check=False))


@pytest.mark.parametrize("name, stored, tile, total", [
    ("3x3", "float32", 1, True), ("odd", "float16", 2, True), ("strided odd", "float32", 2, True),
    ("many filters", "bfloat16", 0, True), ("deep", "float16", -1, False)])
def test_a_data_gradient_is_cut_where_a_relu_was(name, stored, tile, total):
    check_data_relu(Problem(CASES[name], "data", stored), ALL_TILES[tile],
                    "conv_implicit_mma_data_relu", total, each=OPERANDS[stored])


@pytest.mark.parametrize("stored", TYPES)
def test_splits_of_the_weight_gradient_are_added_in_order(stored, monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem((4, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 8, 16), "weight",
                      stored)
    plan = plans_implicit.implicit("weight", problem.g, problem.f, stored, TILES[2])
    assert plan.steps[0].grid[2] == 9                        # 288 places in runs of 32
    check(problem, run_plan(plan, problem.arrays, problem.empty)[0])


@pytest.mark.parametrize("stages", [2, 3])
def test_fewer_stages_and_the_instructions_of_turing_give_the_same(stages):
    """What sm_75 runs, but for the copies: two products of K = 8 for each of K = 16."""
    for kind in KINDS:
        problem = Problem(CASES["3x3"], kind, "float16")
        tile = TILES[2]._replace(stages=stages)
        check(problem, run(problem, tile, (("TURING", "1"),), schedules=("random",)))


@pytest.mark.parametrize("relu", [0, 1])
def test_bias_and_rectifier_follow_the_sums(relu):
    problem = Problem(CASES["many filters"], "fwd", "float16")
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, "float16", TILES[2])
    step, = plan.steps
    bias = np.linspace(-9, 9, problem.f).astype("f2")
    args = [*problem.arrays, bias, *problem.empty, None, None, step.args[-2],
            np.int32(relu)]
    got = run_kernel(step.file, step.entry, step.grid, step.block, args, step.defines,
                     smem=step.smem)[3]
    problem.want = problem.want + bias
    if relu:
        problem.want = np.maximum(problem.want, 0)
    check(problem, got)


def test_tf32_rounds_the_operands_and_nothing_else():
    """Products of numbers with ten bits of mantissa are exact; one more bit is rounded off."""
    problem = Problem(CASES["1x1 strided"], "fwd", "float32")
    problem.exact = [np.round(a * 4) / 4 for a in problem.exact]
    problem.want = problem.op.numpy(*problem.exact)
    assert np.array_equal(run(problem, TILES[2], schedules=("random",)), problem.want)
    problem.exact[0] = np.full_like(problem.exact[0], 1 + 2.0 ** -11 + 2.0 ** -12)
    want = problem.op.numpy(np.full_like(problem.exact[0], 1 + 2.0 ** -10), problem.exact[1])
    assert np.array_equal(run(problem, TILES[2], schedules=("random",)), want.astype("f4"))


def test_errors_are_those_of_the_type_and_not_less():
    """The bound is not idle: float32 sums of float32 products would be much nearer."""
    problem = Problem(CASES["3x3"], "fwd", "float32")
    off = np.abs(run(problem, schedules=("random",)) - problem.want) / problem.size
    assert 20 * EPS["float32"] < off.max() < 2.1 * OPERANDS["float32"]


@pytest.mark.parametrize("arch, dtype, math, file", [
    (75, "float16", "float32", "conv_implicit_mma.cu"), (75, "bfloat16", "float32",
                                                         "conv_implicit.cu"),
    (75, "float32", "tf32", "conv_implicit.cu"), (80, "float32", "tf32", "conv_implicit_mma.cu"),
    (90, "float32", "float32", "conv_implicit.cu"), (90, "bfloat16", "float32",
                                                     "conv_implicit_mma.cu"),
    (90, "float64", "tf32", "conv_implicit.cu")])
def test_tensor_cores_are_used_where_they_are_and_may_be(arch, dtype, math, file):
    tiles = plans_implicit.tiles_for(dtype, Traits(arch, math))
    assert {tile.file for tile in tiles} == {file}
    limit = 64 * 1024 if arch == 75 else 99 * 1024           # of a block, at least
    assert max(tile.smem(kind, 4) for tile in tiles for kind in KINDS) <= limit


@pytest.mark.parametrize("stored", TYPES)
def test_functions_convolve_on_tensor_cores_when_told_to(stored, monkeypatch):
    monkeypatch.setattr(config, "math", "tf32")
    x, w = Placeholder(stored, (2, 9, 8, 8)), Placeholder(stored, (3, 3, 8, 8))
    y = conv(x, w, 2, "same")
    grads = gradients([(y, y)], [x, w])
    problem = Problem((2, (9, 8), (3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1), 8, 8), "fwd", stored)
    driver = EmuDriver()
    loaded = []
    load = driver.load
    monkeypatch.setattr(driver, "load", lambda *a: loaded.append(a[1]) or load(*a))
    old = devices.use(KernelDevice(driver))
    try:
        got = function([x, w], [y, *grads])([a.astype("f4") for a in problem.exact])
    finally:
        devices.use(old)
    assert set(loaded) == {"conv_implicit_mma.cu"}
    check(problem, got[0])
    gy = got[0].astype("f8")
    for result, kind, operand in ((got[1], "data", problem.exact[1]),
                                  (got[2], "weight", problem.exact[0])):
        other = Problem((2, (9, 8), (3, 3), (2, 2), ((1, 1), (0, 1)), (1, 1), 8, 8), kind, stored)
        ins = (gy, operand) if kind == "data" else (operand, gy)
        other.want, other.size = other.op.numpy(*ins), other.op.numpy(*map(np.abs, ins))
        check(other, result)


@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("name, tile", [("3x3", 2), ("odd", 4), ("many filters", 0)])
def test_statistics_are_those_of_what_is_written(name, tile, stored):
    problem = Problem(CASES[name], "fwd", stored)
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, stored, TILES[tile], eps=1e-3)
    check(problem, check_stats(plan, problem, "conv_implicit_mma_stats", 0.5))


def test_statistics_of_many_tiles_are_merged_twice():
    problem = Problem((1, (48, 47), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 8, 20), "fwd",
                      "bfloat16")
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, "bfloat16", TILES[4], eps=1e-3)
    assert plan.steps[0].args[8].count == 2 * (36 + 2 + 1)        # 36 tiles of 64 rows: two groups
    check(problem, check_stats(plan, problem, "conv_implicit_mma_stats"))


@pytest.mark.parametrize("stored", TYPES)
@pytest.mark.parametrize("name, kind", [("3x3", "fwd"), ("deep", "data")])
def test_all_products_may_be_split(name, kind, stored, monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem(CASES[name], kind, stored)
    plan = plans_implicit.implicit(kind, problem.g, problem.f, stored, TILES[4])
    assert plan.temps
    check(problem, run_plan(plan, problem.arrays, problem.empty, schedules=("random",))[0])


def test_statistics_of_split_sums(monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem(CASES["3x3"], "fwd", "float16")
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, "float16", TILES[2], eps=1e-3)
    assert len(plan.temps) == 2
    check(problem, check_stats(plan, problem, "conv_implicit_mma_stats", 1.0))


def test_large_warps_fit_where_they_are_used():
    names = ("VA", "1"), ("VB", "1"), *plans_implicit.LARGE_WARPS.names
    for name, arch in (("float", 80), ("bfloat16", 90)):
        check_nvrtc("conv_implicit_mma.cu", (("T", name), *names),
                    {entry: 255 for entry in BUDGETS}, (arch,))


@pytest.mark.parametrize("arch, piece", [(75, 1), (90, 1), (120, 1), (75, 4), (90, 2)])
def test_channels_that_do_not_divide_take_more_registers_and_no_spills(arch, piece):
    names = ("PA", str(piece)), ("PB", str(piece)), *TILES[1].names
    check_nvrtc("conv_implicit_mma.cu", (("T", "float16"), *names),
                {entry: 255 if piece == 1 else 168 for entry in BUDGETS}, (arch,))


PIECES = {"fours": (2, (6, 7), (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), 4, 20),
          "pairs": (2, (6, 7), (2, 3), (1, 1), ((0, 1), (1, 1)), (1, 1), 6, 10),
          "pairs and one": (2, (5, 6), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 6, 7),
          "one and fours": (2, (6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 12)}


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PIECES)
def test_pieces_of_a_group_are_copied_one_by_one(name, kind, stored):
    problem = Problem(PIECES[name], kind, stored)
    check(problem, run(problem, TILES[2], schedules=("random",)))


def test_pieces_are_the_largest_that_divide_the_channels():
    def pieces(*how):
        return dict(plans_implicit.vectors(*how, pieces=True))

    assert pieces("float16", 16, 8) == {"VA": "1", "VB": "1"}
    assert pieces("float16", 12, 8) == {"VA": "0", "VB": "1", "PA": "4", "PB": "4"}
    assert pieces("bfloat16", 6, 3) == {"VA": "0", "VB": "0", "PA": "2", "PB": "1"}
    assert pieces("float32", 6, 3) == {"VA": "0", "VB": "0", "PA": "2", "PB": "1"}
    assert "PA" not in dict(plans_implicit.vectors("float32", 6, 3))


@pytest.mark.parametrize("stored, kind, spills", [
    ("float16", "fwd", True), ("bfloat16", "weight", True), ("float16", "data", False),
    ("float32", "fwd", False)])
def test_odd_channels_get_no_tile_that_would_spill(stored, kind, spills):
    problem = Problem((1, (4, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3, 16), kind, stored)
    tiles = plans_implicit.ranked(kind, problem.g, problem.f, stored, TF32)
    assert (plans_implicit.LARGE_WARPS not in tiles) == spills


@pytest.mark.parametrize("dtype, group", [("float32", 4), ("bfloat16", 8)])
def test_eight_rows_of_a_matrix_lie_in_different_banks(dtype, group):
    """The address formulas of conv_implicit_mma.cu: 16-byte pieces, of which 8 fill all banks."""
    def swizzled(row, piece):
        return row * 4 + (piece ^ (row // 2 % 4))

    for first in range(0, 128, 8):
        for piece in range(4):
            assert len({swizzled(row, piece) % 8 for row in range(first, first + 8)}) == 8
    for pair in range(64):                                   # eight threads copy two whole rows
        assert len({swizzled(2 * pair + r, p) % 8 for r in range(2) for p in range(4)}) == 8
    for length in {n for tile in ALL_TILES for n in (tile.rows, tile.columns)}:
        pitch = length + 8
        if dtype == "float32":                               # single words: (k t, row g)
            assert len({(t * pitch + g) % 32 for t in range(4) for g in range(8)}) == 32
        else:                                                # eight rows of ldmatrix along k
            assert len({k * pitch // group % 8 for k in range(8)}) == 8


@pytest.mark.skipif(ON_GPU, reason="a GPU may not notice")
@pytest.mark.parametrize("old, new", [
    ("copies_wait<STAGES - 2>();", ""),
    ("copies_wait<STAGES - 2>();", "copies_wait<STAGES - 1>();"),
    ("__syncthreads();              // this stage", "// this stage"),
    ("free = stage == 0 ? STAGES - 1 : stage - 1;", "free = stage;"),
    ("group ^ (row / 2 % 4)", "group ^ (row % 4)"), ("PITCH + n0 + lane / 16 * 8", "PITCH + n0"),
    ("return join(g, turn, sums, part, tickets);",
     "join(g, turn, sums, part, tickets); return true;")])
def test_a_mistake_in_the_pipeline_is_noticed(old, new, monkeypatch):
    """Each is one that a GPU might let pass for a while; but for the fifth, which changes banks
    only."""
    text = harness.source("conv_implicit_mma.cu")
    assert old in text
    monkeypatch.setattr(harness, "source", lambda file: text.replace(old, new))
    if "join" in old:
        monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
        monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem((1, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 24, 16), "fwd",
                      "float16")                             # seven tiles along the sum
    try:
        check(problem, run(problem, TILES[2]))
        noticed = False
    except (AssertionError, KernelError):
        noticed = True
    assert noticed == ("row % 4" not in new)
