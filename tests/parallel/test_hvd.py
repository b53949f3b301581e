"""hvd: one process alone, and real jobs under mpirun on this machine."""
import threading
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from jobs import HERE, SAME_BITS, job, load, since_trouble

import gpukeras.hvd as hvd
from gpukeras import backend as K
from gpukeras import layers, models, optimizers
from gpukeras.errors import DeviceError
from gpukeras.graph import Placeholder
from gpukeras.parallel import communicator
from gpukeras.parallel.communicator import Communicator
from gpukeras.parallel.gradients import _HALVES, RankMean, _halved_sum, average_gradients
from gpukeras.utils import HDF5Matrix, Sequence

@pytest.fixture(autouse=True)
def alone():
    communicator.shutdown()
    yield
    communicator.shutdown()


class Pair(Communicator):
    """Rank 0 of two ranks; the other one always has `other`."""

    size = 2

    def __init__(self, other):
        self.other, self.calls = other, []

    def allreduce(self, array):
        self.calls.append(array.copy())
        array += self.other

    def broadcast(self, array, root=0):
        array[...] = self.other

    def gather(self, value):
        return [value, value * 0 + self.other]


# ---------------------------------------------------------------- one process

def test_before_init_an_error_says_what_to_do():
    with pytest.raises(DeviceError, match="hvd.init"):
        hvd.rank()


def test_a_process_that_no_mpirun_started_is_alone():
    hvd.init()
    assert (hvd.rank(), hvd.size(), hvd.local_rank(), hvd.local_size()) == (0, 1, 0, 1)
    np.testing.assert_array_equal(hvd.allreduce(np.arange(3.0)), np.arange(3.0))
    assert hvd.shard([1, 2, 3]) == [1, 2, 3]


def test_values_are_averaged_summed_gathered_and_broadcast():
    hvd.init(Pair(3))
    assert hvd.allreduce(5.0) == 4 and hvd.allreduce(5.0, average=False) == 8
    np.testing.assert_array_equal(hvd.allgather([1.0]), [1, 3])
    np.testing.assert_array_equal(hvd.broadcast([1, 2], 0), [3, 3])


def test_shards_are_equally_long():
    hvd.init(Pair(0))
    x, y = hvd.shard(np.arange(7), list("abcdefg"))
    assert list(x) == [0, 2, 4] and y == ["a", "c", "e"]
    np.testing.assert_array_equal(hvd.shard(np.arange(11), block=2), [0, 1, 4, 5])


def test_gradients_travel_as_one_message():
    group = hvd.init(Pair(1.0))
    a, b = Placeholder("float32", (2, 3)), Placeholder("float32", (4,))
    means = average_gradients([a, b])
    values = [np.full((2, 3), 1 / 3, "f4"), np.arange(4, dtype="f4")]
    got = K.function([a, b], means)(values)
    sent = np.concatenate([v.ravel() for v in values])
    assert len(group.calls) == 1
    np.testing.assert_array_equal(group.calls[0], sent)
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in got]), (sent + 1) / 2)
    assert RankMean("none") != RankMean("fp16")


class Thread(Communicator):
    """One of several ranks that are threads; `shared` is a list with what each has sent."""

    def __init__(self, rank, size, shared, barrier):
        self.rank, self.size, self.shared, self.barrier, self.sent = rank, size, shared, barrier, 0

    def _all(self, value):
        self.sent += value.nbytes
        self.barrier.wait()
        self.shared[self.rank] = value
        self.barrier.wait()
        return list(self.shared)

    def alltoall(self, parts):
        return np.stack([theirs[self.rank] for theirs in self._all(parts)])

    def start_gather(self, part, whole, rows=None, channel=0):
        whole[...] = np.concatenate(self._all(part))
        return lambda: None


def test_batches_and_rows_of_files_are_dealt_out_unread(tmp_path):
    class Batches(Sequence):
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return i, 10 * i

    hvd.init(Pair(0))
    assert list(hvd.shard(Batches())) == [(0, 0), (2, 20)]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.arange(9)
    part = hvd.shard(HDF5Matrix(tmp_path / "x.h5", "x", start=1))
    assert len(part) == 4
    np.testing.assert_array_equal(part[0:4], [1, 2, 3, 4])
    with h5py.File(tmp_path / "x.h5") as file:
        np.testing.assert_array_equal(hvd.shard(file["x"])[1:4], [1, 2, 3])
    HDF5Matrix.refs.pop(str(tmp_path / "x.h5")).close()


def test_metrics_are_averaged_by_samples():
    class Other(Pair):
        """Has summed up losses of 3 over 30 samples."""

        def allreduce(self, array):
            self.calls.append(array.item())
            array += [3.0, 30.0][len(self.calls) - 1]

    group = hvd.init(Other(0))
    callback = hvd.callbacks.MetricAverageCallback()
    callback.on_epoch_begin(0)
    for size in (6, 4):
        callback.on_batch_end(0, {"size": size})
    logs = {"loss": 0.7}
    callback.on_epoch_end(0, logs)
    np.testing.assert_allclose(group.calls, [7.0, 10.0])
    np.testing.assert_allclose(logs["loss"], (7.0 + 3) / (10 + 30))


