"""The one table of all rules."""

from __future__ import annotations

from netspec.readers.rule import Rule
from netspec.readers.rules import (
    activation,
    axis,
    batch_norm,
    constant,
    convolution,
    depthwise,
    detection,
    forks,
    input,
    joined,
    joining,
    kernel,
    normalization,
    pooling,
    product,
    rearranged,
    recorded,
    recurrent,
    region,
    scale,
    selection,
    shape,
    training,
    twins,
)

OF_VALUES: tuple[Rule, ...] = (
    *training.RULES,
    *forks.RULES,
    *axis.RULES,
    *batch_norm.RULES,
    *rearranged.RULES,
    *constant.RULES,
    *recurrent.RULES,
    *product.RULES,
    *normalization.RULES,
    *scale.RULES,
    *activation.RULES,
)
OF_SHAPES: tuple[Rule, ...] = (
    *convolution.RULES,
    *kernel.RULES,
    *pooling.RULES,
    *shape.RULES,
    *joining.RULES,
    *selection.RULES,
    *detection.RULES,
    *region.RULES,
    *input.RULES,
)

# In the order in which they are tried. A rule may write layers that others mend.
RULES: tuple[Rule, ...] = (
    *OF_VALUES,
    *OF_SHAPES,
    *depthwise.RULES,
    *joined.RULES,
    *twins.RULES,
    *recorded.RULES,
)
RULES += recorded.untried(RULES)
