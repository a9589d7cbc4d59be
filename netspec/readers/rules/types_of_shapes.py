"""Known types among inputs, convolutions, pooling and layers that move values."""

from __future__ import annotations

from netspec.readers.rules.check import Known, always

KNOWN: Known = {
    "opencv": {"Input": always},
    "mnn": {"Input": always},
}
