"""One kernel by itself: bound, run, and compared with a slow, obvious reference.

`check_layer` is what most tests of a layer need. It refuses shapes with equal sizes,
and it hides what a kernel must not rely on: scratch and saved arrays start as garbage,
tops and wanted gradients too, and before `backward` every blob that the op does not
declare in `backward_bottoms` or `backward_tops` is overwritten.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from google.protobuf import text_format

from netspec.graph import Node
from netspec.ops import Op, Shape, infer
from netspec.schema import TRAIN, LayerParameter
from runtime.arrays import Array
from runtime.backends.base import Backend
from runtime.distributed import Communicator
from runtime.layers.base import Bound, Clock, Context, Kernel
from runtime.layers.batch_norm import is_synced
from tests import allocation

GARBAGE = {"f": np.nan, "i": 12345, "u": 201, "b": True}  # by kind of dtype
EXACT_RTOL = 1e-10  # float64 against nested loops in float64
SMALLEST_BUFFER = 16  # elements; the least that NumPy takes
STEP = 1e-5  # of the central differences

Reference: TypeAlias = Callable[..., Any]


def parse_layer(
    text: str, bottoms: int, phase: int = TRAIN, tops: int = 1
) -> LayerParameter:
    """Read a layer; a name, bottoms, tops and a phase are added where missing."""
    layer = text_format.Parse(text, LayerParameter())
    layer.name = layer.name or "lone"
    if not layer.bottom:
        layer.bottom.extend(f"bottom{index}" for index in range(bottoms))
    if not layer.top:
        layer.top.extend(f"top{index}" for index in range(tops))
    if not layer.HasField("phase"):
        layer.phase = phase
    return layer


def lone_node(
    op: Op, phase: int, propagate: Sequence[bool], learn: Sequence[bool]
) -> Node:
    """Return a node outside any graph, with edges and parameters of its own."""
    bottoms, tops = len(op.bottoms), len(op.tops)
    return Node(
        index=0,
        op=op,
        bottoms=tuple(range(bottoms)),
        tops=tuple(range(bottoms, bottoms + tops)),
        params=tuple(range(len(op.params))),
        phase=phase,
        loss_weights=(0.0,) * tops,
        backward=True,
        propagate=tuple(propagate),
        learn=tuple(learn),
    )


class LoneLayer:
    """A kernel bound to arrays of its own; arguments and results are host arrays.

    wanted_bottoms, wanted_params: which gradients are computed; all possible ones by
    default. A top with the name of its bottom shares the bottom's memory.
    """

    def __init__(
        self,
        text: str,
        shapes: Sequence[Shape],
        *,
        backend: Backend,
        dtype: str = "float64",
        precision: str = "float32",
        phase: int = TRAIN,
        seed: int = 7,
        wanted_bottoms: Sequence[bool] | None = None,
        wanted_params: Sequence[bool] | None = None,
        ranks: Communicator | None = None,
    ) -> None:
        layer = parse_layer(text, len(shapes), phase)
        self.backend, self.dtype = backend, dtype
        self.op = infer(layer, shapes)
        self.differentiable = _mask(self.op.gradient_bottoms, len(shapes))
        self.learnable = _mask(self.op.learned_params, len(self.op.params))
        propagate = tuple(wanted_bottoms or self.differentiable)
        learn = tuple(wanted_params or self.learnable)
        self.node = lone_node(self.op, layer.phase, propagate, learn)
        self.clock = Clock()
        given = (backend, dtype, seed, self.clock)
        context = Context(*given, precision=precision, ranks=ranks)
        synced = is_synced(self.node, context)
        made = (backend.synced_norm if synced else backend.kernel)(self.node, dtype)
        self.kernel: Kernel[Any] = made(self.node, context)
        self._specs = self.kernel.arrays()
        self._allocate(propagate, learn)
        self.kernel.bind(self.bound)

    def _allocate(self, propagate: Sequence[bool], learn: Sequence[bool]) -> None:
        op, zeros = self.op, self._zeros
        bottoms = [zeros(shape) for shape in op.bottoms]
        gradients = [zeros(shape) for shape in op.bottoms]
        tops, dtops = [], []
        for index, shape in enumerate(op.tops):
            shared = self._shared_bottom(index)
            tops.append(zeros(shape) if shared is None else bottoms[shared])
            own = shared is None or op.type == "Split"
            dtops.append(zeros(shape) if own else gradients[shared or 0])
            if op.alias:
                tops[-1] = tops[-1].reshape(shape)
                dtops[-1] = dtops[-1].reshape(shape)
        self.bound = Bound(
            bottoms=tuple(bottoms),
            tops=tuple(tops),
            dbottoms=tuple(
                array if wanted else None
                for array, wanted in zip(gradients, propagate, strict=True)
            ),
            dtops=tuple(dtops),
            params=tuple(zeros(one.shape) for one in op.params),
            dparams=tuple(
                zeros(one.shape) if wanted else None
                for one, wanted in zip(op.params, learn, strict=True)
            ),
            work={
                name: self.backend.zeros(spec.shape, spec.dtype or self.dtype)
                for name, spec in self._specs.items()
            },
        )

    def _shared_bottom(self, top: int) -> int | None:
        layer = self.op.layer
        if self.op.alias:
            return 0
        if top < min(len(layer.bottom), len(layer.top)):
            return top if layer.top[top] == layer.bottom[top] else None
        return None

    def _zeros(self, shape: Shape) -> Array:
        return self.backend.zeros(shape, self.dtype)

    def _host(self, array: Array) -> np.ndarray:
        host = np.empty(array.shape, str(array.dtype))
        self.backend.download(array, host)
        return host

    def _set(self, array: Array, values: Any) -> None:
        host = np.array(values, str(array.dtype)).reshape(array.shape)
        self.backend.upload(host, array)

    def _spoil(self, arrays: Sequence[Array | None], but: Sequence[Array]) -> None:
        for array in arrays:
            if array is not None and not any(array is kept for kept in but):
                array[...] = GARBAGE[array.dtype.kind]

    def _spoil_work(self, *lives: str) -> None:
        chosen = [self.bound.work[n] for n, s in self._specs.items() if s.life in lives]
        self._spoil(chosen, ())

    def params(self) -> list[np.ndarray]:
        """The parameters as they are now."""
        return [self._host(array) for array in self.bound.params]

    def forward(
        self, bottoms: Sequence[Any], params: Sequence[Any] = ()
    ) -> list[np.ndarray]:
        """Run forward on these values; inputs that are not written over stay."""
        self._spoil(self.bound.tops, self.bound.bottoms if self.op.alias else ())
        self._spoil_work("scratch", "saved")
        for array, values in zip(self.bound.bottoms, bottoms, strict=True):
            self._set(array, values)
        for array, values in zip(self.bound.params, params, strict=True):
            self._set(array, values)
        self.kernel.forward()
        self.backend.synchronize()
        for index, array in enumerate(self.bound.bottoms):
            if not any(array is top for top in self.bound.tops):
                kept = np.array(bottoms[index], self.dtype).reshape(array.shape)
                message = f"forward changed bottom {index}"
                np.testing.assert_array_equal(self._host(array), kept, message)
        return [self._host(array) for array in self.bound.tops]

    def backward(
        self,
        dtops: Sequence[Any],
        accumulate: Sequence[bool] | None = None,
        before: Sequence[Any] | None = None,
    ) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
        """Run backward after `forward`; return the gradients of bottoms and parameters.

        before: values of the parameters' gradients for where they are accumulated.
        """
        bound, op = self.bound, self.op
        read = [bound.bottoms[index] for index in op.backward_bottoms]
        read += [bound.tops[index] for index in op.backward_tops]
        if not op.alias:
            self._spoil([*bound.bottoms, *bound.tops], read)
        self._spoil_work("scratch")
        self._spoil([*bound.dbottoms, *bound.dparams], ())
        for array, values in zip(bound.dparams, before or (), strict=False):
            if array is not None:
                self._set(array, values)
        for array, values in zip(bound.dtops, dtops, strict=True):
            self._set(array, values)
        params = self.params()
        if not (op.alias and op.type != "Split"):
            self.kernel.backward(accumulate or (False,) * len(bound.params))
        self.backend.synchronize()
        for index, array in enumerate(bound.dtops):
            written = op.alias or any(array is one for one in bound.dbottoms)
            if array is not None and not written:
                kept = np.array(dtops[index], self.dtype).reshape(array.shape)
                message = f"backward changed the gradient of top {index}"
                np.testing.assert_array_equal(self._host(array), kept, message)
        for index, kept in enumerate(params):
            message = f"backward changed parameter {index}"
            np.testing.assert_array_equal(
                self._host(bound.params[index]), kept, message
            )
        return (
            [None if array is None else self._host(array) for array in bound.dbottoms],
            [None if array is None else self._host(array) for array in bound.dparams],
        )


def check_layer(
    text: str,
    bottoms: Sequence[Any],
    reference: Reference,
    *,
    backend: Backend,
    params: Sequence[Any] | None = None,
    phase: int = TRAIN,
    gradient: Reference | bool = True,
    float32_rtol: float = 2e-5,
    updates_params: bool = False,
    equal_sizes: str = "",
) -> None:
    """Check forward and backward of one layer in float64 and float32.

    text: the layer; names may be left out.
    bottoms: for each bottom a shape, filled with normal values, or an array.
    reference(op, *bottoms, *params): the tops, computed slowly in float64; one array or
        a tuple. With `updates_params` a pair (tops, parameters after forward).
    params: values of the parameters; normal ones by default.
    gradient: True compares with central differences; False is for layers without any;
        a function (op, dtops, *bottoms, *params) -> (dbottoms, dparams) is for a
        gradient that by definition is not the derivative.
    float32_rtol: relative to the largest value of each array.
    equal_sizes: why a shape has equal sizes; they are refused otherwise.
    """
    rng = np.random.default_rng(17)
    values = [
        rng.normal(size=one) if isinstance(one, tuple) else np.asarray(one, float)
        for one in bottoms
    ]
    for value in values:
        if len(set(value.shape)) < len(value.shape) and not equal_sizes:
            raise ValueError(f"axis sizes must differ, got {value.shape}")
    shapes = [value.shape for value in values]
    layer = LoneLayer(text, shapes, backend=backend, phase=phase)
    if params is None:
        params = [rng.normal(size=one.shape) for one in layer.op.params]
    params = [np.asarray(one, float) for one in params]
    dtops = [rng.normal(size=shape) for shape in layer.op.tops]
    wanted = reference(layer.op, *values, *params)
    after = params
    if updates_params:
        wanted, after = wanted
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    _check_forward(layer, values, params, wanted, after, EXACT_RTOL)
    single = LoneLayer(text, shapes, backend=backend, dtype="float32", phase=phase)
    _check_forward(single, values, params, wanted, after, float32_rtol)
    if gradient is False:
        return
    if callable(gradient):
        exact = gradient(layer.op, dtops, *values, *params)
        rtol = EXACT_RTOL
    else:
        exact = _differences(layer, values, params, dtops)
        rtol = 1e-7  # what central differences leave
    _check_gradients(layer, values, params, dtops, exact, rtol)
    _check_gradients(single, values, params, dtops, exact, max(rtol, float32_rtol))
    _check_subsets(text, shapes, layer, (values, params, dtops))


def _check_forward(
    layer: LoneLayer,
    values: Sequence[np.ndarray],
    params: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    after: Sequence[np.ndarray],
    rtol: float,
) -> None:
    assert len(wanted) == len(layer.op.tops)
    for _ in range(2):  # the second time over the leftovers of the first
        tops = layer.forward(values, params)
        for index, top in enumerate(tops):
            _close(top, wanted[index], rtol, f"{layer.dtype} top {index}")
        for index, param in enumerate(layer.params()):
            what = f"{layer.dtype} parameter {index} after forward"
            _close(param, after[index], rtol, what)


def _check_gradients(
    layer: LoneLayer,
    values: Sequence[np.ndarray],
    params: Sequence[np.ndarray],
    dtops: Sequence[np.ndarray],
    exact: tuple[Sequence[Any], Sequence[Any]],
    rtol: float,
) -> None:
    rng = np.random.default_rng(23)
    before = [rng.normal(size=param.shape) for param in params]
    for accumulate in (False, True):
        layer.forward(values, params)
        flags = (accumulate,) * len(params)
        dbottoms, dparams = layer.backward(dtops, flags, before if accumulate else None)
        what = f"{layer.dtype} gradient of"
        for index, got in enumerate(dbottoms):
            if got is not None:
                _close(got, exact[0][index], rtol, f"{what} bottom {index}")
        for index, got in enumerate(dparams):
            if got is not None:
                want = exact[1][index] + (before[index] if accumulate else 0)
                which = f"parameter {index}, accumulate={accumulate}"
                _close(got, want, rtol, f"{what} {which}")


def _check_subsets(
    text: str,
    shapes: Sequence[Shape],
    layer: LoneLayer,
    inputs: tuple[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[np.ndarray]],
) -> None:
    """Check that leaving gradients out changes none of the others."""
    values, params, dtops = inputs
    layer.forward(values, params)
    full = layer.backward(dtops)
    split = len(layer.differentiable)
    for chosen in _subsets([*layer.differentiable, *layer.learnable]):
        part = LoneLayer(
            text,
            shapes,
            backend=layer.backend,
            phase=layer.node.phase,
            wanted_bottoms=chosen[:split],
            wanted_params=chosen[split:],
        )
        part.forward(values, params)
        got = part.backward(dtops)
        pairs = zip((*got[0], *got[1]), (*full[0], *full[1]), chosen, strict=True)
        for index, (one, whole, wanted) in enumerate(pairs):
            assert (one is not None) == wanted
            if one is not None and whole is not None:
                message = f"gradient {index} differs when only {chosen} are computed"
                np.testing.assert_allclose(
                    one, whole, rtol=EXACT_RTOL, atol=1e-12, err_msg=message
                )


def _subsets(possible: Sequence[bool]) -> Iterator[list[bool]]:
    for chosen in itertools.product(
        *([False, True] if p else [False] for p in possible)
    ):
        if chosen and not all(chosen):
            yield list(chosen)


def _differences(
    layer: LoneLayer,
    values: Sequence[np.ndarray],
    params: Sequence[np.ndarray],
    dtops: Sequence[np.ndarray],
) -> tuple[list[np.ndarray | None], list[np.ndarray | None]]:
    """Return the central differences of sum(dtop * top), an array for each input."""
    moved = [value.copy() for value in (*values, *params)]
    split = len(values)
    found: list[np.ndarray | None] = []
    for index, wanted in enumerate((*layer.differentiable, *layer.learnable)):
        if not wanted:
            found.append(None)
            continue
        slopes = np.zeros(moved[index].shape)
        for place in np.ndindex(slopes.shape):
            kept = moved[index][place]
            sums = []
            for step in (STEP, -STEP):
                moved[index][place] = kept + step
                tops = layer.forward(moved[:split], moved[split:])
                sums.append(
                    sum(np.vdot(a, b) for a, b in zip(dtops, tops, strict=True))
                )
            moved[index][place] = kept
            slopes[place] = (sums[0] - sums[1]) / (2 * STEP)
        found.append(slopes)
    return found[:split], found[split:]


def allocated_bytes(
    text: str, shapes: Sequence[Shape], *, backend: Backend, phase: int = TRAIN
) -> int:
    """Return the peak of what one forward and two backwards allocate, after a first.

    NumPy walks strided operands through buffers of a fixed size; they are made small
    here, so that what is left to see are arrays.
    """
    layer = LoneLayer(text, shapes, backend=backend, dtype="float32", phase=phase)
    kernel, params = layer.kernel, len(layer.op.params)

    def step() -> None:
        if not layer.op.alias:
            kernel.forward()
        if layer.op.type == "Split" or not layer.op.alias:
            kernel.backward((False,) * params)
            kernel.backward((True,) * params)

    step()
    usual = np.setbufsize(SMALLEST_BUFFER)
    try:
        return allocation.allocated_bytes(step)
    finally:
        np.setbufsize(usual)


def _mask(chosen: Sequence[int] | None, size: int) -> tuple[bool, ...]:
    return tuple(chosen is None or index in chosen for index in range(size))


def _close(got: np.ndarray, want: Any, rtol: float, what: str) -> None:
    """Compare with `rtol` of each value, and the same share of the largest value."""
    want = np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    largest = float(np.max(np.abs(want), initial=0.0))
    np.testing.assert_allclose(
        got, want, rtol=rtol, atol=rtol * max(largest, 1e-3), err_msg=what
    )
