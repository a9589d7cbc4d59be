"""A process that makes plans for another, which started it: see `cudnn_ahead`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from runtime.backends.cuda.machine.convolutions import Convolution
from runtime.backends.cuda.machine.cudnn import Cudnn
from runtime.backends.cuda.machine.plan_store import PlanStore


def main() -> None:
    """Make the plans that the input asks for, and keep them in the folder it names."""
    order = json.load(sys.stdin)
    store = PlanStore(Path(order["folder"]))
    library = Cudnn(order["device"], store=store)
    for key in order["convolutions"]:
        library.settle(Convolution.from_key(key))


if __name__ == "__main__":
    main()
