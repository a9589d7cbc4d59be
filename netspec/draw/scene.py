"""The ways to ask for a drawing, and what all of them draw."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from netspec.draw.boxes import Fact, Picture, Shape, make_picture
from netspec.draw.colours import THEMES
from netspec.draw.dot import to_dot
from netspec.draw.folding import fold
from netspec.draw.html import to_html
from netspec.draw.lines import settle
from netspec.draw.modules import Module, find_modules
from netspec.draw.output import check_suffix, write
from netspec.draw.svg import to_svg
from netspec.errors import SpecError, did_you_mean
from netspec.graph import Diagnosis, Graph, diagnose
from netspec.language.drafts import draft
from netspec.language.folder import Folder
from netspec.nets.current import current
from netspec.nets.filter import kept_layers, merge_state
from netspec.nets.module_paths import known_paths
from netspec.nets.phases import PHASE_NAMES, PHASES
from netspec.schema import LayerParameter, NetParameter

MAX_PATHS = 10  # of modules, in a message
MAX_STAGES = 20  # of the rules of a net, are tried
ALL_PHASES = "ALL"


@dataclass(frozen=True, kw_only=True)
class View:
    """What of a net is shown, and how.

    phase: "TRAIN", "TEST", or "ALL" for the layers of both, those of one phase marked.
    rankdir: "TB" draws from top to bottom, "LR" from left to right.
    depth: how many levels of modules are open; 0 is none. opened: paths of modules that
    are open whatever their level. fold: whether three or more equal modules in a row
    are drawn as one.
    shapes: of blobs where nothing here tells them: tops of data layers with files, and
    of layers whose type is not known; without, lines from there on have no shapes.
    rates: whether boxes say the `lr_mult` of parameters. captions: whether lines say
    the shapes of blobs.
    theme: "light", "dark", or "auto" for what the page around wants. PNG, PDF and DOT
    are light.

    A net that only checks with a stage that its rules name is drawn with the first such
    stage. One with rules that has data in one phase only is drawn in that one, and its
    title says so.
    """

    phase: str = ALL_PHASES
    rankdir: str = "TB"
    depth: int = 0
    opened: Collection[str] = ()
    fold: bool = True
    shapes: Mapping[str, Shape] | None = None
    rates: bool = False
    captions: bool = True
    theme: str = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "phase", str(self.phase).upper())
        _choose("phase", self.phase, (*PHASES, ALL_PHASES))
        _choose("rankdir", self.rankdir, ("TB", "LR"))
        _choose("theme", self.theme, THEMES)
        if self.depth < 0:
            raise SpecError(f"depth is {self.depth}; expected 0 or more")


def draw(net: Any, **view: Any) -> str:
    """Return a drawing of `net` as SVG.

    net: a path, prototxt text, a message, a graph, or anything with `to_proto()`.
    view: see `View`.

    A net that does not check is drawn all the same, with the layers that are wrong in
    red.
    """
    return Scene(net, View(**view)).svg()


def draw_dot(net: Any, **view: Any) -> str:
    """Return a drawing of `net` as text for Graphviz; see `draw`."""
    return Scene(net, View(**view)).dot()


def draw_html(net: Any, **view: Any) -> str:
    """Return one page with `net`, where modules open on a click; see `draw`.

    The page needs nothing else, no network either.
    """
    return Scene(net, View(**view)).html()


class Page:
    """A page with a net, which shows itself in a notebook; see `page`.

    html: the page as text, for a file. height: of its frame in a notebook, in pixels.
    """

    def __init__(self, title: str, html: str, height: int) -> None:
        self.title = title
        self.html = html
        self.height = height

    def _repr_html_(self) -> str:
        # In a frame of its own its scripts and styles reach nothing else, nor it them.
        return (
            f'<iframe title="{escape(self.title)}" sandbox="allow-scripts" '
            f'srcdoc="{escape(self.html)}" style="width:100%;height:{self.height}px;'
            f"box-sizing:border-box;border:1px solid rgba(128,128,128,.4);"
            f'border-radius:8px"></iframe>'
        )

    def __repr__(self) -> str:
        return (
            f"<Page {self.title!r}: a notebook shows it; elsewhere, "
            f"write_drawing('net.html', net) writes one>"
        )


def page(net: Any, *, height: int = 600, **view: Any) -> Page:
    """Return one page with `net`, where modules open on a click, for a notebook.

    height: in pixels. view: see `View`. The page is as `draw_html` writes it, in a
    frame that loads nothing.

    Raises `SpecError` for a height that is not positive.
    """
    if isinstance(height, bool) or not isinstance(height, int) or height < 1:
        raise SpecError(
            f"height is {height!r}; expected a number of pixels, such as 600"
        )
    scene = Scene(net, View(**view))
    return Page(scene.picture.title, scene.html(), height)


def _choose(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise SpecError(f"{name} is {value!r}; expected one of {', '.join(known)}")


class Scene:
    """A net, ready to be drawn in any format. `error` is what is wrong with it."""

    def __init__(self, net: Any, view: View) -> None:
        self.view = view
        self.error: SpecError | None = None
        self.picture = self._picture(net)
        if not view.captions:
            bare = [replace(blob, shape=None, label="") for blob in self.picture.blobs]
            self.picture = replace(self.picture, blobs=bare)
        self.root = find_modules(self.picture)
        asked = self._asked()
        if view.fold:
            fold(self.root, self.picture, unless=asked)
        settle(self.root, self.picture)
        self.opened = self._opened(asked)

    @property
    def sideways(self) -> bool:
        """Whether the flow is from left to right."""
        return self.view.rankdir == "LR"

    def svg(self, theme: str = "") -> str:
        """Return SVG, of the theme of the view if none is given."""
        return to_svg(
            self.picture,
            self.root,
            opened=self.opened,
            sideways=self.sideways,
            theme=theme or self.view.theme,
        )

    def dot(self) -> str:
        """Return text for Graphviz."""
        return to_dot(
            self.picture, self.root, opened=self.opened, sideways=self.sideways
        )

    def html(self) -> str:
        """Return a page."""
        return to_html(
            self.picture,
            self.root,
            opened=self.opened,
            sideways=self.sideways,
            theme=self.view.theme,
        )

    def _picture(self, net: Any) -> Picture:
        """Collect the layers of the phases asked for, and what is known of them."""
        if isinstance(net, Graph):
            phase = PHASE_NAMES[net.state.phase]
            layers = [node.layer for node in net.nodes]
            facts = [Fact(node.op, tops=node.op.tops) for node in net.nodes]
            title = f"{net.name} ({phase})"
            return make_picture(title, layers, facts, rates=self.view.rates)
        message, wrong = self._read(net)
        title = message.name or "net"
        every = self.view.phase == ALL_PHASES
        phases = list(PHASES.values()) if every else [PHASES[self.view.phase]]
        only = ""
        if not any(len(layer.include) or len(layer.exclude) for layer in message.layer):
            phases = phases[:1]  # all of them are the same net
        elif every:
            phases = [each for each in phases if _has_data(message, each)] or phases
            every = len(phases) > 1
            only = "" if every else ", the only phase with data"
        known = [self._diagnose(message, phase) for phase in phases]
        found = [diagnosis for diagnosis, _ in known]
        if not every:
            stage = known[0][1]
            with_stage = f", stage {stage}" if stage else ""
            title += f" ({PHASE_NAMES[phases[0]]}{only}{with_stage})"
        layers = list(message.layer if every else found[0].layers)
        facts = [
            replace(fact, mistake=wrong.get(id(layer), fact.mistake))
            for fact, layer in zip(_facts(layers, found), layers, strict=True)
        ]
        told = known_paths(net) if not wrong else {}
        return make_picture(title, layers, facts, rates=self.view.rates, paths=told)

    def _read(self, net: Any) -> tuple[NetParameter, dict[int, SpecError]]:
        """Return a net, and what only its spec knows to be wrong, by ids of layers."""
        try:
            return current(net, values=False), {}
        except SpecError as error:
            if not isinstance(net, Folder):
                raise
            self.error = error.with_traceback(None)
        message, mistakes = draft(net)
        message = current(message)
        self._held = list(message.layer)  # so that they keep their ids
        return message, {id(self._held[place]): e for place, e in mistakes.items()}

    def _diagnose(self, message: NetParameter, phase: int) -> tuple[Diagnosis, str]:
        """Return what is known of a phase, and the stage that it needs, or ""."""
        plain = self._in_state(message, phase)
        if plain.error is None:
            return plain, ""
        for stage in _stages(message)[:MAX_STAGES]:
            found = self._in_state(message, phase, stage)
            if found.error is None:
                return found, stage
        self.error = self.error or plain.error
        return plain, ""

    def _in_state(self, net: NetParameter, phase: int, *stages: str) -> Diagnosis:
        state = merge_state(net, phase, stages=stages)
        return diagnose(net, state, shapes=self.view.shapes)

    def _asked(self) -> list[str]:
        """Return the paths of modules that are to be open."""
        paths = [module.path for module in self.root.modules()]
        known = set(paths)
        for path in self.view.opened:
            if path not in known:
                hint = did_you_mean(path, known)
                more = ", ..." if len(paths) > MAX_PATHS else ""
                shown = f"{', '.join(paths[:MAX_PATHS])}{more}"
                rest = f"; these are {shown}" if paths else ""
                raise SpecError(
                    f"no module has the path {path!r}"
                    f"{hint or rest or '; this net has none'}"
                )
        wrong: set[str] = set()
        for box in self.picture.boxes:
            parts = box.path.split("/") if box.mistake else []
            wrong.update("/".join(parts[: k + 1]) for k in range(len(parts)))
        return [*self.view.opened, *(path for path in paths if path in wrong)]

    def _opened(self, asked: Sequence[str]) -> set[Module]:
        """Return the open modules: by depth, by path, and what is around those."""
        opened = set()
        level = {self.root: 0}
        for module in self.root.modules():
            parent = module.parent or self.root
            inside_fold = parent.is_fold
            level[module] = level[parent] + (0 if inside_fold else 1)
            named = module.path in asked
            if named or level[module] <= self.view.depth:
                opened.add(module)
            while named and module.parent is not None:
                module = module.parent
                opened.add(module)
        return opened


def _has_data(message: NetParameter, phase: int) -> bool:
    """Tell whether a layer brings data in this phase, at a stage that a rule names."""
    for stages in ((), *((stage,) for stage in _stages(message)[:MAX_STAGES])):
        kept = kept_layers(message, merge_state(message, phase, stages=stages))
        if any(not layer.bottom for layer in kept):
            return True
    return False


def _stages(message: NetParameter) -> list[str]:
    """Return the stages that rules ask for."""
    rules = [rule for layer in message.layer for rule in layer.include]
    return list(dict.fromkeys(stage for rule in rules for stage in rule.stage))


def _facts(layers: Sequence[LayerParameter], found: Sequence[Diagnosis]) -> list[Fact]:
    """Return what is known of each layer in the first phase that has it."""
    facts: dict[int, Fact] = {}
    for diagnosis in found:
        known = diagnosis.ops, diagnosis.mistakes, diagnosis.tops
        for layer, op, mistake, tops in zip(diagnosis.layers, *known, strict=True):
            old = facts.get(id(layer), Fact())
            tops = old.tops if old.op or not (op or any(tops)) else tops
            facts[id(layer)] = Fact(old.op or op, old.mistake or mistake, tops)
    return [facts.get(id(layer), Fact()) for layer in layers]


def write_drawing(path: str | Path, net: Any, **view: Any) -> None:
    """Write a drawing of `net`; the suffix says how: .svg, .html, .dot, .png or .pdf.

    view: see `View`. A net that does not check is drawn, but `SpecError` is raised once
    the file is there.
    """
    path = Path(path)
    check_suffix(path)
    scene = Scene(net, View(**view))
    write(path, scene)
    if scene.error is not None:
        raise scene.error
