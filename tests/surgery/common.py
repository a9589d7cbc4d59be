"""Models with random values, and what they compute before and after an operation."""

import numpy as np

import runtime
from netspec.graph import build
from netspec.nets.state import State
from netspec.schema import TEST
from netspec.weights import Model, as_model
from tests.example_nets import net as parsed


def random_values(node, seed):
    """Values of one layer, none of them neutral."""
    rng = np.random.default_rng(seed)
    arrays = []
    for slot, param in enumerate(node.op.params):
        shape = param.shape
        if node.type == "BatchNorm":
            kinds = (rng.normal(size=shape), rng.uniform(0.5, 2, shape), np.ones(shape))
            values = [*kinds, kinds[1], kinds[0]][slot] * 2.5
        elif node.type == "BN":
            normal, positive = rng.normal(size=shape), rng.uniform(0.5, 2, shape)
            values = (positive, normal, normal, positive)[slot]
        elif node.type == "Scale" and slot == 0:
            values = rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 1], shape)
        else:
            inputs = np.prod(shape[1:]) if len(shape) > 1 else 4
            values = rng.normal(size=shape) * np.sqrt(1.5 / inputs)
        arrays.append(np.asarray(values, np.float32))
    return arrays


def random_model(net, seed=0):
    """A net (text, or what `as_model` takes) with values; shared ones are equal."""
    message = as_model(parsed(net) if isinstance(net, str) else net).net
    graph = build(message, State(TEST))
    values = {}
    for node in graph.nodes:
        drawn = random_values(node, [seed, node.index])
        for slot, index in enumerate(node.params):
            values.setdefault(index, drawn[slot])
    weights = {
        node.name: [values[index] for index in node.params]
        for node in graph.nodes
        if node.params
    }
    return as_model(message, weights)


def outputs(model, seed=3, phase=TEST, **options):
    """What a model computes of random inputs, by name."""
    net = runtime.Net(model, phase, backend="portable", **options)
    rng = np.random.default_rng(seed)
    inputs = {name: rng.normal(size=net.blobs[name].data.shape) for name in net.inputs}
    return {name: each.copy() for name, each in net.forward(**inputs).items()}


def largest_difference(before: Model, after: Model, **options):
    """The largest difference of any output, relative to its largest value."""
    old, new = outputs(before, **options), outputs(after, **options)
    assert old.keys() == new.keys()
    assert all(np.isfinite(each).all() and each.any() for each in old.values())
    return max(
        np.abs(old[name] - new[name].reshape(old[name].shape)).max()
        / np.abs(old[name]).max()
        for name in old
    )


def types(model):
    """The types of the layers of a model."""
    return [layer.type for layer in model.net.layer]


def snapshot(model):
    """All bytes of a model, to see later that it did not change."""
    held = model.weights or {}
    return model.net.SerializeToString(), {
        name: [each.tobytes() for each in arrays] for name, arrays in held.items()
    }
