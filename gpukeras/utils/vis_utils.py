"""Pictures of a training run."""


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
