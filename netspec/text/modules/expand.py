"""Every use of a module written out as plain layers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netspec.errors import did_you_mean
from netspec.text.modules.problems import Problems
from netspec.text.modules.read import Module, Source
from netspec.text.modules.scope import Budget, Scope, fill_values, join
from netspec.text.modules.tree import (
    MAX_DEPTH,
    Array,
    Atom,
    Block,
    Field,
    Place,
    Value,
    items,
    text_atom,
)

USE_FIELDS = (
    *("name", "module", "bottom", "top", "values"),
    *("share", "include", "exclude"),
)
_RULES = ("include", "exclude")


@dataclass(frozen=True)
class FlatLayer:
    """A layer of the flat net.

    params: what its shared parameters are called, less their index; None where they
        are its own.
    """

    field: Field
    scope: Scope
    params: str | None = None


def expand(source: Source) -> list[FlatLayer | Field]:
    """Return the fields of the flat net, in their order.

    Raises `TextError` that tells all mistakes in the uses of modules.
    """
    problems = Problems()
    expansion = _Expansion(source.modules, problems)
    top = Scope(problems, Budget())
    try:
        for each in source.fields:
            if each.name == "layer":
                expansion.layers(each, top)
            else:
                expansion.flat.append(each)
    finally:
        problems.raise_any()  # rather than that a limit was reached
    return expansion.flat


class _Expansion:
    def __init__(self, modules: dict[str, Module], problems: Problems) -> None:
        self.modules = modules
        self.problems = problems
        self.flat: list[FlatLayer | Field] = []
        self.made: set[str] = set()  # flat names of tops
        self.groups: dict[str, tuple[str, Place]] = {}  # which module shares, by name

    def layers(self, each: Field, scope: Scope) -> None:
        """Write out a field `layer`, which may hold a list."""
        for value in items(each.value):
            if not isinstance(value, Block):
                scope.problem(value.place, "layer takes a message: layer { name: ... }")
            elif any(inner.name == "module" for inner in value.fields):
                self.use(value, each.place, scope)
            else:
                self.layer(value, each.place, scope)

    # ------------------------------------------------------------ plain layers

    def layer(self, block: Block, place: Place, scope: Scope) -> None:
        """Write out a layer with the names that it has in the flat net."""
        fields = []
        local = ""
        for each in scope.resolve_fields(block.fields):
            if each.name == "name" and scope.module is not None:
                local = scope.text(each.value, "name") or ""
                name = scope.layer_name(local, each.place)
                value: Value = text_atom(name, each.value.place)
            elif each.name in ("bottom", "top"):
                value = self.blobs(each, scope)
            else:
                value = each.value
            fields.append(Field(each.name, value, each.place))
        own = next((each for each in fields if each.name in _RULES), None)
        if own is not None and scope.rules:
            scope.problem(
                own.place,
                f"the layer has rules, and the use of its module too, at "
                f"{scope.rules[0].place}; Caffe cannot combine them",
            )
        elif scope.rules:
            fields += scope.rules
            scope.budget.spend(len(scope.rules), place)
        if scope.shares and not local:
            scope.problem(
                place, "the layer needs a name, as its module shares parameters"
            )
        params = join(scope.params, local) if scope.shares else None
        made = Field("layer", Block(fields, block.place), place)
        self.flat.append(FlatLayer(made, scope, params))

    def blobs(self, each: Field, scope: Scope) -> Value:
        """Return the flat names of bottoms or tops."""
        flat: list[Atom | Block] = []
        for value in items(each.value):
            if scope.module is None:
                flat.append(value)  # what is wrong is told when the net is parsed
                if isinstance(value, Atom):
                    self.made.add(value.content())
                continue
            local = scope.text(value, each.name)
            if local is None:
                continue
            if each.name == "bottom":
                self.check_bottom(local, value.place, scope)
            name = scope.flat(local, value.place)
            if each.name == "top":
                self.made.add(name)
            flat.append(text_atom(name, value.place))
        return Array(flat, each.value.place)

    def check_bottom(self, local: str, place: Place, scope: Scope) -> None:
        """Note a bottom in a module that is neither an input nor made in it before."""
        if scope.module is None or local in scope.inputs:
            return
        if scope.flat(local, place) in self.made or self.problems.tells(place):
            return
        before = scope.flat("", place)
        start = f"{before}/" if before else ""
        known = [*scope.inputs]
        known += [name[len(start) :] for name in self.made if name.startswith(start)]
        hint = did_you_mean(local, known)
        scope.problem(
            place,
            f"bottom {local!r} is neither an input of module {scope.module.name!r} nor "
            f"a top of a layer above{hint or '; declare it with input'}",
        )

    # ------------------------------------------------------------ uses

    def use(self, block: Block, place: Place, parent: Scope) -> None:
        """Write out a layer that names a module."""
        one: dict[str, Field] = {}
        several: dict[str, list[tuple[str, Place]]] = {"bottom": [], "top": []}
        values: list[Field] = []
        rules: list[Field] = []
        for each in parent.resolve_fields(block.fields):
            if each.name in several:
                for item in items(each.value):
                    text = parent.text(item, each.name)
                    if text is not None:
                        several[each.name].append((text, item.place))
            elif each.name in _RULES:
                rules.append(each)
            elif each.name == "values":
                values += self.inner(each, parent)
            elif each.name not in USE_FIELDS:
                self.misplaced(each, parent)
            elif each.name in one:
                parent.problem(each.place, f"{each.name} is given twice")
            else:
                one[each.name] = each
        texts = {
            name: parent.text(each.value, name) or "" for name, each in one.items()
        }
        module = self.named(texts.get("module", ""), one, place, parent)
        if module is None:
            return
        scope = Scope(
            parent.problems,
            parent.budget,
            module,
            parent,
            texts.get("name", ""),
            place,
            rules=[*parent.rules, *rules],
            depth=parent.depth + 1,
        )
        if scope.depth > MAX_DEPTH:
            raise place.error(f"modules use each other more than {MAX_DEPTH} deep")
        if rules and parent.rules:
            parent.problem(
                rules[0].place,
                f"the use has rules, and a use around it too, at "
                f"{parent.rules[0].place}; Caffe cannot combine them",
            )
        fill_values(scope, self.by_name(values, parent))
        self.share(scope, texts.get("share", ""), one.get("share"))
        self.bind(scope, several["bottom"], several["top"])
        for each in module.layers:
            self.layers(each, scope)
        self.check_outputs(scope)

    def misplaced(self, each: Field, scope: Scope) -> None:
        """Note a field that a use does not have."""
        hint = did_you_mean(each.name, USE_FIELDS)
        if each.name == "type":
            hint = "; a layer has a type or a module, not both"
        elif not hint:
            hint = f"; values of the module stand in values {{ {each.name}: ... }}"
        scope.problem(
            each.place, f"the use of a module has no field {each.name!r}{hint}"
        )

    def inner(self, each: Field, scope: Scope) -> list[Field]:
        """Return the fields of `values`."""
        fields: list[Field] = []
        for value in items(each.value):
            if isinstance(value, Block):
                fields += value.fields
            else:
                scope.problem(
                    value.place, "values takes a message: values { num_output: 64 }"
                )
        return fields

    def by_name(self, values: Iterable[Field], scope: Scope) -> dict[str, Field]:
        """Return the values of a use by their names."""
        given: dict[str, Field] = {}
        for each in values:
            if each.name in given:
                scope.problem(
                    each.place,
                    f"value {each.name!r} is given twice; several are written as a "
                    f"list: {each.name}: [3, 5]",
                )
            given[each.name] = each
        return given

    def named(
        self, name: str, one: dict[str, Field], place: Place, scope: Scope
    ) -> Module | None:
        """Return the module that a use names, or None after noting what is wrong."""
        module = self.modules.get(name)
        if module is None:
            known = ", ".join(self.modules)
            hint = did_you_mean(name, self.modules) or (
                f"; there are {known}" if known else "; the file has and imports none"
            )
            at = one["module"].value.place if "module" in one else place
            scope.problem(at, f"there is no module {name!r}{hint:.300}")
            return None
        chain = [module]
        around: Scope | None = scope
        while around is not None and around.module is not None:
            chain.append(around.module)
            if around.module is module:
                names = " → ".join(each.name for each in reversed(chain))
                scope.problem(place, f"module {name!r} uses itself: {names}")
                return None
            around = around.parent
        return module

    def share(self, scope: Scope, group: str, given: Field | None) -> None:
        """Set the name under which the layers of a use share parameters, if they do."""
        parent, module = scope.parent, scope.module
        assert parent is not None  # noqa: S101
        assert module is not None  # noqa: S101
        scope.shares = parent.shares or bool(group)
        scope.params = join(parent.params, group or scope.name)
        if given is None:
            return
        if not group:
            parent.problem(given.place, "share takes the name of the parameters")
            return
        first, place = self.groups.setdefault(scope.params, (module.name, scope.place))
        if first != module.name:
            parent.problem(
                given.value.place,
                f"{group!r} is shared by uses of module {first!r} (at {place}); "
                f"module {module.name!r} has other parameters",
            )

    def bind(
        self,
        scope: Scope,
        bottoms: list[tuple[str, Place]],
        tops: list[tuple[str, Place]],
    ) -> None:
        """Bind the inputs and the outputs of a use to blobs around it."""
        parent, module = scope.parent, scope.module
        assert parent is not None  # noqa: S101
        assert module is not None  # noqa: S101
        inputs = [scope.text(scope.resolve(each), "input") for each in module.inputs]
        outputs = [scope.text(scope.resolve(each), "output") for each in module.outputs]
        if len(bottoms) != len(inputs):
            names = f" ({', '.join(str(each) for each in inputs)})" if inputs else ""
            parent.problem(
                scope.place,
                f"module {module.name!r} takes {_count(len(inputs), 'bottom')}{names}; "
                f"got {len(bottoms)}",
            )
        if tops and len(tops) != len(outputs):
            names = f" ({', '.join(str(each) for each in outputs)})" if outputs else ""
            parent.problem(
                scope.place,
                f"module {module.name!r} gives {_count(len(outputs), 'top')}{names}; "
                f"got {len(tops)}. Name all, or none to have them named like the use",
            )
        scope.inputs = frozenset(local or "" for local in inputs)
        for (blob, place), local in zip(bottoms, inputs, strict=False):
            self.check_bottom(blob, place, parent)
            scope.bound[local or ""] = parent.flat(blob, place)
        for local in inputs[len(bottoms) :]:
            scope.bound[local or ""] = "?"
        for (blob, place), local in zip(tops, outputs, strict=False):
            name = parent.flat(blob, place)
            if scope.bound.setdefault(local or "", name) != name:
                parent.problem(
                    place,
                    f"output {local!r} of module {module.name!r} is its input, so the "
                    f"top must be {scope.bound[local or '']!r}",
                )

    def check_outputs(self, scope: Scope) -> None:
        """Note outputs that no layer of the module makes."""
        assert scope.module is not None  # noqa: S101
        for each in scope.module.outputs:
            local = scope.text(scope.resolve(each), "output")
            if local is None or local in scope.inputs:
                continue
            if scope.flat(local, each.place) not in self.made:
                scope.problem(
                    each.place,
                    f"no layer of module {scope.module.name!r} has a top {local!r}",
                )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
