"""How a history looks: in a line, and in a notebook as curves and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.html import Markup, line, output, table
from runtime.training.monitored import named
from runtime.training.records import Records, plain
from runtime.training.showing.curves import curves_html
from runtime.training.tables import columns

ROWS = 8  # of the table: the last ones
DIGITS = 4


def headline(run: Records) -> str:
    """Return what there is in a line: how long, the last loss and the last test."""
    done = max((record.iteration + 1 for record in run.train), default=0)
    if not done and not run.tests:
        return "nothing yet"
    parts = [_counted(done, "iteration")]
    if run.epoch_size:
        epochs = _counted(done // run.epoch_size, "epoch")
        parts = [f"{epochs} of {_counted(run.epoch_size, 'iteration')}"]
        if done % run.epoch_size:
            parts.append(_counted(done, "iteration"))
    if run.train:
        last = run.train[-1]
        parts.append(f"loss {_short(last.smoothed_loss)}")
        parts.append(f"lr {plain(last.lr):g}")
    if run.tests:
        at = run.tests[-1].iteration
        latest: dict[str, float] = {}
        for record in run.tests:
            if record.iteration == at:
                latest |= named(record)
        told = ", ".join(f"{name} {_short(value)}" for name, value in latest.items())
        parts.append(f"{told or 'a test'} at {at}")
    return ", ".join(parts)


def html(run: Records) -> str:
    """Return curves and the last numbers as HTML, without scripts."""
    parts = [line(f"History: {headline(run)}", "faint")]
    if run.train or run.tests:
        parts += [curves_html(run), _table(run)]
    return output(*parts)


def _table(run: Records) -> Markup:
    if run.epoch_size and run.train:
        found = columns(run, "epoch")
    elif run.tests:
        found = columns(run, "test")
        del found["test"]
    else:
        found = columns(run, "iteration")
    found.pop("seconds", None)
    return _last(found)


def _last(found: Mapping[str, list[Any]]) -> Markup:
    rows = [[_short(v) for v in row] for row in zip(*found.values(), strict=True)]
    return table(list(found), rows[-ROWS:], numbers=range(len(found)))


def _short(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if value != value else f"{value:.{DIGITS}g}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + "s" * (number != 1)
