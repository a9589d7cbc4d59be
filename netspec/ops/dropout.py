"""Dropout: shapes pass through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import NoReadOp, Shape, count, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class Dropout(NoReadOp):
    """y = x * mask / (1 - dropout_ratio) in TRAIN, y = x in TEST; the mask is saved."""

    type: ClassVar[str] = "Dropout"
    in_place: ClassVar[bool] = True
    dropout_ratio: float

    @property
    def keeps_sign(self) -> bool:
        """Yes: what is not dropped grows."""
        return True

    def saved_bytes(self, itemsize: int) -> int:
        """Return the size of the mask, a byte an element."""
        return count(self.tops[0])


@dataclass(frozen=True, kw_only=True)
class ForkDropout(Dropout):
    """A Dropout with options of forks; a class of its own, as few kernels know them.

    scale_train: false multiplies by 1 - dropout_ratio where nothing is dropped, instead
    of by 1 / (1 - dropout_ratio) where something is. always: drop in TEST too.
    """

    scale_train: bool
    always: bool


@infers("Dropout")
def dropout(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> Dropout:
    """Read a Dropout layer."""
    param = layer.dropout_param
    ratio = param.dropout_ratio
    if not 0 <= ratio < 1:
        raise SpecError(
            f"dropout_ratio is {ratio:g}; expected the share of values to drop, at "
            f"least 0 and less than 1",
            layer=label(layer),
        )
    if param.scale_train and not param.sample_weights_test:
        return Dropout(layer=layer, bottoms=bottoms, tops=bottoms, dropout_ratio=ratio)
    return ForkDropout(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        dropout_ratio=ratio,
        scale_train=param.scale_train,
        always=param.sample_weights_test,
    )
