"""What the file format knows of a layer type: its row in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class LayerType:
    """One layer type.

    name: the `type` of the layer, "Convolution".
    param: the field of `LayerParameter` that holds its options, or None.
    extra_params: further such fields ("transform_param", "loss_param").
    bottoms, tops: the smallest and the largest number; None is unlimited.
    bottom_names: the positional parameters of the layer function, in order.
    same_count: as many tops as bottoms.
    auto_top: tops may be left out of a file; the layer then counts in the objective
        without being an output of the net (the losses).
    required: fields of its message without which the layer means nothing.
    instead: for a required field, sets of fields any one of which does as well.

    The rest is text for people: what the layer does in one sentence, the formula, the
    shapes, what differs from the paper or surprises, and where it comes from.
    """

    name: str
    param: str | None = None
    extra_params: tuple[str, ...] = ()
    bottoms: tuple[int, int | None] = (1, 1)
    bottom_names: tuple[str, ...] = ("x",)
    tops: tuple[int, int | None] = (1, 1)
    same_count: bool = False
    auto_top: bool = False
    required: tuple[str, ...] = ()
    instead: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    summary: str
    formula: str = ""
    shapes: str
    notes: str = ""
    source: str = ""

    @property
    def params(self) -> tuple[str, ...]:
        """All fields of `LayerParameter` that hold options of this type."""
        return ((self.param,) if self.param else ()) + self.extra_params
