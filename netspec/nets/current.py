"""Any net in the current form, whatever it is given as."""

from __future__ import annotations

import os
from typing import Any

from netspec.nets.filter import drop_values
from netspec.nets.upgrade import upgrade_net
from netspec.schema import NetParameter
from netspec.text import as_net


def current(net: Any, *, values: bool = True) -> NetParameter:
    """Return the net that `net` names, holds, or is, in the current form.

    net: what `as_net` takes. values: whether the values of parameters in a file are
    wanted; who only looks at layers does without, and saves their memory twice over. A
    message that is handed in keeps its own.
    """
    message = as_net(net, values=values)
    if not values and isinstance(net, str | os.PathLike):
        drop_values(message)
    return upgrade_net(message)
