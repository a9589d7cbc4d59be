"""Drawings of nets, with pycaffe's names; see `netspec.draw`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from netspec.draw import Scene, View
from netspec.draw.output import check_suffix, write
from netspec.errors import MachineError, SpecWarning
from netspec.nets.phases import PHASE_NAMES
from netspec.notebooks import warn_user


class Drawing:
    """What pycaffe's `get_pydot_graph` returns, as far as scripts use it.

    `create(format="png")` and `create_png()` return the contents of a file,
    `write(path)` and `write_png(path)` write one: png, svg, pdf, dot or html.
    `to_string` is its text for Graphviz.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def to_string(self) -> str:
        """Return text for Graphviz."""
        return self._scene.dot()

    def create(self, prog: str | None = None, format: str = "png") -> bytes:  # noqa: A002
        """Return the contents of a file; `prog` is a program that is not needed here.

        Where nothing can make a PNG this is an SVG, with a warning.
        """
        del prog
        try:
            return self._contents(format)
        except MachineError as error:
            if format != "png":
                raise
            warn_user(f"the drawing is SVG, not PNG: {error}", RuntimeWarning)
            return self._contents("svg")

    def write(
        self,
        path: str | Path,
        prog: str | None = None,
        format: str = "",  # noqa: A002
    ) -> None:
        """Write a file, of the kind that its name or `format` says."""
        del prog
        if format and not str(path).endswith(f".{format}"):
            Path(path).write_bytes(self._contents(format))
        else:
            _write(Path(path), self._scene)

    def _contents(self, kind: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"net.{kind}")
            _write(path, self._scene)
            return path.read_bytes()

    def __getattr__(self, name: str) -> Any:
        way, _, kind = name.partition("_")
        if way == "create" and kind:
            return lambda prog=None: self.create(prog, kind)
        if way == "write" and kind:
            return lambda path, prog=None: self.write(path, prog, kind)
        raise AttributeError(f"a drawing has no {name!r}")


def get_pydot_graph(
    caffe_net: Any,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Drawing:
    """Return the drawing of a `NetParameter`, in a phase or in all, or of a `Net`.

    rankdir: "LR" or "TB". label_edges: whether lines say shapes. display_lrm: whether
    boxes say the `lr_mult` of parameters. Whatever is there is drawn; what is wrong
    with it is red, and a warning.
    """
    view = View(
        phase="ALL" if phase is None else PHASE_NAMES[phase],
        rankdir=rankdir,
        captions=label_edges,
        rates=display_lrm,
    )
    scene = Scene(getattr(caffe_net, "graph", caffe_net), view)
    if scene.error is not None:
        warn_user(f"drawn as it is: {scene.error}", SpecWarning)
    return Drawing(scene)


def draw_net_to_file(
    caffe_net: Any,
    filename: str,
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Write a drawing of a `NetParameter`: .svg, .dot, .html, .png or .pdf."""
    get_pydot_graph(caffe_net, rankdir, True, phase, display_lrm).write(filename)


def draw_net(
    caffe_net: Any,
    rankdir: str,
    ext: str = "png",
    phase: int | None = None,
    display_lrm: bool = False,
) -> bytes:
    """Return a drawing of a `NetParameter` as the contents of a file."""
    graph = get_pydot_graph(caffe_net, rankdir, True, phase, display_lrm)
    return graph.create(format=ext)


def _write(path: Path, scene: Scene) -> None:
    check_suffix(path)
    write(path, scene)
