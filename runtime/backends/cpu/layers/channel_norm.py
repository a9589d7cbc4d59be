"""The kernels of BatchNorm by statistics of the batch, with a factor, bias and ReLU.

x is read once for its statistics and once for y. It is kept for the gradient, which
computes what was normalized again: that costs less than writing and reading it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.backends.cpu.machine.compiled import carray, helper, kernel
from runtime.backends.cpu.machine.llvm import LANES, VECTOR_BYTES
from runtime.backends.cpu.machine.prefetching import prefetch_second
from runtime.backends.cpu.machine.roots import inverse_root
from runtime.backends.cpu.machine.simd import copy, f32
from runtime.backends.cpu.machine.vectors import (
    at_least,
    passing,
    spread,
    vadd,
    vfma,
    vload,
    vload_first,
    vmul,
    vstore,
    vstore_first,
    vstream,
    vsub,
    vsum,
)

ZERO: Any = np.float32(0)
ONE: Any = np.float32(1)
CHUNK = 4096  # floats whose sums are taken at once: half a first-level cache
PAIR = 2 * LANES
LARGE = 1e38  # what a pivot may not reach
INFINITE = float("inf")
AHEAD_BYTES = 1 << 14  # of x, the least that are asked for ahead of their use
SMALL_PLANE = 1024  # floats; larger planes are streams that the processor sees itself


@helper
def _ahead(images: int, pixels: int) -> int:
    """Return how many bytes ahead a plane is asked for: those of some channels."""
    if pixels > SMALL_PLANE:
        return 0
    return int(4 * pixels * (1 + AHEAD_BYTES // (4 * images * pixels)))


@helper
def _sums(x: int, rows: int, step: int, length: int, pivot: Any) -> Any:
    """Return the sums of x - pivot and of its squares.

    Args:
        x: address of the first row.
        rows: how many rows.
        step: bytes from one row to the next.
        length: floats of a row.
        pivot: a float, near the mean so that no digits are lost.
    """
    center, none = spread(pivot), spread(ZERO)
    sum1, sum2, squares1, squares2 = none, none, none, none
    whole = length - length % PAIR
    for row in range(rows):
        at = x + row * step
        for i in range(0, whole, PAIR):
            one = vsub(vload(at + 4 * i), center)
            two = vsub(vload(at + 4 * i + VECTOR_BYTES), center)
            sum1, squares1 = vadd(sum1, one), vfma(one, one, squares1)
            sum2, squares2 = vadd(sum2, two), vfma(two, two, squares2)
        for i in range(whole, length, LANES):
            one = vsub(vload_first(at + 4 * i, length - i, center), center)
            sum1, squares1 = vadd(sum1, one), vfma(one, one, squares1)
    return vsum(vadd(sum1, sum2)), vsum(vadd(squares1, squares2))


@helper
def statistics(x: int, images: int, step: int, pixels: int) -> Any:
    """Return mean and variance of a channel, in double precision.

    Chunks that stay in the first-level cache are summed around a pivot, the mean of
    those before, and joined by the formula of Chan, Golub and LeVeque. A chunk that is
    far from its pivot, compared with its own deviation, is summed again around its own
    mean: at most three quarters of its squares are due to the pivot.

    Args:
        x: address of the first plane of the channel.
        images: planes of the channel.
        step: bytes from one plane to the next.
        pixels: floats of a plane.
    """
    total, squares, count = 0.0, 0.0, 0
    together = max(1, CHUNK // pixels)
    for n in range(0, images, together):
        rows = min(together, images - n)
        for i in range(0, pixels, CHUNK):
            length = min(CHUNK, pixels - i)
            new = rows * length
            start = x + n * step + 4 * i
            mean = total / max(1, count)
            pivot = np.float32(mean) if abs(mean) < LARGE else ZERO
            first, second = _sums(start, rows, step, length, pivot)
            shift, spread_out = first / new, np.float64(second)
            far = shift * shift * new > 0.75 * spread_out or spread_out == INFINITE
            if far and abs(shift) < LARGE:
                pivot = np.float32(pivot + shift)
                first, second = _sums(start, rows, step, length, pivot)
                shift, spread_out = first / new, np.float64(second)
            squares += spread_out - shift * shift * new
            if count > 0:
                delta = (pivot - mean) + shift
                squares += delta * delta * (count * (new / (count + new)))
            total += pivot * np.float64(new) + first
            count += new
    variance = squares / count
    return total / count, 0.0 if variance < 0 else variance


@helper
def finish(
    x: int,
    y: int,
    added: int,
    images: int,
    step: int,
    pixels: int,
    line: Any,
    floor: Any,
) -> None:
    """Compute y = max(floor, (x - mean) factor + bias + added) of a channel.

    line: mean, factor and bias. added: 0 for zeros.
    """
    mean, factor, bias = spread(line[0]), spread(line[1]), spread(line[2])
    low, ahead = spread(floor), _ahead(images, pixels)
    whole = pixels - pixels % LANES
    for n in range(images):
        at, to = x + n * step, y + n * step
        for i in range(0, whole, LANES):
            if ahead != 0:
                prefetch_second(at + 4 * i + ahead)
            value = vfma(vsub(vload(at + 4 * i), mean), factor, bias)
            if added != 0:
                value = vadd(value, vload(added + n * step + 4 * i))
            vstore(at_least(value, low), to + 4 * i)
        if whole < pixels:
            prefetch_second(at + 4 * whole + ahead)
            rest = vload_first(at + 4 * whole, pixels - whole, mean)
            value = vfma(vsub(rest, mean), factor, bias)
            if added != 0:
                there = added + n * step + 4 * whole
                value = vadd(value, vload_first(there, pixels - whole, mean))
            vstore_first(at_least(value, low), to + 4 * whole, pixels - whole)


@helper
def _finish_streamed(
    x: int,
    y: int,
    added: int,
    images: int,
    step: int,
    pixels: int,
    line: Any,
    floor: Any,
) -> None:
    """Do what `finish` does past the caches; planes of y are whole vectors."""
    mean, factor, bias = spread(line[0]), spread(line[1]), spread(line[2])
    low, ahead = spread(floor), _ahead(images, pixels)
    for n in range(images):
        at, to = x + n * step, y + n * step
        for i in range(0, pixels, LANES):
            if ahead != 0:
                prefetch_second(at + 4 * i + ahead)
            value = vfma(vsub(vload(at + 4 * i), mean), factor, bias)
            if added != 0:
                value = vadd(value, vload(added + n * step + 4 * i))
            vstream(at_least(value, low), to + 4 * i)


@kernel(
    "x y added kept mean inverse means variances weight gamma beta "
    "images channels pixels streamed",
    "eps fraction share correction floor",
)
def normalize(record: Any, part: int, parts: int) -> None:
    """Normalize every channel by its own statistics, and update the remembered ones.

    normal = (x - mean) / sqrt(var + eps)
    y = max(floor, normal gamma + beta + added)

    Fields:
        x, y: (images, channels, pixels); y may be x.
        added: (images, channels, pixels), or 0 for zeros; y may be added.
        kept: (images, channels, pixels), gets x for the gradient, or 0 where it is not
            wanted, or x is there until then.
        mean, inverse: (channels,), get the mean and 1 / sqrt(var + eps).
        means, variances, weight: (channels,), (channels,) and (1,), the remembered
            sums, or 0 where there are none; weight alone may be 0.
        gamma, beta: (channels,), or 0 for ones and zeros.
        streamed: 1 where y is written past the caches; its planes are whole vectors.
        fraction: of the remembered sums that stays.
        share: of what is measured that is added to them.
        correction: of the variance, so that it is without bias.
        floor: -inf for none.
    """
    a = carray(record, 1)[0]
    floor, fraction = np.float32(a.floor), np.float32(a.fraction)
    share = np.float32(a.share)
    means, variances = f32(a.means), f32(a.variances)
    step = 4 * a.channels * a.pixels
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at = 4 * c * a.pixels
        measured, spread_out = statistics(a.x + at, a.images, step, a.pixels)
        mean, variance = np.float32(measured), np.float32(spread_out)
        inverse = inverse_root(variance + np.float32(a.eps))
        f32(a.mean)[c] = mean
        f32(a.inverse)[c] = inverse
        if a.means != 0:
            means[c] = means[c] * fraction + mean * share
            variance *= np.float32(a.correction)
            variances[c] = variances[c] * fraction + variance * share
        factor = inverse * f32(a.gamma)[c] if a.gamma != 0 else inverse
        bias = f32(a.beta)[c] if a.beta != 0 else ZERO
        if a.kept != 0:
            for n in range(a.images):
                copy(a.kept + at + n * step, a.x + at + n * step, a.pixels)
        line = (mean, factor, bias)
        x, y, added = a.x + at, a.y + at, a.added + at if a.added != 0 else 0
        if a.streamed != 0:
            _finish_streamed(x, y, added, a.images, step, a.pixels, line, floor)
        else:
            finish(x, y, added, a.images, step, a.pixels, line, floor)
    if part == 0 and a.weight != 0:
        f32(a.weight)[0] = f32(a.weight)[0] * fraction + ONE


@helper
def gradient_sums(
    dy: int, x: int, rows: int, step: int, length: int, line: Any, always: int
) -> Any:
    """Return the sums of dy and of dy (x - mean) where dy passes the ReLU.

    Args:
        dy: address of the first row.
        x: that of the first row of x.
        rows: how many rows.
        step: bytes from one row to the next.
        length: floats of a row.
        line: mean, factor and bias; dy passes where (x - mean) factor + bias > 0.
        always: 1 where all of it passes.
    """
    mean, factor, bias = spread(line[0]), spread(line[1]), spread(line[2])
    none = spread(ZERO)
    sums, products = none, none
    for row in range(rows):
        at, to = x + row * step, dy + row * step
        whole = length - length % LANES
        for i in range(0, whole, LANES):
            apart = vsub(vload(at + 4 * i), mean)
            value = vload(to + 4 * i)
            value = passing(value, vfma(apart, factor, bias), always)
            sums, products = vadd(sums, value), vfma(value, apart, products)
        if whole < length:
            left = length - whole
            apart = vsub(vload_first(at + 4 * whole, left, mean), mean)
            value = vload_first(to + 4 * whole, left, none)
            value = passing(value, vfma(apart, factor, bias), always)
            sums, products = vadd(sums, value), vfma(value, apart, products)
    return vsum(sums), vsum(products)


@helper
def derive(
    dy: int,
    x: int,
    dx: int,
    images: int,
    step: int,
    pixels: int,
    line: Any,
    always: int,
    terms: Any,
) -> None:
    """Compute dx = scale dy + slope (x - mean) + shift; terms: the three of them.

    dy counts where it passes the ReLU, see `gradient_sums`.
    """
    mean, factor, bias = spread(line[0]), spread(line[1]), spread(line[2])
    scale, slope, shift = spread(terms[0]), spread(terms[1]), spread(terms[2])
    whole, ahead = pixels - pixels % LANES, _ahead(2 * images, pixels)
    for n in range(images):
        at, by, to = x + n * step, dy + n * step, dx + n * step
        for i in range(0, whole, LANES):
            if ahead != 0:
                prefetch_second(at + 4 * i + ahead)
                prefetch_second(by + 4 * i + ahead)
            apart = vsub(vload(at + 4 * i), mean)
            value = vload(by + 4 * i)
            value = passing(value, vfma(apart, factor, bias), always)
            vstore(vfma(scale, value, vfma(slope, apart, shift)), to + 4 * i)
        if whole < pixels:
            prefetch_second(at + 4 * whole + ahead)
            prefetch_second(by + 4 * whole + ahead)
            left = pixels - whole
            apart = vsub(vload_first(at + 4 * whole, left, mean), mean)
            value = vload_first(by + 4 * whole, left, mean)
            value = passing(value, vfma(apart, factor, bias), always)
            value = vfma(scale, value, vfma(slope, apart, shift))
            vstore_first(value, to + 4 * whole, left)


@helper
def _pass_on(
    dy: int,
    x: int,
    images: int,
    step: int,
    pixels: int,
    line: Any,
    always: int,
    gamma: Any,
) -> None:
    """Let dy be what of it passes the ReLU, see `gradient_sums`, times gamma."""
    mean, factor, bias = spread(line[0]), spread(line[1]), spread(line[2])
    times = spread(gamma)
    for n in range(images):
        at, to = x + n * step, dy + n * step
        for i in range(0, pixels, LANES):
            left = min(LANES, pixels - i)
            apart = vsub(vload_first(at + 4 * i, left, mean), mean)
            value = vload_first(to + 4 * i, left, mean)
            value = passing(value, vfma(apart, factor, bias), always)
            vstore_first(vmul(value, times), to + 4 * i, left)


@kernel(
    "dy x dx mean inverse gamma beta dgamma dbeta images channels pixels rectified "
    "accumulate_gamma accumulate_beta leave"
)
def normalize_gradient(record: Any, part: int, parts: int) -> None:
    """Compute the gradients of `normalize`.

    Fields:
        dy, x: (images, channels, pixels).
        dx: (images, channels, pixels), or 0 where it is not wanted; it may be dy.
        mean, inverse: (channels,), the mean and 1 / sqrt(var + eps).
        gamma, beta: (channels,), or 0 for ones and zeros.
        dgamma, dbeta: (channels,), or 0 where they are not wanted.
        rectified: 1 where y is 0 if normal gamma + beta is not positive.
        accumulate_gamma, accumulate_beta: 1 where dgamma, dbeta are added to.
        leave: what dy becomes: 0 for nothing else, 1 what of it passes the ReLU, 2 that
            times gamma, which is the gradient of what was normalized.
    """
    a = carray(record, 1)[0]
    step, values = 4 * a.channels * a.pixels, a.images * a.pixels
    always = 1 - a.rectified
    together = max(1, CHUNK // a.pixels)
    for c in range(a.channels * part // parts, a.channels * (part + 1) // parts):
        at = 4 * c * a.pixels
        mean, inverse = f32(a.mean)[c], f32(a.inverse)[c]
        gamma = f32(a.gamma)[c] if a.gamma != 0 else ONE
        factor = inverse * gamma
        bias = f32(a.beta)[c] if a.beta != 0 else ZERO
        line = (mean, factor, bias)
        total, product = 0.0, 0.0
        for n in range(0, a.images, together):
            rows = min(together, a.images - n)
            for i in range(0, a.pixels, CHUNK):
                start, length = at + n * step + 4 * i, min(CHUNK, a.pixels - i)
                one, two = gradient_sums(
                    a.dy + start, a.x + start, rows, step, length, line, always
                )
                total += one
                product += two
        product *= inverse
        if a.dgamma != 0:
            before = f32(a.dgamma)[c] if a.accumulate_gamma != 0 else ZERO
            f32(a.dgamma)[c] = before + np.float32(product)
        if a.dbeta != 0:
            before = f32(a.dbeta)[c] if a.accumulate_beta != 0 else ZERO
            f32(a.dbeta)[c] = before + np.float32(total)
        dy, x = a.dy + at, a.x + at
        if a.dx != 0:
            slope = -factor * inverse * np.float32(product / values)
            shift = -factor * np.float32(total / values)
            terms = (factor, slope, shift)
            dx = a.dx + at
            derive(dy, x, dx, a.images, step, a.pixels, line, always, terms)
        if a.leave != 0:
            times = gamma if a.leave == 2 else ONE
            _pass_on(dy, x, a.images, step, a.pixels, line, always, times)
