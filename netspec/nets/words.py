"""Fields of text that take one of a few words, and what is said of other words.

The format has text there, so that a slip passes until a net is run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from netspec.errors import SpecError, layer_label
from netspec.schema import LayerParameter

FILLERS = (
    "constant",
    "uniform",
    "gaussian",
    "positive_unitball",
    "xavier",
    "msra",
    "bilinear",
)
_WORDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("FillerParameter", "type"): FILLERS,
    ("WindowDataParameter", "crop_mode"): ("warp", "square"),
    ("SaveOutputParameter", "output_format"): ("VOC", "COCO", "ILSVRC"),
}
_FIELDS = dict(_WORDS.keys())
# What others call a filler of Caffe.
_FOREIGN_FILLERS = {
    "glorot": "xavier",
    "glorot_uniform": "xavier",
    "xavier_uniform": "xavier",
    "lecun_uniform": "xavier",
    "he": "msra",
    "he_normal": "msra",
    "kaiming": "msra",
    "kaiming_normal": "msra",
    "normal": "gaussian",
    "random_normal": "gaussian",
    "truncated_normal": "gaussian",
    "random_uniform": "uniform",
    "zero": "constant",
    "zeros": "constant",
    "one": "constant",
    "ones": "constant",
}


def strange_words(message: Message, path: str = "") -> Iterator[tuple[str, bool]]:
    """Yield a sentence for every word that is none of those known for its field.

    With each stands whether it is a slip of a known one, or what others call it; else
    it may be a word of a fork.
    """
    for field, value in message.ListFields():
        kind = field.message_type
        if kind is None or not _has_words(kind):
            continue
        values = [value] if isinstance(value, Message) else value
        for number, each in enumerate(values):
            place = f"[{number}]" if values is value and len(values) > 1 else ""
            where = f"{path}{field.name}{place}"
            name = _FIELDS.get(kind.name)
            if name is None:
                yield from strange_words(each, f"{where}.")
            elif each.HasField(name):
                told = _told(each, name, where)
                if told is not None:
                    yield told


@functools.cache
def _has_words(kind: Any) -> bool:
    """Tell whether a message, or one in it, has a field with known words."""
    inner = [field.message_type for field in kind.fields if field.message_type]
    return kind.name in _FIELDS or any(_has_words(each) for each in inner)


def _told(message: Any, name: str, where: str) -> tuple[str, bool] | None:
    kind = message.DESCRIPTOR.name
    word: str = getattr(message, name)
    known = _WORDS[kind, name]
    if word in known:
        return None
    from netspec.text.near import near_miss  # which right words do not need

    folded = {each.lower(): each for each in known}.get(word.lower())
    near = folded or near_miss(word.lower(), known)
    foreign = _FOREIGN_FILLERS if kind == "FillerParameter" else {}
    other = foreign.get(near_miss(word.lower(), foreign) or word.lower())
    said = f"{where}.{name} is {word!r}; "
    if near is not None:
        return f"{said}did you mean {near!r}?", True
    if other is not None:
        return f"{said}it is called {other!r} here", True
    return f"{said}known are {', '.join(known)}", False


def check_words(layer: LayerParameter) -> None:
    """Refuse a word that is a slip of one that its field takes."""
    said = [text for text, slip in strange_words(layer) if slip]
    if said:
        who = layer_label(layer.name, layer.type)
        raise SpecError("; ".join(said), layer=who)
