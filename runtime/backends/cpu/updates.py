"""The update rules, each one pass over parameters, gradients and history.

`runtime.update_rules` has the formulas; a rule that is not here runs as written there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from runtime.backends.cpu.layers.elementwise import start_of
from runtime.backends.cpu.looking import looks
from runtime.backends.cpu.machine.compiled import (
    Call,
    CompiledKernel,
    carray,
    helper,
    kernel,
)
from runtime.backends.cpu.machine.parts import exact
from runtime.backends.cpu.machine.roots import quotient
from runtime.backends.cpu.machine.simd import f32, i64
from runtime.backends.cpu.machine.sizes import few
from runtime.update_rules import Block, Settings

ARRAYS = "w g h h2 count l1 stop"
NUMBERS = "scale decay rate momentum momentum2 delta"
ONE: Any = np.float32(1)


@helper
def _gradient(a: Any, w: Any, g: Any) -> Any:
    """Return the scaled gradient with the penalty of its weight."""
    penalty = w
    if a.l1 != 0:
        penalty = ONE if w > 0 else (-ONE if w < 0 else w)
    return g * np.float32(a.scale) + np.float32(a.decay) * penalty


@exact
def _average(fade: Any, before: Any, value: Any) -> Any:
    """Return an average that fades; as written, as infinity must not be subtracted."""
    return fade * before + (ONE - fade) * value


@kernel(ARRAYS, NUMBERS)
def sgd(record: Any, part: int, parts: int) -> None:
    """H = momentum h + rate g."""
    a = carray(record, 1)[0]
    if i64(a.stop)[0] != 0:
        return
    w, g, h = f32(a.w), f32(a.g), f32(a.h)
    rate, momentum = np.float32(a.rate), np.float32(a.momentum)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        step = momentum * h[i] + rate * _gradient(a, w[i], g[i])
        h[i] = step
        g[i] = step
        w[i] -= step


@kernel(ARRAYS, NUMBERS)
def nesterov(record: Any, part: int, parts: int) -> None:
    """Like sgd, but the step is (1 + momentum) h - momentum (h before)."""
    a = carray(record, 1)[0]
    if i64(a.stop)[0] != 0:
        return
    w, g, h = f32(a.w), f32(a.g), f32(a.h)
    rate, momentum = np.float32(a.rate), np.float32(a.momentum)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        before = momentum * h[i]
        after = before + rate * _gradient(a, w[i], g[i])
        step = (ONE + momentum) * after - before
        h[i] = after
        g[i] = step
        w[i] -= step


@kernel(ARRAYS, NUMBERS)
def adagrad(record: Any, part: int, parts: int) -> None:
    """H = h + g^2; the step is rate g / (sqrt(h) + delta)."""
    a = carray(record, 1)[0]
    if i64(a.stop)[0] != 0:
        return
    w, g, h = f32(a.w), f32(a.g), f32(a.h)
    rate, delta = np.float32(a.rate), np.float32(a.delta)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        value = _gradient(a, w[i], g[i])
        h[i] += value * value
        step = rate * quotient(value, np.sqrt(h[i]) + delta)
        g[i] = step
        w[i] -= step


@kernel(ARRAYS, NUMBERS)
def rmsprop(record: Any, part: int, parts: int) -> None:
    """H = momentum h + (1 - momentum) g^2; momentum is `rms_decay` here."""
    a = carray(record, 1)[0]
    if i64(a.stop)[0] != 0:
        return
    w, g, h = f32(a.w), f32(a.g), f32(a.h)
    rate, delta = np.float32(a.rate), np.float32(a.delta)
    fade = np.float32(a.momentum)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        value = _gradient(a, w[i], g[i])
        h[i] = _average(fade, h[i], value * value)
        step = rate * quotient(value, np.sqrt(h[i]) + delta)
        g[i] = step
        w[i] -= step


@kernel(ARRAYS, NUMBERS)
def adadelta(record: Any, part: int, parts: int) -> None:
    """H and h2 are the fading squares of the gradients and of the steps."""
    a = carray(record, 1)[0]
    if i64(a.stop)[0] != 0:
        return
    w, g, h, h2 = f32(a.w), f32(a.g), f32(a.h), f32(a.h2)
    rate, delta = np.float32(a.rate), np.float32(a.delta)
    fade = np.float32(a.momentum)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        value = _gradient(a, w[i], g[i])
        h[i] = _average(fade, h[i], value * value)
        step = quotient(value * np.sqrt(h2[i] + delta), np.sqrt(h[i] + delta))
        h2[i] = _average(fade, h2[i], step * step)
        g[i] = rate * step
        w[i] -= rate * step


@kernel(ARRAYS, NUMBERS)
def adam(record: Any, part: int, parts: int) -> None:
    """H and h2 are the averages; `rate` has the correction for their start."""
    a = carray(record, 1)[0]
    if i64(a.stop)[0] != 0:
        return
    w, g, h, h2 = f32(a.w), f32(a.g), f32(a.h), f32(a.h2)
    rate, delta = np.float32(a.rate), np.float32(a.delta)
    beta1, beta2 = np.float32(a.momentum), np.float32(a.momentum2)
    for i in range(start_of(part, parts, a.count), start_of(part + 1, parts, a.count)):
        value = _gradient(a, w[i], g[i])
        h[i] = _average(beta1, h[i], value)
        h2[i] = _average(beta2, h2[i], value * value)
        step = rate * quotient(h[i], np.sqrt(h2[i]) + delta)
        g[i] = step
        w[i] -= step


RULES: Mapping[str, CompiledKernel] = {
    "SGD": sgd,
    "Nesterov": nesterov,
    "AdaGrad": adagrad,
    "RMSProp": rmsprop,
    "AdaDelta": adadelta,
    "Adam": adam,
}


class FusedUpdate:
    """An update rule over stretches of parameters, as one list of calls."""

    def __init__(
        self,
        rule: str,
        blocks: Sequence[Block],
        settings: Settings,
        runner: Callable[[Sequence[Call]], Callable[[], None]],
    ) -> None:
        self._rule, self._settings = rule, settings
        self._stop = np.zeros(1, np.int64)  # if not 0 there is no step
        self._stops = self._stop.data  # the same; read without an array
        momentum = settings.rms_decay if rule == "RMSProp" else settings.momentum
        self.calls = [
            RULES[rule](
                w=block.w,
                g=block.g,
                h=block.history[0],
                h2=block.history[-1],
                count=block.w.size,
                l1=settings.regularization_type == "L1",
                stop=self._stop,
                scale=1,
                decay=block.decay,
                rate=0,
                momentum=momentum,
                momentum2=settings.momentum2,
                delta=settings.delta,
                serial=few(block.w.size),
            )
            for block in blocks
        ]
        # In one piece, as each call would take a while to be told of a rate.
        none = np.zeros(0, RULES[rule].fields)
        self._records = np.concatenate([none, *(call.record for call in self.calls)])
        self.calls = [
            replace(call, record=self._records[index : index + 1])
            for index, call in enumerate(self.calls)
        ]
        self._multipliers = np.array([block.lr_mult for block in blocks])
        self._run = runner(self.calls)
        self._told: tuple[float, float] | None = None  # the rate and scale in them

    def apply(self, rate: float, iteration: int, scale: float) -> None:
        """Take one step; the gradients are multiplied by `scale` first."""
        self.prepare(rate, iteration, scale)
        self._run()

    @property
    def stopped(self) -> bool:
        """Whether the last calls of `guarded` found a number that is not plain."""
        return self._stops[0] != 0

    def guarded(self, arrays: Sequence[np.ndarray]) -> list[Call]:
        """Return calls that take a step if all numbers of some arrays are plain."""
        return [*looks(arrays, self._stop), *self.calls]

    def prepare(self, rate: float, iteration: int, scale: float) -> None:
        """Say what holds for the next step, and that there is nothing to stop it."""
        self._stops[0] = 0
        if self._rule == "Adam":
            t = iteration + 1
            beta1, beta2 = self._settings.momentum, self._settings.momentum2
            rate *= math.sqrt(1 - beta2**t) / (1 - beta1**t)
        if (rate, scale) != self._told:
            self._records["scale"] = scale
            self._records["rate"] = rate * self._multipliers
            self._told = rate, scale
