"""Runs nets in other readers and compares with `runtime`."""

import tempfile
import warnings

import numpy as np
import pytest

import runtime
from netspec.readers import export_for
from netspec.schema import TEST
from netspec.text import as_net
from netspec.weights import as_model
from tools.interop.running import MODULES, RUNS, makers_of, run


def net_of(layers, **inputs):
    """Return the text of a net: an Input for each shape, and `layers` as text."""
    sources = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {size}' for size in shape)} }} }} }}\n"
        for name, shape in inputs.items()
    )
    return sources + layers


class Case:
    """A net with random values of its parameters and inputs, and what Caffe computes.

    values: of inputs, by name, where not every number means something.
    """

    def __init__(self, text, *, seed=0, values=None):
        random = np.random.default_rng(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = runtime.Net(as_net(text), TEST, backend="portable")
        for name, blobs in net.params.items():
            for slot, blob in enumerate(blobs):
                blob.data[...] = random.normal(size=blob.data.shape) * 0.5
                if net.graph.node_of[name].type in ("BatchNorm", "BN") and slot:
                    blob.data[...] = random.uniform(0.5, 2, blob.data.shape)
        self.inputs = {
            name: np.float32(random.normal(size=net.blobs[name].data.shape))
            for name in net.inputs
        }
        for name, value in (values or {}).items():
            shape = net.blobs[name].data.shape
            self.inputs[name] = np.array(np.broadcast_to(np.float32(value), shape))
        for name, value in self.inputs.items():
            net.blobs[name].data[...] = value
        net.forward()
        self.outputs = {name: np.array(net.blobs[name].data) for name in net.outputs}
        weights = {
            name: [np.array(blob.data) for blob in blobs]
            for name, blobs in net.params.items()
        }
        self.model = as_model(text, weights)

    def exported(self, reader, **options):
        """Return the net for a reader; what it computes in `runtime` is the same."""
        done = export_for(self.model, reader, **options)
        net = runtime.Net(done.model, TEST, backend="portable")
        for name, value in self.inputs.items():
            net.blobs[name].data[...] = value
        net.forward()
        for name, value in self.outputs.items():
            assert difference(net.blobs[name].data, value, flat=True) < 1e-5, name
        return done

    def differences(self, reader, done):
        """Return the largest difference of each output in a reader, or raise."""
        got = outputs_in(reader, done, self.inputs, list(self.outputs))
        return {
            name: difference(got[name], value, flat=True)
            for name, value in self.outputs.items()
        }


def check(reader, text, *, rule=None, **options):
    """Check that a net is right in a reader; `rule` must have rewritten something.

    Returns the layers that were written.
    """
    case = Case(text, **options)
    done = case.exported(reader)
    if rule is not None:
        assert rule in {finding.rule for finding in done.report.rewritten}
    if reader in RUNS:
        for name, off in case.differences(reader, done).items():
            assert off < 2e-4, (reader, name, off)
    return list(done.model.net.layer)


def difference(got, want, *, flat=False):
    """Return the largest difference as a part of the largest value.

    flat: shapes may differ by axes of 1.
    """
    got, want = np.asarray(got), np.asarray(want)
    if flat and got.size == want.size:
        got = got.reshape(want.shape)
    assert got.shape == want.shape, f"shape {got.shape} for {want.shape}"
    scale = max(1e-3, float(np.max(np.abs(want), initial=0)))
    off = np.max(np.abs(got.astype(np.float64) - want), initial=0) / scale
    return float(off) if np.isfinite(off) else np.inf


def outputs_in(reader, done, inputs, names):
    """Return what a reader computes, by blob."""
    pytest.importorskip(MODULES[reader])
    with tempfile.TemporaryDirectory() as folder:
        done.save(folder, "net")
        return run(reader, folder, inputs, names, makers_of(done.model.net.layer))
