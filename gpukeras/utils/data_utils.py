"""Files from the network, kept in Keras's cache folder; data that come batch by batch."""
import hashlib
import os
import pickle
import queue
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import deque

import numpy as np

from .generic_utils import Progbar
from .io_utils import atomic_write


def get_file(fname, origin, untar=False, md5_hash=None, file_hash=None, cache_subdir="datasets",
             hash_algorithm="auto", extract=False, archive_format="auto", cache_dir=None):
    """Path of a file in the cache folder, downloaded if it is not there or not the right one.

    # Arguments
        fname: name in the cache; an absolute path is taken as it is.
        origin: URL, or a list of URLs to be tried in turn.
        untar: unpack `fname`.tar.gz and return the path without the ending (use `extract`).
        md5_hash: old name of `file_hash`.
        file_hash: expected md5 or sha256 of the file, in hexadecimal digits.
        cache_subdir: folder inside the cache.
        hash_algorithm: "md5", "sha256" or "auto" (told by the length of the hash).
        extract: unpack the archive beside itself.
        archive_format: "auto", "tar", "zip", None, or a list of them.
        cache_dir: cache folder in place of KERAS_HOME or ~/.keras.

    # Raises
        OSError: no URL gave the right file; a file that was there before is untouched.
    """
    if md5_hash is not None and file_hash is None:
        file_hash, hash_algorithm = md5_hash, "md5"
    target = cache_path(fname, cache_subdir, cache_dir)
    archive = target + ".tar.gz" if untar else target

    def check(path):
        if file_hash is not None and not validate_file(path, file_hash, hash_algorithm):
            raise ValueError(f"its hash is not {file_hash}")

    fetch(archive, origin, check)
    if untar:
        if not os.path.exists(target):
            _extract_archive(archive, os.path.dirname(archive), "tar")
    elif extract:
        _extract_archive(archive, os.path.dirname(archive), archive_format)
    return target


def cache_path(fname, cache_subdir="datasets", cache_dir=None):
    """Where a file is kept; its folder exists afterwards (in the temporary folder if need be)."""
    home = cache_dir or os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    target = os.path.join(os.path.expanduser(home), cache_subdir, os.fspath(fname))
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    except OSError:                                                   # a home that is read only
        target = os.path.join(tempfile.gettempdir(), ".keras", cache_subdir, os.fspath(fname))
        os.makedirs(os.path.dirname(target), exist_ok=True)
    return target


def fetch(target, origin, read):
    """What `read(path)` makes of the file at `target`, downloaded first if need be.

    # Arguments
        target: path of the file.
        origin: URL, or a list of URLs to be tried in turn.
        read: function of a path; raises ValueError (with the reason) for a file that is not right.
    """
    if os.path.exists(target):
        try:
            return read(target)
        except ValueError as reason:
            print(f"A local file was found, but {reason}: {target} is downloaded again.")
    failures = []
    for url in [origin] if isinstance(origin, str) else origin:
        try:
            with atomic_write(target) as part:
                _download(url, part)
                value = read(part)
            return value
        except (OSError, ValueError) as error:
            failures.append(f"URL fetch failure on {url}: {_reason(error)}")
    raise OSError("\n".join(failures) + f"\nTry: put the file there by hand, as {target}")


def _reason(error):
    if hasattr(error, "code"):                                        # of HTTP, such as 404
        return f"{error.code} -- {error.msg}"
    return str(getattr(error, "reason", error))


def _download(url, path, chunk=1 << 16, timeout=30):
    import urllib.request                         # takes 40 ms, a twentieth of the time to import

    print("Downloading data from", url)
    request = urllib.request.Request(url, headers={"User-Agent": "gpukeras"})
    with urllib.request.urlopen(request, timeout=timeout) as source, open(path, "wb") as sink:
        size = source.headers.get("Content-Length")
        size = int(size) if size else None
        bar, done = Progbar(size, interval=0.5), 0
        while block := source.read(chunk):
            sink.write(block)
            done += len(block)
            if size is not None:
                bar.update(min(done, size))
    if size is not None and done != size:
        raise OSError(f"got {done} bytes, expected {size}")


# ---------------------------------------------------------------- checks and archives

def validate_file(fpath, file_hash, algorithm="auto", chunk_size=65535):
    """True if the file has this md5 or sha256 (hexadecimal digits)."""
    return _hash_file(fpath, _algorithm(file_hash, algorithm), chunk_size) == str(file_hash)


def _algorithm(file_hash, algorithm):
    if algorithm == "auto":
        return "sha256" if len(file_hash) == 64 else "md5"
    return algorithm


