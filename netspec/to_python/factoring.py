"""Repeated parts of a program become functions.

A program is a list of statements, each a call of a layer function. A window of
statements that occurs several times, with the same types wired in the same way, becomes
a function; what differs becomes its parameters. The best window is taken first, and
then the best of what is left, also in the functions. Best is what leaves least to read,
or what does so for the size of the function: which is better in the end depends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.to_python.building import Builder
from netspec.to_python.naming import Namer, free_name, function_name, variable_name
from netspec.to_python.program import REQUIRED, Func, Program, Ref, Statement, cost
from netspec.to_python.pyformat import Param

MAX_WINDOW = 64  # statements
MAX_FUNCTIONS = 24
MAX_PARAMS = 12  # of one function
MIN_GAIN = 4  # in what `cost` counts
OVERHEAD = 6  # of a function: its head, its docstring, its return
TRIES = 24  # windows whose gain is computed in each round


@dataclass(frozen=True)
class _Window:
    """Places of equal windows: in which body each begins; how long they are."""

    places: tuple[tuple[int, int], ...]
    length: int


def factor(make: Callable[[], Program]) -> Program:
    """Return a program of `make` with its repeated parts as functions."""
    programs = []
    for rank in (_by_share, _by_gain):
        program = make()
        while len(program.functions) < MAX_FUNCTIONS:
            best = _best(program, rank)
            if best is None:
                break
            best.apply(list(program.bodies()))
            program.functions.append(best.function)
        programs.append(program)
    return min(programs, key=_total)


def _by_gain(gain: int, _: int) -> float:
    return gain


def _by_share(gain: int, size: int) -> float:
    return gain / size


def _total(program: Program) -> int:
    """Return how much there is to read."""
    statements = sum(cost(s) for body, _ in program.bodies() for s in body)
    return statements + OVERHEAD * len(program.functions)


def _best(program: Program, rank: Callable[[int, int], float]) -> _Made | None:
    """Return the best function that can be made of a window, if one gains anything."""
    bodies = list(program.bodies())
    bounds: list[tuple[float, _Window, int]] = []
    for window in _windows(bodies):
        bound, size = _bound(bodies, window)
        if bound >= MIN_GAIN:
            bounds.append((rank(bound, size), window, size))
    bounds.sort(key=lambda each: (-each[0], each[1].length, each[1].places))
    best: tuple[float, _Made] | None = None
    for highest, window, size in bounds[:TRIES]:
        if best is not None and highest <= best[0]:
            break
        made = _make(bodies, window, [f.name for f in program.functions])
        if made is None or made.gain < MIN_GAIN:
            continue
        if best is None or rank(made.gain, size) > best[0]:
            best = rank(made.gain, size), made
    return None if best is None else best[1]


def _windows(bodies: Sequence[tuple[list[Statement], list[int]]]) -> list[_Window]:
    """Return the windows that occur at least twice without overlap."""
    starts = [(b, i) for b, (body, _) in enumerate(bodies) for i in range(len(body))]
    made = [
        {out: (i, k) for i, s in enumerate(body) for k, out in enumerate(s.outs)}
        for body, _ in bodies
    ]
    shapes = dict.fromkeys(starts, 0)
    found = []
    for length in range(1, MAX_WINDOW + 1):
        known: dict[Any, int] = {}
        groups: dict[int, list[tuple[int, int]]] = {}
        for (b, i), shape in shapes.items():
            end = i + length - 1
            if end >= len(bodies[b][0]):
                continue
            statement = bodies[b][0][end]
            wires = tuple(_wire(made[b], ref, i, end) for ref in statement.inputs)
            key = shape, statement.kind, wires
            number = known.setdefault(key, len(known) + 1)
            groups.setdefault(number, []).append((b, i))
        shapes = {}
        for number, places in groups.items():
            if len(places) < 2:
                continue
            shapes.update(dict.fromkeys(places, number))
            apart = _apart(places, length)
            if length > 1 and len(apart) > 1:
                found.append(_Window(tuple(apart), length))
        if not shapes:
            break
    return found


def _wire(made: dict[int, tuple[int, int]], ref: Ref, start: int, at: int) -> Any:
    """Return where an input comes from, seen from its statement; None is outside."""
    if isinstance(ref, Param):
        return None
    index, out = made[ref]
    return (at - index, out) if index >= start else None


def _apart(places: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Return `places`, which are in order, without those that overlap the last."""
    kept: list[tuple[int, int]] = []
    for body, index in places:
        if not kept or kept[-1][0] != body or index >= kept[-1][1] + length:
            kept.append((body, index))
    return kept


