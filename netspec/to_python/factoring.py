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
from itertools import accumulate
from typing import Any, TypeAlias

from netspec.to_python.building import Builder
from netspec.to_python.naming import Namer, free_name, function_name, variable_name
from netspec.to_python.program import REQUIRED, Func, Program, Statement
from netspec.to_python.pyformat import Param

MAX_WINDOW = 64  # statements
MAX_FUNCTIONS = 24
MAX_PARAMS = 12  # of one function
MIN_GAIN = 4  # in what `cost` counts
MORE_FOR_MODULES = 1.25  # so much more to read is no reason to cut across modules
OVERHEAD = 6  # of a function: its head, its docstring, its return
TRIES = 24  # windows whose gain is computed in each round

Wires: TypeAlias = "tuple[tuple[int, int] | None, ...]"


@dataclass(frozen=True)
class _Window:
    """Places of equal windows: in which body each begins; how long they are."""

    places: tuple[tuple[int, int], ...]
    length: int


def factor(make: Callable[[], Program]) -> Program:
    """Return a program of `make` with its repeated parts as functions.

    They are parts of modules, or of what is in none, where that is not much longer.
    """
    programs = (_factored(make(), rank, whole=False) for rank in (_by_share, _by_gain))
    shortest = min(programs, key=_total)
    if not any(statement.module for statement in make().main):
        return shortest
    by_module = _factored(make(), _by_share, whole=True)
    longer = _total(by_module) > MORE_FOR_MODULES * _total(shortest)
    return shortest if longer else by_module


def _factored(
    program: Program, rank: Callable[[int, int], float], whole: bool
) -> Program:
    """Make functions while one gains anything; whole: of parts of modules only."""
    while len(program.functions) < MAX_FUNCTIONS:
        best = _best(program, rank, whole)
        if best is None:
            break
        best.apply(list(program.bodies()))
        program.functions.append(best.function)
    return program


def _by_gain(gain: int, _: int) -> float:
    return gain


def _by_share(gain: int, size: int) -> float:
    return gain / size


def _total(program: Program) -> int:
    """Return how much there is to read."""
    statements = sum(s.cost for body, _ in program.bodies() for s in body)
    return statements + OVERHEAD * len(program.functions)


def _best(
    program: Program, rank: Callable[[int, int], float], whole: bool
) -> _Made | None:
    """Return the best function that can be made of a window, if one gains anything."""
    bodies = [_Body(body, returns) for body, returns in program.bodies()]
    bounds: list[tuple[float, _Window, int]] = []
    for window in _windows(bodies, whole):
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


class _Body:
    """The statements of a body, and what is asked of them for every window.

    costs: of all statements before each. wires: how far before each statement its
    inputs are made, and as which top; None from outside. furthest: the furthest of
    these. last_read: where each top is read for the last time.
    """

    def __init__(self, statements: list[Statement], returns: Sequence[int]) -> None:
        self.statements = statements
        self.modules = [s.module for s in statements]
        self.costs = [0, *accumulate(s.cost for s in statements)]
        made = {
            out: (i, k)
            for i, s in enumerate(statements)
            for k, out in enumerate(s.outs)
        }
        self.wires: list[Wires] = []
        self.last_read: dict[int, int] = {}
        for at, statement in enumerate(statements):
            wires: list[tuple[int, int] | None] = []
            for ref in statement.inputs:
                if isinstance(ref, Param):
                    wires.append(None)
                    continue
                index, out = made[ref]
                wires.append((at - index, out))
                self.last_read[ref] = at
            self.wires.append(tuple(wires))
        self.last_read.update(dict.fromkeys(returns, len(statements)))
        self.furthest = [
            max((wire[0] for wire in wires if wire is not None), default=0)
            for wires in self.wires
        ]