def _hash_file(fpath, algorithm="sha256", chunk_size=65535):
    digest = hashlib.new("md5" if algorithm == "md5" else "sha256", usedforsecurity=False)
    with open(fpath, "rb") as file:
        while block := file.read(chunk_size):
            digest.update(block)
    return digest.hexdigest()


def arrays_checksum(arrays):
    """sha256 of named arrays: of names, dtypes, shapes and values, however the file packs them."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _extract_archive(file_path, path=".", archive_format="auto"):
    """Unpack a tar or zip file into `path`; False if it is neither.

    Members that would land outside of `path` are refused.
    """
    import tarfile
    import zipfile
    if archive_format is None:
        return False
    formats = ["tar", "zip"] if archive_format == "auto" else archive_format
    for kind in [formats] if isinstance(formats, str) else formats:
        if kind == "tar" and tarfile.is_tarfile(file_path):
            if not hasattr(tarfile, "data_filter"):
                raise OSError(f"cannot unpack {file_path} safely: needs Python 3.10.12 or newer")
            with tarfile.open(file_path) as archive:
                archive.extractall(path, filter="data")
            return True
        if kind == "zip" and zipfile.is_zipfile(file_path):
            with zipfile.ZipFile(file_path) as archive:
                archive.extractall(path)
            return True
    return False


# ---------------------------------------------------------------- batches made ahead of their use

class Sequence:
    """Base class of data that are given batch by batch.

    A subclass defines `__getitem__(i)`, which returns batch i as (x, y) or (x, y, sample_weight),
    and `__len__()`, the number of batches. It may define `on_epoch_end()`, called after each
    epoch. Several threads may call `__getitem__` at the same time.
    """

    use_sequence_api = True

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(i)")

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} must define __len__()")

    def on_epoch_end(self):
        """Called after each epoch, before the first batch of the next."""

    def __iter__(self):
        for i in range(len(self)):
            yield self[i]


def is_sequence(x):
    """True for a Sequence, also for another library's class with the same methods."""
    if isinstance(x, Sequence) or getattr(x, "use_sequence_api", False):
        return True
    return all(hasattr(x, name) for name in ("__getitem__", "__len__", "on_epoch_end", "__iter__"))


def is_generator_or_sequence(x):
    """True for what yields batches."""
    return hasattr(x, "__next__") or is_sequence(x)


# Processes that make batches are started fresh ("forkserver", or "spawn" where there is none):
# a process that has used CUDA must not be forked.
_TICK = 0.1                     # seconds between two looks at whether to stop


def _set_random(states):
    np.random.set_state(states[0])
    random.setstate(states[1])


