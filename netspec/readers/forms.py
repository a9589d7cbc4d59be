"""Several layers that take the place of one, written down one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.readers.draft import Made, Place
from netspec.readers.rule import layer
from netspec.schema import LayerParameter


class Form:
    """The layers that a rule writes in the place of one.

    Each method adds a layer and returns the name of its top; `end` gives the tops the
    names that they must have.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._made: list[Made] = []

    @property
    def x(self) -> str:
        """The first bottom."""
        return self._place.layer.bottom[0]

    def put(
        self,
        suffix: str,
        kind: str,
        bottoms: str | Sequence[str],
        arrays: Sequence[Any] | None = (),
        **options: Any,
    ) -> str:
        """Add a layer of any type with one top; options are parameter messages."""
        bottoms = [bottoms] if isinstance(bottoms, str) else bottoms
        name = self._place.fresh(suffix)
        self._made.append(Made(layer(kind, name, bottoms, [name], **options), arrays))
        return name

    def again(
        self,
        suffix: str,
        like: LayerParameter,
        bottoms: Sequence[str],
        arrays: Sequence[Any] | None,
    ) -> str:
        """Add a layer with one top like another, but with these bottoms."""
        name = self._place.fresh(suffix)
        made = LayerParameter()
        made.CopyFrom(like)
        made.name = name
        made.ClearField("bottom")
        made.ClearField("top")
        made.bottom.extend(bottoms)
        made.top.append(name)
        self._made.append(Made(made, arrays))
        return name

    def power(
        self, suffix: str, x: str, scale: float = 1, shift: float = 0, power: float = 1
    ) -> str:
        """Add (scale * x + shift) ^ power."""
        param = {"scale": scale, "shift": shift, "power": power}
        return self.put(suffix, "Power", x, power_param=param)

    def both(self, suffix: str, operation: str, x: str, y: str) -> str:
        """Add the sum, product or maximum of two blobs of one shape."""
        return self.put(
            suffix, "Eltwise", [x, y], eltwise_param={"operation": operation}
        )

    def reshape(self, suffix: str, x: str, shape: Sequence[int]) -> str:
        """Add a Reshape to these sizes; 0 copies the size at the same place."""
        return self.put(
            suffix, "Reshape", x, reshape_param={"shape": {"dim": list(shape)}}
        )

    def product(self, suffix: str, x: str, weights: Any, bias: Any = None) -> str:
        """Add x W^T (+ bias) of each row of x (N, I), with W (O, I)."""
        arrays = [np.asarray(weights, np.float32)]
        if bias is not None:
            arrays.append(np.asarray(bias, np.float32))
        param = {"num_output": len(arrays[0]), "bias_term": bias is not None}
        return self.put(suffix, "InnerProduct", x, arrays, inner_product_param=param)

    def convolution(self, suffix: str, x: str, weights: Any) -> str:
        """Add a convolution of stride 1 with these weights, without pad or bias."""
        kernel = np.asarray(weights, np.float32)
        outputs, _, height, width = kernel.shape
        size = {"kernel_h": height, "kernel_w": width}
        if height == width:
            size = {"kernel_size": [height]}
        param = {"num_output": outputs, "bias_term": False, **size}
        return self.put(suffix, "Convolution", x, [kernel], convolution_param=param)

    def slices(self, suffix: str, x: str, axis: int, ends: Sequence[int]) -> list[str]:
        """Cut an axis at these places, and return the parts."""
        name = self._place.fresh(suffix)
        tops = [self._place.fresh(suffix) for _ in range(len(ends) + 1)]
        param = {"axis": axis, "slice_point": list(ends)}
        self._made.append(Made(layer("Slice", name, [x], tops, slice_param=param)))
        return tops

    def end(self, *blobs: str) -> list[Made]:
        """Return the layers; these blobs are the tops of the layer that they replace.

        The maker of the first one takes its name, as some readers know outputs by the
        names of layers.
        """
        names = dict(zip(blobs, self._place.layer.top, strict=True))
        for made in self._made:
            if made.layer.top[0] == blobs[0]:
                made.layer.name = self._place.layer.name
            for blobs_of in (made.layer.bottom, made.layer.top):
                for index, blob in enumerate(blobs_of):
                    blobs_of[index] = names.get(blob, blob)
        return self._made


def sizes(*groups: Sequence[int]) -> tuple[int, ...]:
    """Return the products of groups of sizes."""
    return tuple(math.prod(group) for group in groups)
