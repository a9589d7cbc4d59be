"""Write Caffe nets in Python, check them where they are written, and export them.

    from netspec import NetSpec, layers as L

    n = NetSpec()
    n.data = L.Input(shape=[1, 1, 28, 28])
    n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5)
    print(n.to_proto())

What is not needed to write a net is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netspec import errors as errors
from netspec import layers as layers
from netspec import params as params
from netspec import schema as schema
from netspec.errors import SpecWarning as SpecWarning
from netspec.language.arithmetic import unstack as unstack
from netspec.language.calls import Function as Function
from netspec.language.calls import Top as Top
from netspec.language.emit import to_proto as to_proto
from netspec.language.modules import defaults as defaults
from netspec.language.modules import module as module
from netspec.language.modules import phase as phase
from netspec.language.modules import shared as shared
from netspec.net_spec import NetSpec as NetSpec
from netspec.net_spec import load as load
from netspec.net_spec import save as save
from netspec.schema import TEST as TEST
from netspec.schema import TRAIN as TRAIN

if TYPE_CHECKING:
    __version__: str
    from netspec import blocks as blocks
    from netspec import models as models
    from netspec import surgery as surgery
    from netspec.language.own_layers import layer as layer
    from netspec.language.own_layers import learned as learned
    from netspec.nets.deploy import deploy as deploy
    from netspec.nets.phases import one_phase as one_phase
    from netspec.nets.upgrade import upgrade_text as upgrade_text
    from netspec.onnx.reading import from_onnx as from_onnx
    from netspec.onnx.writing import to_onnx as to_onnx
    from netspec.readers import check_for as check_for
    from netspec.readers import export_for as export_for
    from netspec.summary import Summary as Summary
    from netspec.summary import summarize as summarize
    from netspec.tuning import TuningReport as TuningReport
    from netspec.tuning import freeze as freeze
    from netspec.tuning import replace_head as replace_head
    from netspec.tuning import set_lr_mult as set_lr_mult
    from netspec.tuning import unfreeze as unfreeze

L = layers
P = params

_LAZY = {
    "check_for": "netspec.readers",
    "deploy": "netspec.nets.deploy",
    "from_onnx": "netspec.onnx.reading",
    "export_for": "netspec.readers",
    "freeze": "netspec.tuning",
    "layer": "netspec.language.own_layers",
    "learned": "netspec.language.own_layers",
    "one_phase": "netspec.nets.phases",
    "replace_head": "netspec.tuning",
    "set_lr_mult": "netspec.tuning",
    "Summary": "netspec.summary",
    "summarize": "netspec.summary",
    "to_onnx": "netspec.onnx.writing",
    "TuningReport": "netspec.tuning",
    "unfreeze": "netspec.tuning",
    "upgrade_text": "netspec.nets.upgrade",
}
_PACKAGES = (
    "blocks",
    "draw",
    "forks",
    "models",
    "onnx",
    "summary",
    "surgery",
    "text",
    "weights",
)

# What completion offers, with what is imported when it is first used.
__all__ = [
    "TEST",
    "TRAIN",
    "Function",
    "L",
    "NetSpec",
    "P",
    "SpecWarning",
    "Top",
    "defaults",
    "errors",
    "layers",
    "load",
    "module",
    "params",
    "phase",
    "save",
    "schema",
    "shared",
    "to_proto",
    "unstack",
]


_OF_RUNTIME = ("History", "Net", "Solver", "evaluate", "fit", "lr_find", "predict")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("netspec.version").version()
    if name in _PACKAGES:
        return importlib.import_module(f"netspec.{name}")
    if name not in _LAZY:
        hint = "" if name.startswith("_") else errors.did_you_mean(name, __dir__())
        if name in _OF_RUNTIME:
            hint = f"; it is runtime.{name}: import runtime"
        elif name in ("Sequential", "Model", "Module"):
            hint = "; a net is written as n = netspec.NetSpec() and names in it"
        raise AttributeError(f"module 'netspec' has no attribute {name!r}{hint}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    special = (name for name in globals() if name.startswith("__"))
    return sorted({*__all__, *_LAZY, *_PACKAGES, *special})
