"""Draw a net: `python -m netspec.draw NET -o net.svg`.

Boxes are layers, coloured by family, with in-place layers stacked on the box whose
output they change, and closed modules; lines are blobs with their shapes. SVG, HTML and
DOT need nothing else installed; PNG and PDF need CairoSVG or rsvg-convert.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec.cli import Parser, named_shape, run
from netspec.drawing.boxes import Fact, Picture, Shape, make_picture
from netspec.drawing.dot import to_dot
from netspec.drawing.folding import fold
from netspec.drawing.html import to_html
from netspec.drawing.modules import Module, find_modules
from netspec.drawing.svg import to_svg
from netspec.errors import MachineError, SpecError, did_you_mean
from netspec.files import replacing
from netspec.graph import Diagnosis, Graph, diagnose, drop_values, merge_state
from netspec.schema import TEST, TRAIN, LayerParameter, NetParameter
from netspec.text import as_net
from netspec.upgrade import upgrade_net

SUFFIXES = (".svg", ".html", ".htm", ".dot", ".gv", ".png", ".pdf")
MAX_PIXELS = 32_000  # of a side; Cairo takes 32,767
MAX_PATHS = 10  # of modules, in a message
ALL_LEVELS = sys.maxsize
_PHASES = {"TRAIN": (TRAIN,), "TEST": (TEST,), "ALL": (TRAIN, TEST)}


@dataclass(frozen=True, kw_only=True)
class View:
    """What of a net is shown, and how.

    phase: "TRAIN", "TEST", or "ALL" for the layers of both, those of one phase marked.
    rankdir: "TB" draws from top to bottom, "LR" from left to right.
    depth: how many levels of modules are open; 0 is none. opened: paths of modules that
    are open whatever their level. fold: whether three or more equal modules in a row
    are drawn as one.
    shapes: of tops of data layers whose files would tell them; without, the lines of
    such a net have no shapes.
    """

    phase: str = "ALL"
    rankdir: str = "TB"
    depth: int = 0
    opened: Collection[str] = ()
    fold: bool = True
    shapes: Mapping[str, Shape] | None = None

    def __post_init__(self) -> None:
        _choose("phase", self.phase, _PHASES)
        _choose("rankdir", self.rankdir, ("TB", "LR"))
        if self.depth < 0:
            raise SpecError(f"depth is {self.depth}; expected 0 or more")


def draw(net: Any, **view: Any) -> str:
    """Return a drawing of `net` as SVG.

    net: a path, prototxt text, a message, a graph, or anything with `to_proto()`.
    view: see `View`.

    A net that does not check is drawn all the same, with the layers that are wrong in
    red.
    """
    return _Scene(net, View(**view)).svg()


def draw_dot(net: Any, **view: Any) -> str:
    """Return a drawing of `net` as text for Graphviz; see `draw`."""
    return _Scene(net, View(**view)).dot()


def draw_html(net: Any, **view: Any) -> str:
    """Return one page with `net`, where modules open on a click; see `draw`.

    The page needs nothing else, no network either.
    """
    return _Scene(net, View(**view)).html()


def _choose(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise SpecError(f"{name} is {value!r}; expected one of {', '.join(known)}")


class _Scene:
    """A net, ready to be drawn in any format. `error` is what is wrong with it."""

    def __init__(self, net: Any, view: View) -> None:
        self.view = view
        self.error: SpecError | None = None
        self.picture = self._picture(net)
        self.root = find_modules(self.picture)
        asked = self._asked()
        if view.fold:
            fold(self.root, self.picture, unless=asked)
        self.opened = self._opened(asked)

    @property
    def sideways(self) -> bool:
        """Whether the flow is from left to right."""
        return self.view.rankdir == "LR"

    def svg(self) -> str:
        """Return SVG."""
        return to_svg(
            self.picture, self.root, opened=self.opened, sideways=self.sideways
        )

    def dot(self) -> str:
        """Return text for Graphviz."""
        return to_dot(
            self.picture, self.root, opened=self.opened, sideways=self.sideways
        )

    def html(self) -> str:
        """Return a page."""
        return to_html(
            self.picture, self.root, opened=self.opened, sideways=self.sideways
        )

    def _picture(self, net: Any) -> Picture:
        """Collect the layers of the phases asked for, and what is known of them."""
        if isinstance(net, Graph):
            phase = "TRAIN" if net.state.phase == TRAIN else "TEST"
            layers = [node.layer for node in net.nodes]
            facts = [Fact(node.op) for node in net.nodes]
            return make_picture(f"{net.name} ({phase})", layers, facts)
        message = as_net(net)
        if isinstance(net, str | os.PathLike):
            drop_values(message)
        message = upgrade_net(message)
        title = message.name or "net"
        if self.view.phase != "ALL":
            title += f" ({self.view.phase})"
        phases = _PHASES[self.view.phase]
        found = [self._diagnose(message, phase) for phase in phases]
        layers = list(message.layer if len(phases) > 1 else found[0].layers)
        return make_picture(title, layers, _facts(layers, found))

    def _diagnose(self, message: NetParameter, phase: int) -> Diagnosis:
        found = diagnose(message, merge_state(message, phase), shapes=self.view.shapes)
        if found.error is not None and self.error is None:
            self.error = found.error
        return found

    def _asked(self) -> list[str]:
        """Return the paths of modules that are to be open."""
        paths = [module.path for module in self.root.modules()]
        known = set(paths)
        for path in self.view.opened:
            if path not in known:
                hint = did_you_mean(path, known)
                more = ", ..." if len(paths) > MAX_PATHS else ""
                shown = f"{', '.join(paths[:MAX_PATHS])}{more}"
                rest = f"; these are {shown}" if paths else ""
                raise SpecError(
                    f"no module has the path {path!r}"
                    f"{hint or rest or '; this net has none'}"
                )
        wrong = [box.name for box in self.picture.boxes if box.mistake]
        around = [
            path for path in paths if any(name.startswith(f"{path}/") for name in wrong)
        ]
        return [*self.view.opened, *around]

    def _opened(self, asked: Sequence[str]) -> set[Module]:
        """Return the open modules: by depth, by path, and what is around those."""
        opened = set()
        level = {self.root: 0}
        for module in self.root.modules():
            parent = module.parent or self.root
            inside_fold = parent.is_fold
            level[module] = level[parent] + (0 if inside_fold else 1)
            named = module.path in asked
            if named or level[module] <= self.view.depth:
                opened.add(module)
            while named and module.parent is not None:
                module = module.parent
                opened.add(module)
        return opened


def _facts(layers: Sequence[LayerParameter], found: Sequence[Diagnosis]) -> list[Fact]:
    """Return what is known of each layer in the first phase that has it."""
    facts: dict[int, Fact] = {}
    for diagnosis in found:
        rows = zip(diagnosis.layers, diagnosis.ops, diagnosis.mistakes, strict=True)
        for layer, op, mistake in rows:
            old = facts.get(id(layer), Fact())
            facts[id(layer)] = Fact(old.op or op, old.mistake or mistake)
    return [facts.get(id(layer), Fact()) for layer in layers]


def write_drawing(path: str | Path, net: Any, **view: Any) -> None:
    """Write a drawing of `net`; the suffix says how: .svg, .html, .dot, .png or .pdf.

    view: see `View`. A net that does not check is drawn, but `SpecError` is raised once
    the file is there.
    """
    path = Path(path)
    _check_suffix(path)
    scene = _Scene(net, View(**view))
    _write(path, scene)
    if scene.error is not None:
        raise scene.error


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise SpecError(
            f"{path}: a drawing's name must end in .svg, .html, .dot, .png or .pdf"
        )


def _write(path: Path, scene: _Scene) -> None:
    suffix = path.suffix.lower()
    if suffix in (".dot", ".gv"):
        data = scene.dot().encode()
    elif suffix in (".html", ".htm"):
        data = scene.html().encode()
    else:
        data = scene.svg().encode()
        if suffix != ".svg":
            data = _rendered(data, suffix[1:])
    with replacing(path) as file:
        file.write(data)


def _rendered(svg: bytes, kind: str) -> bytes:
    """Turn SVG into PNG or PDF with whatever is there."""
    if importlib.util.find_spec("cairosvg"):
        import cairosvg

        convert = cairosvg.svg2png if kind == "png" else cairosvg.svg2pdf
        return bytes(convert(bytestring=svg, scale=_scale(svg.decode())))
    rsvg = shutil.which("rsvg-convert")
    if rsvg is None:
        raise MachineError(
            f"a .{kind} needs CairoSVG (pip install cairosvg) or rsvg-convert, and "
            f"neither is here; write a .svg instead, which every browser shows"
        )
    command = [rsvg, f"--format={kind}", "--unlimited"]
    done = subprocess.run(command, input=svg, capture_output=True, check=False)
    if done.returncode != 0:
        raise MachineError(f"{rsvg} failed: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _scale(svg: str) -> float:
    """Return how much to enlarge: twice, or as far as a PNG can go."""
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    longest = max(int(side) for side in size.groups()) if size else 1
    return min(2.0, MAX_PIXELS / longest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    return run(lambda: _command(arguments))


def _command(arguments: Sequence[str] | None) -> None:
    parser = Parser(prog="python -m netspec.draw", description="Draw a net.")
    parser.add_argument("net", help="a .prototxt, a .caffemodel, or a models/*.py")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="a .svg, .html, .dot, .png or .pdf file; without it SVG goes to standard "
        "output",
    )
    parser.add_argument(
        "--phase",
        choices=list(_PHASES),
        default="ALL",
        help="draw the net of this phase; ALL (default) draws both, marking layers",
    )
    parser.add_argument(
        "--rankdir",
        choices=["TB", "LR"],
        default="TB",
        help="from top to bottom (default) or from left to right",
    )
    parser.add_argument(
        "--depth",
        type=_depth,
        default=0,
        metavar="N",
        help="how many levels of modules are open: 0 (default), 1, ... or all",
    )
    parser.add_argument(
        "--open",
        action="append",
        default=[],
        metavar="PATH",
        help="open the module of this path, as in inception_3a; repeat for several",
    )
    parser.add_argument(
        "--no-fold",
        action="store_true",
        help="draw equal modules in a row one by one",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=named_shape,
        metavar="TOP=N,C,H,W",
        help="shape of the top of a data layer; repeat for several",
    )
    parser.add_argument(
        "--deploy", action="store_true", help="of a Python file, draw the net for use"
    )
    options = parser.parse_args(arguments)
    if options.output is not None:
        _check_suffix(options.output)
    shapes = dict(options.shape)
    view = View(
        phase=options.phase,
        rankdir=options.rankdir,
        depth=options.depth,
        opened=options.open,
        fold=not options.no_fold,
        shapes=shapes,
    )
    scene = _Scene(_read(options.net, options.deploy, shapes), view)
    if options.output is None:
        sys.stdout.write(scene.svg())
    else:
        _write(options.output, scene)
        print(options.output)
    if scene.error is not None:
        raise SpecError(f"{options.net}: {scene.error}")


def _depth(text: str) -> int:
    """Read a number of levels, or all, for `type=` of an option."""
    if text == "all":
        return ALL_LEVELS
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0, 1, ... or all; got {text!r}")
    return int(text)


def _read(name: str, deploy: bool, shapes: Mapping[str, Sequence[int]]) -> Any:
    """Return what the command line names: a model file's net, or a path."""
    if not name.endswith(".py"):
        if deploy:
            raise SpecError(f"{name}: --deploy is for model files, which end in .py")
        return Path(name)
    from netspec.export import load_for_use, load_model

    return load_for_use(name, shapes) if deploy else load_model(name)


if __name__ == "__main__":
    sys.exit(main())
