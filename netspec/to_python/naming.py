"""Names in generated functions: what of a name is the same everywhere, and what not."""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from netspec.to_python.pyformat import Items, Param, is_name

SHORT = {
    "BN": "bn",
    "BatchNorm": "bn",
    "Convolution": "conv",
    "ConvolutionDepthwise": "dw",
    "DepthwiseConvolution": "dw",
    "Deconvolution": "deconv",
    "InnerProduct": "fc",
    "PReLU": "prelu",
    "Pooling": "pool",
    "ReLU": "relu",
    "SoftmaxWithLoss": "loss",
    "TanH": "tanh",
}
RESERVED = frozenset(("n", "net", "L", "NetSpec", "netspec"))
MAX_KINDS = 4  # of layers that make the name of a function
MAX_NAME = 32  # characters
MIN_STEM = 3


@dataclass
class Hole:
    """What differs in names: a parameter, and the text for it at every place."""

    param: Param
    vector: list[Items]


class Namer:
    """Templates for slots of names, with as few parameters as possible.

    slots: for every name of a function its texts at all places. labels: what to call
    the parameter that would be this name. Nothing is finished where there are more
    than `most` parameters.
    """

    def __init__(
        self, slots: Sequence[list[Items]], labels: Sequence[str], most: int
    ) -> None:
        self.holes: list[Hole] = []
        self.templates: list[Items] = []
        for slot, label in zip(slots, labels, strict=True):
            self.templates.append(self._template(slot, label))
            if len(self.holes) > most:
                return
        for hole in self.holes:
            while self._extend(hole, before=False):
                pass
            self._extend_to_word(hole)
        if len(self.holes) == 1:
            self._rename({self.holes[0].param: "name"})

    def _template(self, slot: list[Items], label: str) -> Items:
        found = self.express(slot)
        if found is not None:
            return found
        start, end = _common(slot)
        stop = -end if end else None
        param = Param(free_name(label, [hole.param.name for hole in self.holes]))
        self.holes.append(Hole(param, [text[start:stop] for text in slot]))
        return (*slot[0][:start], param, *(slot[0][stop:] if stop else ()))

    def express(self, slot: list[Items]) -> Items | None:
        """Return `slot` as text with the parameters so far, or None."""
        if all(text == slot[0] for text in slot) and _constant(slot[0]):
            return slot[0]
        for hole in self.holes:
            found = _replaced(slot, hole) or _around(slot, hole)
            if found is not None:
                return found
        return None

    def _extend_to_word(self, hole: Hole) -> None:
        """Let a hole begin where the names do, or else with the whole number."""
        templates, vector = list(self.templates), hole.vector
        steps = 0
        while self._extend(hole, before=True):
            steps += 1
        with_hole = [t for t in self.templates if hole.param in t]
        if all(template[0] is hole.param for template in with_hole):
            return
        added = hole.vector[0][:steps]
        self.templates, hole.vector = templates, vector
        for item in reversed(added):
            if not isinstance(item, str) or not item.isdigit():
                break
            self._extend(hole, before=True)

    def _extend(self, hole: Hole, *, before: bool) -> bool:
        """Move a character that always stands beside a hole into it."""
        beside: set[str | Param | None] = set()
        for template in self.templates:
            for at, item in enumerate(template):
                if item is hole.param:
                    place = at - 1 if before else at + 1
                    inside = 0 <= place < len(template)
                    beside.add(template[place] if inside else None)
        if len(beside) != 1:
            return False
        (char,) = beside
        if not isinstance(char, str) or not (before or char.isalnum()):
            return False
        pair = (char, hole.param) if before else (hole.param, char)
        for index, each in enumerate(self.templates):
            self.templates[index] = _substituted(each, pair, (hole.param,))
        hole.vector = [
            (char, *text) if before else (*text, char) for text in hole.vector
        ]
        return True

    def _rename(self, names: dict[Param, str]) -> None:
        for hole in self.holes:
            new = Param(names[hole.param])
            self.templates = [
                _substituted(template, (hole.param,), (new,))
                for template in self.templates
            ]
            hole.param = new


def function_name(kinds: Sequence[str], namer: Namer) -> str:
    """Return a name for a function that calls `kinds`: layer types and functions."""
    if len(kinds) > MAX_KINDS:
        stem = _stem(namer)
        if stem:
            return stem
    words = [SHORT.get(kind, kind) for kind in dict.fromkeys(kinds)]
    name = "_".join(snake(word) for word in words[:MAX_KINDS])
    return name if len(kinds) <= MAX_KINDS and len(name) <= MAX_NAME else "block"


