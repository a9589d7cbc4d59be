"""Layers of regions of interest: what has to be written out, and what readers skip."""

from __future__ import annotations

from netspec.readers.draft import Place
from netspec.readers.rule import Rule, doubtful, refused, silent


def _set_sizes(place: Place) -> None:
    param = place.layer.roi_pooling_param
    param.pooled_h, param.pooled_w = place.op.pooled_h, place.op.pooled_w
    del param.pooled_size[:]


RULES = (
    Rule(
        name="pooled-size",
        types=("ROIPooling",),
        says="pooled_size",
        readers={"opencv": refused(), "mnn": refused()},
        applies=lambda place: len(place.layer.roi_pooling_param.pooled_size) > 0,
        edit=_set_sizes,
        instead="pooled_h and pooled_w",
    ),
    Rule(
        name="region-padding",
        types=("ROIPooling",),
        says="pad_ratio",
        readers={"opencv": refused(), "mnn": refused()},
        applies=lambda place: place.op.pad_ratio != 0,
    ),
    Rule(
        name="proposal-images",
        types=("Proposal",),
        says="Proposal for several images",
        readers={"opencv": refused("takes one image")},
        applies=lambda place: place.bottoms[0][0] != 1,
    ),
    Rule(
        name="proposal-size",
        types=("Proposal",),
        says="min_size",
        readers={"opencv": silent("keeps small boxes; set it to 0")},
        applies=lambda place: place.op.min_size > 0,
    ),
    Rule(
        name="proposal-rows",
        types=("Proposal",),
        says="Proposal",
        readers={
            "opencv": doubtful(
                "has post_nms_topn rows, zeros behind those that are found, and cuts "
                "the size of the image to whole pixels"
            ),
        },
        applies=lambda _: True,
    ),
)
