"""Arrays by keys, as safetensors, npz and PyTorch have them, and layers with arrays.

Array number `i` of a layer has the key `LAYER/i`. A key that does not end in a number
is an array of its own: the first of a layer of that name.
"""

from __future__ import annotations

from collections.abc import Mapping

from netspec.weights.stored import LayerWeights, StoredBlob

MAX_SLOTS = 1000  # of the arrays of a layer
_NUMBERS = {str(slot): slot for slot in range(MAX_SLOTS)}


def layers(arrays: Mapping[str, StoredBlob]) -> list[LayerWeights]:
    """Return the layers of a file with keys, in the order of the file."""
    found: dict[str, dict[int, StoredBlob]] = {}
    for key, blob in arrays.items():
        layer, slot = split_key(key)
        found.setdefault(layer, {})[slot] = blob
    return [
        LayerWeights(name, tuple(map(slots.get, range(max(slots) + 1))))
        for name, slots in found.items()
    ]


def split_key(key: str) -> tuple[str, int]:
    """Return the layer and the number of an array; a larger one is part of a name."""
    layer, slash, number = key.rpartition("/")
    if slash and number in _NUMBERS:
        return layer, _NUMBERS[number]
    return key, 0
