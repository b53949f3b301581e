"""A thread that looks after the other ranks while this one's GPU waits for them.

NCCL's sums wait on the GPU, without end if a rank has died, and the host with them, in the driver,
where neither a time-out nor a signal reaches Python. So a second thread watches how long a step
takes, asks NCCL for errors, and hears the signals.
"""
import os
import select
import signal
import threading
import time
from collections import deque

_GLANCE = 0.1                        # seconds between two looks
_GRACE = 0.05                        # for a step that goes on when the job is asked to end


class Watchdog:
    """Ends the job through its communicator when a step does not end.

    # Arguments
        communicator: MpiCommunicator.
        check: raises an error if a connection is broken.
    """

    def __init__(self, communicator, check):
        self.communicator, self._check = communicator, check
        self._begun = None                           # when the host began to queue a step
        self._marks = deque()                        # behind each step queued: `done` says it ended
        self._moved = time.monotonic()               # when a step ended last, or the first came
        self._signals = _wakeup()
        threading.Thread(target=self._watch, name="gpukeras watchdog", daemon=True).start()

    def begin(self):
        """A step is being queued, which may wait already."""
        self._begun = time.monotonic()

    def queued(self, mark):
        """A step is queued; mark.done says when it has ended."""
        if not self._marks:
            self._moved = time.monotonic()
        self._marks.append(mark)
        self._begun = None

    @property
    def waits(self):
        """Whether a step is on its way."""
        return self._begun is not None or bool(self._marks)

    def _watch(self):
        while True:
            self._sleep()
            while self._marks and self._marks[0].done:
                self._marks.popleft()
                self._moved = time.monotonic()
            if self.waits:
                self._look()

    def _look(self):
        asked = self.communicator.asked
        if asked is not None and time.monotonic() - max(asked, self._moved) > _GRACE:
            self.communicator.end()
        try:
            self._check()
        except Exception as error:                   # CuPy's NcclError
            self.communicator.fail("a step of training", f"NCCL says: {error}")
        begun = self._begun
        since = self._moved if self._marks else begun
        late = since is not None and time.monotonic() - since > self.communicator.timeout
        if late or self.communicator.is_called():
            self.communicator.fail("a step of training")

    def _sleep(self):
        """Until the next look, or a signal."""
        if self._signals is None or self.communicator.asked is not None:
            time.sleep(_GRACE if self.communicator.asked is not None else _GLANCE)
        elif select.select([self._signals], [], [], _GLANCE)[0]:
            if signal.SIGTERM in os.read(self._signals, 100):
                self.communicator.ask_to_end()


def _wakeup():
    """A pipe in which the numbers of signals arrive at once, whatever the main thread does; None
    where another library has one."""
    if threading.current_thread() is not threading.main_thread():
        return None
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    old = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    if old != -1:
        signal.set_wakeup_fd(old)
        return None
    return reads
