"""A net as a program: statements, each a call, and functions made of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from netspec.to_python.pyformat import Items, Param

Ref: TypeAlias = "int | Param"  # a top, by its number, or a parameter


class _Required:
    """Stands for the default of a parameter that has none."""


REQUIRED = _Required()


@dataclass(eq=False)
class Statement:
    """A call, which does not change once it is made.

    callee: a layer type or a function. names: what it assigns. inputs: tops it reads.
    options: its named arguments. outs: the tops it makes. module: the outermost one
    that it is in, "" for none.
    """

    callee: str | Func
    names: list[Items]
    inputs: list[Ref]
    options: dict[str, Any]
    outs: list[int]
    ntop: int = 1
    in_place: bool = False
    module: str = ""

    @cached_property
    def kind(self) -> tuple[Any, ...]:
        """What must be equal for two statements to be one in a function."""
        counts = len(self.names), len(self.inputs), len(self.outs)
        return self.callee, *counts, self.ntop, self.in_place

    @cached_property
    def cost(self) -> int:
        """About how much there is to read in it."""
        options = sum(map(_size, self.options.values()))
        several = len(self.names) if isinstance(self.callee, Func) else 0
        names = len(self.names) + max(0, several - 1)  # several say little
        return 2 + names + len(self.inputs) + options

    def default(self, key: str) -> Any:
        """Return what an option is that is not given."""
        callee = self.callee
        return callee.defaults.get(key) if isinstance(callee, Func) else None

    def option(self, key: str) -> Any:
        """Return the value of an option."""
        return self.options.get(key, self.default(key))


@dataclass(eq=False)
class Func:
    """A function: its parameters, its statements, and the tops that it returns."""

    name: str
    names: list[Param]
    inputs: list[Param]
    values: list[Param]
    defaults: dict[str, Any]
    body: list[Statement]
    returns: list[int]
    roots: dict[str, str] = field(default_factory=dict)  # the options of the values

    @property
    def required(self) -> list[Param]:
        """The values without a default, which come first."""
        return [p for p in self.values if self.defaults[p.name] is REQUIRED]

    @property
    def positional(self) -> list[Param]:
        """The values that are given by place: those of one option, if required."""
        first = [self.roots[p.name] for p in self.required[:1]]
        return [p for p in self.required if [self.roots[p.name]] == first]


@dataclass
class Program:
    """The net's statements, and the functions that they call, the last made first."""

    main: list[Statement]
    functions: list[Func] = field(default_factory=list)

    def bodies(self) -> Iterator[tuple[list[Statement], list[int]]]:
        """Yield every list of statements, and what is read of it from outside."""
        yield self.main, []
        for function in self.functions:
            yield function.body, function.returns


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(_size, value.values()))
    if isinstance(value, list):
        return (
            1 + sum(map(_size, value))
            if any(isinstance(item, dict | list) for item in value)
            else 1
        )
    return 1
