"""The one table of all rules."""

from __future__ import annotations

from netspec.readers.rule import Rule
from netspec.readers.rules import (
    activation,
    axis,
    convolution,
    input,
    joined,
    joining,
    normalization,
    pooling,
    product,
    recorded,
    recurrent,
    scale,
    selection,
    shape,
    training,
    twins,
)

_OF_VALUES: tuple[Rule, ...] = (
    *training.RULES,
    *axis.RULES,
    *recurrent.RULES,
    *product.RULES,
    *normalization.RULES,
    *scale.RULES,
    *activation.RULES,
)
_OF_SHAPES: tuple[Rule, ...] = (
    *convolution.RULES,
    *pooling.RULES,
    *shape.RULES,
    *joining.RULES,
    *selection.RULES,
    *input.RULES,
)

# In the order in which they are tried. A rule may write layers that others mend.
RULES: tuple[Rule, ...] = (
    *_OF_VALUES,
    *_OF_SHAPES,
    *joined.RULES,
    *twins.RULES,
    *recorded.RULES,
)
RULES += recorded.untried(RULES)
