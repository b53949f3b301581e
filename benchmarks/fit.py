"""Training steps inside fit, gpukeras against what else is installed: `make bench`, `bench-gpu`.

    python benchmarks/fit.py [--device gpu] [--threads N] [--workloads mlp,cnn,...]
                             [--engines gpukeras,torch,...] [--rivals PYTHON] [--seconds S]
                             [--rounds R] [--note TEXT]

Each measurement is a process of its own (benchmarks/one.py) with the same number of threads for
everyone; the engines take turns, so that a busy machine is busy for all of them.  An engine's
figure is the median of its rounds.  --rivals: a Python that has torch, tf_keras, keras (default:
this one).  On a GPU every engine has the data there before it starts, but tf_keras and Keras 3,
which do as their fit does.

The table goes to the screen and, with processor, versions and date, to benchmarks/results/.
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
from workloads import WORKLOADS  # noqa: E402

NEEDS = {"torch": ("torch",), "tf_keras": ("tf_keras", "tensorflow"),
         "keras3": ("keras", "tensorflow"), "keras3-jax": ("keras", "jax"),
         "keras3-torch": ("keras", "torch")}
WORDS = {"mlp": "MLP 784-400-10, RMSprop, batch 32",
         "cnn": "CNN 5x5x32, 5x5x64, 1000, 10, Adam, batch 128",
         "cnn3": "CNN 3x3x32 twice, 128, dropout, Adam, batch 32",
         "resnet20": "ResNet-20, 32x32x3, Adam, batch 32",
         "vgg16-predict-1": "VGG16 inference, batch 1",
         "vgg16-predict-8": "VGG16 inference, batch 8"}


def cpu_name():
    """The processor's name, as the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def has(python, modules):
    """Can that Python import all these modules?  (Looked up, not imported.)"""
    if python == sys.executable:
        return all(importlib.util.find_spec(m) for m in modules)
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {list(modules)})))"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def measure(python, engine, workload, args):
    """One process: the dictionary that one.py prints, or None with the error on the screen."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GPUKERAS_THREADS"):
        environment[name] = str(args.threads)
    environment["GPUKERAS_DEVICE"] = args.device
    root = str(HERE.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    done = subprocess.run([python, str(HERE / "one.py"), engine, workload, str(args.threads),
                           str(args.seconds), args.device], capture_output=True, text=True,
                          env=environment, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        print(f"{engine} {workload} failed:\n{done.stderr[-800:]}")
        return None
    return json.loads(lines[-1])


def collect(args, engines):
    """{workload: {engine: [results of each round]}}"""
    found = {w: {e: [] for e in engines} for w in args.workloads}
    for workload in args.workloads:
        for _ in range(args.rounds):
            for engine in engines:
                python = sys.executable if engine == "gpukeras" else args.rivals
                result = measure(python, engine, workload, args)
                if result:
                    found[workload][engine].append(result)
    return found


def middle(results, key):
    """Median of one figure over the rounds, or None."""
    values = [r[key] for r in results if key in r]
    return statistics.median(values) if values else None


def print_tables(found, engines):
    """ms per step, and every engine's time as a multiple of gpukeras's."""
    for key, words in (("step_ms", "ms per step inside fit"),
                       ("cpu_ms", "processor ms per step inside fit")):
        print(f"\n{words:48}" + "".join(f"{e:>20}" for e in engines))
        for workload, results in found.items():
            ours = middle(results.get("gpukeras", []), key)
            cells = []
            for engine in engines:
                ms = middle(results[engine], key)
                ratio = f" ({ms / ours:4.2f}x)" if ms and ours else ""
                cells.append(f"{ms:.3f}{ratio}" if ms else "-")
            print(f"{WORDS[workload]:48}" + "".join(f"{c:>20}" for c in cells))
    print()
    for key, words in (("import_s", "import, s"),
                       ("train_on_batch_ms", "train_on_batch, MLP, ms"),
                       ("predict_one_ms", "predict of one row, MLP, ms")):
        rows = [middle([r for w in found.values() for r in w[e]], key) for e in engines]
        if any(rows):
            print(f"{words:48}" + "".join(f"{'-' if v is None else f'{v:.3f}':>20}"
                                          for v in rows))


def save(args, found):
    """benchmarks/results/<device>-<date>-<threads>.json; returns its path."""
    now = datetime.datetime.now(datetime.timezone.utc)
    record = {"date": now.isoformat(timespec="seconds"), "device": args.device,
              "cpu": cpu_name(), "cpus": os.cpu_count(), "threads": args.threads,
              "load": os.getloadavg(),
              "python": platform.python_version(), "note": args.note, "results": found}
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{args.device}-{now:%Y%m%d-%H%M}-{args.threads}t.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--threads", type=int, default=usable)
    parser.add_argument("--workloads", type=lambda s: s.split(","), default=list(WORKLOADS))
    parser.add_argument("--engines", type=lambda s: s.split(","), default=list(ENGINES))
    parser.add_argument("--rivals", default=sys.executable)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--note", default="")
    args = parser.parse_args()
    engines = [e for e in args.engines if e == "gpukeras" or has(args.rivals, NEEDS[e])]
    absent = [e for e in args.engines if e not in engines]
    print(f"{args.device}, {cpu_name()}, {args.threads} thread(s) each; "
          f"engines: {', '.join(engines)}"
          + (f"; not installed: {', '.join(absent)}" if absent else ""))
    found = collect(args, engines)
    print_tables(found, engines)
    print(f"\nwritten to {save(args, found)}")


if __name__ == "__main__":
    main()
