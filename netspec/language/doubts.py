"""What a call says that cannot be meant, and what nothing reads of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from netspec.catalogue import LayerType
from netspec.catalogue.parameters import parameter_roles
from netspec.errors import SpecError, an
from netspec.language.calls import Function
from netspec.schema import LayerParameter

# What a filler of each type reads beside its type.
_FILLER_FIELDS: dict[str, Collection[str]] = {
    "constant": ("value",),
    "uniform": ("min", "max"),
    "gaussian": ("mean", "std", "sparse"),
    "positive_unitball": (),
    "xavier": ("variance_norm",),
    "msra": ("variance_norm",),
    "bilinear": (),
}
# Fields of the time before transform_param, which no layer of the current format reads.
_MOVED = {
    "DataParameter": ("scale", "mean_file", "crop_size", "mirror"),
    "ImageDataParameter": ("scale", "mean_file", "crop_size", "mirror"),
    "WindowDataParameter": ("scale", "mean_file", "crop_size", "mirror"),
}


def faults_of(
    row: LayerType,
    fn: Function,
    message: LayerParameter,
    words: Iterable[tuple[str, bool]],
) -> Iterator[str]:
    """Yield what no reader of the net would take, and is known before it is run.

    More of `param`, `loss_weight` or `propagate_down` than there are parameters, tops
    and bottoms; a slip of a filler's type. words: what `strange_words` says.
    """
    start = f"{row.param}."
    for text, slip in words:
        if slip:
            yield text.removeprefix(start)
    bottoms = len(fn.inputs) + len(message.bottom)
    tops = fn.ntop + len(message.top)
    if len(message.param):
        yield from _param_faults(message, bottoms)
    count = len(message.loss_weight)
    if count and count != (tops or 1 if row.auto_top else tops):
        yield (
            f"loss_weight is given {count} times for {tops} top{'s' * (tops != 1)}; "
            f"give it once for each"
        )
    count = len(message.propagate_down)
    if count and count != bottoms:
        yield (
            f"propagate_down is given {count} times for {bottoms} "
            f"bottom{'s' * (bottoms != 1)}; give it once for each"
        )


def _param_faults(message: LayerParameter, bottoms: int) -> Iterator[str]:
    try:
        roles = parameter_roles(message, bottoms)
    except SpecError:
        return  # told when shapes are
    count = len(message.param)
    if roles is None or count <= len(roles):
        return
    if not roles:
        yield (
            f"param is given, but {an(message.type)} layer as it is written learns "
            f"nothing; leave it out"
        )
        return
    yield (
        f"param is given {count} times, but the layer as it is written has "
        f"{len(roles)} parameter{'s' * (len(roles) != 1)} ({', '.join(roles)}); give "
        f"at most one for each"
    )


def check_in_place(fn: Function) -> None:
    """Refuse a call in place whose top has another shape than the bottom it takes."""
    for top in fn.tops if fn.in_place else ():
        if not fn.writes_over(top.n):
            continue
        below = fn.inputs[top.n].shape
        if top.shape is None or below is None or top.shape == below:
            continue
        if None not in (*top.shape, *below):
            raise SpecError(
                f"in_place: the top has shape {top.shape} and its bottom {below}, so "
                f"it cannot be written over that; leave out in_place=True"
            )


def _in_place_here(type_name: str) -> bool:
    from netspec.ops import is_known_type, op_class  # which an import need not wait for

    return not is_known_type(type_name) or op_class(type_name).in_place


def doubts_of(
    row: LayerType | None,
    fn: Function,
    message: LayerParameter,
    given: Collection[str],
    words: Iterable[tuple[str, bool]],
) -> Iterator[str]:
    """Yield what is allowed but does not do what it seems to, a sentence each.

    given: the options that the call itself gives; what defaults give to layers that do
    not read it is meant for others.
    """
    phase = fn.params.get("phase")
    if phase is not None:
        word = phase if isinstance(phase, str) else ("TRAIN", "TEST")[phase]
        yield (
            f"phase={phase!r} does not keep the layer out of the other phase's net; it "
            f"only behaves as in {word.upper()} in both. For a layer of one phase, "
            f"write include={word.upper()!r}"
        )
    if row is None:
        return
    if fn.in_place and not _in_place_here(fn.type_name):
        yield (
            f"in_place: {an(fn.type_name)} layer cannot be run in place here, as its "
            f"gradient needs what it read; leave out in_place=True"
        )
    for text, slip in words:
        if not slip:
            text = text.removeprefix(f"{row.param}.")
            yield f"{text}. It is written as it is, and cannot be run here"
    for name in given:
        if name.endswith("_param") and _is_strange(row, name, message):
            yield f"{name} is given, but nothing of a {row.name} layer reads it"
    if row.param is not None and message.HasField(row.param):
        own = getattr(message, row.param)
        whole = row.param in given
        asked = [field for field, _ in own.ListFields() if whole or field.name in given]
        yield from _unread(message, own, {field.name for field in asked})
    if message.HasField("loss_param"):
        loss = message.loss_param
        if loss.HasField("normalization") and loss.HasField("normalize"):
            yield _nothing("loss_param.normalize", "normalization is given")


def _is_strange(row: LayerType, name: str, message: LayerParameter) -> bool:
    field = message.DESCRIPTOR.fields_by_name.get(name)
    return field is not None and name not in row.params and row.name != "Python"


def _nothing(option: str, why: str) -> str:
    return (
        f"{option} is given, but as {why}, nothing reads it; leave out one of the two"
    )


def _unread(message: LayerParameter, own: Any, given: Collection[str]) -> Iterator[str]:
    """Yield those of the options `given` that the others leave without effect."""
    fields = own.DESCRIPTOR.fields_by_name
    biased = "bias_term" in fields and message.type not in ("BatchNorm", "BN")
    if biased and "bias_filler" in given and not own.bias_term:
        yield _nothing("bias_filler", "bias_term is False")
    if message.type == "Eltwise":
        if "coeff" in given and own.operation != own.SUM:
            yield _nothing("coeff", "operation is not SUM")
        if "stable_prod_grad" in given and own.operation != own.PROD:
            yield _nothing("stable_prod_grad", "operation is not PROD")
    within = message.type == "LRN" and own.norm_region == own.WITHIN_CHANNEL
    if within and "k" in given:
        yield _nothing("k", "norm_region is WITHIN_CHANNEL")
    kept = message.type == "BatchNorm" and own.use_global_stats
    if kept and "moving_average_fraction" in given:
        yield _nothing("moving_average_fraction", "use_global_stats is True")
    for name in _MOVED.get(own.DESCRIPTOR.name, ()):
        if name in given and (name, message.type) != ("crop_size", "WindowData"):
            yield (
                f"{name} is where it was before transform_param, and nothing reads it "
                f"there; write transform_param=dict({name}=...)"
            )


def filler_doubts(
    row: LayerType | None, message: LayerParameter, given: Collection[str]
) -> Iterator[str]:
    """Yield what fillers say that their types do not read.

    Published nets have it in every layer, so that it need not be told of each.
    """
    if row is None or row.param is None or not message.HasField(row.param):
        return
    own = getattr(message, row.param)
    for field, value in own.ListFields():
        kind = field.message_type
        if kind is None or kind.name != "FillerParameter":
            continue
        if field.name in given or row.param in given:
            for each in [value] if isinstance(value, Message) else value:
                yield from _unread_of_filler(field.name, each)


def _unread_of_filler(name: str, filler: Any) -> Iterator[str]:
    known = _FILLER_FIELDS.get(filler.type)
    if known is None:
        return
    strange = [
        field.name
        for field, _ in filler.ListFields()
        if field.name != "type" and field.name not in known
    ]
    if strange:
        reads = f"only {', '.join(known)}" if known else "nothing else"
        yield (
            f"{name} has {', '.join(strange)}, but a filler of type {filler.type!r} "
            f"reads {reads}; leave it out, or choose another type"
        )
