"""`ActivationStats`: how the blobs of a net are spread while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np

from netspec.errors import SpecError, SpecWarning, did_you_mean
from runtime.callbacks.watching import number
from runtime.html import output, table
from runtime.training.callbacks import Callback
from runtime.training.divergence import warn
from runtime.training.records import StepRecord

# From which values on a unit hardly has a gradient: below the first, above the second.
SATURATED = {"Sigmoid": (0.01, 0.99), "TanH": (-0.99, 0.99), "ReLU6": (-1.0, 5.99)}
ACTIVATIONS = (
    *("ReLU", "PReLU", "ELU", "SeLu", "ReLUX", "Softplus", "Swish", "AbsVal"),
    *SATURATED,
)


class Spread(NamedTuple):
    """How the values of a blob were spread in an iteration.

    zeros: the fraction of values that are 0. saturated: the fraction that hardly has a
    gradient, of Sigmoid, TanH and ReLU6; None of other layers.
    """

    iteration: int
    mean: float
    std: float
    zeros: float
    saturated: float | None


class ActivationStats(Callback):
    """Notes mean, deviation, zeros and saturation of blobs, and names dead units.

        stats = solver.callbacks.add(ActivationStats("relu*"))
        ...
        stats.spreads["conv1"][-1].zeros, stats.dead

    blobs: names or patterns of blobs or of layers, whose tops are meant; None for the
        tops of all activations. A blob that is changed in place shows its last values.
    every: iterations between two looks.
    dead_after: in so many looks in a row all values of a unit must be 0, so that it
        counts as dead. Units lie along axis 1, of blobs with one axis along that.

    spreads: a list of `Spread` for each blob. dead: the numbers of the dead units of
    each blob that has some. If all units of a blob are dead, that is warned of once. A
    notebook shows the last ones as a table.

    State: all of it. On a GPU the host waits for each iteration.

    Raises `SpecError` when training begins for names that the net does not have, and at
    the first look for blobs that were not kept (`keep` of the solver).
    """

    def __init__(
        self,
        blobs: str | Sequence[str] | None = None,
        every: int = 100,
        dead_after: int = 3,
    ) -> None:
        self.blobs = [blobs] if isinstance(blobs, str) else blobs
        self.every = number("every", every, at_least=1, whole=True)
        self.dead_after = number("dead_after", dead_after, at_least=1, whole=True)
        self.spreads: dict[str, list[Spread]] = {}
        self._silent: dict[str, np.ndarray] = {}  # looks in a row in which all was 0
        self._ranges: dict[str, tuple[float, float] | None] = {}
        self._net: Any = None
        self._warned: set[str] = set()

    @property
    def dead(self) -> dict[str, list[int]]:
        """The numbers of the dead units, by blobs."""
        found = {
            name: np.flatnonzero(silent >= self.dead_after).tolist()
            for name, silent in self._silent.items()
        }
        return {name: units for name, units in found.items() if units}

    def on_train_begin(self, solver: Any) -> None:
        """Find the blobs."""
        self._net = solver.net
        types = {top: n.type for n in solver.net.graph.nodes for top in n.layer.top}
        self._ranges = {
            name: SATURATED.get(types.get(name, ""))
            for name in _wanted(solver.net, self.blobs)
        }

    def on_step(self, record: StepRecord) -> None:
        """Look at the blobs, if it is time."""
        if (record.iteration + 1) % self.every == 0:
            for name, limits in self._ranges.items():
                self._look(name, record.iteration, limits)

    def on_train_end(self, solver: Any) -> None:
        """Let go of the net."""
        self._net = None

    def _look(self, name: str, at: int, limits: tuple[float, float] | None) -> None:
        values = self._net.blobs[name].data
        if not values.size:
            return
        saturated = None
        if limits is not None:
            beyond = (values < limits[0]) | (values > limits[1])
            saturated = float(beyond.mean())
        spread = Spread(
            at,
            float(values.mean(dtype=np.float64)),
            float(values.std(dtype=np.float64)),
            1.0 - np.count_nonzero(values) / values.size,
            saturated,
        )
        self.spreads.setdefault(name, []).append(spread)
        axes = tuple(a for a in range(values.ndim) if a != min(1, values.ndim - 1))
        silent = ~values.any(axis=axes)
        before = self._silent.get(name)
        if before is None or before.shape != silent.shape:
            before = np.zeros(silent.shape, np.int64)
        self._silent[name] = np.where(silent, before + 1, 0)
        if (self._silent[name] >= self.dead_after).all() and name not in self._warned:
            self._warned.add(name)
            warn(
                f"all {silent.size} units of blob {name!r} were 0 in the last "
                f"{self.dead_after} looks, so that nothing below it learns; lower "
                f"base_lr, or look at the weights above it",
                SpecWarning,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return all spreads, and how long units were silent."""
        return {"spreads": self.spreads, "silent": self._silent}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.spreads = {
            name: [Spread(*row) for row in rows]
            for name, rows in state["spreads"].items()
        }
        self._silent = dict(state["silent"])

    # ------------------------------------------------------------ looks

    def _rows(self) -> list[list[str]]:
        rows, dead = [], self.dead
        for name, spreads in self.spreads.items():
            last = spreads[-1]
            rows.append(
                [
                    name,
                    str(last.iteration),
                    f"{last.mean:.4g}",
                    f"{last.std:.4g}",
                    f"{last.zeros:.1%}",
                    "" if last.saturated is None else f"{last.saturated:.1%}",
                    _listed(dead.get(name, []), self._silent[name].size),
                ]
            )
        return rows

    def _repr_html_(self) -> str:
        heads = "blob", "iteration", "mean", "std", "zeros", "saturated", "dead units"
        return output(table(heads, self._rows(), numbers=range(1, 6)))

    def __str__(self) -> str:
        return "\n".join("  ".join(row) for row in self._rows()) or repr(self)

    def __repr__(self) -> str:
        count = sum(map(len, self.dead.values()))
        looks = max(map(len, self.spreads.values()), default=0)
        return (
            f"<ActivationStats of {len(self.spreads)} blobs, {looks} looks, "
            f"{count} dead units>"
        )


def _wanted(net: Any, patterns: Sequence[str] | None) -> list[str]:
    nodes = net.graph.nodes
    if patterns is None:
        found = [
            top for node in nodes if node.type in ACTIVATIONS for top in node.layer.top
        ]
        if not found:
            raise SpecError(
                "ActivationStats: the net has no layer of activations; name blobs"
            )
        return list(dict.fromkeys(found))
    found = []
    for pattern in patterns:
        names = [name for name in net.blobs if fnmatchcase(name, pattern)]
        for node in nodes:
            if fnmatchcase(node.name, pattern):
                names += node.layer.top
        names = [name for name in names if name in net.blobs]
        if not names:
            known = list(dict.fromkeys([*net.blobs, *(node.name for node in nodes)]))
            raise SpecError(
                f"ActivationStats: no blob or layer of the net is called {pattern!r}"
                f"{did_you_mean(pattern, known)}; there are: {', '.join(known[:30])}"
            )
        found += names
    return list(dict.fromkeys(found))


def _listed(units: list[int], of: int) -> str:
    if not units:
        return ""
    shown = ", ".join(map(str, units[:12])) + ", ..." * (len(units) > 12)
    return f"{len(units)} of {of}: {shown}"
