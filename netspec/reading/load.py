"""Files to specs: `netspec.load` reads a net, to be edited by name and written back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from netspec.errors import SpecError, SpecWarning, did_you_mean, join
from netspec.language.calls import Top, describe
from netspec.language.proto_to_python import options_of, values_of
from netspec.language.shapes import infer_again
from netspec.nets.rules import may_meet
from netspec.nets.upgrade import upgrade_net
from netspec.notebooks import warn_user
from netspec.reading.loaded import LoadedCall, LoadedFolder
from netspec.schema import LayerParameter, NetParameter
from netspec.schema.unread import unread, unread_fields, unread_names
from netspec.site import FixedSite
from netspec.text import ReadNet, as_read_net
from netspec.text.tokens import text_lines

F = TypeVar("F", bound=LoadedFolder)

MAX_NAMED = 5  # fields without a name, in a warning
MESSAGE = "<net>"  # the source of a message
NO_LINE = 0  # of what comes from a binary file or a message


def load(net: Any, kind: type[F]) -> F:
    """Return the folder of a net that exists, of a class `kind`; see `netspec.load`."""
    read = as_read_net(net)
    current = upgrade_net(read.message)
    lines = lines_of(read, current)
    spec = kind(**_net_fields(current))
    if read.text is None:
        if read.source == MESSAGE:  # who reads a file warns of it
            _warn_unread(current, read.source)
        vars(spec)["_unread"] = unread_fields(current)
    reader = _Reader(spec, read.source)
    for layer, line in zip(current.layer, lines, strict=True):
        reader.add(layer, line)
    if reader.mistakes:
        raise SpecError(join(reader.mistakes))
    infer_again(reader.calls)
    return spec


def _warn_unread(net: NetParameter, source: str) -> None:
    """Warn of fields in a binary file whose names nobody here knows."""
    names = unread_names(net)
    if names:
        shown = "; ".join(names[:MAX_NAMED])
        more = len(names) - MAX_NAMED
        warn_user(
            f"{source}: has fields that are not known here: {shown}"
            f"{f'; and {more} more' if more > 0 else ''}; binary files keep them, text "
            f"has no names for them",
            SpecWarning,
        )


class _Reader:
    """Adds layers to a spec, in their order.

    makers: for every blob the tops that wrote it, each with its layer.
    """

    def __init__(self, spec: LoadedFolder, source: str) -> None:
        self.spec = spec
        self.source = source
        self.makers: dict[str, list[tuple[Top, LayerParameter]]] = {}
        self.calls: list[LoadedCall] = []
        self.mistakes: list[str] = []

    def add(self, layer: LayerParameter, line: int) -> None:
        """Add one layer: wire it, and name what it makes."""
        site = LayerSite(self.source, line)
        options = options_of(layer)
        places = {
            place
            for place, (top, bottom) in enumerate(
                zip(layer.top, layer.bottom, strict=False)
            )
            if top == bottom
        }
        inputs = [top for blob in layer.bottom if (top := self._maker(blob, layer))]
        fn = LoadedCall(layer.type, inputs, options, len(layer.top), places, site)
        fn.unread = unread(layer)
        missing = [blob for blob in layer.bottom if blob not in self.makers]
        if missing:
            who = describe(fn, layer.name)
            self.mistakes += [self._no_maker(who, blob) for blob in missing]
        for top, blob in zip(fn.tops, layer.top, strict=True):
            self.makers.setdefault(blob, []).append((top, layer))
        self.calls.append(fn)
        self.spec.add_layer(fn, layer.name, list(layer.top))
        if not layer.HasField("name"):
            fn.params["name"] = ""

    def _maker(self, blob: str, reader: LayerParameter) -> Top | None:
        """Return the last top of this name, if possible of a layer beside `reader`."""
        makers = self.makers.get(blob)
        if makers is None:
            return None
        for top, layer in reversed(makers):
            if may_meet(layer, reader):
                return top
        return makers[-1][0]

    def _no_maker(self, who: str, blob: str) -> str:
        hint = did_you_mean(blob, self.makers)
        fix = hint or "; add an Input layer that makes it, or list its layer before"
        return f"{who}: reads blob {blob!r}, which no layer before it makes{fix}"


class LayerSite(FixedSite):
    """The place of a layer in a file of layers."""

    __slots__ = ()

    def __str__(self) -> str:
        return self.file if self.line == NO_LINE else f"{self.file}:{self.line}"


def _net_fields(net: NetParameter) -> Mapping[str, Any]:
    """Return what a net has beside its layers."""
    rest = NetParameter()
    for field, value in net.ListFields():
        if field.name not in ("layer", "layers"):
            copy = NetParameter(**{field.name: value})
            rest.MergeFrom(copy)
    return values_of(rest)


def lines_of(read: ReadNet, current: NetParameter) -> Iterator[int]:
    """Yield the line of every layer of `current`, the upgraded net, in its text."""
    places = text_lines(read.text or "")
    old = len(read.message.layers) > 0
    names = [layer.name or layer.layer.name for layer in read.message.layers]
    names = names if old else [layer.name for layer in read.message.layer]
    lines = places["layers" if old else "layer"]
    known = len(lines) == len(names)
    index = 0
    for layer in current.layer:
        # The upgrade adds a layer of inputs, and drops layers that only pad.
        try:
            later = names.index(layer.name, index)
        except ValueError:
            yield 1 if known else NO_LINE
        else:
            index = later + 1
            yield lines[later] if known else NO_LINE
