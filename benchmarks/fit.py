"""Training steps inside fit, gpukeras against what else is installed: `make bench`, `bench-gpu`.

    python benchmarks/fit.py [--device gpu] [--threads N] [--workloads mlp,cnn,...]
                             [--engines gpukeras,torch,...] [--rivals PYTHON]
                             [--keras2 PYTHON] [--seconds S] [--rounds R] [--note TEXT]

Each measurement is a process of its own (one.py) with the same number of threads for everyone; the
engines take turns, so that a busy machine is busy for all of them.  An engine's figure is the
median of its rounds.  --rivals: a Python that has torch, tf_keras, keras (default: this one);
--keras2: one that has Keras 2.3.1.  On a GPU every engine but tf_keras and Keras 3, which do as
their fit does, has the data there before it starts.

The floor is what the workload's products of matrices take at the speed of one large product here;
on a GPU also what all bytes take at the speed of memory, if that is more (roofline.py).

The table goes to the screen and, with processor, versions, date and a picture, to
benchmarks/results/.
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

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from one import ENGINES  # noqa: E402
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
    return engine == "gpukeras" or has(args.rivals, NEEDS[engine])


def has(python, modules):
    """Can that Python import all these modules?  (Looked up, not imported.)"""
    if python == sys.executable:
        return all(importlib.util.find_spec(m) for m in modules)
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {list(modules)})))"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def environment(args):
    """What every process gets: the same number of threads, this checkout of gpukeras."""
    found = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GPUKERAS_THREADS"):
        found[name] = str(args.threads)
    found["GPUKERAS_DEVICE"] = args.device
    root = str(HERE.parent)
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return found


def lines_of(command, args, what):
    """The JSON lines that a process prints; what went wrong goes to the screen."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(args),
                          check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines or "Traceback" in done.stderr:
        print(f"{what} failed:\n{done.stderr[-800:]}")
    return lines


def measure(engine, workloads, args):
    """One process: the dictionaries that one.py prints."""
    python = {"gpukeras": sys.executable, "keras2": args.keras2}.get(engine, args.rivals)
    return lines_of([python, str(HERE / "one.py"), engine, ",".join(workloads), str(args.threads),
                     str(args.seconds), args.device], args, f"{engine} {','.join(workloads)}")


def collect(args, engines):
    """{workload: {engine: [results of each round]}}

    On a CPU engines take turns workload by workload. A GPU is not disturbed by what else runs on
    the machine, and starting a process costs more than measuring: there an engine does all.
    """
    found = {w: {e: [] for e in engines} for w in args.workloads}
    groups = [args.workloads] if args.device == "gpu" else [[w] for w in args.workloads]
    for group in groups:
        for _ in range(args.rounds):
            for engine in engines:
                for result in measure(engine, group, args):
                    found[result["workload"]][engine].append(result)
    return found


def floors(args):
    """{"ceilings": of this machine, "needs": of each workload, "floor_ms"}; see roofline.py."""
    found = lines_of([sys.executable, str(HERE / "roofline.py"), ",".join(args.workloads),
                      args.device], args, "roofline")
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


def save(args, found, roof):
    """benchmarks/results/<device>-<date>-<threads>.json, and the picture; returns the path."""
    now = datetime.datetime.now(datetime.timezone.utc)
    record = {"date": now.isoformat(timespec="seconds"), "device": args.device,
              "cpu": cpu_name(), "cpus": os.cpu_count(), "threads": args.threads,
              "load": os.getloadavg(),
              "python": platform.python_version(), "note": args.note, **roof,
              "results": found}
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{args.device}-{now:%Y%m%d-%H%M}-{args.threads}t.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    if importlib.util.find_spec("matplotlib"):
        draw(record, path.with_suffix(".png"))
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=usable)
    parser.add_argument("--workloads", type=lambda s: s.split(","))
    parser.add_argument("--engines", type=lambda s: s.split(","), default=list(ENGINES))
    parser.add_argument("--rivals", default=sys.executable)
    parser.add_argument("--keras2", default="")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--note", default="")
    args = parser.parse_args()
    on_gpu = args.device == "gpu"
    args.workloads = args.workloads or [w for w, work in WORKLOADS.items()
                                        if work.on in ("both", args.device)]
    args.seconds = args.seconds or (1.0 if on_gpu else 3.0)
    args.rounds = args.rounds or (1 if on_gpu else 3)
    engines = [e for e in args.engines if is_there(e, args)]
    absent = [e for e in args.engines if e not in engines]
    print(f"{args.device}, {cpu_name()}, {args.threads} thread(s) each; "
          f"engines: {', '.join(engines)}"
          + (f"; not installed: {', '.join(absent)}" if absent else ""))
    roof = floors(args)
    if roof["ceilings"]:
        print("ceilings: {gflops:,.0f} GFLOP/s, {gbytes:,.0f} GB/s".format(**roof["ceilings"]))
    found = collect(args, engines)
    print_tables(found, engines, roof["floor_ms"])
    print(f"\nwritten to {save(args, found, roof)}")


if __name__ == "__main__":
    main()
