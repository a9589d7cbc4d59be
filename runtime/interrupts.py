"""Signals wait until a pass is whole, so that no interrupt leaves half of one.

A handler of a signal may raise at any moment of the main thread, as that of Ctrl-C does
with `KeyboardInterrupt`. Within `held` it is called once the block ends, or where the
block looks for it, and nothing in between is cut in two.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Literal, ParamSpec, TypeVar

from netspec.notebooks import rendered

ABORT_AFTER_S = 1.0  # a second signal that comes so much later does not wait

P = ParamSpec("P")
R = TypeVar("R")

_NAMES = ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_SIGNALS = tuple(int(getattr(signal, n)) for n in _NAMES if hasattr(signal, n))

# The handlers as they were last, and those of them that are to wait.
_handlers: tuple[Any, ...] = ()
_to_take: list[tuple[int, Any]] = []

# What stands behind the functions of `signal`, which take ten times as long: they turn
# every number into an enum and back.
_raw: Any = importlib.import_module("_signal")


class Held:
    """The signals of one block; see `held`.

    interrupted: whether Ctrl-C came, whose handler would have raised
    `KeyboardInterrupt`. Whoever holds raises it after the block.
    """

    interrupted = False

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._since: dict[int, float] = {}  # when a signal that waits came first
        self._note_signal = self._note
        self._keeps_all = False

    def __enter__(self) -> Held:
        try:
            self._take()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        try:
            self._give_back()
        except BaseException:
            self._give_back()
            raise
        if self._since:
            self._deliver()
        if self.interrupted and isinstance(error, Exception):
            raise KeyboardInterrupt from error
        return False

    def stops(self) -> bool:
        """Call the handlers of signals that came; say whether Ctrl-C was among them.

        To be asked where what was done so far is whole. An exception of a handler is
        raised here.
        """
        if self._since:
            if any(
                self._before[n] is not signal.default_int_handler for n in self._since
            ):
                self._give_back()
                self._deliver()
                self._take()
            else:
                self.interrupted = True
        return self.interrupted

    def whole(self, call: Callable[[], R]) -> R:
        """Call something that not even a second signal may leave half done."""
        self._keeps_all = True
        try:
            return call()
        finally:
            self._keeps_all = False

    def keep_all(self, keep: bool) -> None:
        """Say whether from now on not even a second signal is let through; see `whole`.

        Who says so takes it back in any case, whatever is raised meanwhile.
        """
        self._keeps_all = keep

    def _take(self) -> None:
        global _current, _handlers, _to_take
        handlers = tuple(map(_raw.getsignal, _SIGNALS))
        if handlers != _handlers:
            _handlers, _to_take = (
                handlers,
                [
                    (number, handler)
                    for number, handler in zip(_SIGNALS, handlers, strict=True)
                    if callable(handler) and not hasattr(handler, "netspec_at_once")
                ],
            )
        for number, handler in _to_take:
            self._before[number] = handler
            _raw.signal(number, self._note_signal)
        _current = self

    def _give_back(self) -> None:
        """Restore the handlers, but those that somebody else has set meanwhile."""
        global _current
        for number, handler in self._before.items():
            if _raw.getsignal(number) is self._note_signal:
                _raw.signal(number, handler)
        _current = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        first = self._since.setdefault(number, now)
        if now - first >= ABORT_AFTER_S and not self._keeps_all:
            del self._since[number]
            self._before[number](number, frame)

    def _deliver(self) -> None:
        """Call the handlers of the signals that came, the first one first."""
        while self._since:
            number = next(iter(self._since))
            del self._since[number]
            handler = self._before[number]
            if handler is signal.default_int_handler:
                self.interrupted = True
            else:
                handler(number, inspect.currentframe())


class _Nothing(Held):
    """The hold of a block that another one holds already, or that no signal reaches."""

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        return False

    def stops(self) -> bool:
        """Say no."""
        return False

    def whole(self, call: Callable[[], R]) -> R:
        """Call it."""
        return call()


_NOTHING = _Nothing()
_current: Held | None = None


def held() -> Held:
    """Let signals wait until the end of a `with` block.

        with held() as signals:
            ...
        if signals.interrupted:
            raise KeyboardInterrupt

    It concerns handlers written in Python, of SIGINT, SIGTERM, SIGALRM, SIGHUP and of
    both signals for users, and the main thread, the only one that they interrupt. After
    the block they are called, in the order in which their signals came; that of Ctrl-C
    is not called but noted in `interrupted`, so that the caller can raise from its own
    frame. A second signal of a kind, a second or more after the first, does not wait:
    what the block does may be stuck. A block within a block is a part of it.
    """
    if _current is not None or threading.get_ident() != threading.main_thread().ident:
        return _NOTHING
    return Held()


def whole(call: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that signals must not leave in the middle; see `held`."""

    @functools.wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with held() as signals:
            result = call(*args, **kwargs)
        if signals.interrupted:
            raise stopped()
        return result

    # A traceback ends here, so it should say what was interrupted.
    code = run.__code__.replace(co_name=call.__name__)  # type: ignore[attr-defined]
    run.__code__ = code  # type: ignore[attr-defined]
    return run


def stopped(said: str = "") -> KeyboardInterrupt:
    """Return an interrupt to raise once all is whole.

    A notebook shows its traceback without the frames of this package: it is the user
    who stopped, and nothing went wrong here.
    """
    error = KeyboardInterrupt(*([said] if said else []))
    error._render_traceback_ = lambda: rendered(error)  # type: ignore[attr-defined]
    return error


def at_once(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a handler that only notes its signal, so that it need not wait."""
    vars(handler)["netspec_at_once"] = True
    return handler
