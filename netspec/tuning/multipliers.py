"""How fast layers learn: `lr_mult` and `decay_mult` by pattern."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

from netspec.errors import SpecError, layer_label
from netspec.tuning.changes import Changes, lr_mults, trained
from netspec.tuning.freezing import meant
from netspec.tuning.opened import Opened, Part
from netspec.tuning.report import TuningReport

Field = Literal["lr_mult", "decay_mult"]


def set_lr_mult(
    net: Any,
    lr_mult: Mapping[Any, float | Sequence[float]],
    *,
    decay_mult: Mapping[Any, float | Sequence[float]] | None = None,
) -> TuningReport:
    """Set how fast layers learn, by patterns of their names; return what is so now.

        set_lr_mult(n, {"*": 0.1, "fc8": (1, 2)})

    The rate of a parameter is `base_lr`, as `lr_policy` has it then, times its
    `lr_mult`; its weight decay is `weight_decay` times `decay_mult`.

    net: as of `netspec.freeze`. lr_mult: for patterns of names of layers or modules a
    number, for all learned parameters, or one for each in order: (weights, biases). Of
    patterns that fit one layer the later one counts. A layer with fewer parameters
    takes the first numbers. decay_mult: the same for weight decay. Statistics of
    BatchNorm are not learned and stay as they are.

    A parameter that layers share has one `lr_mult`, which all of them get.

    Raises `SpecError` for a pattern that fits nothing, or no layer with parameters, for
    what is no number of at least 0, and for fewer numbers than a layer has parameters.
    """
    opened = Opened(net)
    changes = Changes(opened)
    parts: dict[int, Part] = {}
    given = ((lr_mult, "lr_mult"), (decay_mult or {}, "decay_mult"))
    for values, field in given:
        if not isinstance(values, Mapping) or (field == "lr_mult" and not values):
            raise SpecError(
                f"{field} is {values!r}; expected numbers by patterns, as in "
                f"{{'conv*': 0.1, 'fc8': (1, 2)}}"
            )
        for wanted, value in values.items():
            found = opened.with_name(meant(opened, [wanted]))
            parts |= {id(part): part for part in found}
            _set(opened, changes, found, field, wanted, value)
    changes.write()
    ordered = [part for part in opened.parts if id(part) in parts]
    names = tuple(dict.fromkeys(part.name for part in ordered if part.learned))
    return TuningReport(
        net=opened.net,
        what="set lr_mult of",
        layers=names,
        sharing=changes.others(names),
        lr_mult=lr_mults(opened, [part for part in ordered if part.learned]),
        trained=trained(opened),
        unknown=tuple(part.name for part in ordered if part.roles is None),
    )


def _set(
    opened: Opened,
    changes: Changes,
    parts: Sequence[Part],
    field: str,
    wanted: Any,
    value: Any,
) -> None:
    numbers = _numbers(value, field, wanted)
    longest = max(len(part.learned) for part in parts)
    if numbers is not None and longest and len(numbers) > longest:
        raise SpecError(
            f"{field} of {wanted!r} is {value!r}, but no layer that it fits has more "
            f"than {longest} learned parameter{'s' if longest > 1 else ''}; give one "
            f"number, or as many"
        )
    for part in parts:
        slots = part.learned
        if numbers is not None and len(numbers) < len(slots):
            roles = part.roles or ()
            raise SpecError(
                f"has {len(slots)} learned parameters "
                f"({', '.join(roles[slot] for slot in slots)}), but {field} of "
                f"{wanted!r} is {value!r}; give one number, or {len(slots)}",
                layer=layer_label(part.name, part.layer.type),
            )
        for place, slot in enumerate(slots):
            number = value if numbers is None else numbers[place]
            for other, at in opened.sharers(part, slot):
                setattr(changes.spec(other, at), field, float(number))


def _numbers(value: Any, field: str, wanted: Any) -> Sequence[float] | None:
    """Return the numbers of a sequence, or None for one number."""
    several = isinstance(value, list | tuple)
    for each in value if several else [value]:
        right = isinstance(each, Real) and not isinstance(each, bool)
        if not right or not math.isfinite(each) or each < 0:
            raise SpecError(
                f"{field} of {wanted!r} is {value!r}; expected a number of at least 0, "
                f"or a tuple of them: (weights, biases)"
            )
    return value if several else None
