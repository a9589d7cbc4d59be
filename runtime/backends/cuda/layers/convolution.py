"""Convolution and Deconvolution by cuDNN, channels last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from netspec.graph import Node
from netspec.ops.base import count
from runtime.arrays import ArraySpec
from runtime.backends.cuda.columns import Columns, add_row
from runtime.backends.cuda.layer import STORAGE, CudaLayer, Wanted, stored_as
from runtime.backends.cuda.layers.parameters import Working, padded_count
from runtime.backends.cuda.layers.relu import ReLU, bias_gradient, rectified_sum
from runtime.backends.cuda.machine.convolutions import Convolution as Spec
from runtime.backends.cuda.machine.device import Device
from runtime.backends.cuda.machine.launch import Call, CudaKernel
from runtime.backends.cuda.machine.library_call import LibraryCall, workspace_of
from runtime.backends.cuda.tensor import CARRIERS, Order, Place, memory_of
from runtime.layers.base import Context

_PAD = CudaKernel("pad.cu", "pad_channels")


class _Correlation(CudaLayer[Any]):
    """What the two layers share: bottoms and tops by pairs, weights, bias.

    `forward_kind` is what the layer computes forward, `gradient_kind` what gives dx: a
    Deconvolution's forward is a convolution's gradient.
    """

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
    forward_kind: ClassVar[Any]
    gradient_kind: ClassVar[Any]

    @classmethod
    def suits(cls, op: Any) -> bool:
        """Take blobs N C and one to three spatial axes that are not empty."""
        spatial = len(op.kernel)
        return (
            op.axis == 1
            and 1 <= spatial <= 3
            and len(op.bottoms[0]) == 2 + spatial
            and count(op.bottoms[0]) > 0
            and count(op.tops[0]) > 0
        )

    @classmethod
    def wanted(cls, node: Node) -> tuple[Wanted, Wanted]:
        """Want the channels last."""
        channels: Order = "last"
        last = (channels,) * len(node.op.bottoms)
        one = Wanted(last, (True,) * len(last))
        return one, one

    @classmethod
    def runs_on(cls, device: Device, node: Node, context: Context) -> bool:
        """Whether the device has a way for all that the layer computes."""
        return all(
            device.supports(spec)
            for spec in cls.specs(node, context.precision).values()
        )

    @classmethod
    def padding(cls, node: Node, precision: str) -> int:
        """Return how many channels a bottom of few is given, with zeros; 0 for none.

        Tensor cores read 16 bytes of channels at a time. An image of three channels,
        whose gradient nobody wants, is worth a padded copy.
        """
        op: Any = node.op
        pack = 16 // Place("last", STORAGE[precision]).itemsize
        few = 1 < op.channels < pack and op.group == 1 and len(op.bottoms) == 1
        able = cls.forward_kind == "forward" and precision != "float32"
        return pack if few and able and not any(node.propagate) else 0

    @classmethod
    def specs(
        cls, node: Node, precision: str, *, padded: bool = True
    ) -> dict[str, Spec]:
        """Return the convolutions of a node by what they compute: y, x or w."""
        op: Any = node.op
        deconvolves = cls.forward_kind == "input_gradient"
        x, w, y = op.bottoms[0], op.params[0].shape, op.tops[0]
        if padded and (channels := cls.padding(node, precision)):
            x, w = (x[0], channels, *x[2:]), (w[0], channels, *w[2:])
        spec = Spec(
            kind=cls.forward_kind,
            x=y if deconvolves else x,
            w=w,
            y=x if deconvolves else y,
            stride=op.stride,
            pad=op.pad,
            dilation=op.dilation,
            groups=op.group,
            storage=STORAGE[precision],
            tf32=precision == "tf32",
        )
        found = {"y": spec}
        if node.backward and any(node.propagate):
            found["x"] = replace(spec, kind=cls.gradient_kind)
        if node.backward and node.learn[0]:
            found["w"] = replace(spec, kind="weight_gradient")
        return found

    def __init__(self, node: Node, context: Context) -> None:
        super().__init__(node, context)
        self._padding = self.padding(node, context.precision)
        self._weights = Working(self, 0, "last", self._padding)
        self._bias = Working(self, 1, "first") if self.op.bias_term else None
        self._matrix = Columns.of(self.device, self.op.tops[0], self.storage)
        self.relu: ReLU | None = None  # one above, which runs as a part of this layer
        self._folded: Spec | None = None  # with what layers above do in the weights

    @cached_property
    def convolutions(self) -> dict[str, Spec]:
        """All that the library computes for this layer, by what it is."""
        specs = self.specs(self.node, self.precision)
        if self._fuses_bias:
            specs["y"] = self._with_bias(specs["y"])
        if self._fuses_relu:
            specs["y above"] = replace(specs["y"], relu=True)
        if self._folded is not None:
            specs["y folded"] = self._folded
        return specs

    @cached_property
    def _planned(self) -> dict[str, Any]:
        specs = self.convolutions
        return {name: self.device.convolution(one) for name, one in specs.items()}

    @cached_property
    def _fuses_bias(self) -> bool:
        """Whether the bias is added by the convolution itself."""
        spec = self.specs(self.node, self.precision)["y"]
        if not self.op.bias_term or spec.kind != "forward":
            return False
        return bool(self.device.supports(self._with_bias(spec)))

    @cached_property
    def _fuses_relu(self) -> bool:
        """Whether a ReLU above is done by the convolution itself."""
        spec = self.specs(self.node, self.precision)["y"]
        if self.relu is None or spec.kind != "forward":
            return False
        if self.op.bias_term and not self._fuses_bias:
            return False
        if self.op.bias_term:
            spec = self._with_bias(spec)
        return bool(self.device.supports(replace(spec, relu=True)))

    @cached_property
    def can_fold(self) -> bool:
        """Whether the convolution can have a bias and a ReLU at its end."""
        return self._single and bool(self.device.supports(self._ending(relu=True)))

    @property
    def _single(self) -> bool:
        return len(self.op.tops) == 1 and self.forward_kind == "forward"

    def _ending(self, *, relu: bool) -> Spec:
        spec = self.specs(self.node, self.precision, padded=False)["y"]
        return replace(self._with_bias(spec), relu=relu)

    def folds(self, *, rectified: bool) -> None:
        """Ask for memory for other weights and a bias, for what is done above."""
        self._folded = self._ending(relu=rectified)

    def folded_calls(self) -> list[Call]:
        """Return the call that computes y by the weights and the bias asked for."""
        weights, bias = self.work["folded weights"], self.work["folded bias"]
        operands = {"x": self.x, "y": self.y, "w": weights, "bias": bias}
        return [self._call("y folded", **operands)]

    def _with_bias(self, spec: Spec) -> Spec:
        return replace(spec, bias=True, bias_storage=spec.storage)

    def arrays(self) -> dict[str, ArraySpec]:
        """Ask for copies of the weights, a workspace, and the parts of sums."""
        wanted = self._weights.arrays()
        if self._padding:
            size = padded_count(self.op.bottoms[0], self._padding)
            wanted["padded"] = ArraySpec((size,), CARRIERS[self.storage], "saved")
        if self._bias is not None and self._fuses_bias:
            wanted |= self._bias.arrays()
        if self.node.learn[0]:
            wanted |= self._weights.gradient_arrays()
        if self._folded is not None:
            carrier, shape = CARRIERS[self.storage], self.op.params[0].shape
            for name, size in (("weights", count(shape)), ("bias", shape[0])):
                wanted[f"folded {name}"] = ArraySpec(
                    (size,), carrier, "state", "folded"
                )
        most = max(one.workspace_bytes for one in self._planned.values())
        if most:
            wanted["workspace"] = workspace_of(most)
        if self._bias is not None and self.node.learn[1]:
            wanted["partial sums"] = self._matrix.partial(lasting=True)
        return wanted

    def _call(self, name: str, **operands: Any) -> LibraryCall:
        memories = {key: memory_of(one) for key, one in operands.items()}
        planned = self._planned[name]
        return LibraryCall(self.device, planned, memories, self.work.get("workspace"))

    @property
    def _inputs(self) -> Sequence[Any]:
        """The bottoms, or the padded copy of the only one."""
        return [self.work["padded"]] if self._padding else self.bottoms

    def _pairs(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> Iterator[Any]:
        """Yield the operands named as the specification names them."""
        deconvolves = self.forward_kind == "input_gradient"
        for one, other in zip(inputs, outputs, strict=True):
            yield {"x": other, "y": one} if deconvolves else {"x": one, "y": other}

    def forward_calls(self) -> list[Call]:
        """Return the calls that compute the tops."""
        return self._forward("y")

    def forward_above(self) -> list[Call]:
        """Return the calls that compute the tops and the ReLU above."""
        if self._fuses_relu or self.relu is None:
            return self._forward("y above")
        return [*self._forward("y"), *self.relu.forward_calls()]

    def _forward(self, name: str) -> list[Call]:
        calls: list[Call] = list(self._weights.before())
        if self._padding:
            x, rows = self.x, count(self.op.bottoms[0]) // self.op.channels
            sizes = (rows, self.op.channels)
            kernel = stored_as(_PAD, x)
            calls.append(self.strided(kernel, rows, x, self.work["padded"], *sizes))
        bias: dict[str, Any] = {}
        if self._bias is not None and self._fuses_bias:
            calls += self._bias.before()
            bias = {"bias": self._bias.memory}
        for pair in self._pairs(self._inputs, self.tops):
            calls.append(self._call(name, w=self._weights.memory, **pair, **bias))
        if self.op.bias_term and not self._fuses_bias:
            calls += [self._add_bias(y) for y in self.tops]
        return calls

    def _add_bias(self, y: Any) -> Call:
        return add_row(self, y, self.params[1], *self._matrix.sizes[:2])

    def backward_calls(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the wanted gradients."""
        calls: list[Call] = []
        db = self.dparams[1] if self.op.bias_term else None
        if db is not None:
            add = accumulate[1]
            for dy in self.dtops:
                calls += bias_gradient(self, self._matrix, dy, add)
                add = True
        return calls + self._gradients(accumulate)

    def backward_below(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls of the gradient of the ReLU above, then of this layer."""
        calls = rectified_sum(self, self._matrix, (self.y, self.dy), accumulate)
        return calls + self._gradients(accumulate)

    def _gradients(self, accumulate: Sequence[bool]) -> list[Call]:
        """Return the calls that compute the gradients of weights and bottoms."""
        calls: list[Call] = []
        if self.dparams[0] is not None:
            calls += self._weight_gradient(accumulate[0])
        weights = self._weights.memory
        for dx, pair in zip(
            self.dbottoms, self._pairs(self.dbottoms, self.dtops), strict=True
        ):
            if dx is not None:
                calls.append(self._call("x", w=weights, **pair))
        return calls

    def _weight_gradient(self, accumulate: bool) -> list[Call]:
        calls: list[Call] = []
        for pair in self._pairs(self._inputs, self.dtops):
            memory, back = self._weights.gradient(accumulate=accumulate)
            calls += [self._call("w", w=memory, **pair), *back]
            accumulate = True
        return calls


class Convolution(_Correlation):
    """See `runtime.layers.convolution.Convolution`."""

    forward_kind = "forward"
    gradient_kind = "input_gradient"


class Deconvolution(_Correlation):
    """See `runtime.layers.convolution.Deconvolution`.

    Its weights' gradient is that of the convolution which leads from y to x.
    """

    forward_kind = "input_gradient"
    gradient_kind = "forward"
