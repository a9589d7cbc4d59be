"""Text with modules to a net, with every mistake at the place where it was written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from netspec.errors import TextError
from netspec.schema import NetParameter
from netspec.text.modules.expand import FlatLayer, expand
from netspec.text.modules.read import ReadText, read_source
from netspec.text.modules.scope import Scope
from netspec.text.modules.sharing import name_parameters
from netspec.text.modules.tree import (
    MAX_DEPTH,
    Array,
    Atom,
    Field,
    Place,
)

MAX_FLAT_CHARACTERS = 8 << 20  # parsing takes half a second a megabyte

Locate = Callable[[int, int], tuple[Place, str]]
ParseFlat = Callable[[str, Locate], NetParameter]

_STRUCTURE = re.compile(
    r"""\#[^\n]*|"(?:\\.|[^"\\\n])*+"|'(?:\\.|[^'\\\n])*+'|["'][^\n]*
    |(?P<open>[{<])|(?P<close>[}>])|(?<![\w.+-])(?P<word>module|import)\s*[:{<\[]""",
    re.VERBOSE,
)


def has_modules(text: str) -> bool:
    """Tell whether `text` declares, imports or uses modules.

    The fields of the same name inside options, as of Python layers, are others.
    """
    if "module" not in text and "import" not in text:
        return False
    depth = 0
    for found in _STRUCTURE.finditer(text):
        if found["word"] and (depth == 0 or (depth == 1 and found["word"] == "module")):
            return True
        word_opens = found["word"] and found.group()[-1] in "{<"
        depth += bool(found["open"] or word_opens) - bool(found["close"])
    return False


def flatten_text(
    text: str, file: str, folder: Path, read_text: ReadText, parse_flat: ParseFlat
) -> NetParameter:
    """Return the net that `text` with modules means, without modules.

    file: what errors call the text. folder: where imports are looked for.
    read_text: returns the contents of a file.
    parse_flat: parses flat text; where it finds a mistake, it asks for the place in the
        files, and for what to say of it.

    Raises `TextError` for mistakes in any of the files, `FileError` for one that cannot
    be read.
    """
    flat = _Flat()
    layers = []
    for each in expand(read_source(text, file, folder, read_text)):
        if isinstance(each, FlatLayer):
            layers.append(each)
            flat.add(each.field, each.scope)
        else:
            flat.add(each, None)
    net = parse_flat(flat.text(), flat.locate)
    message: Any = net
    missing = message.FindInitializationErrors()
    if missing:
        raise _missing(missing, layers)
    if any(each.params is not None for each in layers):
        for layer, made in zip(net.layer, layers, strict=True):
            if made.params is not None:
                name_parameters(layer, made.params)
    return net


def _missing(paths: list[str], layers: list[FlatLayer]) -> TextError:
    """Return the error for required fields that are not set."""
    path = paths[0]
    found = re.match(r"layer\[(\d+)\]\.(.*)", path)
    if found is None:
        return Place("", 1, 1).error(f"{path} must be given")
    layer = layers[int(found[1])]
    said = f"{found[2]} must be given{layer.scope.inside}"
    return layer.field.place.error(said)


class _Line(NamedTuple):
    """Where the field on one line of flat text comes from."""

    name: Place
    value: Place
    value_column: int  # in the flat text
    given: tuple[str, Place] | None
    scope: Scope | None


class _Flat:
    """Flat text with one field on a line, and where each line comes from."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.origins: list[_Line] = []
        self.characters = 0

    def text(self) -> str:
        return "\n".join(self.lines)

    def add(self, field: Field, scope: Scope | None, depth: int = 0) -> None:
        """Write a field; a list becomes as many fields."""
        value = field.value
        if isinstance(value, Array):
            for item in value.items:
                self.add(Field(field.name, item, field.place), scope, depth)
            return
        if isinstance(value, Atom):
            before = f"{field.name}: "
            self.line(before + value.text, field, scope, len(before) + 1, value.given)
            return
        if depth >= MAX_DEPTH:
            raise field.place.error(
                f"messages lie in each other more than {MAX_DEPTH} deep"
            )
        self.line(f"{field.name} {{", field, scope, len(field.name) + 2, None)
        for inner in value.fields:
            self.add(inner, scope, depth + 1)
        self.line("}", field, scope, 1, None)

    def line(
        self,
        text: str,
        field: Field,
        scope: Scope | None,
        column: int,
        given: tuple[str, Place] | None,
    ) -> None:
        self.characters += len(text) + 1
        if self.characters > MAX_FLAT_CHARACTERS:
            raise field.place.error(
                f"the flat net has more than {MAX_FLAT_CHARACTERS:,} characters; do "
                f"modules use each other too often?"
            )
        self.lines.append(text)
        place = field.value.place
        self.origins.append(_Line(field.place, place, column, given, scope))

    def locate(self, line: int, column: int) -> tuple[Place, str]:
        """Return the place in the files, and what is to be said of it."""
        if not self.origins:
            return Place("", 1, 1), ""
        origin = self.origins[min(line, len(self.origins)) - 1]
        at_value = column >= origin.value_column
        notes = ""
        if at_value and origin.given is not None:
            notes = f"; {origin.given[0]} is given at {origin.given[1]}"
        if origin.scope is not None:
            notes += origin.scope.inside
        return (origin.value if at_value else origin.name), notes
