"""What normalization layers mean whose messages several forks fill differently."""

from __future__ import annotations

from netspec.errors import SpecError, layer_label
from netspec.schema import LayerParameter
from netspec.schema.in_force import fork

# Fields of BNParameter that one family of forks has and the others lack.
OWN_FIELDS = {
    "pspnet": ("slope_filler", "bias_filler", "momentum", "eps", "frozen", "engine"),
    "segnet": ("bn_mode",),
    "ducha-aiki": ("var_eps", "moving_average", "decay"),
}
SHARED_FIELDS = ("scale_filler", "shift_filler")  # of SegNet's and of ducha-aiki's
# Whose BN forks have, by their words.
BN_FORMS = {
    **dict.fromkeys(("pspnet", "tsn", "tsn-3d", "tsn-interp"), "pspnet"),
    **dict.fromkeys(("caffe-windows", "arcface", "large-margin-softmax"), "pspnet"),
    **dict.fromkeys(("segnet", "segnet-cudnn5", "enet"), "segnet"),
    **dict.fromkeys(("ducha-aiki", "jule", "ctpn", "nart"), "ducha-aiki"),
}
# Forks whose Normalize has no parameter: over all of an item, and over channels.
NORMALIZE_ITEMS = ("tsn", "tsn-3d", "tsn-interp", "ducha-aiki", "jule")
NORMALIZE_CHANNELS = ("caffe-windows", "arcface", "nart")


def bn_form(layer: LayerParameter) -> str:
    """Return which fork's BN a layer is: "pspnet", "segnet" or "ducha-aiki".

    The fields that are set tell; scale_filler and shift_filler alone are SegNet's,
    unless the layer holds four arrays. Where no field is set, a layer that holds two
    arrays is SegNet's, and any other PSPNet's, which is also that of TSN, caffe-windows
    and others, and the only one of the three whose files leave all fields out.

    A fork in force decides first.

    Raises `SpecError` where fields of several forks are set, or of another fork than
    the one in force.
    """
    param, blobs = layer.bn_param, len(layer.blobs)
    given = {
        form: [field for field in fields if param.HasField(field)]
        for form, fields in OWN_FIELDS.items()
    }
    forms = [form for form, fields in given.items() if fields]
    shared = [field for field in SHARED_FIELDS if param.HasField(field)]
    if len(forms) > 1 or (shared and forms == ["pspnet"]):
        told = {form: given[form] for form in forms}
        if shared:
            told["segnet and ducha-aiki"] = shared
        each = "; ".join(f"{', '.join(told[form])} of {form}" for form in told)
        raise SpecError(
            f"bn_param has fields of forks that mean different layers by BN: {each}. "
            f"Keep those of one",
            layer=layer_label(layer.name, layer.type),
        )
    word = fork()
    said = BN_FORMS.get(word or "")
    if said is not None:
        strange = [field for form in forms if form != said for field in given[form]]
        strange += shared if said == "pspnet" else []
        if strange:
            raise SpecError(
                f"bn_param has {', '.join(strange)}, which the BN of {word}, the fork "
                f"in force, does not have; remove it, or name another fork",
                layer=layer_label(layer.name, layer.type),
            )
        return said
    if forms:
        return forms[0]
    if shared:
        return "ducha-aiki" if blobs == 4 else "segnet"
    return "segnet" if blobs == 2 else "pspnet"


def batch_norm_affine(layer: LayerParameter) -> tuple[bool, bool]:
    """Return whether a BatchNorm has a factor, and a bias, of its own.

    NVCaffe: both, with `scale_bias` or a filler of either. Intel: a factor with
    `use_weight_bias` or `filler`, and a bias unless `bias_term` is false; a layer that
    gives none of its fields is Caffe's, though Intel's default is true, unless
    Intel's fork is in force.

    Raises `SpecError` where fields contradict each other.
    """
    param = layer.batch_norm_param
    intel = [
        field
        for field in ("use_weight_bias", "bias_term", "filler")
        if param.HasField(field)
    ]
    nvidia = [
        field
        for field in ("scale_bias", "scale_filler", "bias_filler")
        if param.HasField(field) and (field != "scale_bias" or param.scale_bias)
    ]
    intel = intel or (["use_weight_bias"] if fork() == "intel" else [])
    if intel and not param.use_weight_bias:
        given = [field for field in (*nvidia, "filler") if param.HasField(field)]
        if given:
            raise SpecError(
                f"use_weight_bias is false, so there is neither factor nor bias, but "
                f"{given[0]} is given; remove one of the two",
                layer=layer_label(layer.name, layer.type),
            )
        return False, False
    if intel and not param.bias_term:
        if given := [field for field in nvidia if field != "scale_filler"]:
            raise SpecError(
                f"bias_term is false, but {given[0]} asks for a bias; remove one of "
                f"the two",
                layer=layer_label(layer.name, layer.type),
            )
        return True, False
    both = bool(intel or nvidia)
    return both, both


def has_scale(layer: LayerParameter) -> bool:
    """Return whether a Normalize learns a factor: SSD's does, that of TSN does not."""
    return fork() not in (*NORMALIZE_ITEMS, *NORMALIZE_CHANNELS)


def statistics_slots(layer: LayerParameter) -> tuple[int, ...]:
    """Return which parameters of a layer are statistics, which no gradient changes."""
    if layer.type == "BatchNorm":
        return (0, 1, 2)
    if layer.type == "BN" and bn_form(layer) != "segnet":
        return (2, 3)
    return ()
