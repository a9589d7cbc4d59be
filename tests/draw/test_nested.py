"""The script of a page places everything exactly where Python does.

V8 runs the script, without a browser; `test_html` has tests in one.
"""

import json
import random
import re

import pytest
from py_mini_racer import MiniRacer

from netspec.commands.model_files import load_model
from netspec.draw.grid import make_grid
from netspec.draw.html import content, placing_script
from netspec.draw.layout import Frame, place
from netspec.draw.nested import place_modules
from netspec.draw.scene import Scene, View
from netspec.draw.svg import _lines
from netspec.schema import NetParameter
from tests.draw.nets import (
    CHAIN_OF_FOLDS,
    INPUT,
    NET,
    layer,
    random_modules,
    random_net,
    random_net_of_many_sources,
    random_rows,
)
from tests.test_architecture import ROOT

MAX_ERROR_PX = 1e-9  # Python 3.12 adds floats up more exactly than JavaScript

PLAIN = """
const pair = (size) => [size.width, size.height];
const layoutOf = (layout) => ({
  extent: pair(layout), centres: layout.centres, starts: layout.starts,
  segments: layout.segments.map(
    (s) => [s.x0, s.y0, s.x1, s.y1, s.intoBox, s.leave, s.reach]),
});
const plain = (placed) => ({
  size: pair(placed.size), sizes: placed.sizes.map(pair), ...layoutOf(placed.layout),
  insides: Object.fromEntries(
    Object.entries(placed.insides).map(([node, inside]) => [node, plain(inside)])),
});
let net;
const load = (content) => { net = content; return true; };
const placesOf = (opened) => plain(placeModule(net, new Set(opened), 0));
const placesIn = (grid, sizes, nets, stem, frame) =>
  layoutOf(place(grid, sizes, nets, stem, frame));
const pathsOf = (segments, sideways) => linePaths(
  segments.map((s) => ({ ...s, intoBox: s.into_box })), sideways);
const isScript = (text) => { new Function(text); return true; };
"""


@pytest.fixture(scope="module")
def script():
    with MiniRacer() as engine:
        engine.eval(placing_script() + PLAIN)
        yield engine


def layout_of(layout):
    return {
        "extent": [layout.width, layout.height],
        "centres": [list(centre) for centre in layout.centres],
        "starts": [list(start) for start in layout.starts],
        "segments": [
            [s.x0, s.y0, s.x1, s.y1, s.into_box, s.leave, s.reach]
            for s in layout.segments
        ],
    }


def plain(placed):
    """What Python has placed, in the form of `PLAIN`."""
    return {
        "size": [placed.size.width, placed.size.height],
        "sizes": [[size.width, size.height] for size in placed.sizes],
        **layout_of(placed.layout),
        "insides": {str(node): plain(each) for node, each in placed.insides.items()},
    }


