"""conv_implicit.cu: the three products of a convolution against float64, within rounding."""
import numpy as np
import pytest

from gpukeras.ops import plans_implicit
from gpukeras.ops.record import Traits

from harness import ON_GPU, check_nvrtc, run_kernel, run_plan
from implicit import CASES, KINDS, Problem, check_data_relu, check_stats

BUDGETS = {"conv_implicit_fwd": 168, "conv_implicit_data": 168, "conv_implicit_weight": 168,
           "conv_implicit_stats": 168, "conv_implicit_data_relu": 168}
ENTRIES = {"fwd": "conv_implicit_fwd", "data": "conv_implicit_data",
           "weight": "conv_implicit_weight"}
NO_TENSOR_CORES = Traits(arch=70)
VARIANTS = [(("VA", "1"), ("VB", "1"), *tile.names) for tile in plans_implicit.TILES[:3]]


def run(problem, tile=None, **kwargs):
    how = problem.kind, problem.g, problem.f, problem.stored
    plan = plans_implicit.implicit(*how, tile or plans_implicit.ranked(*how, NO_TENSOR_CORES)[0])
    assert plan.steps[0].entry == ENTRIES[problem.kind]
    return run_plan(plan, problem.arrays, problem.empty, **kwargs)[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_float64(name, kind):
    problem = Problem(CASES[name], kind)
    problem.check(run(problem))


def tile_id(tile):
    return f"{tile.rows}x{tile.columns}"


@pytest.mark.parametrize("tile", plans_implicit.TILES, ids=tile_id)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["3x3", "odd"])
def test_every_tile_makes_the_product(name, kind, tile):
    problem = Problem(CASES[name], kind)
    problem.check(run(problem, tile, schedules=("random",)))


@pytest.mark.parametrize("stored", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["3x3", "strided odd", "many filters"])
def test_every_type_is_summed_as_it_should(name, kind, stored):
    problem = Problem(CASES[name], kind, stored)
    got = run(problem, schedules=("reverse",))
    problem.check(got, summed="float64" if stored == "float64" else "float32")


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_splits_of_the_weight_gradient_are_added_in_order(stored, monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem((4, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 5, 8), "weight", stored)
    plan = plans_implicit.implicit("weight", problem.g, problem.f, stored, plans_implicit.TILES[-1])
    assert plan.steps[0].grid[2] == 9                        # 288 places in runs of 32
    problem.check(run_plan(plan, problem.arrays, problem.empty)[0])


def test_long_and_wide_products_have_many_tiles():
    case = (2, (13, 11), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 36, 68)
    for kind in KINDS:
        problem = Problem(case, kind)
        problem.check(run(problem, plans_implicit.TILES[0], schedules=("random",)))


@pytest.mark.parametrize("relu", [0, 1])
def test_bias_and_rectifier_follow_the_sums(relu):
    problem = Problem(CASES["many filters"], "fwd")
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, "float32", plans_implicit.TILES[1])
    step, = plan.steps
    bias = np.linspace(-9, 9, problem.f).astype("f4")
    gather = step.args[-2]
    args = [*problem.arrays, bias, *problem.empty, None, None, gather,
            np.int32(relu)]
    got = run_kernel(step.file, step.entry, step.grid, step.block, args, step.defines)[3]
    problem.want = problem.want + bias
    if relu:
        problem.want = np.maximum(problem.want, 0)
    problem.check(got)


@pytest.mark.skipif(ON_GPU, reason="the emulator counts bytes")
def test_no_byte_of_the_operands_is_read_twice_from_one_block():
    """One block, 1x1 strided: every byte that counts is read once, every result written once."""
    from gpukeras.devices.emu.kernel import traffic

    problem = Problem((1, (8, 8), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 16, 32), "fwd")
    traffic()
    run(problem, plans_implicit.TILES[-1], schedules=("forward",))
    moved = traffic()
    assert moved["global_read"] == 4 * (16 * 16 + 16 * 32)
    assert moved["global_written"] == 4 * 16 * 32


@pytest.mark.parametrize("name, stored, tile, offset", [
    ("3x3", "float32", 1, 0.0), ("odd", "float32", 2, 100.0), ("many filters", "float32", 0, 0.0),
    ("odd", "float16", 1, 0.0), ("3x3", "float32", 3, 3.0)])
