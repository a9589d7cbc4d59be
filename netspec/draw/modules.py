"""Modules: the path of a layer, as `netspec.nets.module_paths` tells it, is its module.

A module is closed, which is one box, or open, which is a panel around what it holds.
Either way it is one place in the grid of the module around it, so that opening one
moves nothing else but by its size, and no foreign box can stand in a panel.

A module that reads what depends on itself has no place in a drawing where lines lead
down: it is dissolved, and what it holds stands where it stood.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from netspec.draw.boxes import Box, Picture
from netspec.draw.circles import circles
from netspec.draw.grid import Grid, Net, make_grid

MAX_TRIALS = 32  # of modules in one knot: which of them unties it?


@dataclass(frozen=True)
class Line:
    """One blob as the inside of a module shows it.

    source, targets: places among entries, children and exits, in this order.
    """

    blob: int
    source: int
    targets: tuple[int, ...]


@dataclass(eq=False, repr=False)
class Module:
    """Boxes whose names share a path; the net itself is the module without one.

    `children` are boxes, by index, and modules. `entries` and `exits` are blobs that
    come in and go out. A fold stands for equal modules in a row, its children; `equal`
    has, for what the later ones read from elsewhere, what the first reads there.
    """

    path: str
    children: list[int | Module] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    is_fold: bool = False
    equal: dict[int, int] = field(default_factory=dict)
    parent: Module | None = None
    _leaving: dict[int, list[Line]] | None = None

    def set_lines(self, lines: list[Line]) -> None:
        """Replace the lines."""
        self.lines, self._leaving = lines, None

    def lines_from(self, node: int) -> list[Line]:
        """Return the lines that start at a place among entries, children and exits."""
        if self._leaving is None:
            self._leaving = {}
            for line in self.lines:
                self._leaving.setdefault(line.source, []).append(line)
        return self._leaving.get(node, [])

    @property
    def name(self) -> str:
        """The path within the module around this one."""
        if self.is_fold:
            ends = [self.children[0], self.children[-1]]
            return " … ".join(end.name for end in ends if isinstance(end, Module))
        return inner_name(self.path, self.parent)

    @property
    def header(self) -> str:
        """The name of an open module, and how often it is repeated."""
        if self.parent is not None and self.parent.is_fold:
            return f"{self.parent.name}  ×{len(self.parent.children)}"
        return self.name

    @property
    def shown(self) -> Module:
        """What is drawn when it is open: itself; of a fold, its first module."""
        if not self.is_fold:
            return self
        first = self.children[0]
        if not isinstance(first, Module):
            raise TypeError("a fold holds modules")
        return first

    def boxes(self) -> list[int]:
        """Return all boxes in here, in the order of the net."""
        found = [child for child in self.children if isinstance(child, int)]
        for module in self.modules():
            found += [child for child in module.children if isinstance(child, int)]
        return sorted(found)

    def places(self) -> dict[int, int]:
        """Return the child that every box in here is in, by place."""
        return {
            box: place
            for place, child in enumerate(self.children)
            for box in _boxes(child)
        }

    def modules(self) -> Iterator[Module]:
        """Yield the modules in here, at any depth, each before those that it holds."""
        stack = [child for child in self.children[::-1] if isinstance(child, Module)]
        while stack:
            module = stack.pop()
            yield module
            stack += [m for m in module.children[::-1] if isinstance(m, Module)]

    def seen(self) -> Iterator[Module]:
        """Yield the modules in here that are drawn when all are open, at any depth.

        Of those in a fold that is the first; each comes before those that it holds.
        """
        stack: list[Module] = [self]
        while stack:
            module = stack.pop()
            if module is not self:
                yield module
            children = [module.shown] if module.is_fold else module.children[::-1]
            stack += [child for child in children if isinstance(child, Module)]

    def grid(self) -> Grid:
        """Return ranks and orders of entries, children and exits."""
        count = len(self.entries) + len(self.children) + len(self.exits)
        nets = [Net(line.source, line.targets) for line in self.lines]
        return make_grid(count, nets, len(self.entries), len(self.exits))


def inner_name(path: str, around: Module | None) -> str:
    """Return the name of a layer or module as it is called within `around`."""
    while around is not None:
        if around.path and not around.is_fold and path.startswith(around.path + "/"):
            return path[len(around.path) + 1 :]
        around = around.parent
    return path


def find_modules(picture: Picture) -> Module:
    """Return the net as a tree of modules, each of at least two boxes.

    It has no lines yet: see `netspec.draw.lines.settle`.
    """
    root = Module("")
    _plant(root, picture.boxes)
    _prune(root)
    todo = [root]
    while todo:
        module = todo.pop()
        _put_in_order(module, picture)
        todo += [child for child in module.children if isinstance(child, Module)]
    return root


def _plant(root: Module, boxes: Sequence[Box]) -> None:
    """Put every box into the module of its name."""
    modules = {"": root}
    for index, box in enumerate(boxes):
        module, path = root, ""
        for part in box.path.split("/") if box.path else ():
            path = f"{path}/{part}" if path else part
            if path not in modules:
                modules[path] = Module(path)
                module.children.append(modules[path])
            module = modules[path]
        module.children.append(index)


def _prune(root: Module) -> None:
    """Dissolve modules that hold one thing only."""
    todo = [root]
    while todo:
        module = todo.pop()
        for place, child in enumerate(module.children):
            while isinstance(child, Module) and len(child.children) == 1:
                child = child.children[0]
            module.children[place] = child
            if isinstance(child, Module):
                todo.append(child)


# --- order


def _put_in_order(module: Module, picture: Picture) -> None:
    """Sort the children so that lines lead on; dissolve modules where none does."""
    while True:
        readers = _readers(module, picture)
        knots = circles(readers)
        if not knots:
            break
        victims = {_victim(module, picture, knot) for knot in knots}
        module.children = _without(module, victims)
    waiting = [0] * len(module.children)
    for targets in readers:
        for target in targets:
            waiting[target] += 1
    first = [_boxes(child)[0] for child in module.children]
    ready = [(first[k], k) for k, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, place = heapq.heappop(ready)
        order.append(module.children[place])
        for target in readers[place]:
            waiting[target] -= 1
            if waiting[target] == 0:
                heapq.heappush(ready, (first[target], target))
    module.children = order


def _boxes(child: int | Module) -> list[int]:
    return [child] if isinstance(child, int) else child.boxes()


def _readers(module: Module, picture: Picture) -> list[set[int]]:
    """Return which children read from each child, by place."""
    place = module.places()
    readers: list[set[int]] = [set() for _ in module.children]
    for blob in picture.blobs:
        source = place.get(blob.net.source)
        if source is not None:
            found = {place[box] for box in blob.net.targets if box in place}
            readers[source] |= found - {source}
    return readers


def _victim(module: Module, picture: Picture, knot: Sequence[int]) -> Module:
    """Choose what to dissolve: the smallest that unties the knot, or the largest."""
    held = Module(module.path, [module.children[k] for k in knot])
    modules = [child for child in held.children if isinstance(child, Module)]
    modules.sort(key=lambda child: len(child.boxes()))
    for child in modules[:MAX_TRIALS]:
        trial = Module(module.path, _without(held, {child}))
        if not circles(_readers(trial, picture)):
            return child
    return modules[-1]


def _without(module: Module, victims: Collection[Module]) -> list[int | Module]:
    children: list[int | Module] = []
    for child in module.children:
        taken = isinstance(child, Module) and child in victims
        children += child.children if taken else [child]  # type: ignore[union-attr]
    return children
