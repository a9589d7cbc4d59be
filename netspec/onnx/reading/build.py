"""A net under construction: layers with known shapes, wired by blobs without names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.errors import SpecError
from netspec.onnx.reading.node import Node, Refused
from netspec.onnx.reading.values import Blob, Constant, Layer, Padded, Value, Weight
from netspec.ops import Shape, infer
from netspec.schema import (
    BlobShape,
    ConcatParameter,
    EltwiseParameter,
    LayerParameter,
    PermuteParameter,
    PowerParameter,
    ReshapeParameter,
    ScaleParameter,
    SliceParameter,
    TileParameter,
)

MAX_PIECES = 256  # into which a blob is cut, or that are joined
MAX_MADE = 1 << 26  # values of a parameter that the file does not hold


class Build:
    """The layers so far.

    node: the one that is read now; layers belong to it. doubts: what is to be warned
    of, once each. reads: how often each tensor of the graph is read.
    """

    def __init__(self, reads: dict[str, int]) -> None:
        self.layers: list[Layer] = []
        self.node = -1
        self.doubts: dict[str, None] = {}
        self.reads = reads

    def doubt(self, text: str) -> None:
        """Remember something to warn of."""
        self.doubts[text] = None

    def layers_of(
        self,
        message: LayerParameter,
        bottoms: Sequence[Blob],
        weights: Sequence[Weight] = (),
        *,
        tops: int = 1,
        role: str = "",
    ) -> list[Blob]:
        """Add a layer; return its tops. Raises `Refused` for what no layer takes."""
        bottoms = [blob.twin or blob for blob in bottoms]
        message.bottom.extend(f"bottom {i}" for i in range(len(bottoms)))
        message.top.extend(f"top {i}" for i in range(tops))
        try:
            op = infer(message, [blob.shape for blob in bottoms])
        except SpecError as error:
            raise Refused(f"as {message.type}: {error.text}") from error
        for param, weight in zip(op.params, weights, strict=True):
            if param.shape != weight.values.shape:
                raise Refused(
                    f"as {message.type}: its values have shape "
                    f"{weight.values.shape}, expected {param.shape}"
                )
        layer = Layer(message, bottoms, [], list(weights), op, self.node, role)
        layer.tops = [
            Blob(shape, maker=layer, place=place) for place, shape in enumerate(op.tops)
        ]
        for blob in bottoms:
            blob.readers.append(layer)
        self.layers.append(layer)
        return layer.tops

    def layer(
        self,
        message: LayerParameter,
        bottoms: Sequence[Blob],
        weights: Sequence[Weight] = (),
        *,
        role: str = "",
    ) -> Blob:
        """Add a layer of one top, and return that."""
        return self.layers_of(message, bottoms, weights, role=role)[0]

    def blob(self, node: Node, place: int, what: str = "") -> Blob:
        """Return an input as a blob; padding around it is made."""
        value = node.inputs[place] if node.has(place) else None
        if isinstance(value, Blob):
            return value
        if isinstance(value, Padded):
            return self.padding(value)
        who = what or f"input {place}"
        why = "is not given" if value is None else "is a constant"
        return node.refuse(f"{who} {why}; expected what the net computes")

    def padding(self, padded: Padded) -> Blob:
        """Return a blob with the values around it, made once."""
        if padded.made is None:
            x, value = padded.blob, padded.value
            reader, self.node = self.node, padded.node
            for axis, (before, after) in enumerate(
                zip(padded.begin, padded.end, strict=True)
            ):
                pieces = [
                    *self._filled(x, axis, before, value),
                    x,
                    *self._filled(x, axis, after, value),
                ]
                x = self.concat(pieces, axis, role="pad")
            padded.made, self.node = x, reader
        return padded.made

    def _filled(self, x: Blob, axis: int, size: int, value: float) -> list[Blob]:
        """Return blobs of `value`, `size` long along `axis`, as wide as x elsewhere."""
        whole, rest = divmod(size, x.shape[axis])
        if whole > MAX_PIECES:
            raise Refused(f"a padding of {size} is too much for {x.shape}")
        pieces = [(x.shape[axis], whole), (rest, 1)] if rest else []
        pieces = pieces or [(x.shape[axis], whole)]
        made: list[Blob] = []
        for long, times in pieces:
            if long and times:
                part = self.cut(x, axis, 0, long, role="border")
                made += [self.power(part, scale=0, shift=value, role="border")] * times
        return made

    def reshape(self, x: Blob, shape: Sequence[int], role: str = "reshape") -> Blob:
        """Return x under another shape; the batch keeps its size whatever it is."""
        shape = tuple(int(size) for size in shape)
        if shape == x.shape:
            return x
        merged = bool(x.shape and shape) and shape[0] % x.shape[0] == 0
        if x.shape[:1] == shape[:1]:
            if len(shape) == 2 and len(x.shape) > 2:
                return self.layer(LayerParameter(type="Flatten"), [x], role=role)
            shape = (0, *shape[1:])
        elif merged:
            shape = (-1, *shape[1:])
        param = ReshapeParameter(shape=BlobShape(dim=shape))
        message = LayerParameter(type="Reshape", reshape_param=param)
        return self.layer(message, [x], role=role)

    def permute(self, x: Blob, order: Sequence[int], role: str = "permute") -> Blob:
        """Return x with axis i being its axis order[i]."""
        if list(order) == list(range(len(order))):
            return x
        long = [axis for axis in order if x.shape[axis] != 1]
        if long == sorted(long) and order[0] == 0:
            return self.reshape(x, [x.shape[axis] for axis in order], role)
        message = LayerParameter(
            type="Permute", permute_param=PermuteParameter(order=order)
        )
        return self.layer(message, [x], role=role)

    def pieces(
        self, x: Blob, axis: int, sizes: Sequence[int], role: str = "slice"
    ) -> list[Blob]:
        """Cut x along an axis into pieces of these sizes."""
        if len(sizes) == 1:
            return [x]
        if len(sizes) > MAX_PIECES:
            raise Refused(f"{len(sizes)} pieces are more than {MAX_PIECES}")
        param = SliceParameter(
            axis=axis, slice_point=list(itertools.accumulate(sizes))[:-1]
        )
        message = LayerParameter(type="Slice", slice_param=param)
        return self.layers_of(message, [x], tops=len(sizes), role=role)

    def cut(
        self, x: Blob, axis: int, start: int, size: int, role: str = "slice"
    ) -> Blob:
        """Return `size` places of an axis from `start` on."""
        after = x.shape[axis] - start - size
        sizes = [part for part in (start, size, after) if part]
        return self.pieces(x, axis, sizes, role)[1 if start else 0]

    def concat(self, blobs: Sequence[Blob], axis: int, role: str = "concat") -> Blob:
        """Join blobs along an axis."""
        if len(blobs) == 1:
            return blobs[0]
        message = LayerParameter(type="Concat", concat_param=ConcatParameter(axis=axis))
        return self.layer(message, blobs, role=role)

    def power(
        self,
        x: Blob,
        *,
        power: float = 1,
        scale: float = 1,
        shift: float = 0,
        role: str = "",
    ) -> Blob:
        """Return (shift + scale x)^power."""
        if (power, scale, shift) == (1, 1, 0):
            return x
        given = {"power": power, "scale": scale, "shift": shift}
        usual = {"power": 1, "scale": 1, "shift": 0}
        options: dict[str, Any] = {k: v for k, v in given.items() if v != usual[k]}
        param = PowerParameter(**options)
        message = LayerParameter(type="Power", power_param=param)
        return self.layer(message, [x], role=role)

    def eltwise(
        self,
        operation: str,
        blobs: Sequence[Blob],
        coeff: Sequence[float] = (),
        role: str = "",
    ) -> Blob:
        """Return the SUM (with coefficients), PROD or MAX of blobs of one shape."""
        kind: Any = EltwiseParameter.EltwiseOp.Value(operation)
        param = EltwiseParameter(operation=kind, coeff=coeff)
        message = LayerParameter(type="Eltwise", eltwise_param=param)
        return self.layer(message, blobs, role=role)

    def expand(self, x: Blob, shape: Shape, role: str = "tile") -> Blob:
        """Return x repeated to a shape that it is broadcast to."""
        x = self.reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape, role)
        for axis, size in enumerate(shape):
            if x.shape[axis] != size:
                param = TileParameter(axis=axis, tiles=size)
                message = LayerParameter(type="Tile", tile_param=param)
                x = self.layer(message, [x], role=role)
        return x

    def scaled(
        self,
        x: Blob,
        axis: int,
        scale: Weight,
        bias: Weight | None = None,
        role: str = "scale",
    ) -> Blob:
        """Return x times a parameter along the axes from `axis` on, plus a bias."""
        param = ScaleParameter(bias_term=bias is not None)
        if axis != 1:
            param.axis = axis
        if scale.values.ndim != 1:
            param.num_axes = scale.values.ndim
        message = LayerParameter(type="Scale", scale_param=param)
        weights = [scale] if bias is None else [scale, bias]
        return self.layer(message, [x], weights, role=role)


def as_weight(
    constant: Constant, values: np.ndarray | None = None, done: str = ""
) -> Weight:
    """Return a constant as a parameter; `done` says how `values` were made of it."""
    held = constant.real() if values is None else np.asarray(values, np.float32)
    source = f"{constant.source}|{done}" if constant.source and done else ""
    return Weight(held, source or constant.source, constant.learned)


def check_made(count: int) -> None:
    """Refuse to make a parameter of very many values, before it is made."""
    if count > MAX_MADE:
        raise Refused(f"it needs a parameter of {count:,} values; at most {MAX_MADE:,}")


def fixed(values: Any) -> Weight:
    """Return numbers as a parameter that is not learned."""
    return Weight(np.asarray(values, np.float32), learned=False)


def is_blob(value: Value | None) -> bool:
    """Tell whether the net computes a value."""
    return isinstance(value, Blob | Padded)
