"""What a drawing writes on lines: the shapes of blobs, and the room they take.

A caption stands where a line leaves the box that makes its blob, and on every line of
the blob in DOT. It says the blob's shape, if that is known, and its name where a layer
such as one of data makes several. Lines that come into a module from outside have none
in there, nor have lines that leave an open module: it stands inside.
"""

from __future__ import annotations

from collections.abc import Sequence

from netspec.draw.box_svg import LABEL_SIZE
from netspec.draw.boxes import Blob, Picture
from netspec.draw.grid import Size
from netspec.draw.measures import CAPTION_SHIFT, CAPTION_SHIFT_SIDEWAYS
from netspec.draw.modules import Line, Module, inner_name
from netspec.draw.text_width import text_width

CAPTION_HEIGHT = 17.0
CAPTION_SPACE = 8.0  # beside a caption, where the flow is to the right
CAPTION_OVERHANG = 10.0  # how far a caption may stand out below its box


def shape_text(shape: tuple[int, ...]) -> str:
    """Return 10×3×224×224, or "scalar" for a blob without axes."""
    return "×".join(str(size) for size in shape) or "scalar"


def blob_caption(blob: Blob) -> str:
    """Return what the lines of a blob say, or "" for nothing."""
    return _caption(blob.label, blob)


def _caption(label: str, blob: Blob) -> str:
    shape = "" if blob.shape is None else shape_text(blob.shape)
    return f"{label} {shape}".strip()


def line_caption(picture: Picture, module: Module, line: Line) -> str:
    """Return what a line in a module says at its start, if no panel is there."""
    from_outside = line.source < len(module.entries)
    blob = picture.blobs[line.blob]
    return "" if from_outside else _caption(inner_name(blob.label, module), blob)


def caption_widths(picture: Picture, module: Module, node: int) -> list[float]:
    """Return how wide the captions are of the lines from one child."""
    lines = module.lines_from(node)
    captions = [line_caption(picture, module, line) for line in lines]
    return [text_width(caption, LABEL_SIZE) for caption in captions if caption]


def room_with_captions(size: Size, widths: Sequence[float], sideways: bool) -> Size:
    """Return the room that a box takes, across the flow and along it.

    Below the box, captions may be wider than it is; at its right they have the stem.
    """
    if sideways:
        return Size(size.height, size.width)
    widest = max((2 * (width - CAPTION_OVERHANG) for width in widths), default=0.0)
    return Size(max(size.width, widest), size.height)


def stem(widths: Sequence[float], sideways: bool) -> float:
    """Return how far lines lead straight away from a box with these captions."""
    if not widths:
        return 0.0
    return max(widths) + CAPTION_SPACE if sideways else CAPTION_HEIGHT


def caption_place(x: float, y: float, sideways: bool) -> tuple[float, float]:
    """Return where the caption stands of a line that starts here."""
    dx, dy = CAPTION_SHIFT_SIDEWAYS if sideways else CAPTION_SHIFT
    return x + dx, y + dy
