"""plot_model: what is drawn where; the files are well-formed pictures."""
import itertools
import sys
import xml.etree.ElementTree as ET

import pytest

from gpukeras import layers as L
from gpukeras.models import Model, Sequential
from gpukeras.utils import model_to_dot, plot_model
from gpukeras.utils.draw import groups_of, svg
from gpukeras.utils.model_graph import arrange, describe


def two_branches():
    left, right = L.Input((8,), name="left"), L.Input((4,), name="right")
    wide = L.Dense(16, name="wide")(left)
    both = L.Add(name="both")([wide, L.Dense(16, name="deep")(L.Dense(16, name="narrow")(right))])
    inner = Sequential([L.Dense(5, input_shape=(16,), name="one"), L.Dense(3, name="two")],
                       name="inner")
    joined = L.Concatenate(name="joined")([inner(both), wide])
    return Model([left, right], [L.Dense(1, name="flag")(both), joined])


def arrows_of(picture):
    return {(arrow[0].title.split(":")[0], arrow[-1].title.split(":")[0])
            for arrow in picture.arrows}


OUTER = {("left", "wide"), ("right", "narrow"), ("narrow", "deep"), ("wide", "both"),
         ("deep", "both"), ("both", "flag"), ("wide", "joined")}


def test_boxes_and_arrows_follow_the_model():
    picture = describe(two_branches())
    assert arrows_of(picture) == OUTER | {("both", "inner"), ("inner", "joined")}
    assert {box.title for box in picture.boxes} >= {"left: InputLayer", "inner: Sequential"}
    nested = describe(two_branches(), expand_nested=True)
    assert arrows_of(nested) == OUTER | {("both", "one_input"), ("one_input", "one"),
                                         ("one", "two"), ("two", "joined")}
    assert {box.title: box.group for box in nested.boxes}["two: Dense"] == ("inner",)


def test_titles_and_shapes():
    model = Sequential([L.TimeDistributed(L.Dense(3, name="inside"), input_shape=(5, 2),
                                          name="outside")])
    box = describe(model, show_shapes=True).boxes[-1]
    assert box.title == "outside(inside): TimeDistributed(Dense)"
    assert box.rows == (("input:", "(None, 5, 2)"), ("output:", "(None, 5, 3)"))
    assert describe(model, show_layer_names=False).boxes[-1].title == "TimeDistributed(Dense)"


@pytest.mark.parametrize("rankdir", ["TB", "LR", "BT", "RL"])
def test_boxes_lie_on_the_page_and_not_on_each_other(rankdir):
    picture = arrange(describe(two_branches(), show_shapes=True, expand_nested=True), rankdir)
    for a in picture.boxes:
        assert a.width / 2 <= a.x <= picture.width - a.width / 2
        assert a.height / 2 <= a.y <= picture.height - a.height / 2
    for a, b in itertools.combinations(picture.boxes, 2):
        apart_x = abs(a.x - b.x) >= (a.width + b.width) / 2
        assert apart_x or abs(a.y - b.y) >= (a.height + b.height) / 2, (a.title, b.title)
    along = {"TB": lambda box: box.y, "BT": lambda box: -box.y,
             "LR": lambda box: box.x, "RL": lambda box: -box.x}[rankdir]
    assert all(along(arrow[0]) < along(arrow[-1]) for arrow in picture.arrows)


def test_svg_has_every_layer_and_arrow(tmp_path):
    file = tmp_path / "model.svg"
    plot_model(two_branches(), str(file), show_shapes=True, expand_nested=True)
    root = ET.parse(file).getroot()
    texts = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "joined: Concatenate" in texts and "[(None, 3), (None, 16)]" in texts
    paths = [e for e in root.iter("{http://www.w3.org/2000/svg}path") if e.get("marker-end")]
    assert len(paths) == len(OUTER) + 4


def test_png_by_matplotlib(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.setattr("gpukeras.utils.vis_utils._has_graphviz", lambda: False)
    plot_model(two_branches(), str(tmp_path / "model"), dpi=72)
    picture = arrange(describe(two_branches()))
    with image.open(tmp_path / "model.png") as found:
        assert found.size == (int(picture.width), int(picture.height))
        assert len(found.convert("L").getcolors()) > 2


def test_dot_by_pydot():
    pytest.importorskip("pydot")
    text = model_to_dot(two_branches(), show_shapes=True, expand_nested=True,
                        rankdir="LR").to_string()
    assert "rankdir=LR" in text and "joined: Concatenate" in text and "cluster_inner" in text
    assert text.count("->") == len(OUTER) + 4


def test_mistakes(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="no shape yet"):
        plot_model(Sequential([L.Dense(3)]), str(tmp_path / "x.svg"))
    with pytest.raises(ValueError, match="UP"):
        plot_model(two_branches(), str(tmp_path / "x.svg"), rankdir="UP")
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(ImportError, match="pip install pydot"):
        model_to_dot(two_branches())


@pytest.mark.parametrize("rankdir", ["TB", "LR"])
def test_frames_of_nested_models_lie_on_the_page_and_say_their_names(rankdir, tmp_path):
    inner = Sequential([L.Dense(5, input_shape=(8,)), L.Dense(2)], name="innermost")
    outer = Sequential([L.Dense(8, input_shape=(16,)), inner], name="outer")
    x = L.Input((16,))
    picture = arrange(describe(Model(x, outer(x)), expand_nested=True), rankdir)
    frames = {title: (x, y, x + w, y + h) for title, x, y, w, h in groups_of(picture)}
    left, top, right, bottom = frames["outer"]
    assert 0 < left and 0 < top and right < picture.width and bottom < picture.height
    assert left < frames["innermost"][0] and right > frames["innermost"][2]
    assert ">innermost</text>" in svg(picture, rankdir)
