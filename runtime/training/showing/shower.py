"""How a solver shows its runs: the way that is asked for, or what suits the place."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Literal, TypeAlias

from netspec.errors import SpecError, did_you_mean
from netspec.notebooks import page_shell
from runtime.distributed.communicator import is_first
from runtime.interrupts import Held
from runtime.training.showing.show import (
    Nothing,
    Outcome,
    Run,
    Show,
    is_terminal,
)

Progress: TypeAlias = bool | Literal["log", "bar", "lines", "notebook"] | str | None
WAYS = ("log", "bar", "lines", "notebook")


class Shower:
    """Shows the runs of one solver, which it does not hold: that has it.

    Of several ranks the first shows.

    progress: what holds for runs that do not say it themselves.
    """

    def __init__(self, *, script: bool = False) -> None:
        self.progress: Progress = None
        self._script = script  # whether it is one of pycaffe's, which always logs
        self.shows: Show | None = None  # the one of the run that goes on
        self._made: dict[str, Show] = {}
        self.running: Run | None = None  # and that run

    def run(
        self, solver: Any, kind: str, iterations: int, progress: Progress
    ) -> Running:
        """Return what shows a run within a `with` block.

        kind: "step", "solve", "test", or "snapshot" for one that was written. A run
        within a run is a part of it.
        """
        way = self.progress if progress is None else progress
        if self.shows is not None or (kind == "step" and iterations < 1):
            return Running(self, None, None)
        first = solver.iter
        end = first + max(0, iterations)
        run = Run(solver, kind, first, end)
        return Running(self, self._open(solver, way), run)

    @property
    def busy(self) -> bool:
        """Whether it shows a run, or may show one for which nobody asks that."""
        return self._script or self.shows is not None or self.progress is not None

    def ends_at(self, iteration: int) -> None:
        """Note that the run that goes on has another end."""
        if self.running is not None:
            self.running.end = iteration

    def wants(self, iteration: int) -> bool:
        """Say whether an iteration must be recorded at once."""
        return self.shows is not None and self.shows.wants(iteration)

    def look(self, doing: str = "") -> None:
        """Let the running show see what is new."""
        if self.shows is not None:
            self.shows.look(doing)

    def leaves_test(self) -> bool:
        """Show how a test goes, between its batches; it never ends one."""
        self.look("testing")
        return False

    def look_after_snapshot(self, solver: Any) -> None:
        """Show a snapshot that was written by hand, between runs, where there is a log.

        Within a run it is seen like anything else.
        """
        if self.shows is not None:
            self.shows.look()
        elif self._way(solver, self.progress) == "log":
            with self.run(solver, "snapshot", 0, self.progress):
                pass

    def is_shown_here(self) -> bool:
        """Say whether the cell that runs in a notebook shows the training already."""
        page: Any = self._made.get("notebook")
        return page is not None and bool(page.is_open)

    def _open(self, solver: Any, progress: Progress) -> Show:
        way = self._way(solver, progress)
        if way not in self._made:
            self._made[way] = _make(way)
        self._made[way].always = self._script or progress is not None
        return self._made[way]

    def _way(self, solver: Any, progress: Progress) -> str:
        way = way_of(progress, solver.param.display, script=self._script)
        return way if is_first(solver.communicator) else "off"


class Running:
    """A run that is shown."""

    def __init__(self, shower: Shower, show: Show | None, run: Run | None) -> None:
        self._shower, self._show, self._run = shower, show, run
        self._signals: Held | None = None
        self._listening = ExitStack()

    def until(self, signals: Held) -> Running:
        """Return this, for a block that these signals may end."""
        self._signals = signals
        return self

    def __enter__(self) -> Running:
        if self._show is not None and self._run is not None:
            self._show.begin(self._run)
            self._shower.shows, self._shower.running = self._show, self._run
            if self._show.listens:
                compilation = self._run.solver.net.backend.compilation
                told = compilation.listen(self._show.compiling)
                self._listening.enter_context(told)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        show, run = self._show, self._run
        if show is None or run is None:
            return
        self._listening.close()
        self._shower.shows = self._shower.running = None
        asked = self._signals is not None and self._signals.interrupted
        interrupted = asked or isinstance(error, KeyboardInterrupt)
        stopped = run.kind != "test" and run.solver.iter < run.end
        show.end(Outcome(error, interrupted, stopped))


def way_of(progress: Progress, display: int = 0, *, script: bool = False) -> str:
    """Return one of `WAYS`, "" for what suits the place and is nothing, or "off".

    None is what suits the place: a notebook, Caffe's lines where a solver has
    `display`, else nothing; True a notebook, a bar on a terminal, or lines. script:
    whether Caffe's lines are written in any case.

    Raises `SpecError` for anything else.
    """
    if progress is None:
        if script:
            return "log"
        return "notebook" if page_shell() else "log" if display > 0 else ""
    if progress is True:
        found = "bar" if is_terminal() and has_tqdm() else "lines"
        return "notebook" if page_shell() else found
    if progress is False:
        return "off"
    if progress not in WAYS:
        raise SpecError(
            f"progress is {progress!r}{did_you_mean(str(progress), WAYS)}; expected "
            f"True, False, None or one of {', '.join(map(repr, WAYS))}"
        )
    if progress == "notebook" and not page_shell():
        raise SpecError(
            "progress is 'notebook', but this does not run in one; choose 'bar' or "
            "'lines', or None for what suits the place"
        )
    return progress


def has_tqdm() -> bool:
    """Say whether tqdm is installed."""
    return importlib.util.find_spec("tqdm") is not None


def _make(way: str) -> Show:
    if way == "log":
        from runtime.training.showing.caffe_log import CaffeLog

        return CaffeLog()
    if way == "bar":
        from runtime.training.showing.bar import Bar

        return Bar()
    if way == "lines":
        from runtime.training.showing.lines import Lines

        return Lines()
    if way == "notebook":
        from runtime.training.showing.page import Page

        return Page()
    return Show() if way == "off" else Nothing()
