"""`lr_find`: which learning rate to begin with, found by trying all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from netspec.errors import SpecError, SpecWarning, UnsupportedError
from netspec.schema import SolverParameter
from runtime.data.feeding import Feed
from runtime.execution.kept_plans import PLANS
from runtime.execution.python_layers.code import Allow
from runtime.fitting.asked import Asked, Files
from runtime.fitting.data import Given, open_data
from runtime.fitting.inputs import inputs_of_net
from runtime.fitting.training import Length
from runtime.fitting.untouched import untouched
from runtime.html import line, output
from runtime.interrupts import held, stopped
from runtime.training.divergence import learns_nothing, warn, without_loss
from runtime.training.history import History
from runtime.training.passes import mean_gradients
from runtime.training.plots import new_figure
from runtime.training.rule import Rule
from runtime.training.scales import scale_of
from runtime.training.showing.chart import Line, chart
from runtime.training.solver import Solver
from runtime.training.solver_source import is_net

DIGITS = 2  # of a suggestion
SMALL_FALL = 0.02  # of the first loss: less is no fall
FEW = 10  # losses, from which nothing can be told
BY_CHANCE = 3.0  # times the noise: what means of losses differ by without any reason


@dataclass(frozen=True, repr=False)
class RateSearch:
    """The losses of a training whose rate grew with every iteration.

    rates, losses: of each iteration, in order. Shapes: (n).
    smoothed: the losses without their noise: means that fall off with the distance to
        both sides, so that they come neither early nor late.
    suggestion: the rate at which `smoothed` falls fastest over the logarithm of the
        rate, to two digits; None where it hardly falls at all.
    minimum: the rate at which `smoothed` is least; to train at a tenth of it is another
        rule of thumb.
    diverged: whether the loss grew so far that the search ended there.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float | None
    minimum: float
    diverged: bool

    def plot(self, *, log: bool | None = None) -> Any:
        """Return a `matplotlib.figure.Figure` of the losses over the rates.

        log: whether losses have a logarithmic axis, by default where they need one.

        Raises `MachineError` without matplotlib.
        """
        figure = new_figure((7, 4))
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, color="C0", alpha=0.35, linewidth=0.8)
        axes.plot(self.rates, self.smoothed, color="C0", label="loss")
        if self.suggestion is not None:
            label = f"suggestion {self.suggestion:g}"
            axes.axvline(self.suggestion, color="C1", linestyle="--", label=label)
        axes.set_xscale("log")
        seen = self._before_end()
        logarithmic = scale_of(self.smoothed)[0] if log is None else log
        if logarithmic and self.losses.min() > 0:
            axes.set_yscale("log")
        else:
            room = 0.1 * float(np.ptp(seen)) or 1.0
            axes.set_ylim(float(seen.min()) - room, float(seen.max()) + room)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.grid(alpha=0.3)
        axes.legend()
        return figure

    def __repr__(self) -> str:
        return f"<RateSearch: {self._told()}>"

    def _repr_html_(self) -> str:
        x, top = np.log10(self.rates), self._before_end().max()
        values = (self.losses, self.smoothed)
        raw, means = (np.where(one <= top, one, np.nan) for one in values)
        lines = [Line("", x, raw, faint=True), Line("loss", x, means)]
        drawn = chart(lines, x_name="logarithm of the learning rate")
        return output(line(self._told()), drawn)

    def _told(self) -> str:
        first, last = float(self.rates[0]), float(self.rates[-1])
        parts = [f"{len(self.rates)} rates from {first:.3g} to {last:.3g}"]
        if self.suggestion is None:
            parts.append("no suggestion, as the loss hardly falls")
        else:
            parts.append(f"suggestion {self.suggestion:g}")
            parts.append(f"least loss at {self.minimum:.2g}")
        if self.diverged:
            parts.append(f"diverged at {last:.2g}")
        return ", ".join(parts)

    def _before_end(self) -> np.ndarray:
        """Return the smoothed losses without the end, where they grow."""
        finite = self.smoothed[np.isfinite(self.smoothed)]
        top = finite[: int(np.argmin(finite)) + 1].max()
        return finite[finite <= 2 * top] if top > 0 else finite


