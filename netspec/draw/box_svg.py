"""The SVG of one box, a layer or a closed module: its size, text, badges and colours.

Everything stands in classes and nothing in colours, so that a page may have others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate

from netspec.draw.boxes import Box, Picture, Row
from netspec.draw.captions import shorten
from netspec.draw.grid import Size
from netspec.draw.modules import Module, inner_name
from netspec.draw.text_width import text_width
from netspec.draw.totals import Totals, totals
from netspec.errors import layer_label

NAME_SIZE, TYPE_SIZE, LABEL_SIZE = 12.5, 11.0, 10.5
BADGE_SIZE = 9.0
MAIN_HEIGHT, ROW_HEIGHT = 40.0, 20.0  # of a box's own layer, of a layer stacked on it
MODULE_HEIGHT = 46.0
SHEET = 4.0  # by which the sheets of a fold stick out
STRIPE = 4.0  # height of the line of colours in a closed module
MISTAKE_HEIGHT = 15.0
MISTAKE_LETTERS, MISTAKE_LINES = 58, 5
PADDING = 11.0
MAX_TYPE = 40  # characters
MIN_WIDTH = 84.0
RADIUS = 6.0


def describe(row: Row) -> str:
    """Return the second line of a box: the type, its options, what is shared."""
    words = f"{shorten(row.type, MAX_TYPE)} {row.options}".strip()
    return f"{words}  ⇄ {', '.join(row.shared)}" if row.shared else words


def text(x: float, y: float, kind: str, content: str) -> str:
    """Return a text element."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(content)}</text>'


# --- layers


def box_size(box: Box, around: Module, labels: Sequence[float]) -> Size:
    """Return the extent of a box around its text; below it are `labels` so wide."""
    widest = _under(labels)
    height = MAIN_HEIGHT + ROW_HEIGHT * (len(box.rows) - 1)
    for index, row in enumerate(box.rows):
        badge = _badge_width(row.phase)
        if index == 0:
            name = text_width(inner_name(row.name, around), NAME_SIZE, bold=True)
            kind = text_width(describe(row), TYPE_SIZE)
            widest = max(widest, name + badge, kind)
        else:
            widest = max(widest, text_width(_stacked(row, around), TYPE_SIZE) + badge)
    lines = _mistake_lines(box)
    if lines:
        widest = max(widest, *(text_width(line, LABEL_SIZE) for line in lines))
        height += MISTAKE_HEIGHT * len(lines) + 8
    return Size(widest + 2 * PADDING, height)


def _under(labels: Sequence[float]) -> float:
    if len(labels) < 2:
        return MIN_WIDTH
    return max(MIN_WIDTH, len(labels) * (max(labels) + 12))


def draw_box(box: Box, around: Module, size: Size) -> str:
    """Draw a box from its corner: its own layer on top, stacked layers below."""
    heights = [MAIN_HEIGHT] + [ROW_HEIGHT] * (len(box.rows) - 1)
    lines = _mistake_lines(box)
    parts = [f"<title>{escape(_tooltip(box))}</title>"]
    for index, (row, bottom) in enumerate(
        zip(box.rows, accumulate(heights), strict=True)
    ):
        top = bottom - heights[index]
        last = row is box.rows[-1] and not lines
        parts.append(
            _part(top, size.width, heights[index], index == 0, last)
            + f' class="f-{row.family}"/>'
        )
        if index == 0:
            parts.append(text(PADDING, top + 17, "n", inner_name(row.name, around)))
            parts.append(text(PADDING, top + 32, "t", describe(row)))
        else:
            parts.append(text(PADDING, top + 14, "t", _stacked(row, around)))
        if row.phase:
            parts.append(_badge(row.phase, row.family, size.width, top))
    if lines:
        top = sum(heights)
        parts.append(
            _part(top, size.width, size.height - top, False, True) + ' class="wrong"/>'
        )
        for number, line in enumerate(lines):
            y = top + 15 + MISTAKE_HEIGHT * number
            parts.append(text(PADDING, y, "e", line))
    kind = "b-wrong" if lines else f"b-{box.rows[0].family}"
    parts.append(_outline(size, kind))
    return "".join(parts)


def _mistake_lines(box: Box) -> list[str]:
    """Return what is wrong with a box in lines of bearable length."""
    mistake = box.mistake
    if mistake is None:
        return []
    shown = {layer_label(row.name, row.type) for row in box.rows}
    message = mistake.text if mistake.layer in shown else str(mistake)
    return textwrap.wrap(
        f"✗ {message}", MISTAKE_LETTERS, max_lines=MISTAKE_LINES, placeholder=" …"
    )


