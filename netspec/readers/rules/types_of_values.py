"""Known types among activations, normalizations, products and recurrent layers."""

from __future__ import annotations

from netspec.readers.rules.check import Check, Known, always

_BOTH: dict[str, Check] = dict.fromkeys(
    (
        "AbsVal",
        "BatchNorm",
        "BNLL",
        "Dropout",
        "ELU",
        "Exp",
        "InnerProduct",
        "Log",
        "LRN",
        "PReLU",
        "Power",
        "ReLU",
        "Scale",
        "Sigmoid",
        "Softmax",
        "TanH",
    ),
    always,
)

KNOWN: Known = {
    "opencv": {**_BOTH, "Normalize": always, "ReLU6": always, "Swish": always},
    "mnn": {**_BOTH, "Threshold": always},
}
