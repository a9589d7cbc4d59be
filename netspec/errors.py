"""Every error that this project raises on purpose.

The tree is shallow and groups errors by what the caller can do: `SpecError` is bad
input (a `ValueError`), `FileError` a file that cannot be read or written (an
`OSError`), `MachineError` something that this machine lacks (a `RuntimeError`).
Catch `NetspecError` for all of them.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Self

from netspec.notebooks import hide_frames, rendered

# Comparing takes 20 microseconds a word; a hostile file has any number of long ones.
MAX_WORD, MAX_KNOWN = 200, 5000


class NetspecError(Exception):
    """Base of every error of this project.

    IPython shows the user's frames of it, and not those of this project.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        if "IPython" in sys.modules:
            hide_frames(sys._getframe(1))  # noqa: SLF001

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows."""
        return rendered(self)


class SpecError(NetspecError, ValueError):
    """Bad input: a net, a solver or an argument that cannot mean anything.

    text: what is wrong. layer: the layer that it is about as messages name it, `layer
    'conv1' (Convolution)`, with its place where that is known; "" where it is about
    none or several. `str(error)` is `layer: text`, or just the text.
    """

    text: str
    layer: str

    def __init__(self, text: object = "", *, layer: str = "") -> None:
        super().__init__(f"{layer}: {text}" if layer else text)
        self.text = str(text)
        self.layer = layer

    def replaced(self, *, text: str | None = None, layer: str | None = None) -> Self:
        """Return this error with another text, or for another name of its layer."""
        other = copy.copy(self)
        text = self.text if text is None else text
        SpecError.__init__(other, text, layer=self.layer if layer is None else layer)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class, whose children take other arguments.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    kind: type[SpecError], args: tuple[Any, ...], state: dict[str, Any]
) -> SpecError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class TextError(SpecError):
    """Text that is not a valid message; knows `file`, `line` and `column` (from 1)."""

    def __init__(self, message: str, *, file: str, line: int, column: int) -> None:
        super().__init__(f"{file}:{line}:{column}: {message}")
        self.file = file
        self.line = line
        self.column = column


class ShapeError(SpecError):
    """Shapes that cannot meet."""


class UnknownShape(ShapeError):
    """A shape that nobody here knows: it is in a file, or in a layer's own code."""


class UnsupportedError(SpecError):
    """A layer type or field that is valid but has no arithmetic here."""


class SpecWarning(UserWarning):
    """Something in a spec that is allowed but hardly meant."""


class FileError(NetspecError, OSError):
    """A file that is missing, broken, or cannot be written."""


class MachineError(NetspecError, RuntimeError):
    """Something that this machine lacks: a device, a library, memory."""


def layer_label(name: str, kind: str) -> str:
    """Return how messages name a layer: `layer 'conv1' (Convolution)`."""
    return f"layer {name!r} ({kind})"


MAX_SHOWN = 160  # characters of a value in a message


def an(word: str) -> str:
    """Return a word with its article: `a Scale`, `an InnerProduct`, `an LRN`."""
    spelt = word[1:2].isupper() and word[:1] in "FHLMNRSX"
    return f"an {word}" if spelt or word[:1] in "AEIOaeio" else f"a {word}"


def shown(value: object) -> str:
    """Return how messages show a value: short, on one line.

    An array is named by its shape, as its values tell nobody what is wrong.
    """
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and hasattr(value, "dtype"):
        return f"an array of shape {shape}"
    if inspect.isroutine(value) or inspect.isclass(value):
        kind = "class" if inspect.isclass(value) else "function"
        return f"the {kind} {getattr(value, '__name__', '')}"
    text = repr(value)
    if "\n" in text:
        name = type(value).__name__
        of = f" of shape {shape}" if isinstance(shape, tuple) else ""
        return f"{an(name)}{of}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest known spelling, or `""`."""
    if len(word) > MAX_WORD:
        return ""
    by_folded = {name.lower(): name for name in islice(known, MAX_KNOWN)}
    import difflib  # which right words do not need

    near = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


MAX_TOLD = 20  # mistakes are written out; a broken file may have any number


def joined(mistakes: Sequence[SpecError]) -> SpecError:
    """Return one error of several; it is a `ShapeError` where all of them are."""
    only_shapes = all(isinstance(mistake, ShapeError) for mistake in mistakes)
    kind = ShapeError if only_shapes else SpecError
    if len(mistakes) == 1:
        return kind(mistakes[0].text, layer=mistakes[0].layer)
    return kind(join([str(mistake) for mistake in mistakes]))


def join_lines(mistakes: Iterable[str]) -> str:
    """Return one message of several mistakes of one call, each on a line."""
    return "\n  and: ".join(mistakes)


def join(mistakes: Sequence[str]) -> str:
    """Return one message of several mistakes; it tells the first of very many."""
    if len(mistakes) == 1:
        return mistakes[0]
    told = mistakes[:MAX_TOLD]
    listed = "; ".join(f"({i}) {text}" for i, text in enumerate(told, 1))
    more = len(mistakes) - len(told)
    rest = f"; and {more:,} more" if more else ""
    return f"{len(mistakes):,} mistakes: {listed}{rest}"