def _bound(
    bodies: Sequence[tuple[list[Statement], list[int]]], window: _Window
) -> tuple[int, int]:
    """Return more than what a function can gain, and about its size."""
    costs = [
        sum(map(cost, bodies[b][0][i : i + window.length])) for b, i in window.places
    ]
    size = min(costs) + OVERHEAD
    return sum(costs) - size - 2 * len(costs), size


@dataclass
class _Made:
    """A function made of a window, and the calls that stand for its places."""

    function: Func
    window: _Window
    calls: list[Statement]
    gain: int

    def apply(self, bodies: Sequence[tuple[list[Statement], list[int]]]) -> None:
        """Put the calls in the place of the windows."""
        pairs = list(zip(self.window.places, self.calls, strict=True))
        for (b, i), statement in reversed(pairs):
            bodies[b][0][i : i + self.window.length] = [statement]


def _make(
    bodies: Sequence[tuple[list[Statement], list[int]]],
    window: _Window,
    taken: Sequence[str],
) -> _Made | None:
    """Return the function of a window, or None if it has too many parameters."""
    places = [bodies[b][0][i : i + window.length] for b, i in window.places]
    columns = list(zip(*places, strict=True))  # the same statement of every place
    slots = [(c, k) for c in columns for k in range(len(c[0].names))]
    namer = Namer(
        [[statement.names[k] for statement in column] for column, k in slots],
        [_label(column[0], k) for column, k in slots],
    )
    builder = Builder(columns, namer)
    body = builder.body()
    if len(builder.values) + len(namer.holes) + len(builder.inputs) > MAX_PARAMS:
        return None
    returns = _read_outside(bodies, window)
    callees = [c[0].callee for c in columns]
    kinds = [c if isinstance(c, str) else c.name for c in callees]
    name = free_name(function_name(kinds, namer), taken)
    function = Func(
        name,
        [hole.param for hole in namer.holes],
        [param for param, _ in builder.inputs],
        builder.ordered(),
        {p.name: builder.default(p) for p, _, _ in builder.values},
        body,
        [body[j].outs[k] for j, k in returns],
        {p.name: root for p, root, _ in builder.values},
    )
    calls = []
    for index, statements in enumerate(places):
        options = {
            param.name: vector[index]
            for param, _, vector in builder.values
            if function.defaults[param.name] is REQUIRED
            or vector[index] != function.defaults[param.name]
        }
        calls.append(
            Statement(
                function,
                [hole.vector[index] for hole in namer.holes],
                [vector[index] for _, vector in builder.inputs],
                {p.name: options[p.name] for p in function.values if p.name in options},
                [statements[j].outs[k] for j, k in returns],
            )
        )
    before = sum(cost(s) for statements in places for s in statements)
    after = sum(map(cost, calls)) + sum(map(cost, body)) + OVERHEAD
    after += len(builder.values) + len(namer.holes) + len(builder.inputs)
    after += max(0, len(returns) - 1) * (2 + len(calls))
    return _Made(function, window, calls, before - after)


def _label(statement: Statement, slot: int) -> str:
    """Return what to call a parameter for a name of `statement`."""
    if isinstance(statement.callee, Func):
        return statement.callee.names[slot].name
    return f"{variable_name(statement.callee)}_name"


def _read_outside(
    bodies: Sequence[tuple[list[Statement], list[int]]], window: _Window
) -> list[tuple[int, int]]:
    """Return which tops of the window are read outside of it, at any of its places."""
    found = set()
    for b, i in window.places:
        body, returns = bodies[b]
        inside = body[i : i + window.length]
        made = {
            out: (j, k) for j, s in enumerate(inside) for k, out in enumerate(s.outs)
        }
        reads = [*body[:i], *body[i + window.length :]]
        refs = [ref for s in reads for ref in s.inputs] + list(returns)
        found |= {made[ref] for ref in refs if ref in made}  # type: ignore[index]
    return sorted(found)
