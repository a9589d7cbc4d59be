"""The update rules: from gradients to new parameters, in place, on flat arrays.

A solver's `type` names the rule. Every rule first turns the gradient g that the net
summed up into

    g = clip(g) / iter_size + weight_decay * decay_mult * penalty(w)

with penalty(w) = w for L2 and sign(w) for L1; clip scales g so that the norm of all
parameters' gradients together is at most `clip_gradients`. With rate = learning rate *
`lr_mult`, the rule then subtracts its update from w. As in Caffe, `diff` holds the
update afterwards.

Shapes: everything is 1-D, laid out like `net.flat`. Runs of neighbouring parameters
with equal multipliers are one piece of work, cut into blocks that fit a processor's
cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

from netspec.graph import Parameter
from netspec.ops.base import count
from netspec.room import enough_memory
from runtime.arena import Flat
from runtime.arrays import Array
from runtime.gradient_looks import looked_at
from runtime.primitives import Primitives

# Elements of gradients up to which all of them are looked at in every iteration, which
# takes less than a hundredth of it.
LARGE_NET, LARGE_ARRAY = 1 << 19, 1 << 14


@dataclass(frozen=True)
class Settings:
    """What the update rules read from a solver."""

    momentum: float = 0.0
    momentum2: float = 0.999
    rms_decay: float = 0.99
    delta: float = 1e-8
    weight_decay: float = 0.0
    regularization_type: str = "L2"
    clip_gradients: float = -1.0
    iter_size: int = 1


@dataclass(frozen=True)
class Block:
    """Views of the same stretch of all arrays, with the multipliers that hold there."""

    w: Array
    g: Array
    history: tuple[Array, ...]
    scratch: Array
    lr_mult: float
    decay: float


class FusedUpdate(Protocol):
    """An update rule as one piece of work."""

    def apply(self, rate: float, iteration: int, scale: float) -> None:
        """Take one step; the gradients are multiplied by `scale` first."""


class GuardedUpdate(FusedUpdate, Protocol):
    """One whose calls can be a part of another list, and look at numbers first."""

    @property
    def stopped(self) -> bool:
        """Whether the last calls of `guarded` found a number that is not plain."""

    def guarded(self, arrays: Sequence[Array]) -> list[Any]:
        """Return calls that take a step if all numbers of some arrays are plain.

        Plain is what is finite, and so small that no sum of squares is infinite either.
        """

    def prepare(self, rate: float, iteration: int, scale: float) -> None:
        """Say what holds when the calls of `guarded` run next; see `apply`."""


class WholeUpdate(FusedUpdate, Protocol):
    """A whole step on a device, from the gradients as the net leaves them.

    `apply` clips them as well, and takes as zero what nothing computes.
    """

    def finite(self) -> bool:
        """Say whether all gradients are finite; waits for the device."""

    def go_on_from(self, other: Any) -> None:
        """Take over what another step over the same net knows, of other settings."""


class Update:
    """A rule bound to the arrays of one net.

    `history` are arrays with the layout of the parameters, zeros at first; snapshots
    save them. `fused` takes the steps where it is given, in the place of `step`, and
    `whole`, where there is one, does all.
    """

    type: ClassVar[str]
    moments: ClassVar[int] = 1  # how many history arrays the rule keeps
    takes_momentum: ClassVar[bool] = True  # else the solver's `momentum` must be 0
    decays: ClassVar[tuple[str, ...]] = ()  # fields of the solver that are in [0, 1)

    def __init__(
        self,
        flat: Flat,
        parameters: Sequence[Parameter],
        settings: Settings,
        backend: Primitives,
    ) -> None:
        self.settings, self.flat = settings, flat
        self.xp, self._backend = backend.xp, backend
        self._gradient = flat.diff
        dtype = str(flat.data.dtype)
        with enough_memory(f"the history of solver type {self.type!r}"):
            self.history = tuple(
                backend.zeros(flat.data.shape, dtype) for _ in range(self.moments)
            )
        self.parameters = [p for p in parameters if p.index in flat.slices]
        # Nothing computes these gradients: whatever somebody wrote there is no part.
        self._unlearned = flat.diff[flat.unlearned :]
        self._norm = backend.zeros((), dtype)
        self.checked = [flat.diff]  # what is looked at in every iteration
        self.look_for({})
        self.fused: GuardedUpdate | None = None
        self.whole: WholeUpdate | None = None

    @cached_property
    def runs(self) -> list[tuple[int, int, float, float]]:
        """(start, stop, lr_mult, decay) of the stretches that are updated."""
        return _runs(self.parameters, self.flat, self.settings)

    @cached_property
    def blocks(self) -> list[Block]:
        """The stretches, cut into pieces that suit the backend."""
        flat, size = self.flat, self._backend.block_elements
        pieces = [
            (first, min(first + size, stop), lr_mult, decay)
            for start, stop, lr_mult, decay in self.runs
            for first in range(start, stop, size)
        ]
        longest = max((stop - start for start, stop, _, _ in pieces), default=0)
        scratch = self._backend.zeros((longest,), str(flat.data.dtype))
        return [
            Block(
                flat.data[start:stop],
                flat.diff[start:stop],
                tuple(array[start:stop] for array in self.history),
                scratch[: stop - start],
                lr_mult,
                decay,
            )
            for start, stop, lr_mult, decay in pieces
        ]

    def look_for(self, macs: Mapping[int, int]) -> None:
        """Choose what of a large net is looked at in every iteration.

        macs: the multiply-adds of one, forward, by parameter; none means few.
        """
        # A device reads all of its memory in the time that a few calls take.
        if self._backend.on_host and self.flat.diff.size > LARGE_NET:
            self.checked = looked_at(self.parameters, self.flat, macs, LARGE_ARRAY)

    def finite(self) -> bool:
        """Say whether all gradients are finite.

        Of a large net it reads as many as take a small part of an iteration: all where
        there are convolutions, which have many multiply-adds for a parameter. Of other
        large arrays it reads the first row and the first column: a value that is not
        finite, in what comes down to a layer or in what its products take in, spoils a
        row or a column.
        """
        if self.whole is not None:
            return self.whole.finite()
        self.clear()
        xp, total = self.xp, 0.0
        for g in self.checked:
            xp.dot(g, g, out=self._norm)
            total += float(self._norm)
        # The square of a number that is just large is infinite too.
        return math.isfinite(total) or bool(xp.isfinite(self._gradient).all())

    def apply(self, rate: float, iteration: int) -> None:
        """Take one step. `rate` is the learning rate of `iteration` (from 0)."""
        xp, settings = self.xp, self.settings
        if self.whole is not None:
            self.whole.apply(rate, iteration, 1 / settings.iter_size)
            return
        self.clear()
        scale = self._clip()
        if self.fused is not None:
            factor = 1.0 if scale is None else float(scale)
            self.fused.apply(rate, iteration, factor / settings.iter_size)
            return
        for block in self.blocks:
            g = block.g
            if scale is not None:
                xp.multiply(g, scale, out=g)
            if settings.iter_size != 1:
                xp.multiply(g, 1.0 / settings.iter_size, out=g)
            if block.decay != 0:
                self._add_decay(block)
            self.step(block, rate * block.lr_mult, iteration)
            xp.subtract(block.w, g, out=block.w)

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Turn the gradient in `block.g` into what is subtracted from `block.w`."""
        raise NotImplementedError

    def clear(self) -> None:
        """Set to zero what nothing computes."""
        if self._unlearned.size:
            self._unlearned.fill(0)

    def _clip(self) -> Array | None:
        """Return what to multiply gradients with, a number on the device, or None."""
        limit = self.settings.clip_gradients
        if limit < 0:
            return None
        xp, norm = self.xp, self._norm
        if limit == 0:
            norm.fill(0)
            return norm
        xp.dot(self._gradient, self._gradient, out=norm)
        xp.sqrt(norm, out=norm)
        xp.maximum(norm, limit, out=norm)
        xp.divide(limit, norm, out=norm)
        return norm

    def _add_decay(self, block: Block) -> None:
        xp, scratch = self.xp, block.scratch
        if self.settings.regularization_type == "L1":
            xp.sign(block.w, out=scratch)
            xp.multiply(scratch, block.decay, out=scratch)
        else:
            xp.multiply(block.w, block.decay, out=scratch)
        xp.add(block.g, scratch, out=block.g)

    def _average(self, h: Array, x: Array, decay: float, scratch: Array) -> None:
        """Compute h = decay * h + (1 - decay) * x; x and scratch may be the same."""
        self.xp.multiply(h, decay, out=h)
        self.xp.multiply(x, 1 - decay, out=scratch)
        self.xp.add(h, scratch, out=h)


