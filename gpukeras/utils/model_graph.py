"""A model as boxes and arrows: what `plot_model` draws, and where on the page."""
from dataclasses import dataclass, field

CHAR, LINE, PAD = 7.2, 20.0, 10.0                  # size of a character and a line, in pixels
GAP, RISE = 26.0, 44.0                             # between boxes of a row; between rows


@dataclass(eq=False)
class Box:
    """A layer: `title`, and with shapes two rows (word, text). x, y: its middle, in pixels."""

    title: str
    rows: tuple = ()
    group: tuple = ()                              # titles of the expanded models around it
    rank: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self):
        columns = [max(len(row[i]) for row in self.rows) for i in (0, 1)] if self.rows else []
        return CHAR * (len(self.title) + sum(columns)) + 2 * PAD * (1 + len(columns))

    @property
    def height(self):
        return LINE * max(len(self.rows), 1) + PAD

    def cells(self):
        """(x, y, width, height, text) of its parts, x and y the upper left corners."""
        left, top = self.x - self.width / 2, self.y - self.height / 2
        first = CHAR * len(self.title) + 2 * PAD
        yield left, top, first, self.height, self.title
        if self.rows:
            sizes = [CHAR * max(len(row[i]) for row in self.rows) + 2 * PAD for i in (0, 1)]
            for j, row in enumerate(self.rows):
                at = left + first
                for width, text in zip(sizes, row, strict=True):
                    yield at, top + j * self.height / 2, width, self.height / 2, text
                    at += width


@dataclass(eq=False)
class Bend:
    """A place that a long arrow passes, so that no box lies on it."""

    rank: int
    x: float = 0.0
    y: float = 0.0
    width, height = 4.0, 0.0


@dataclass
class Picture:
    """Boxes and arrows (box, bends …, box) of a page of `width` x `height` pixels."""

    boxes: list = field(default_factory=list)
    arrows: list = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def describe(model, show_shapes=False, show_layer_names=True, expand_nested=False):
    """The boxes and arrows of a model, without places."""
    picture, ends = Picture(), {}
    _describe(model, (), picture, ends, (show_shapes, show_layer_names, expand_nested))
    return picture


def _describe(model, group, picture, ends, how):
    """Add the layers of `model`. ends: id of a layer -> (boxes that take, boxes that give)."""
    if not getattr(model, "built", True) or not getattr(model, "outputs", None):
        raise ValueError(f"The model {model.name} has no shape yet, so there is nothing to draw. "
                         "Try: an input_shape for its first layer, or build() or fit() first.")
    levels = model._nodes_by_depth
    nodes = [node for depth in sorted(levels, reverse=True) for node in levels[depth]]
    mine = {}
    for layer in dict.fromkeys(node.outbound_layer for node in nodes):
        inner = _inner_model(layer)
        if how[2] and inner is not None:
            inside = {}
            _describe(inner, (*group, layer.name), picture, inside, how)
            mine[layer] = ([inside[id(t._keras_history[0])][0][0] for t in inner.inputs],
                           [inside[id(t._keras_history[0])][1][0] for t in inner.outputs])
        else:
            box = Box(_title(layer, how[1]), _shapes(layer) if how[0] else (), group)
            picture.boxes.append(box)
            mine[layer] = ([box], [box])
    ends.update({id(layer): pair for layer, pair in mine.items()})
    for node in nodes:
        for i, source in enumerate(node.inbound_layers):
            if source in mine:
                takers, givers = mine[node.outbound_layer][0], mine[source][1]
                arrow = (givers[min(node.tensor_indices[i], len(givers) - 1)],
                         takers[min(i, len(takers) - 1)])
                if arrow not in picture.arrows:
                    picture.arrows.append(arrow)


def _inner_model(layer):
    """The model that a layer is, or that a wrapper such as TimeDistributed holds; or None."""
    inner = getattr(layer, "layer", layer)
    return inner if hasattr(inner, "_nodes_by_depth") else None


def _title(layer, show_names):
    name, kind = layer.name, type(layer).__name__
    if hasattr(layer, "layer"):
        name = f"{name}({layer.layer.name})"
        kind = f"{kind}({type(layer.layer).__name__})"
    return f"{name}: {kind}" if show_names else kind


def _shapes(layer):
    def text(name):
        try:
            return str(getattr(layer, name))
        except AttributeError:
            return "multiple"                                # called on inputs of several shapes
    return ("input:", text("input_shape")), ("output:", text("output_shape"))


# ---------------------------------------------------------------- places

