"""Convolution and its transpose: which algorithm each of their passes takes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Literal, TypeVar

from netspec.ops.base import count
from netspec.ops.convolution import Convolution as ConvolutionOp
from netspec.ops.convolution import Deconvolution as DeconvolutionOp
from runtime.arrays import Array, ArraySpec
from runtime.backends.cpu.correlation.correlation import (
    Correlation,
    Weights,
    gathering,
    scattering,
)
from runtime.backends.cpu.correlation.depthwise import Depthwise
from runtime.backends.cpu.correlation.direct import Direct
from runtime.backends.cpu.correlation.kept_rows import KeptRows
from runtime.backends.cpu.correlation.pointwise import Dots, Pointwise
from runtime.backends.cpu.correlation.strassen import Strassen
from runtime.backends.cpu.correlation.weights import PositionProducts
from runtime.backends.cpu.correlation.weights_dots import PositionDots
from runtime.backends.cpu.correlation.winograd import Winograd
from runtime.backends.cpu.correlation.winograd_scatter import WinogradScatter
from runtime.backends.cpu.correlation.winograd_weights import WinogradWeights
from runtime.backends.cpu.layers.broadcast import summed
from runtime.backends.cpu.layers.elementwise import fill
from runtime.backends.cpu.machine.compiled import Call
from runtime.backends.layer_kernel import LayerKernel

LOWEST = float("-inf")
Algorithm = Direct | Winograd | Depthwise | Pointwise | Strassen | Dots
WeightsAlgorithm = WinogradWeights | Depthwise | PositionProducts
ConvT = TypeVar("ConvT", ConvolutionOp, DeconvolutionOp)


def forward_algorithms(
    shapes: Sequence[Correlation], threads: int, *, constant: bool = False
) -> list[Algorithm]:
    """Return the fastest algorithms to compute correlations from one x to one y.

    constant: the weights are. The rounding of the algorithms differs, so that the
    choice must not depend on the threads.
    """
    if shapes and all(Depthwise.suits(shape) for shape in shapes):
        return [Depthwise(tuple(shapes), threads)]
    algorithms: list[Algorithm] = []
    for shape in shapes:
        if Dots.suits(shape):
            algorithms.append(Dots(shape, threads))
            continue
        if constant and Strassen.suits(shape) and Strassen(shape, 1).pays:
            algorithms.append(Strassen(shape, threads))
            continue
        if constant and Pointwise.suits(shape) and Pointwise(shape, 1).pays:
            algorithms.append(Pointwise(shape, threads))
            continue
        usual: type[Direct] = Direct
        if KeptRows.suits(shape):
            kept = KeptRows(shape, 1, constant)
            usual = (
                KeptRows if kept.cycles < Direct(shape, 1, constant).cycles else Direct
            )
        direct = usual(shape, 1, constant)
        winograd = Winograd(shape, 1, constant)
        if Winograd.suits(shape) and winograd.best().cycles < direct.cycles:
            algorithms.append(Winograd(shape, threads, constant).best())
        else:
            algorithms.append(usual(shape, threads, constant))
    return algorithms


def backward_algorithms(shapes: Sequence[Correlation], threads: int) -> list[Algorithm]:
    """Return the fastest algorithms for what has no bias: gradients of data."""
    algorithms: list[Algorithm] = []
    for usual in forward_algorithms(shapes, threads):
        algorithms.append(usual)
        if isinstance(usual, Depthwise) or not WinogradScatter.suits(usual.shape):
            continue
        scatter = WinogradScatter(usual.shape, 1)
        if scatter.pays and scatter.cycles < Direct(usual.shape, 1).cycles:
            algorithms[-1] = WinogradScatter(usual.shape, threads).best()
    return algorithms


def weights_algorithm(shape: Correlation, threads: int) -> WeightsAlgorithm:
    """Return the fastest algorithm for the gradient of a correlation's weights."""
    if Depthwise.suits(shape):
        return Depthwise((shape,), threads)
    products, winograd = PositionProducts(shape, 1), WinogradWeights(shape, 1)
    cycles = products.cycles
    if PositionDots.suits(shape):
        cycles = min(cycles, PositionDots(shape, 1).cycles)
    if Winograd.suits(shape) and winograd.weight_cycles < cycles:
        return WinogradWeights(shape, threads)
    return (PositionProducts if cycles == products.cycles else PositionDots)(
        shape, threads
    )


