"""Rates and momenta that follow a cosine: annealing with restarts, and one cycle."""

from __future__ import annotations

import math
from typing import NamedTuple


def cosine(base_lr: float, min_lr: float, iteration: float, length: float) -> float:
    """Return min_lr + (base_lr - min_lr) (1 + cos(pi iteration / length)) / 2.

    It stays at min_lr after `length`.
    """
    return base_lr - (base_lr - min_lr) * _eased(iteration / length)


def since_restart(iteration: int, first: int, mult: float) -> tuple[float, float]:
    """Return how far into its cycle an iteration is, and the length of that cycle.

    first: length of the first one (T_0). mult: of each in the length of the one before
    (T_mult).

    Source: I. Loshchilov and F. Hutter, SGDR, arXiv:1608.03983.
    """
    if mult == 1:
        return float(iteration % first), float(first)
    done, length = float(iteration), float(first)
    while done >= length:
        done, length = done - length, length * mult
    return done, length


class Place(NamedTuple):
    """Where in one cycle an iteration is: how far up, or how far down, from 0 to 1."""

    up: bool
    share: float


def place_in_cycle(iteration: int, max_iter: int, pct_start: float) -> Place:
    """Return where in one cycle an iteration is, eased by half a cosine.

    The top is pct_start max_iter iterations from the beginning, counted with the first,
    and the end is at the last iteration.
    """
    top = max(0.0, pct_start * max_iter - 1)
    if iteration <= top:
        return Place(True, _eased(iteration / top if top > 0 else 1.0))
    rest = max_iter - 1 - top
    return Place(False, _eased((iteration - top) / rest if rest > 0 else 1.0))


def one_cycle(
    base_lr: float, div_factor: float, final_div_factor: float, place: Place
) -> float:
    """Return the rate at a place in one cycle.

        up:   low + (base_lr - low) share,  low = base_lr / div_factor
        down: base_lr + (end - base_lr) share,  end = low / final_div_factor

    Source: L. Smith and N. Topin, arXiv:1708.07120, with cosines in the place of their
    lines, as fastai and PyTorch have it.
    """
    low = base_lr / div_factor
    start, end = (low, base_lr) if place.up else (base_lr, low / final_div_factor)
    return start + (end - start) * place.share


def mirrored(momentum: float, max_momentum: float, place: Place) -> float:
    """Return the momentum that falls where the rate grows, and grows where it falls.

    It is max_momentum at both ends of the cycle and `momentum` at the top.
    """
    share = place.share if place.up else 1 - place.share
    return max_momentum + (momentum - max_momentum) * share


def _eased(share: float) -> float:
    """Return (1 - cos(pi share)) / 2, and 1 from 1 on."""
    return 0.5 * (1 - math.cos(math.pi * min(1.0, share)))
