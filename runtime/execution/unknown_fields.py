"""Layers with fields that nobody here knows are not computed as if they had none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from netspec.errors import UnsupportedError, join_lines
from netspec.ops.base import label
from netspec.ops.opaque import HARMLESS, field_name
from netspec.schema import LayerParameter, SolverParameter
from netspec.schema.kept import UNKNOWN_FIELDS
from netspec.text.whose import said_of

MAX_TOLD = 20
_VALUES = frozenset(("BlobProto", "BlobShape"))  # of which there are many


def refuse_unknown_layers(
    layers: Iterable[LayerParameter], everyone: Iterable[LayerParameter]
) -> None:
    """Refuse layers that have fields of which nobody here knows what they change.

    everyone: those of all phases, whose rules tell which are in.

    Raises `UnsupportedError` that names all layers and fields, and whose they are.
    """
    said = []
    first = ""
    parts: list[tuple[LayerParameter, Message]] = [(layer, layer) for layer in layers]
    for layer in everyone:
        parts += [(layer, rule) for rule in (*layer.include, *layer.exclude)]
    for layer, part in parts:
        for field in _harmful(part):
            who = label(layer)
            first = first or who
            said.append(field if who == first else f"{who}: {field}")
    said = list(dict.fromkeys(said))
    if said:
        raise UnsupportedError(
            f"{_told(said)}. What it changes is not known here; take it out to compute "
            f"the layer as Caffe does without it",
            layer=first,
        )


def refuse_unknown_solver(solver: SolverParameter) -> None:
    """Refuse a solver that has such fields; its nets are looked at when they are built.

    Raises `UnsupportedError` that names all fields, and whose they are.
    """
    said = list(_harmful(solver))
    if said:
        raise UnsupportedError(
            f"solver: {_told(said)}. What it changes is not known here; take it out to "
            f"train as Caffe does without it"
        )


def _told(said: list[str]) -> str:
    more = len(said) - MAX_TOLD
    rest = [f"{more:,} more"] if more > 0 else []
    return join_lines([*said[:MAX_TOLD], *rest])


def _harmful(message: Any) -> Iterator[str]:
    """Yield the fields that may change numbers, each as a sentence."""
    for field, value in message.ListFields():
        kind = field.message_type
        if field.name == UNKNOWN_FIELDS:
            for text in value:
                name = field_name(text)
                if name not in HARMLESS:
                    yield _sentence(message, name, text)
        elif kind is not None and kind.name not in (*_VALUES, "NetParameter"):
            for item in [value] if isinstance(value, Message) else value:
                yield from _harmful(item)


def _sentence(message: Any, name: str, text: str) -> str:
    kind = message.DESCRIPTOR
    if name in kind.fields_by_name:
        return f"{kind.name}.{name} is given as {text!r:.80}, which is not known here"
    return said_of(f"{kind.name}.{name}")
