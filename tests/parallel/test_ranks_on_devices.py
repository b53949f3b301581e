"""Ranks with a device of kernels each: emulated ones, and stand-ins for GPUs and NCCL."""
import functools
import sys
import types

import numpy as np
import pytest
from jobs import SAME_BITS, job, load, since_trouble

from gpukeras import backend as K
from gpukeras import devices, models
from gpukeras.devices import cuda, rank_links
from gpukeras.devices.choose import Choice
from gpukeras.devices.emu import EmuDriver
from gpukeras.devices.group import Cut
from gpukeras.errors import DeviceError
from gpukeras.parallel.communicator import Communicator


def long(*values):
    """A case that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.long)


def trained(n, folder, name, **environ):
    """(what `n` ranks give, their words); all ranks have the same."""
    out = folder / f"{name}.{n}"
    code, words, _ = job(n, out, name, script=SAME_BITS, **environ)
    assert code == 0, words
    found = [load(out, rank) for rank in range(n)]
    for other in found[1:]:
        for key, value in found[0].items():
            np.testing.assert_array_equal(other[key], value, err_msg=f"ranks differ in {key}")
    return found[0], words


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """alone(name, ...): what one rank gives."""
    @functools.lru_cache(None)
    def run(name, **environ):
        return trained(1, tmp_path_factory.mktemp("alone"), name, **environ)[0]
    return run


def weights_and_logs(found):
    return {k: v for k, v in found.items() if k not in ("graphs", "places", "messages")}


def assert_same(one, two, rtol=0.0, atol=0.0):
    one, two = weights_and_logs(one), weights_and_logs(two)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol, atol, err_msg=name)


@pytest.mark.parametrize("model", ["mlp", long("lstm")])
def test_emulated_devices_of_two_ranks_give_the_bits_of_one(alone, tmp_path, model):
    one = alone(model, GPUKERAS_DEVICE="emu")
    two, _ = trained(2, tmp_path, model, GPUKERAS_DEVICE="emu")
    assert one["loss"][-1] < one["loss"][0]
    assert_same(one, two)


@pytest.mark.parametrize("kind, rtol, atol", [("", 0.0, 0.0), long("-any", 1e-5, 5e-6)])
def test_ranks_may_have_several_virtual_devices_each(alone, tmp_path, kind, rtol, atol):
    one = alone("mlp" + kind, GPUKERAS_DEVICE="emu")
    two, _ = trained(2, tmp_path, "mlp" + kind, GPUKERAS_DEVICE="emu", DEVICES="2",
                     GPUKERAS_VIRTUAL_DEVICES="2")
    assert_same(one, two, rtol, atol)


@pytest.mark.parametrize("model", ["cnn", long("whole")])
def test_by_nccl_the_bits_are_those_of_one_and_a_step_is_one_graph(alone, tmp_path, model):
    """Batch statistics, or rows, travel in mid-step; masks depend on the place in the batch."""
    one = alone(model, FAKE_NCCL="on")
    two, words = trained(2, tmp_path, model, FAKE_NCCL="on", GPUKERAS_DEBUG="1")
    assert "travel by NCCL in the graph of the step" in words
    assert_same(one, two)
    steps, tests = 50, 2 + 2                       # a sum and a gathering, alone and in a graph
    assert two["graphs"] == steps - 1 + 1
    assert (two["messages"] - tests) % steps == 0
    assert len(two["places"]) == (two["messages"] - tests) // steps + 2


@pytest.mark.parametrize("model", ["cnn-any", long("whole-any")])
def test_by_nccl_sums_in_any_order_are_those_of_one_but_for_rounding(alone, tmp_path, model):
    one = alone(model, GPUKERAS_DEVICE="emu")
    two, _ = trained(2, tmp_path, model, FAKE_NCCL="on")
    assert one["loss"][-1] < one["loss"][0]
    assert_same(one, two, rtol=1e-5, atol=5e-6)    # Adam divides by roots of squared gradients


def test_messages_start_while_the_backward_pass_goes_on(tmp_path):
    two, _ = trained(2, tmp_path, "mlp-any", FAKE_NCCL="on", BUCKET="64")
    places = two["places"][2:]                     # in the graph; the first two are the self-test's
    assert len(places) >= 4                        # a bucket for each weight
    assert (np.diff(places) > 1).sum() >= 3        # kernels between one message and the next


def test_by_nccl_batches_of_different_sizes_count_by_their_samples(alone, tmp_path):
    one = alone("uneven", FAKE_NCCL="on")
    two, _ = trained(2, tmp_path, "uneven", FAKE_NCCL="on")
    assert two["messages"] > 20
    assert_same(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how, said, messages", [
    ("missing", "travel through the host: rank 0: CuPy finds no NCCL", False),
    ("shared", "travel through the host: NCCL wants one GPU per process, and 2 share", False),
    ("wrong", "travel through the host: rank 1: a sum by NCCL has wrong values", False),
    ("uncaptured", "sums stand between the graphs of a step: rank 0", True)])
def test_what_does_not_work_is_left_out_and_said_once(alone, tmp_path, how, said, messages):
    one = alone("mlp", FAKE_NCCL="on")
    two, words = trained(2, tmp_path, "mlp", FAKE_NCCL=f"on {how}")
    assert words.count(said) == 1
    assert (two["messages"] >= 50) == messages and not len(two["places"])
    assert two["graphs"] >= 49                     # the pieces between the messages
    assert_same(one, two)


@pytest.mark.parametrize("how, said", [
    ("nccl-kill", "rank 1 did not come to a step of training within 5 s"),
    long("hang", "rank 1 did not come to a step of training within 5 s"),
    ("nccl-break", "(NCCL says: NCCL_ERROR_SYSTEM_ERROR")])
def test_waiting_for_nccl_ends_with_the_name_and_a_saved_model(tmp_path, how, said):
    """The main thread waits in the driver all the while."""
    saved = tmp_path / "last.h5"
    code, words, end = job(3, tmp_path / "out", 10, 15, how, 1, 3, FAKE_NCCL="on", LAST=str(saved),
                           options=["--continuous"])
    assert code != 0 and since_trouble(words, end) < 30, words
    assert said in words
    assert K.get_value(models.load_model(saved).optimizer.iterations) == 3


def test_an_mpi_without_threads_is_told_of(tmp_path):
    found, words = trained(2, tmp_path, "mlp", FAKE_NCCL="on", MPI4PY_RC_THREAD_LEVEL="serialized")
    assert found["messages"] >= 50
    assert all(f"nothing ends rank {rank}'s waiting for NCCL" in words for rank in range(2))


def test_mpirun_ends_ranks_that_wait_for_nccl(tmp_path):
    code, words, end = job(3, tmp_path / "out", 10, 15, "nccl-kill", 1, 3, FAKE_NCCL="on")
    assert code != 0 and since_trouble(words, end) < 30, words
    assert "rank 1" in words and "signal 9" in words.lower()


# ---------------------------------------------------------------- on a GPU

@pytest.mark.gpu
def test_a_link_of_one_rank_passes_its_test_alone_and_in_a_graph():
    old = devices.use(devices.make(Choice("cuda", "")))
    try:
        link = rank_links._chosen(devices.current().driver, Communicator())
    finally:
        devices.use(old)
    if link.name != "by NCCL":
        pytest.skip("no NCCL here")
    assert link.captured


@pytest.mark.gpu
def test_two_ranks_that_share_a_gpu_give_the_bits_of_one(tmp_path):
    """NCCL refuses that, so values travel through the host."""
    one, _ = trained(1, tmp_path, "cnn", GPUKERAS_DEVICE="gpu")
    two, words = trained(2, tmp_path, "cnn", GPUKERAS_DEVICE="gpu")
    assert "travel through the host: NCCL wants one GPU per process" in words
    assert_same(one, two)


# ---------------------------------------------------------------- in this process

@pytest.mark.parametrize("local_rank, count, number", [(0, 4, 0), (3, 4, 3), (5, 4, 1)])
def test_a_rank_takes_the_gpu_of_its_number_on_the_machine(monkeypatch, local_rank, count, number):
    class Driver(EmuDriver):
        def __init__(self, device):
            super().__init__()
            self.device = types.SimpleNamespace(id=device)

    runtime = types.SimpleNamespace(getDeviceCount=lambda: count)
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cuda, "CudaDriver", Driver)
    monkeypatch.setattr(devices, "_wanted", 0)
    first = devices.make(Choice("cuda", ""))
    old = devices.use(first)
    try:
        devices.prefer(local_rank)
        assert (devices._current is first) == (number == 0)
        assert devices.make(Choice("cuda", "")).driver.device.id == number
    finally:
        devices.use(old)


def test_parts_of_an_exact_cut_may_be_unequally_many():
    cuts = [Cut((3, 2), 12, 1, True, rank) for rank in range(2)]
    assert [len(b) for b in cuts[0].bounds_of] == [3, 2] and cuts[1].sizes == [1, 1]
    assert cuts[0].all_sizes == [1] * 5
    with pytest.raises(DeviceError, match="hvd.shard"):
        Cut((13, 12), 12, 1, True)
