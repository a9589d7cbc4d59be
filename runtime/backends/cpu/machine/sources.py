"""The syntax trees of functions."""

from __future__ import annotations

import ast
import linecache
from functools import cache

from runtime.backends.cpu.machine.parts import Function


def tree_of(function: Function) -> ast.FunctionDef:
    """Return the definition of a function; LookupError where its text is not there."""
    code = function.__code__
    linecache.lazycache(code.co_filename, function.__globals__)
    found = _definitions("".join(linecache.getlines(code.co_filename)))
    return found[code.co_name, code.co_firstlineno]


@cache
def _definitions(text: str) -> dict[tuple[str, int], ast.FunctionDef]:
    """Return the functions in a text by their names and first lines."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            found[node.name, first] = node
    return found