def lr_find(
    net: Any,
    data: Any = None,
    *,
    start: float = 1e-6,
    end: float = 1.0,
    iterations: int = 100,
    diverge: float = 4.0,
    smooth: float = 0.05,
    solver: Any = None,
    batch_size: int | None = None,
    shuffle: bool = True,
    transform: Any = None,
    weights: Any = None,
    seed: int | None = None,
    backend: str = "numpy",
    kernels: str = "own",
    graphs: bool = True,
    precision: str = "float32",
    allow_python: Allow = (),
    plans: int = PLANS,
) -> RateSearch:
    """Train at ever larger rates, look at the losses, and leave everything as it was.

        rate_i = start (end / start)^(i / (iterations - 1))

        found = runtime.lr_find(n, (x, y), batch_size=64)
        runtime.fit(n, (x, y), solver=dict(base_lr=found.suggestion))

    Args:
        net: as of `fit`. A `Solver` or a `History` is tried with its own data, from
            where it is in them, with its parameters, and is the same afterwards, bit
            for bit: parameters, running values, iteration, place in the data, history.
        data: what fills the Input layers, as of `fit`; of a solver only where its net
            has no data of its own. Of an iterable that can be read once, batches are
            used up.
        start, end: the first and the last rate. iterations: how many there are.
        diverge: ends the search once the loss is so many times the least one.
        smooth: the width of the mean, as a part of `iterations`.
        solver: type, momentum, weight_decay and so on; rates and their policy do not
            count.
        batch_size, shuffle, transform, weights, seed, backend, kernels, graphs,
            precision, allow_python, plans: as of `fit`.

    Callbacks are not called, and running values such as the momentum begin at 0.

    Raises `SpecError` for rates that cannot be, for a loss that is not a number at the
    first rate, and what `fit` raises.

    Source: Smith, Cyclical learning rates for training neural networks,
    arXiv:1506.01186, section 3.3; to look for the steepest fall is of others.
    """
    _check(start, end, iterations, diverge, smooth)
    steps = np.arange(iterations) / (iterations - 1)
    rates = start * (end / start) ** steps
    with ExitStack() as stack:
        if isinstance(net, History | Solver):
            made = {"solver": solver, "weights": weights, "seed": seed}
            found = _there(net, made)
            _feed_for_now(stack, found, data, batch_size, shuffle, transform)
        else:
            if isinstance(solver, Mapping) and is_net(net):
                solver = {"base_lr": start, **solver}  # one must be given; not used
            how: dict[str, Any] = {"backend": backend, "kernels": kernels}
            how |= {"graphs": graphs, "precision": precision, "plans": plans}
            how |= {"allow_python": allow_python, "keep": ()}
            given = Given(data, None, batch_size, shuffle, transform)
            given.check()
            length = Length(max_iter=iterations)
            files = Files(weights)
            files.check()
            training = Asked(net, solver, given, length, files, seed).begin(how)
            found = training.solver
            training.let_go()
            stack.callback(found.close)
        losses, diverged = _losses(found, rates, diverge)
    return _result(rates[: len(losses)], np.array(losses), diverged, smooth, iterations)


def _check(
    start: float, end: float, iterations: int, diverge: float, smooth: float
) -> None:
    given: dict[str, Any] = {"start": start, "end": end, "iterations": iterations}
    given |= {"diverge": diverge, "smooth": smooth}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise SpecError(f"{name} is {value!r:.60}; expected a number")
    if not 0 < start < end < float("inf"):
        raise SpecError(
            f"lr_find goes from start to a larger end, both above 0; got start={start} "
            f"and end={end}"
        )
    if iterations < 5 or int(iterations) != iterations:
        raise SpecError(f"iterations must be at least 5, got {iterations!r}")
    if not diverge > 1:
        raise SpecError(f"diverge must be above 1, got {diverge!r}")
    if not 0 <= smooth < 1:
        raise SpecError(f"smooth must be from 0 to below 1, got {smooth!r}")


def _there(one: History | Solver, made: dict[str, Any]) -> Solver:
    for name, value in made.items():
        if value is not None:
            raise SpecError(
                f"{name} is given, but the solver is there already; leave it out"
            )
    if isinstance(one, Solver):
        return one
    if one.solver is None:
        raise SpecError("this history has no solver; give the net, or a solver")
    found: Solver = one.solver
    return found


def _feed_for_now(
    stack: ExitStack,
    solver: Solver,
    data: Any,
    batch_size: int | None,
    shuffle: bool,
    transform: Any,
) -> None:
    """Feed a net that has no data of its own, until the stack ends."""
    if data is None:
        return
    net = solver.net
    if net.its_feed is not None:
        raise SpecError(
            "data are given, but the solver is fed already; leave them out, or give "
            "the net instead of the solver"
        )
    given = Given(data, None, batch_size, shuffle, transform)
    opened = open_data(given, inputs_of_net(net), None, solver.seed)
    if opened.train is not None:
        feed = Feed(opened.train, net.fed_layers(opened.train.names), always=False)
        net.begin_feed(feed)
        stack.callback(net.end_feed)


