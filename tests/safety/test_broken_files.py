"""Broken model files load or give a clear error: no crash, no hang, little memory, no code run."""
import os
import time

import pytest
from own_process import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_some_broken_files(tmp_path):
    run("read_broken_files.py", tmp_path, 150, 1)


@pytest.mark.long
def test_ten_thousand_broken_files(tmp_path):
    run("read_broken_files.py", tmp_path, 10_000, int(time.time()))