@pytest.mark.parametrize("compression, bits", [("fp16", 11), ("bf16", 8)])
def test_compressed_gradients_travel_in_half_the_bytes(compression, bits):
    size, n = 3, 1000
    shared, barrier = [None] * size, threading.Barrier(size)
    groups = [Thread(r, size, shared, barrier) for r in range(size)]
    values = np.random.default_rng(0).normal(size=(size, n)).astype("f4")
    with ThreadPoolExecutor(size) as pool:
        sums = list(pool.map(lambda g: _halved_sum(g, values[g.rank], _HALVES[compression]),
                             groups))
    for other in sums[1:]:
        np.testing.assert_array_equal(other, sums[0])
    # each addend and the sum are rounded to so many bits once
    bound = (np.abs(values).sum(0) + np.abs(values.sum(0))) * 2.0 ** -bits
    assert (np.abs(sums[0] - values.astype("f8").sum(0)) <= bound * 1.01).all()
    assert (sums[0] != values.sum(0)).any()
    assert groups[0].sent <= 2 * (n + size) + 2 * (n // size + 1)


def test_the_optimizer_keeps_its_class_name_config_and_clips_after_averaging():
    hvd.init(Pair(np.float32(7)))
    plain = optimizers.SGD(1.0, clipvalue=3.0)
    optimizer = hvd.DistributedOptimizer(plain)
    assert type(optimizer).__name__ == "SGD" and optimizer.get_config() == plain.get_config()
    w = K.variable(np.zeros(2))
    step = K.function([], [], optimizer.get_updates(K.sum(w * K.constant([-5.0, 3.0])), [w]))
    step([])
    np.testing.assert_allclose(K.get_value(w), [-1, -3])     # means 1 and 5; the second is clipped


def test_warm_up_and_schedule_follow_horovods_formulas():
    hvd.init(Pair(0))
    model = models.Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile(optimizers.SGD(0.8, momentum=0.5), "mse")
    warm = hvd.callbacks.LearningRateWarmupCallback(warmup_epochs=2)
    later = hvd.callbacks.LearningRateScheduleCallback(0.1, start_epoch=3)
    history = model.fit(np.zeros((8, 2)), np.zeros(8), 4, epochs=4, verbose=0,
                        callbacks=[warm, later])
    # rate * (1 + (epoch + 1 / steps) / warmup) / 2 at the last batch of each warm-up epoch
    np.testing.assert_allclose(history.history["lr"], [0.6, 0.8, 0.8, 0.08], rtol=1e-6)
    assert np.isclose(K.get_value(model.optimizer.momentum), 0.5)


# ---------------------------------------------------------------- under mpirun

@pytest.mark.parametrize("n", [2, 4])
def test_ranks_train_as_one_process_does_on_the_whole_batch(tmp_path, n):
    first = str(tmp_path / "first.h5")
    code, words, _ = job(1, tmp_path / "one", 10, 16, FIRST=first)
    assert code == 0, words
    code, words, _ = job(n, tmp_path / "many", 10, 16, WEIGHTS=first)
    assert code == 0, words
    one, many = load(tmp_path / "one", 0), [load(tmp_path / "many", r) for r in range(n)]
    for name, value in many[0].items():
        for other in many[1:]:
            np.testing.assert_array_equal(other[name], value, err_msg=f"ranks differ in {name}")
        np.testing.assert_allclose(value, one[name], rtol=1e-4, atol=2e-6, err_msg=name)
    assert one["loss"][1] < one["loss"][0]


@pytest.mark.parametrize("model", ["mlp", "cnn", "lstm"])
def test_any_number_of_ranks_gives_the_same_bits(tmp_path, model):
    found = {}
    for n in (1, 2, 4):
        code, words, _ = job(n, tmp_path / f"{n}", model, script=SAME_BITS)
        assert code == 0, words
        found[n] = load(tmp_path / f"{n}", 0)
    assert found[1]["loss"][-1] < found[1]["loss"][0]
    for n in (2, 4):
        assert found[n].keys() == found[1].keys()
        for name, value in found[n].items():
            np.testing.assert_array_equal(value, found[1][name], err_msg=f"{n} ranks: {name}")


def test_ranks_of_two_machines_are_started_by_ssh(tmp_path):
    """As docs/scaling.md says; what stands in for ssh runs the second machine's part here."""
    agent, log = tmp_path / "ssh", tmp_path / "log"
    agent.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\n'
                     f'echo "$1" >> {log}\nshift\n'
                     'exec env -i HOME="$HOME" PATH=/usr/bin:/bin sh -c "$*"\n')
    agent.chmod(0o755)
    handed = [word for name in ("PYTHONPATH", "GPUKERAS_DEVICE", "OMP_NUM_THREADS",
                                "GPUKERAS_THREADS") for word in ("-x", name)]
    code, words, _ = job(2, tmp_path / "two", "mlp", script=SAME_BITS, options=[
        "--prtemca", "plm_ssh_agent", agent, "-H", "one:1,two:1", *handed])
    assert code == 0, words
    assert sorted(log.read_text().split()) == ["one", "two"]
    code, words, _ = job(1, tmp_path / "one", "mlp", script=SAME_BITS)
    assert code == 0, words
    one, two = load(tmp_path / "one", 0), load(tmp_path / "two", 1)
    for name, value in one.items():
        np.testing.assert_array_equal(two[name], value, err_msg=name)


