"""Drawings of nets, with pycaffe's names; see `netspec.draw`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from netspec.draw import write_drawing
from netspec.nets.phases import PHASE_NAMES


def draw_net_to_file(
    caffe_net: Any, filename: str, rankdir: str = "LR", phase: int | None = None
) -> None:
    """Write a drawing of a `NetParameter`: .svg, .dot, .png or .pdf."""
    shown = "ALL" if phase is None else PHASE_NAMES[phase]
    write_drawing(filename, caffe_net, phase=shown, rankdir=rankdir)


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None
) -> bytes:
    """Return a drawing of a `NetParameter` as the contents of a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"net.{ext}")
        draw_net_to_file(caffe_net, str(path), rankdir, phase)
        return path.read_bytes()
