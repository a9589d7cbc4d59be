"""The statements of a function, from those of the places that it stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from netspec.to_python.naming import Namer, free_name, parameter_name
from netspec.to_python.program import REQUIRED, Func, Ref, Statement
from netspec.to_python.pyformat import Items, Param, Template

MIN_COMMON = 6  # of twice the places: fewer do not make a default


class Builder:
    """Makes the statements of a function from those of its places."""

    def __init__(self, columns: Sequence[tuple[Statement, ...]], namer: Namer) -> None:
        self.columns = columns
        self.namer = namer
        self.inputs: list[tuple[Param, list[Ref]]] = []
        self.values: list[tuple[Param, str, list[Any]]] = []  # with option, by place
        self.made: dict[int, int] = {}  # outs of the first place -> of the function
        self.rivals: dict[str, bool] = {}  # options that differ in several ways
        self.count = 0

    def body(self) -> list[Statement]:
        """Return the statements of the function."""
        statements = []
        slot = 0
        outer: list[list[Ref]] = []
        outs_here = {out for column in self.columns for out in column[0].outs}
        for column in self.columns:
            for k in range(len(column[0].inputs)):
                vector = [s.inputs[k] for s in column]
                if vector[0] not in outs_here and vector not in outer:
                    outer.append(vector)
        names = ["x"] if len(outer) == 1 else [f"x{i + 1}" for i in range(len(outer))]
        self.inputs = [(Param(n), v) for n, v in zip(names, outer, strict=True)]
        for column in self.columns:
            first = column[0]
            templates = self.namer.templates[slot : slot + len(first.names)]
            slot += len(first.names)
            inputs = [
                self._input([s.inputs[k] for s in column])
                for k in range(len(first.inputs))
            ]
            options = self._options(column, templates)
            outs = []
            for out in first.outs:
                self.made[out] = self.count
                outs.append(self.count)
                self.count += 1
            statements.append(
                Statement(
                    first.callee,
                    templates,
                    inputs,
                    options,
                    outs,
                    first.ntop,
                    first.in_place,
                )
            )
        return statements

    def _input(self, vector: list[Ref]) -> Ref:
        ref = vector[0]
        if isinstance(ref, int) and ref in self.made:
            return self.made[ref]
        return next(param for param, known in self.inputs if known == vector)

    def _options(
        self, column: tuple[Statement, ...], templates: Sequence[Items]
    ) -> dict[str, Any]:
        keys = list(dict.fromkeys(key for s in column for key in s.options))
        options = {}
        for key in keys:
            vector = [s.option(key) for s in column]
            equal = all(value == vector[0] for value in vector)
            if equal and not _has_params(vector[0]):
                if vector[0] != column[0].default(key):
                    options[key] = vector[0]
                continue
            value = self._derived(vector)
            if value is None:
                value = self._value(column[0], key, vector, templates)
            options[key] = value
        return options

    def _derived(self, vector: list[Any]) -> Any:
        """Return `vector` as made of the function's names, or None."""
        first = vector[0]
        if isinstance(first, str | Template):
            if not all(isinstance(v, str | Template) for v in vector):
                return None
            items = self.namer.express([items_of(v) for v in vector])
            if items is None:
                return None
            whole = all(isinstance(item, str) for item in items)
            return "".join(map(str, items)) if whole else Template(items)
        if isinstance(first, dict):
            if not all(isinstance(v, dict) and list(v) == list(first) for v in vector):
                return None
            inner = {key: self._derived([v[key] for v in vector]) for key in first}
            return None if None in inner.values() else inner
        if isinstance(first, list):
            same = all(isinstance(v, list) and len(v) == len(first) for v in vector)
            if not same:
                return None
            each = [self._derived([v[i] for v in vector]) for i in range(len(first))]
            return None if None in each else each
        return (
            first
            if all(v == first for v in vector) and not _has_params(first)
            else None
        )

    def _value(
        self, first: Statement, key: str, vector: list[Any], templates: Sequence[Items]
    ) -> Param:
        """Return the parameter with these values: a new one, or one of that option."""
        root = _root(first, key)
        for param, option, known in self.values:
            if option == root and known == vector:
                return param
        taken = [p.name for p, _, _ in self.values] + [p.name for p, _ in self.inputs]
        taken += [hole.param.name for hole in self.namer.holes]
        name = parameter_name(key, templates[:1] if self._has_rivals(key) else [])
        param = Param(free_name(name, taken))
        self.values.append((param, root, vector))
        return param

    def _has_rivals(self, key: str) -> bool:
        """Tell whether an option differs in several ways."""
        if key not in self.rivals:
            ways = set()
            for column in self.columns:
                if not any(key in s.options for s in column):
                    continue
                vector = [s.option(key) for s in column]
                if any(value != vector[0] for value in vector):
                    ways.add(repr(vector))
                if len(ways) > 1:
                    break
            self.rivals[key] = len(ways) > 1
        return self.rivals[key]

    def default(self, param: Param) -> Any:
        """Return the default of a parameter: None, or what most places give."""
        vector = next(v for p, _, v in self.values if p is param)
        simple = [
            v for v in vector if v is None or isinstance(v, bool | int | float | str)
        ]
        if simple and 2 * len(vector) > MIN_COMMON:
            value, count = Counter(simple).most_common(1)[0]
            if 3 * count >= 2 * len(vector):
                return value
        return None if any(value is None for value in vector) else REQUIRED

    def ordered(self) -> list[Param]:
        """Return the parameters, those without default first."""
        params = [param for param, _, _ in self.values]
        roots = {param: root for param, root, _ in self.values}
        needed = [p for p in params if self.default(p) is REQUIRED]
        first = [roots[p] for p in needed[:1]]
        needed.sort(key=lambda p: [roots[p]] != first)
        return [*needed, *(p for p in params if p not in needed)]


def _root(statement: Statement, key: str) -> str:
    """Return the option of a layer that `key` of a statement is in the end."""
    callee = statement.callee
    return callee.roots[key] if isinstance(callee, Func) else key


def items_of(text: str | Template) -> Items:
    """Return text as characters and parameters."""
    return text.items if isinstance(text, Template) else tuple(text)


def _has_params(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_params, value.values()))
    if isinstance(value, list):
        return any(map(_has_params, value))
    return isinstance(value, Param | Template)
