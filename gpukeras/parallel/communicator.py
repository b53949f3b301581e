"""Communicators: the ranks of a job, and sums over them. `mpirun -n 4 python train.py` makes four.

We launch and meet by MPI (mpi4py); what is here is only what training needs of it.
"""
import functools
import os
import signal
import sys
import threading
import time

import numpy as np

from .. import devices
from ..errors import DeviceError
from .watchdog import Watchdog

# set by the launchers of Open MPI, MPICH and Intel MPI, MVAPICH, and by Slurm's
_LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MV2_COMM_WORLD_SIZE")
_SAVING = 15.0                       # seconds that the rank that saves the model may take
_WAITING = 7301                      # tag of the message "I wait", sent when time has run out


class Communicator:
    """One process alone; a base for the others.

    rank: number of this process, from 0. size: how many there are. local_rank: its number among
    the processes of this machine, local_size: how many these are.
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1
    on_failure = None                    # called before the job ends for another rank's sake

    def allreduce(self, array):
        """Replaces a contiguous array by the sum over all ranks, in place."""

    def alltoall(self, parts):
        """An array with a row from each rank: row r of theirs that is for us. parts: (size, ...),
        row r goes to rank r."""
        return parts

    def watch(self, rescue):
        """Have `rescue` called if the job ends because another rank has."""

    def guard(self, check, aside, abort):
        """What looks after steps that wait for other ranks on the GPU, where nothing else can end
        them; None: nothing does. See Watchdog.

        # Arguments
            check: raises an error if a connection is broken.
            aside: lets values be read while the GPU waits.
            abort: ends the waiting.
        """

    def broadcast(self, array, root=0):
        """Replaces an array by that of rank `root`, in place."""

    def gather(self, value):
        """The values of all ranks, in the order of ranks."""
        return [value]

    def barrier(self):
        """Waits until all ranks are here."""

    def check_root(self, root):
        """ValueError if there is no such rank."""
        if not 0 <= root < self.size:
            raise ValueError(f"root_rank {root}: got a job of {self.size} ranks, expected 0 to "
                             f"{self.size - 1}")

    def start_sum(self, array, channel=0):
        """Begins `allreduce`; returns a function that waits for its end. Messages of a channel, 0
        or 1, begin in the same order on all ranks."""
        return lambda: self.allreduce(array)

    def start_gather(self, part, whole, rows=None, channel=0):
        """Begins to put the parts of all ranks, in the order of ranks, one after the other into
        `whole`. rows: how many rows of `whole` each rank brings; None: equally many. Returns a
        function that waits for the end."""
        return lambda: np.copyto(whole.reshape(-1), part.reshape(-1))


class MpiCommunicator(Communicator):
    """All processes that mpirun started.

    timeout: seconds to wait for the other ranks before the job is ended with the names of those
    that did not come.
    """

    def __init__(self, mpi, timeout=300.0):
        self.mpi, self.world, self.timeout = mpi, mpi.COMM_WORLD, timeout
        self.rank, self.size = self.world.Get_rank(), self.world.Get_size()
        self.asked = None                # when mpirun asked this process to end
        self._called, self._left = {}, {}      # ranks that wait, that have left -> why the job ends
        self._failing = threading.Lock()
        self._aside, self._abort = [], []
        self.channels = self.world, self.world.Dup()
        here = self.world.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = here.Get_rank(), here.Get_size()
        if self.size > 1:
            sys.excepthook = functools.partial(self._leave, sys.excepthook)

    def allreduce(self, array):
        self._wait(self.world.Iallreduce(self.mpi.IN_PLACE, _plain(array)), "an allreduce")

    def alltoall(self, parts):
        came = np.empty_like(parts)
        self._wait(self.world.Ialltoall(_bytes(parts), _bytes(came)), "an allreduce")
        return came

    def start_sum(self, array, channel=0):
        request = self.channels[channel].Iallreduce(self.mpi.IN_PLACE, _plain(array))
        return lambda: self._wait(request, "a step of training")

    def start_gather(self, part, whole, rows=None, channel=0):
        channel, to = self.channels[channel], _bytes(whole)
        if rows is None or len(set(rows)) == 1:
            request = channel.Iallgather(_bytes(part), to)
        else:
            each = whole.nbytes // sum(rows)
            request = channel.Iallgatherv(_bytes(part), (to, [n * each for n in rows]))
        return lambda: self._wait(request, "a step of training")

    def broadcast(self, array, root=0):
        self.check_root(root)
        if not array.flags.c_contiguous:
            raise ValueError("broadcast: got a strided array, expected a contiguous one")
        self._wait(self.world.Ibcast(array.reshape(-1).view(np.uint8), root), "a broadcast")

    def gather(self, value):
        self.barrier()
        return self.world.allgather(value)

    def barrier(self):
        self._wait(self.world.Ibarrier(), "a barrier")

    def _wait(self, request, what):
        """Until the request is done; ends the whole job when time runs out."""
        start = time.monotonic()
        while not request.Test():
            if self.asked is not None:
                self.end()
            spent = time.monotonic() - start
            if spent > self.timeout:
                self.fail(what)
            if spent > 0.002:        # at first spin: most sums take less than waking up
                if self.is_called():
                    self.fail(what)
                time.sleep(0.0005)

    # ---- the end of the job, because a rank does not come

    def guard(self, check, aside, abort):
        if self.mpi.Query_thread() < self.mpi.THREAD_MULTIPLE:
            print(f"gpukeras: nothing ends rank {self.rank}'s waiting for NCCL if another one "
                  "dies: this MPI lets one thread alone call it (mpi4py.rc.thread_level)",
                  file=sys.stderr, flush=True)
            return None
        self._aside.append(aside)
        self._abort.append(abort)
        return Watchdog(self, check)

    def is_called(self):
        """Whether a rank whose time has run out asks who else waits."""
        while (message := self.world.improbe(tag=_WAITING)) is not None:
            rank, why, waits = message.recv()
            (self._called if waits else self._left)[rank] = why
        return bool(self._called or self._left)

    def fail(self, what, why=""):
        """Names the ranks that do not wait as we do, has one of the others save, ends the job.

        # Arguments
            what: on which we wait.
            why: what is known, if it is not that the time is over.
        """
        self._only_one()
        sent = self._tell(why, True)
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            self.is_called()
            time.sleep(0.01)
        here = {self.rank, *self._called}
        why = why or next(filter(None, [*self._left.values(), *self._called.values()]), "")
        if self.rank == min(here):
            lost = sorted(self._left) or [r for r in range(self.size) if r not in here]
            absent = ", ".join(map(str, lost))
            when = f"({why})" if why else f"within {self.timeout:g} s"
            who = (f"rank {absent} did not come to {what} {when}: it is stuck, has ended, or runs "
                   "other steps than the rest" if absent else
                   f"no rank came to the end of {what} {when}")
            print(f"gpukeras: {who}. The job ends here.", file=sys.stderr, flush=True)
            self._rescue()
        else:
            time.sleep(_SAVING)          # the one that saves ends the job, when it has
        del sent
        self._stop()

    def _tell(self, why, waits):
        return [self.world.isend((self.rank, why, waits), r, _WAITING) for r in range(self.size)
                if r != self.rank]

    def _leave(self, show, kind, error, trace):
        """For an error that nobody catches: tells the others, who save and end the job."""
        show(kind, error, trace)
        if _current is not self or not issubclass(kind, Exception):
            return
        self._only_one()
        sent = self._tell(f"{kind.__name__}: {error}", False)
        until = time.monotonic() + _SAVING
        while time.monotonic() < until and len(self._left) < self.size - 1:
            self.is_called()                 # if all have left, nobody is there to save
            time.sleep(0.01)
        del sent
        self._stop()

    def _only_one(self):
        """Of the threads that notice the end, one goes on."""
        while not self._failing.acquire(timeout=1000):
            pass

    def _stop(self):
        for abort in self._abort:        # lest a library waits for the GPU as the process ends
            thread = threading.Thread(target=abort, daemon=True)
            thread.start()
            thread.join(2.0)
        self.world.Abort(1)

    # ---- the end of the job, asked for by mpirun because another rank has died

    def watch(self, rescue):
        """Have `rescue` called if the job ends for the sake of another rank, once, between two
        steps of training; None ends it. mpirun kills the others about 0.2 s after it has asked
        them to end; `mpirun --continuous` leaves them alone, and the time-out ends the job."""
        self.on_failure = rescue
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.ask_to_end if rescue else signal.SIG_DFL)

    def ask_to_end(self, *signal_and_frame):
        """End between two steps: a step waits for the lost rank before it changes any weight, see
        `_wait` and Watchdog."""
        if self.asked is None:
            self.asked = time.monotonic()

    def end(self):
        """Save, and end the job."""
        self._only_one()
        self._rescue()
        self._stop()

    def _rescue(self):
        if self.on_failure is not None:
            for aside in self._aside:
                aside()
            rescue, self.on_failure = self.on_failure, None
            rescue()


def _bytes(array):
    return array.reshape(-1).view(np.uint8)


def _plain(array):
    """The array, if MPI can sum it in place."""
    if not array.flags.c_contiguous or array.dtype.char not in "fdiqlB?":
        raise ValueError(f"allreduce: got {array.dtype}{list(array.shape)}, expected a contiguous "
                         "array of float32, float64, int32 or int64")
    return array


_current = None


def current():
    """The communicator of this process; DeviceError before `init`."""
    if _current is None:
        raise DeviceError("hvd has not been initialized. Try: hvd.init() first in the script")
    return _current


def init(communicator=None, timeout=300.0):
    """Meets the other ranks; a process that no mpirun started is alone. Further calls do nothing.

    # Raises
        DeviceError: if mpirun started this process, but mpi4py is missing.
    """
    global _current
    if communicator is not None:
        _current = communicator
    elif _current is None:
        _current = _meet(timeout)
    return _current


def _meet(timeout):
    if not any(name in os.environ for name in _LAUNCHED):
        return Communicator()
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise DeviceError(f"mpirun started this process, but mpi4py cannot be imported: {error}. "
                          "Try: pip install gpukeras[mpi]") from error
    found = MpiCommunicator(MPI, timeout)
    devices.prefer(found.local_rank)
    return found


def shutdown():
    """Forgets the communicator."""
    global _current
    _current = None


def average(value):
    """The mean over all ranks of an array or a number; float64 inside."""
    total = np.array(value, np.float64)
    group = current()
    group.allreduce(total)
    return total / group.size
