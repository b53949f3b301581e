"""Training steps inside fit, gpukeras against what else is installed: `make bench`, `bench-gpu`.

    python benchmarks/fit.py [--device gpu] [--threads N] [--workloads mlp,cnn,...]
                             [--engines gpukeras,torch,...] [--rivals PYTHON]
                             [--keras2 PYTHON] [--seconds S] [--rounds R] [--note TEXT]
                             [--math float32,tf32,bfloat16] [--minutes M] [--results FOLDER]

Each measurement is a process of its own (one.py) with the same number of threads for everyone; the
engines take turns, so that a busy machine is busy for all of them.  An engine's figure is the
median of its rounds.  --rivals: a Python that has torch, tf_keras, keras (default: this one);
--keras2: one that has Keras 2.3.1.  On a GPU every engine but tf_keras and Keras 3, which do as
their fit does, has the data there before it starts.

gpukeras-plain: without numba, where that is installed.

The floor is what the workload's products of matrices take at the speed of one large product here;
on a GPU also what all bytes take at the speed of memory, if that is more (roofline.py).

--math: precision of products, for every engine: float32 (without TF32, also in torch's
convolutions), tf32, or bfloat16 by mixed precision; the last two run the GPU's large workloads.

The table goes to the screen and, with processor, versions, date and a picture, to
benchmarks/results/: each figure as it comes, so that a run that is stopped has lost only the rest.
--minutes: what has not begun by then is left out, what runs is stopped (a GPU: 8).
"""

import argparse
import datetime
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from one import ENGINES, MATH  # noqa: E402
from plot import draw  # noqa: E402
from workloads import WORKLOADS  # noqa: E402

NEEDS = {"torch": ("torch",), "torch-compile": ("torch",), "jax": ("keras", "jax"),
         "tf_keras": ("tf_keras", "tensorflow"), "keras3": ("keras", "tensorflow"),
         "keras3-jax": ("keras", "jax"), "keras3-torch": ("keras", "torch")}


def cpu_name():
    """The processor's name, as the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def is_there(engine, args):
    """Can this engine run here?"""
    if engine == "keras2":
        return bool(args.keras2) and has(args.keras2, ("keras", "tensorflow"))
    if engine == "gpukeras-plain":
        return args.device == "cpu" and has(sys.executable, ("numba",))
    return engine == "gpukeras" or has(args.rivals, NEEDS[engine])


def has(python, modules):
    """Can that Python import all these modules?  (Looked up, not imported.)"""
    if python == sys.executable:
        return all(importlib.util.find_spec(m) for m in modules)
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {list(modules)})))"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def environment(args, math, engine):
    """What every process gets: the same number of threads, this checkout of gpukeras."""
    found = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GPUKERAS_THREADS"):
        found[name] = str(args.threads)
    found["GPUKERAS_DEVICE"] = args.device
    if engine == "gpukeras-plain":
        found["NUMBA_DISABLE_JIT"] = "1"
    found["GPUKERAS_MATH"] = "tf32" if math == "tf32" else "float32"
    root = str(HERE.parent)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return found


def lines_of(command, args, math, what):
    """The JSON lines that a process prints, each as it comes; what went wrong goes to the screen.

    It writes to a file: its own children may hold a pipe open after it has been stopped.
    """
    if time.monotonic() > args.deadline:
        print(f"{what}: left out, the time is up")
        return
    with (tempfile.TemporaryFile("w+") as errors, tempfile.NamedTemporaryFile("r") as output,
          open(output.name, "w") as target):
        process = subprocess.Popen(command, stdout=target, stderr=errors,
                                   env=environment(args, math, what.split()[0]))
        try:
            count, ended = 0, False
            while not ended:
                ended = process.poll() is not None
                if not ended and time.monotonic() > args.deadline:
                    process.kill()
                    print(f"{what}: stopped, the time is up")
                output.seek(0)
                lines = [x for x in output if x.startswith("{") and x.endswith("\n")]
                yield from map(json.loads, lines[count:])
                count = len(lines)
                time.sleep(0 if ended else 0.2)
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        text = errors.read()
    if process.returncode or not count or "Traceback" in text:
        print(f"{what} failed:\n{text[-2000:]}", flush=True)


def measure(engine, workloads, args, math):
    """One process: the dictionaries that one.py prints."""
    python = {"gpukeras": sys.executable, "gpukeras-plain": sys.executable,
              "keras2": args.keras2}.get(engine, args.rivals)
    return lines_of([python, str(HERE / "one.py"), engine, ",".join(workloads), str(args.threads),
                     str(args.seconds), args.device, math], args, math,
                    f"{engine} {','.join(workloads)}")


def collect(args, engines, record):
    """Fills record["results"], {workload: {engine: [results of each round]}}, and saves each.

    On a CPU engines take turns workload by workload. A GPU is not disturbed by what else runs on
    the machine, and starting a process costs more than measuring: there an engine does all.
    """
    found = record["results"]
    groups = [list(found)] if args.device == "gpu" else [[w] for w in found]
    for group in groups:
        for _ in range(args.rounds):
            for engine in engines:
                for result in measure(engine, group, args, record["math"]):
                    found[result["workload"]][engine].append(result)
                    save(args, record)
                    if args.device == "gpu":
                        print("{engine:16}{workload:18}{step_ms:10.3f} ms".format(**result),
                              flush=True)


def floors(args, workloads, math):
    """{"ceilings": of this machine, "needs": of each workload, "floor_ms"}; see roofline.py."""
    found = list(lines_of([sys.executable, str(HERE / "roofline.py"), ",".join(workloads),
                           args.device, math], args, math, "roofline"))
    if not found:
        return {"ceilings": {}, "needs": {}, "floor_ms": {}}
    found, = found
    most = found["ceilings"]
    found["floor_ms"] = {}
    for workload, need in found["needs"].items():
        products, bytes_ = need["gflop"] / most["gflops"], need["gbyte"] / most["gbytes"]
        # a CPU's caches hold most of what the steps read and write: only products count there
        least = max(products, bytes_) if args.device == "gpu" else products
        found["floor_ms"][workload] = 1e3 * least
    return found


def middle(results, key):
    """Median of one figure over the rounds, or None."""
    values = [r[key] for r in results if key in r]
    return statistics.median(values) if values else None


def print_tables(found, engines, floor_ms):
    """ms per step, and every engine's time as a multiple of gpukeras's."""
    for key, words in (("step_ms", "ms per step inside fit"),
                       ("cpu_ms", "processor ms per step inside fit")):
        print(f"\n{words:48}{'floor':>9}" + "".join(f"{e:>18}" for e in engines))
        for workload, results in found.items():
            ours = middle(results.get("gpukeras", []), key)
            cells = []
            for engine in engines:
                ms = middle(results[engine], key)
                ratio = f" ({ms / ours:4.2f}x)" if ms and ours else ""
                cells.append(f"{ms:.3f}{ratio}" if ms else "-")
            floor = f"{floor_ms[workload]:.3f}" if workload in floor_ms else "-"
            print(f"{WORKLOADS[workload].words:48}{floor:>9}" + "".join(f"{c:>18}" for c in cells))
    print()
    for key, words in (("import_s", "import, s"),
                       ("train_on_batch_ms", "train_on_batch, MLP, ms"),
                       ("predict_one_ms", "predict of one row, MLP, ms")):
        rows = [middle([r for w in found.values() for r in w[e]], key) for e in engines]
        if any(rows):
            print(f"{words:57}" + "".join(f"{'-' if v is None else f'{v:.3f}':>18}"
                                          for v in rows))


def begun(args, math, engines, workloads):
    """What is known of a run before anything is measured."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"date": now.isoformat(timespec="seconds"), "device": args.device, "cpu": cpu_name(),
            "cpus": os.cpu_count(), "threads": args.threads, "math": math,
            "load": os.getloadavg(), "python": platform.python_version(), "note": args.note,
            "results": {w: {e: [] for e in engines} for w in workloads}}