def test_four_ranks_read_the_digits_as_well_as_one(tmp_path):
    found = {}
    for n in (1, 4):
        code, words, _ = job(n, tmp_path / f"{n}", "digits", script=SAME_BITS)
        assert code == 0, words
        found[n] = load(tmp_path / f"{n}", 0)["accuracy"]
    assert found[1] > 0.95 and abs(found[4] - found[1]) < 0.02


def test_ranks_may_have_batches_of_different_sizes(tmp_path):
    """Samples count alike, whichever rank has them."""
    code, words, _ = job(1, tmp_path / "one", "uneven", script=SAME_BITS)
    assert code == 0, words
    code, words, _ = job(2, tmp_path / "two", "uneven", script=SAME_BITS)
    assert code == 0, words
    one, two = load(tmp_path / "one", 0), load(tmp_path / "two", 0)
    for name, value in two.items():
        np.testing.assert_allclose(value, one[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_horovod_script_runs_unchanged_on_two_ranks(tmp_path):
    """Its imports too; the log of the first rank alone is shown, and its files written."""
    script = HERE.parent / "scripts" / "horovod_mnist.py"
    code, words, _ = job(2, script=["-m", "gpukeras", str(script)], folder=tmp_path)
    assert code == 0, words
    assert words.count("done") == 1 and words.count("Epoch 3/3") == 1
    assert words.count("finished gradual learning rate warmup") == 1
    assert sorted(p.name for p in tmp_path.glob("*.h5")) == [
        f"checkpoint-{i}.h5" for i in (1, 2, 3)]


def test_files_are_written_by_the_first_rank_alone(tmp_path):
    code, words, _ = job(2, tmp_path / "out", 4, 16, CSV=str(tmp_path / "log.csv"))
    assert code == 0, words
    lines = (tmp_path / "log.csv").read_text().split()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1"]


@pytest.mark.parametrize("compression", ["fp16", "bf16"])
def test_compressed_gradients_train_nearly_as_whole_ones_do(tmp_path, compression):
    found = []
    for how in ("none", compression):
        code, words, _ = job(2, tmp_path / how, 10, 16, COMPRESSION=how)
        assert code == 0, words
        first, second = (load(tmp_path / how, r) for r in range(2))
        for name, value in first.items():
            np.testing.assert_array_equal(second[name], value, err_msg=name)
        found.append(first)
    none, half = found
    assert none["loss"][1] < none["loss"][0]
    assert all((none[k] != half[k]).any() for k in ("arr_0", "loss"))
    np.testing.assert_allclose(half["loss"], none["loss"], rtol=0.02)


def test_a_killed_rank_ends_the_job_and_is_named(tmp_path):
    code, words, end = job(3, tmp_path / "out", 10, 15, "kill", 1, 3)
    assert code != 0 and since_trouble(words, end) < 30
    assert "rank 1" in words and "signal 9" in words.lower()
    assert not list(tmp_path.glob("out*"))


def test_the_model_is_saved_when_a_rank_dies(tmp_path):
    saved = tmp_path / "last.h5"
    code, words, end = job(3, tmp_path / "out", 10, 15, "kill", 1, 3, LAST=str(saved),
                           options=["--continuous"])
    assert code != 0 and since_trouble(words, end) < 30
    assert "rank 1 did not come to a step of training within 5 s" in words
    optimizer = models.load_model(saved).optimizer         # as it was after three steps
    assert K.get_value(optimizer.iterations) == 3


def test_a_hanging_rank_is_named_after_the_time_out(tmp_path):
    code, words, end = job(3, tmp_path / "out", 10, 15, "hang", 2, 3)
    assert code != 0 and since_trouble(words, end) < 30
    assert "rank 2 did not come to a step of training within 5 s" in words


def test_an_error_of_one_rank_ends_the_job_at_once(tmp_path):
    """Not after the time-out: the others wait for up to 100 s, here."""
    saved = tmp_path / "last.h5"
    code, words, end = job(3, tmp_path / "out", 10, 15, "raise", 1, 3, LAST=str(saved),
                           TIMEOUT="100")
    assert code != 0 and since_trouble(words, end) < 30
    assert words.count("Traceback") == 1
    assert "rank 1 did not come to a step of training (RuntimeError: this went wrong)" in words
    # the rank that saves may hear of it before the sums of the third step have reached it
    assert K.get_value(models.load_model(saved).optimizer.iterations) in (2, 3)


def test_an_error_of_all_ranks_ends_the_job_at_once(tmp_path):
    code, words, end = job(2, tmp_path / "out", 10, 16, "raise", "0,1", 3, TIMEOUT="100")
    assert code != 0 and since_trouble(words, end) < 10
    assert words.count("Traceback") == 2
