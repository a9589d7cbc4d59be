"""Names of layers from the names of nodes: paths of modules, short and unique.

/layer1/layer1.0/conv1/Conv               -> layer1.0/conv1
/features/features.1/conv/conv.0/Conv     -> features.1/conv.0
layer1.0.conv1 (scope of torch.export)    -> layer1.0/conv1
Conv_12, weight layer1.0.conv1.weight     -> layer1.0/conv1
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str, ...]

_SCOPES = "pkg.torch.onnx.name_scopes"
_PARAMETERS = re.compile(
    r"(?:weight|bias|gamma|beta|kernel|running_mean|running_var|moving_mean|"
    r"moving_variance)(?:_\d+)?$"
)
_MADE_UP = re.compile(r"(?:onnx::|_v?_?\d|\d+$|val_\d+$)")
MAX_NAME = 200  # characters; a longer one is cut
MAX_PARTS = 40


@dataclass(frozen=True)
class Origin:
    """Where a node comes from: the path of its module, and what it is there."""

    path: Path
    leaf: str


def origin_of(node: Any) -> Origin:
    """Return where a node of a graph comes from, by all that it tells."""
    for each in node.metadata_props:
        if each.key == _SCOPES and (found := _of_scopes(each.value, node.op_type)):
            return found
    parts = [part for part in node.name.split("/") if part]
    if len(parts) > 1:
        leaf = parts.pop()
        if not re.fullmatch(rf"{re.escape(node.op_type)}(?:_\d+)?", leaf):
            parts.append(leaf)
            leaf = node.op_type
        return Origin(_merged(parts), leaf)
    own = (parts[0] if parts else "").removeprefix("node_")
    module = _of_parameters(node.input)
    if module and re.fullmatch(r"(?:[A-Za-z]+\d?[dD]?_?)?[\d_]*", own):
        return Origin(module, own or node.op_type)
    return Origin((), own or _of_outputs(node) or node.op_type)


def _of_scopes(text: str, node_type: str) -> Origin | None:
    """Read the scopes that torch.export leaves: modules from outer to inner, a node."""
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(scopes, list) or not all(isinstance(x, str) for x in scopes):
        return None
    modules = [scope for scope in scopes[:-1] if scope]
    if not scopes or not modules:
        return None
    return Origin(_dotted(modules[-1]), scopes[-1] or node_type)


def _of_parameters(inputs: Iterable[str]) -> Path:
    """Return the module of the parameters among the inputs of a node."""
    for name in inputs:
        whole = name.replace("/", ".")
        module, _, last = whole.rpartition(".")
        if module and _PARAMETERS.match(last):
            return _dotted(module)
    return ()


def _of_outputs(node: Any) -> str:
    name = next((name for name in node.output if name), "")
    return "" if _MADE_UP.match(name) else name


def _dotted(name: str) -> Path:
    """Return the parts of a dotted path; a number belongs to what it numbers."""
    parts: list[str] = []
    for part in name.split("."):
        if parts and part.isdecimal():
            parts[-1] += f".{part}"
        elif part:
            parts.append(part)
    return tuple(parts[:MAX_PARTS])


def _merged(parts: Sequence[str]) -> Path:
    """Return a path without the parts that the next one repeats."""
    kept = [
        part
        for part, after in zip(parts, (*parts[1:], ""), strict=True)
        if not after.startswith(f"{part}.")
    ]
    return tuple(kept[:MAX_PARTS])


class Names:
    """Names that are given out once each, blobs and layers alike."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = set(reserved)
        self._own: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def new(self, wanted: str, own: str = "") -> str:
        """Return `wanted`, or one like it that is free; `own` is free once."""
        wanted = wanted[:MAX_NAME]
        if wanted == own and own not in self._own:
            self._own.add(own)
            self._taken.add(own)
            return own
        name = wanted
        while name in self._taken:
            self._numbers[wanted] += 1
            name = f"{wanted}_{self._numbers[wanted]}"
        self._taken.add(name)
        return name


def wanted_names(origins: Mapping[int, Origin], types: Mapping[int, str]) -> list[str]:
    """Return the name that every node would like, by its index.

    A node that is alone in its module, or one of several of one type, has the module's
    name; others, and those of a module with inner ones, have their own name in it.
    """
    folders = {o.path[:end] for o in origins.values() for end in range(len(o.path))}
    inside: dict[Path, Counter[str]] = {}
    for index, origin in origins.items():
        inside.setdefault(origin.path, Counter())[types[index]] += 1
    names = []
    for origin in origins.values():
        path = origin.path
        alone = path and path not in folders and len(inside[path]) == 1
        names.append("/".join(path if alone else (*path, origin.leaf)))
    return names