class OrderedEnqueuer:
    """Batches of a Sequence, in order, epoch after epoch.

    # Arguments
        sequence: a Sequence.
        use_multiprocessing: processes instead of threads; the Sequence is pickled for them.
        shuffle: new order of the batches each epoch.
    """

    def __init__(self, sequence, use_multiprocessing=False, shuffle=False):
        self.sequence, self.shuffle = sequence, shuffle
        self.use_multiprocessing = use_multiprocessing
        self.workers, self.max_queue_size = 0, 10
        self._pool, self._waiting, self._indices, self._running = None, deque(), None, False
        self._ends = []

    def start(self, workers=1, max_queue_size=10):
        """workers: number of threads or processes, or 0; max_queue_size: batches made ahead."""
        self.workers, self.max_queue_size = workers, max(1, max_queue_size)
        self._running = True

    def is_running(self):
        return self._running

    def get(self):
        """Iterator over the batches of one epoch after the other."""
        while self._running:
            if self._indices is None:
                self._begin_epoch()
            if self.workers == 0:
                if not self._indices:
                    self.end_epoch()
                    continue
                yield self.sequence[self._indices.popleft()]
                continue
            self._top_up()
            if not self._waiting:
                self.end_epoch()
                continue
            yield self._result(self._waiting.popleft())

    __iter__ = get

    def snapshot(self):
        """Where it is: the batches of this epoch that are left, and the random numbers that were
        there when the Sequence was told of the end of each epoch."""
        left = None if self._indices is None else [
            *(future.index for future in self._waiting), *self._indices]
        return {"left": left, "ends": list(self._ends)}

    def resume(self, state):
        """Bring a new Sequence where another one was; sets the random generators."""
        for numbers in state["ends"]:
            _set_random(numbers)
            self._tell_end()
        self._indices = None if state["left"] is None else deque(state["left"])

    def end_epoch(self):
        """Tell the Sequence that an epoch is over; the next batch is the first of the next one."""
        if self._indices is None:
            return
        for future in self._waiting:               # of an epoch that was cut short
            future.cancel()
        self._waiting.clear()
        self._indices = None
        self._tell_end()

    join_end_of_epoch = end_epoch

    def _tell_end(self):
        change = getattr(type(self.sequence), "on_epoch_end", None)
        if change is not None and change is not Sequence.on_epoch_end:
            self._ends.append((np.random.get_state(), random.getstate()))
            self.sequence.on_epoch_end()
            if self.use_multiprocessing:
                self._close_pool()                 # the processes hold the Sequence as it was

    def stop(self, timeout=None):
        """End all work."""
        self._running = False
        self._close_pool()

    def _begin_epoch(self):
        order = list(range(len(self.sequence)))
        if self.shuffle:
            random.shuffle(order)
        self._indices = deque(order)

    def _top_up(self):
        if self._pool is None:
            self._pool = self._new_pool()
        while self._indices and len(self._waiting) < self.max_queue_size:
            index = self._indices.popleft()
            if self.use_multiprocessing:
                future = self._pool.submit(_item, index)
            else:
                future = self._pool.submit(self.sequence.__getitem__, index)
            future.index = index
            self._waiting.append(future)

    def _new_pool(self):
        import multiprocessing                     # 20 ms together that few programs need
        from concurrent.futures import ProcessPoolExecutor
        if not self.use_multiprocessing:
            return _Threads(self.workers)
        try:
            data = pickle.dumps(self.sequence)
        except Exception as error:
            raise ValueError(
                "use_multiprocessing=True needs a Sequence that can be pickled, "
                f"{_name(self.sequence)} "
                f"cannot: {error}. Try: use_multiprocessing=False, or define the class in a module"
            ) from error
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        return ProcessPoolExecutor(self.workers, context, initializer=_hold, initargs=(data,))

    def _result(self, future):
        from concurrent.futures import TimeoutError
        from concurrent.futures.process import BrokenProcessPool
        watch = _Watch(f"batch {future.index} of {_name(self.sequence)}", self._workers)
        try:
            while True:
                try:
                    return future.result(_TICK if watch.late else WARN_AFTER)
                except TimeoutError:
                    if future.done():              # its own TimeoutError, or just now
                        return future.result()
                watch.look()
        except _Stuck as error:
            self.stop()
            raise RuntimeError(str(error)) from None
        except BrokenProcessPool as error:
            self.stop()
            raise RuntimeError(
                f"A worker process that made batch {future.index} of {_name(self.sequence)} died "
                "(killed, "
                "out of memory, or it could not start). Try: workers=1, use_multiprocessing=False; "
                'a script that uses processes needs `if __name__ == "__main__":`') from error

    def _workers(self):
        """What the workers are doing, in words."""
        if isinstance(self._pool, _Threads):
            return _places(self._pool.threads)
        return "process " + ", ".join(str(pid) for pid in (self._pool._processes or ()))

    def _close_pool(self):
        for future in self._waiting:
            future.cancel()
        self._waiting.clear()
        if self._pool is not None:
            processes = list((getattr(self._pool, "_processes", None) or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            if processes:
                threading.Thread(target=_end, args=(processes,), daemon=True).start()
            self._pool = None


class _Threads:
    """Threads that make batches. Unlike those of concurrent.futures, one that is stuck does not
    keep the program from ending."""

    def __init__(self, count):
        self._tasks = queue.SimpleQueue()
        self.threads = [threading.Thread(target=self._work, daemon=True,
                                         name=f"gpukeras-batches-{i}") for i in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, call, *arguments):
        from concurrent.futures import Future
        future = Future()
        self._tasks.put((future, call, arguments))
        return future

    def _work(self):
        while (task := self._tasks.get()) is not None:
            future, call, arguments = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call(*arguments))
                except BaseException as error:     # raised again where the batch is used
                    future.set_exception(error)
            del task, future, call, arguments      # a batch must not live on while we wait

    def shutdown(self, **_):
        for _ in self.threads:
            self._tasks.put(None)


def _end(processes, grace=3.0):
    """Terminate processes that are not done after `grace` seconds: the program waits for them."""
    end = time.monotonic() + grace
    while processes and time.monotonic() < end:
        time.sleep(_TICK)
        processes = [process for process in processes if _is_alive(process)]
    for process in processes:
        process.terminate()


def _is_alive(process):
    try:
        return process.is_alive()
    except (ValueError, AssertionError):           # closed meanwhile
        return False


WARN_AFTER = 10.0               # seconds without a batch after which a worker is reported
GIVE_UP_AFTER = 600.0           # and after which it counts as stuck


class _Stuck(Exception):
    """Nothing has come for GIVE_UP_AFTER seconds."""


class _Watch:
    """Says what is waited for, and where it hangs.

    # Arguments
        what: the batch, in words.
        workers: function that says what the workers are doing.
    """

    def __init__(self, what, workers):
        self.what, self.workers = what, workers
        self.began, self.late, self._next = time.monotonic(), False, WARN_AFTER

    def look(self):
        """Warn after WARN_AFTER seconds, twice as many, and so on. _Stuck after GIVE_UP_AFTER."""
        waited = time.monotonic() - self.began
        if waited < self._next and waited < GIVE_UP_AFTER:
            return
        self._next, self.late = 2 * waited, True
        text = f"Still waiting for {self.what} after {waited:.0f} s: {self.workers()}"
        if waited >= GIVE_UP_AFTER:
            raise _Stuck(f"{text}. It counts as stuck after {GIVE_UP_AFTER:.0f} s "
                         "(utils.data_utils.GIVE_UP_AFTER).")
        warnings.warn(f"{text}. It is slow, or stuck.", stacklevel=2)


def _places(threads):
    """Where each thread is: the innermost line that is not of the standard library."""
    frames, found = sys._current_frames(), []
    standard = os.path.dirname(os.__file__)
    for thread in threads:
        stack = traceback.extract_stack(frames[thread.ident]) if thread.ident in frames else []
        own = [line for line in stack if not line.filename.startswith((standard, __file__))]
        if own:
            found.append(f"{thread.name} is at {own[-1].filename}:{own[-1].lineno} in "
                         f"{own[-1].name}")
    return ", ".join(found) or "its thread is idle"


_held = None                                       # the Sequence, in a worker process


def _hold(data):
    global _held
    _held = pickle.loads(data)


def _item(index):
    return _held[index]


def _name(sequence):
    return type(sequence).__name__


class GeneratorEnqueuer:
    """Batches of a Python generator, made ahead by one thread.

    A generator is run by one thread whatever the number of workers: it yields one batch after the
    other anyway, and a copy in a process of its own would yield the same batches again.
    """

    def __init__(self, sequence, use_multiprocessing=False, wait_time=None, random_seed=None):
        if use_multiprocessing:
            warnings.warn("A generator cannot be shared by processes, it runs in a thread. Try: a "
                          "keras.utils.Sequence, whose batches several processes can make",
                          UserWarning, stacklevel=3)
        self.generator = sequence
        self._queue, self._thread, self._stop = None, None, threading.Event()

    def start(self, workers=1, max_queue_size=10):
        """workers: 0 makes batches where they are used; max_queue_size: batches made ahead."""
        self._stop.clear()
        if workers:
            self._queue = queue.Queue(max(1, max_queue_size))
            self._thread = threading.Thread(target=self._produce, name="gpukeras-generator",
                                            daemon=True)
            self._thread.start()

    def is_running(self):
        return not self._stop.is_set()

    def _produce(self):
        try:
            for batch in self.generator:
                if not self._put((batch, None)):
                    return
            self._put((None, None))
        except BaseException as error:             # raised again where the batch is used
            self._put((None, error))

    def _put(self, item):
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_TICK)
                return True
            except queue.Full:
                continue
        return False

    def get(self):
        """Iterator over the batches; errors of the generator come out here."""
        if self._thread is None:
            yield from self.generator
            return
        watch = None
        while not self._stop.is_set():
            try:
                batch, error = self._queue.get(timeout=_TICK)
            except queue.Empty:
                if not self._thread.is_alive():
                    return
                watch = watch or _Watch(f"a batch of {_name(self.generator)}",
                                        lambda: _places([self._thread]))
                try:
                    watch.look()
                except _Stuck as error:
                    self._stop.set()
                    raise RuntimeError(str(error)) from None
                continue
            watch = None
            if error is not None:
                raise error
            if batch is None:
                return
            yield batch

    __iter__ = get

    def end_epoch(self):
        """A generator goes on from epoch to epoch."""

    join_end_of_epoch = end_epoch

    def stop(self, timeout=None):
        """End the thread, after the batch that it is making."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout if timeout is not None else 1.0)


def enqueued(source, workers=1, max_queue_size=10, use_multiprocessing=False, shuffle=False):
    """A started enqueuer for a generator or Sequence: iterate over it, call `end_epoch` and `stop`.

    # Arguments
        workers: number of threads or processes; 0 makes batches where they are used.
        max_queue_size: number of batches made ahead.
        use_multiprocessing: processes instead of threads, for a Sequence that can be pickled.
        shuffle: new order of a Sequence's batches each epoch.
    """
    kind = OrderedEnqueuer if is_sequence(source) else GeneratorEnqueuer
    options = {"shuffle": shuffle} if is_sequence(source) else {}
    enqueuer = kind(source, use_multiprocessing=use_multiprocessing, **options)
    enqueuer.start(workers=workers, max_queue_size=max_queue_size)
    return enqueuer
