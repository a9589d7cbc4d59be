"""Whole steps of the update rules on the device, which waits for nothing.

`runtime.update_rules` has the formulas. A step is three launches: `examine` finds the
sum of squares of all gradients and whether they are finite, `judge` decides in one
block what becomes of the step, and `update` takes it in one pass over parameters,
gradients and running values. What changes from step to step lies in memory (`Words`,
`State`), so that the calls can be part of a captured graph; what the host wants to know
it reads from `State`, whenever it likes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.graph.memory import ALIGNMENT_BYTES
from netspec.ops.base import count
from runtime.arrays import Array
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import THREADS, Call, CudaKernel, Launch
from runtime.backends.cuda.machine.words import Words
from runtime.backends.cuda.tensor import IN_SOURCES, Blob, memory_of, place_of
from runtime.update_rules import Update, WholeUpdate

# What the sources call a rule, and how many running values it has.
RULES: dict[str, tuple[str, int]] = {
    "SGD": ("sgd", 1),
    "Nesterov": ("nesterov", 1),
    "AdaGrad": ("adagrad", 1),
    "RMSProp": ("rmsprop", 1),
    "AdaDelta": ("adadelta", 2),
    "Adam": ("adam", 2),
}
MOST = 2048  # elements of a piece, as in the source
MOST_SUMS = 1024  # blocks that sum up: the same on every device
PACK = 4  # elements in which pieces start
ALIGNED = ALIGNMENT_BYTES // 4  # elements in which parameters start
KEPT, ZERO_GRADIENT, ONLY_CLEARED = 0, 1, 2

PIECE = np.dtype("u4, u2, u2, f4, f4")
PIECE.names = ("start", "count", "kind", "lr_mult", "decay")
STATE = np.dtype("f4, u4, u4, u4, u4, u4, f4, u4, u4")
STATE.names = (
    *("factor", "skip", "flags", "bad", "bad_flags", "halted"),
    *("loss_scale", "good", "skipped"),
)
BAD = slice(12, 16)  # the bytes of `bad`
GRADIENT, LOSS = 1, 2  # bits of flags

_EXAMINE = CudaKernel("update.cu", "examine")
_JUDGE = CudaKernel("update.cu", "judge")
_UPDATE = CudaKernel("update.cu", "update")
_TOTAL = CudaKernel("update.cu", "total")


@dataclass(frozen=True)
class Scaling:
    """How the scale of the losses follows the gradients, all of it on the device.

    The gradients of losses are to be multiplied by `FusedUpdate.loss_scale`; the update
    divides by it. Where a gradient is not finite the step is left out and the scale is
    halved; after `growth` steps without one it is doubled. It stays a power of two, so
    that it changes no digit. Source: P. Micikevicius et al., ICLR 2018.

    Raises `SpecError` for scales that are not in order.
    """

    first: float = 65536.0
    growth: int = 2000  # steps
    lowest: float = 1.0
    highest: float = 16777216.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.first <= self.highest < math.inf:
            raise SpecError(
                f"loss scales must be 0 < lowest <= first <= highest, got "
                f"{self.lowest:g}, {self.first:g}, {self.highest:g}"
            )
        if self.growth < 1:
            raise SpecError(
                f"a loss scale must grow after at least 1 step, not after {self.growth}"
            )


@dataclass(frozen=True)
class State:
    """What the device knows of the steps so far.

    gradient, loss: whether some of the last step was not finite. bad: the first
    iteration, since `clear`, with something that is not finite though no scale of the
    losses could make it so, or None; bad_gradient, bad_loss: what it was. halted:
    whether steps are left out from there on. loss_scale, good: the scale, and the steps
    since it changed. skipped: steps left out for the sake of the scale.
    """

    gradient: bool
    loss: bool
    bad: int | None
    bad_gradient: bool
    bad_loss: bool
    halted: bool
    loss_scale: float
    good: int
    skipped: int

    @staticmethod
    def finite_in(words: np.ndarray) -> bool:
        """Say whether `bad` is None in the bytes of `FusedUpdate.state`."""
        return not words[BAD].any()

    @classmethod
    def of(cls, words: np.ndarray) -> State:
        """Read the bytes of `FusedUpdate.state`."""
        one = words.view(STATE)[0]
        return cls(
            gradient=bool(one["flags"] & GRADIENT),
            loss=bool(one["flags"] & LOSS),
            bad=int(one["bad"]) - 1 if one["bad"] else None,
            bad_gradient=bool(one["bad_flags"] & GRADIENT),
            bad_loss=bool(one["bad_flags"] & LOSS),
            halted=bool(one["halted"]),
            loss_scale=float(one["loss_scale"]),
            good=int(one["good"]),
            skipped=int(one["skipped"]),
        )


class FusedUpdate:
    """An update rule over the parameters of a net.

    `calls` are what a step asks of the device, for a graph: say with `prepare` what
    holds for the next step, then run them. `apply` does both at once after passes by
    hand, whose gradients have no scale and whose losses nobody watches, and leaves out
    what is not needed where nobody reads `state`.

    With `careful` a gradient or a loss that is not finite ends training: that step and
    all after it are left out until `clear`, so that the parameters are those before it
    however late the host looks. Else such a step is taken, as in Caffe, unless losses
    are scaled.

    Args:
        device: where the arrays are.
        runner: makes one function of calls.
        update: the rule and its arrays, of float32.
        scaling: how losses are scaled, None where they are not.

    Attributes:
        state: an array of bytes on the device, see `State.of`.
        loss_scale: a part of it, one float: what to multiply gradients of losses with.
    """

    def __init__(
        self,
        device: Device,
        runner: Callable[[Sequence[Call]], Callable[[], None]],
        update: Update,
        *,
        scaling: Scaling | None = None,
    ) -> None:
        self._device, self._runner, self._update = device, runner, update
        self.scaling = scaling
        self.state: Array = device.zeros((STATE.itemsize,), "uint8")
        self._losses: Array | None = None
        offset = STATE.fields["loss_scale"][1]  # type: ignore[index]
        self.loss_scale: Array = device.cut(self.state, offset, (), "float32")
        self.set_loss_scale(scaling.first if scaling else 1.0, 0)
        self._asked: tuple[float | int, ...] = (0.0, 1.0, 0, 0)
        self._words = Words(device, 4, lambda: self._asked)
        learned = [
            (place.start, place.stop, 0.0, 0.0, KEPT)
            for place in (update.flat.slices[p.index] for p in _learned(update))
        ]
        self._examined = self._table(_pieces(_joined(learned)))
        self._updated = self._table(_pieces(_stretches(update)))
        blocks = max(1, min(MOST_SUMS, self._examined[1]))
        self._sums: Array = device.zeros((blocks,), "float32")
        self._bad: Array = device.zeros((blocks,), "float32")

    def _table(self, pieces: Iterator[tuple[Any, ...]]) -> tuple[Array, int]:
        """Bring a table of pieces to the device; returns it and its length."""
        host = np.array(list(pieces), PIECE)
        table = self._device.zeros((host.nbytes,), "uint8")
        if len(host):
            self._device.upload(host.view("uint8"), table)
        return table, len(host)

    # ------------------------------------------------------------ calls

    def watch(self, losses: Array) -> None:
        """Look at these numbers too, float32 on the device; before `calls` are taken.

        Raises `SpecError` where `calls` were taken already.
        """
        if "calls" in self.__dict__:
            raise SpecError("losses are to be watched before the calls are taken")
        self._losses = losses

    @cached_property
    def calls(self) -> list[Call]:
        """What a step asks of the device, the words among it, which run ahead."""
        judgement = self._judgement(self._losses, self.scaling)
        return [self._words, self._examination, judgement, *self._steps(True)]

    @property
    def iter_size(self) -> int:
        """How many batches a step is made of."""
        return self._update.settings.iter_size

    @cached_property
    def _examination(self) -> Call:
        table, pieces = self._examined
        arguments = (table, pieces, self._update.flat.diff, self._sums, self._bad)
        return Launch(self._device, _EXAMINE, self._sums.shape, (THREADS,), arguments)

    def _judgement(self, losses: Array | None, scaling: Scaling | None) -> Call:
        arguments = (
            self._sums,
            self._bad,
            self._sums.size,
            losses,
            0 if losses is None else losses.size,
            self._words.array,
            self.state,
            self._update.settings.clip_gradients,
            scaling.growth if scaling else 0,
            scaling.lowest if scaling else 1.0,
            scaling.highest if scaling else 1.0,
        )
        return Launch(self._device, _JUDGE, (1,), (THREADS,), arguments)

    def _steps(self, judged: bool) -> list[Call]:
        update, settings = self._update, self._update.settings
        table, pieces = self._updated
        if pieces == 0:
            return []
        rule, moments = RULES[update.type]
        l1 = int(settings.regularization_type == "L1")
        kernel = _UPDATE.with_defines(RULE=rule, MOMENTS=moments, L1=l1)
        rms = update.type == "RMSProp"
        arguments = (
            table,
            update.flat.data,
            update.flat.diff,
            update.history[0],
            update.history[1] if moments == 2 else None,
            self._words.array,
            self.state if judged else None,
            settings.rms_decay if rms else settings.momentum,
            settings.momentum2,
            settings.delta,
        )
        return [Launch(self._device, kernel, (pieces,), (THREADS,), arguments)]

    # ------------------------------------------------------------ steps

    def prepare(
        self, rate: float, iteration: int, scale: float, *, careful: bool = False
    ) -> None:
        """Say what holds for the next run of `calls`.

        scale: what gradients are multiplied with beside clipping, 1 / iter_size.
        """
        settings = self._update.settings
        if self._update.type == "Adam":
            t = iteration + 1
            rate *= math.sqrt(1 - settings.momentum2**t) / (1 - settings.momentum**t)
        self._asked = (float(rate), float(scale), int(careful), iteration)

    def apply(self, rate: float, iteration: int, scale: float) -> None:
        """Take one step; the gradients, of plain losses, are multiplied by `scale`."""
        self.prepare(rate, iteration, scale)
        self._run()

    @cached_property
    def _run(self) -> Callable[[], None]:
        if self._update.settings.clip_gradients < 0:
            return self._runner([self._words, *self._steps(False)])
        judged = [self._examination, self._judgement(None, None), *self._steps(True)]
        return self._runner([self._words, *judged])

    def finite(self) -> bool:
        """Say whether all gradients are finite; waits for the device."""
        self._examination()
        bad = np.empty(self._bad.shape, "float32")
        self._device.download(self._bad, bad)
        return not bad.any()

    # ------------------------------------------------------------ state

    def read(self) -> State:
        """Return what the device knows of the steps so far; waits for it."""
        words = np.empty(self.state.shape, "uint8")
        self._device.download(self.state, words)
        return State.of(words)

    def clear(self) -> None:
        """Forget what was not finite, so that steps are taken again."""
        now = self.read()
        self.set_loss_scale(now.loss_scale, now.good, now.skipped)

    def go_on_from(self, other: WholeUpdate) -> None:
        """Take over the scale of the losses from another rule over the same net."""
        if self.scaling is not None and isinstance(other, FusedUpdate):
            now = other.read()
            self.set_loss_scale(now.loss_scale, now.good, now.skipped)

    def set_loss_scale(self, scale: float, good: int, skipped: int = 0) -> None:
        """Go on with the scale of the losses from where a run was left."""
        words = np.zeros(1, STATE)
        words["loss_scale"], words["good"], words["skipped"] = scale, good, skipped
        self._device.upload(words.view("uint8"), self.state)


def loss_totals(
    device: Device, losses: Sequence[tuple[Blob, float]], out: Array, *, add: bool
) -> list[Call]:
    """Return the calls that write weight * sum(blob) for every loss into `out`.

    With `add` they add it, for the passes of one iteration.
    """
    calls: list[Call] = []
    for index, (blob, weight) in enumerate(losses):
        kernel = _TOTAL.with_defines(STORE=IN_SOURCES[place_of(blob).storage])
        into = out[index : index + 1]
        arguments = (memory_of(blob), count(blob.shape), weight, into, int(add))
        calls.append(Launch(device, kernel, (1,), (THREADS,), arguments))
    return calls


def _learned(update: Update) -> Iterator[Any]:
    return (p for p in update.parameters if p.learn)


Stretch = tuple[int, int, float, float, int]


def _stretches(update: Update) -> Iterator[Stretch]:
    """Yield (start, stop, lr_mult, decay, kind) of all that a step writes."""
    places = [
        (update.flat.slices[p.index], p.learn, p.lr_mult) for p in update.parameters
    ]
    zero = [place for place, learn, _ in places if not learn]
    for start, stop, lr_mult, decay in update.runs:
        at = start
        for place in zero:
            if not start <= place.start < stop:
                continue
            if place.start > at:
                yield at, place.start, lr_mult, decay, KEPT
            yield place.start, place.stop, lr_mult, decay, ZERO_GRADIENT
            # What lies between two parameters is zero, and stays so.
            at = -(-place.stop // PACK) * PACK
        if at < stop:
            yield at, stop, lr_mult, decay, KEPT
    for place, learn, lr_mult in places:
        if not learn and lr_mult == 0:
            yield place.start, place.stop, 0.0, 0.0, ONLY_CLEARED


def _joined(stretches: Sequence[Stretch]) -> Iterator[Stretch]:
    """Yield neighbours as one: what lies between them is zero."""
    held: Stretch | None = None
    for one in stretches:
        if held is not None and one[0] - held[1] < ALIGNED:
            held = (held[0], *one[1:])
            continue
        if held is not None:
            yield held
        held = one
    if held is not None:
        yield held


def _pieces(stretches: Iterator[Stretch]) -> Iterator[tuple[Any, ...]]:
    """Yield the pieces of stretches, as `PIECE` has them."""
    for start, stop, lr_mult, decay, kind in stretches:
        for first in range(start, stop, MOST):
            size = min(MOST, stop - first)
            yield first // PACK, size, kind, lr_mult, decay
