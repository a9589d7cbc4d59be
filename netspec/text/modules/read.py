"""What the files say: their modules, those that they import, and the net itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from netspec import schema
from netspec.errors import FileError, did_you_mean
from netspec.text.modules.problems import Problems
from netspec.text.modules.tree import (
    MAX_TEXT_CHARACTERS,
    Atom,
    Block,
    Field,
    Place,
    Value,
    items,
    parse_tree,
)

MAX_IMPORT_DEPTH = 50

MODULE_FIELDS = ("name", "input", "output", "required", "optional", "default", "layer")

ReadText = Callable[[Path], str]  # raises FileError or TextError


@dataclass
class Module:
    """A named part: what it takes, what it gives, its values, its layers."""

    name: str
    place: Place
    inputs: list[Atom] = field(default_factory=list)
    outputs: list[Atom] = field(default_factory=list)
    required: dict[str, Place] = field(default_factory=dict)
    optional: dict[str, Place] = field(default_factory=dict)
    defaults: dict[str, Field] = field(default_factory=dict)
    layers: list[Field] = field(default_factory=list)
    values: dict[str, Place] = field(default_factory=dict)  # where all are declared


class Source(NamedTuple):
    """All modules by name, and the fields of the net."""

    modules: dict[str, Module]
    fields: list[Field]


def read_source(text: str, file: str, folder: Path, read_text: ReadText) -> Source:
    """Return what `text` and the files that it imports say.

    file: what errors call the text. folder: where imports are looked for.
    read_text: returns the contents of a file.

    Raises `TextError` for mistakes in any of the files, `FileError` for one that cannot
    be read.
    """
    reader = _Files(read_text)
    fields = reader.read(text, file, folder, [])
    reader.problems.raise_any()
    return Source(reader.modules, fields)


class _Files:
    def __init__(self, read_text: ReadText) -> None:
        self.read_text = read_text
        self.modules: dict[str, Module] = {}
        self.seen: set[Path] = set()
        self.problems = Problems()
        self.characters = 0

    def read(
        self, text: str, file: str, folder: Path, chain: list[Path]
    ) -> list[Field]:
        """Collect the modules of a text; return its other fields.

        chain: the files that import each other, from the first to this one.
        """
        self.characters += len(text)
        if self.characters > MAX_TEXT_CHARACTERS:
            raise Place(file, 1, 1).error(
                f"with what it imports, a file with modules may have "
                f"{MAX_TEXT_CHARACTERS:,} characters, and there are more"
            )
        fields = []
        for each in parse_tree(text, file).fields:
            if each.name == "import":
                self.imported(each, folder, chain)
            elif each.name == "module":
                for value in items(each.value):
                    self.declare(value, each.place)
            else:
                fields.append(each)
        return fields

    def imported(self, each: Field, folder: Path, chain: list[Path]) -> None:
        for value in items(each.value):
            if not isinstance(value, Atom) or value.kind != "text":
                self.problems.add(
                    value.place,
                    "import takes the name of a file, as "
                    'in import: "inception.prototxt"',
                )
                continue
            path = folder / value.content()
            resolved = _resolved(path, value.place)
            if resolved in chain:
                names = [str(each) for each in [*chain[chain.index(resolved) :], path]]
                raise value.place.error(f"files import each other: {' → '.join(names)}")
            if resolved in self.seen:
                continue
            if len(chain) >= MAX_IMPORT_DEPTH:
                raise value.place.error(
                    f"files import files more than {MAX_IMPORT_DEPTH} deep"
                )
            self.seen.add(resolved)
            try:
                text = self.read_text(path)
            except FileError as error:
                raise FileError(f"{value.place}: import: {error}") from None
            for other in self.read(text, str(path), path.parent, [*chain, resolved]):
                self.problems.add(
                    other.place,
                    f"{other.name} in an imported file; it may hold modules and "
                    f"imports only (imported at {value.place})",
                )

    def declare(self, block: Value, place: Place) -> None:
        if not isinstance(block, Block):
            self.problems.add(place, "module takes a message: module { name: ... }")
            return
        module = Module("", place)
        for each in block.fields:
            if each.name not in MODULE_FIELDS:
                hint = did_you_mean(each.name, MODULE_FIELDS)
                self.problems.add(
                    each.place,
                    f"a module has no field {each.name!r}"
                    f"{hint or '; it has ' + ', '.join(MODULE_FIELDS)}",
                )
            elif each.name == "layer":
                module.layers.append(each)
            elif each.name == "default":
                self.defaults(module, each)
            else:
                self.names(module, each)
        if not module.name:
            self.problems.add(place, "the module has no name; give it one")
        elif module.name in self.modules:
            other = self.modules[module.name].place
            self.problems.add(
                place, f"module {module.name!r} is there already, at {other}"
            )
        else:
            self.modules[module.name] = module

    def names(self, module: Module, each: Field) -> None:
        """Read a field that takes text."""
        for value in items(each.value):
            if not isinstance(value, Atom) or value.kind != "text":
                self.problems.add(value.place, f"{each.name} takes text, in quotes")
            elif each.name == "name":
                if module.name:
                    self.problems.add(each.place, "the module has two names")
                module.name = value.content()
            elif each.name == "input":
                module.inputs.append(value)
            elif each.name == "output":
                module.outputs.append(value)
            else:
                of_kind = getattr(module, each.name)
                if self.is_new(module, value.content(), value.place):
                    of_kind[value.content()] = value.place

    def defaults(self, module: Module, each: Field) -> None:
        for value in items(each.value):
            if not isinstance(value, Block):
                self.problems.add(
                    value.place, "default takes a message: default { stride: 1 }"
                )
                continue
            for one in value.fields:
                if self.is_new(module, one.name, one.place):
                    module.defaults[one.name] = one

    def is_new(self, module: Module, name: str, place: Place) -> bool:
        """Tell whether a value may be called `name`."""
        if not (name.isascii() and name.isidentifier()):
            said = "is no name; use letters, digits and underscores"
        elif name in KNOWN_WORDS:
            said = "has a meaning in text format already; choose another name"
        elif name in module.values:
            said = f"is declared already, at {module.values[name]}"
        else:
            module.values[name] = place
            return True
        self.problems.add(place, f"value {name!r} {said}")
        return False


def _resolved(path: Path, place: Place) -> Path:
    try:
        resolved = path.resolve()
        if not resolved.is_file():
            there = "is no file" if resolved.exists() else "no such file"
            raise FileError(f"{place}: import: {path}: {there}")
        return resolved
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{place}: import: {path!r}: {error}") from None


def _all_words() -> frozenset[str]:
    """Return the words that mean something in text format: of enums and numbers."""
    words = {"true", "false", "True", "False", "t", "f", "inf", "infinity", "nan"}
    file = schema.DESCRIPTOR
    enums = list(file.enum_types_by_name.values())
    for message in file.message_types_by_name.values():
        enums += message.enum_types
    for enum in enums:
        words |= set(enum.values_by_name)
    return frozenset(words)


KNOWN_WORDS = _all_words()
