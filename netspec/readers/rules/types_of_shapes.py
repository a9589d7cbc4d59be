"""Known types among inputs, convolutions, pooling and layers that move values."""

from __future__ import annotations

from netspec.readers.draft import Place
from netspec.readers.rules.check import Known, always
from netspec.readers.rules.convolution import is_plain


def _images(place: Place) -> str:
    return "" if is_plain(place) else "takes images (N, C, H, W) only"


def _up_to_three_axes(place: Place) -> str:
    axes = len(place.bottoms[0]) - 2
    if place.op.axis == 1 and 1 <= axes <= 3:
        return ""
    return "takes one to three axes behind channels on axis 1 only"


KNOWN: Known = {
    "opencv": {
        "Concat": always,
        "Convolution": _up_to_three_axes,
        "Crop": always,
        "Deconvolution": _images,
        "DetectionOutput": always,
        "Eltwise": always,
        "Flatten": always,
        "Input": always,
        "Interp": always,
        "PSROIPooling": always,
        "Permute": always,
        "Pooling": always,
        "PriorBox": always,
        "Proposal": always,
        "ROIPooling": always,
        "Reorg": always,
        "Reshape": always,
        "ShuffleChannel": always,
        "Slice": always,
        "Split": always,
    },
    "mnn": {
        "Concat": always,
        "Convolution": _images,
        "Crop": always,
        "Deconvolution": _images,
        "Eltwise": always,
        "Input": always,
        "Interp": always,
        "Permute": always,
        "Pooling": always,
        "PriorBox": always,
        "ROIPooling": always,
        "Reduction": always,
        "Reshape": always,
        "Slice": always,
        "Split": always,
    },
}