def parameter_name(option: str, templates: Sequence[Items]) -> str:
    """Return a name for a parameter: that of its option, and what it is for."""
    text = "".join(
        item if isinstance(item, str) else "/" for t in templates for item in t
    )
    words = [word for word in re.split(r"[^A-Za-z0-9_]+", text) if word]
    tail = re.sub(r"[^a-z0-9_]", "", words[-1].lower()).strip("_") if words else ""
    name = f"{option}_{tail}" if tail else option
    return snake(name)


class Names:
    """Names that are taken, each with how far those like it are counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def free(self, name: str) -> str:
        """Return `free_name` of a name among those here, and take it."""
        first = free_name(name, ())
        count = self._counts.get(first, 0)
        wanted = _counted(first, count) if count else first
        while wanted in self._counts:
            count = max(count, 1) + 1
            wanted = _counted(first, count)
        self._counts[first] = max(count, 1)
        self._counts.setdefault(wanted, 1)
        return wanted


def free_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or one like it that means nothing else."""
    if not is_name(name):
        name = f"{name}_" if name.isidentifier() else "value"
    if name in RESERVED or hasattr(builtins, name):
        name += "_"
    wanted, count = name, 1
    while wanted in taken:
        count += 1
        wanted = _counted(name, count)
    return wanted


def _counted(name: str, count: int) -> str:
    return f"{name}{count}" if not name[-1].isdigit() else f"{name}_{count}"


def variable_name(kind: str) -> str:
    """Return a name for what a layer type makes."""
    return snake(SHORT.get(kind, kind))


def _stem(namer: Namer) -> str:
    """Return the word with which the names begin, at all places."""
    texts = [
        "".join(item for item in text if isinstance(item, str))
        for hole in namer.holes[:1]
        for text in hole.vector
    ]
    starts = [_common_prefix(texts)]
    for template in namer.templates[:1]:
        starts.append("".join(i if isinstance(i, str) else " " for i in template))
    for start in starts:
        word = re.split(r"[^A-Za-z_]", start)[0].strip("_").lower()
        if len(word) >= MIN_STEM and is_name(word):
            short = len(word) == MIN_STEM or word in SHORT.values()
            return f"{word}_block" if short else word
    return ""


def _common_prefix(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    low, high = min(texts), max(texts)
    for at, character in enumerate(low):
        if at >= len(high) or high[at] != character:
            return low[:at]
    return low


def _common(slot: Sequence[Items]) -> tuple[int, int]:
    """Return how many items all texts begin with, and then end with."""
    shortest = min(map(len, slot))
    start = 0
    while start < shortest and len({text[start] for text in slot}) == 1:
        if not isinstance(slot[0][start], str):
            break  # parameters of another function mean nothing here
        start += 1
    end = 0
    while end < shortest - start and len({text[-1 - end] for text in slot}) == 1:
        if not isinstance(slot[0][-1 - end], str):
            break
        end += 1
    return start, end


def _replaced(slot: Sequence[Items], hole: Hole) -> Items | None:
    """Return `slot` with all of a hole's texts taken out, if that is one template."""
    if not all(hole.vector):
        return None
    template: Items | None = None
    for text, part in zip(slot, hole.vector, strict=True):
        found = _substituted(text, part, (hole.param,))
        if template is not None and found != template:
            return None
        template = found
    return template if template is not None and _constant(template, hole) else None


def _around(slot: Sequence[Items], hole: Hole) -> Items | None:
    """Return `slot` as a constant start, the hole and a constant end, if it is that."""
    text, part = slot[0], hole.vector[0]
    for at in range(len(text) - len(part) + 1):
        if text[at : at + len(part)] != part:
            continue
        start, end = text[:at], text[at + len(part) :]
        if not _constant((*start, *end)):
            continue
        if all(
            other == (*start, *piece, *end)
            for other, piece in zip(slot, hole.vector, strict=True)
        ):
            return (*start, hole.param, *end)
    return None


def _constant(items: Items, hole: Hole | None = None) -> bool:
    """Tell whether there is no parameter in `items`, other than that of `hole`."""
    return all(
        isinstance(item, str) or (hole is not None and item is hole.param)
        for item in items
    )


def _substituted(text: Items, old: Items, new: Items) -> Items:
    """Return `text` with `new` for every `old`, which is not empty."""
    first, length = old[0], len(old)
    if first not in text:
        return text
    result: list[str | Param] = []
    at = 0
    while first in text[at:]:
        start = text.index(first, at)
        result += text[at:start]
        if text[start : start + length] == old:
            result += new
            at = start + length
        else:
            result.append(text[start])
            at = start + 1
    return (*result, *text[at:])


def snake(text: str) -> str:
    """Return a name in CamelCase as words in small letters, with lines between them."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return re.sub(r"\W", "_", spaced).lower()
