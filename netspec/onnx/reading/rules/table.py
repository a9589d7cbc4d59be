"""The table of rules: which function makes layers of which type of node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from netspec.onnx.reading.build import Build
from netspec.onnx.reading.node import Node
from netspec.onnx.reading.values import Value

Rule: TypeAlias = Callable[[Node, Build], Value | Sequence[Value | None]]

RULES: dict[str, Rule] = {}
WHOLE_NUMBERS: set[str] = set()  # nodes whose computed inputs may be integers


def rule(*types: str, whole: bool = False) -> Callable[[Rule], Rule]:
    """Register the rule of node types; `whole`: the values may be integers too."""

    def register(function: Rule) -> Rule:
        for name in types:
            RULES[name] = function
            if whole:
                WHOLE_NUMBERS.add(name)
        return function

    return register
