"""The picture of a benchmark: `plot.py RESULT.json` draws RESULT.png."""

import json
import pathlib
import statistics
import sys

from workloads import WORKLOADS


COLUMNS = 3
NAMES = {"gpukeras-plain": "without numba", "keras3": "Keras 3, TensorFlow",
         "keras3-jax": "Keras 3, jax", "keras3-torch": "Keras 3, torch", "keras2": "Keras 2.3.1",
         "torch-compile": "torch.compile"}


def middle(results):
    return statistics.median(r["step_ms"] for r in results) if results else None


def draw(record, path):
    """A panel of bars for each workload: ms per step of each engine, and the workload's floor."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    results = {w: {e: middle(r) for e, r in engines.items()}
               for w, engines in record["results"].items()}
    engines = list(dict.fromkeys(e for row in results.values() for e in row))
    rows = -(-len(results) // COLUMNS)
    figure, panels = plt.subplots(rows, COLUMNS, sharey=True, squeeze=False, layout="constrained",
                                  figsize=(10, 0.6 + rows * (0.45 + 0.19 * len(engines))))
    for axes in panels.flat[len(results):]:
        axes.set_visible(False)
    for axes, (workload, found) in zip(panels.flat, results.items()):
        panel(axes, [found.get(e) for e in engines], record.get("floor_ms", {}).get(workload),
              ["tab:blue" if e.startswith("gpukeras") else "0.7" for e in engines])
        axes.set_title(WORKLOADS[workload].words if workload in WORKLOADS else workload, fontsize=8)
        axes.set_yticks(range(len(engines)), [NAMES.get(e, e) for e in engines], fontsize=8)
    panels[0, 0].invert_yaxis()
    where = record["cpu"] if record["device"] == "cpu" else record["device"]
    figure.suptitle(f"ms a step; line: products alone, at the ceiling.  {where}, "
                    f"{record['threads']} threads, {record['date'][:10]}", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panel(axes, times, floor, colours):
    """Bars of times (None: no bar), our own in another colour than the rivals'."""
    axes.barh(range(len(times)), [t or 0 for t in times], 0.75, color=colours)
    for i, time in enumerate(times):
        if time:
            digits = 0 if time >= 100 else 1 if time >= 10 else 2
            axes.text(time, i, f" {time:,.{digits}f}", va="center", fontsize=7)
    if floor:
        axes.axvline(floor, color="black", linewidth=0.8)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.margins(x=0.17)


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1])
    draw(json.loads(source.read_text()), source.with_suffix(".png"))
