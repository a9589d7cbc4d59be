"""Draw a net: `python -m netspec.draw NET -o net.svg`.

Boxes are layers, coloured by family, with in-place layers stacked on the box whose
output they change; lines are blobs with their shapes. SVG and DOT need nothing else
installed; PNG and PDF need CairoSVG or rsvg-convert.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from netspec.cli import Parser, named_shape, run
from netspec.drawing.boxes import Picture, Shape, make_picture
from netspec.drawing.dot import to_dot
from netspec.drawing.svg import to_svg
from netspec.errors import MachineError, SpecError
from netspec.files import replacing
from netspec.graph import Graph, build, filter_net, merge_state
from netspec.schema import TEST, TRAIN
from netspec.text import as_net
from netspec.upgrade import upgrade_net

MAX_PIXELS = 32_000  # of a side; Cairo takes 32,767
_PHASES = {"TRAIN": (TRAIN,), "TEST": (TEST,), "ALL": (TRAIN, TEST)}


def draw(
    net: Any,
    *,
    phase: str = "ALL",
    rankdir: str = "TB",
    shapes: Mapping[str, Shape] | None = None,
) -> str:
    """Return a drawing of `net` as SVG.

    net: a path, prototxt text, a message, a graph, or anything with `to_proto()`.
    phase: "TRAIN", "TEST", or "ALL" for the layers of both, those of one phase marked.
    rankdir: "TB" draws from top to bottom, "LR" from left to right.
    shapes: of tops of data layers whose files would tell them; without, the lines of
        such a net have no shapes.
    """
    return to_svg(_picture(net, phase, shapes), sideways=_is_sideways(rankdir))


def draw_dot(
    net: Any,
    *,
    phase: str = "ALL",
    rankdir: str = "TB",
    shapes: Mapping[str, Shape] | None = None,
) -> str:
    """Return a drawing of `net` as text for Graphviz; see `draw`."""
    return to_dot(_picture(net, phase, shapes), sideways=_is_sideways(rankdir))


def _is_sideways(rankdir: str) -> bool:
    _choose("rankdir", rankdir, ("TB", "LR"))
    return rankdir == "LR"


def _choose(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise SpecError(f"{name} is {value!r}; expected one of {', '.join(known)}")


def _graph_picture(graph: Graph) -> Picture:
    phase = graph.state.phase
    title = f"{graph.name} ({'TRAIN' if phase == TRAIN else 'TEST'})"
    shapes = {phase: _shapes(graph)}
    return make_picture(title, [node.layer for node in graph.nodes], shapes)


def _picture(net: Any, phase: str, given: Mapping[str, Shape] | None) -> Picture:
    """Collect the layers of the phases asked for, with shapes where they are known."""
    _choose("phase", phase, _PHASES)
    if isinstance(net, Graph):
        return _graph_picture(net)
    message = upgrade_net(as_net(net))
    phases = _PHASES[phase]
    shapes = {}
    for each in phases:
        state = merge_state(message, each)
        try:
            shapes[each] = _shapes(build(message, state, shapes=given))
        except SpecError:
            if given:
                raise
            # A net whose data lies elsewhere, or a half-written one, has no shapes but
            # can be looked at; `python -m netspec.summary` tells what is wrong.
            shapes[each] = {}
    if len(phases) == 1:
        message = filter_net(message, merge_state(message, phases[0]))
    title = message.name or "net"
    if phase != "ALL":
        title += f" ({phase})"
    return make_picture(title, list(message.layer), shapes)


def _shapes(graph: Graph) -> dict[str, list[Shape]]:
    """Return the shapes of the tops of every layer."""
    return {
        node.name: [graph.edges[edge].shape for edge in node.tops]
        for node in graph.nodes
    }


def write_drawing(
    path: str | Path,
    net: Any,
    *,
    phase: str = "ALL",
    rankdir: str = "TB",
    shapes: Mapping[str, Shape] | None = None,
) -> None:
    """Write a drawing of `net`; the suffix says how: .svg, .dot, .png or .pdf."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".dot", ".gv"):
        text = draw_dot(net, phase=phase, rankdir=rankdir, shapes=shapes)
        data = text.encode()
    elif suffix in (".svg", ".png", ".pdf"):
        data = draw(net, phase=phase, rankdir=rankdir, shapes=shapes).encode()
        if suffix != ".svg":
            data = _rendered(data, suffix[1:])
    else:
        raise SpecError(
            f"{path}: a drawing's name must end in .svg, .dot, .png or .pdf"
        )
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
        help="a .svg, .dot, .png or .pdf file; without it SVG goes to standard output",
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
    net = _read(options.net, options.deploy)
    phase, rankdir, shapes = options.phase, options.rankdir, dict(options.shape)
    if options.output is None:
        sys.stdout.write(draw(net, phase=phase, rankdir=rankdir, shapes=shapes))
        return
    write_drawing(options.output, net, phase=phase, rankdir=rankdir, shapes=shapes)
    print(options.output)


def _read(name: str, deploy: bool) -> Any:
    """Return what the command line names: a model file's net, or a path."""
    if not name.endswith(".py"):
        return Path(name)
    from netspec.export import load_model

    return load_model(name, deploy=deploy)


if __name__ == "__main__":
    sys.exit(main())
