"""`Layer`, the base of layers written in Python as for pycaffe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from netspec.schema import TRAIN
from runtime.execution.python_layers.blobs import LayerBlob, LayerBlobs

Blobs = Sequence[LayerBlob]


class Layer:
    """A layer whose arithmetic is written in Python; derive from it.

        setup(bottom, top)        once, when the net is made
        reshape(bottom, top)      after that, and ahead of every forward
        forward(bottom, top)      fill top[i].data
        backward(top, propagate_down, bottom)
                                  fill bottom[i].diff where propagate_down[i]

    `bottom` and `top` are lists of blobs with `data`, `diff`, `shape` and
    `reshape(*shape)`; `setup`, `reshape` or `forward` give the tops their shapes, and
    the layers behind follow. A layer learns what `setup` adds by
    `self.blobs.add_blob(*shape)`; `backward` fills `self.blobs[i].diff`, by = or +=.
    A method that is left out does nothing, but `forward` is needed, and `backward`
    where a gradient is asked for.

    param_str: the text of `python_param { param_str }` (`param_str_` is the same).
    phase: `TRAIN` or `TEST`. blobs: what is learned.
    """

    type: ClassVar[str] = "Python"
    param_str: str = ""
    param_str_: str = ""
    phase: int = TRAIN
    blobs: LayerBlobs

    def __init__(self, *_: Any, **__: Any) -> None:
        """Do nothing; `setup` is the place to begin, when param_str is known."""

    def setup(self, bottom: Blobs, top: Blobs) -> None:
        """Prepare the layer; called once."""

    def reshape(self, bottom: Blobs, top: Blobs) -> None:
        """Give the tops their shapes; called ahead of every forward."""
