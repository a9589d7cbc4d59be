"""Telling, in the output of a command, that kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from runtime.compilation import show_on_terminal, text
from runtime.primitives import Primitives


class Compiling:
    """Tells how many kernels are compiled.

    show: what shows a text in the place of the last one; an empty one is the end. By
    default it is a line of standard error that goes again, if that is a terminal.
    Nothing is told where all kernels are ready.
    """

    def __init__(
        self, backend: Primitives, show: Callable[[str], None] | None = None
    ) -> None:
        self._show = show or show_on_terminal
        self._listening = backend.compilation.listen(self._told)

    def __enter__(self) -> Compiling:
        self._listening.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.__exit__(kind, error, trace)

    def _told(self, done: int, total: int) -> None:
        self._show(text(done, total))
