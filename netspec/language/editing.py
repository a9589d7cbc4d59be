"""Calls with the layers that they become, and other names for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from netspec.errors import SpecError
from netspec.language.calls import Function
from netspec.language.emit import Emission, emit
from netspec.language.folder import Folder
from netspec.language.naming import Names
from netspec.schema import LayerParameter


def emitted(folder: Folder) -> Mapping[Function, LayerParameter]:
    """Return the calls of a net with the layers that `to_proto` makes of them."""
    names = Names(vars(folder)["_naming"])
    emission = Emission(names)
    emit(list(folder._roots("", names, ())), emission)  # noqa: SLF001
    return emission.layers


def folders_in(folder: Folder, prefix: str = "") -> Iterator[tuple[str, Folder]]:
    """Yield a net and the folders in it, each with what stands before its names."""
    yield prefix, folder
    for key, value in folder.tops.items():
        if isinstance(value, Folder):
            yield from folders_in(value, f"{prefix}{key}/")


def rename_call(root: Folder, fn: Function, old: str, new: str) -> None:
    """Give the layer of a call another name than `old`.

    Where a top is assigned under that name, the top is renamed and has its place. In a
    module its path stands in front of the name; `emitted` tells the whole.
    """
    for prefix, folder in folders_in(root):
        key = old.removeprefix(prefix)
        held = [each for each in _entries(folder, key) if each.fn is fn]
        if held and old.startswith(prefix) and new.startswith(prefix):
            _rename_key(folder, key, new.removeprefix(prefix))
            if fn.params.get("name") == key:
                fn.params["name"] = new.removeprefix(prefix)
            return
    fn.params["name"] = new
    actual = emitted(root)[fn].name
    path = actual.removesuffix(new)
    if path and new.startswith(path):
        fn.params["name"] = new.removeprefix(path)


def _entries(folder: Folder, key: str) -> list[Function]:
    if key not in folder.tops or isinstance(folder.tops[key], Folder):
        return []
    return [each.fn for each in folder.entries(key)]


def _rename_key(folder: Folder, old: str, new: str) -> None:
    """Rename what is assigned as `old`, with what other phases have there."""
    if new == old:
        return
    state = vars(folder)
    if new in folder.tops:
        raise SpecError(f"the name {new!r} is taken; give another")
    values = list(folder.entries(old))
    state["tops"] = OrderedDict(
        (new if key == old else key, value) for key, value in folder.tops.items()
    )
    for table in ("_sites", "_variants"):
        if old in state[table]:
            state[table][new] = state[table].pop(old)
    scope = state["_scope"]
    for value in values:
        state["_names"][value] = new
        if hasattr(value, "label"):
            value.label = new
        if scope is not None and value in scope.named:
            scope.named[value] = (folder, new)