def arrange(picture, rankdir="TB"):
    """Give every box its place: rows by the longest way from an input, few crossings in a row.

    Layers as by Sugiyama, Tagawa and Toda 1981; within a row the order of the mean of the
    neighbours, and places as near to that mean as the order allows.
    """
    if rankdir not in ("TB", "LR", "BT", "RL"):
        raise ValueError(f"rankdir: got {rankdir!r}, expected 'TB' (top to bottom), 'LR', 'BT' or "
                         "'RL'.")
    _rank(picture)
    _bend(picture)
    rows = {}
    for item in picture.boxes + [b for arrow in picture.arrows for b in arrow[1:-1]]:
        rows.setdefault(item.rank, []).append(item)
    rows = [rows[rank] for rank in sorted(rows)]
    above, below = {}, {}
    for arrow in picture.arrows:
        for a, b in zip(arrow, arrow[1:]):
            below.setdefault(id(a), []).append(b)
            above.setdefault(id(b), []).append(a)
    along = (lambda item: item.width) if rankdir in ("TB", "BT") else (lambda item: item.height)
    for row in rows:
        _settle(row, along)
    for turn in range(12):
        order, near = (rows, above) if turn % 2 == 0 else (rows[::-1], below)
        for row in order:
            wanted = {id(item): _mean(near.get(id(item)), item.x) for item in row}
            if turn < 8:                                     # then the order stays
                row.sort(key=lambda item, wanted=wanted: wanted[id(item)])
            _settle(row, along, [wanted[id(item)] for item in row])
    _place(picture, rows, rankdir)
    return picture


def _rank(picture):
    after = {}
    for a, b in picture.arrows:
        after.setdefault(id(b), []).append(a)
    for _ in picture.boxes:                                  # boxes come in the order of the graph
        changed = False
        for box in picture.boxes:
            rank = max((a.rank + 1 for a in after.get(id(box), ())), default=box.rank)
            changed, box.rank = changed or rank > box.rank, max(rank, box.rank)
        if not changed:
            return


def _bend(picture):
    picture.arrows = [(a, *(Bend(rank) for rank in range(a.rank + 1, b.rank)), b)
                      for a, b in picture.arrows]


def _mean(items, otherwise):
    return sum(item.x for item in items) / len(items) if items else otherwise


def _settle(row, along, wanted=None):
    """Places as near to the wanted ones as the order and the sizes allow (least squares)."""
    offsets, at = [], 0.0
    for i, item in enumerate(row):
        at += (along(row[i - 1]) + along(item)) / 2 + GAP if i else 0.0
        offsets.append(at)
    if wanted is None:
        wanted = [offset - at / 2 for offset in offsets]
    blocks = []                                              # [sum, count] of equal shifts
    for place, offset in zip(wanted, offsets, strict=True):
        blocks.append([place - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    shifts = [total / count for total, count in blocks for _ in range(count)]
    for item, offset, shift in zip(row, offsets, shifts, strict=True):
        item.x = offset + shift


def _place(picture, rows, rankdir):
    """From places within rows to pixels."""
    upright = rankdir in ("TB", "BT")
    across = (lambda item: item.height) if upright else (lambda item: item.width)
    at = PAD
    for row in rows:
        size = max(across(item) for item in row)
        for item in row:
            item.y = at + size / 2
        at += size + RISE
    depth = at - RISE + PAD
    items = [item for row in rows for item in row]
    for item in items:
        if rankdir in ("BT", "RL"):
            item.y = depth - item.y
        if not upright:
            item.x, item.y = item.y, item.x
    frames = max(len(box.group) for box in picture.boxes)    # drawn around the outermost boxes
    pad = PAD + 6.0 * frames
    left = min(item.x - item.width / 2 for item in items) - pad
    top = min(item.y - item.height / 2 for item in items) - PAD - 16.0 * frames
    for item in items:
        item.x, item.y = item.x - left, item.y - top
    picture.width = max(item.x + item.width / 2 for item in items) + pad
    picture.height = max(item.y + item.height / 2 for item in items) + pad


def ends_of(arrow, rankdir):
    """The points of an arrow, from the border of its first box to that of its last."""
    points = [(item.x, item.y) for item in arrow]
    for place, sign in ((0, 1), (-1, -1)):
        sign = -sign if rankdir in ("BT", "RL") else sign
        item, (x, y) = arrow[place], points[place]
        if rankdir in ("TB", "BT"):
            points[place] = (x, y + sign * item.height / 2)
        else:
            points[place] = (x + sign * item.width / 2, y)
    return points