def test_statistics_are_those_of_what_is_written(name, stored, tile, offset):
    problem = Problem(CASES[name], "fwd", stored)
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, stored, plans_implicit.TILES[tile],
                                   eps=1e-3)
    problem.check(check_stats(plan, problem, "conv_implicit_stats", offset))


@pytest.mark.parametrize("stored", ["float32", "float64"])
def test_statistics_of_many_tiles_are_merged_twice(stored):
    problem = Problem((1, (40, 41), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 4, 36), "fwd", stored)
    tiles = plans_implicit.DOUBLE_TILES if stored == "float64" else plans_implicit.TILES
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, stored, tiles[-1], eps=1e-3)
    assert plan.steps[0].args[8].count == 2 * (52 + 2 + 1)        # 52 tiles of 32 rows: two groups
    problem.check(check_stats(plan, problem, "conv_implicit_stats", 2.0), summed=stored)


@pytest.mark.parametrize("name, kind", [("3x3", "fwd"), ("deep", "data"), ("deep", "fwd")])
def test_all_products_may_be_split(name, kind, monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem(CASES[name], kind)
    how = problem.kind, problem.g, problem.f, problem.stored
    plan = plans_implicit.implicit(*how, plans_implicit.TILES[-1])
    assert plan.temps
    problem.check(run_plan(plan, problem.arrays, problem.empty)[0])


def test_statistics_of_split_sums(monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    problem = Problem(CASES["3x3"], "fwd")
    plan = plans_implicit.implicit("fwd", problem.g, problem.f, "float32",
                                   plans_implicit.TILES[-1], eps=1e-3)
    assert len(plan.temps) == 2
    problem.check(check_stats(plan, problem, "conv_implicit_stats", 1.0))


@pytest.mark.parametrize("name, stored, tile, total", [
    ("3x3", "float32", 1, True), ("odd", "float16", 2, True), ("strided odd", "float32", 1, True),
    ("volume", "float32", 4, True), ("many filters", "bfloat16", 0, True),
    ("3x3", "float32", 3, False)])
def test_a_data_gradient_is_cut_where_a_relu_was(name, stored, tile, total):
    check_data_relu(Problem(CASES[name], "data", stored), plans_implicit.TILES[tile],
                    "conv_implicit_data_relu", total)


@pytest.mark.parametrize("stored", ["float32", "float64"])
def test_sums_of_a_cut_gradient_over_many_tiles(stored):
    problem = Problem((1, (40, 41), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 36, 4), "data",
                      stored)
    tiles = plans_implicit.DOUBLE_TILES if stored == "float64" else plans_implicit.TILES
    plan = check_data_relu(problem, tiles[-1], "conv_implicit_data_relu")
    assert plan.steps[0].args[7].count == 2 * (52 + 2 + 1)        # 52 tiles of 32 rows: two groups


def test_a_cut_gradient_of_split_sums(monkeypatch):
    monkeypatch.setattr(plans_implicit, "SPLIT_TERMS", 32)
    monkeypatch.setattr(plans_implicit, "JOIN", 0)
    plan = check_data_relu(Problem(CASES["deep"], "data"), plans_implicit.TILES[-1],
                           "conv_implicit_data_relu")
    assert len(plan.temps) == 2


def test_sums_are_split_where_multiprocessors_would_be_idle():
    tile = plans_implicit.TILES[1]
    assert plans_implicit.split(128 * 64, 64, 576, 1, tile)[1] > 1          # 128 blocks, 132 places
    assert plans_implicit.split(128 * 1024, 16, 144, 1, tile)[1] == 1       # 2,048 blocks
    assert plans_implicit.split(196, 512, 32, 1, tile)[1] == 1              # short sums
    for m, n, terms, layers in [(144, 16, 131072, 1), (8192, 64, 576, 1), (50, 50, 5000, 4)]:
        _, splits, run_ = plans_implicit.split(m, n, terms, layers, tile)
        assert run_ % 32 == 0 and (splits - 1) * run_ < terms <= splits * run_


@pytest.mark.parametrize("arch", [75, 90, 120])
@pytest.mark.parametrize("more", [(), (("RANK", "3"), ("VA", "1"), ("VB", "1")),
                                  (("T", "double"),)], ids=["scalar", "volume", "double"])
def test_other_variants_take_more_registers_and_no_spills(more, arch):
    tile = plans_implicit.DOUBLE_TILES[0] if ("T", "double") in more else plans_implicit.TILES[0]
    check_nvrtc("conv_implicit.cu", (*more, *tile.names), {entry: 255 for entry in BUDGETS},
                (arch,))