def _windows(bodies: Sequence[_Body], whole: bool) -> list[_Window]:
    """Return the windows that occur at least twice without overlap.

    whole: only those that lie in one module, or in none.
    """
    wirings = _Numbers()
    kinds = _Numbers()
    kind = [[kinds[s.kind] for s in body.statements] for body in bodies]
    wiring = [[wirings[wires] for wires in body.wires] for body in bodies]
    starts = [(b, i) for b, body in enumerate(bodies) for i in range(len(kind[b]))]
    groups: list[list[tuple[int, int]]] = [starts]
    found = []
    for length in range(1, MAX_WINDOW + 1):
        grown: list[list[tuple[int, int]]] = []
        for places in groups:  # equal up to here: which are so with one more?
            parts: dict[tuple[int, int], list[tuple[int, int]]] = {}
            for place in places:
                b, end = place[0], place[1] + length - 1
                body = bodies[b]
                if end >= len(body.statements):
                    continue
                if whole and body.modules[end] != body.modules[place[1]]:
                    continue
                wires = wiring[b][end]
                if body.furthest[end] >= length:
                    wires = wirings[_inside(body.wires[end], length)]
                parts.setdefault((kind[b][end], wires), []).append(place)
            grown += [part for part in parts.values() if len(part) > 1]
        groups = grown
        if not groups:
            break
        if length > 1:
            apart = (_apart(places, length) for places in groups)
            found += [_Window(tuple(each), length) for each in apart if len(each) > 1]
    return found


class _Numbers(dict[Any, int]):
    """Numbers for values: equal ones have the same."""

    def __missing__(self, value: Any) -> int:
        self[value] = len(self)
        return self[value]


def _inside(wires: Wires, length: int) -> Wires:
    """Return the wires as seen in a window of that length that a statement ends."""
    return tuple(w if w is not None and w[0] < length else None for w in wires)


def _apart(places: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Return `places`, which are in order, without those that overlap the last."""
    kept: list[tuple[int, int]] = []
    for body, index in places:
        if not kept or kept[-1][0] != body or index >= kept[-1][1] + length:
            kept.append((body, index))
    return kept


def _bound(bodies: Sequence[_Body], window: _Window) -> tuple[int, int]:
    """Return more than what a function can gain, and about its size."""
    costs = [
        bodies[b].costs[i + window.length] - bodies[b].costs[i]
        for b, i in window.places
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
    bodies: Sequence[_Body], window: _Window, taken: Sequence[str]
) -> _Made | None:
    """Return the function of a window, or None if it has too many parameters."""
    places = [bodies[b].statements[i : i + window.length] for b, i in window.places]
    columns = list(zip(*places, strict=True))  # the same statement of every place
    slots = [(c, k) for c in columns for k in range(len(c[0].names))]
    namer = Namer(
        [[statement.names[k] for statement in column] for column, k in slots],
        [_label(column[0], k) for column, k in slots],
        MAX_PARAMS,
    )
    if len(namer.holes) > MAX_PARAMS:
        return None
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
                module=statements[0].module,
            )
        )
    before = sum(s.cost for statements in places for s in statements)
    after = sum(s.cost for s in [*calls, *body]) + OVERHEAD
    after += len(builder.values) + len(namer.holes) + len(builder.inputs)
    after += max(0, len(returns) - 1) * (2 + len(calls))
    return _Made(function, window, calls, before - after)


def _label(statement: Statement, slot: int) -> str:
    """Return what to call a parameter for a name of `statement`."""
    if isinstance(statement.callee, Func):
        return statement.callee.names[slot].name
    return f"{variable_name(statement.callee)}_name"


def _read_outside(bodies: Sequence[_Body], window: _Window) -> list[tuple[int, int]]:
    """Return which tops of the window are read behind it, at any of its places."""
    found = set()
    for b, i in window.places:
        body, end = bodies[b], i + window.length
        for j, statement in enumerate(body.statements[i:end]):
            for k, out in enumerate(statement.outs):
                if body.last_read.get(out, -1) >= end:
                    found.add((j, k))
    return sorted(found)
