"""Denormal numbers are zero while a function runs on the host, and only then."""

import platform
import sys
import threading
import time

import numpy as np
import pytest

from gpukeras.denormals import flushing
from gpukeras.function import function
from gpukeras.graph import Placeholder
from gpukeras.team import Team

here = sys.platform == "linux" and platform.machine() == "x86_64"
pytestmark = pytest.mark.skipif(not here, reason="the bits are known on Linux, x86-64 only")
SMALL = np.full(100, 1e-30, "float32")


def denormal() -> bool:
    return bool((SMALL * np.float32(1e-10)).any())


def test_on_and_off():
    start, stop = flushing()
    assert denormal()
    start()
    try:
        assert not denormal()
    finally:
        stop()
    assert denormal()


def test_a_function_flushes_and_the_user_does_not():
    x = Placeholder("float32", (None,))
    y, = function([x], [x * 1e-10])([SMALL])
    assert not y.any()
    assert denormal()


def test_after_an_error_all_is_as_before(monkeypatch):
    x = Placeholder("float32", (None,))
    f = function([x], [x * 1e-10])
    executable = f.run([SMALL])
    if not hasattr(executable, "calls"):
        pytest.skip("not on the host device")

    def fail():
        raise ValueError("on purpose")
    executable.calls.insert(0, fail)
    with pytest.raises(Exception, match="on purpose"):
        f([SMALL])
    assert denormal()


def test_members_of_the_team_flush():
    seen = {}

    def look():
        seen[threading.current_thread().name] = denormal()
        time.sleep(0.3)                             # long enough that each has to take one
    Team(2).together([look, look])
    assert seen == {threading.current_thread().name: True, "gpukeras-1": False}
