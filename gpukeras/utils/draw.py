"""Pictures of models: as SVG with nothing but text, as PNG or PDF through matplotlib."""
from html import escape

from .model_graph import ends_of

FONT = "Helvetica, Arial, sans-serif"


def curve(points, rankdir):
    """Cubic pieces (start, control, control, end) through the points of an arrow."""
    upright = rankdir in ("TB", "BT")
    pieces = []
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        mid = (y0 + y1) / 2 if upright else (x0 + x1) / 2
        first, second = ((x0, mid), (x1, mid)) if upright else ((mid, y0), (mid, y1))
        pieces.append(((x0, y0), first, second, (x1, y1)))
    return pieces


def groups_of(picture):
    """(title, x, y, width, height) around the boxes of each expanded model."""
    found = {}
    for box in picture.boxes:
        for depth in range(1, len(box.group) + 1):
            found.setdefault(box.group[:depth], []).append(box)
    for group, boxes in found.items():
        edge = 6.0
        deeper = max(len(b.group) for b in boxes) - len(group)   # models within take room, too
        edge += 6.0 * deeper
        left = min(b.x - b.width / 2 for b in boxes) - edge
        top = min(b.y - b.height / 2 for b in boxes) - 16.0 * (1 + deeper)
        right = max(b.x + b.width / 2 for b in boxes) + edge
        bottom = max(b.y + b.height / 2 for b in boxes) + edge
        yield group[-1], left, top, right - left, bottom - top


def svg(picture, rankdir="TB"):
    """The picture as the text of an SVG file."""
    width, height = round(picture.width), round(picture.height)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             f'viewBox="0 0 {width} {height}" font-family="{FONT}" font-size="13">',
             '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
             'markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z"/></marker></defs>',
             '<rect width="100%" height="100%" fill="white"/>']
    for title, x, y, w, h in groups_of(picture):
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="none" '
                     'stroke="gray" stroke-dasharray="4 3"/>')
        parts.append(f'<text x="{x + 5:.1f}" y="{y + 12:.1f}" font-size="11" fill="gray">'
                     f'{escape(title)}</text>')
    for arrow in picture.arrows:
        pieces = curve(ends_of(arrow, rankdir), rankdir)
        path = f"M{_point(pieces[0][0])}" + "".join(
            "C" + " ".join(map(_point, piece[1:])) for piece in pieces)
        parts.append(f'<path d="{path}" fill="none" stroke="black" marker-end="url(#tip)"/>')
    for box in picture.boxes:
        for x, y, w, h, text in box.cells():
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" '
                         'fill="white" stroke="black"/>')
            parts.append(f'<text x="{x + w / 2:.1f}" y="{y + h / 2 + 4.5:.1f}" '
                         f'text-anchor="middle">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _point(point):
    return f"{point[0]:.1f},{point[1]:.1f}"


def figure(picture, rankdir="TB"):
    """The picture as a matplotlib figure of 72 pixels an inch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, Rectangle
    from matplotlib.path import Path

    page = Figure(figsize=(picture.width / 72, picture.height / 72))
    FigureCanvasAgg(page)                          # a canvas of its own: no window, no pyplot
    axes = page.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, picture.width), ylim=(picture.height, 0))
    axes.axis("off")
    for title, x, y, w, h in groups_of(picture):
        axes.add_patch(Rectangle((x, y), w, h, fill=False, edgecolor="gray", linestyle="--"))
        axes.text(x + 5, y + 12, title, fontsize=8, color="gray", family="sans-serif")
    for arrow in picture.arrows:
        pieces = curve(ends_of(arrow, rankdir), rankdir)
        points = [pieces[0][0]] + [p for piece in pieces for p in piece[1:]]
        codes = [Path.MOVETO] + [Path.CURVE4] * (len(points) - 1)
        axes.add_patch(FancyArrowPatch(path=Path(points, codes), arrowstyle="-|>", color="black",
                                       mutation_scale=10, linewidth=0.8, shrinkA=0, shrinkB=0))
    for box in picture.boxes:
        for x, y, w, h, text in box.cells():
            axes.add_patch(Rectangle((x, y), w, h, facecolor="white", edgecolor="black",
                                     linewidth=0.8, zorder=3))
            axes.text(x + w / 2, y + h / 2, text, ha="center", va="center", zorder=4,
                      fontsize=9.5, family="sans-serif")
    return page
