"""Layers that do not learn: their parameters and running statistics stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from netspec.errors import SpecError, layer_label
from netspec.schema import ParamSpec
from netspec.schema.norms import bn_form
from netspec.site import user_site, warn_at
from netspec.tuning.changes import Changes, lr_mults, trained
from netspec.tuning.opened import Opened, Part
from netspec.tuning.patterns import chosen
from netspec.tuning.report import TuningReport


def freeze(net: Any, *patterns: Any, exclude: Any = ()) -> TuningReport:
    """Let layers keep their parameters in training; return what was frozen.

        lr_mult = decay_mult = 0

    for each of their parameters, so that neither a gradient nor weight decay changes
    them. A BatchNorm uses and keeps its stored statistics in training, too
    (`use_global_stats: true`; `frozen: true` of PSPNet's BN). Below the first layer
    that learns no gradients are computed.

    net: a `NetSpec`, written or loaded, a `NetParameter` or a `Model`; these change in
    place. Or a path or text, which is loaded: `freeze("net.prototxt", "*").net`.
    patterns: names of layers or of modules, each for itself or in a list; `*` stands
    for any text, slashes included: `freeze(n, "conv*", "stage1")`. Tops, and specs
    assigned to `net`, will do. exclude: one or several patterns of what goes on
    learning: `freeze(n, "*", exclude="fc8")`.

    Layers that share a parameter with a frozen one share that it is frozen; the report
    names them.

    Raises `SpecError` for a pattern that fits nothing, or no layer with parameters, and
    where an excluded layer shares a parameter with a frozen one.
    """
    opened, patterns = Opened(net), flat(patterns)
    if not patterns:
        raise SpecError(
            "nothing is named to be frozen; give names or patterns of layers: "
            "freeze(n, 'conv*'), or freeze(n, '*', exclude='fc8')"
        )
    spared = set(meant(opened, as_list(exclude)))
    names = [name for name in meant(opened, patterns) if name not in spared]
    if not names:
        raise SpecError(f"exclude names all that {_quoted(patterns)} fits")
    parts = opened.with_name(names)
    _remember(parts)
    changes = Changes(opened)
    for part in parts:
        for slot in range(len(part.roles or ())):
            for other, place in opened.sharers(part, slot):
                if other.name in spared:
                    raise SpecError(
                        f"shares {(part.roles or ())[slot]!r} with {part.name!r}, "
                        f"which is to be frozen; exclude both or none",
                        layer=layer_label(other.name, other.layer.type),
                    )
                _remember([other])
                spec = changes.spec(other, place)
                spec.lr_mult = spec.decay_mult = 0
    changes.write()
    still = [part.name for part in parts if _fix_statistics(part)]
    return TuningReport(
        net=opened.net,
        what="froze",
        layers=tuple(dict.fromkeys(part.name for part in parts if part.roles)),
        sharing=changes.others(names),
        statistics=tuple(dict.fromkeys(still)),
        lr_mult=lr_mults(opened, parts),
        trained=trained(opened),
        unknown=_unknown(parts),
    )


def unfreeze(net: Any, *patterns: Any) -> TuningReport:
    """Let frozen layers learn again; return which.

    What `freeze` changed in a spec is as it was before. In a file, message or model
    nobody knows that any more: `lr_mult` and `decay_mult` that are 0 become 1, and
    `use_global_stats: true` goes.

    net: as of `freeze`. patterns: names of layers or modules; without any, all that
    `freeze` froze in a spec, or all that has an `lr_mult` of 0 elsewhere.

    Raises `SpecError` for a pattern that fits nothing, or no layer with parameters.
    """
    opened = Opened(net)
    if patterns:
        named = flat(patterns)
        if not named:
            raise SpecError(f"{patterns[0]!r} names nothing to be unfrozen")
        parts = opened.with_name(meant(opened, named))
    else:
        parts = [part for part in opened.parts if part.roles]
        remembered = [p for p in parts if p.fn is not None and p.fn.before is not None]
        parts = remembered or parts
    frozen = [part for part in parts if _is_frozen(part)]
    changes = Changes(opened)
    moving = [part.name for part in frozen if _free_statistics(part)]
    for part in frozen:
        for slot in part.learned:
            for other, place in opened.sharers(part, slot):
                _thaw(changes.spec(other, place), _before(other, place))
        for slot in part.statistics:
            spec, before = changes.spec(part, slot), _before(part, slot)
            if before is not None:
                spec.CopyFrom(before)
    for part in frozen:
        if part.fn is not None:
            part.fn.before = None
    changes.write()
    return TuningReport(
        net=opened.net,
        what="unfroze",
        layers=tuple(dict.fromkeys(part.name for part in frozen)),
        sharing=changes.others([part.name for part in frozen]),
        statistics=tuple(dict.fromkeys(moving)),
        lr_mult=lr_mults(opened, frozen),
        trained=trained(opened),
        unknown=_unknown(parts) if patterns else (),
    )


def meant(opened: Opened, patterns: Iterable[Any]) -> list[str]:
    """Return the names of the layers with parameters that patterns mean.

    Raises `SpecError` for a pattern that fits none.
    """
    names: dict[str, None] = {}
    for wanted in patterns:
        pattern = opened.as_pattern(wanted)
        found = chosen(opened.names(), pattern)
        parts = opened.with_name(found)
        able = [part.name for part in parts if part.roles or part.roles is None]
        if not able:
            some = ", ".join(layer_label(p.name, p.layer.type) for p in parts[:5])
            raise SpecError(f"{pattern!r} fits {some}; no parameters are there")
        names.update(dict.fromkeys(able))
    return list(names)


def as_list(patterns: Any) -> Sequence[Any]:
    """Return one pattern or several as several."""
    return patterns if isinstance(patterns, list | tuple) else (patterns,)


def flat(patterns: Iterable[Any]) -> tuple[Any, ...]:
    """Return patterns, some of which may be lists of them, as one row."""
    return tuple(one for each in patterns for one in as_list(each))


def _quoted(patterns: Iterable[Any]) -> str:
    return ", ".join(repr(each) for each in patterns)


def _unknown(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the layers whose number of parameters is not known; warn of them."""
    found = [part for part in parts if part.roles is None]
    for part in found:
        warn_at(
            user_site(),
            f"{layer_label(part.name, part.layer.type)}: only its code knows how many "
            f"parameters it has, so they are as they were; give the layer as many "
            f"entries as it has parameters: param=[dict(lr_mult=0), ...]",
        )
    return tuple(dict.fromkeys(part.name for part in found))


def _remember(parts: Iterable[Part]) -> None:
    """Keep what is written of parameters and statistics, for `unfreeze`."""
    for part in parts:
        if part.fn is not None and part.fn.before is None:
            option = _statistics_option(part)
            shown = getattr(part.layer, option[0]) if option else None
            given = option and shown is not None and shown.HasField(option[1])
            part.fn.before = (
                part.own_params(),
                getattr(shown, option[1]) if option and given else None,
            )


def _before(part: Part, slot: int) -> ParamSpec | None:
    if part.fn is None or part.fn.before is None:
        return None
    specs = part.fn.before[0]
    return specs[slot] if slot < len(specs) else ParamSpec()


def _thaw(spec: ParamSpec, before: ParamSpec | None) -> None:
    for field in ("lr_mult", "decay_mult"):
        if before is not None and before.HasField(field):
            setattr(spec, field, getattr(before, field))
        elif before is not None or getattr(spec, field) == 0:
            spec.ClearField(field)


def _is_frozen(part: Part) -> bool:
    specs = part.own_params()
    if any(specs[slot].lr_mult == 0 for slot in part.learned):
        return True
    option = _statistics_option(part)
    return option is not None and bool(
        getattr(getattr(part.layer, option[0]), option[1])
    )


def _statistics_option(part: Part) -> tuple[str, str] | None:
    """Return the message and the field that let stored statistics be used as they are.

    None where there are no stored statistics, or no such field.
    """
    if part.layer.type == "BatchNorm":
        return "batch_norm_param", "use_global_stats"
    if part.layer.type == "BN" and bn_form(part.layer) == "pspnet":
        return "bn_param", "frozen"
    return None


def _fix_statistics(part: Part) -> bool:
    option = _statistics_option(part)
    if option is not None:
        part.set_option(option[1], True)
    elif part.statistics:
        warn_at(
            user_site(),
            f"{layer_label(part.name, part.layer.type)}: this fork's BN has no option "
            f"that keeps its stored statistics, so they follow the data in training",
        )
    return option is not None


def _free_statistics(part: Part) -> bool:
    option = _statistics_option(part)
    if option is None or not getattr(getattr(part.layer, option[0]), option[1]):
        return False
    before = part.fn.before if part.fn is not None else None
    part.set_option(option[1], before[1] if before is not None else None)
    return True