class SGD(Update):
    """Gradient descent with momentum.

        h = momentum * h + rate * g;  w -= h

    The rate is inside the history, so that a changed rate acts on new gradients only.
    """

    type = "SGD"

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Compute the update."""
        xp, g, (h,) = self.xp, block.g, block.history
        xp.multiply(h, self.settings.momentum, out=h)
        xp.multiply(g, rate, out=g)
        xp.add(h, g, out=h)
        xp.copyto(g, h)


class Nesterov(Update):
    """Momentum that looks ahead.

        h' = momentum * h + rate * g;  w -= (1 + momentum) * h' - momentum * h

    Source: Y. Nesterov, 1983, in the form of I. Sutskever et al., ICML 2013.
    """

    type = "Nesterov"

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Compute the update."""
        xp, g, (h,), scratch = self.xp, block.g, block.history, block.scratch
        momentum = self.settings.momentum
        xp.multiply(h, momentum, out=scratch)
        xp.multiply(g, rate, out=g)
        xp.add(scratch, g, out=h)
        xp.multiply(h, 1 + momentum, out=g)
        xp.subtract(g, scratch, out=g)


class AdaGrad(Update):
    """Rates that fall with the squares seen so far.

        h = h + g^2;  w -= rate * g / (sqrt(h) + delta)

    Source: J. Duchi et al., JMLR 2011.
    """

    type = "AdaGrad"
    takes_momentum = False

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Compute the update."""
        xp, g, (h,), scratch = self.xp, block.g, block.history, block.scratch
        xp.multiply(g, g, out=scratch)
        xp.add(h, scratch, out=h)
        self._divide(block, rate)

    def _divide(self, block: Block, rate: float) -> None:
        xp, g, scratch = self.xp, block.g, block.scratch
        xp.sqrt(block.history[0], out=scratch)
        xp.add(scratch, self.settings.delta, out=scratch)
        xp.divide(g, scratch, out=g)
        xp.multiply(g, rate, out=g)


class RMSProp(AdaGrad):
    """AdaGrad with a memory that fades.

        h = rms_decay * h + (1 - rms_decay) * g^2;  w -= rate * g / (sqrt(h) + delta)

    Source: T. Tieleman and G. Hinton, lecture 6.5 of a course of 2012.
    """

    type = "RMSProp"
    decays = ("rms_decay",)

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Compute the update."""
        scratch = block.scratch
        self.xp.multiply(block.g, block.g, out=scratch)
        self._average(block.history[0], scratch, self.settings.rms_decay, scratch)
        self._divide(block, rate)


