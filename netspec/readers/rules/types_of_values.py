"""Known types among activations, normalizations, products and recurrent layers."""

from __future__ import annotations

from netspec.readers.rules.check import Known, always

KNOWN: Known = {
    "opencv": {"Log": always, "Power": always},
    "mnn": {"Log": always, "Power": always},
}
