"""Pictures of models and of training runs."""
import os
import shutil
import sys

from .draw import figure, svg
from .io_utils import atomic_write
from .model_graph import arrange, describe


def plot_history(history, to_file=None):
    """Curves of loss and metrics over the epochs, training as a line, validation dashed.

    # Arguments
        history: what `fit` returns, or its `history` dict.
        to_file: name of a picture (.png, .pdf, .svg); None leaves the figure to the caller.

    # Returns
        The matplotlib figure, or None if it went to a file.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plot_history needs matplotlib. Try: pip install matplotlib") from None

    curves = getattr(history, "history", history)
    names = [name for name in curves if not name.startswith("val_")]
    figure = Figure(figsize=(4.5 * max(1, len(names)), 3.4), layout="constrained")
    FigureCanvasAgg(figure)                              # a canvas of its own: no window, no pyplot
    for panel, name in zip(figure.subplots(1, max(1, len(names)), squeeze=False)[0], names):
        for key, line, label in ((name, "-", "training"), ("val_" + name, "--", "validation")):
            if key in curves:
                panel.plot(range(1, len(curves[key]) + 1), curves[key], line, label=label)
        panel.set(title=name, xlabel="epoch")
        panel.grid(alpha=0.3)
        panel.legend()
    if to_file is None:
        return figure
    figure.savefig(to_file, dpi=100)
    return None


def plot_model(model, to_file="model.png", show_shapes=False, show_layer_names=True, rankdir="TB",
               expand_nested=False, dpi=96):
    """Draw a model as boxes and arrows.

    An .svg is written without any other program. Other formats are drawn by Graphviz (through
    pydot) if both are installed, else by matplotlib.

    # Arguments
        model: a model with known shapes.
        to_file: name of the picture; its ending says the format.
        show_shapes: whether to show the shapes of each layer's input and output.
        show_layer_names: whether to show the names of the layers beside their classes.
        rankdir: "TB" from top to bottom, "LR" from left to right; "BT", "RL" the other way.
        expand_nested: whether to draw the inside of models within the model.
        dpi: dots per inch of the picture.

    # Returns
        A Jupyter image of the file in a notebook, else None.
    """
    kind = os.path.splitext(to_file)[1].lstrip(".").lower() or "png"
    to_file = to_file if os.path.splitext(to_file)[1] else to_file + ".png"
    how = {"show_shapes": show_shapes, "show_layer_names": show_layer_names,
           "expand_nested": expand_nested}
    if kind == "svg":
        with atomic_write(to_file) as path, open(path, "w", encoding="utf-8") as file:
            file.write(svg(arrange(describe(model, **how), rankdir), rankdir))
    elif _has_graphviz():
        model_to_dot(model, rankdir=rankdir, dpi=dpi, **how).write(to_file, format=kind)
    else:
        try:
            page = figure(arrange(describe(model, **how), rankdir), rankdir)
        except ImportError:
            raise ImportError("plot_model needs matplotlib, or pydot and Graphviz, for a picture "
                              f"of type {kind}. Try: pip install matplotlib, or a name that ends "
                              "in .svg") from None
        page.savefig(to_file, dpi=dpi)
    return _shown(to_file, kind)


def _shown(to_file, kind):
    """The picture for a notebook; None elsewhere."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import display
    return display.SVG(to_file) if kind == "svg" else display.Image(filename=to_file)


def _has_graphviz():
    if shutil.which("dot") is None:
        return False
    try:
        import pydot  # noqa: F401
    except ImportError:
        return False
    return True


def model_to_dot(model, show_shapes=False, show_layer_names=True, rankdir="TB",
                 expand_nested=False, dpi=96, subgraph=False):
    """The picture of a model as a pydot graph; arguments as for `plot_model`.

    # Arguments
        subgraph: whether to return a cluster, for use within another graph.

    # Raises
        ImportError: without pydot.
    """
    try:
        import pydot
    except ImportError:
        raise ImportError("model_to_dot needs pydot. Try: pip install pydot, or "
                          "plot_model(model, 'model.svg'), which needs nothing") from None
    picture = describe(model, show_shapes, show_layer_names, expand_nested)
    if subgraph:
        graph = pydot.Cluster(graph_name=model.name, style="dashed")
        graph.set("label", model.name)
        graph.set("labeljust", "l")
    else:
        graph = pydot.Dot()
        graph.set("rankdir", rankdir)
        graph.set("concentrate", True)
        graph.set("dpi", dpi)
        graph.set_node_defaults(shape="record")
    clusters = {(): graph}
    for number, box in enumerate(picture.boxes):
        box.key = f"box{number}"
        for depth in range(1, len(box.group) + 1):
            path = box.group[:depth]
            if path not in clusters:
                clusters[path] = pydot.Cluster("_".join(path), style="dashed", label=path[-1])
        label = box.title
        if box.rows:
            columns = [" | ".join(row[i] for row in box.rows) for i in (0, 1)]
            label = f"{label}|{{{columns[0]}}}|{{{columns[1]}}}"
        clusters[box.group].add_node(pydot.Node(box.key, label=label))
    for path in sorted(clusters, key=len, reverse=True):
        if path:
            clusters[path[:-1]].add_subgraph(clusters[path])
    for first, last in picture.arrows:
        graph.add_edge(pydot.Edge(first.key, last.key))
    return graph