def _stacked(row: Row, around: Module) -> str:
    """Return the one line of an in-place layer."""
    return f"{inner_name(row.name, around)} · {describe(row)}"


def _tooltip(box: Box) -> str:
    lines = [f"{row.name}: {describe(row)}" for row in box.rows]
    return "\n".join([*lines, str(box.mistake)] if box.mistake else lines)


def _part(y: float, w: float, h: float, first: bool, last: bool) -> str:
    """Begin a path around one row, with round corners where the box ends."""
    a, b = (RADIUS if first else 0), (RADIUS if last else 0)
    return (
        f'<path d="M0.0 {y + a:.1f}q0 {-a} {a} {-a}h{w - 2 * a:.1f}q{a} 0 {a} {a}'
        f'v{h - a - b:.1f}q0 {b} {-b} {b}h{2 * b - w:.1f}q{-b} 0 {-b} {-b}Z"'
    )


def _outline(size: Size, kind: str) -> str:
    return (
        f'<rect width="{size.width:.1f}" height="{size.height:.1f}" rx="{RADIUS}" '
        f'class="b {kind}"/>'
    )


def _badge_width(label: str) -> float:
    return text_width(label, BADGE_SIZE, bold=True) + 16 if label else 0.0


def _badge(label: str, family: str, right: float, top: float) -> str:
    """Draw the phase of a layer that only one phase has, or a count."""
    width = _badge_width(label) - 6
    x = right - width - 6
    return (
        f'<rect x="{x:.1f}" y="{top + 4:.1f}" width="{width:.1f}" height="13" rx="6.5" '
        f'class="k-{family}"/>' + text(x + 5, top + 13.7, "p", label)
    )


# --- closed modules


def module_size(module: Module, picture: Picture, labels: Sequence[float]) -> Size:
    """Return the extent of a closed module."""
    found = totals(picture, module)
    badges = sum(_badge_width(label) for label in _badges(module, found))
    name = text_width(module.name, NAME_SIZE, bold=True) + badges
    content = text_width(_content(module, found), TYPE_SIZE)
    width = max(_under(labels), name, content) + 2 * PADDING
    return Size(width, MODULE_HEIGHT + (2 * SHEET if module.is_fold else 0.0))


def draw_module(module: Module, picture: Picture, size: Size) -> str:
    """Draw a closed module from its corner; a fold is a stack of sheets."""
    found = totals(picture, module)
    parts = [f"<title>{escape(f'{module.path}: {_content(module, found)}')}</title>"]
    sheet = Size(size.width, size.height)
    if module.is_fold:
        sheet = Size(size.width - 2 * SHEET, size.height - 2 * SHEET)
        for step in (2, 1):
            parts.append(
                f'<rect x="{step * SHEET:.1f}" y="{step * SHEET:.1f}" '
                f'width="{sheet.width:.1f}" height="{sheet.height:.1f}" '
                f'rx="{RADIUS}" class="c"/>'
            )
    kind = "c wrong-border" if found.wrong else "c"
    parts.append(
        f'<rect width="{sheet.width:.1f}" height="{sheet.height:.1f}" '
        f'rx="{RADIUS}" class="{kind}"/>'
    )
    parts += _stripe(found, sheet)
    parts.append(text(PADDING, 18, "n", module.name))
    parts.append(text(PADDING, 33, "t", _content(module, found)))
    right = sheet.width
    for label in _badges(module, found):
        parts.append(_badge(label, "module", right, 2))
        right -= _badge_width(label)
    return "".join(parts)


def _badges(module: Module, found: Totals) -> list[str]:
    count = f"×{len(module.children)}" if module.is_fold else ""
    return [label for label in (count, found.phase) if label]


def _content(module: Module, found: Totals) -> str:
    """Return the second line of a module: how much is in there."""
    layers = f"{found.layers} layers"
    if module.is_fold:
        count = len(module.children)
        layers = f"{count} × {found.layers // count} layers"
    words = [layers]
    if found.num_params or found.partly:
        rest = " + ?" if found.num_params else "?"
        known = f"{found.num_params:,}" if found.num_params else ""
        words.append(f"{known}{rest if found.partly else ''} parameters")
    shared = f"  ⇄ {', '.join(found.shared)}" if found.shared else ""
    return ", ".join(words) + shared


def _stripe(found: Totals, sheet: Size) -> Iterable[str]:
    """Show which families are in a module, each as long as it has layers."""
    x, y = PADDING, sheet.height - STRIPE - 3
    room = sheet.width - 2 * PADDING
    for family, count in found.families:
        width = room * count / found.layers
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{STRIPE}" '
            f'class="k-{family}"/>'
        )
        x += width