def compare(ours, theirs):
    """Count the numbers of two equal structures; fail where they are not equal."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        return sum(compare(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        return sum(compare(*values) for values in zip(ours, theirs, strict=True))
    assert isinstance(ours, bool) == isinstance(theirs, bool)
    assert abs(ours - theirs) <= MAX_ERROR_PX
    return 1


def some_opened(root, seed):
    """Nothing open, all, the modules of the net itself, and some at random."""
    modules = list(root.seen())
    rng = random.Random(seed)
    chosen = [[], modules, [each for each in modules if each.parent is root]]
    chosen += [[each for each in modules if rng.random() < 0.7] for _ in range(2)]
    return chosen if modules else chosen[:1]


def places_compared(script, net, seed=0):
    """Compare every place in a net, folded or not, both ways, and count the numbers."""
    total = 0
    for fold in (True, False):
        scene = Scene(net, View(fold=fold))
        root = scene.root
        number = {each: index for index, each in enumerate([root, *root.seen()])}
        for sideways in (False, True):
            script.call("load", content(scene.picture, root, (), sideways))
            for opened in some_opened(root, seed):
                ours = place_modules(scene.picture, root, opened, sideways)
                theirs = script.call("placesOf", [number[each] for each in opened])
                total += compare(plain(ours), theirs)
    return total


MODELS = [
    *("fcn8s", "googlenet", "lrcn", "lstm_sequence", "mnist_siamese"),
    *("mobilenet_v2", "resnet18", "ssd300"),
]


@pytest.mark.parametrize("model", MODELS)
def test_models_have_the_same_places(script, model):
    net = load_model(ROOT / "models" / f"{model}.py")
    assert places_compared(script, net) > 700


@pytest.mark.parametrize("seed", range(12))
def test_nets_of_random_modules_have_the_same_places(script, seed):
    assert places_compared(script, random_modules(seed), seed) > 500


@pytest.mark.parametrize("seed", range(8))
def test_nets_of_random_rows_have_the_same_places(script, seed):
    assert places_compared(script, random_rows(seed), seed) > 300


SMALL = {
    "nothing": NetParameter(name="empty"),
    "one layer": INPUT,
    "both phases": NET,
    "no shapes": NET.replace("crop_size: 12", ""),
    "a mistake": NET.replace("kernel_h: 3", "kernel_h: 30"),
    "no lines": INPUT + 'input: "y" input_shape { dim: 1 } ',
    "folds in folds": CHAIN_OF_FOLDS,
    "a name wider than what it names": INPUT
    + layer(f"{'wide' * 20}/a", "x")
    + layer(f"{'wide' * 20}/b", [f"{'wide' * 20}/a"]),
    "modules without lines in": 'layer { name: "m/a" type: "DummyData" top: "a" } '
    'layer { name: "m/b" type: "DummyData" top: "b" }',
    "many lines out": INPUT
    + 'layer { name: "m/cut" type: "Slice" bottom: "x" top: "p" top: "q" top: "r" }'
    + layer("m/other", ["x"])
    + layer("sum", ["p", "m/other"], "Eltwise")
    + layer("end", ["r", "q", "p"], "Concat"),
}


@pytest.mark.parametrize("name", SMALL)
def test_odd_small_nets_have_the_same_places(script, name):
    assert places_compared(script, SMALL[name]) > 0


def test_the_odd_nets_are_what_their_names_say():
    root = Scene(SMALL["folds in folds"], View()).root
    assert sum(each.is_fold for each in root.seen()) == 2
    assert Scene(SMALL["a mistake"], View()).error is not None
    scene = Scene(SMALL["a name wider than what it names"], View(depth=1))
    (inside,) = place_modules(
        scene.picture, scene.root, scene.opened, sideways=False
    ).insides.values()
    assert inside.size.width > 500


@pytest.mark.parametrize("make", [random_net, random_net_of_many_sources])
# In 41 and 133 lines cross that start in different ranks.
@pytest.mark.parametrize("seed", [*range(12), 41, 133])
def test_grids_of_random_boxes_have_the_same_places(script, seed, make):
    sizes, nets = make(seed)
    grid = make_grid(len(sizes), nets)
    frame = Frame(before=11, after=7, aside=(5, 3))
    ours = place(grid, sizes, nets, 17, frame)
    theirs = script.call(
        "placesIn",
        {key: value for key, value in vars(grid).items() if key != "width"},
        [vars(size) for size in sizes],
        [vars(net) for net in nets],
        17,
        {"entries": 0, "exits": 0, "ends": {}, "starts": {}}
        | {"before": 11, "after": 7, "aside": [5, 3]},
    )
    assert compare(layout_of(ours), theirs) > 30


@pytest.mark.parametrize("sideways", [False, True])
def test_lines_have_the_same_path(script, sideways):
    sizes, nets = random_net(3)
    layout = place(make_grid(len(sizes), nets), sizes, nets, 17, Frame())
    theirs = script.call("pathsOf", [vars(s) for s in layout.segments], sideways)
    ours = list(_lines(layout.segments, sideways))
    flat = [path for pair in theirs for path in pair if path]
    assert len(ours) == len(flat) > len(nets)
    for element, path in zip(ours, flat, strict=True):
        mine = re.search(r' d="(.*?)"', element)[1]
        number = r"-?\d+\.\d"
        assert re.sub(number, "#", mine) == re.sub(number, "#", path)
        values = [[float(v) for v in re.findall(number, d)] for d in (mine, path)]
        assert values[0] == pytest.approx(values[1], abs=0.11)  # halves round apart


def test_the_whole_script_is_javascript(script):
    viewer = ROOT / "netspec" / "draw" / "viewer" / "viewer.js"
    whole = placing_script() + viewer.read_text(encoding="utf-8")
    assert script.call("isScript", whole)
    assert json.loads(script.eval("JSON.stringify(CAPTION_SHIFT)")) == [5, 13]
