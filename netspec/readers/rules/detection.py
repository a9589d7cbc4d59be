"""Layers of the SSD fork and of Fast R-CNN: what has to be written out."""

from __future__ import annotations

from netspec.readers.draft import Place
from netspec.readers.rule import Rule, doubtful, refused, silent

CORNER_SIZE = 3  # of code_type
VARIANCES = 4  # of a box: x, y, width, height


def _set_order(place: Place) -> None:
    place.layer.permute_param.order[:] = place.op.order


def _set_variances(place: Place) -> None:
    param = place.layer.prior_box_param
    given = list(param.variance) or [0.1]
    param.variance[:] = (given * VARIANCES)[:VARIANCES]


def _lacks_switches(place: Place) -> bool:
    param = place.layer.prior_box_param
    return not (param.HasField("flip") and param.HasField("clip"))


def _set_switches(place: Place) -> None:
    param = place.layer.prior_box_param
    param.flip, param.clip = param.flip, param.clip


def _has_fractions(place: Place) -> bool:
    param = place.layer.prior_box_param
    return any(size != int(size) for size in (*param.min_size, *param.max_size))


def _set_whole(place: Place) -> None:
    """Write the whole pixels that SSD's PriorBox counts in."""
    param = place.layer.prior_box_param
    param.min_size[:] = place.op.min_size
    param.max_size[:] = place.op.max_size


_NEEDED = ("share_location", "background_label_id", "code_type")


def _lacks_fields(place: Place) -> bool:
    param = place.layer.detection_output_param
    nms = param.nms_param
    return not (
        all(param.HasField(field) for field in _NEEDED)  # type: ignore[arg-type]
        and nms.HasField("nms_threshold")
        and nms.HasField("top_k")
        and min(param.keep_top_k, nms.top_k) >= 0
    )


def _set_fields(place: Place) -> None:
    """Write the defaults, and numbers of boxes where all are asked for."""
    param = place.layer.detection_output_param
    for field in _NEEDED:
        setattr(param, field, getattr(param, field))
    nms = param.nms_param
    nms.nms_threshold = nms.nms_threshold
    priors = place.bottoms[2][2] // 4
    if not nms.HasField("top_k") or nms.top_k < 0:
        nms.top_k = priors
    if param.keep_top_k < 0:
        param.keep_top_k = priors * param.num_classes


def _has_other_image(place: Place) -> bool:
    """Tell whether the sides of the image are not those of the second bottom."""
    param = place.layer.prior_box_param
    height, width = place.bottoms[1][2:]
    given = (param.img_h or param.img_size, param.img_w or param.img_size)
    return any(given) and given != (height, width)


def _is_coded_otherwise(place: Place) -> bool:
    param = place.layer.detection_output_param
    return bool(param.background_label_id < 0 or param.code_type == CORNER_SIZE)


RULES = (
    Rule(
        name="permute-order",
        types=("Permute",),
        says="an order that leaves axes out",
        readers={
            "opencv": refused(),
            "mnn": refused("ends the process"),
        },
        applies=lambda place: (
            len(place.layer.permute_param.order) != len(place.bottoms[0])
        ),
        edit=_set_order,
        instead="all axes",
    ),
    Rule(
        name="prior-box-variance",
        types=("PriorBox",),
        says="fewer than four variances",
        readers={
            "opencv": refused("needs them"),
            "mnn": silent("takes what is not there"),
        },
        applies=lambda place: len(place.layer.prior_box_param.variance) != VARIANCES,
        edit=_set_variances,
        instead="four",
    ),
    Rule(
        name="prior-box-switches",
        types=("PriorBox",),
        says="flip or clip left at their defaults",
        readers={"opencv": silent("has other defaults")},
        applies=_lacks_switches,
        edit=_set_switches,
        instead="the defaults",
    ),
    Rule(
        name="prior-box-fractions",
        types=("PriorBox",),
        says="sizes that are not whole, which SSD cuts",
        readers={"opencv": silent("takes the fractions")},
        applies=_has_fractions,
        edit=_set_whole,
        instead="whole pixels",
    ),
    Rule(
        name="detection-refined",
        types=("DetectionOutput",),
        says="objectness and refinements of RefineDet",
        readers={"opencv": refused("reads neither")},
        applies=lambda place: place.op.read_bottoms > 3,
    ),
    Rule(
        name="detection-variance",
        types=("DetectionOutput",),
        says="variance_encoded_in_target",
        readers={"opencv": refused("wants other priors for it")},
        applies=lambda place: (
            place.layer.detection_output_param.variance_encoded_in_target
        ),
    ),
    Rule(
        name="prior-box-image",
        types=("PriorBox",),
        says="img_size, img_h or img_w that are not those of the image",
        readers={"opencv": silent("ignores them")},
        applies=_has_other_image,
    ),
    Rule(
        name="detection-code",
        types=("DetectionOutput",),
        says="code_type CORNER_SIZE, or no background",
        readers={"opencv": refused()},
        applies=_is_coded_otherwise,
    ),
    Rule(
        name="detection-columns",
        types=("DetectionOutput",),
        says="DetectionOutput",
        readers={
            "mnn": refused(
                "writes six columns, for one item only; take the net up to its bottoms"
            ),
        },
        applies=lambda _: True,
    ),
    Rule(
        name="detection-rows",
        types=("DetectionOutput",),
        says="DetectionOutput",
        readers={
            "opencv": doubtful(
                "has keep_top_k rows for each item, zeros behind those that are "
                "found, and classes in any order"
            ),
        },
        applies=lambda _: True,
    ),
    Rule(
        name="detection-fields",
        types=("DetectionOutput",),
        says="fields left at their defaults",
        readers={"opencv": refused("needs them")},
        applies=_lacks_fields,
        edit=_set_fields,
        instead="the defaults, and the number of boxes for all",
    ),
)
