"""Nets whose arrays tests keep across passes, and a solver of one."""

from __future__ import annotations

import runtime

HEAD = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
"""
DOUBLE = """
layer { name: "y" type: "Power" bottom: "x" top: "y" power_param { scale: 2 } }
layer { name: "z" type: "Power" bottom: "y" top: "z" power_param { shift: 1 } }
"""
TIED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" }
  inner_product_param { num_output: 3 bias_term: false
    weight_filler { type: "constant" value: 1 } } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
  inner_product_param { num_output: 3 bias_term: false } }
"""
LOSS = """
layer { name: "loss" type: "Reduction" bottom: "b" top: "loss" loss_weight: 1
  reduction_param { operation: SUMSQ } }
"""
SUMS = """
layer { name: "y" type: "Reduction" bottom: "x" top: "y" reduction_param { axis: 1 } }
layer { name: "z" type: "Reduction" bottom: "y" top: "z" }
"""
SCALED = """
layer { name: "s" type: "Scale" bottom: "y" top: "s"
  scale_param { filler { value: 1 } } }
layer { name: "loss" type: "Reduction" bottom: "s" top: "loss" loss_weight: 1 }
"""


def solver_of(net, folder, name):
    (folder / "net.prototxt").write_text(net)
    text = f'net: "{folder}/net.prototxt" base_lr: 0.01 lr_policy: "fixed"'
    return runtime.get_solver(text, backend=name)
