"""State dicts of torchvision's nets as weights of the nets in `models/`.

| table | of torchvision | for |
| --- | --- | --- |
| `torchvision-resnet` | `resnet18` to `resnet152` | `models/resnet.py`, its variant |
| `torchvision-vgg` | `vgg16`, `vgg19` | `models/vgg16.py`, `vgg19.py` |

A convolution's weights and an inner product's have the same axes in both. What
torchvision keeps of one BatchNorm2d are two layers here: BatchNorm has the running mean
and variance, and a third array, what both are to be divided by, which is 1; Scale has
the factors and the bias. Both add 1e-5 to the variance. Dropout is a layer without
weights; `num_batches_tracked` is left out.

torchvision's nets want images in the order R, G, B with (x / 255 - MEAN) / STD for x
from 0 to 255. `for_pixels` changes the first convolution so that the net wants what
Caffe's data layers give.

Source: torchvision/models/resnet.py and vgg.py, version 0.28.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from netspec.errors import SpecError
from netspec.schema import LayerParameter, NetParameter, PoolingParameter
from netspec.weights.reading import Weights

MEAN = (0.485, 0.456, 0.406)  # R, G, B of ImageNet, of 1
STD = (0.229, 0.224, 0.225)
PIXEL = 255  # the largest value of one
BGR_MEANS = tuple(PIXEL * mean for mean in reversed(MEAN))  # for `mean_value`

# Of one key: the layer here, and the number of its array.
_Place = tuple[str, int]
_RESNET_KEY = re.compile(
    r"(?:layer([1-4])\.(\d+)\.)?(?:(conv|bn)([1-3])|downsample\.([01]))"
    r"\.(weight|bias|running_mean|running_var|num_batches_tracked)"
)
_VGG_KEY = re.compile(r"(features|classifier)\.(\d+)\.(weight|bias)")
_SLOTS = {"weight": 0, "bias": 1, "running_mean": 0, "running_var": 1}
_COUNTER = "num_batches_tracked"
_BLOCK_NAMES = "abcdef"
# Convolutions of the five stages of VGG, by their number in all.
_VGG_STAGES = {13: (2, 2, 3, 3, 3), 16: (2, 2, 4, 4, 4)}
_VGG_INNER = {"0": "fc6", "3": "fc7", "6": "fc8"}


def from_torchvision(weights: Weights, table: str, source: str = "weights") -> Weights:
    """Return the arrays of a torchvision net by the names of a net in `models/`.

    weights: each array of the state dict, as the first of a layer with the name of its
    key; that is what `read_weights` makes of such a file. table: one of `TABLES`.
    source: what messages call it.

    Raises `SpecError` for keys that the table does not have, and missing ones.
    """
    arrays = {key: held[0] for key, held in weights.items() if held}
    if arrays and all(key.startswith("module.") for key in arrays):  # of DataParallel
        arrays = {key.removeprefix("module."): each for key, each in arrays.items()}
    placed: dict[str, dict[int, np.ndarray]] = {}
    for key, (layer, slot) in TABLES[table](arrays, source).items():
        placed.setdefault(layer, {})[slot] = arrays[key]
    found: Weights = {}
    for layer, slots in placed.items():
        if layer.startswith("bn"):
            slots[2] = np.ones(1, np.float32)
        missing = set(range(max(slots) + 1)) - slots.keys()
        if missing or (layer.startswith("scale") and len(slots) != 2):
            raise SpecError(
                f"{source}: some arrays of layer {layer!r} are missing; is it a whole "
                f"state dict?"
            )
        found[layer] = [slots[slot] for slot in sorted(slots)]
    return found


def for_pixels(weights: Weights, layer: str) -> Weights:
    """Return weights for images as Caffe's data layers give them.

    These have the order B, G, R, values from 0 to 255, and `mean_value` `BGR_MEANS`
    subtracted, so that w'[:, c] = w[:, 2 - c] / (255 STD[2 - c]). A pad is 0 in both.

    layer: the first convolution. Shapes: w (N, 3, kh, kw).
    """
    first, *rest = weights[layer]
    scales = np.array(STD, np.float32)[:, np.newaxis, np.newaxis] * PIXEL
    return {**weights, layer: [np.ascontiguousarray((first / scales)[:, ::-1]), *rest]}


def check_net(net: NetParameter, table: str) -> None:
    """Refuse a residual net that is not torchvision's, whose arrays fit nevertheless.

    Raises `SpecError`.
    """
    if table != "torchvision-resnet":
        return
    layers = {layer.name: layer for layer in net.layer}
    pooling = layers.get("pool1", LayerParameter()).pooling_param
    strides = layers.get("res3a_branch2a", LayerParameter()).convolution_param.stride
    early = "res3a_branch2c" in layers and any(each > 1 for each in strides)
    down = pooling.round_mode == PoolingParameter.FLOOR or not pooling.ceil_mode
    if early or pooling.pad != 1 or not down:
        raise SpecError(
            "the net differs from torchvision's in its first pooling or its strides; "
            "take models/resnet.py with --set variant=torchvision"
        )


def _resnet(keys: Mapping[str, np.ndarray], source: str) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    unknown = []
    matches = {key: _RESNET_KEY.fullmatch(key) for key in keys}
    counts = [0] * 4
    for match in matches.values():
        if match and match[1]:
            stage = int(match[1]) - 1
            counts[stage] = max(counts[stage], int(match[2]) + 1)
    for key, match in matches.items():
        if key in ("fc.weight", "fc.bias"):
            found[key] = "fc1000", _SLOTS[key.removeprefix("fc.")]
        elif match is None or not _is_unit(match, counts):
            unknown.append(key)
        elif match[6] != _COUNTER:
            found[key] = _resnet_place(match, counts)
    return _known(found, unknown, source)


def _is_unit(match: re.Match[str], counts: Sequence[int]) -> bool:
    """Tell whether a key is of a convolution or of what normalizes it."""
    outside = match[1] is None and (match[4] != "1" or match[5])
    is_conv = match[3] == "conv" or match[5] == "0"
    more = match[1] is not None and not _is_deep(counts, int(match[1]))
    named = not more or int(match[2]) < len(_BLOCK_NAMES)
    return named and not outside and not (is_conv and match[6] != "weight")


def _is_deep(counts: Sequence[int], stage: int) -> bool:
    """Tell whether blocks of a stage are called b1, b2 and so on."""
    return counts[2] > len(_BLOCK_NAMES) and stage in (2, 3)


def _resnet_place(match: re.Match[str], counts: Sequence[int]) -> _Place:
    stage, block, kind, number, part, what = match.groups()
    if stage is None:
        name, stem = "conv1", "_conv1"
    else:
        letter = _BLOCK_NAMES[int(block)] if int(block) < len(_BLOCK_NAMES) else ""
        if _is_deep(counts, int(stage)) and block != "0":
            letter = f"b{block}"
        branch = f"branch2{'abc'[int(number) - 1]}" if number else "branch1"
        stem = f"{int(stage) + 1}{letter}_{branch}"
        name = f"res{stem}"
    if kind == "conv" or part == "0":
        return name, 0
    return f"{'bn' if what.startswith('running') else 'scale'}{stem}", _SLOTS[what]


def _vgg(keys: Mapping[str, np.ndarray], source: str) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    matches = {key: _VGG_KEY.fullmatch(key) for key in keys}
    unknown = [
        key
        for key, match in matches.items()
        if not match or (match[1] == "classifier" and match[2] not in _VGG_INNER)
    ]
    held = {
        int(match[2]) for match in matches.values() if match and match[1] == "features"
    }
    stages = _VGG_STAGES.get(len(held))
    if stages is None:
        raise SpecError(
            f"{source}: has {len(held)} convolutions in 'features', vgg16 has 13 and "
            f"vgg19 16, without normalization"
        )
    names = [f"conv{s}_{k}" for s, n in enumerate(stages, 1) for k in range(1, n + 1)]
    layers = dict(zip(sorted(held), names, strict=True))
    for key, match in matches.items():
        if match and key not in unknown:
            inner = match[1] == "classifier"
            layer = _VGG_INNER[match[2]] if inner else layers[int(match[2])]
            found[key] = layer, _SLOTS[match[3]]
    return _known(found, unknown, source)


def _known(
    found: dict[str, _Place], unknown: Sequence[str], source: str
) -> dict[str, _Place]:
    if unknown or not found:
        what = f"has {unknown[0]!r}" if unknown else "is empty"
        raise SpecError(
            f"{source}: {what}, so it is no state dict of such a net; its keys must be "
            f"those of torchvision"
        )
    return found


TABLES: dict[str, Callable[[Mapping[str, np.ndarray], str], dict[str, _Place]]] = {
    "torchvision-resnet": _resnet,
    "torchvision-vgg": _vgg,
}
FIRST_LAYERS = {"torchvision-resnet": "conv1", "torchvision-vgg": "conv1_1"}
