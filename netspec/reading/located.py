"""Mistakes of a net, with the file and the line of the layer that they are about."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from netspec.errors import NetspecError, SpecError, layer_label
from netspec.nets.upgrade import upgrade_net
from netspec.reading.load import NO_LINE, lines_of
from netspec.text import as_read_net

_S = TypeVar("_S")
_P = ParamSpec("_P")


def located(error: SpecError, net: Any) -> SpecError:
    """Return an error about layers of `net`, with their places in its file.

    `layer 'fuse' (Eltwise): ...` becomes `net.txt:11: layer 'fuse' (Eltwise): ...`,
    also in a list of several mistakes. Of layers of one name and type, such as those
    of two phases, all lines are told. What is no file of layers, or has no such layer,
    leaves the error as it is.
    """
    if not isinstance(net, str | os.PathLike):
        return error
    try:
        read = as_read_net(net)
        current = upgrade_net(read.message)
        lines = list(lines_of(read, current))
    except NetspecError:
        return error
    places: dict[str, list[str]] = {}
    for layer, line in zip(current.layer, lines, strict=True):
        label = layer_label(layer.name, layer.type)
        known = places.setdefault(label, [])
        if line != NO_LINE and str(line) not in known:
            known.append(str(line))

    def place(found: re.Match[str]) -> str:
        label = found["label"]
        if label not in places:
            return found[0]
        where = " or ".join(places[label])
        return f"{found['start']}{read.source}{where and ':'}{where}: {label}:"

    said = str(error)
    told = _LABEL.sub(place, said)
    if told == said:
        return error
    if error.layer and told.endswith(f": {error.text}"):
        return error.replaced(layer=told.removesuffix(f": {error.text}"))
    return error.replaced(text=told, layer="")


# At the beginning of a mistake: of all, or of one in a list.
_LABEL = re.compile(r"(?P<start>^|\(\d+\) |\n  and: )(?P<label>layer '.*?' \(\w+\)):")


def tells_places(
    init: Callable[Concatenate[_S, Any, _P], None],
) -> Callable[Concatenate[_S, Any, _P], None]:
    """Let the errors of a constructor, whose first argument is a net, tell places."""

    @functools.wraps(init)
    def construct(self: _S, net: Any, *args: _P.args, **options: _P.kwargs) -> None:
        try:
            init(self, net, *args, **options)
        except SpecError as error:
            told = located(error, net)
            if told is error:
                raise
            raise told.with_traceback(error.__traceback__) from None

    return cast("Callable[Concatenate[_S, Any, _P], None]", construct)
