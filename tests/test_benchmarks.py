"""The benchmark programs: figures are kept as they come, and time limits hold."""
import json
import pathlib
import sys
import time
from types import SimpleNamespace

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def fit(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fit
    return fit


def arguments(seconds, **more):
    return SimpleNamespace(deadline=time.monotonic() + seconds, threads=1, device="cpu", **more)


def test_lines_come_one_by_one_until_the_time_is_up(fit, capsys):
    code = ("import json, sys, time\n"
            "print('a word'); print(json.dumps({'n': 1}), flush=True); time.sleep(1)\n"
            "print(json.dumps({'n': 2}), flush=True); time.sleep(100)")
    start, came = time.monotonic(), []
    for line in fit.lines_of([sys.executable, "-c", code], arguments(4), "float32", "a sleeper"):
        came.append((line["n"], time.monotonic() - start))
    assert [n for n, _ in came] == [1, 2] and came[0][1] < came[1][1] - 0.5
    assert time.monotonic() - start < 20
    assert "a sleeper: stopped, the time is up" in capsys.readouterr().out


def test_what_has_not_begun_in_time_is_left_out(fit, capsys):
    assert list(fit.lines_of(["/no/such/program"], arguments(-1), "float32", "late")) == []
    assert "late: left out" in capsys.readouterr().out


def test_a_failing_engine_says_why(fit, capsys):
    command = [sys.executable, "-c", "raise SystemExit('no room')"]
    assert list(fit.lines_of(command, arguments(60), "float32", "an engine")) == []
    assert "an engine failed" in (out := capsys.readouterr().out) and "no room" in out


def test_results_are_saved_after_each_figure(fit, monkeypatch, tmp_path):
    args = arguments(60, results=tmp_path, rounds=2, note="")
    record = fit.begun(args, "float32", ["gpukeras", "torch"], ["mlp"])
    seen = []

    def measure(engine, workloads, *_):
        yield {"engine": engine, "workload": "mlp", "step_ms": 1.0}
        path, = tmp_path.glob("cpu-*-1t.json")
        seen.append(json.loads(path.read_text())["results"]["mlp"])
    monkeypatch.setattr(fit, "measure", measure)
    fit.collect(args, ["gpukeras", "torch"], record)
    assert [(len(s["gpukeras"]), len(s["torch"])) for s in seen] == [(1, 0), (1, 1), (2, 1), (2, 2)]


@pytest.mark.slow
def test_the_probe_runs_on_the_emulator():
    import subprocess
    done = subprocess.run([sys.executable, str(BENCHMARKS / "gpu_probe.py"), "--emu"], text=True,
                          capture_output=True, check=True, cwd=BENCHMARKS.parent,
                          env={"PYTHONPATH": str(BENCHMARKS.parent), "PATH": "/usr/bin:/bin"})
    assert "12 small steps, merged False" in done.stdout and "Traceback" not in done.stderr