class AdaDelta(Update):
    """Steps in the unit of the parameters.

        h = momentum * h + (1 - momentum) * g^2
        u = g * sqrt((d + delta) / (h + delta))
        d = momentum * d + (1 - momentum) * u^2;  w -= rate * u

    The rate is applied last, so the history d is without it. Source: M. Zeiler, 2012.
    """

    type = "AdaDelta"
    moments = 2
    decays = ("momentum",)

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Compute the update."""
        xp, g, (h, d), scratch = self.xp, block.g, block.history, block.scratch
        momentum, delta = self.settings.momentum, self.settings.delta
        xp.multiply(g, g, out=scratch)
        self._average(h, scratch, momentum, scratch)
        # sqrt(a / b) as sqrt(a) / sqrt(b) needs no second scratch array.
        xp.add(d, delta, out=scratch)
        xp.sqrt(scratch, out=scratch)
        xp.multiply(g, scratch, out=g)
        xp.add(h, delta, out=scratch)
        xp.sqrt(scratch, out=scratch)
        xp.divide(g, scratch, out=g)
        xp.multiply(g, g, out=scratch)
        self._average(d, scratch, momentum, scratch)
        xp.multiply(g, rate, out=g)


class Adam(Update):
    """Averages of the gradient and of its square, corrected for their start at zero.

        m = momentum * m + (1 - momentum) * g
        v = momentum2 * v + (1 - momentum2) * g^2;  t = iteration + 1
        w -= rate * sqrt(1 - momentum2^t) / (1 - momentum^t) * m / (sqrt(v) + delta)

    Here `momentum` has Caffe's default 0, not the paper's 0.9. Source: D. Kingma and
    J. Ba, ICLR 2015.
    """

    type = "Adam"
    moments = 2
    decays = ("momentum", "momentum2")

    def step(self, block: Block, rate: float, iteration: int) -> None:
        """Compute the update."""
        xp, g, (m, v), scratch = self.xp, block.g, block.history, block.scratch
        beta1, beta2 = self.settings.momentum, self.settings.momentum2
        t = iteration + 1
        self._average(m, g, beta1, scratch)
        xp.multiply(g, g, out=scratch)
        self._average(v, scratch, beta2, scratch)
        xp.sqrt(v, out=scratch)
        xp.add(scratch, self.settings.delta, out=scratch)
        xp.divide(m, scratch, out=g)
        xp.multiply(g, rate * math.sqrt(1 - beta2**t) / (1 - beta1**t), out=g)


UPDATES: dict[str, type[Update]] = {
    rule.type: rule for rule in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam)
}


def _runs(
    parameters: Sequence[Parameter], flat: Flat, settings: Settings
) -> list[tuple[int, int, float, float]]:
    """Return (start, stop, lr_mult, decay) of neighbours with equal multipliers.

    Parameters with `lr_mult` 0 are left out: nothing would be subtracted from them. The
    gaps between parameters hold zeros; a zero updates to zero, unless `delta` is 0 and
    it is divided by itself.
    """
    runs: list[tuple[int, int, float, float]] = []
    before = -1
    # One without elements starts where another one does, and would join others over it.
    in_place = [one for one in parameters if count(one.shape)]
    in_place.sort(key=lambda one: flat.slices[one.index].start)
    for number, parameter in enumerate(in_place):
        if parameter.lr_mult == 0:
            continue
        place = flat.slices[parameter.index]
        decay = settings.weight_decay * parameter.decay_mult
        start, multipliers = place.start, (parameter.lr_mult, decay)
        touching = settings.delta > 0 or (runs and runs[-1][1] == start)
        equal = runs and runs[-1][2:] == multipliers
        if equal and touching and number == before + 1:
            start = runs.pop()[0]
        runs.append((start, place.stop, *multipliers))
        before = number
    return runs
