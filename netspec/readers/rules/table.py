"""The one table of all rules."""

from __future__ import annotations

from netspec.readers.rule import Rule
from netspec.readers.rules import (
    activation,
    axis,
    normalization,
    product,
    recurrent,
    scale,
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
_OF_SHAPES: tuple[Rule, ...] = ()

# In the order in which they are tried. A rule may write layers that others mend.
RULES: tuple[Rule, ...] = (*_OF_VALUES, *_OF_SHAPES, *twins.RULES)
