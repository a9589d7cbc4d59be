"""What IPython and Jupyter are told: names of cells, and which frames to show.

Nothing here imports IPython; where it is not loaded, nothing happens.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from types import FrameType, TracebackType
from typing import Any

# These packages, and the library that enters their context managers.
OURS = frozenset(("netspec", "runtime", "contextlib"))
_OLD_CELL = r"<ipython-input-(\d+)-"  # of IPython before 8


def is_ours(frame: FrameType) -> bool:
    """Tell whether a frame runs code of this project, not of a user."""
    return _package(frame) in OURS


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_command(frame: FrameType) -> bool:
    """Tell whether a frame runs a module of this project as a command."""
    spec = frame.f_globals.get("__spec__")
    name = "" if spec is None else str(spec.name)
    return _package(frame) == "__main__" and name.partition(".")[0] in OURS


def shell() -> Any:
    """Return the IPython shell that runs, or None."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return None if get_ipython is None else get_ipython()


def page_shell() -> Any:
    """Return the shell of a notebook, or None: one with a kernel shows a page."""
    found = shell()
    return found if getattr(found, "kernel", None) is not None else None


def cell_name(path: str) -> str | None:
    """Return how a notebook names the code of a file name: `Cell In[19]`, or None.

    The code of a cell has a file name of its own, which IPython's compiler knows.
    """
    compiler = getattr(shell(), "compile", None)
    named = getattr(compiler, "format_code_name", None)
    found = named(path) if named is not None else None
    if isinstance(found, tuple):
        return " ".join(found)
    old = re.match(_OLD_CELL, path)
    return f"Cell In[{old[1]}]" if old is not None else None


def warn_user(text: str, kind: type[Warning]) -> None:
    """Warn at the innermost line outside this project; of a cell, by its name.

    A command has no such line: it says the same text once, wherever that comes from.
    """
    frame, level = sys._getframe(1), 2  # noqa: SLF001
    while (is_ours(frame) or _is_command(frame)) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    cell = cell_name(frame.f_code.co_filename)
    if cell is None:
        warnings.warn(text, kind, stacklevel=level)
    else:
        told = frame.f_globals.setdefault("__warningregistry__", {})
        warnings.warn_explicit(text, kind, cell, frame.f_lineno, registry=told)


def hide_frames(frame: FrameType | None) -> None:
    """Mark the frames of this project, from `frame` outwards, as those to hide.

    IPython and pytest leave out frames with a local `__tracebackhide__`.
    """
    while frame is not None:
        # Others than those of functions have the names of a module as their locals.
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED and is_ours(frame):
            frame.f_locals["__tracebackhide__"] = True
        frame = frame.f_back


def users_traceback(whole: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this project; all of it if none is left.

    IPython shows the last frame even where it is marked.
    """
    kept = []
    here = whole
    while here is not None:
        if not is_ours(here.tb_frame):
            kept.append(here)
        here = here.tb_next
    found: TracebackType | None = None
    for each in reversed(kept):
        found = TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found or whole


def rendered(error: BaseException) -> list[str]:
    """Return the lines that IPython shows for an error of this project."""
    running, whole = shell(), error.__traceback__
    if running is None:
        import traceback  # which few programs need

        return traceback.format_exception(error)
    renderer = running.InteractiveTB
    cause, silent = error.__cause__, error.__suppress_context__
    if cause is not None and _is_inside(cause):
        error.__cause__ = None  # which says no more, and sets that no context is shown
    lines: list[str] = renderer.structured_traceback(
        type(error), error, users_traceback(whole)
    )
    error.__cause__, error.__suppress_context__ = cause, silent
    renderer.tb = whole  # %debug goes where the error was raised
    return lines


def _is_inside(error: BaseException) -> bool:
    """Tell whether this project alone, and what it calls, saw an error."""
    known = OURS | sys.stdlib_module_names
    here = error.__traceback__
    while here is not None and _package(here.tb_frame) in known:
        here = here.tb_next
    return here is None