def _losses(solver: Solver, rates: Iterable[float], diverge: float) -> Any:
    """Train at these rates; return the losses, and whether the last was too high."""
    net, param = solver.net, SolverParameter()
    if learns_nothing(net):
        raise without_loss(net)
    if solver.communicator is not None:
        raise UnsupportedError(
            "lr_find runs in one process, and this solver trains on several; find the "
            "rate with a solver without communicator, whose iter_size is as many times "
            "larger"
        )
    param.CopyFrom(solver.param)
    # The rates are given, whatever the policy says.
    param.lr_policy = "fixed"
    for field in ("momentum_policy", "warmup_iter", "rampup_interval", "min_lr"):
        param.ClearField(field)
    losses: list[float] = []
    with held() as signals, untouched(net):
        rule, size = Rule(param, net), param.iter_size
        for number, rate in enumerate(rates):
            at = solver.iter + number
            with np.errstate(all="ignore"):
                loss = mean_gradients(net, at * size, size)
                least = min(losses, default=loss)
                too_high = not np.isfinite(loss) or _far(loss, losses, least, diverge)
                if too_high and losses:
                    if np.isfinite(loss):
                        losses.append(loss)
                    return losses, True
                if not np.isfinite(loss):
                    raise SpecError(
                        f"the loss is {loss:g} at the first rate, {rate:g}; look at "
                        f"the data and the weights"
                    )
                losses.append(loss)
                if not rule.update.finite():
                    return losses, True
                rule.apply(float(rate), at, loss)
            if signals.stops():
                break
    if signals.interrupted:
        raise stopped("lr_find was stopped; the net is as it was")
    return losses, False


def _far(loss: float, losses: list[float], least: float, diverge: float) -> bool:
    """Say whether a loss is far above the least one, by what losses vary at first."""
    if len(losses) < 5:
        return False
    spread = float(np.std(losses[:5])) * 6
    return (
        loss > max(diverge * least, least + spread)
        if least > 0
        else (loss > losses[0] + diverge * max(abs(losses[0] - least), spread))
    )


def _result(
    rates: np.ndarray,
    losses: np.ndarray,
    diverged: bool,
    smooth: float,
    iterations: int,
) -> RateSearch:
    width = smooth * iterations
    smoothed = _smoothed(losses, width)
    least = int(np.argmin(smoothed))
    slopes = np.gradient(smoothed, np.log(rates)) if len(rates) > 1 else np.zeros(1)
    steepest = int(np.argmin(slopes[: least + 1]))
    # Rates of the first fifth are too small for anything to happen.
    fall = float(np.median(losses[: max(3, len(losses) // 5)]) - smoothed[least])
    # The noise from batch to batch, as far as the means still have it.
    jumps = np.abs(np.diff(losses[: least + 1]))
    noise = float(np.median(jumps)) if jumps.size else 0.0
    noise /= np.sqrt(max(1.0, 2 * width))
    suggestion = None
    if slopes[steepest] < 0 and fall > max(
        SMALL_FALL * abs(smoothed[0]), BY_CHANCE * noise
    ):
        suggestion = float(f"{rates[steepest]:.{DIGITS}g}")
    elif diverged and len(losses) < FEW:
        warn(
            f"lr_find: the loss diverges at {rates[-1]:.2g} already, so that there is "
            f"no suggestion; begin with a smaller start",
            SpecWarning,
        )
    else:
        warn(
            f"lr_find: the loss hardly falls between {rates[0]:.2g} and "
            f"{rates[-1]:.2g}, so that there is no suggestion; try larger rates or "
            f"more iterations, or look at the data",
            SpecWarning,
        )
    minimum = float(rates[least])
    return RateSearch(rates, losses, smoothed, suggestion, minimum, diverged)


def _smoothed(losses: np.ndarray, width: float) -> np.ndarray:
    """Return means with weights that fall off by e within `width` to both sides."""
    if not width:
        return losses.copy()
    places = np.arange(len(losses))
    weights = np.exp(-np.abs(places[:, None] - places) / width)
    means: np.ndarray = weights @ losses / weights.sum(axis=1)
    return means
