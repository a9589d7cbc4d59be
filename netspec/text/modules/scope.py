"""What names and values mean inside one use of a module."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from netspec.errors import did_you_mean
from netspec.text.modules.problems import Problems
from netspec.text.modules.read import KNOWN_WORDS, Module
from netspec.text.modules.tree import (
    Array,
    Atom,
    Block,
    Field,
    Place,
    Value,
    items,
    text_atom,
)
from netspec.text.near import near_miss

MAX_WORK = 200_000  # fields, values and layers in all that is written out
MAX_STRING = 1 << 16  # characters of a text with values in it
MAX_NAMES = 50  # of values that an error lists
MAX_NAME = 1000  # characters of the name of a layer or blob
_SHOWN_USES = 3

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>\w*)\}|\$\{")

_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")  # how Caffe writes values of enums

START = Place("", 1, 1)


class Budget:
    """How much more may be written out: short text can stand for any amount."""

    def __init__(self) -> None:
        self.left = MAX_WORK

    def spend(self, amount: int, place: Place) -> None:
        """Count `amount`; raises `TextError` when all is spent."""
        self.left -= amount
        if self.left < 0:
            raise place.error(
                f"the modules write out more than {MAX_WORK:,} layers and fields; do "
                f"they use each other too often?"
            )


@dataclass
class Scope:
    """One use of a module, or the file itself (without a module or a parent).

    inputs: the names here of what the use's bottoms are.
    bound: the flat names of inputs and of outputs that the use names.
    values: those that are given or have a default; what is optional and left out is
        None.
    rules: `include` and `exclude` of this use or of one around it.
    shares: the parameters of its layers have names, which begin with `params`.
    """

    problems: Problems
    budget: Budget
    module: Module | None = None
    parent: Scope | None = None
    name: str = ""
    place: Place = START
    inputs: frozenset[str] = frozenset()
    bound: dict[str, str] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)
    rules: list[Field] = field(default_factory=list)
    shares: bool = False
    params: str = ""
    depth: int = 0

    def flat(self, local: str, place: Place) -> str:
        """Return the name in the flat net of a blob or a layer that is `local` here."""
        scope: Scope = self
        while scope.parent is not None:
            if local in scope.bound:
                return scope.bound[local]
            local = join(scope.name, local)
            scope = scope.parent
        return self._checked(local, place)

    def layer_name(self, local: str, place: Place) -> str:
        """Return the name in the flat net of a layer that is `local` here."""
        scope: Scope = self
        while scope.parent is not None:
            local = join(scope.name, local)
            scope = scope.parent
        return self._checked(local, place)

    def _checked(self, name: str, place: Place) -> str:
        if len(name) > MAX_NAME:
            raise place.error(
                f"the name {name[:60]!r}... has {len(name):,} characters; at most "
                f"{MAX_NAME:,} are allowed"
            )
        return name

    @property
    def inside(self) -> str:
        """The uses around, as they stand at the end of an error."""
        uses = []
        scope: Scope = self
        while scope.parent is not None and scope.module is not None:
            name = f"{scope.name!r}, " if scope.name else ""
            uses.append(f"in {name}module {scope.module.name!r} used at {scope.place}")
            scope = scope.parent
        if len(uses) > _SHOWN_USES:
            uses[_SHOWN_USES - 1 : -1] = ["..."]
        return f" ({', '.join(uses)})" if uses else ""

    def problem(self, place: Place, said: str) -> None:
        """Note a mistake in this use."""
        self.problems.add(place, said, self.inside)

    def resolve_fields(self, fields: Iterable[Field]) -> list[Field]:
        """Return fields with values in place of their names; those left out go."""
        resolved = []
        for each in fields:
            value = self.resolve(each.value)
            if value is not None:
                resolved.append(Field(each.name, value, each.place))
        return resolved

    def resolve(self, value: Value) -> Value | None:
        """Return `value` with values in place of their names, or None if left out."""
        self.budget.spend(1, value.place)
        if self.module is None:
            return value
        if isinstance(value, Block):
            return Block(self.resolve_fields(value.fields), value.place)
        if isinstance(value, Array):
            return self._resolve_array(value)
        if value.kind == "word":
            return self._resolve_word(value)
        if value.kind == "text" and "${" in value.text:
            return self._filled_in(value)
        return value

    def _resolve_array(self, array: Array) -> Array:
        resolved: list[Atom | Block] = []
        for item in array.items:
            value = self.resolve(item)
            if value is not None:
                more = items(value)
                self.budget.spend(len(more), item.place)
                resolved += more
        return Array(resolved, array.place)

    def _resolve_word(self, word: Atom) -> Value | None:
        if word.text not in self.values:
            if word.text not in KNOWN_WORDS and not self._is_of_a_fork(word.text):
                self.problem(word.place, self.unknown(word.text))
            return word
        value = self.values[word.text]
        if isinstance(value, Atom):
            given = value.given[1] if value.given else value.place
            return Atom(value.kind, value.text, word.place, (word.text, given))
        if isinstance(value, Array):
            return Array(value.items, word.place)
        return value

    def _is_of_a_fork(self, word: str) -> bool:
        """Tell whether a word may be a value of an enum that our schema lacks.

        Where a field takes none, the parser says so.
        """
        assert self.module is not None  # noqa: S101
        values = [name.upper() for name in self.module.values]
        is_constant = _CONSTANT.fullmatch(word) is not None
        return is_constant and word not in values and not near_miss(word, values)

    def unknown(self, name: str) -> str:
        """Say that the module has no value `name`."""
        assert self.module is not None  # noqa: S101
        known = list(islice(self.module.values, MAX_NAMES))
        hint = did_you_mean(name, self.module.values)
        if not hint:
            hint = f"; its values are {', '.join(known)}" if known else ""
            hint = hint or "; it has no values"
        return f"{name!r} is no value of module {self.module.name!r}{hint}"

    def _filled_in(self, text: Atom) -> Atom:
        """Return a string with values in place of `${name}`."""
        pieces = []
        done = 0
        content = text.content()
        length = len(content)
        for found in _REFERENCE.finditer(content):
            pieces.append(content[done : found.start()])
            done = found.end()
            if found.group() == "$${":
                pieces.append("${")
            else:
                pieces.append(self._reference(text.place, found))
            length += len(pieces[-1])
            if length > MAX_STRING:
                raise text.place.error(
                    f"with its values filled in, this text has more than "
                    f"{MAX_STRING:,} characters"
                )
        pieces.append(content[done:])
        self.budget.spend(length >> 6, text.place)
        return text_atom("".join(pieces), text.place)

    def _reference(self, place: Place, found: re.Match[str]) -> str:
        name = found["name"]
        if not name:
            self.problem(
                place, "${ in a text needs a name and }; for a plain ${ write $${"
            )
        elif name not in self.values:
            self.problem(place, self.unknown(name))
        else:
            value = self.values[name]
            if isinstance(value, Atom):
                return value.content()
            what = (
                "is left out in this use" if value is None else "is no text or number"
            )
            self.problem(place, f"value {name!r} {what}, so it cannot stand in a text")
        return "?"

    def text(self, value: Value | None, what: str) -> str | None:
        """Return the string that `value` is, or None after noting why not."""
        if isinstance(value, Atom) and value.kind == "text":
            return value.content()
        if value is not None:
            self.problem(value.place, f"{what} takes text, in quotes{_note(value)}")
        return None


def _note(value: Value) -> str:
    if isinstance(value, Atom) and value.given:
        name, place = value.given
        return f"; {name} is {value.text:.40}, given at {place}"
    return ""


def join(before: str, name: str) -> str:
    """Return a name with another one and a slash before it."""
    return f"{before}/{name}" if before and name else before or name


def fill_values(scope: Scope, given: Mapping[str, Field]) -> None:
    """Set the values of a use: those given, and defaults.

    given: fields of the use, already resolved where the use stands.

    What is unknown or missing is noted at the use.
    """
    module = scope.module
    assert module is not None  # noqa: S101
    at_use = scope.parent or scope
    scope.budget.spend(len(module.values), scope.place)
    for name, each in given.items():
        if name not in module.values:
            at_use.problem(each.place, scope.unknown(name))
        elif name in module.defaults:
            default = module.defaults[name].value
            if (wanted := _kind(default)) != (got := _kind(each.value)):
                at_use.problem(
                    each.value.place,
                    f"value {name!r} of module {module.name!r} is {got}; its default "
                    f"at {default.place} is {wanted}",
                )
        scope.values[name] = each.value
    missing = [name for name in module.required if name not in given]
    if missing:
        at_use.problem(
            scope.place,
            f"module {module.name!r} needs {', '.join(missing)}; give "
            f"{'it' if len(missing) == 1 else 'them'} in values {{ ... }}",
        )
    for name in module.optional:
        scope.values.setdefault(name, None)
    for name in missing:
        scope.values[name] = text_atom("?", scope.place)  # what follows is not wrong
    for name, each in module.defaults.items():
        if name not in scope.values:
            scope.values[name] = scope.resolve(each.value)


def _kind(value: Value) -> str:
    if isinstance(value, Array):
        return _kind(value.items[0]) if value.items else "an empty list"
    if isinstance(value, Block):
        return "a message"
    if value.kind == "word" and value.text in ("inf", "nan", "infinity"):
        return "a number"
    return {"text": "text", "number": "a number", "word": "a word"}[value.kind]
