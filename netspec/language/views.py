"""The layers of a spec whose names begin alike, as a folder: `n["inception_3a"]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from netspec.language.calls import Namespace, Top

if TYPE_CHECKING:
    from typing import Protocol

    class Names(Protocol):
        """What a view looks at: a spec."""

        def keys(self) -> list[str]:
            """Return all names."""

        def __getitem__(self, name: str) -> Any: ...

        def __setitem__(self, name: str, value: Any) -> None: ...

        def __delitem__(self, name: str) -> None: ...


class Part(Namespace):
    """Those names of a spec that stand below a path, without it.

        n["inception_3a"]["1x1"]        # n["inception_3a/1x1"]
        n["inception_3a"].keys()        # "1x1", "relu_1x1", ...
        del n["inception_3a"]           # all layers of it

    It is looked up in the spec whenever it is asked. Passed to a layer function it
    stands for its top named `output`, or else for the only one that none of its layers
    reads.
    """

    def __init__(self, spec: Names, path: str) -> None:
        state = self.__dict__
        state["_spec"] = spec
        state["_path"] = path
        state["_scope"] = None
        state["_parent"] = None

    def keys(self) -> list[str]:
        """Return the names in order, without the path."""
        start = f"{self._path}/"
        return [key[len(start) :] for key in self._spec.keys() if key.startswith(start)]  # noqa: SIM118

    def vals(self) -> list[Any]:
        """Return the tops in the order of `keys`."""
        return [self[key] for key in self.keys()]

    def __getitem__(self, name: str) -> Any:
        return self._spec[f"{self._path}/{name}"]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._spec[f"{self._path}/{name}"] = value

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delitem__(self, name: str) -> None:
        del self._spec[f"{self._path}/{name}"]

    def __delattr__(self, name: str) -> None:
        del self[name]

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __dir__(self) -> list[str]:
        return [
            "keys",
            "output_top",
            "vals",
            *identifiers([*self.keys(), *paths(self.keys())]),
        ]

    def _ipython_key_completions_(self) -> list[str]:
        return [*self.keys(), *paths(self.keys())]

    @property
    def output_top(self) -> Top | None:
        """The top that a layer function takes this part for."""
        tops = dict(self._tops())
        if "output" in tops:
            return tops["output"]
        read = {bottom for top in tops.values() for bottom in top.fn.inputs}
        unread = [top for top in tops.values() if top not in read]
        return unread[0] if len(unread) == 1 else None

    def _tops(self) -> Iterator[tuple[str, Top]]:
        for key in self:
            if isinstance(value := self[key], Top):
                yield key, value

    def __repr__(self) -> str:
        lines = [f"<part {self._path!r} of a NetSpec"]
        for key, value in zip(self.keys(), self.vals(), strict=True):
            shape = getattr(value, "shape", None)
            size = "" if shape is None else f" {shape}"
            lines.append(f"  {key}: {value.fn.type_name}{size}")
        return "\n".join(lines) + ">"


def paths(names: Iterable[str]) -> list[str]:
    """Return the paths that names stand below: "a" and "a/b" of "a/b/c"."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split("/")
        found.update(("/".join(parts[:end]), None) for end in range(1, len(parts)))
    return list(found)


def identifiers(names: Iterable[str]) -> list[str]:
    """Return the names that can stand behind a dot."""
    return [name for name in names if name.isidentifier()]


def part_of(spec: Names, path: str) -> Part | None:
    """Return the part of a spec below a path, or None if it has no names."""
    part = Part(spec, path.rstrip("/"))
    return part if path.strip("/") and len(part) else None