class _Correlating(LayerKernel[ConvT]):
    """What Convolution and Deconvolution have in common.

    has_factors: whether Scale or Bias are folded into the weights, so that there is to
    be room for `scale` and `shift`; `runtime.backends.cpu.inference` sets it.
    """

    has_factors = False

    options = (
        "num_output",
        "kernel",
        "stride",
        "pad",
        "dilation",
        "group",
        "axis",
        "channels",
        "bias_term",
    )

    def forward_shapes(self) -> Sequence[Correlation]:
        """Return the correlations that make y from x."""
        raise NotImplementedError

    def backward_shapes(self) -> Sequence[Correlation]:
        """Return the correlations that make dx from dy."""
        raise NotImplementedError

    def parameter_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients of the parameters."""
        raise NotImplementedError

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for the scratch of all passes; they use it one after the other."""
        threads = self.backend.threads
        self._keeps = self._keeps_weights()
        self.ahead = self.algorithms()
        backward = self.backward_shapes() if any(self.node.propagate) else []
        self.behind = backward_algorithms(backward, threads)
        reached = sum(count(shape.positions) for shape in backward)
        self._reaches_all = reached == count(self.op.bottoms[0][2:])
        wanted = [algorithm.scratch() for algorithm in (*self.ahead, *self.behind)]
        if any(self.node.learn):
            self._weights = weights_algorithm(gathering(self.op), threads)
            wanted.append(self._weights.weights_scratch())
        specs = {
            name: ArraySpec((nbytes,), "uint8", self._life(name), self._content())
            for name, nbytes in _largest(wanted).items()
        }
        if self.has_factors:
            factors = ArraySpec(self.op.tops[0][1:2], life="state", content="factors")
            specs |= {"scale": factors, "shift": factors}
        return specs

    @property
    def adds(self) -> bool:
        """Whether `calls_above` can add another blob."""
        return all(algorithm.adds for algorithm in self.algorithms())

    def algorithms(self) -> list[Algorithm]:
        """Return the algorithms that compute y."""
        keeps = self._keeps_weights()
        return forward_algorithms(
            self.forward_shapes(), self.backend.threads, constant=keeps
        )

    def _keeps_weights(self) -> bool:
        # Several algorithms write their forms of the weights to the same array.
        one = len(self.forward_shapes()) == 1
        return not self.train and not self.node.backward and one

    def _life(self, name: str) -> Literal["state", "scratch"]:
        lasting = self._keeps and name in {"weights", "biases"}
        return "state" if lasting else "scratch"

    def _content(self) -> Hashable:
        # How the weights are packed does not depend on the sizes of images.
        return tuple(type(algorithm).__name__ for algorithm in self.ahead)

    def forward_calls(self) -> list[Call]:
        """Compute y."""
        return self.calls_above(LOWEST)

    def calls_above(
        self,
        floor: float,
        scale: Array | int = 0,
        shift: Array | int = 0,
        added: Array | int = 0,
    ) -> list[Call]:
        """Compute y = max(floor, what the layer computes + added).

        scale, shift: a factor for the weights of every output channel, and what then
        takes the place of the bias. added: a blob like y, where `adds`.
        """
        bias = self.params[1] if self.op.bias_term else 0
        weights = Weights(
            self.params[0],
            bias if isinstance(scale, int) else shift,
            scale,
            constant=self._keeps,
            added=added,
        )
        return [
            call
            for algorithm in self.ahead
            for call in algorithm.calls(self.work, weights, self.x, self.y, floor)
        ]

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients."""
        calls = self.parameter_calls(accumulate)
        if self.dx is not None:
            if not self._reaches_all:
                calls.append(fill(y=self.dx, count=self.dx.size, value=0))
            for algorithm in self.behind:
                calls += algorithm.calls(
                    self.work, Weights(self.params[0]), self.dy, self.dx, LOWEST
                )
        return calls

    def _weight_calls(
        self,
        large: Array,
        small: Array,
        dw: Array | None,
        dbias: Array | None,
        accumulate: Sequence[bool],
    ) -> list[Call]:
        if dw is None and dbias is None:
            return []
        return self._weights.weight_calls(
            self.work,
            large,
            small,
            0 if dw is None else dw,
            0 if dbias is None else dbias,
            (accumulate[0], accumulate[-1]),
        )


class Convolution(_Correlating[ConvolutionOp]):
    """Convolution of images, forward and backward; see the portable kernel."""

    @classmethod
    def suits(cls, op: ConvolutionOp) -> bool:
        """Whether the layer is a convolution of images with something to compute."""
        return _is_of_images(op)

    def forward_shapes(self) -> Sequence[Correlation]:
        """Return the correlation of the layer."""
        return [gathering(self.op)]

    def backward_shapes(self) -> Sequence[Correlation]:
        """Return the correlations that make dx from dy."""
        return scattering(self.op)

    def parameter_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients of the parameters."""
        dbias = self.dparams[1] if self.op.bias_term else None
        return self._weight_calls(self.x, self.dy, self.dparams[0], dbias, accumulate)


class Deconvolution(_Correlating[DeconvolutionOp]):
    """The transpose of a convolution of images; see the portable kernel."""

    @classmethod
    def suits(cls, op: DeconvolutionOp) -> bool:
        """Whether it is of images, and some value reaches every position of y."""
        if not _is_of_images(op):
            return False
        reached = sum(count(shape.positions) for shape in scattering(op))
        return reached == count(op.tops[0][2:])

    def forward_shapes(self) -> Sequence[Correlation]:
        """Return the correlations of the layer."""
        return scattering(self.op)

    def backward_shapes(self) -> Sequence[Correlation]:
        """Return the correlation that makes dx from dy."""
        return [gathering(self.op)]

    def parameter_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Compute the wanted gradients of the parameters."""
        calls = self._weight_calls(
            self.dy, self.x, self.dparams[0], None, accumulate[:1]
        )
        dbias = self.dparams[1] if self.op.bias_term else None
        if dbias is not None:
            calls.append(summed(self.dy, dbias, 1, accumulate[1]))
        return calls


def _is_of_images(op: ConvolutionOp | DeconvolutionOp) -> bool:
    something = count(op.tops[0]) > 0 and count(op.bottoms[0]) > 0
    return len(op.kernel) == 2 and op.axis == 1 and len(op.bottoms) == 1 and something


def _largest(wanted: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the largest number of bytes under each name."""
    names = {name for sizes in wanted for name in sizes}
    return {name: max(sizes.get(name, 0) for sizes in wanted) for name in sorted(names)}
