"""SeLu and SeLuDropout, of self-normalizing nets: shapes pass through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from netspec.errors import SpecError
from netspec.ops.base import FromOutputOp, NoReadOp, Shape, count, infers, label
from netspec.schema import LayerParameter


@dataclass(frozen=True, kw_only=True)
class SeLu(FromOutputOp):
    """y = lambda x where x > 0, else lambda alpha (exp(x) - 1).

    lambda (`factor`) and alpha are above 0, so that y has the sign of x.
    """

    type: ClassVar[str] = "SeLu"
    factor: float
    alpha: float

    @property
    def keeps_sign(self) -> bool:
        """Yes: both factors are above 0."""
        return True


@dataclass(frozen=True, kw_only=True)
class SeLuDropout(NoReadOp):
    """y = factor x + shift in TRAIN, with `dropped` for dropped values; else y = x.

        q = 1 - dropout_ratio;  factor = (q (1 + (1 - q) alpha^2))^-1/2
        shift = -factor (1 - q) alpha;  dropped = factor alpha + shift

    Values of mean 0 and variance 1 keep them. The mask is saved.
    """

    type: ClassVar[str] = "SeLuDropout"
    in_place: ClassVar[bool] = True
    dropout_ratio: float
    alpha: float
    factor: float
    shift: float

    @property
    def dropped(self) -> float:
        """What a dropped value becomes."""
        return self.factor * self.alpha + self.shift

    def saved_bytes(self, itemsize: int) -> int:
        """Return the size of the mask, a byte an element."""
        return count(self.tops[0])


@infers("SeLu")
def selu(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> SeLu:
    """Read a SeLu layer."""
    param = layer.selu_param
    factor = float(getattr(param, "lambda"))  # a keyword of Python
    for field, value in (("lambda", factor), ("alpha", param.alpha)):
        if not 0 < value < math.inf:
            raise SpecError(
                f"selu_param.{field} is {value:g}; expected a number above 0",
                layer=label(layer),
            )
    return SeLu(
        layer=layer, bottoms=bottoms, tops=bottoms, factor=factor, alpha=param.alpha
    )


@infers("SeLuDropout")
def selu_dropout(layer: LayerParameter, bottoms: tuple[Shape, ...]) -> SeLuDropout:
    """Read a SeLuDropout layer."""
    param = layer.selu_dropout_param
    ratio, alpha = param.dropout_ratio, param.alpha
    if not 0 <= ratio < 1:
        raise SpecError(
            f"dropout_ratio is {ratio:g}; expected the share of values to drop, at "
            f"least 0 and less than 1",
            layer=label(layer),
        )
    if not math.isfinite(alpha):
        raise SpecError(
            f"selu_dropout_param.alpha is {alpha:g}; expected a finite number",
            layer=label(layer),
        )
    keep = 1 - ratio
    factor = (keep * (1 + ratio * alpha**2)) ** -0.5
    return SeLuDropout(
        layer=layer,
        bottoms=bottoms,
        tops=bottoms,
        dropout_ratio=ratio,
        alpha=alpha,
        factor=factor,
        shift=-factor * ratio * alpha,
    )
