"""devices/tuning.py: the fastest plan is found once, kept on disk and found again."""
import json
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gpukeras import devices
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.launcher import KernelDevice
from gpukeras.devices.tuning import Tuner
from gpukeras.errors import DeviceError
from gpukeras.function import function
from gpukeras.graph import Placeholder, TensorType
from gpukeras.graph.halves import plain
from gpukeras.ops.conv import Conv, conv

PADS = ((1, 1), (1, 1))
NAMES = 4                                   # plans of the convolution below: three tiles, columns


class TimedDriver(EmuDriver):
    """An emulator whose clock says what the test wants: seconds of the i-th plan."""

    measures = True
    device_name = "NVIDIA Test 1/2"

    def __init__(self, *times):
        super().__init__()
        self.times, self.asked = list(times), 0

    def seconds(self, calls, repeats=5):
        self.asked += 1
        for call in calls:
            call()
        answer = self.times.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, and no product too small to be measured."""
    monkeypatch.setattr("gpukeras.devices.tuning.LEAST_FLOPS", 1.0)
    monkeypatch.setattr("gpukeras.devices.tuning.cache_dir", lambda: str(tmp_path))
    return tmp_path / "cubin"


def step_of(channels=4, dtype="float32", size=6, filters=4):
    op = Conv((1, 1), PADS, (1, 1))
    shapes = (1, size, size, channels), (3, 3, channels, filters)
    types = [TensorType(dtype, s) for s in shapes]
    value = [SimpleNamespace(type=t) for t in (*types, op.infer(*types))]
    return SimpleNamespace(op=op, ins=value[:2], outs=value[2:])


def entries(plan):
    return [getattr(step, "entry", "product") for step in plan.steps]


COLUMNS, IMPLICIT = ["im2col", "product"], ["conv_implicit_fwd"]


def test_the_fastest_plan_is_kept_on_disk_and_measured_once(folder):
    driver = TimedDriver(4e-6, 3e-6, 2e-6, 1e-6)
    assert entries(Tuner(driver).plan(step_of())) == COLUMNS and driver.asked == NAMES
    path, = folder.glob("choices-*.json")
    assert path.name == "choices-NVIDIA-Test-1-2.json"
    (key, entry), = json.loads(path.read_text()).items()
    assert "float32" in key and "f32[1,6,6,4]" in key and "pads=((1, 1), (1, 1))" in key
    assert entry["choice"] == "columns" and entry["us"]["columns"] == pytest.approx(1)
    later = TimedDriver()                                    # a clock that would raise
    assert entries(Tuner(later).plan(step_of())) == COLUMNS


def test_shapes_types_and_devices_have_choices_of_their_own(folder):
    Tuner(TimedDriver(2, 2, 2, 1)).plan(step_of())
    other = TimedDriver(1, 2, 3, 4)
    assert entries(Tuner(other).plan(step_of(channels=8))) == IMPLICIT and other.asked == NAMES
    path, = folder.glob("choices-*.json")
    assert len(json.loads(path.read_text())) == 2            # beside the first, not in its place
    strange = TimedDriver(1, 2, 3, 4)
    strange.device_name = "other"
    assert entries(Tuner(strange).plan(step_of())) == IMPLICIT


def test_a_plan_that_fails_is_not_chosen_and_not_tried_again():
    driver = TimedDriver(DeviceError("no room"), 5e-6, DeviceError("no room"), 6e-6)
    plan = Tuner(driver).plan(step_of())
    assert entries(plan) == IMPLICIT and driver.asked == NAMES
    assert plan == Tuner(TimedDriver()).plan(step_of())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"choice": "x", "us": {}}}'])
def test_a_broken_table_counts_as_none(folder, text):
    folder.mkdir()
    (folder / "choices-NVIDIA-Test-1-2.json").write_text(text)
    driver = TimedDriver(4, 3, 2, 1)
    assert entries(Tuner(driver).plan(step_of())) == COLUMNS and driver.asked == NAMES


def test_a_table_without_one_of_the_plans_is_measured_again(folder):
    Tuner(TimedDriver(4, 3, 2, 1)).plan(step_of())
    path, = folder.glob("choices-*.json")
    table = json.loads(path.read_text())
    for entry in table.values():
        del entry["us"]["implicit 64x64"]
    path.write_text(json.dumps(table))
    driver = TimedDriver(1, 2, 3, 4)
    assert entries(Tuner(driver).plan(step_of())) == IMPLICIT and driver.asked == NAMES


def test_an_emulator_believes_the_table_but_measures_nothing(folder):
    driver = EmuDriver()
    assert entries(Tuner(driver).plan(step_of())) == IMPLICIT and not folder.exists()
    timed = TimedDriver(4, 3, 2, 1)
    timed.device_name = driver.device_name
    Tuner(timed).plan(step_of())
    assert entries(Tuner(driver).plan(step_of())) == COLUMNS


def test_small_products_are_not_measured(monkeypatch):
    monkeypatch.setattr("gpukeras.devices.tuning.LEAST_FLOPS", 1e9)
    assert entries(Tuner(TimedDriver()).plan(step_of())) == IMPLICIT


def test_a_function_runs_what_was_chosen():
    x, w = Placeholder("float32", (1, 6, 6, 4)), Placeholder("float32", (3, 3, 4, 4))
    rng = np.random.default_rng(0)
    data = [rng.standard_normal(t.shape).astype("f4") for t in (x, w)]
    y = conv(x, w, pads=PADS)
    driver = TimedDriver(4, 3, 2, 1)
    old = devices.use(KernelDevice(driver))
    try:
        got, = function([x, w], [y])(data)
    finally:
        devices.use(old)
    assert driver.asked == NAMES and driver.counters.gemms > 0
    want = Conv((1, 1), PADS, (1, 1)).numpy(*(a.astype("f8") for a in data))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_seconds_are_those_of_one_run_of_many():
    driver = EmuDriver()
    x, ran = driver.to_device(np.zeros(4, "f4")), []
    seconds = driver.seconds([driver._queued(lambda: ran.append(1))], repeats=3)
    assert len(ran) == 2 + 10 * 4 and 0 < seconds < 1
    assert not driver.download(x).any()


@pytest.fixture
def wrong(monkeypatch):
    """Adds a plan to the choices of convolutions that gives something else."""
    def add(change):
        kernel = Conv.cuda

        def choices(op, ins, outs, traits):
            plans = kernel.choices(op, ins, outs, traits)
            plan = next(iter(plans.values()))
            step, = plan.steps
            return {**plans, "wrong": replace(plan, steps=(change(step),))}

        monkeypatch.setattr(Conv, "cuda", replace(kernel, choices=choices))
    return add


def rectifies(step):
    return replace(step, args=(*step.args[:-1], np.int32(1)))


def leaves_out(step):
    """A tile less: what nobody writes is NaN."""
    return replace(step, grid=(step.grid[0] - 1, *step.grid[1:]))


@pytest.mark.parametrize("change, how", [(rectifies, r"off by \d.\de-01"), (leaves_out, "nan")])
def test_a_plan_with_other_results_is_dropped_and_named(change, how, wrong, folder, capsys):
    wrong(change)
    driver = TimedDriver(5, 4, 3, 2, 1)
    step = step_of(size=12)
    assert entries(Tuner(driver).plan(step)) == COLUMNS and driver.asked == NAMES + 1
    line, = capsys.readouterr().err.splitlines()
    assert re.search(f"'wrong' is not used for Conv.*f32\\[1,12,12,4\\].*{how}", line)
    path, = folder.glob("choices-*.json")
    entry, = json.loads(path.read_text()).values()
    assert entry["us"]["wrong"] is None and entry["us"]["columns"] == pytest.approx(2e6)
    later = Tuner(TimedDriver())                             # a clock that would raise
    assert entries(later.plan(step)) == COLUMNS and not capsys.readouterr().err


@pytest.mark.parametrize("dtype, math", [("float32", "tf32"), ("bfloat16", "float32"),
                                         ("float16", "float32"), ("float64", "float32")])
def test_rounding_drops_no_plan(dtype, math, monkeypatch, folder, capsys):
    """TF32 that is cut or rounded, sums in another order: warpgroups among them."""
    monkeypatch.setattr("gpukeras.config.math", math)
    driver = TimedDriver(*range(20, 0, -1))
    plan = Tuner(driver).plan(step_of(channels=16, dtype=dtype, size=12, filters=8))
    path, = folder.glob("choices-*.json")
    entry, = json.loads(path.read_text()).values()
    assert all(entry["us"].values()) and not capsys.readouterr().err
    assert entry["choice"].startswith("columns" if dtype == "float64" else "wgmma")
    assert plan.steps


def test_large_operands_and_results_are_filled_and_compared_in_parts(monkeypatch):
    monkeypatch.setattr("gpukeras.devices.tuning._PERIOD", 7)
    monkeypatch.setattr("gpukeras.devices.tuning._SAMPLE", 10)
    tuner = Tuner(EmuDriver())
    array = tuner._operand("bfloat16", (3, 11), 0)
    numbers = plain(tuner.driver.download(array)).ravel()
    assert len(set(numbers)) == 7 and np.array_equal(numbers[7:], numbers[:-7])
    assert np.array_equal(tuner._sample(array), np.concatenate([numbers[:10], numbers[-10:]]))


@pytest.mark.parametrize("took, runs", [(0.003, 2 + 4), (0.03, 2 + 2)])
def test_a_long_call_is_timed_fewer_times(took, runs):
    driver, ran = EmuDriver(), []
    seconds = driver.seconds([driver._queued(lambda: ran.append(1) or time.sleep(took))], repeats=3)
    assert len(ran) == runs and took <= seconds < 1


def test_nothing_is_measured_where_bits_must_not_depend_on_devices(monkeypatch):
    monkeypatch.setattr("gpukeras.config.deterministic", "across devices")
    driver = TimedDriver()                                   # a clock that would raise
    assert entries(Tuner(driver).plan(step_of())) == IMPLICIT and driver.asked == 0