def save(args, record):
    """Writes <device>-<date>-<threads>t[-<math>].json; returns its path."""
    date = datetime.datetime.fromisoformat(record["date"])
    math = "" if record["math"] == "float32" else "-" + record["math"]
    args.results.mkdir(parents=True, exist_ok=True)
    path = args.results / f"{args.device}-{date:%Y%m%d-%H%M}-{args.threads}t{math}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def run(args, math, engines):
    """All workloads in one precision."""
    workloads = args.workloads or [w for w, work in WORKLOADS.items()
                                   if work.on == args.device
                                   or work.on == "both" and math == "float32"]
    record = begun(args, math, engines, workloads)
    record.update(floors(args, workloads, math))
    if record["ceilings"]:
        print("{gpu} {math} ceilings: {gflops:,.0f} GFLOP/s, {gbytes:,.0f} GB/s".format(
            gpu=record.get("gpu", ""), math=math, **record["ceilings"]), flush=True)
    collect(args, engines, record)
    print_tables(record["results"], engines, record["floor_ms"])
    path = save(args, record)
    print(f"\nwritten to {path}", flush=True)
    if importlib.util.find_spec("matplotlib"):
        draw(record, path.with_suffix(".png"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    words = {"type": lambda s: s.split(",")}
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=usable)
    parser.add_argument("--workloads", **words)
    parser.add_argument("--engines", **words, default=list(ENGINES))
    parser.add_argument("--math", **words, default=["float32"])
    parser.add_argument("--rivals", default=sys.executable)
    parser.add_argument("--keras2", default="")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--note", default="")
    parser.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    args = parser.parse_args()
    for given, known in ((args.workloads or [], WORKLOADS), (args.engines, ENGINES),
                         (args.math, MATH)):
        if set(given) - set(known):
            parser.error(f"got {','.join(given)}, expected some of {','.join(known)}")
    on_gpu = args.device == "gpu"
    args.seconds = args.seconds or (1.0 if on_gpu else 3.0)
    args.rounds = args.rounds or (1 if on_gpu else 3)
    args.deadline = time.monotonic() + 60 * (args.minutes or (8.0 if on_gpu else 1e6))
    engines = [e for e in args.engines if is_there(e, args)]
    absent = [e for e in args.engines if e not in engines]
    print(f"{args.device}, {cpu_name()}, {args.threads} thread(s) each; "
          f"engines: {', '.join(engines)}"
          + (f"; not installed: {', '.join(absent)}" if absent else ""), flush=True)
    for math in args.math:
        run(args, math, engines)


if __name__ == "__main__":
    main()
