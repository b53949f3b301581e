"""The picture of a benchmark: `plot.py RESULT.json` draws RESULT.png."""

import json
import math
import pathlib
import statistics
import sys

from workloads import WORKLOADS


def middle(results):
    return statistics.median(r["step_ms"] for r in results) if results else None


def draw(record, path):
    """Bars of ms per step over the floor of each workload, one group a workload, log scale."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    results = {w: {e: middle(r) for e, r in engines.items()}
               for w, engines in record["results"].items()}
    engines = list(dict.fromkeys(e for row in results.values() for e in row))
    figure, axes = plt.subplots(figsize=(9, 1.4 + 0.22 * len(results) * (len(engines) + 1)),
                                layout="constrained")
    colours = plt.get_cmap("tab10").colors
    height = 0.8 / max(len(engines), 1)
    for i, engine in enumerate(engines):
        places = [row - 0.4 + height * (i + 0.5) for row in range(len(results))]
        widths = [r[engine] or math.nan for r in results.values()]
        axes.barh(places, widths, height * 0.9, label=engine, color=colours[i % 10])
        for place, width in zip(places, widths):
            if width == width:
                axes.text(width, place, f" {width:.3g}", va="center", fontsize=7)
    for row, workload in enumerate(results):
        floor = record.get("floor_ms", {}).get(workload)
        if floor:
            axes.plot([floor] * 2, [row - 0.45, row + 0.45], color="black", linewidth=1,
                      label="" if row else "products alone, at the ceiling")
    axes.set_yticks(range(len(results)), [WORKLOADS[w].words if w in WORKLOADS else w
                                             for w in results], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("ms a step (log scale)")
    axes.set_title(f"{record['cpu'] if record['device'] == 'cpu' else record['device']}, "
                   f"{record['threads']} threads, {record['date'][:10]}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.15, y=0.01)
    figure.legend(fontsize=7, frameon=False, loc="outside upper center", ncols=5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1])
    draw(json.loads(source.read_text()), source.with_suffix(".png"))
